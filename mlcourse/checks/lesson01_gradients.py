"""Exercises of lesson 01 about the gradient: the update, and a numerical gradient to check another by."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import tree_map

# 1.3 sgd_step(params, grads, learning_rate) -> new params


def _sgd_cases() -> dict:
    rng = np.random.default_rng(13)

    def layer(n: int, m: int) -> dict:
        return {"w": rng.normal(size=(n, m)).astype(np.float32), "b": rng.normal(size=m).astype(np.float32)}

    deep = {"hidden": layer(3, 2), "output": layer(2, 1)}
    view = rng.normal(size=(4, 6)).astype(np.float32)
    return {
        "one layer": {"params": layer(2, 3), "grads": layer(2, 3), "learning_rate": 0.3},
        "one layer, another learning rate": {"params": layer(2, 3), "grads": layer(2, 3), "learning_rate": 0.05},
        "two layers, a dict in a dict": {
            "params": deep,
            "grads": {"hidden": layer(3, 2), "output": layer(2, 1)},
            "learning_rate": 0.5,
        },
        "layers in another order in grads": {
            "params": deep,
            "grads": {"output": layer(2, 1), "hidden": layer(3, 2)},
            "learning_rate": 2.0,
        },
        "every second column, and a single number": {
            "params": {"w": view[:, ::2], "scale": np.array(2.0, dtype=np.float32)},
            "grads": {"w": view[:, 1::2], "scale": np.array(-0.5, dtype=np.float32)},
            "learning_rate": 0.1,
        },
    }


def _zipped(function: Callable) -> Callable:
    """An update that does `function(p, g, learning_rate)` to every array of a nested dict."""

    def update(params: Any, grads: Any, learning_rate: float) -> Any:
        if isinstance(params, dict):
            return {name: update(params[name], grads[name], learning_rate) for name in params}
        return function(params, grads, learning_rate)

    return update


def _by_position(params: Any, grads: Any, learning_rate: float) -> Any:
    if isinstance(params, dict):
        return {name: _by_position(p, g, learning_rate) for (name, p), g in zip(params.items(), grads.values(), strict=True)}
    return params - learning_rate * grads


def _top_level_only(params: dict, grads: dict, learning_rate: float) -> dict:
    return {name: params[name] - learning_rate * grads[name] for name in params}


def _only(kept: Callable) -> Callable:
    """An update of the entries whose name passes `kept`, at any depth; the others stay."""

    def update(params: dict, grads: dict, learning_rate: float) -> dict:
        new = {}
        for name, value in params.items():
            if isinstance(value, dict):
                new[name] = update(value, grads[name], learning_rate)
            else:
                new[name] = value - learning_rate * grads[name] if kept(name) else value
        return new

    return update


def _norm(tree: Any) -> float:
    squares: list[float] = []
    tree_map(lambda leaf: squares.append(float((leaf**2).sum())), tree)
    return float(np.sqrt(sum(squares)))


SGD_STEP = Exercise(
    id="1.3",
    name="sgd_step",
    title="The update step",
    minutes=10,
    difficulty=1,
    cases=_sgd_cases,
    reference=_zipped(lambda p, g, rate: p - rate * g),
    mistakes=(
        Mistake(
            "The step goes uphill. The gradient points to where the loss grows: subtract it.",
            _zipped(lambda p, g, rate: p + rate * g),
        ),
        Mistake("The learning rate is not used. Subtract `learning_rate * gradient`.", _zipped(lambda p, g, rate: p - g)),
        Mistake(
            "These are the steps, not the new parameters. Return `params - learning_rate * grads`.",
            _zipped(lambda p, g, rate: -rate * g),
        ),
        Mistake(
            "These are the steps, not the new parameters. Return `params - learning_rate * grads`.",
            _zipped(lambda p, g, rate: rate * g),
        ),
        Mistake(
            "The sign is turned around: this is `learning_rate * gradient - params`.",
            _zipped(lambda p, g, rate: rate * g - p),
        ),
        Mistake("The parameters were returned as they came: nothing was updated.", lambda params, grads, rate: params),
        Mistake("The gradient was divided by the learning rate. Multiply by it.", _zipped(lambda p, g, rate: p - g / rate)),
        Mistake(
            "The parameters were multiplied by the learning rate too. Only the gradient is: `p - learning_rate * g`.",
            _zipped(lambda p, g, rate: rate * (p - g)),
        ),
        Mistake(
            "Only the sign of the gradient was used. Its size counts too in plain gradient descent.",
            _zipped(lambda p, g, rate: p - rate * np.sign(g)),
        ),
        Mistake("The learning rate was applied twice: once is enough.", _zipped(lambda p, g, rate: p - rate * rate * g)),
        Mistake(
            "The gradient was scaled to length 1. In plain gradient descent its length counts.",
            lambda params, grads, rate: _zipped(lambda p, g, r: p - r * g / _norm(grads))(params, grads, rate),
        ),
        Mistake("Parameters and gradients were paired by their position. Pair them by name: `grads[name]`.", _by_position),
        Mistake("Only the weights were updated. The biases learn as well.", _only(lambda name: name != "b")),
        Mistake("Only the biases were updated. The weights learn as well.", _only(lambda name: name == "b")),
        Mistake(
            "An inner dict was treated as an array. Go down into it: call the function again for it, or use `jax.tree.map`.",
            _top_level_only,
        ),
    ),
    hints=(
        "For one array the update is `p - learning_rate * g`. The rest is walking through the dict.",
        "`jax.tree.map(function, params, grads)` calls `function(p, g)` for every array, at any depth, in JAX, "
        "NumPy and PyTorch alike.",
        "By hand: if `params` is a dict, return `{name: sgd_step(params[name], grads[name], learning_rate) for name in "
        "params}`.",
    ),
)


# 1.9 numerical_gradient(f, x, epsilon) -> array like x, by central differences


def _cubic(x: Any) -> Any:
    """f(x) = (x**3).sum(), whose gradient is 3 x**2"""
    return (x**3).sum()


def _weighted(x: Any) -> Any:
    """f(x) = (x[0] * x[1]**3).sum(): each row has its own part"""
    return (x[0] * x[1] ** 3).sum()


def _numerical_cases() -> dict:
    wide = np.random.default_rng(19).normal(size=(2, 7)) + 1.0
    return {
        "three numbers": {"f": _cubic, "x": np.array([1.0, -2.0, 0.5]), "epsilon": 0.1},
        "three numbers, larger epsilon": {"f": _cubic, "x": np.array([1.0, -2.0, 0.5]), "epsilon": 0.3},
        "two rows of three": {"f": _weighted, "x": wide[:, :3].copy(), "epsilon": 0.1},
        "every second column of a larger array": {"f": _weighted, "x": wide[:, 1::2], "epsilon": 0.2},
        "whole numbers": {"f": _cubic, "x": np.array([1, 2, -3]), "epsilon": 0.1},
        "a single number": {"f": _cubic, "x": np.array(2.0), "epsilon": 0.1},
    }


def _differences(quotient: Callable, dtype: type | None = np.float64) -> Callable:
    """`quotient(f, x, nudge, epsilon)` for every entry of x, one entry nudged at a time."""

    def gradient(f: Callable, x: np.ndarray, epsilon: float) -> np.ndarray:
        start = x.astype(dtype or x.dtype)
        found = np.zeros(x.shape)
        for index in np.ndindex(*x.shape):
            nudge = np.zeros_like(start)
            nudge[index] = epsilon
            found[index] = quotient(f, start, nudge, epsilon)
        return found

    return gradient


_CENTRAL = _differences(lambda f, x, nudge, e: (f(x + nudge) - f(x - nudge)) / (2 * e))
_FORWARD = _differences(lambda f, x, nudge, e: (f(x + nudge) - f(x)) / e)


def _not_put_back(f: Callable, x: np.ndarray, epsilon: float) -> np.ndarray:
    x, found = x.astype(float), np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        x[index] += epsilon
        above = f(x)
        x[index] -= 2 * epsilon
        found[index] = (above - f(x)) / (2 * epsilon)
    return found


def _view_of_a_copy(f: Callable, x: np.ndarray, epsilon: float) -> np.ndarray:
    """Nudges x.reshape(-1), which is a copy where x is not contiguous."""
    flat, found = x.reshape(-1), np.zeros(x.size)
    for index in range(x.size):
        kept = flat[index]
        flat[index] = kept + epsilon
        above = f(x)
        flat[index] = kept - epsilon
        found[index] = (above - f(x)) / (2 * epsilon)
        flat[index] = kept
    return found.reshape(x.shape)


def _rounded_after_the_nudge(f: Callable, x: np.ndarray, epsilon: float) -> np.ndarray:
    found = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[index] += epsilon
        below[index] -= epsilon
        found[index] = (f(above) - f(below)) / (2 * epsilon)
    return found


_ROUNDED_AWAY = "An array of whole numbers can't hold x + epsilon: it was rounded. Work on `x.astype(float)`."

NUMERICAL_GRADIENT = Exercise(
    id="1.9",
    name="numerical_gradient",
    title="A gradient to check gradients with",
    minutes=15,
    difficulty=2,
    cases=_numerical_cases,
    reference=_CENTRAL,
    rtol=1e-3,
    atol=1e-4,
    mistakes=(
        Mistake(
            "This is the one-sided difference, f(x + epsilon) - f(x). The central one, f(x + epsilon) - f(x - "
            "epsilon) over 2 epsilon, has an error of order epsilon squared.",
            _FORWARD,
        ),
        Mistake(
            "This is the one-sided difference to the left, f(x) - f(x - epsilon). Take the central one, "
            "f(x + epsilon) - f(x - epsilon) over 2 epsilon.",
            _differences(lambda f, x, n, e: (f(x) - f(x - n)) / e),
        ),
        Mistake(
            "The difference spans 2 epsilon, but was divided by epsilon: twice too large.",
            _differences(lambda f, x, n, e: (f(x + n) - f(x - n)) / e),
        ),
        Mistake(
            "The difference spans epsilon, but was divided by 2 epsilon. Go epsilon to either side.",
            _differences(lambda f, x, n, e: (f(x + n) - f(x)) / (2 * e)),
        ),
        Mistake(
            "`/ 2 * epsilon` divides by 2 and then multiplies by epsilon. Write `/ (2 * epsilon)`.",
            _differences(lambda f, x, n, e: (f(x + n) - f(x - n)) / 2 * e),
        ),
        Mistake(
            "The difference was not divided by 2 epsilon: this is a difference, not a slope.",
            _differences(lambda f, x, n, e: f(x + n) - f(x - n)),
        ),
        Mistake(
            "The sign is turned around: f(x + epsilon) comes first.",
            _differences(lambda f, x, n, e: (f(x - n) - f(x + n)) / (2 * e)),
        ),
        Mistake(
            "All entries were moved at once. Nudge one entry, with the others held.",
            lambda f, x, e: np.full(x.shape, (f(x + e) - f(x - e)) / (2 * e)),
        ),
        Mistake(
            "All entries were moved at once, and there is one slope for the whole array. Nudge one entry at a "
            "time, and return an array of the shape of x.",
            lambda f, x, e: (f(x + e) - f(x - e)) / (2 * e),
        ),
        Mistake("The gradient came out flat. It must have the shape of x.", lambda f, x, e: _CENTRAL(f, x, e).reshape(-1)),
        Mistake(_ROUNDED_AWAY, _differences(lambda f, x, n, e: (f(x + n) - f(x - n)) / (2 * e), dtype=None)),
        Mistake(_ROUNDED_AWAY, _rounded_after_the_nudge),
        Mistake(
            "`epsilon` was not used: this is the exact gradient, or one with another epsilon. Take differences over the "
            "epsilon that is given.",
            lambda f, x, e: _CENTRAL(f, x, 1e-4),
        ),
        Mistake("A nudged entry was not put back before the next one was nudged.", _not_put_back),
        Mistake(
            "`reshape(-1)` of an array that is not contiguous is a copy, so f never saw the nudge. Nudge a copy of "
            "x by its index.",
            _view_of_a_copy,
        ),
        Mistake(
            "An array like x was made to hold the slopes, and where x holds whole numbers it rounds them. Use "
            "`np.zeros(x.shape)`.",
            lambda f, x, e: _CENTRAL(f, x, e).astype(x.dtype),
        ),
    ),
    hints=(
        "The slope along entry i is (f(x with entry i raised by epsilon) - f(x with it lowered by epsilon)) / (2 epsilon).",
        "`for index in np.ndindex(*x.shape)` walks through an array of any shape. Work on a copy in floating point.",
        "In JAX, `x.at[index].add(epsilon)` gives a new array with one entry raised. In NumPy, `nudge = "
        "np.zeros(x.shape); nudge[index] = epsilon`.",
    ),
)
