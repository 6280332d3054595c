"""The script form of lesson 01: its numbers, its refusals, and a run that is killed and gone on with."""

import ast
import csv
import inspect
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mlcourse import __main__ as command_line
from mlcourse import checkpoint, tracking, train_command
from mlcourse.record import read_records
from mlcourse.train_command import ConfigError, read_config

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "digits.yaml"
LESSON = ROOT / "notebooks" / "01_training_loop.ipynb"
SMALL = ["-p", "num_steps", "24", "-p", "eval_every", "4", "-p", "checkpoint_every", "8", "-p", "hidden", "[8, 8]"]


def test_the_script_gives_the_numbers_of_the_stored_lesson(tmp_path, capsys):
    words = ["train", "--config", str(EXAMPLE), "-p", "tracker", "none", "-p", "test", "true", "--out", str(tmp_path / "out")]
    assert command_line.main(words) == 0
    said = capsys.readouterr()
    assert "600/600" in said.err and "loss=" in said.err, "the progress bar"
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    recorded = {entry.name: entry for entry in read_records(LESSON)}
    # The same to the last digit where the lesson was stored; another processor rounds in another order.
    assert result["numbers"]["validation_loss"] == pytest.approx(recorded["validation_loss"].value, rel=1e-3)
    assert result["numbers"]["validation_error"] == pytest.approx(recorded["validation_error"].value, abs=1 / 363)
    assert f"validation loss   {recorded['validation_loss'].value:.3g}" in said.out
    assert 0 < result["numbers"]["test_error"] < 0.06
    manifest = result["manifest"]
    assert manifest["parameters"]["learning_rate"] == 0.1 and len(manifest["data"]["digits"]) == 64
    assert manifest["packages"]["jax"] and manifest["seconds"] > 0
    rows = list(csv.DictReader((tmp_path / "out" / "history.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(601))
    assert [int(row["step"]) for row in rows if row["train_loss"]] == list(range(0, 601, 30))
    # Once more: the run is done, and stays as it is.
    before = (tmp_path / "out" / "result.json").stat().st_mtime_ns
    assert command_line.main(words) == 0
    assert (tmp_path / "out" / "result.json").stat().st_mtime_ns == before
    assert command_line.main([*words, "-p", "seed", "1"]) == 2
    assert "holds another run: seed was 0 and is 1. Choose another folder (--out)" in capsys.readouterr().err
    (tmp_path / "out" / "checkpoint.safetensors").write_bytes(b"damaged")
    assert command_line.main(words) == 2
    assert "can't be gone on from" in capsys.readouterr().err


def definition(source: str, name: str) -> str:
    """Without docstring, as text."""
    for node in ast.walk(ast.parse(source)):
        if getattr(node, "name", None) == name:
            node.body = node.body[1:] if ast.get_docstring(node) else node.body
            return ast.unparse(node)
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["MLP", "cross_entropy", "error_rate", "step", "loss"])
def test_the_script_runs_the_code_that_the_lesson_shows(name):
    cells = [cell.source for cell in nbformat.read(LESSON, as_version=4).cells if cell.cell_type == "code"]
    words = "class " if name == "MLP" else "def "
    shown = next(source for source in cells if f"\n{words}{name}(" in f"\n{source}")
    assert definition(shown, name) == definition(inspect.getsource(train_command), name)


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "run.yaml").write_text(text)
    return tmp_path / "run.yaml"


def test_a_setting_that_is_left_out_has_its_default_and_the_command_line_goes_before_the_file(tmp_path):
    config = read_config(written(tmp_path, "learning_rate: 1e-3\nhidden: [16, 8]\n"), {"seed": "7", "test": "true"})
    assert (config["learning_rate"], config["hidden"], config["seed"], config["test"]) == (0.001, (16, 8), 7, True)
    assert config["num_steps"] == 600
    assert read_config(EXAMPLE) == read_config(written(tmp_path, "seed: 0")), "the example has the defaults"


@pytest.mark.parametrize(
    "text, message",
    [
        ("learning_rat: 0.1", "unknown setting 'learning_rat'. Did you mean 'learning_rate'"),
        ("learning_rate: high", "learning_rate can't be 'high'; it is learning_rate: float = 0.1"),
        ("learning_rate: .nan", "learning_rate can't be '.nan'"),
        ("seed: 0.5", "seed can't be 0.5; it is seed: int = 0"),
        ("seed: 0\nseed: 1", "'seed' stands there twice"),
        ("dataset: minst", "dataset can't be 'minst'"),
        ("learning_rate: -1", "learning_rate = -1.0, which would not learn"),
        ("annealing: 2", "annealing = 2.0 is not from 0"),
        ("batch_size: 0", "batch_size = 0, but it counts something"),
        ("hidden: [8, 0]", r"hidden\[1\] = 0, but it counts"),
        ("hidden: [8]", "two hidden layers: give two sizes"),
        ("seed: -1", "seed = -1 is not from 0"),
        ("eval_every: 40", "checkpoint_every = 150 is no multiple of eval_every = 40"),
        ("- 1", "has no settings; write one line"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_bad_setting_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_config(written(tmp_path, text))


def test_refusals_on_the_command_line_start_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["train", "--config", str(EXAMPLE), "--out", str(out)]
    for change, message in (
        (["-p", "learning_rate", "fast"], "-p learning_rate: it can't be 'fast'; it is learning_rate: float = 0.1"),
        (["-p", "batch_size", "100000", "-p", "tracker", "none"], "batch_size"),
        (["-p", "rate", "1"], "unknown setting 'rate'"),
    ):
        assert command_line.main([*words, *change]) == 2
        said = capsys.readouterr().err
        assert message in said and "Nothing was run." in said
    assert command_line.main(["train", "--config", str(tmp_path / "no.yaml")]) == 2
    assert "no.yaml can't be read: No such file or directory. An example is" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_that_diverges_says_so(tmp_path, capsys, monkeypatch):
    def plain(config, dataset):  # without a network to compile
        def step(w, batch):
            return -config["learning_rate"] * w, {"loss": abs(w)}

        zeros = dict.fromkeys(("train_loss", "train_error", "validation_loss", "validation_error"), 0.0)
        return train_command.Recipe(1.0, step, lambda w: zeros, itertools.repeat(None), None)

    monkeypatch.setattr(train_command, "recipe", plain)
    words = ["train", "--config", str(EXAMPLE), *SMALL, "-p", "tracker", "none", "--out", str(tmp_path)]
    assert command_line.main([*words, "-p", "learning_rate", "1e30"]) == 1
    assert "Try a learning rate 10 times smaller" in capsys.readouterr().err


KILLED = """
import os, signal, sys
from mlcourse import __main__, train_command
words, folder = sys.argv[1:-1], sys.argv[-1]
save = train_command.checkpoint.save
def killing(path, state, metadata, **rest):
    if len(metadata["history"]) > 9:
        os.kill(os.getpid(), signal.SIGKILL)  # the second block is done, and not yet kept
    return save(path, state, metadata, **rest)
if not (pid := os.fork()):
    train_command.checkpoint.save = killing
    __main__.main([*words, "--out", f"{folder}/killed"])
assert os.waitpid(pid, 0)[1] == signal.SIGKILL and not os.path.exists(f"{folder}/killed/history.csv")
assert __main__.main([*words, "--out", f"{folder}/killed"]) == 0
assert __main__.main([*words, "-p", "tracker", "none", "--out", f"{folder}/whole"]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process that is killed is forked, to import everything once")
def test_a_run_that_is_killed_and_gone_on_with_has_the_bits_of_one_that_was_not(tmp_path):
    words = ["train", "--config", str(EXAMPLE), *SMALL, "-p", "annealing", "1", str(tmp_path)]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    cache["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"  # three runs, one compilation
    environment = os.environ | cache | {"TRACKIO_DIR": str(tmp_path / "tracked")}
    subprocess.run([sys.executable, "-c", KILLED, *words], env=environment, cwd=ROOT, check=True)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    numbers = [json.loads((folder / "result.json").read_text())["numbers"] for folder in (killed, whole)]
    assert numbers[0] == numbers[1]
    assert (killed / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    first, second = (checkpoint.load(folder / "checkpoint.safetensors") for folder in (killed, whole))
    assert first.state.keys() == second.state.keys() and len(first.state) > 6
    assert all(first.state[name].tobytes() == second.state[name].tobytes() for name in first.state)
    # It is one tracked run, in which no step is missing or stands twice.
    ((name, manifest),) = tracking.runs("digits", folder=tmp_path / "tracked").items()
    assert manifest["status"] == "finished"
    assert [entry["kind"] for entry in manifest["artifacts"]] == ["model", "result"]
    assert [row["step"] for row in tracking.read("digits", name, folder=tmp_path / "tracked")] == list(range(25))
