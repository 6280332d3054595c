"""A sweep whose trials are chosen by `mlcourse.search`, from the table of those before. Workers are played by the test."""

import json
import math
from pathlib import Path

import pandas
import pytest

from mlcourse import __main__ as command_line
from mlcourse.search import Search
from mlcourse.search.space import Categorical, LogReal
from mlcourse.sweep import Range, SweepError, run
from mlcourse.sweep.searched import best, searched

RANGE = Range(1e-4, 10, log=True)
CELL = 'rate: float = 0.1\nseed: int = 0\nwidth: int = 8\nkind: str = "adam"\nshape: list[int] = [1]'
SOURCE = {
    "cells": [{"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": CELL, "outputs": [],
               "execution_count": None}],
    "metadata": {"kernelspec": run.KERNEL}, "nbformat": 4, "nbformat_minor": 5,
}  # fmt: skip


def output(name: str, value: float) -> dict:
    fields = {"name": name, "value": value, "low": None, "high": None, "n": None, "unit": ""}
    return {"output_type": "display_data", "data": {"text/plain": name}, "metadata": {"mlcourse": fields}}


def loss(given: dict) -> float:
    return (math.log10(given.get("rate", 0.1)) + 1) ** 2 + (given.get("kind", "adam") == "sgd")


@pytest.fixture
def played(tmp_path, monkeypatch) -> dict:
    """A working folder, and what its workers are asked; "stop" ends the sweep when so many trials were asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCOURSE_TRACK", "off")
    Path("tiny.ipynb").write_text(json.dumps(SOURCE))
    play = {"asked": [], "stop": None, "fails": lambda given: False, "records": "loss"}

    def answer(jobs, found, **_):
        for number, job in jobs.items():
            if len(play["asked"]) == play["stop"]:
                raise KeyboardInterrupt
            play["asked"].append(job["given"])
            executed = json.loads(json.dumps(SOURCE))
            executed["cells"][0]["outputs"] = [output(play["records"], loss(job["given"]))]
            reply = {
                "status": "ok",
                "error": None,
                "seconds": 1.0,
                "attempts": 1,
                "notebook": json.dumps(executed),
                "manifest": {},
            }
            if play["fails"](job["given"]):
                reply |= {"status": "failed", "error": "a slip"}
            yield number, reply

    monkeypatch.setattr(run, "with_kernels", answer)
    return play


WORDS = ["sweep", "tiny.ipynb", "-p", "rate", "log:1e-4:10", "-p", "kind", "adam,sgd", "-p", "seed", "3", "--metric", "loss"]


def test_a_search_asks_what_its_strategy_says_and_goes_on_where_it_was_stopped(played, capsys):
    words = [*WORDS, "--search", "bayes", "--samples", "9", "--sample-seed", "1"]
    assert command_line.main([*words, "--out", "whole"]) == 0
    said = capsys.readouterr()
    assert "9/9" in said.err, "the progress bar"
    whole, played["asked"] = played["asked"], []
    frame = pandas.read_csv("whole/results.csv")
    number = int(frame["loss"].idxmin())
    assert f"best: trial {number}, loss = {frame['loss'].min():.4g}: round-{number:03}/trials/0000_" in said.out
    assert all(Path("whole", name).exists() for name in frame["notebook"]) and frame["trial"].tolist() == list(range(9))
    assert frame["loss"].min() < 0.1 and set(frame["seed"]) == {3}
    assert "round-008/trials" in Path("whole", "report.html").read_text()
    # The same by hand.
    search = Search({"rate": LogReal(1e-4, 10), "kind": Categorical(("adam", "sgd"))}, strategy="bayes", maximize=False, seed=1)
    for given in whole:
        asked = search.ask()
        assert {"seed": 3} | asked == given
        search.tell(asked, loss(asked))
    # Stopped in trial 6: its rows are kept, and the same command asks the rest and nothing twice.
    played["stop"] = 6
    assert command_line.main([*words, "--out", "parts"]) == 130
    assert pandas.read_csv("parts/results.csv")["trial"].tolist() == list(range(6))
    played["stop"] = None
    assert command_line.main([*words, "--out", "parts"]) == 0
    assert played["asked"] == whole
    assert pandas.read_csv("parts/results.csv").drop(columns="finished").equals(frame.drop(columns="finished"))
    assert command_line.main([*words, "--out", "parts"]) == 0 and len(played["asked"]) == 9, "nothing is left"


def test_workers_get_a_round_together_and_a_point_that_comes_twice_is_run_once(played):
    outcome = searched("tiny.ipynb", {"width": (1, 2)}, out="runs", strategy="random", metric="loss", samples=5, workers=4,
                       progress=False)  # fmt: skip
    assert [row["notebook"][:9] for row in outcome.rows] == ["round-000"] * 4 + ["round-001"]
    assert len(played["asked"]) <= 3, "two widths in the first round, one in the second"
    assert {row["parameters"]["width"] for row in outcome.rows[:4]} == {trial["width"] for trial in played["asked"][:-1]}


def test_a_trial_that_failed_is_told_as_failed_and_the_search_goes_on(played):
    played["fails"] = lambda given: given["rate"] > 1
    outcome = searched("tiny.ipynb", {"rate": RANGE}, out="runs", strategy="sobol", metric="loss", samples=8, maximize=True)
    assert 0 < outcome.failed < 8
    chosen = best(outcome.rows, "loss", maximize=True)
    assert chosen["metrics"]["loss"]["value"] == max(row["metrics"]["loss"]["value"] for row in outcome.rows if row["metrics"])
    assert best([], "loss") is None


@pytest.mark.parametrize(
    "words, message",
    [
        ("-p rate log:1e-4:1 --search bayes --samples 3", "--search needs the recorded number that decides: --metric"),
        ("-p rate log:1e-4:1 --metric loss --samples 3", "--metric and --maximize belong to a search"),
        ("-p rate log:1e-4:1 --search bays --metric loss --samples 3", "unknown strategy 'bays'. Did you mean 'bayes'"),
        ("-p rate log:1e-4:1 --search bayes --metric loss", "samples=0: say how many trials the search has (--samples 20)"),
        ("-p rate 0.1 --search bayes --metric loss --samples 3", "nothing to search: give at least one parameter as a range"),
        (
            "-p seed 0:5 -p rate log:1e-4:1 --search bayes --metric loss --samples 3",
            "seed has 5 values; a search would look for",
        ),
        ("-p width log:1:64 --search bayes --metric loss --samples 3", "no log scale for whole numbers. Write uniform:1:64"),
        ("-p shape [1],[2] --search bayes --metric loss --samples 3", "only numbers, text and None can be searched, not [1]"),
        ("-p rate log:1e-4:1 --search bayes --metric loss --samples 3 --workers 0", "workers=0: at least one"),
    ],
)
def test_a_search_that_cannot_be_run_is_refused_before_anything_runs(played, capsys, words, message):
    assert command_line.main(["sweep", "tiny.ipynb", *words.split(), "--out", "runs"]) == 2
    said = capsys.readouterr().err
    assert message in said and said.endswith("Nothing was run.\n")
    assert not Path("runs").exists() and played["asked"] == []


def test_a_metric_that_nobody_records_stops_the_search(played, capsys):
    words = [*WORDS, "--search", "sobol", "--samples", "4", "--out", "runs"]
    played["records"] = "error"
    assert command_line.main(words) == 3
    assert ".ipynb records no 'loss', but 'error'. Search by another --metric." in capsys.readouterr().err
    assert len(played["asked"]) == 1
    executed = json.loads(json.dumps(SOURCE))
    executed["cells"][0]["outputs"] = [output("error", 0.5)]
    Path("tiny.ipynb").write_text(json.dumps(executed))  # its stored outputs say what it records
    with pytest.raises(SweepError, match="unknown metric 'loss'. Known: 'error'"):
        searched("tiny.ipynb", {"rate": RANGE}, out="other", strategy="sobol", metric="loss", samples=2)


def test_a_folder_with_a_plain_sweep_is_refused(played, capsys):
    assert command_line.main(["sweep", "tiny.ipynb", "-p", "seed", "0,1", "--out", "runs"]) == 0
    assert command_line.main([*WORDS, "--search", "sobol", "--samples", "4", "--out", "runs"]) == 2
    assert "holds a sweep without a search; choose another folder" in capsys.readouterr().err
