"""A search drives sweeps of a notebook: batches of trials, failed ones among them, and the same again after a stop."""

import json
import math

import pytest

from mlcourse.search import LogReal, Search
from mlcourse.sweep import run, sweep

PARAMETERS = "rate: float = 0.1"
BODY = """
import math
from mlcourse.record import record
if rate > 0.03:
    raise ValueError("diverged")
record("loss", (math.log10(rate) + 2) ** 2)
"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCOURSE_TRACK", "off")
    cells = [
        {"cell_type": "code", "id": f"cell-{i}", "metadata": {"tags": ["parameters"] if i == 0 else []},
         "source": source.strip(), "outputs": [], "execution_count": None}
        for i, source in enumerate((PARAMETERS, BODY))
    ]  # fmt: skip
    path = tmp_path / "tiny.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": run.KERNEL}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def tuned(notebook, folder, *, batches):
    """The search after so many batches of 3, and when each trial was finished."""
    search = Search({"rate": LogReal(1e-4, 1.0)}, strategy="bayes", maximize=False, seed=0, num_initial=3)
    finished = []
    for k in range(batches):
        batch = search.ask(3)
        rows = sweep(notebook, trials=batch, out=folder / str(k), progress=False).rows
        for params, row in zip(batch, rows, strict=True):
            if row["status"] == "ok":
                search.tell(params, row["metrics"]["loss"]["value"])
            else:
                search.fail(params)
        finished += [row["finished"] for row in rows]
    return search, finished


def test_a_search_in_sweeps_nears_the_valley_and_goes_on_after_a_stop_without_repeating_a_trial(notebook, tmp_path):
    _, before = tuned(notebook, tmp_path / "runs", batches=1)  # as if stopped here
    search, after = tuned(notebook, tmp_path / "runs", batches=2)
    assert after[:3] == before, "the first batch was not run again"
    for trial in search.trials:
        assert trial.status == ("failed" if trial.params["rate"] > 0.03 else "done")
        assert trial.score is None or trial.score == pytest.approx((math.log10(trial.params["rate"]) + 2) ** 2)
    assert search.best().score < 0.2
    assert len(search.trials) == len({trial.params["rate"] for trial in search.trials}) == 6
