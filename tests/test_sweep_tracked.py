"""Sweeps log one run a trial, and no tracker can cost a sweep its results.

Workers are played by the test; the process that tracks is a real one.
"""

import json
from pathlib import Path

import pytest

from mlcourse import __main__ as command_line
from mlcourse import tracking
from mlcourse.record import read_histories, record_history
from mlcourse.sweep import read, run, tracked


def output(**fields) -> dict:
    return {"output_type": "display_data", "data": {"text/plain": "..."}, "metadata": {"mlcourse": fields}}


CELLS = [
    {"cell_type": "code", "id": name, "metadata": {"tags": [name]}, "source": source, "outputs": [], "execution_count": None}
    for name, source in (("parameters", "rate: float = 0.1\nseed: int = 0"), ("end", "rate * seed"))
]
SOURCE = {"cells": CELLS, "metadata": {"kernelspec": run.KERNEL}, "nbformat": 4, "nbformat_minor": 5}
ERROR = {"name": "test_error", "value": 0.03, "low": 0.02, "high": 0.04, "n": 5, "unit": ""}
ROWS = [{"step": 0, "error": 0.9}, {"step": 20, "loss": 0.5, "error": 0.4}]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder whose sweeps are tracked in it; trial 1 of every sweep fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLCOURSE_TRACK", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "tracked"))
    Path("tiny.ipynb").write_text(json.dumps(SOURCE))
    executed = json.loads(json.dumps(SOURCE))
    executed["cells"][1]["outputs"] = [output(**ERROR), output(history="training", rows=ROWS)]
    reply = {"error": None, "seconds": 1.5, "attempts": 1, "notebook": json.dumps(executed), "manifest": {"python": "3.11.7"}}

    def answer(jobs, found, **_):
        for number in jobs:
            yield number, reply | ({"status": "failed", "error": "cell 2: a slip"} if number == 1 else {"status": "ok"})

    monkeypatch.setattr(run, "with_kernels", answer)
    return tmp_path


WORDS = ["sweep", "tiny.ipynb", "-p", "seed", "0:3", "--out", "runs"]


def test_every_trial_is_one_run_also_when_the_sweep_is_gone_on_with(folder, capsys):
    assert command_line.main([*WORDS, "--no-track"]) == 1
    assert not (folder / "tracked").exists()
    assert command_line.main(WORDS) == 1  # nothing is left to run, but everything to track
    manifests = tracking.runs("tiny")
    assert sorted(name.rpartition("-")[0] for name in manifests) == [f"runs-000{n}_seed-{n}" for n in range(3)]
    first, failed, _ = (manifests[name] for name in sorted(manifests))
    assert first["parameters"] == {"rate": 0.1, "seed": 0} and (first["status"], first["seconds"]) == ("finished", 1.5)
    assert failed["status"] == "TrialFailed: cell 2: a slip"
    (notebook,) = first["artifacts"]
    assert notebook["path"] == str(folder / "runs" / read("runs")[0]["notebook"])
    assert notebook["sha256"] == tracking.digest(Path(notebook["path"]))
    name = min(manifests)
    assert tracking.read("tiny", name) == [
        {"run": name, "step": 0, "test_error": 0.03, "test_error_low": 0.02, "test_error_high": 0.04, "training/error": 0.9},
        {"run": name, "step": 20, "training/loss": 0.5, "training/error": 0.4},
    ]
    assert len(tracking.read("tiny")) == 5, "a failed trial has no numbers, but a run"
    assert command_line.main(WORDS) == 1
    assert (len(tracking.runs("tiny")), len(tracking.read("tiny"))) == (3, 5), "once more changes nothing"
    assert command_line.main([*WORDS, "--retry-failed"]) == 1
    assert len(tracking.runs("tiny")) == 4, "another attempt is another run"
    assert "tracked" not in capsys.readouterr().err


def test_a_tracker_that_is_killed_halfway_is_made_good_by_the_next_one(folder, monkeypatch):
    code = (
        "import os, sys; from mlcourse import tracking; from mlcourse.sweep import tracked\n"
        "tracking.Run.save = lambda *_, **__: (__import__('time').sleep(1), os._exit(9))\n"  # when trackio has written the rows
        "tracked.main('tiny')"
    )

    class Weak(tracked.Teller):
        def __init__(self, *words):
            super().__init__(*words)
            self.command = [self.command[0], "-c", code]

    with monkeypatch.context() as patch:
        patch.setattr(tracked, "Teller", Weak)
        assert run.sweep("tiny.ipynb", out="runs", progress=False).failed == 0
    assert [entry["status"] for entry in tracking.runs("tiny").values()] == ["running"]
    rows = tracking.read("tiny")
    assert len(rows) == 2
    run.sweep("tiny.ipynb", out="runs", progress=False)
    assert [entry["status"] for entry in tracking.runs("tiny").values()] == ["finished"]
    assert tracking.read("tiny") == rows


def test_a_tracker_that_fails_costs_one_warning_and_nothing_else(folder, capsys):
    (folder / "tracked").write_text("a file, where a folder should be")
    outcome = run.sweep("tiny.ipynb", {"seed": [0, 2, 4]}, out="runs", progress=False)
    assert [row["status"] for row in outcome.rows] == ["ok", "failed", "ok"]
    said = capsys.readouterr().err
    assert said.count("The results are whole, but not all of them are tracked: ") == 1
    assert "Error" in said and "The same command tracks what is missing" in said
    assert "Traceback" not in said


def test_a_tracker_that_cannot_start_or_does_not_end_costs_one_warning(tmp_path, monkeypatch, capsys):
    (tmp_path / ".work").mkdir()
    monkeypatch.delenv("MLCOURSE_TRACK", raising=False)
    monkeypatch.setattr(tracked.sys, "executable", str(tmp_path / "no python"))
    with tracked.tracked(tmp_path, "tiny", [0, 1]) as tell:
        tell(2)
    assert capsys.readouterr().err.count("not all of them are tracked: [Errno 2]") == 1
    monkeypatch.undo()
    monkeypatch.setattr(tracked, "SECONDS_TO_END", 0.01)
    teller = tracked.Teller(tmp_path, "tiny")
    teller.command = [tracked.sys.executable, "-c", "import time; time.sleep(60)"]
    teller.tell(0)
    teller.end()
    assert f"process {teller.process.pid} is still at it after 0.01 s" in capsys.readouterr().err
    teller.process.kill()
    teller.process.wait()


def test_a_history_is_thinned_to_the_rows_that_say_most(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("mlcourse.record.show", lambda line, fields: kept.append((line, fields)))
    rows = [{"step": k, "loss": 1.0} | ({"error": 0.5} if k % 100 == 0 else {}) for k in range(1001)]
    record_history(rows)
    record_history([{"step": k, "loss": float(k)} for k in range(1001)], name="training")
    (line, first), (_, second) = kept
    assert line == "history: 11 rows of loss, error"
    assert [row["step"] for row in first["rows"]] == list(range(0, 1001, 100))
    assert len(second["rows"]) == 200 and (second["rows"][0]["step"], second["rows"][-1]["step"]) == (0, 1000)
    notebook = {"cells": [{"outputs": [output(**first), output(**second)]}]}
    (tmp_path / "executed.ipynb").write_text(json.dumps(notebook))
    assert read_histories(tmp_path / "executed.ipynb") == {"history": first["rows"], "training": second["rows"]}
    with pytest.raises(ValueError, match="name='my run' can't stand before a metric"):
        record_history(rows, name="my run")
