"""A folder into the memory of one sweep: which trials it has, which are done, and the table of their rows.

    sweep.json            the notebook's digest and the list of trials; a folder holds one sweep
    notebook.ipynb        the notebook as it was when the sweep began; every trial runs this
    rows/0003.json        one finished trial; this file is the moment at which it is done
    trials/0003_....ipynb its executed notebook, written before its row
    results.csv           the rows as a table, made from them
    .lock, .work/         who is writing here; notebooks under way

Every file is written under another name, flushed to the disk and renamed: whatever happens, it is there whole or not at all.
"""

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlcourse.files import write_whole
from mlcourse.sweep.parameters import SweepError

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class Plan(NamedTuple):
    """What a sweep is: the same plan in the same folder goes on where it stopped."""

    name: str  # of the notebook's file
    notebook: dict
    trials: list[dict[str, Any]]
    defaults: dict[str, Any]  # the parameters that a trial does not set

    def description(self) -> dict:
        return json.loads(json.dumps({"notebook": self.name, "sha256": digest(self.notebook), "trials": self.trials}))


def digest(notebook: dict) -> str:
    """SHA-256 of what a notebook does: its cells' types, tags and sources. Outputs and execution counts don't count."""
    cells = [
        (cell["cell_type"], sorted(cell.get("metadata", {}).get("tags", [])), "".join(cell["source"]))
        for cell in notebook["cells"]
    ]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


class Store:
    """The folder of one sweep while it is locked; made by `opened`."""

    def __init__(self, folder: Path, plan: Plan, rows: dict[int, dict]):
        self.folder, self.plan, self.rows = folder, plan, rows
        self.work = folder / ".work"

    def missing(self, *, retry_failed: bool = False) -> list[int]:
        """Numbers of the trials that are still to be run."""
        done = {number for number, row in self.rows.items() if row["status"] == "ok" or not retry_failed}
        return [number for number in range(len(self.plan.trials)) if number not in done]

    def notebook_path(self, number: int) -> Path:
        """Where the executed notebook of a trial goes: its number and the first of its parameters."""
        words = "_".join(f"{name}={value}" for name, value in self.plan.trials[number].items())
        words = re.sub(r"[^\w=.+-]+", "-", words, flags=re.ASCII)[:80]
        return self.folder / "trials" / f"{number:04}{'_' + words if words else ''}.ipynb"

    def commit(self, row: dict, notebook: str) -> None:
        """Keep a finished trial: first its notebook, then its row."""
        path = self.folder / row["notebook"]
        write_whole(path, notebook)
        write_whole(self.folder / "rows" / f"{row['trial']:04}.json", json.dumps(row, indent=1))
        self.rows[row["trial"]] = row

    def write_table(self) -> None:
        write_whole(self.folder / "results.csv", table(self.sorted_rows()))

    def sorted_rows(self) -> list[dict]:
        return [self.rows[number] for number in sorted(self.rows)]


@contextlib.contextmanager
def opened(folder: Path, plan: Plan) -> Iterator[Store]:
    """The store of a folder, new or gone on with, and nobody else's as long as the block runs.

    Raises:
        SweepError: another sweep is running there, the folder holds a different sweep, or things that are no sweep.
    """
    if folder.exists() and not folder.is_dir():
        raise SweepError(f"{folder} is a file; the results need a folder (--out).")
    known = folder / "sweep.json"
    if not known.exists() and folder.is_dir():
        others = sorted(child.name for child in folder.iterdir() if not child.name.startswith("."))
        if others and others != ["notebook.ipynb"]:
            raise SweepError(f"{folder} holds other things ({', '.join(others[:3])}) and no sweep. Choose a new one (--out).")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        description = plan.description()
        if known.exists():
            compare(folder, json.loads(known.read_text(encoding="utf-8")), description)
        else:
            write_whole(folder / "notebook.ipynb", json.dumps(plan.notebook, indent=1))
            write_whole(known, json.dumps(description, indent=1))
        for name in ("rows", "trials"):
            (folder / name).mkdir(exist_ok=True)
        store = Store(folder, plan, read_rows(folder))
        shutil.rmtree(store.work, ignore_errors=True)
        store.work.mkdir()
        for half in (*folder.glob(".*.new"), *folder.glob("*/.*.new")):
            half.unlink(missing_ok=True)
        try:
            yield store
        finally:
            shutil.rmtree(store.work, ignore_errors=True)


def compare(folder: Path, there: dict, here: dict) -> None:
    """Refuse a folder that another sweep began."""
    if there == here:
        return
    if there["notebook"] != here["notebook"]:
        what = f"it is of {there['notebook']}, not of {here['notebook']}"
    elif there["sha256"] != here["sha256"]:
        what = f"{here['notebook']} has been changed since it began"
    else:
        common = sum(trial in there["trials"] for trial in here["trials"])
        what = f"it has {len(there['trials'])} trials and this one {len(here['trials'])}, of which {common} are the same"
    raise SweepError(f"{folder} holds another sweep: {what}. Results would not belong together; choose another folder (--out).")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else can lock the folder until the block ends or this process does, however it does."""
    with open(folder / ".lock", "a+", encoding="utf-8") as file:
        try:
            lock_file(file)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP):
                raise SweepError(f"{folder}: this file system has no locks ({error.strerror}). Choose a local one.") from None
            file.seek(0)
            raise SweepError(
                f"{folder}: another sweep is writing here ({file.read().strip() or 'just started'}). "
                "Wait until it ends, or choose another folder (--out)."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def lock_file(file: io.TextIOBase) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 20)  # a byte behind the text, so that the text can be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_rows(folder: str | os.PathLike) -> dict[int, dict]:
    """The finished trials of a sweep's folder by number."""
    rows = {}
    for path in sorted(Path(folder, "rows").glob("[0-9]*.json")):
        with contextlib.suppress(ValueError):  # a file that the disk damaged: its trial is run again
            row = json.loads(path.read_text(encoding="utf-8"))
            rows[row["trial"]] = row
    return rows


def table(rows: list[dict]) -> str:
    """The rows as CSV; `pandas.read_csv` reads it, and an empty field is a missing value.

    Columns: trial, status, the parameters, for each recorded number its value and, where it has them, `_low` and `_high`,
    then seconds, cpu_seconds, attempts, error, notebook, python and one column a package version.
    """
    flat = list(map(flattened, rows))
    columns = dict.fromkeys(name for group in range(4) for row in flat for name in row[group])
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    for row in flat:
        writer.writerow({name: value for group in row for name, value in group.items()})
    return text.getvalue()


def flattened(row: dict) -> tuple[dict, dict, dict, dict]:
    """The four groups of columns of a row."""
    head = {"trial": row["trial"], "status": row["status"]}
    tail = {name: row[name] for name in ("seconds", "cpu_seconds", "attempts", "error", "notebook", "finished")}
    tail["python"] = row["manifest"].get("python")
    tail |= {f"version_{name}": version for name, version in row["manifest"].get("packages", {}).items()}
    taken = {*head, *tail}
    parameters = {}
    for name, value in row["parameters"].items():
        key = f"parameter_{name}" if name in taken else name
        parameters[key] = value if isinstance(value, str | int | float | None) else json.dumps(value)
    taken |= {*parameters}
    metrics = {}
    for name, entry in row["metrics"].items():
        key = f"recorded_{name}" if name in taken else name
        metrics[key] = entry["value"]
        if entry["low"] is not None:
            metrics |= {f"{key}_low": entry["low"], f"{key}_high": entry["high"]}
    return head, parameters, metrics, tail
