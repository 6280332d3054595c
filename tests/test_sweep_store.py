"""A sweep's folder: one sweep, one writer, every file whole; the table, the report and the command line's refusals."""

import errno
import json
import os
from pathlib import Path

import pandas
import pytest

from mlcourse import __main__ as command_line
from mlcourse.sweep import report, run, store
from mlcourse.sweep.parameters import SweepError
from mlcourse.sweep.workers import SweepStopped


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    monkeypatch.setenv("MLCOURSE_TRACK", "off")  # tests/test_sweep_tracked.py is about that


def notebook(*sources: str) -> dict:
    """A notebook whose first cell holds the parameters; it imports nothing."""
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {"tags": ["parameters"] if number == 0 else []},
         "source": source, "outputs": [], "execution_count": None}
        for number, source in enumerate(sources)
    ]  # fmt: skip
    return {"cells": cells, "metadata": {"kernelspec": run.KERNEL}, "nbformat": 4, "nbformat_minor": 5}


SOURCE = notebook("rate: float = 0.1\nseed: int = 0", "rate * seed")
TRIALS = [{"rate": rate, "seed": seed} for rate in (0.1, 1.0) for seed in (0, 1)]
PLAN = store.Plan("tiny.ipynb", SOURCE, TRIALS, {"rate": 0.1, "seed": 0, "name": "digits"})


def row_of(number: int, *, status: str = "ok", **metrics: float) -> dict:
    entries = {
        name: {"name": name, "value": value, "low": None, "high": None, "n": None, "unit": ""}
        for name, value in metrics.items()
    }
    return {
        "trial": number, "status": status, "error": None if status == "ok" else "cell 2: ValueError: no, \"never\"\nat all",
        "parameters": PLAN.defaults | TRIALS[number], "metrics": entries, "seconds": 1.5, "cpu_seconds": 0.5, "attempts": 1,
        "notebook": f"trials/{number:04}.ipynb", "finished": "2026-01-01T00:00:00+00:00",
        "manifest": {"python": "3.11.7", "packages": {"numpy": "2.1.0"}},
    }  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# The folder


def test_what_is_kept_is_there_when_the_folder_is_opened_again(tmp_path):
    with store.opened(tmp_path / "out", PLAN) as found:
        assert found.missing() == [0, 1, 2, 3]
        found.commit(row_of(1, loss=2.0), "notebook 1")
        found.commit(row_of(3, status="failed"), "notebook 3")
        assert found.missing() == [0, 2]
    with store.opened(tmp_path / "out", PLAN) as found:
        assert found.missing() == [0, 2]
        assert found.missing(retry_failed=True) == [0, 2, 3]
        assert found.rows[1] == row_of(1, loss=2.0)
    assert names(tmp_path / "out") == [
        ".lock", "notebook.ipynb", "rows/0001.json", "rows/0003.json", "sweep.json", "trials/0001.ipynb", "trials/0003.ipynb",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "notebook.ipynb").read_text()) == SOURCE


def test_a_second_sweep_in_a_folder_is_refused_and_told_whose_it_is(tmp_path):
    with store.opened(tmp_path, PLAN):
        with pytest.raises(
            SweepError, match=rf"another sweep is writing here \(process {os.getpid()} on .*\). Wait until it ends"
        ):
            with store.opened(tmp_path, PLAN):
                pass
    with store.opened(tmp_path, PLAN) as found:
        assert found.missing() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "other, message",
    [
        (PLAN._replace(name="other.ipynb"), "it is of tiny.ipynb, not of other.ipynb"),
        (
            PLAN._replace(notebook=notebook("rate: float = 0.1\nseed: int = 0", "rate + seed")),
            "tiny.ipynb has been changed since it began",
        ),
        (PLAN._replace(trials=TRIALS[:3]), "it has 4 trials and this one 3, of which 3 are the same"),
        (PLAN._replace(trials=TRIALS[::-1]), "it has 4 trials and this one 4, of which 4 are the same"),
    ],
)
def test_a_folder_of_another_sweep_is_refused_with_the_difference(tmp_path, other, message):
    with store.opened(tmp_path, PLAN) as found:
        found.commit(row_of(0), "notebook 0")
    before = names(tmp_path)
    with pytest.raises(SweepError, match=f"holds another sweep: {message}.*choose another folder"):
        with store.opened(tmp_path, other):
            pass
    assert names(tmp_path) == before


def test_outputs_and_counts_of_the_notebook_do_not_make_it_another_one():
    executed = json.loads(json.dumps(SOURCE))
    executed["cells"][1] |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout", "text": "0"}]}
    assert store.digest(executed) == store.digest(SOURCE)


def test_a_folder_with_other_things_or_a_file_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SweepError, match=r"holds other things \(thesis.tex\) and no sweep"):
        with store.opened(tmp_path, PLAN):
            pass
    with pytest.raises(SweepError, match="thesis.tex is a file"):
        with store.opened(tmp_path / "thesis.tex", PLAN):
            pass
    assert names(tmp_path) == ["thesis.tex"]


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def lock(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store, "lock_file", lock)
    with pytest.raises(SweepError, match="this file system has no locks"):
        with store.opened(tmp_path, PLAN):
            pass


def test_half_files_of_a_killed_sweep_are_removed_and_never_read(tmp_path):
    with store.opened(tmp_path, PLAN) as found:
        found.commit(row_of(0), "notebook 0")
    (tmp_path / "rows" / ".0001.json.new").write_text('{"trial": 1, "sta')
    (tmp_path / "rows" / "0002.json").write_text('{"trial": 2, "sta')  # a damaged disk
    (tmp_path / "trials" / "0003.ipynb").write_text("executed, but its row was never written")
    (tmp_path / ".work" / "0").mkdir(parents=True)
    with store.opened(tmp_path, PLAN) as found:
        assert found.missing() == [1, 2, 3]
    assert names(tmp_path) == [".lock", "notebook.ipynb", "rows/0000.json", "rows/0002.json", "sweep.json", "trials/0000.ipynb",
                               "trials/0003.ipynb"]  # fmt: skip


def test_a_trials_notebook_is_named_after_its_parameters(tmp_path):
    plan = PLAN._replace(trials=[{"rate": 1e-05, "name": "a/../b c"}, {}, {"text": "long" * 100}])
    with store.opened(tmp_path, plan) as found:
        paths = [found.notebook_path(number) for number in range(3)]
    assert [path.name[:32] for path in paths] == [
        "0000_rate=1e-05_name=a-..-b-c.ip",
        "0001.ipynb",
        "0002_text=longlonglonglonglonglo",
    ]
    assert {path.parent.name for path in paths} == {"trials"}
    assert len(paths[2].name) < 100


# The table


def test_the_table_opens_in_pandas(tmp_path):
    rows = [row_of(0, loss=0.5), row_of(1, status="failed"), row_of(2, loss=0.25, seconds=3.0)]
    rows[2]["metrics"]["loss"] |= {"low": 0.2, "high": 0.3, "n": 5}
    (tmp_path / "results.csv").write_text(store.table(rows), newline="")
    found = pandas.read_csv(tmp_path / "results.csv")
    assert list(found) == [
        "trial", "status", "rate", "seed", "name", "loss", "loss_low", "loss_high", "recorded_seconds", "seconds",
        "cpu_seconds", "attempts", "error", "notebook", "finished", "python", "version_numpy",
    ]  # fmt: skip
    assert found["loss"].isna().tolist() == [False, True, False]
    assert found.loc[found.status == "ok", "loss"].mean() == 0.375
    assert found.loc[1, "error"] == rows[1]["error"]
    assert found.loc[2, ["loss_low", "recorded_seconds", "seconds"]].tolist() == [0.2, 3.0, 1.5]
    assert store.table([]) == "\r\n"


# The report


def test_the_report_summarises_over_seeds_and_links_the_notebooks(tmp_path):
    rows = [row_of(0, loss=1.0), row_of(1, loss=3.0), row_of(2, loss=0.5), row_of(3, status="failed")]
    path = report.write_report(tmp_path, "tiny <b>", TRIALS, rows)
    text = path.read_text()
    assert "4 of 4 trials are done, 1 of them failed" in text
    assert "tiny &lt;b&gt;" in text
    assert "2 [-10.7, 14.7]" in text, "mean and 95 % interval of 1 and 3: 2 ± 12.706 · √2 / √2"
    assert "<td>1</td><td>0.5</td><td>1</td><td>1</td>" in text, "one value has no interval"
    assert "href='trials/0003.ipynb'" in text
    assert "ValueError: no, &quot;never&quot;" in text
    assert "loss against rate. loss falls from 2 at 0.1 to 0.5 at 1." in text
    assert "falls from 2 at 0.1 to 0.5 at 1. 1 failed trials are not in it." in text
    assert text.count("<svg") == 1
    assert "http://www.w3.org" in text
    for outside in ("<script", "<link", "src="):
        assert outside not in text


@pytest.mark.parametrize("rows", [[], [row_of(1, status="failed")], [row_of(0, loss=1.0)]])
def test_a_report_of_little_is_written_too(tmp_path, rows):
    text = report.write_report(tmp_path, "tiny", TRIALS, rows).read_text()
    assert f"{len(rows)} of 4 trials are done" in text


def test_random_samples_are_points_and_words_are_places():
    rows = [row_of(0, loss=float(n)) for n in range(12)]
    for number, row in enumerate(rows):
        row["parameters"] = {"rate": 10.0**-number, "width": number * 7 % 12, "seed": 0}
    drawn = report.figure(report.grouped(rows), "loss")
    assert "12 points, x from 1e-11 to 1, y from 0 to 11" in drawn
    for number, row in enumerate(rows):
        row["parameters"] = {"name": "ab"[number % 2], "seed": number}
    drawn = report.figure(report.grouped(rows), "loss")
    assert "name=a" in drawn and "name=b" in drawn


# The command line refuses before anything runs


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with tiny.ipynb in which no process can be started."""

    def no_process(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen.__init__", no_process)
    monkeypatch.chdir(tmp_path)
    Path("tiny.ipynb").write_text(json.dumps(SOURCE))
    Path("words.ipynb").write_text("words")
    Path("old.ipynb").write_text('{"nbformat": 3, "worksheets": []}')
    return tmp_path


@pytest.mark.parametrize(
    "words, message",
    [
        ("tiny.ipynb -p raet 0.1", "unknown parameter 'raet'. Did you mean 'rate'? Known: 'rate', 'seed'."),
        ("tiny.ipynb -p seed 0.5", "seed can't be '0.5'; the notebook says seed: int = 0."),
        ("tiny.ipynb -p seed 5:0", "the range 5:0 is empty"),
        ("tiny.ipynb -p rate log:0:1 --samples 3", "a log range can't start at 0"),
        ("tiny.ipynb -p rate log:1e-3:1", "say how many samples to draw (--samples 20)"),
        ("tiny.ipynb --samples 3", "3 samples of nothing"),
        ("tiny.ipynb -p seed", "-p needs a name and values"),
        ("tiny.ipynb -p seed 1 -p seed 2", "-p seed stands there twice; write one list: -p seed 1,2"),
        ("tiny.ipynb --workers 0", "workers=0: at least one"),
        ("tiny.ipynb --retries -1", "retries=-1 is negative"),
        ("tiny.ipynb --time-limit 0", "seconds=0.0 leaves nothing to run in"),
        ("tiny.ipynb --memory-limit nan", "memory=nan leaves nothing to run in"),
        ("tiny.ipynb --config none.yaml", "none.yaml can't be read"),
        ("none.ipynb", "none.ipynb can't be read: No such file"),
        ("words.ipynb", "words.ipynb is no notebook of format 4"),
        ("old.ipynb", "old.ipynb is no notebook of format 4"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(tiny, capsys, words, message):
    assert command_line.main(["sweep", "--out", "runs", *words.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.endswith("Nothing was run.\n")
    assert not Path("runs").exists()


def test_words_go_before_the_file(tiny, monkeypatch, capsys):
    Path("sweep.yaml").write_text("parameters: {rate: [1e-3, 1e-2], seed: 0:5}\n")
    asked = {}

    def remember(jobs, found, **options):
        asked.update(trials=found.plan.trials, **options)
        return iter(())

    monkeypatch.setattr(run, "with_kernels", remember)
    words = ["sweep", "tiny.ipynb", "--config", "sweep.yaml", "-p", "seed", "7,-1", "--workers", "3", "--out", "runs"]
    with pytest.raises(AttributeError, match="close"):  # an iterator that is none of ours ends the call here
        command_line.main(words)
    assert asked["trials"] == [{"rate": rate, "seed": seed} for rate in (0.001, 0.01) for seed in (7, -1)]
    assert (asked["workers"], asked["retries"], asked["fork"]) == (3, 1, True)


def test_a_notebook_without_a_parameters_cell_is_refused(tiny, capsys):
    bare = json.loads(json.dumps(SOURCE))
    bare["cells"][0]["metadata"] = {}
    Path("bare.ipynb").write_text(json.dumps(bare))
    assert command_line.main(["sweep", "bare.ipynb", "--out", "runs"]) == 2
    assert "0 code cells are tagged `parameters`" in capsys.readouterr().err


# A full disk


def replies(*numbers: int, then: dict | None = None):
    """What workers would say about trials; `then` comes last."""
    reply = {"status": "ok", "error": None, "seconds": 1.0, "attempts": 1, "notebook": json.dumps(SOURCE), "manifest": {}}
    for number in numbers:
        yield number, reply
    if then:
        yield max(numbers) + 1, reply | then


def swept(monkeypatch, source) -> run.Outcome:
    asked = []

    def answer(jobs, found, **_):
        asked.extend(jobs)
        yield from source(list(jobs))

    monkeypatch.setattr(run, "with_kernels", answer)
    Path("tiny.ipynb").write_text(json.dumps(SOURCE))
    return asked


def test_a_disk_that_fills_up_stops_the_sweep_and_nothing_done_is_lost_or_repeated(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "tiny.ipynb", "-p", "seed", "0:4", "--out", "runs"]
    # A worker finds the disk full in the third trial.
    asked = swept(monkeypatch, lambda jobs: replies(0, 1, then={"status": "full", "error": "No space left on device"}))
    assert command_line.main(words) == 3
    assert "no space is left on the disk of runs. What is done is kept: make room" in capsys.readouterr().err
    assert asked == [0, 1, 2, 3]
    # The sweep itself finds it full, at the row of the third trial.
    asked = swept(monkeypatch, lambda jobs: replies(*jobs))
    whole = store.write_whole

    def full(path, text):
        if path.name == "0002.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, text)

    monkeypatch.setattr(store, "write_whole", full)
    assert command_line.main(words) == 3
    assert asked == [2, 3]
    assert sorted(store.read_rows("runs")) == [0, 1]
    monkeypatch.setattr(store, "write_whole", whole)
    asked = swept(monkeypatch, lambda jobs: replies(*jobs))
    assert command_line.main(words) == 0
    assert asked == [2, 3]
    assert pandas.read_csv("runs/results.csv")["trial"].tolist() == [0, 1, 2, 3]
    with pytest.raises(SweepStopped, match="no space is left"), run.stopping_when_full("runs"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="Permission"), run.stopping_when_full("runs"):
        raise OSError(errno.EACCES, "Permission denied")


def test_a_number_recorded_twice_with_different_values_fails_its_trial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twice = json.loads(json.dumps(SOURCE))
    for value in (1.0, 2.0):
        entry = {"name": "loss", "value": value, "low": None, "high": None, "n": None, "unit": ""}
        twice["cells"][1]["outputs"].append(
            {"output_type": "display_data", "data": {"text/plain": "loss"}, "metadata": {"mlcourse": entry}}
        )
    reply = next(replies(0))[1] | {"notebook": json.dumps(twice)}
    swept(monkeypatch, lambda jobs: iter([(0, reply)]))
    outcome = run.sweep("tiny.ipynb", out="runs", progress=False)
    assert (outcome.failed, outcome.rows[0]["metrics"]) == (1, {})
    assert "records 'loss' twice" in outcome.rows[0]["error"]
