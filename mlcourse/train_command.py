"""`python -m mlcourse train --config FILE` into a trained network, its history and its numbers: lesson 01 as a script.

OUT/checkpoint.safetensors    the state and how far the run is; the same command goes on from here
OUT/history.csv               one line a step
OUT/result.json               the headline numbers with the run's manifest, when the run is done
"""

import argparse
import contextlib
import csv
import io
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
import yaml
from flax import nnx
from tqdm.auto import tqdm

from mlcourse import checkpoint, data, repro, tracking
from mlcourse.errors import DivergedError, DownloadError, unknown_name
from mlcourse.files import write_whole
from mlcourse.sweep.parameters import Mismatch, Parameter, SweepError, converted, declared, value_of_text
from mlcourse.sweep.trials import Loader
from mlcourse.train import Row, train

SETTINGS = """
dataset: Literal["digits", "mnist"] = "digits"
seed: int = 0
hidden: tuple[int, ...] = (128, 128)
learning_rate: float = 0.1
annealing: float = 0.0
batch_size: int = 64
num_steps: int = 600
eval_every: int = 30
checkpoint_every: int = 150
test: bool = False
tracker: Literal["trackio", "tensorboard", "wandb", "none"] = "trackio"
"""  # read as a lesson's parameters cell is


class ConfigError(ValueError):
    """The settings can't be used; nothing was started."""


def known() -> dict[str, Parameter]:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": SETTINGS}
    return declared({"cells": [cell]})


def read_config(path: str | os.PathLike, changes: dict[str, str] | None = None) -> dict[str, Any]:
    """Every setting of a run.

    Args:
        path: a YAML file with one line a setting; what it leaves out has the value of `SETTINGS`.
        changes: settings as text, as typed on the command line; they go before the file.

    Raises:
        ConfigError: no such file, no YAML, an unknown setting, a wrong type, or a value out of range.
    """
    parameters = known()
    given = read_file(path)
    for name in (*given, *(changes or {})):
        if name not in parameters:
            raise ConfigError(f"{path}: {unknown_name('setting', name, parameters)}")
    config = {name: parameter.default for name, parameter in parameters.items()}
    for name, value in given.items():
        try:
            config[name] = converted(parameters[name].kind, value)
        except Mismatch:
            raise ConfigError(f"{path}: {name} can't be {value!r}; it is {parameters[name]}.") from None
    for name, text in (changes or {}).items():
        try:
            config[name] = value_of_text(parameters[name], text)
        except SweepError:
            raise ConfigError(f"-p {name}: it can't be {text!r}; it is {parameters[name]}.") from None
    check_ranges(config)
    return config


def read_file(path: str | os.PathLike) -> dict:
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.load(file, Loader)  # a SafeLoader that reads 1e-3 as a number
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}. An example is examples/digits.yaml.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except SweepError as error:
        raise ConfigError(f"{path}, {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} has no settings; write one line `name: value` for each, such as `learning_rate: 0.1`.")
    return found


def check_ranges(config: dict[str, Any]) -> None:
    counts = {name: config[name] for name in ("batch_size", "num_steps", "eval_every", "checkpoint_every")}
    counts |= {f"hidden[{i}]": size for i, size in enumerate(config["hidden"])}
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{name} = {value}, but it counts something: give at least 1.")
    if len(config["hidden"]) != 2:
        raise ConfigError(f"hidden = {list(config['hidden'])}, but the network has two hidden layers: give two sizes.")
    if not config["learning_rate"] > 0:
        raise ConfigError(f"learning_rate = {config['learning_rate']}, which would not learn: give a positive number.")
    if not 0 <= config["annealing"] <= 1:
        raise ConfigError(f"annealing = {config['annealing']} is not from 0 (constant rate) to 1 (down to zero).")
    if not 0 <= config["seed"] < 2**32:
        raise ConfigError(f"seed = {config['seed']} is not from 0 to 4294967295.")
    if config["checkpoint_every"] % config["eval_every"]:
        raise ConfigError(
            f"checkpoint_every = {config['checkpoint_every']} is no multiple of eval_every = {config['eval_every']}. "
            "Make it one, so that a run that was resumed is evaluated at the same steps."
        )


# The network and the step of lesson 01; a test compares them with its cells.


class MLP(nnx.Module):
    """Two hidden layers with ReLU, from He's rule; the last layer starts near zero."""

    def __init__(self, sizes, *, rngs, output_scale=0.01):
        he, small = nnx.initializers.he_normal(), nnx.initializers.normal(output_scale)
        self.hidden1 = nnx.Linear(sizes[0], sizes[1], kernel_init=he, rngs=rngs)
        self.hidden2 = nnx.Linear(sizes[1], sizes[2], kernel_init=he, rngs=rngs)
        self.output = nnx.Linear(sizes[2], sizes[3], kernel_init=small, rngs=rngs)

    def __call__(self, x):  # x: (B, pixels)
        x = nnx.relu(self.hidden1(x))  # (B, hidden)
        x = nnx.relu(self.hidden2(x))  # (B, hidden)
        return self.output(x)  # (B, classes)


@jax.jit
def cross_entropy(logits, labels):
    """Mean of -log p[label]. logits: (B, C), labels: (B,) integers."""
    one_hot = jax.nn.one_hot(labels, logits.shape[1])  # (B, C)
    log_p = jax.nn.log_softmax(logits)  # (B, C)
    return -(one_hot * log_p).sum(axis=1).mean()


class Recipe(NamedTuple):
    """What `train` needs, and the test error of a state."""

    start: Any
    step: Callable
    evaluate: Callable
    batches: Iterator
    test_error: Callable


def recipe(config: dict[str, Any], dataset: data.Dataset) -> Recipe:
    """The training run of lesson 01 with these settings."""
    splits = data.split(dataset)
    (x, y), validation, test = splits.train, splits.validation, splits.test
    sizes = (x.shape[1], *config["hidden"], dataset.num_classes)
    structure = nnx.graphdef(nnx.eval_shape(lambda: MLP(sizes, rngs=nnx.Rngs(0))))

    @jax.jit
    def init(key):
        return nnx.split(MLP(sizes, rngs=nnx.Rngs(key)))[1]

    @jax.jit
    def predict(params, x):
        return nnx.merge(structure, params)(x)

    @jax.jit
    def loss(params, x, y):
        return cross_entropy(predict(params, x), y)

    @jax.jit
    def error_rate(params, x, y):
        return (predict(params, x).argmax(axis=1) != y).mean()

    rate = config["learning_rate"]
    if config["annealing"]:
        optimizer = optax.sgd(lambda count: rate * (1 - config["annealing"] * count / config["num_steps"]))
    else:
        optimizer = optax.sgd(rate)

    @jax.jit
    def step(state, batch):
        params, opt_state = state
        batch_loss, gradient = jax.value_and_grad(loss)(params, *batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        return (params, opt_state), {"loss": batch_loss}

    @jax.jit
    def evaluate(state):
        params, _ = state
        splits = {"train": (x, y), "validation": validation}
        measures = {"loss": loss, "error": error_rate}
        return {f"{s}_{m}": measures[m](params, *splits[s]) for s in splits for m in measures}

    batches = data.minibatches(x, y, batch_size=config["batch_size"], seed=config["seed"], last="drop", epochs=None)
    params = init(jax.random.key(config["seed"]))
    start = (params, optimizer.init(params))
    return Recipe(start, step, evaluate, batches, lambda state: float(error_rate(state[0], *test)))


# The run


def kept(path: Path, config: dict[str, Any]) -> checkpoint.Checkpoint | None:
    """The checkpoint of this run, its arrays by name; None where the run has not begun.

    Raises:
        ConfigError: it is of a run with other settings, or can't be read.
    """
    if not path.exists():
        return None
    try:
        found = checkpoint.load(path)
        there, here = found.metadata["config"], json.loads(json.dumps(config))
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{path} can't be gone on from: {error} Choose another folder (--out), or delete that one.") from None
    different = [name for name in here if name != "tracker" and here[name] != there.get(name)]
    if different:
        values = "; ".join(f"{name} was {there.get(name)!r} and is {here[name]!r}" for name in different)
        raise ConfigError(f"{path.parent} holds another run: {values}. Choose another folder (--out), or delete that one.")
    return found


def run(config: dict[str, Any], out: Path, *, progress: bool = True) -> dict[str, Any]:
    """Train, or go on where a run in this folder stopped, and return what `result.json` holds. A run that is done stays.

    A run that was killed and gone on with gives the bits of one that was not: batches are drawn in the same order, and the
    state comes back exactly.

    Raises:
        ConfigError: the folder holds another run.
        tracking.TrackingError: the tracker is not installed.
        DivergedError: a loss is not finite.
    """
    path = out / "checkpoint.safetensors"
    found = kept(path, config)
    history = found.metadata["history"] if found else []
    done = int(history[-1]["step"]) if history else 0
    if done == config["num_steps"] and (out / "result.json").exists():
        return json.loads((out / "result.json").read_text(encoding="utf-8"))
    dataset = data.load(config["dataset"])
    made = recipe(config, dataset)
    state = checkpoint.load(path, made.start).state if found else made.start
    begun, parent = (found.metadata["begun"], found.sha256) if found else (time.time(), None)
    out.mkdir(parents=True, exist_ok=True)
    batches = itertools.islice(made.batches, done, None)
    digests = {config["dataset"]: repro.digest(dataset.x, dataset.y)}
    manifest = repro.manifest(config, data=digests)
    with tracked(config, out, begun, digests, history) as tracker:
        with tqdm(total=config["num_steps"], initial=done, unit="step", disable=not progress) as bar:
            while done < config["num_steps"]:
                count = min(config["checkpoint_every"], config["num_steps"] - done)
                state, rows = train(
                    made.step, state, batches, num_steps=count, evaluate=made.evaluate, eval_every=config["eval_every"],
                    progress=False, tracker=shown(bar, done, tracker),
                )  # fmt: skip
                history += moved(rows, done)
                done += count
                metadata = {"config": config, "history": history, "begun": begun}
                parent = checkpoint.save(path, state, metadata, parent=parent)
        write_whole(out / "history.csv", as_csv(history))
        names = ("train_loss", "train_error", "validation_loss", "validation_error")
        numbers = {name: history[-1][name] for name in names}
        if config["test"]:
            numbers["test_error"] = made.test_error(state)
        result = {"numbers": numbers, "manifest": manifest | {"seconds": round(time.time() - begun, 3)}}
        write_whole(out / "result.json", json.dumps(result, indent=1) + "\n")
        if tracker:
            tracker.save(path, kind="model")
            tracker.save(out / "result.json", kind="result")
    return result


def moved(rows: list[Row], done: int) -> list[Row]:
    """The rows of a block that began after `done` updates; its evaluation at the start was the last one of the block before."""
    return [row | {"step": row["step"] + done} for row in rows if row["step"] or not done]


def shown(bar: tqdm, done: int, tracker: Callable[[Row], None] | None) -> Callable[[Row], None]:
    """A tracker for one block: it moves the bar and passes the rows on."""

    def track(row: Row) -> None:
        for moved_row in moved([row], done):
            if "loss" in row:
                bar.update()
                bar.set_postfix(loss=f"{row['loss']:.3g}", refresh=False)
            if tracker:
                tracker(moved_row)

    return track


@contextlib.contextmanager
def tracked(
    config: dict[str, Any], out: Path, begun: float, digests: dict[str, str], history: list[Row]
) -> Iterator[tracking.Run | None]:
    """A tracked run, which goes on too when the training does, without a row twice; None with `tracker: none`."""
    if config["tracker"] == "none":
        yield None
        return
    project, name, key = config["dataset"], "train", f"{out.resolve()}:{begun}"
    there = set()
    if config["tracker"] == "trackio" and history:
        there = {row["step"] for row in tracking.read(project, tracking.unique_name(name, key))}
    with tracking.start(project, name, config, backend=config["tracker"], data=digests, key=key) as opened:
        opened.log_history(row for row in history if row["step"] not in there)
        log = opened.writer.log
        opened.writer = opened.writer._replace(log=lambda metrics, step: step in there or log(metrics, step))
        yield opened


def as_csv(history: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(name for row in history for name in row), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def main(argv: list[str]) -> int:
    """Train the network of lesson 01 with the settings of a file; the same command goes on with a run that was stopped."""
    parser = argparse.ArgumentParser(prog="mlcourse train", description=main.__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML, one line a setting (examples/digits.yaml)")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a setting")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/train/ and the name of the file")
    options = parser.parse_args(argv)
    out = options.out or Path("runs", "train", Path(options.config).stem)
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        result = run(read_config(options.config, dict(options.parameter)), out)
    except (ConfigError, tracking.TrackingError, data.DataError) as error:
        print(f"{error}\nNothing was run.", file=sys.stderr)
        return 2
    except (DivergedError, DownloadError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. The same command goes on from the last checkpoint in {out}.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)
    for name, value in result["numbers"].items():
        print(f"  {name.replace('_', ' '):16}  {value:.3g}")
    print(f"history: {out / 'history.csv'}   result: {out / 'result.json'}")
    return 0


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
