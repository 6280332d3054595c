"""Sweeps with real kernels: what comes out, and what survives the end of a kernel, a worker, a fork server or the sweep itself.

The notebooks import nothing heavy; each is told by its parameters how to misbehave.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas
import psutil
import pytest

from mlcourse import __main__ as command_line
from mlcourse import repro
from mlcourse.sweep import SweepStopped, kernels, read, run, store, sweep, trial, workers

PARAMETERS = """
rate: float = 0.1
seed: int = 0
shape: tuple[int, ...] = (2, 3)
what: str = ""
folder: str = ""
"""
BODY = """
import os, pathlib, signal, time
log = pathlib.Path(folder, f"{seed}.log")
before = log.read_text() if folder and log.exists() else ""
def note(word):
    with log.open("a") as file:
        file.write(word + chr(10))
"""
ACT = """
print("seed", seed, shape)
if what == "raise":
    raise ValueError(f"rate={rate} is too large")
if what == "sleep":
    time.sleep(300)
if what == "eat":
    meal = b"x" * (400 * 2**20)
    time.sleep(300)
if what in ("kill kernel once", "kill parent once") and not before or what == "kill kernel":
    note("killed")
    os.kill(os.getppid() if "parent" in what else os.getpid(), signal.SIGKILL)
    time.sleep(300)
if what == "slow":
    note(f"started {os.getpid()}")
    while seed >= 2 and not pathlib.Path(folder, f"gate {seed // 2}").exists():
        time.sleep(0.05)
    note("done")
"""
END = """
if what == "record":  # elsewhere its import would cost more than the trial
    from mlcourse.record import record
    record("loss", rate * (seed + 1))
    record("tuples", isinstance(shape, tuple))
    import numpy
    from mlcourse import data
    images = data.Dataset("two dots", numpy.zeros((2, 1), "float32"), numpy.arange(2), 2, None)
"""


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    monkeypatch.setenv("MLCOURSE_TRACK", "off")  # tests/test_sweep_tracked.py is about that


@pytest.fixture
def notebook(tmp_path) -> Path:
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {"tags": ["parameters"] if number == 0 else []},
         "source": source.strip(), "outputs": [], "execution_count": None}
        for number, source in enumerate((PARAMETERS, BODY, ACT, END))
    ]  # fmt: skip
    path = tmp_path / "lesson" / "tiny.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": run.KERNEL}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def texts(path: Path) -> str:
    """All the outputs of a notebook that is valid and was executed."""
    found = nbformat.read(path, 4)
    nbformat.validate(found)
    return "\n".join(
        output.get("text") or output.get("evalue") or output["data"]["text/plain"]
        for cell in found.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def kernels_of(folder: Path) -> list[int]:
    """Processes that still work for a sweep."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(
            str(folder) in word for word in process.info["cmdline"] or []
        ):
            found.append(process.info["pid"])
    return found


def test_a_sweep_leaves_a_row_and_a_readable_notebook_for_each_trial_also_for_one_that_fails(notebook, tmp_path, capsys):
    out = tmp_path / "runs"
    before = notebook.read_bytes()
    (tmp_path / "list.yaml").write_text("trials: [{rate: 1e-2, what: record}, {rate: 1e+1, what: raise}]\n")
    words = ["sweep", str(notebook), "--config", str(tmp_path / "list.yaml"), "-p", "shape", "[4,5]", "-p", "seed", "3"]
    assert command_line.main([*words, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert (
        f"{out}: 2 trials, 1 failed\n  trials/0001_rate=10.0_what=raise_shape=-4-5-_seed=3.ipynb: cell 3: ValueError"
        in said.out
    )
    assert "2/2" in said.err and "1 failed" in said.err, "the progress bar"
    assert "<00:" in said.err, "the time left"
    well, failed = read(out)
    assert (well["status"], well["error"], well["attempts"]) == ("ok", None, 1)
    assert well["parameters"] == {"rate": 0.01, "seed": 3, "shape": [4, 5], "what": "record", "folder": ""}
    assert {name: entry["value"] for name, entry in well["metrics"].items()} == {"loss": 0.04, "tuples": 1.0}
    assert well["seconds"] > 0 and well["cpu_seconds"] > 0
    manifest = well["manifest"]
    assert manifest["packages"]["numpy"] and manifest["parameters"] == well["parameters"]
    assert manifest["data"] == {"two dots": repro.digest(np.zeros((2, 1), "float32"), np.arange(2))}
    assert manifest["seconds"] == well["seconds"]
    assert texts(out / well["notebook"]).startswith("seed 3 (4, 5)\n\nloss = 0.04")
    assert failed["error"] == "cell 3: ValueError: rate=10.0 is too large"
    assert failed["metrics"] == {}
    assert "seed 3 (4, 5)\n\nrate=10.0 is too large" in texts(out / failed["notebook"])
    shown = nbformat.read(out / failed["notebook"], 4)
    assert shown.cells[0].source == "**Trial 1 failed.**\n\n> cell 3: ValueError: rate=10.0 is too large"
    assert shown.metadata.kernelspec.name == "python3"
    frame = pandas.read_csv(out / "results.csv")
    assert frame[["trial", "status", "rate", "seed"]].values.tolist() == [[0, "ok", 0.01, 3], [1, "failed", 10.0, 3]]
    assert frame["loss"].isna().tolist() == [False, True]
    assert "0001_rate%3D10.0_what%3Draise_shape%3D-4-5-_seed%3D3.ipynb" in (out / "report.html").read_text()
    assert notebook.read_bytes() == before
    # Once more: nothing is left to do; with --retry-failed the failed one is.
    stamps = {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()}
    assert command_line.main([*words, "--out", str(out)]) == 1
    assert {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()} == stamps
    assert command_line.main([*words, "--out", str(out), "--retry-failed"]) == 1
    changed = [path.name[:4] for path in stamps if path.stat().st_mtime_ns != stamps[path]]
    assert changed == ["0001"]
    assert sorted(child.name for child in out.iterdir()) == [
        ".lock", "notebook.ipynb", "report.html", "results.csv", "rows", "sweep.json", "trials",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fork", [False, pytest.param(True, marks=pytest.mark.skipif(not kernels.forking_works(), reason="no fork"))]
)
def test_a_killed_kernel_or_worker_or_fork_server_costs_its_trial_a_retry_and_nothing_else(notebook, tmp_path, fork):
    # The parent of an ordinary kernel is the worker, of a forked one the fork server.
    trials = [{"seed": 0, "what": "kill kernel once" if fork else "kill kernel"}, {"seed": 1, "what": "kill parent once"}]
    outcome = sweep(notebook, {"folder": str(tmp_path)}, trials=trials, out=tmp_path / "runs", fork=fork, progress=False)
    killed, orphan = outcome.rows
    assert (orphan["status"], orphan["attempts"], (tmp_path / "1.log").read_text()) == ("ok", 2, "killed\n")
    assert kernels_of(tmp_path) == []
    if fork:
        assert (killed["status"], killed["attempts"], (tmp_path / "0.log").read_text()) == ("ok", 2, "killed\n")
    else:
        assert killed["error"] == "its kernel died. Was the memory used up? (2 attempts)"
        assert (tmp_path / "0.log").read_text() == "killed\n" * 2, "the limit of attempts holds"
        assert "its kernel died" in texts(outcome.folder / killed["notebook"])


def test_time_and_memory_have_limits(notebook, tmp_path):
    begun = time.monotonic()
    trials = [{"what": "eat"}, {"what": "sleep"}]
    outcome = sweep(notebook, trials=trials, out=tmp_path / "runs", seconds=5, memory=0.3, progress=False)
    eaten, slept = outcome.rows
    assert eaten["error"].startswith("memory limit: 0.") and eaten["error"].endswith(" GiB are more than 0.3 GiB")
    assert slept["error"] == "time limit: not done after 5 s"
    assert [row["attempts"] for row in outcome.rows] == [1, 1], "the same would happen again"
    assert "memory limit" in texts(outcome.folder / eaten["notebook"])
    assert "KeyboardInterrupt" in (outcome.folder / slept["notebook"]).read_text(), "the traceback says where it was"
    assert time.monotonic() - begun < 100
    assert kernels_of(tmp_path) == []


def start(notebook: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "mlcourse", "sweep", str(notebook), "-p", "what", "slow", "-p", "folder", str(out.parent)]
    command += ["-p", "seed", "0:6", "--workers", "2", "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_sweep_that_is_interrupted_and_then_killed_repeats_nothing_and_loses_nothing(notebook, tmp_path, capsys):
    out, rows = tmp_path / "runs", tmp_path / "runs" / "rows"
    logs = lambda: {int(path.stem): path.read_text().split() for path in tmp_path.glob("*.log")}  # noqa: E731
    done = lambda: sorted(int(path.stem) for path in rows.glob("[0-9]*.json"))  # noqa: E731
    running = lambda: [number for number, words in logs().items() if words[-1:] != ["done"]]  # noqa: E731
    # Trials 2 and 3 wait for a gate, and so do 4 and 5. First Ctrl-C, after a second sweep has come to the same folder.
    process = start(notebook, out)
    wait_for(lambda: done() and set(running()) & {2, 3}, process)
    words = ["-p", "what", "slow", "-p", "folder", str(tmp_path), "-p", "seed", "0:6"]
    assert command_line.main(["sweep", str(notebook), *words, "--out", str(out)]) == 2
    assert f"another sweep is writing here (process {process.pid} on " in capsys.readouterr().err
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert f"Stopped. The trials that are done are in {out}; the same command runs the others." in said
    after_interrupt = done()
    assert after_interrupt in ([0], [1], [0, 1])
    frame = pandas.read_csv(out / "results.csv")
    assert frame["trial"].tolist() == after_interrupt
    # kill -9, while kernels run.
    (tmp_path / "gate 1").touch()
    process = start(notebook, out)
    wait_for(lambda: len(done()) > len(after_interrupt) and set(running()) & {4, 5}, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    after_kill = done()
    pids = [int(lines[number + 1]) for lines in logs().values() for number, word in enumerate(lines) if word == "started"]
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids)), "no kernel outlives its sweep"
    for number in after_kill:
        assert json.loads((rows / f"{number:04}.json").read_text())["status"] == "ok", "no half row"
    counts = {number: len(logs()[number]) for number in after_kill}
    # The same command again.
    (tmp_path / "gate 2").touch()
    process = start(notebook, out)
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert done() == list(range(6))
    assert {number: len(logs()[number]) for number in after_kill} == counts, "what was done is not repeated"
    frame = pandas.read_csv(out / "results.csv")
    assert frame["trial"].tolist() == frame["seed"].tolist() == list(range(6))
    assert frame["status"].unique().tolist() == ["ok"]
    assert not list(out.rglob(".*.new")) and not (out / ".work").exists()
    assert kernels_of(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to write to")
def test_a_worker_that_finds_the_disk_full_says_so(notebook, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "trial.ipynb").symlink_to("/dev/full")
    job = trial.Job(json.loads(notebook.read_text()), {"seed": 1}, str(work), str(tmp_path), None, None)
    trial.register()
    reply = trial.run(job, lambda pid: None)
    assert (reply["status"], reply["error"]) == ("full", f"[Errno {errno.ENOSPC}] No space left on device")
    assert not trial.current_folders


def test_a_full_disk_under_a_worker_stops_the_sweep(tmp_path, monkeypatch):
    def full(self, job):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(workers.Worker, "attempt", full)
    replies = workers.run_local({0: {}, 1: {}}, workers=2, retries=1, folder=tmp_path, environment={})
    with pytest.raises(SweepStopped, match="no space is left"), run.stopping_when_full(tmp_path):
        next(replies)


def test_a_worker_that_dies_at_its_start_is_named_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CODE", "import sys; print('out of luck', file=sys.stderr); sys.exit(3)")
    worker = workers.Worker(tmp_path / "w", dict(os.environ))
    reply = worker.run({"seconds": None}, retries=2)
    assert (reply["status"], reply["attempts"], reply["notebook"]) == ("failed", 3, None)
    assert reply["error"] == "its worker process died with code 3: out of luck (3 attempts)"
    worker.stop()


def test_a_worker_that_hangs_is_killed_some_time_after_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CODE", "import time; time.sleep(300)")
    monkeypatch.setattr(workers, "GRACE", 0.1)
    worker = workers.Worker(tmp_path / "w", dict(os.environ))
    reply = worker.run({"seconds": 0.1}, retries=0)
    assert reply["error"] == "its worker process died with code -9 (1 attempts)"


def test_a_program_that_a_killed_kernel_was_writing_leaves_the_cache(tmp_path):
    (tmp_path / "young-cache").write_text("half")
    (tmp_path / "old-cache").write_text("whole")
    os.utime(tmp_path / "old-cache", (time.time() - 60, time.time() - 60))
    workers.forget_half_written({workers.CACHE: str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == ["old-cache"]
    workers.forget_half_written({})


def test_a_trial_without_a_notebook_gets_the_one_it_would_have_run(notebook, tmp_path):
    plan = run.planned(notebook, {"seed": 5}, trials=None, samples=0, sample_seed=0)
    reply = workers.NOTHING | {"status": "failed", "error": "lost", "attempts": 2}
    with store.opened(tmp_path / "runs", plan) as found:
        row, text = run.finished(found, 0, reply)
    shown = nbformat.reads(text, 4)
    nbformat.validate(shown)
    assert (row["status"], row["seconds"], len(shown.cells)) == ("failed", None, 5)
    assert shown.cells[0].source == "**Trial 0 failed.**\n\n> lost"
