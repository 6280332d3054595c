"""Steps per second of one network trained in ten ways, interleaved in one run; prints a table (see README.md here).

    python benchmarks/training.py [--rounds 9] [--out runs/bench.json]

Every contestant trains the same network with plain gradient descent and hands back its losses as floats. A round runs each
once; the ratio of two is taken round by round, so a machine that slows down slows both, and the table shows its median.
"""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from mlcourse import data, repro
from mlcourse.train import train
from mlcourse.train_jax import CHUNK, grid, train_compiled, train_many

RATE = 0.05
NETWORKS = {  # name: (layer sizes, examples, batch size, steps a round)
    "digits": ((64, 128, 128, 10), 1257, 64, 1000),
    "mnist": ((784, 256, 128, 10), 12_800, 128, 300),
}
COMPARE = {  # contestant: the alternative it is held against
    "ours: train, JAX step": "bare JAX: loop over a jitted step",
    "ours: train, PyTorch step": "bare PyTorch: loop on pre-cut batches",
    "ours: train_compiled": "bare JAX: scan by hand",
    "ours: train_many": "bare JAX: scan by hand",
    "bare JAX: loop over a jitted step": "bare PyTorch: loop with DataLoader",
    "bare JAX: scan by hand": "bare PyTorch: loop with DataLoader",
    "bare PyTorch: loop on pre-cut batches": "bare PyTorch: loop with DataLoader",
    "Flax: nnx.jit on the model": "bare PyTorch: loop with DataLoader",
    "PyTorch Lightning": "bare PyTorch: loop with DataLoader",
}


def jax_contestants(sizes, x, y, order) -> dict[str, Callable[[], list[float]]]:
    """The ways to train in JAX. `order`: (steps, batch)."""
    optimizer = optax.sgd(RATE)

    def init(run):
        keys = jax.random.split(jax.random.key(run["seed"]), len(sizes) - 1)
        shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
        params = [{"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)} for k, a, b in shapes]
        return params, optimizer.init(params)

    def loss_fn(params, x, y):
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        logits = x @ params[-1]["w"] + params[-1]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(state, batch):
        params, opt_state = state
        loss, gradient = jax.value_and_grad(loss_fn)(params, *batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), {"loss": loss}

    jitted = jax.jit(step)
    start = init({"seed": 0})
    runs = grid(seed=range(4 * CHUNK))

    def batches():
        return ((x[i], y[i]) for i in order)

    def bare_loop():
        state, losses = start, []
        for batch in batches():
            state, metrics = jitted(state, batch)
            losses.append(metrics["loss"])
        return [float(loss) for loss in losses]

    @jax.jit
    def scan(state, x, y, order):
        return jax.lax.scan(lambda state, i: step(state, (x[i], y[i])), state, order)

    def bare_scan():
        _, metrics = scan(start, x, y, order)
        return np.asarray(metrics["loss"]).tolist()

    def ours_loop():
        _, history = train(jitted, start, batches(), num_steps=len(order), progress=False)
        return [row["loss"] for row in history]

    def ours_compiled():
        _, history = train_compiled(step, start, (x, y), order)
        return [row["loss"] for row in history]

    def make_step(run):
        return step

    def ours_many():
        return train_many(init, make_step, (x, y), order, runs=runs, progress=False).metrics["loss"].ravel().tolist()

    return {
        "bare JAX: loop over a jitted step": bare_loop,
        "ours: train, JAX step": ours_loop,
        "bare JAX: scan by hand": bare_scan,
        "ours: train_compiled": ours_compiled,
        "ours: train_many": ours_many,
        "Flax: nnx.jit on the model": flax_loop(sizes, batches),
    }


def flax_loop(sizes, batches) -> Callable[[], list[float]]:
    """The form the Flax pages show: a model and an optimizer object passed to an `nnx.jit` step."""

    class MLP(nnx.Module):
        def __init__(self, rngs):
            self.hidden1 = nnx.Linear(sizes[0], sizes[1], rngs=rngs)
            self.hidden2 = nnx.Linear(sizes[1], sizes[2], rngs=rngs)
            self.output = nnx.Linear(sizes[2], sizes[3], rngs=rngs)

        def __call__(self, x):
            return self.output(nnx.relu(self.hidden2(nnx.relu(self.hidden1(x)))))

    def loss_fn(model, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    @nnx.jit
    def step(model, optimizer, x, y):
        loss, gradient = nnx.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, gradient)
        return loss

    def run():
        model = MLP(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, optax.sgd(RATE), wrt=nnx.Param)
        losses = [step(model, optimizer, *batch) for batch in batches()]
        return [float(loss) for loss in losses]

    return run


def torch_contestants(sizes, x, y, order, batch_size) -> dict[str, Callable[[], list[float]]]:
    """The ways to train in PyTorch."""
    x, y = torch.from_numpy(x), torch.from_numpy(y).long()
    pre_cut = [(x[i], y[i]) for i in torch.from_numpy(order).long()]
    dataset = torch.utils.data.TensorDataset(x, y)

    def network():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])

    def step(state, batch):
        model, optimizer = state
        loss = torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return state, {"loss": loss.detach()}

    def fresh():
        model = network()
        return model, torch.optim.SGD(model.parameters(), lr=RATE)

    def loader_batches():
        generator = torch.Generator().manual_seed(0)
        loader = torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, drop_last=True, generator=generator)
        done = 0
        while True:
            for batch in loader:
                yield batch
                done += 1
                if done == len(order):
                    return

    def bare(batches):
        def run():
            state, losses = fresh(), []
            for batch in batches():
                state, metrics = step(state, batch)
                losses.append(metrics["loss"])
            return [float(loss) for loss in losses]

        return run

    def ours():
        _, history = train(step, fresh(), pre_cut, num_steps=len(order), progress=False)
        return [row["loss"] for row in history]

    found = {
        "bare PyTorch: loop with DataLoader": bare(loader_batches),
        "bare PyTorch: loop on pre-cut batches": bare(lambda: pre_cut),
        "ours: train, PyTorch step": ours,
    }
    try:
        found["PyTorch Lightning"] = lightning_loop(network, dataset, batch_size, len(order))
    except ImportError:
        print("PyTorch Lightning is not installed and left out: see benchmarks/README.md")
    return found


def lightning_loop(network, dataset, batch_size, num_steps) -> Callable[[], list[float]]:
    """Lightning's trainer with everything optional switched off."""
    import logging

    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network, self.losses = network(), []

        def training_step(self, batch, _):
            loss = torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])
            self.losses.append(loss.detach())
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=RATE)

    def run():
        model = Model()
        loader = torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, drop_last=True)
        off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = lightning.Trainer(max_steps=num_steps, max_epochs=-1, accelerator="cpu", **off)
        trainer.fit(model, loader)
        return [float(loss) for loss in model.losses]

    return run


def measure(name: str, rounds: int) -> dict:
    """Seconds of every contestant in every round, and the steps each makes in a round."""
    sizes, n, batch_size, num_steps = NETWORKS[name]
    rng = np.random.default_rng(0)
    x = rng.random((n, sizes[0]), dtype=np.float32)
    y = rng.integers(0, sizes[-1], n).astype(np.int32)
    order = data.batch_indices(n, batch_size=batch_size, num_steps=num_steps, seed=0)
    contestants = torch_contestants(sizes, x, y, order, batch_size) | jax_contestants(sizes, x, y, order)
    steps = {}
    for label, contestant in contestants.items():  # warm-up: compiles, and shows that it learns what the others learn
        losses = contestant()
        steps[label] = len(losses)
        assert np.isfinite(losses).all() and losses[-1] < losses[0] + 0.3, label
    seconds = {label: [] for label in contestants}
    for round_number in range(rounds):
        labels = list(contestants)
        for label in labels if round_number % 2 else reversed(labels):
            start = time.perf_counter()
            contestants[label]()
            seconds[label].append(time.perf_counter() - start)
    return {"steps": steps, "seconds": seconds}


def table(name: str, result: dict) -> str:
    """The result as Markdown: median steps per second, and the ratio to the named alternative."""
    sizes, _, batch_size, num_steps = NETWORKS[name]
    rates = {k: [result["steps"][k] / s for s in seconds] for k, seconds in result["seconds"].items()}
    lines = [
        f"### {'-'.join(map(str, sizes))}, batch {batch_size}, {num_steps} steps a round",
        "",
        "| contestant | steps per second | ratio [min, max over rounds] | to |",
        "|---|---:|---|---|",
    ]
    for label in sorted(rates, key=lambda k: -statistics.median(rates[k])):
        ratio, other = "", COMPARE.get(label, "")
        if other:
            ratios = [a / b for a, b in zip(rates[label], rates[other], strict=True)]
            ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        lines.append(f"| {label} | {statistics.median(rates[label]):,.0f} | {ratio} | {other} |")
    headline = [a / b for a, b in zip(rates["ours: train_compiled"], rates["bare PyTorch: loop with DataLoader"], strict=True)]
    lines += ["", f"The compiled run makes {statistics.median(headline):.1f} times the steps of the DataLoader loop."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="keep every timing here, as JSON")
    arguments = parser.parse_args()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch threads {torch.get_num_threads()}"
    versions = repro.manifest({})["packages"]
    print(
        f"{time.strftime('%Y-%m-%d')}, {machine}, jax {versions['jax']}, torch {versions['torch']}, {arguments.rounds} rounds\n"
    )
    results = {name: measure(name, arguments.rounds) for name in NETWORKS}
    for name, result in results.items():
        print(table(name, result), "\n")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
