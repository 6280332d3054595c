"""Finished trials of a sweep into tracked runs, by a process of its own: whatever happens to it, the sweep goes on.

The process is told the numbers of trials on its standard input, one a line; what it logs it reads from the sweep's folder.
A trial that is tracked already is not tracked again, so the sweep names all trials that are done whenever it starts.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mlcourse import tracking
from mlcourse.record import read_histories
from mlcourse.sweep.store import read_rows

SECONDS_TO_END = 30  # for what is still to be logged when the last trial has ended
SWITCH = "MLCOURSE_TRACK"


class TrialFailed(Exception):
    """Its text becomes the status of a failed trial's run."""


@contextlib.contextmanager
def tracked(folder: Path, project: str, done: Iterable[int], *, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of each trial that was kept.

    Args:
        folder: of the sweep.
        project: whose page of the dashboard the runs belong on.
        done: the trials that are kept already.
        wanted: with False, or with the variable MLCOURSE_TRACK=off, nothing is tracked.
    """
    if not wanted or os.environ.get(SWITCH) == "off":
        yield lambda number: None
        return
    teller = Teller(folder, project)
    try:
        for number in done:
            teller.tell(number)
        yield teller.tell
    finally:
        teller.end()


class Teller:
    """The process that tracks, started when there is something to say."""

    def __init__(self, folder: Path, project: str):
        self.command = [sys.executable, "-m", "mlcourse.sweep.tracked", project]
        self.folder = folder.resolve()
        self.process: subprocess.Popen | None = None
        self.broken = False

    def tell(self, number: int) -> None:
        if self.broken:
            return
        try:
            if self.process is None:
                self.process = self.start()
                self.process.stdin.write(f"{self.folder}\n")
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except OSError as error:
            self.broken = True
            if self.process is None:
                warn(str(error))

    def start(self) -> subprocess.Popen:
        folder = str(tracking.default_folder())
        # A file for messages, because nobody would read a pipe; a session of its own, so that Ctrl-C leaves it to its work.
        with open(self.folder / ".work" / "tracking", "w") as messages:
            return subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages, text=True, encoding="utf-8",
                env=os.environ | {"TRACKIO_DIR": folder}, start_new_session=True,
            )  # fmt: skip

    def end(self) -> None:
        """Wait for the rest, and say so once if not everything is tracked."""
        if self.process is None:
            return
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            code = self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return warn(f"process {self.process.pid} is still at it after {SECONDS_TO_END} s")
        if code:
            lines = (self.folder / ".work" / "tracking").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            warn(lines[-1] if lines else f"its process ended with code {code}")


def warn(reason: str) -> None:
    print(
        f"\nThe results are whole, but not all of them are tracked: {reason}\nThe same command tracks what is missing; with "
        f"--no-track, or {SWITCH}=off, nothing is tracked.",
        file=sys.stderr,
    )


def track(folder: Path, row: dict, project: str) -> bool:
    """One run for the row of a trial; False if it was tracked already.

    The run holds the parameters as its config, the recorded numbers in a row at step 0 (with `_low` and `_high` for an
    interval), the recorded histories at their steps, the place and checksum of the executed notebook, and the trial's manifest.
    """
    path = folder / row["notebook"]
    name = f"{folder.name}-{path.stem}".replace("=", "-")[:80].lstrip("._-")
    key = f"{path}:{row['finished']}"
    unique = tracking.unique_name(name, key)
    if tracking.runs(project).get(unique, {}).get("status", "running") != "running":
        return False
    there = {entry["step"] for entry in tracking.read(project, unique)}  # of a process that was killed halfway
    config = row["parameters"] | {"sweep": str(folder), "trial": row["trial"]}
    with contextlib.suppress(TrialFailed), tracking.start(project, name, config, key=key, manifest=row["manifest"]) as run:
        run.log_history(entry for entry in rows_of(path, row) if entry["step"] not in there)
        run.save(path, kind="notebook", copy=False)
        if row["status"] != "ok":
            raise TrialFailed(row["error"])
    return True


def rows_of(path: Path, row: dict) -> list[dict]:
    """Everything that a trial recorded, one row a step."""
    rows = {0: {"step": 0} | {name: entry["value"] for name, entry in row["metrics"].items()}}
    for name, entry in row["metrics"].items():
        if entry["low"] is not None:
            rows[0] |= {f"{name}_low": entry["low"], f"{name}_high": entry["high"]}
    for history, steps in read_histories(path).items() if row["status"] == "ok" else ():
        for step in steps:
            named = {f"{history}/{name}": value for name, value in step.items() if name != "step"}
            rows.setdefault(step["step"], {"step": step["step"]}).update(named)
    return [rows[step] for step in sorted(rows)]


def main(project: str) -> None:
    lines = (line.strip() for line in sys.stdin)
    folder = Path(next(lines))
    for number in lines:
        row = read_rows(folder).get(int(number))
        if row is not None:  # with None the disk damaged it, and its trial is run again
            track(folder, row, project)


if __name__ == "__main__":
    main(sys.argv[1])
