"""Seconds of 20 trials in four ways, of a small notebook and of lesson 01 (quick profile); prints tables for this machine.

    python benchmarks/sweep.py [--trials 20] [--notebooks small,notebooks/01_training_loop.ipynb] [--ways shell,api,...]

Every way runs the same trials, `learning_rate` from 0.01 on, in a process of its own that has ended before it is measured, so
that the processor time is that of everything it started. The shell loop and the API are papermill's as it ships. After each
way the numbers that the notebooks recorded are compared with those of the first way: a way that is fast and wrong is an error.

The small notebook imports JAX, Flax, Optax and Matplotlib and trains an MLP for 100 steps; it records the processor time of all
that comes after its imports, and the table subtracts it: what is left is the price of a trial beyond its own computation.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nbformat

from mlcourse.record import read_records

PROJECT = Path(__file__).parent.parent
API = """
import sys, papermill
notebook, out, *rates = sys.argv[1:]
for rate in rates:
    given = {"profile": "quick", "learning_rate": float(rate)}
    papermill.execute_notebook(notebook, f"{out}/{rate}.ipynb", given, progress_bar=False)
"""
OWN = "own_seconds"  # what the small notebook records beside its result
SMALL = (
    ("parameters", 'learning_rate: float = 0.1\nprofile: str = "quick"'),
    ("", """import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax
from flax import nnx

from mlcourse.record import record"""),
    ("", """begun = time.process_time()
keys = jax.random.split(jax.random.key(0), 2)
inputs = jax.random.normal(keys[0], (256, 16))
labels = jnp.argmax(inputs @ jax.random.normal(keys[1], (16, 4)), axis=1)


class MLP(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.out = nnx.Linear(16, 32, rngs=rngs), nnx.Linear(32, 4, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


graph, weights = nnx.split(MLP(nnx.Rngs(0)))
optimizer = optax.sgd(learning_rate)"""),
    ("", """@jax.jit
def step(weights, state):
    def loss(weights):
        return optax.softmax_cross_entropy_with_integer_labels(nnx.merge(graph, weights)(inputs), labels).mean()

    value, gradients = jax.value_and_grad(loss)(weights)
    updates, state = optimizer.update(gradients, state, weights)
    return optax.apply_updates(weights, updates), state, value


state, losses = optimizer.init(weights), []
for _ in range(100):
    weights, state, value = step(weights, state)
    losses.append(float(value))"""),
    ("", 'plt.plot(losses)\nplt.ylabel("loss")\nplt.show()'),
    ("", f'record("loss", losses[-1])\nrecord("{OWN}", time.process_time() - begun)'),
)  # fmt: skip


class Cost(NamedTuple):
    """What one way took."""

    wall: float  # seconds
    cpu: float  # seconds, of all processes
    own: float  # seconds of processor time that the trials say they computed; 0 where they don't say
    recorded: dict[str, list]  # rate: the other numbers of its notebook


def shell(notebook: Path, out: Path, rates: list[str]) -> list[str]:
    """`papermill` once a trial, as a teacher would write the loop."""
    one = f'papermill --no-progress-bar -p profile quick -p learning_rate $rate "{notebook}" "{out}/$rate.ipynb"'
    return ["sh", "-ec", f"for rate in {' '.join(rates)}; do {one}; done"]


def api(notebook: Path, out: Path, rates: list[str]) -> list[str]:
    """`papermill.execute_notebook` in one process."""
    return [sys.executable, "-c", API, str(notebook), str(out), *rates]


def ours(workers: int, *options: str):
    """`python -m mlcourse sweep`."""

    def command(notebook: Path, out: Path, rates: list[str]) -> list[str]:
        words = ["-p", "profile", "quick", "-p", "learning_rate", ",".join(rates), "--out", str(out), *options]
        return [sys.executable, "-m", "mlcourse", "sweep", str(notebook), "--workers", str(workers), *words]

    return command


WAYS = {  # name: (words of the table, command)
    "shell": ("shell loop of papermill", shell),
    "api": ("papermill's API, one process", api),
    "ordinary": ("mlcourse sweep, ordinary kernels", ours(1, "--no-fork")),
    "one": ("mlcourse sweep, 1 worker", ours(1)),
    "two": ("mlcourse sweep, 2 workers", ours(2)),
}


def measure(command: list[str], out: Path) -> Cost:
    """Run it to its end; a failure is an error."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]} failed:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    numbers = recorded(out)
    own = sum(entry.value for entries in numbers.values() for entry in entries if entry.name == OWN)
    return Cost(wall, cpu, own, {rate: [entry for entry in entries if entry.name != OWN] for rate, entries in numbers.items()})


def recorded(out: Path) -> dict[str, list]:
    """learning rate -> the numbers that its notebook recorded."""
    if (out / "rows").is_dir():
        rows = [json.loads(path.read_text()) for path in out.glob("rows/*.json")]
        paths = {str(row["parameters"]["learning_rate"]): out / row["notebook"] for row in rows}
    else:
        paths = {path.stem: path for path in out.glob("*.ipynb")}
    return {rate: read_records(path) for rate, path in paths.items()}


def table(costs: dict[str, Cost], trials: int) -> str:
    """The costs in Markdown."""
    base = next(iter(costs.values()))
    rows = [
        {
            "way": WAYS[name][0],
            "wall s": f"{cost.wall:.1f}",
            "wall s a trial": f"{cost.wall / trials:.2f}",
            "CPU s a trial": f"{cost.cpu / trials:.2f}",
            "its share of the first": f"{cost.cpu / base.cpu:.2f}",
        }
        | (beyond(cost, base, trials) if cost.own else {})
        for name, cost in costs.items()
    ]
    lines = ["| " + " | ".join(rows[0]) + " |", "|---|" + "---:|" * (len(rows[0]) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in rows])


def beyond(cost: Cost, base: Cost, trials: int) -> dict[str, str]:
    """Two columns: the price of a trial beyond its own computation, and its share of the first way's."""
    price = cost.cpu - cost.own
    return {
        "CPU s beyond its own computation": f"{price / trials:.2f}",
        "that, of the first's": f"{price / (base.cpu - base.own):.2f}",
    }


def compare(notebook: Path, ways: list[str], rates: list[str]) -> dict[str, Cost]:
    """Every way on one notebook; other numbers than the first way's are an error."""
    costs: dict[str, Cost] = {}
    for name in ways:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            costs[name] = cost = measure(WAYS[name][1](notebook, Path(folder), rates), Path(folder))
        if cost.recorded != costs[ways[0]].recorded:
            sys.exit(f"{WAYS[name][0]} recorded other numbers than {WAYS[ways[0]][0]}")
        print(f"{notebook.stem}, {WAYS[name][0]}: {cost.wall:.1f} s, {cost.cpu:.1f} CPU s", file=sys.stderr)
    return costs


def small_notebook(folder: Path) -> Path:
    """Write it, and return its path."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for tag, source in SMALL:
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": [tag]} if tag else {}))
    nbformat.write(notebook, folder / "small.ipynb")
    return folder / "small.ipynb"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--notebooks", default=f"small,{PROJECT / 'notebooks' / '01_training_loop.ipynb'}")
    parser.add_argument("--ways", default="shell,api,one,two", help=f"of {', '.join(WAYS)}")
    arguments = parser.parse_args()
    rates = [f"{0.01 * (number + 1):g}" for number in range(arguments.trials)]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in arguments.notebooks.split(","):
            notebook = small_notebook(Path(folder)) if name == "small" else Path(name).resolve()
            costs = compare(notebook, arguments.ways.split(","), rates)
            print(f"\n{notebook.stem}, {arguments.trials} trials; {machine}; all recorded the same numbers\n", flush=True)
            print(table(costs, arguments.trials), flush=True)


if __name__ == "__main__":
    main()
