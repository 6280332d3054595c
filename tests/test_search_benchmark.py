"""The benchmark's own arithmetic: the maxima of its functions, and that a run which was stopped goes on."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parent.parent / "benchmarks" / "search.py"


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_of_search", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROWS", tmp_path / "rows.jsonl")
    return module


def test_the_maxima_are_those_of_the_literature_and_no_random_point_is_higher(benchmark):
    assert benchmark.PROBLEMS["branin"].maximum == pytest.approx(-0.397887, abs=1e-6)
    assert benchmark.PROBLEMS["hartmann6"].maximum == pytest.approx(3.32237, abs=1e-5)
    rng = np.random.default_rng(0)
    for problem in benchmark.PROBLEMS.values():
        points = problem.low + (problem.high - problem.low) * rng.random((2000, len(problem.low)))
        assert max(problem.f(x) for x in points) <= problem.maximum + 1e-12
        assert min(problem.maximum - problem.f(x) for x in points) < 0.5 * np.ptp([problem.f(x) for x in points])


def test_finished_rows_are_not_done_again_and_a_line_cut_short_is(benchmark):
    benchmark.run(["random"], ["branin"], range(3))
    first = benchmark.read_rows()
    benchmark.ROWS.write_text(benchmark.ROWS.read_text()[:-100])  # killed while the last row was written
    assert [r["seed"] for r in benchmark.read_rows()] == [0, 1]
    benchmark.run(["random"], ["branin"], range(3))
    assert [r["regret"] for r in benchmark.read_rows()] == [r["regret"] for r in first]


def test_a_run_that_was_given_up_keeps_its_regret_and_is_counted(benchmark):
    watch = benchmark.Watch([-10.0, -2.0, -5.0], [1.0] * 3, [0.0])
    row = benchmark.row("random", "branin", 0, watch)
    assert row["evaluations"] == 3
    assert row["regret"][1:] == pytest.approx([2 - 0.397887] * 49, abs=1e-6)


def test_the_table_marks_what_is_within_the_quartiles_of_the_best_and_says_what_is_missing(benchmark, monkeypatch):
    rows = [
        {"method": m, "version": "1", "function": f, "seed": s, "regret": [r * (s + 1)] * 50, "cpu_ms": 2.0, "evaluations": 50}
        for m, r in (("mlcourse", 1.0), ("random", 1.4), ("botorch", 9.0))
        for f in benchmark.PROBLEMS
        for s in range(3)
        if (m, f, s) != ("botorch", "gold", 2)
    ]
    monkeypatch.setattr(benchmark, "SEEDS", 3)
    lines = benchmark.table(rows).splitlines()  # medians 2, 2.8 and 18; the quartiles of the best are 1.5 and 2.5
    assert next(line for line in lines if line.startswith("| mlcourse")).count("**") == 8
    assert next(line for line in lines if line.startswith("| random")).count("**") == 0
    assert next(line for line in lines if line.startswith("| botorch")).endswith("| 2 of 3 seeds |")
    assert "| botorch | 1 | 0 of 11 | 2.0 | 2.0 | 2.0 | 2.0 |" in lines
