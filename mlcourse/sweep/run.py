"""A notebook and parameters into a folder of executed notebooks and one table."""

import contextlib
import datetime
import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from mlcourse.sweep import kernels
from mlcourse.sweep.parameters import Mismatch, SweepError, declared, plain
from mlcourse.sweep.store import FULL, Plan, Store, opened, read_rows
from mlcourse.sweep.tracked import tracked
from mlcourse.sweep.trials import expand
from mlcourse.sweep.workers import CACHE, SweepStopped, cache_settings, connected, run_dask, run_local

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
TABLE_SECONDS = 5  # how often the table is renewed while trials run


class Outcome(NamedTuple):
    """What a sweep came to."""

    folder: Path
    rows: list[dict]  # one a trial, in the order of the trials
    failed: int


def sweep(
    notebook: str | os.PathLike,
    given: Mapping[str, Any] | None = None,
    *,
    out: str | os.PathLike,
    trials: list[Mapping[str, Any]] | None = None,
    samples: int = 0,
    sample_seed: int = 0,
    workers: int = 1,
    retries: int = 1,
    seconds: float | None = None,
    memory: float | None = None,
    retry_failed: bool = False,
    scheduler: str | None = None,
    fork: bool = True,
    progress: bool = True,
    track: bool = True,
) -> Outcome:
    """Every trial of a sweep executed, or what is missing of them if `out` holds a part already.

    Args:
        notebook: with one cell tagged `parameters`.
        given, trials, samples, sample_seed: what is run; see `mlcourse.sweep.trials.expand`.
        out: the folder of this sweep and of no other; `mlcourse.sweep.store` says what is in it.
        workers: trials at a time on this machine.
        retries: further attempts for a trial whose kernel or worker process died. An error in a cell is a result.
        seconds: limit of each trial.
        memory: limit of each trial in GiB of resident memory.
        retry_failed: run failed trials of an earlier call again.
        scheduler: address of a Dask scheduler, whose workers then run the trials.
        fork: take kernels from a fork server where the system allows.
        progress: show a bar with the time left.
        track: log each finished trial to Trackio as one run (see `mlcourse.sweep.tracked`).

    Raises:
        SweepError: what was asked for can't be run; nothing was started.
        SweepStopped: the disk is full or the cluster gone; what is done is kept.
    """
    check_options(workers, retries, seconds, memory)
    path = Path(notebook)
    plan = planned(path, given, trials=trials, samples=samples, sample_seed=sample_seed)
    limits = {"cwd": str(path.resolve().parent), "seconds": seconds, "memory": memory}
    with (
        stopping_when_full(out),
        connected(scheduler) as client,
        opened(Path(out), plan) as found,
        tracked(found.folder, path.stem, sorted(found.rows), wanted=track) as tell,
    ):
        jobs = {number: {"notebook": plan.notebook, "given": plan.trials[number]} | limits
                for number in found.missing(retry_failed=retry_failed)}  # fmt: skip
        if client:
            replies = run_dask(jobs, client=client, retries=retries)
        else:
            replies = with_kernels(jobs, found, workers=workers, retries=retries, fork=fork)
        try:
            with (
                contextlib.closing(replies),
                tqdm(total=len(plan.trials), initial=len(plan.trials) - len(jobs), unit="trial", disable=not progress) as bar,
            ):
                keep(replies, found, bar, tell)
        finally:
            from mlcourse.sweep.report import write_report  # SciPy and Matplotlib: a refusal must not wait for them

            found.write_table()
            write_report(found.folder, plan.name, plan.trials, found.sorted_rows())
        rows = found.sorted_rows()
        return Outcome(found.folder, rows, sum(row["status"] != "ok" for row in rows))


def check_options(workers: int, retries: int, seconds: float | None, memory: float | None) -> None:
    if workers < 1:
        raise SweepError(f"workers={workers}: at least one has to do the work.")
    if retries < 0:
        raise SweepError(f"retries={retries} is negative; 0 means that every trial has one attempt.")
    for name, limit, unit in (("seconds", seconds, "60"), ("memory", memory, "2 (GiB)")):
        if limit is not None and not limit > 0:
            raise SweepError(f"{name}={limit} leaves nothing to run in; give a positive number, such as {unit}, or no limit.")


def planned(path: Path, given: Mapping[str, Any] | None, **options: Any) -> Plan:
    """The plan of a sweep, checked."""
    notebook = read_notebook(path)
    known = declared(notebook)
    every = expand(known, given, **options)
    defaults = {}
    for parameter in known.values():
        with contextlib.suppress(Mismatch):
            defaults |= {parameter.name: plain(parameter.default)} if parameter.has_default else {}
    return Plan(path.name, notebook, every, defaults)


def read_notebook(path: Path) -> dict:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["nbformat"] != 4 or not isinstance(notebook["cells"], list):
            raise ValueError
    except OSError as error:
        raise SweepError(f"{path} can't be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise SweepError(f"{path} is no notebook of format 4. Open it in JupyterLab and save it.") from None
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return notebook


@contextlib.contextmanager
def stopping_when_full(out: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SweepStopped(
            f"no space is left on the disk of {out}. What is done is kept: make room, then the same command goes on."
        ) from None


def with_kernels(jobs: dict[int, dict], found: Store, *, workers: int, retries: int, fork: bool) -> Iterator[tuple[int, dict]]:
    """`run_local` with a fork server and JAX's cache of compiled programs, where they help."""
    if not jobs:
        return
    modules = kernels.imported(next(iter(jobs.values()))["notebook"])
    environment = dict(os.environ)
    if any(name.split(".")[0] == "jax" for name in modules) and CACHE not in environment:
        environment |= cache_settings(found.work.resolve() / "jax")
    server = kernels.Server(modules, environment) if fork and len(jobs) > 1 and kernels.forking_works() else None
    environment[kernels.ADDRESS] = server.address if server else "off"
    importlib.import_module("mlcourse.record")  # takes a second: now, while the server imports, and not when a trial has ended
    try:
        yield from run_local(jobs, workers=workers, retries=retries, folder=found.work.resolve(), environment=environment)
    finally:
        if server:
            server.stop()


def keep(replies: Iterator[tuple[int, dict]], found: Store, bar: tqdm, tell: Callable[[int], None]) -> None:
    """Rows and notebooks into the store as they come; `tell` is called with the number of each trial that is kept."""
    written = time.monotonic()
    for number, reply in replies:
        if reply["status"] == "full":
            raise OSError(FULL[0], reply["error"])
        row, notebook = finished(found, number, reply)
        found.commit(row, notebook)
        tell(number)
        bar.update()
        failed = sum(row["status"] != "ok" for row in found.rows.values())
        bar.set_postfix_str(f"{failed} failed" if failed else "")
        if time.monotonic() - written > TABLE_SECONDS:
            found.write_table()
            written = time.monotonic()


def finished(found: Store, number: int, reply: dict) -> tuple[dict, str]:
    """The row of a trial and the text of its notebook."""
    parameters = json.loads(json.dumps(found.plan.defaults | found.plan.trials[number]))
    executed = json.loads(reply["notebook"]) if reply["notebook"] else json.loads(json.dumps(found.plan.notebook))
    status, error, metrics = reply["status"], reply["error"], {}
    if status == "ok":
        try:
            metrics = {entry.name: entry._asdict() for entry in read_records_of(found, executed)}
        except ValueError as mistake:
            status, error = "failed", str(mistake)
    kernel = executed["metadata"].get("mlcourse", {}).get("kernel", {})
    manifest = dict(reply["manifest"]) | {
        "parameters": parameters, "devices": kernel.get("devices", []), "data": kernel.get("data", {}),
        "seconds": reply["seconds"],
    }  # fmt: skip
    row = {
        "trial": number, "status": status, "error": error, "parameters": parameters, "metrics": metrics,
        "seconds": reply["seconds"], "cpu_seconds": kernel.get("cpu_seconds"), "attempts": reply["attempts"],
        "notebook": found.notebook_path(number).relative_to(found.folder).as_posix(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "manifest": manifest,
    }  # fmt: skip
    executed["metadata"] |= {"kernelspec": KERNEL, "mlcourse": {"trial": number, "manifest": manifest}}
    for cell in executed["cells"]:
        if "injected-parameters" in cell.get("metadata", {}).get("tags", []) and "id" in cell:
            cell["id"] = "injected-parameters"  # papermill's is random
    if status != "ok":
        show_error(executed, str(error), number)
    return row, json.dumps(executed, indent=1, ensure_ascii=False) + "\n"


def read_records_of(found: Store, executed: dict) -> list:
    from mlcourse.record import read_records

    path = found.work / "executed.ipynb"
    path.write_text(json.dumps(executed), encoding="utf-8")
    try:
        return read_records(path)
    except ValueError as mistake:
        raise ValueError(str(mistake).replace(str(path), "the notebook")) from None


def show_error(executed: dict, error: str, number: int) -> None:
    """Say at the top of a notebook, and in the cell that was running, why the trial failed."""
    if not any(output["output_type"] == "error" for cell in executed["cells"] for output in cell.get("outputs", [])):
        output = {"output_type": "error", "ename": "TrialFailed", "evalue": error, "traceback": [f"TrialFailed: {error}"]}
        begun = [cell for cell in executed["cells"] if cell["metadata"].get("papermill", {}).get("start_time")]
        if begun and begun[-1]["cell_type"] == "code":
            begun[-1]["outputs"].append(output)
    words = "\n".join("> " + line for line in error.splitlines() or [""])
    top = {"cell_type": "markdown", "id": "trial-failed", "metadata": {}, "source": f"**Trial {number} failed.**\n\n{words}"}
    if executed.get("nbformat_minor", 0) < 5:
        del top["id"]
    executed["cells"].insert(0, top)


def read(folder: str | os.PathLike) -> list[dict]:
    """The rows of a sweep's folder, as `Outcome.rows` has them; for pandas there is `results.csv` in it."""
    return [row for _, row in sorted(read_rows(folder).items())]
