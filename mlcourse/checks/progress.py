"""Verdicts into a small file that outlives the kernel, and the file into a table.

The file is `mlcourse_progress.json` in the working folder, or the one that the environment variable MLCOURSE_PROGRESS
names: `{"version": 1, "exercises": {"1.1": {"passed": true, "attempts": 3, "first_passed":
"2026-11-02T09:30:00+00:00", "mistakes": {"the words of the mistake": 2}}}}`. `attempts` counts the answers that were
checked until the first right one.
"""

import html
import json
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mlcourse.checks.engine import Exercise, Verdict
from mlcourse.files import write_whole

STALE = 10.0  # seconds after which a lock file counts as left behind by a kernel that died


class Row(NamedTuple):
    """One exercise in the table."""

    id: str
    title: str
    minutes: int
    difficulty: int
    state: str
    attempts: int


class ProgressTable(NamedTuple):
    """What was passed, tried and left, as text and as HTML."""

    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        width = max(len(row.title) for row in self.rows) + 2
        lines = [f"{'':6}{'exercise':{width}}minutes  level  state          tries"]
        for row in self.rows:
            stars, tries = "*" * row.difficulty, row.attempts or "-"
            lines.append(f"{row.id:6}{row.title:{width}}{row.minutes:7}  {stars:5}  {row.state:13}  {tries:>5}")
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        return f"{sum(row.state == 'right' for row in self.rows)} of {len(self.rows)} right."

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("", "exercise", "minutes", "level", "state", "tries"))
        body = "".join(
            f"<tr><td>{row.id}</td><td style='text-align: left'>{html.escape(row.title)}</td><td>{row.minutes}</td>"
            f"<td>{'*' * row.difficulty}</td><td>{row.state}</td><td>{row.attempts or '-'}</td></tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{self.summary()}</p>"


def path() -> Path:
    """Where the progress of this working folder is kept."""
    return Path(os.environ.get("MLCOURSE_PROGRESS") or "mlcourse_progress.json").absolute()


def table(exercises: list[Exercise]) -> ProgressTable:
    """The rows of these exercises, with what the file says of each."""
    kept = read()
    rows = []
    for exercise in exercises:
        entry = kept.get(exercise.id, {})
        state = "right" if entry.get("passed") else "tried" if entry.get("attempts") else "not attempted"
        rows.append(Row(exercise.id, exercise.title, exercise.minutes, exercise.difficulty, state, entry.get("attempts", 0)))
    return ProgressTable(tuple(rows))


def read() -> dict[str, dict]:
    """Exercise id -> what is known of it; empty where there is no file yet.

    A file that can't be read as progress is moved to the first free name `..._damaged_1.json`, and a line says so.
    """
    file = path()
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))["exercises"]
        if not all(isinstance(entry, dict) for entry in kept.values()):
            raise TypeError("an entry is not an object")
        return kept
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        number = 1
        while (aside := file.with_name(f"{file.stem}_damaged_{number}{file.suffix}")).exists():
            number += 1
        os.replace(file, aside)
        print(
            f"The progress file {file.name} can't be read ({type(error).__name__}: {error}). It was kept as "
            f"{aside.name}, and a new one begins. To restore it, mend that file and give it the old name back."
        )
        return {}


def record(exercise_id: str, verdict: Verdict) -> None:
    """Add a verdict to the file. Kernels that write at the same time wait for one another, so nothing is lost.

    Where the folder can't be written, a line says so and the check goes on.
    """
    if verdict.state == "not attempted":
        return
    try:
        with _locked(path()):
            kept = read()
            entry = {"passed": False, "attempts": 0, "first_passed": None, "mistakes": {}, **kept.get(exercise_id, {})}
            if not entry["passed"]:
                entry["attempts"] += 1
                if verdict.mistake:
                    entry["mistakes"][verdict.mistake] = entry["mistakes"].get(verdict.mistake, 0) + 1
                if verdict.state == "right":
                    entry["passed"] = True
                    entry["first_passed"] = datetime.now(UTC).isoformat(timespec="seconds")
            _write({**kept, exercise_id: entry})
    except OSError as error:
        print(
            f"Your progress was not saved: {path().name} can't be written ({error.strerror or error}). Set "
            "MLCOURSE_PROGRESS to a file in a folder of your own."
        )


def _write(kept: dict[str, dict]) -> None:
    whole = json.dumps({"version": 1, "exercises": dict(sorted(kept.items()))}, indent=1, ensure_ascii=False)
    write_whole(path(), whole + "\n")


@contextmanager
def _locked(file: Path):
    """Hold `file`.lock, which only one process can make; one left behind by a dead kernel is taken over."""
    lock = file.with_name(f"{file.name}.lock")
    patient_until = time.monotonic() + STALE
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            try:
                if time.time() - lock.stat().st_mtime > STALE or time.monotonic() > patient_until:
                    aside = lock.with_name(f"{lock.name}.{os.getpid()}")
                    os.rename(lock, aside)  # only one of those who wait succeeds
                    os.unlink(aside)
            except FileNotFoundError:
                pass
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
