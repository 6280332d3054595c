"""Exercises of lesson 01 that look into a model: accuracy and the dependency chart."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property
from mlcourse.checks.values import as_numpy

# 1.4 accuracy(model, x, y, *, batch_size) -> share of right predictions, with the model in evaluation mode


class TinyModel:
    """A linear classifier with the three names that matter here: `training`, `train()` and `eval()`.

    In training mode it turns features off at random and updates a running mean, as dropout and batch normalisation
    do; it takes at most `most` rows at once, as a small device would.
    """

    def __init__(self, weight: np.ndarray, *, training: bool, most: int):
        self.training, self.most, self.running_mean = training, most, np.zeros(len(weight))
        self._weight, self._calls = weight, 0

    def __repr__(self) -> str:
        mode = "training" if self.training else "evaluation"
        return f"a small classifier that takes {self.most} rows at once, in {mode} mode"

    def train(self, mode: bool = True) -> "TinyModel":
        self.training = mode
        return self

    def eval(self) -> "TinyModel":
        return self.train(False)

    def __call__(self, x: Any) -> Any:
        rows = as_numpy(x)
        if len(rows) > self.most:
            raise MemoryError(f"the model was given {len(rows)} rows at once, but it has room for {self.most} (`batch_size`)")
        if self.training:
            self._calls += 1
            self.running_mean = 0.9 * self.running_mean + 0.1 * rows.mean(axis=0)
            rows = rows * (np.arange(rows.size).reshape(rows.shape) % 3 == self._calls % 3) - self.running_mean
        logits = (rows @ self._weight).astype(np.float32)
        if isinstance(x, np.ndarray):
            return logits
        root = type(x).__module__.split(".")[0]
        if root == "torch":
            import torch

            return torch.from_numpy(logits)
        import jax.numpy as jnp

        return jnp.asarray(logits)


def _accuracy_cases() -> dict:
    rng = np.random.default_rng(14)
    weight = rng.normal(size=(4, 5))

    def case(n: int, batch_size: int, training: bool, noise: float = 0.0) -> dict:
        x = rng.normal(size=(n, 4)).astype(np.float32)
        y = (x @ weight).argmax(axis=1)
        wrong = rng.random(n) < noise
        wrong[-2:] = False, True  # the last, smaller batch is not like the others, but not all wrong either
        y = np.where(wrong, (y + 1) % 5, y).astype(np.int32)
        return {
            "model": TinyModel(weight, training=training, most=batch_size),
            "x": x,
            "y": y,
            "batch_size": batch_size,
        }

    return {
        "a model in training mode, 10 rows in one batch": case(10, 10, True, 0.3),
        "a model in training mode, 12 rows in batches of 5": case(12, 5, True, 0.1),
        "a model in evaluation mode, 12 rows in batches of 5": case(12, 5, False, 0.1),
        "a model in training mode, 8 rows in batches of 3": case(8, 3, True, 0.5),
        "fewer rows than a batch": case(3, 8, True, 0.0),
    }


def _run_accuracy(answer: Callable, model: TinyModel, x: Any, y: Any, batch_size: int) -> Any:
    return answer(model, x, y, batch_size=batch_size)


def _accuracy(model: TinyModel, x: np.ndarray, y: np.ndarray, *, batch_size: int) -> float:
    was_training = model.training
    model.eval()
    right = _batch_hits(model, x, y, batch_size)
    model.train(was_training)
    return sum(map(sum, right)) / len(x)


def _batch_hits(model: TinyModel, x: np.ndarray, y: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """For every batch, which rows are right, in whatever mode the model is."""
    starts = range(0, len(x), batch_size)
    return [model(x[i : i + batch_size]).argmax(axis=1) == y[i : i + batch_size] for i in starts]


def _in_evaluation_mode(summary: Callable) -> Callable:
    """`summary(hits of every batch, rows)`, with the model in evaluation mode."""

    def accuracy(model: TinyModel, x: np.ndarray, y: np.ndarray, *, batch_size: int) -> Any:
        model.eval()
        return summary(_batch_hits(model, x, y, batch_size), len(x))

    return accuracy


def _in_training_mode(model: TinyModel, x: np.ndarray, y: np.ndarray, *, batch_size: int) -> float:
    return sum(map(sum, _batch_hits(model.train(), x, y, batch_size))) / len(x)


def _in_the_mode_it_has(model: TinyModel, x: np.ndarray, y: np.ndarray, *, batch_size: int) -> float:
    return sum(map(sum, _batch_hits(model, x, y, batch_size))) / len(x)


def _full_batches_only(hits: list[np.ndarray], n: int) -> float:
    full = [batch for batch in hits if len(batch) == len(hits[0])]
    return sum(map(sum, full)) / n


def _full_batches_mean(hits: list[np.ndarray], n: int) -> float:
    return float(np.concatenate([batch for batch in hits if len(batch) == len(hits[0])]).mean())


def _argmax_over_rows(model: TinyModel, x: np.ndarray, y: np.ndarray, *, batch_size: int) -> float:
    model.eval()
    logits = np.concatenate([model(x[i : i + batch_size]) for i in range(0, len(x), batch_size)])
    return float((logits.argmax(axis=0) == y).mean())


def _all_at_once(model: TinyModel, x: np.ndarray, y: np.ndarray, *, batch_size: int) -> float:
    return float((model.eval()(x).argmax(axis=1) == y).mean())


def _mode_is_put_back(run: Callable, model: TinyModel, **case: Any) -> bool:
    before = model.training
    run(model=model, **case)
    return model.training == before


def _statistics_stay(run: Callable, model: TinyModel, **case: Any) -> bool:
    run(model=model, **case)
    return not model.running_mean.any()


ACCURACY = Exercise(
    id="1.4",
    name="accuracy",
    title="Accuracy without a side effect",
    minutes=15,
    difficulty=2,
    cases=_accuracy_cases,
    reference=_accuracy,
    run=_run_accuracy,
    mistakes=(
        Mistake(
            "The model was left in training mode, so dropout spoiled the predictions. Call `model.eval()` before "
            "the first batch.",
            _in_the_mode_it_has,
        ),
        Mistake(
            "The model was put in training mode, so dropout spoiled the predictions. Evaluation needs `model.eval()`.",
            _in_training_mode,
        ),
        Mistake(
            "The mean of the batches' accuracies counts the rows of a small last batch too much. Add up the right "
            "predictions and divide by the number of rows.",
            _in_evaluation_mode(lambda hits, n: float(np.mean([batch.mean() for batch in hits]))),
        ),
        Mistake(
            "This is the error rate. Accuracy is the share of predictions that are right.",
            _in_evaluation_mode(lambda hits, n: 1 - sum(map(sum, hits)) / n),
        ),
        Mistake(
            "This is in per cent. Return a share between 0 and 1.",
            _in_evaluation_mode(lambda hits, n: 100 * sum(map(sum, hits)) / n),
        ),
        Mistake(
            "This is the number of right predictions. Divide by the number of rows.",
            _in_evaluation_mode(lambda hits, n: sum(map(sum, hits))),
        ),
        Mistake(
            "Only the first batch was counted. A `return` inside the loop ends it.",
            _in_evaluation_mode(lambda hits, n: float(hits[0].mean())),
        ),
        Mistake(
            "Only the last batch was counted. Add up over all the batches.",
            _in_evaluation_mode(lambda hits, n: float(hits[-1].mean())),
        ),
        Mistake(
            "The last, smaller batch was left out. In evaluation every row counts.",
            _in_evaluation_mode(_full_batches_mean),
        ),
        Mistake(
            "The last, smaller batch was left out. In evaluation every row counts.",
            _in_evaluation_mode(_full_batches_only),
        ),
        Mistake("`argmax` ran over the examples. The classes of one example lie along a row: use axis=1.", _argmax_over_rows),
        Mistake(
            "This is one value for each row. Return their mean, one number.",
            _in_evaluation_mode(lambda hits, n: np.concatenate(hits)),
        ),
        Mistake("All rows went through the model at once. Cut them into pieces of `batch_size` rows.", _all_at_once),
    ),
    properties=(
        Property(
            "After the call the model is in another mode than before, so a training loop that goes on would train "
            "without dropout (or evaluate with it). Note `was_training = model.training` at the start and end with "
            "`model.train(was_training)`.",
            _mode_is_put_back,
        ),
        Property(
            "The model's running mean changed: it saw these rows in training mode. Call `model.eval()` before the first batch.",
            _statistics_stay,
        ),
    ),
    hints=(
        "Three steps: note the mode, go through the batches in evaluation mode, put the mode back.",
        "Keep two numbers while you go: how many predictions were right, and how many rows there were.",
        "`was_training = model.training`, `model.eval()`, ..., `model.train(was_training)`. In PyTorch, also `with "
        "torch.no_grad():`.",
    ),
)


# 1.5 dependency_chart(losses, x) -> (B, B) booleans: does loss i depend on input j?


def _clean_losses(x: Any) -> Any:
    """losses(x) = ((x - 9)**2).sum(1): each example for itself"""
    return ((x - 9) ** 2).sum(1)


def _cancelling_losses(x: Any) -> Any:
    """losses(x) = x[:, 0] - x[:, 1]: each example for itself, with slopes that add up to 0"""
    return x[:, 0] - x[:, 1]


def _centred_losses(x: Any) -> Any:
    """losses(x) = ((x - x.mean(0))**2).sum(1): the mean of the batch comes in"""
    return ((x - x.mean(0)) ** 2).sum(1)


def _shifted_losses(x: Any) -> Any:
    """losses(x)[i] = (x[i]**2).sum() + 0.003 x[i+1].sum(): each example and, a little, the next one"""
    following = (np.arange(x.shape[0]) + 1) % x.shape[0]
    return (x**2).sum(1) + 0.003 * x[following].sum(1)


def _reshaped_losses(x: Any) -> Any:
    """losses(x) = (x.reshape(d, B)**2).sum(0): a reshape where a transpose was meant"""
    return (x.reshape(x.shape[1], x.shape[0]) ** 2).sum(0)


def _dependency_cases() -> dict:
    x = np.random.default_rng(15).normal(size=(4, 3)) + 5.0
    return {
        "each example for itself": {"losses": _clean_losses, "x": x},
        "slopes that add up to 0": {"losses": _cancelling_losses, "x": x},
        "the mean of the batch comes in": {"losses": _centred_losses, "x": x},
        "the next example comes in": {"losses": _shifted_losses, "x": x},
        "a reshape where a transpose was meant": {"losses": _reshaped_losses, "x": x},
        "a batch of one": {"losses": _clean_losses, "x": x[:1]},
    }


def _jacobian(losses: Callable, x: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """(B, B, d): the slope of loss i along feature k of input j, by central differences in float64."""
    slopes = np.zeros((len(x), *x.shape))
    for j, k in np.ndindex(*x.shape):
        nudge = np.zeros_like(x)
        nudge[j, k] = step
        slopes[:, j, k] = (losses(x + nudge) - losses(x - nudge)) / (2 * step)
    return np.where(abs(slopes) < 1e-7, 0.0, slopes)


def _chart(losses: Callable, x: np.ndarray) -> np.ndarray:
    return (_jacobian(losses, x) != 0).any(axis=2)


DEPENDENCY_CHART = Exercise(
    id="1.5",
    name="dependency_chart",
    title="Whose loss depends on whom",
    minutes=20,
    difficulty=3,
    cases=_dependency_cases,
    reference=_chart,
    mistakes=(
        Mistake(
            "Rows and columns are exchanged. Entry [i, j] says whether loss i depends on input j.",
            lambda f, x: _chart(f, x).T,
        ),
        Mistake(
            "The slopes were added up before they were compared with 0, and slopes of both signs cancel. Ask "
            "whether *any* of them is not 0: `(jacobian != 0).any(axis=2)`.",
            lambda f, x: _jacobian(f, x).sum(axis=2).round(9) != 0,
        ),
        Mistake(
            "Only positive slopes were counted. A loss that falls depends on the input as well: compare with `!= 0`.",
            lambda f, x: (_jacobian(f, x) > 0).any(axis=2),
        ),
        Mistake(
            "Every feature had to have a slope. One is enough: `any`, not `all`.",
            lambda f, x: (_jacobian(f, x) != 0).all(axis=2),
        ),
        Mistake(
            "A small slope was taken for none. Without a dependence the slope is exactly 0, so compare with 0.",
            lambda f, x: (abs(_jacobian(f, x)) > 0.01).any(axis=2),
        ),
        Mistake(
            "This is the whole Jacobian. Bring it down to one yes or no for each pair: `.any(axis=2)` over the features.",
            lambda f, x: _jacobian(f, x) != 0,
        ),
        Mistake(
            "This is the whole Jacobian. Bring it down to one yes or no for each pair: `.any(axis=2)` over the features.",
            _jacobian,
        ),
        Mistake(
            "This is the size of the slopes. The chart holds True or False: compare with 0.",
            lambda f, x: abs(_jacobian(f, x)).sum(axis=2),
        ),
        Mistake(
            "This is the gradient of the sum of all the losses, in which the losses can't be told apart. Take the "
            "gradient of each loss by itself, or the Jacobian.",
            lambda f, x: _jacobian(f, x).sum(axis=0),
        ),
        Mistake(
            "This is the gradient of the sum of all the losses, in which the losses can't be told apart. Take the "
            "gradient of each loss by itself, or the Jacobian.",
            lambda f, x: (_jacobian(f, x).sum(axis=0) != 0).any(axis=1),
        ),
        Mistake(
            "The chart is the one that a correct model should have, whatever the losses do. Compute it from their gradients.",
            lambda f, x: np.eye(len(x), dtype=bool),
        ),
        Mistake("The chart is reversed: it says True where there is no dependence.", lambda f, x: ~_chart(f, x)),
        Mistake("Only the first loss was looked at. There is one row for each loss.", lambda f, x: _chart(f, x)[0]),
        Mistake(
            "Each example was passed to `losses` alone, so that nothing could leak from the others. Pass the whole batch.",
            lambda f, x: np.diag([bool(_chart(f, row[None])[0, 0]) for row in x]),
        ),
    ),
    hints=(
        "A Jacobian holds every slope: for B losses and x of shape (B, d) it has the shape (B, B, d).",
        "JAX: `jax.jacobian(losses)(x)`. PyTorch: `torch.autograd.functional.jacobian(losses, x)`. Both give the "
        "shape (B, B, d).",
        "Loss i depends on input j when any of the d slopes is not 0. Slopes can be negative, and can cancel in a sum.",
    ),
)
