"""Exercise of lesson 03 that draws first weights. Its check compares their mean square with what the argument gives.

The arrays that are measured have at least 20,000 entries, so chance moves their mean square by about 1 per cent; it may
be off by TOLERANCE, 8 per cent.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property, listed
from mlcourse.checks.randomness import GLOBAL_GENERATOR, repeats, seed_matters

# 3.1 he_weights(shapes, *, slope, seed) -> one array for each shape

ENOUGH = 20_000  # entries
TOLERANCE = 0.08  # relative, of a mean square


def _he_cases() -> dict:
    return {
        "two layers, ReLU": {"shapes": [(200, 130), (130, 200)], "slope": 0.0, "seed": 0},
        "two layers of the same shape, slope 0.4": {"shapes": [(200, 130), (200, 130)], "slope": 0.4, "seed": 1},
        "a convolution of 3 by 5 pixels, 8 to 200 channels": {"shapes": [(3, 5, 8, 200), (7, 3)], "slope": 0.3, "seed": 2},
        "one input, and no nonlinearity (slope 1)": {"shapes": [(1, 20_000)], "slope": 1.0, "seed": 3},
    }


def _run_he(answer: Callable, shapes: list, slope: float, seed: int) -> Any:
    return listed(answer(shapes, slope=slope, seed=seed))


def _fan_in(shape: tuple) -> float:
    return float(np.prod(shape[:-1]))


def _fan_out(shape: tuple) -> float:
    return float(np.prod(shape) / shape[-2])


def _right(shape: tuple, slope: float) -> float:
    """The variance that keeps the mean square: half of the signal passes whole, half with the slope."""
    return 2 / ((1 + slope**2) * _fan_in(shape))


def _he_weights(shapes: list, *, slope: float, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.sqrt(_right(shape, slope)) * rng.standard_normal(shape) for shape in shapes]


def _large(weights: list) -> list[np.ndarray]:
    return [w for w in weights if w.size >= ENOUGH]


def _near(weights: list, slope: float, variance: Callable) -> bool:
    """Whether every large array has the mean square `variance(shape, slope)`."""
    return all(abs((w**2).mean() / variance(w.shape, slope) - 1) < TOLERANCE for w in _large(weights))


def _not(variance: Callable) -> Callable:
    """Holds where the arrays do not have this wrong mean square, or where it is the right one as well."""

    def holds(run: Callable, slope: float, **case: Any) -> bool:
        weights = run(slope=slope, **case)
        return _near(weights, slope, _right) or not _near(weights, slope, variance)

    return holds


def _is_right(run: Callable, slope: float, **case: Any) -> bool:
    return _near(run(slope=slope, **case), slope, _right)


def _centred(run: Callable, **case: Any) -> bool:
    """The mean lies within 6 standard errors of 0."""
    return all(abs(w.mean()) < 6 * np.sqrt((w**2).mean() / w.size) for w in _large(run(**case)))


def _entries_differ(run: Callable, **case: Any) -> bool:
    return all(len(np.unique(w)) > 0.9 * w.size for w in _large(run(**case)))


def _unrelated(a: np.ndarray, b: np.ndarray) -> bool:
    """No correlation beyond 6 standard errors, entry by entry, over the entries that both have."""
    n = min(a.size, b.size)
    return abs(np.corrcoef(a.ravel()[:n], b.ravel()[:n])[0, 1]) < 6 / np.sqrt(n)


def _layers_unrelated(run: Callable, **case: Any) -> bool:
    return all(_unrelated(a, b) for a, b in combinations(_large(run(**case)), 2))


def _seeds_unrelated(run: Callable, **case: Any) -> bool:
    first, second = (_large(run(**{**case, "seed": case["seed"] + shift})) for shift in (0, 1))
    return all(_unrelated(a, b) for a in first for b in second)


HE_WEIGHTS = Exercise(
    id="3.1",
    name="he_weights",
    title="First weights that keep the signal",
    minutes=20,
    difficulty=2,
    cases=_he_cases,
    reference=_he_weights,
    run=_run_he,
    compare="shapes",
    mistakes=(
        Mistake(
            "The shapes are turned around. They are those of `x @ W`: the last axis counts the outputs.",
            lambda shapes, *, slope, seed: _he_weights([shape[::-1] for shape in shapes], slope=slope, seed=seed),
        ),
        Mistake(
            "Only the first layer was made. A `return` inside the loop ends it.",
            lambda shapes, *, slope, seed: _he_weights(shapes[:1], slope=slope, seed=seed),
        ),
        Mistake(
            "This is the first layer alone. Return a list with one array for each shape.",
            lambda shapes, *, slope, seed: _he_weights(shapes, slope=slope, seed=seed)[0],
        ),
        Mistake(
            "These are the standard deviations, one number a layer. Multiply random numbers of the given shape by them.",
            lambda shapes, *, slope, seed: [np.sqrt(_right(shape, slope)) for shape in shapes],
        ),
    ),
    properties=(
        Property("The entries repeat: every weight needs a random number of its own.", _entries_differ),
        Property(
            "The weights don't have the mean 0. Numbers between 0 and 1 must be centred first (`2 * u - 1`), or take "
            "normal ones.",
            _centred,
        ),
        Property(
            "The variance is 2 / fan_out: the *outputs* were counted. One output adds up fan_in products, so fan_in, the "
            "number of its inputs, keeps the forward signal. (2 / fan_out keeps the gradient.)",
            _not(lambda shape, slope: 2 / ((1 + slope**2) * _fan_out(shape))),
        ),
        Property(
            "The variance is 2 / (size of the last axis): the *outputs* were counted. One output adds up fan_in products: "
            "the product of all axes but the last.",
            _not(lambda shape, slope: 2 / ((1 + slope**2) * shape[-1])),
        ),
        Property(
            "This is Glorot's variance, 2 / (fan_in + fan_out), a balance for layers without ReLU. From the argument above "
            "follows another one.",
            _not(lambda shape, slope: 2 / (_fan_in(shape) + _fan_out(shape))),
        ),
        Property(
            "The variance is 1 / fan_in, right for a layer without a nonlinearity (LeCun). A ReLU sets half of the signal "
            "to 0, so twice as much is needed; a slope gives some of it back.",
            _not(lambda shape, slope: 1 / _fan_in(shape)),
        ),
        Property(
            "The standard deviation is 2 / fan_in: the *variance* should be. Take the root of it before you multiply.",
            _not(lambda shape, slope: _right(shape, slope) ** 2),
        ),
        Property(
            "The root was taken twice: the standard deviation is the fourth root. Normal numbers are multiplied by the root "
            "of the variance, once.",
            _not(lambda shape, slope: _right(shape, slope) ** 0.5),
        ),
        Property(
            "The variance is a third of the right one: numbers spread evenly between -b and b have the variance b²/3. "
            "Take b = √(3 · variance).",
            _not(lambda shape, slope: _right(shape, slope) / 3),
        ),
        Property(
            "The weights have the variance 1, as they were drawn: they were not scaled.",
            _not(lambda shape, slope: 1.0),
        ),
        Property(
            "The slope is not used: this is right for a ReLU only. With the slope a, half of the signal passes whole and "
            "half of it times a, which leaves (1 + a²)/2 of its mean square.",
            _not(lambda shape, slope: 2 / _fan_in(shape)),
        ),
        Property(
            "The slope must be squared: the argument is about mean *squares*, and those of the negative half shrink to a².",
            _not(lambda shape, slope: 2 / ((1 + slope) * _fan_in(shape))),
        ),
        Property(
            "The slope makes the variance larger here. A leak lets *more* signal through, so smaller weights do: divide "
            "by 1 + a².",
            _not(lambda shape, slope: 2 * (1 + slope**2) / _fan_in(shape)),
        ),
        Property(
            "Of a convolution only the channels were counted. One output adds up height × width × channels products: fan_in "
            "is the product of all axes but the last.",
            _not(lambda shape, slope: 2 / ((1 + slope**2) * shape[-2])),
        ),
        Property(
            "Only the first axis was counted. In a convolution one output adds up height × width × channels products: "
            "fan_in is the product of all axes but the last.",
            _not(lambda shape, slope: 2 / ((1 + slope**2) * shape[0])),
        ),
        Property(
            "The mean square of the weights is not the one that keeps the signal (it may be off by 8 per cent, for chance). "
            "With fan_in inputs of mean square q, an output has the mean square fan_in · variance · q, and the "
            "nonlinearity leaves (1 + slope²)/2 of that. What variance gives q again?",
            _is_right,
        ),
        Property(
            "Two layers have the same random numbers: one key, or one seed, was used for both. Split the key for each "
            "layer (`key, subkey = jax.random.split(key)`), or make one generator before the loop.",
            _layers_unrelated,
        ),
        Property(
            "Two calls with the same seed give different weights. Make the generator, or the key, from the seed.",
            repeats,
        ),
        Property("Another seed gives the same weights, so `seed` is not used.", seed_matters),
        Property(
            "A layer of one seed is a layer of the next seed: the layers' seeds were counted up (`seed + i`). Runs with "
            "different seeds are then not independent. Make one key from the seed, and split it.",
            _seeds_unrelated,
        ),
        GLOBAL_GENERATOR,
    ),
    hints=(
        "One output before the nonlinearity is a sum of fan_in products w·x. All are independent with mean 0, so the mean "
        "squares add up: fan_in · variance · (mean square of x).",
        "It is symmetric about 0, so half of the time it is positive and passes, and half of the time it is multiplied by "
        "the slope a. What is left of its mean square is (1 + a²)/2. Set the product of both factors to 1.",
        "variance = 2 / ((1 + a²) · fan_in), with fan_in the product of all axes but the last: `np.prod(shape[:-1])`. "
        "Multiply normal numbers by its root, with a key of its own for each layer.",
    ),
)
