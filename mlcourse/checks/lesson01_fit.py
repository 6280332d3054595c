"""The exercise of lesson 01 with a bug in a training loop: what is called validation is not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 1.6 fit(step, evaluate, state, train, validation, *, num_epochs, batch_size) -> state, history


def slope_step(state: Any, batch: tuple) -> tuple[Any, dict]:
    """step: one gradient step of the model y = slope * x on the batch"""
    x, y = batch
    error = state * x[:, 0] - y
    return state - 0.1 * (error * x[:, 0]).mean(), {"loss": (error**2).mean()}


def slope_error(state: Any, split: tuple) -> Any:
    """evaluate: mean squared error of the model y = slope * x on the split"""
    x, y = split
    return ((state * x[:, 0] - y) ** 2).mean()


def _fit_cases() -> dict:
    rng = np.random.default_rng(16)

    def split(n: int, slope: float) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 1)).astype(np.float32)
        return x, (slope * x[:, 0] + 0.3 * rng.normal(size=n)).astype(np.float32)

    def case(n: int, m: int, num_epochs: int, batch_size: int, state: float) -> dict:
        return {
            "step": slope_step,
            "evaluate": slope_error,
            "state": state,
            "train": split(n, 1.5),
            "validation": split(m, 1.2),
            "num_epochs": num_epochs,
            "batch_size": batch_size,
        }

    return {
        "3 epochs of 4 batches": case(8, 5, 3, 2, 0.2),
        "2 epochs, the last batch smaller": case(7, 6, 2, 3, -0.5),
        "validation larger than training": case(4, 9, 2, 2, 0.0),
        "no epochs at all": case(4, 3, 0, 2, 0.7),
    }


def _run_fit(
    answer: Callable,
    step: Callable,
    evaluate: Callable,
    state: float,
    train: tuple,
    validation: tuple,
    num_epochs: int,
    batch_size: int,
) -> Any:
    return answer(step, evaluate, state, train, validation, num_epochs=num_epochs, batch_size=batch_size)


def _fit(report: Callable, *, learn_from: Callable = lambda train, validation: train) -> Callable:
    """A fit that reports `report(evaluate, state, train, validation, last batch, history)` after every epoch."""

    def fit(
        step: Callable,
        evaluate: Callable,
        state: float,
        train: tuple,
        validation: tuple,
        *,
        num_epochs: int,
        batch_size: int,
    ) -> tuple:
        history: list[dict] = []
        x, y = learn_from(train, validation)
        for epoch in range(num_epochs):
            for start in range(0, len(x), batch_size):
                batch = x[start : start + batch_size], y[start : start + batch_size]
                state, metrics = step(state, batch)
            value = report(evaluate, state, train, validation, batch, batch_size)
            history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": value})
        return state, history

    return fit


def _joined(a: tuple, b: tuple) -> tuple:
    return np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])


def _head(split: tuple, n: int) -> tuple:
    return split[0][:n], split[1][:n]


def _tail(split: tuple, n: int) -> tuple:
    start = (len(split[0]) - 1) // n * n
    return split[0][start:], split[1][start:]


def _before_the_epoch(
    step: Callable,
    evaluate: Callable,
    state: float,
    train: tuple,
    validation: tuple,
    *,
    num_epochs: int,
    batch_size: int,
) -> tuple:
    history = []
    for epoch in range(num_epochs):
        before = evaluate(state, validation)
        state, rows = _RIGHT_FIT(step, evaluate, state, train, validation, num_epochs=1, batch_size=batch_size)
        history.append({**rows[0], "epoch": epoch, "validation_loss": before})
    return state, history


def _also_trains_on_validation(
    step: Callable,
    evaluate: Callable,
    state: float,
    train: tuple,
    validation: tuple,
    *,
    num_epochs: int,
    batch_size: int,
) -> tuple:
    history = []
    for epoch in range(num_epochs):
        state, rows = _RIGHT_FIT(step, evaluate, state, train, validation, num_epochs=1, batch_size=batch_size)
        state, metrics = step(state, validation)
        history.append({**rows[0], "epoch": epoch, "validation_loss": metrics["loss"]})
    return state, history


def _last_row_only(*args: Any, **kwargs: Any) -> tuple:
    state, history = _RIGHT_FIT(*args, **kwargs)
    return state, history[-1:]


_RIGHT_FIT = _fit(lambda evaluate, state, train, validation, batch, n: evaluate(state, validation))
_STILL_TRAINING = (
    "`validation_loss` was measured on the last training batch. The inner loop gives `x, y` a new meaning, so evaluate "
    "with `validation` itself."
)

FIT = Exercise(
    id="1.6",
    name="fit",
    title="Find the bug: too good on validation",
    minutes=10,
    difficulty=2,
    cases=_fit_cases,
    reference=_RIGHT_FIT,
    run=_run_fit,
    mistakes=(
        Mistake(_STILL_TRAINING, _fit(lambda evaluate, state, train, validation, batch, n: evaluate(state, batch))),
        Mistake(
            "`validation_loss` was measured on the whole training split. Pass `validation` to `evaluate`.",
            _fit(lambda evaluate, state, train, validation, batch, n: evaluate(state, train)),
        ),
        Mistake(
            "Only the first examples of the validation split were used. Evaluate on all of it.",
            _fit(lambda evaluate, state, train, validation, batch, n: evaluate(state, _head(validation, n))),
        ),
        Mistake(
            "Only the last batch of the validation split was used. Evaluate on all of it.",
            _fit(lambda evaluate, state, train, validation, batch, n: evaluate(state, _tail(validation, n))),
        ),
        Mistake(
            "`validation_loss` was measured on training and validation together. Only examples the model never saw "
            "tell how it does on new ones.",
            _fit(lambda evaluate, state, train, validation, batch, n: evaluate(state, _joined(train, validation))),
        ),
        Mistake(
            "The splits are exchanged: the model learns from the validation split and is measured on the training split.",
            _fit(
                lambda evaluate, state, train, validation, batch, n: evaluate(state, train),
                learn_from=lambda train, validation: validation,
            ),
        ),
        Mistake(
            "The model learns from the validation split. Train on `train`, and only evaluate on `validation`.",
            _fit(
                lambda evaluate, state, train, validation, batch, n: evaluate(state, validation),
                learn_from=lambda train, validation: validation,
            ),
        ),
        Mistake(
            "The model learns from the validation split as well as from the training split. Then nothing is left "
            "to measure with.",
            _fit(lambda evaluate, state, train, validation, batch, n: evaluate(state, validation), learn_from=_joined),
        ),
        Mistake(
            "`step` was called on the validation split, and a step learns. Use `evaluate`, which leaves the state alone.",
            _also_trains_on_validation,
        ),
        Mistake(
            "`validation_loss` was measured before the epoch's updates. Evaluate after the inner loop, with the new state.",
            _before_the_epoch,
        ),
        Mistake("Only the last row was kept. `history` has one row for each epoch.", _last_row_only),
        Mistake("The state is missing: return `state, history`.", lambda *args, **kwargs: _RIGHT_FIT(*args, **kwargs)[1]),
        Mistake("The history is missing: return `state, history`.", lambda *args, **kwargs: _RIGHT_FIT(*args, **kwargs)[0]),
    ),
    hints=(
        "Print `len(x)` just before `evaluate` is called. How many examples does it get, and how many are in the "
        "validation split?",
        "A `for x, y in ...` loop assigns to x and y. What do they hold when it has ended?",
    ),
)
