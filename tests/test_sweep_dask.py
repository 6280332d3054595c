"""The same sweep on a Dask cluster: a real scheduler and two worker processes, one of which is killed halfway."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import psutil
import pytest

from mlcourse import __main__ as command_line
from mlcourse.sweep import SweepError, kernels, read, run, sweep, workers

PARAMETERS = "seed: int = 0\nfolder: str = ''"
BODY = """
import os, pathlib, time
log = pathlib.Path(folder, f"{seed}.log")
with log.open("a") as file:
    file.write(f"started {os.getpid()}\\n")
while seed >= 2 and not pathlib.Path(folder, "gate").exists():
    time.sleep(0.05)
with log.open("a") as file:
    file.write("done\\n")
"""


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    monkeypatch.setenv("MLCOURSE_TRACK", "off")  # tests/test_sweep_tracked.py is about that


def write_notebook(path: Path) -> Path:
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {"tags": ["parameters"] if number == 0 else []},
         "source": source.strip(), "outputs": [], "execution_count": None}
        for number, source in enumerate((PARAMETERS, BODY))
    ]  # fmt: skip
    path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": run.KERNEL}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def wait_for(condition: Callable, *processes: subprocess.Popen) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_dask_worker_that_is_killed_costs_its_trial_a_retry_and_no_trial_is_twice_in_the_table(tmp_path):
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'mlcourse[cluster]'")
    notebook, out = write_notebook(tmp_path / "tiny.ipynb"), tmp_path / "runs"
    address = tmp_path / "scheduler.json"
    environment = os.environ | {kernels.ADDRESS: "off", "DASK_DISTRIBUTED__ADMIN__LOG_LENGTH": "0"}

    def dask(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(address), "--no-dashboard"]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=tmp_path)

    with open(tmp_path / "dask.log", "w") as log, contextlib.ExitStack() as stack:
        started = [dask("scheduler", "--host", "127.0.0.1", "--port", "0")]
        stack.callback(lambda: [process.kill() or process.wait() for process in started])
        started += [dask("worker", "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1") for _ in range(2)]
        wait_for(lambda: address.exists() and address.read_text().endswith("}"), *started)
        uri = json.loads(address.read_text())["address"]
        command = [sys.executable, "-m", "mlcourse", "sweep", str(notebook), "-p", "seed", "0:5", "-p", "folder", str(tmp_path)]
        sweeping = subprocess.Popen([*command, "--scheduler", uri, "--out", str(out)], stdout=log, stderr=log)
        started.append(sweeping)
        logs = lambda: {int(path.stem): path.read_text().split() for path in tmp_path.glob("[0-9].log")}  # noqa: E731
        running = lambda: [number for number, words in logs().items() if words[-1:] != ["done"]]  # noqa: E731
        # Trials 0 and 1 are done, and each worker is in one of those that wait for the gate.
        wait_for(lambda: len(running()) == 2 and len(list(out.glob("rows/[0-9]*"))) == 2, *started)
        waiting = running()
        started[1].kill()
        started.pop(1).wait()
        (tmp_path / "gate").touch()
        assert sweeping.wait(180) == 0, (tmp_path / "dask.log").read_text()
    frame = pandas.read_csv(out / "results.csv")
    assert frame["trial"].tolist() == frame["seed"].tolist() == [0, 1, 2, 3, 4]
    assert frame["status"].tolist() == ["ok"] * 5
    begun = {number: words.count("started") for number, words in logs().items()}
    assert begun[0] == begun[1] == 1
    assert sorted(begun[number] for number in waiting) == [1, 2], "the trial of the killed worker ran again, and no other"
    assert all((out / row["notebook"]).exists() for row in read(out))
    pids = {int(pid) for words in logs().values() for pid in words if pid.isdigit()}
    wait_for(lambda: not pids & {process.pid for process in psutil.process_iter()})


def test_a_scheduler_that_does_not_answer_is_refused(tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'mlcourse[cluster]'")
    monkeypatch.setattr(workers, "SECONDS_TO_REACH", 1)
    notebook = write_notebook(tmp_path / "tiny.ipynb")
    words = ["sweep", str(notebook), "--out", str(tmp_path / "runs"), "--scheduler", "tcp://127.0.0.1:9"]
    assert command_line.main(words) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_without_distributed_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    notebook = write_notebook(tmp_path / "tiny.ipynb")
    with pytest.raises(SweepError, match=r"--scheduler needs the package distributed: pip install 'mlcourse\[cluster\]'"):
        sweep(notebook, out=tmp_path / "runs", scheduler="tcp://127.0.0.1:9", progress=False)
    assert not (tmp_path / "runs").exists()
