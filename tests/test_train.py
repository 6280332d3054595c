"""The Python loop: what it returns, and what it says when the step, the batches or the loss go wrong."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from mlcourse.errors import DataError, DivergedError, StepError
from mlcourse.train import train


def counting_step(state, batch):
    return state + batch, {"loss": float(batch)}


def run(step=counting_step, batches=range(1, 1000), num_steps=7, state=0, **options):
    return train(step, state, batches, num_steps=num_steps, progress=False, **options)


def test_every_batch_is_used_once_and_in_order():
    state, history = run(num_steps=250)
    assert state == sum(range(1, 251))
    assert [row["loss"] for row in history] == list(range(1, 251))
    assert [row["step"] for row in history] == list(range(1, 251))


def test_no_batch_beyond_the_last_step_is_drawn():
    batches = iter(range(100))
    run(batches=batches, num_steps=7)
    assert next(batches) == 7


def test_evaluation_happens_before_every_so_often_and_at_the_end():
    _, history = run(num_steps=7, evaluate=lambda state: {"total": state}, eval_every=3)
    assert history[0] == {"step": 0, "total": 0.0}
    assert {row["step"]: row["total"] for row in history if "total" in row} == {0: 0, 3: 6, 6: 21, 7: 28}
    assert history[3] == {"step": 3, "loss": 3.0, "total": 6.0}


def test_without_eval_every_evaluation_is_at_the_start_and_the_end():
    _, history = run(num_steps=205, evaluate=lambda state: {"total": state})
    assert [row["step"] for row in history if "total" in row] == [0, 205]


def test_the_tracker_sees_every_row_once_in_order():
    seen = []
    _, history = run(num_steps=130, evaluate=lambda state: {"total": state}, eval_every=50, tracker=seen.append)
    assert seen == history


def test_metrics_of_any_framework_become_floats():
    import torch

    for value in (np.float32(2), jnp.array(2.0), torch.tensor(2.0), torch.tensor([2.0])[0]):
        _, history = run(step=lambda s, b, value=value: (s, {"loss": value}), num_steps=1)
        assert history == [{"step": 1, "loss": 2.0}] and type(history[0]["loss"]) is float


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_loss_is_reported_with_its_step_and_the_rows_so_far(bad):
    def step(state, batch):
        return state, {"loss": bad if batch == 42 else 1.5}

    with pytest.raises(
        DivergedError, match=rf"the loss is {bad} at step 42; the last finite loss was 1.5.*10 times smaller"
    ) as error:
        run(step=step, num_steps=200)
    assert [row["step"] for row in error.value.history] == list(range(1, 43))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, r"step 1: `step` returned None\. End it with `return state"),
        (3.0, r"returned a float, not the pair"),
        ((1, 2, 3), r"returned a tuple of 3, not the pair"),
        ((1, 2.0), r"the metrics are a float, not a dict"),
        ((1, {"accuracy": 1.0}), r"the metrics \['accuracy'\] hold no 'loss'"),
    ],
)
def test_a_step_that_breaks_its_contract_is_told_how_to_end(result, message):
    with pytest.raises(StepError, match=message):
        run(step=lambda state, batch: result)


def test_a_metric_that_is_no_number_is_named_with_its_shape():
    with pytest.raises(StepError, match=r"`step` gives the metric 'loss', which has shape \(3,\).*Average it"):
        run(step=lambda state, batch: (state, {"loss": np.ones(3)}))
    with pytest.raises(StepError, match="`evaluate` gives the metric 'name', which is a str"):
        run(evaluate=lambda state: {"name": "adam"})


def test_batches_that_end_early_are_reported_with_both_counts():
    with pytest.raises(ValueError, match=r"num_steps=5, but `batches` ended after 2\. Pass an endless iterator"):
        run(batches=[1, 2], num_steps=5)
    with pytest.raises(ValueError, match=r"num_steps=205, but `batches` ended after 150"):
        run(batches=range(150), num_steps=205)


@pytest.mark.parametrize("batch", [(np.zeros((0, 3)), np.zeros(0)), np.zeros((0, 3)), [jnp.zeros((0, 3))]])
def test_an_empty_batch_is_named_with_its_step_before_it_looks_like_divergence(batch):
    with pytest.raises(DataError, match=r"step 2: the batch is empty, its first array has shape \(0, 3\)\. Leave empty"):
        run(step=lambda state, batch: (state, {"loss": 1.0}), batches=[(np.zeros((5, 3)), np.zeros(5)), batch])


@pytest.mark.parametrize("option", [{"num_steps": 0}, {"num_steps": 2.5}, {"eval_every": 0}])
def test_counts_below_one_are_refused(option):
    with pytest.raises(ValueError, match=rf"{next(iter(option))}={next(iter(option.values()))}, but it counts updates"):
        run(**option)


def test_an_error_inside_the_step_is_not_hidden():
    def step(state, batch):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(step=step)


def test_the_progress_bar_goes_to_stderr_and_counts_steps(capsys):
    train(counting_step, 0, range(300), num_steps=300)
    captured = capsys.readouterr()
    assert captured.out == "" and "300/300" in captured.err
