"""Bug hunts of lesson 04: dropout that was left on at evaluation, and a scaler that was fitted before the split."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy, like

# 4.11 losses(apply, loss, params, train, validation, *, rate, seed) -> train loss, validation loss, without dropout


def apply_with_dropout(params: dict, x: Any, *, rate: float, seed: int) -> Any:
    """apply(params, x, *, rate, seed): one hidden layer with dropout of that rate on it -> logits"""
    W1, b1, W2, b2 = (as_numpy(params[name]) for name in ("W1", "b1", "W2", "b2"))
    h = np.maximum(as_numpy(x) @ W1 + b1, 0)
    h = h * (np.random.default_rng(seed).random(h.shape) >= rate) / (1 - rate)
    return like(x, (h @ W2 + b2).astype(np.float32))


def cross_entropy(logits: Any, y: Any) -> Any:
    """loss(logits, y): the mean cross-entropy"""
    z, y = as_numpy(logits).astype(float), as_numpy(y)
    z = z - z.max(axis=1, keepdims=True)
    return like(logits, np.float32((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]).mean()))


def _losses_cases() -> dict:
    rng = np.random.default_rng(411)

    def array(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def case(n: int, m: int, rate: float, seed: int) -> dict:
        params = {"W1": array(3, 20), "b1": array(20), "W2": 0.5 * array(20, 4), "b2": array(4)}
        splits = [(array(k, 3), rng.integers(0, 4, k).astype(np.int32)) for k in (n, m)]
        return {
            "apply": apply_with_dropout,
            "loss": cross_entropy,
            "params": params,
            "train": splits[0],
            "validation": splits[1],
            "rate": rate,
            "seed": seed,
        }

    return {
        "half of the units dropped": case(9, 6, 0.5, 0),
        "a fifth of the units dropped": case(5, 8, 0.2, 3),
        "a model trained without dropout": case(4, 4, 0.0, 1),
        "nine tenths dropped": case(12, 3, 0.9, 7),
    }


def _run_losses(
    answer: Callable,
    apply: Callable,
    loss: Callable,
    params: dict,
    train: tuple,
    validation: tuple,
    rate: float,
    seed: int,
) -> dict:
    """What the answer returned, and in how many of the calls of `apply` dropout was on."""
    rates = []

    def watched(params: dict, x: Any, *, rate: float, seed: int = 0) -> Any:
        rates.append(rate)
        return apply(params, x, rate=rate, seed=seed)

    returned = answer(watched, loss, params, train, validation, rate=rate, seed=seed)
    return {"returned": returned, "calls with dropout on": sum(as_numpy(each) != 0 for each in rates)}


def _losses(one: Callable, other: Callable | None = None) -> Callable:
    """`one(apply, loss, params, x, y, rate, seed)` gives the training loss, `other` (or `one`) the validation loss."""

    def losses(
        apply: Callable, loss: Callable, params: dict, train: tuple, validation: tuple, *, rate: float, seed: int
    ) -> tuple:
        return (
            one(apply, loss, params, *train, rate, seed),
            (other or one)(apply, loss, params, *validation, rate, seed),
        )

    return losses


def _off(apply: Callable, loss: Callable, params: dict, x: Any, y: Any, rate: float, seed: int) -> Any:
    return loss(apply(params, x, rate=0.0, seed=seed), y)


def _on(apply: Callable, loss: Callable, params: dict, x: Any, y: Any, rate: float, seed: int) -> Any:
    return loss(apply(params, x, rate=rate, seed=seed), y)


def _average_of(n: int) -> Callable:
    def averaged(apply: Callable, loss: Callable, params: dict, x: Any, y: Any, rate: float, seed: int) -> Any:
        return loss(np.mean([apply(params, x, rate=rate, seed=seed + i) for i in range(n)], axis=0), y)

    return averaged


def _scaled(factor: Callable[[float], float], names: tuple[str, ...]) -> Callable:
    """Dropout off, with some of the weights multiplied by `factor(rate)`."""

    def scaled(apply: Callable, loss: Callable, params: dict, x: Any, y: Any, rate: float, seed: int) -> Any:
        smaller = {name: value * (factor(rate) if name in names else 1) for name, value in params.items()}
        return loss(apply(smaller, x, rate=0.0, seed=seed), y)

    return scaled


_SCALED = (
    "Dropout is off, but {} multiplied by 1 - rate. That belongs to the older form of dropout, which does not scale in "
    "training. This one does, so at evaluation nothing is left to do."
)

LOSSES = Exercise(
    id="4.11",
    name="losses",
    title="Find the bug: a loss that never holds still",
    minutes=10,
    difficulty=1,
    cases=_losses_cases,
    reference=_losses(_off),
    run=_run_losses,
    mistakes=(
        Mistake(
            "Dropout is on in both losses: they are those of randomly damaged networks. Call `apply` with rate=0.0 to "
            "evaluate.",
            _losses(_on),
        ),
        Mistake(
            "Dropout is off for the validation loss, but still on for the training loss, so the two can't be compared. The "
            "generalisation gap needs both measured in the same way.",
            _losses(_on, _off),
        ),
        Mistake(
            "Dropout is off for the training loss, but still on for the validation loss. Evaluate both with rate=0.0.",
            _losses(_off, _on),
        ),
        Mistake(_SCALED.format("the last layer's weights were"), _losses(_scaled(lambda rate: 1 - rate, ("W2",)))),
        Mistake(
            _SCALED.format("all weights and biases were"), _losses(_scaled(lambda rate: 1 - rate, ("W1", "b1", "W2", "b2")))
        ),
        Mistake(
            "Another seed gives other damage, not none. Call `apply` with rate=0.0.",
            _losses(
                lambda apply, loss, params, x, y, rate, seed: _on(apply, loss, params, x, y, rate, seed),
                lambda apply, loss, params, x, y, rate, seed: _on(apply, loss, params, x, y, rate, seed + 1),
            ),
        ),
        Mistake(
            "Ten damaged networks were averaged. That is an ensemble, and a fair one, but random, ten times as slow, and not "
            "what the exercise asks for: call `apply` once for each split, with rate=0.0.",
            _losses(_average_of(10)),
        ),
        Mistake(
            "Dropout is on with the rate 1 - rate. That is the share that *survives*; to switch dropout off, pass rate=0.0.",
            _losses(lambda apply, loss, params, x, y, rate, seed: _on(apply, loss, params, x, y, 1 - rate, seed)),
        ),
        Mistake(
            "The two losses are exchanged: first the training loss, then the validation loss.",
            lambda *args, **kwargs: _losses(_off)(*args, **kwargs)[::-1],
        ),
        Mistake(
            "This is the gap between the two losses. Return both: training loss, validation loss.",
            lambda *args, **kwargs: np.subtract(*_losses(_off)(*args, **kwargs)[::-1]),
        ),
        Mistake(
            "Both losses are those of the training split.",
            lambda apply, loss, params, train, validation, **how: _losses(_off)(apply, loss, params, train, train, **how),
        ),
    ),
    hints=(
        "Which of the two calls of `apply` belongs to training, and which to evaluation?",
        "A rate of 0 drops nothing and divides by 1.",
    ),
)


# 4.13 prepare(x, train_rows, validation_rows) -> train (n, d), validation (m, d), standardised


def _prepare_cases() -> dict:
    def case(seed: int, n: int, m: int, d: int, unused: int = 0) -> dict:
        rng = np.random.default_rng(seed)
        x = (rng.normal(size=(n + m + unused, d)) * rng.uniform(0.5, 6, d) + 3 * rng.normal(size=d)).astype(np.float32)
        order = rng.permutation(len(x))
        return {"x": x, "train_rows": order[:n], "validation_rows": order[n : n + m]}

    far, flat, wide = case(4131, 5, 3, 2), case(4132, 6, 4, 3), case(4133, 4, 3, 6)
    far["x"][far["validation_rows"][0]] += 40
    flat["x"][:, 1] = 2.5
    only_in_validation = case(4135, 4, 3, 2)
    only_in_validation["x"][only_in_validation["train_rows"], 0] = -1.0
    return {
        "an outlier in the validation rows": far,
        "a feature that is the same everywhere": flat,
        "a feature that varies in the validation rows only": only_in_validation,
        "rows that belong to neither": case(4134, 6, 5, 3, unused=4),
        "every second feature of a wider array": {**wide, "x": wide["x"][:, ::2]},
        "more validation rows than training rows": case(4136, 3, 9, 2),
    }


def _deviation(rows: np.ndarray) -> np.ndarray:
    """The standard deviation, with 1 in the place of 0."""
    std = rows.astype(float).std(axis=0)
    return np.where(std > 0, std, 1.0)


def _prepare(
    fit_on: Callable = lambda x, train, validation: train,
    *,
    fit_validation_on: Callable | None = None,
    centre: Callable = lambda rows: rows.astype(float).mean(axis=0),
    deviation: Callable = _deviation,
    finish: Callable = lambda train, validation: (train, validation),
) -> Callable:
    """Both parts standardised with the statistics of `fit_on(x, train, validation)`; the validation part's may be others."""

    def prepare(x: np.ndarray, train_rows: np.ndarray, validation_rows: np.ndarray) -> Any:
        parts = x[train_rows], x[validation_rows]
        done = []
        for part, rows_of in zip(parts, (fit_on, fit_validation_on or fit_on), strict=True):
            rows = rows_of(x, *parts)
            done.append((part - centre(rows)) / deviation(rows))
        return finish(*done)

    return prepare


def _both(x: np.ndarray, train: np.ndarray, validation: np.ndarray) -> np.ndarray:
    return np.concatenate([train, validation])


def _all(x: np.ndarray, train: np.ndarray, validation: np.ndarray) -> np.ndarray:
    return x


def _validation(x: np.ndarray, train: np.ndarray, validation: np.ndarray) -> np.ndarray:
    return validation


def _plain_deviation(rows: np.ndarray) -> np.ndarray:
    return rows.astype(float).std(axis=0)


def _validation_as_it_was(x: np.ndarray, train_rows: np.ndarray, validation_rows: np.ndarray) -> tuple:
    return _prepare()(x, train_rows, validation_rows)[0], x[validation_rows]


def _by_row(x: np.ndarray, train_rows: np.ndarray, validation_rows: np.ndarray) -> list:
    parts = x[train_rows].astype(float), x[validation_rows].astype(float)
    return [(part - part.mean(axis=1, keepdims=True)) / _deviation(part.T)[:, None] for part in parts]


def _unit_range(rows: np.ndarray) -> np.ndarray:
    return np.where(np.ptp(rows, axis=0) > 0, np.ptp(rows, axis=0), 1)


PREPARE = Exercise(
    id="4.13",
    name="prepare",
    title="Find the bug: a scaler that has seen the future",
    minutes=10,
    difficulty=1,
    cases=_prepare_cases,
    reference=_prepare(),
    atol=1e-5,
    mistakes=(
        Mistake(
            "Mean and deviation are still those of all rows of x, so the validation rows have a say in how the training "
            "rows look. Split first, and take both from the training rows.",
            _prepare(_all),
        ),
        Mistake(
            "Mean and deviation are those of training and validation rows together. Take both from the training rows alone.",
            _prepare(_both),
        ),
        Mistake(
            "Each part was scaled by its own statistics. Then the same measurement gets two different values, and a shift "
            "between the parts becomes invisible. Scale both with those of the training rows.",
            _prepare(fit_validation_on=_validation),
        ),
        Mistake(
            "The validation rows were scaled with the statistics of all rows. Scale both parts with those of the training "
            "rows.",
            _prepare(fit_validation_on=_all),
        ),
        Mistake("Mean and deviation are those of the validation rows. Take the training rows.", _prepare(_validation)),
        Mistake(
            "The mean comes from the training rows, but the deviation from all of x.",
            lambda x, train_rows, validation_rows: _prepare(deviation=lambda rows: _deviation(x))(
                x, train_rows, validation_rows
            ),
        ),
        Mistake(
            "The deviation comes from the training rows, but the mean from all of x.",
            lambda x, train_rows, validation_rows: _prepare(centre=lambda rows: x.astype(float).mean(axis=0))(
                x, train_rows, validation_rows
            ),
        ),
        Mistake(
            "A feature that does not vary in the training rows was divided by 0. Divide it by 1 instead: "
            "`jnp.where(std > 0, std, 1.0)`.",
            _prepare(deviation=_plain_deviation),
        ),
        Mistake(
            "A small number was added to the deviation, so a feature that varies in the validation rows only comes out "
            "huge. Divide by 1 where the deviation is 0.",
            _prepare(deviation=lambda rows: _plain_deviation(rows) + 1e-8),
        ),
        Mistake(
            "The features were divided by the variance. Divide by its root, the standard deviation.",
            _prepare(deviation=lambda rows: _deviation(rows) ** 2),
        ),
        Mistake(
            "The deviation was computed with n - 1. Here it is the one with n, which NumPy and JAX take by default (PyTorch: "
            "`std(dim=0, correction=0)`).",
            _prepare(deviation=lambda rows: _deviation(rows) * (len(rows) / (len(rows) - 1)) ** 0.5),
        ),
        Mistake("The features were centred, but not divided by the deviation.", _prepare(deviation=lambda rows: 1.0)),
        Mistake("The features were divided by the deviation, but not centred.", _prepare(centre=lambda rows: 0.0)),
        Mistake(
            "One mean and one deviation for all features. Each feature has its own: `axis=0`.",
            _prepare(centre=lambda rows: rows.mean(dtype=float), deviation=lambda rows: rows.std(dtype=float)),
        ),
        Mistake(
            "Each row was standardised over its features. It is the features that are, each over the rows: `axis=0`.", _by_row
        ),
        Mistake(
            "The validation rows were left as they were. They need the same scaling as the training rows.",
            _validation_as_it_was,
        ),
        Mistake(
            "The features were brought to the range from 0 to 1. Standardise: subtract the mean, divide by the deviation.",
            _prepare(centre=lambda rows: rows.min(axis=0), deviation=_unit_range),
        ),
        Mistake(
            "The two parts are exchanged: training rows first.", _prepare(finish=lambda train, validation: (validation, train))
        ),
        Mistake("The validation part is missing.", _prepare(finish=lambda train, validation: train)),
    ),
    hints=(
        "Which rows does `x.mean(axis=0)` look at?",
        "A scaler is a part of the model: its numbers are learned, so they are learned from the training rows, and used "
        "unchanged on every other row.",
        "`mean = x[train_rows].mean(axis=0)`, the deviation likewise; then standardise `x[train_rows]` and "
        "`x[validation_rows]` with the same two.",
    ),
)
