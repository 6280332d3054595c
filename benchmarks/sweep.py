"""Seconds of 20 trials of lesson 01 (quick profile) in five ways; prints a table for this machine.

    python benchmarks/sweep.py [--trials 20] [--notebook notebooks/01_training_loop.ipynb] [--ways shell,api,...]

Every way runs the same trials, `learning_rate` from 0.01 on, in a process of its own that has ended before it is measured, so
that the processor time is that of everything it started. The shell loop and the API are papermill's as it ships. After each
way the numbers that the notebooks recorded are compared with those of the first way: a way that is fast and wrong is an error.

The table gives whole trials, the lesson's own computation included, and in the last column their share of the shell loop.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from mlcourse.record import read_records

PROJECT = Path(__file__).parent.parent
API = """
import sys, papermill
notebook, out, *rates = sys.argv[1:]
for rate in rates:
    given = {"profile": "quick", "learning_rate": float(rate)}
    papermill.execute_notebook(notebook, f"{out}/{rate}.ipynb", given, progress_bar=False)
"""


class Cost(NamedTuple):
    """What one way took."""

    wall: float  # seconds
    cpu: float  # seconds, of all processes
    recorded: dict[str, list]  # rate: the numbers of its notebook


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
    return Cost(wall, cpu, recorded(out))


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
    lines = ["| way | wall s | s a trial | CPU s a trial | CPU, share of the first |", "|---|---:|---:|---:|---:|"]
    for name, cost in costs.items():
        numbers = (f"{cost.wall:.1f}", f"{cost.wall / trials:.2f}", f"{cost.cpu / trials:.2f}", f"{cost.cpu / base.cpu:.2f}")
        lines.append(f"| {WAYS[name][0]} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--notebook", type=Path, default=PROJECT / "notebooks" / "01_training_loop.ipynb")
    parser.add_argument("--ways", default=",".join(WAYS))
    arguments = parser.parse_args()
    rates = [f"{0.01 * (number + 1):g}" for number in range(arguments.trials)]
    costs: dict[str, Cost] = {}
    for name in arguments.ways.split(","):
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            costs[name] = measure(WAYS[name][1](arguments.notebook.resolve(), folder, rates), folder)
        finally:
            shutil.rmtree(folder)
        first = next(iter(costs.values()))
        if costs[name].recorded != first.recorded:
            sys.exit(f"{WAYS[name][0]} recorded other numbers than {WAYS[next(iter(costs))][0]}")
        print(f"{WAYS[name][0]}: {costs[name].wall:.1f} s, {costs[name].cpu:.1f} CPU s", file=sys.stderr)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{arguments.notebook.stem}, quick profile, {arguments.trials} trials; {machine}; all recorded the same numbers\n")
    print(table(costs, arguments.trials))


if __name__ == "__main__":
    main()
