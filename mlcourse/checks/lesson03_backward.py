"""Exercise of lesson 03 that goes backwards through batch normalisation, by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 3.4 batch_norm_backward(grad_y, x, weight, *, epsilon) -> gradients with respect to x (n, d), weight (d,), bias (d,)


def _backward_cases() -> dict:
    rng = np.random.default_rng(34)

    def case(x: np.ndarray, grad_y: np.ndarray, epsilon: float) -> dict:
        return {"grad_y": grad_y, "x": x, "weight": rng.uniform(0.5, 2.0, 3) * [1, -1, 1], "epsilon": epsilon}

    def slopes(n: int) -> np.ndarray:
        return rng.normal(0.5, 1.0, (n, 3))

    wide = rng.normal(-1.0, 2.0, (5, 6))
    return {
        "3 examples of 3 features": case(rng.normal(2.0, [1, 2, 3], (3, 3)), slopes(3), 0.25),
        "5 examples, a large epsilon": case(rng.normal(0.0, [1, 2, 3], (5, 3)), slopes(5), 2.0),
        "the same slope for all examples": case(rng.normal(0.0, 1.0, (5, 3)), np.ones((5, 3)), 0.1),
        "one example": case(rng.normal(size=(1, 3)), slopes(1), 0.5),
        "every second column of larger arrays": case(wide[:, ::2], np.repeat(slopes(5), 2, axis=1)[:, ::2], 0.3),
        "x in whole numbers": case(rng.integers(-4, 9, (5, 3)), slopes(5), 0.2),
    }


def _run_backward(answer: Callable, grad_y: Any, x: Any, weight: Any, epsilon: float) -> Any:
    return answer(grad_y, x, weight, epsilon=epsilon)


def _whole(g: np.ndarray, z: np.ndarray) -> np.ndarray:
    """What is left of the gradient after the mean and the variance have been taken back."""
    return g - g.mean(axis=0) - z * (g * z).mean(axis=0)


def _backward(
    *,
    std: Callable = lambda x, epsilon: np.sqrt(x.var(axis=0) + epsilon),
    back: Callable = lambda g, z, std: _whole(g, z) / std,
    weigh: Callable = lambda grad, weight: weight * grad,
    affine: Callable = lambda g, z, x: ((g * z).sum(axis=0), g.sum(axis=0)),
) -> Callable:
    """The three gradients with any part replaced.

    With z the normalised x: `std(x, epsilon)` divides; `back(g, z, std)` takes the gradient g with respect to z back
    to x; `weigh` brings the weight in; `affine(g, z, x)` gives the gradients of weight and bias.
    """

    def backward(grad_y: np.ndarray, x: np.ndarray, weight: np.ndarray, *, epsilon: float) -> tuple:
        s = std(x, epsilon)
        z = (x - x.mean(axis=0)) / s
        return weigh(back(grad_y, z, s), weight), *affine(grad_y, z, x)

    return backward


def _detour(path: Callable) -> Callable:
    """`back` with only some of the paths: `path(g, mean of g, z times the mean of g z)`."""
    return lambda g, z, std: path(g, g.mean(axis=0), z * (g * z).mean(axis=0)) / std


_RIGHT = _backward()

BATCH_NORM_BACKWARD = Exercise(
    id="3.4",
    name="batch_norm_backward",
    title="Batch normalisation, backwards by hand",
    minutes=30,
    difficulty=3,
    cases=_backward_cases,
    reference=_RIGHT,
    run=_run_backward,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(
            "Mean and variance were taken for constants. They are computed from the batch: x acts on y through them as well, "
            "and both paths come back.",
            _backward(back=_detour(lambda g, m, v: g)),
        ),
        Mistake(
            "The path through the variance is missing: the variance was taken for a constant.",
            _backward(back=_detour(lambda g, m, v: g - m)),
        ),
        Mistake(
            "The path through the mean is missing: the mean was taken for a constant.",
            _backward(back=_detour(lambda g, m, v: g - v)),
        ),
        Mistake(
            "The path through the mean has the wrong sign. More mean is less z: subtract the mean of the slopes.",
            _backward(back=_detour(lambda g, m, v: g + m - v)),
        ),
        Mistake(
            "The path through the variance has the wrong sign. More variance is less of z: subtract z · mean(g z).",
            _backward(back=_detour(lambda g, m, v: g - m + v)),
        ),
        Mistake(
            "The path through the variance counts twice: the 2 from the square is undone by the 1/2 from the root.",
            _backward(back=_detour(lambda g, m, v: g - m - 2 * v)),
        ),
        Mistake(
            "The path through the variance counts half: the 1/2 from the root is undone by the 2 from the square.",
            _backward(back=_detour(lambda g, m, v: g - m - v / 2)),
        ),
        Mistake(
            "The slopes were added up over the batch where their mean is needed: mean and variance divide by n.",
            _backward(back=lambda g, z, std: (g - g.sum(axis=0) - z * (g * z).sum(axis=0)) / std),
        ),
        Mistake(
            "The gradient of x is n times too large: the formula with n g - sum(g) - z sum(g z) is divided by n.",
            _backward(back=lambda g, z, std: len(g) * _whole(g, z) / std),
        ),
        Mistake(
            "The gradient of x is n times too small. The loss belongs to the caller: `grad_y` is divided by n already, where "
            "the loss is a mean.",
            _backward(back=lambda g, z, std: _whole(g, z) / std / len(g)),
        ),
        Mistake(
            "In the path through the variance, x - mean stands where z = (x - mean)/std belongs.",
            _backward(back=lambda g, z, std: (g - g.mean(axis=0) - z * std * (g * z).mean(axis=0)) / std),
        ),
        Mistake(
            "In the path through the variance, x - mean stands where z = (x - mean)/std belongs, both times.",
            _backward(back=lambda g, z, std: (g - g.mean(axis=0) - z * std * (g * z * std).mean(axis=0)) / std),
        ),
        Mistake(
            "Batch statistics come back along axis 0, over the examples. These means run along the rows.",
            _backward(
                back=lambda g, z, std: (g - g.mean(axis=1, keepdims=True) - z * (g * z).mean(axis=1, keepdims=True)) / std
            ),
        ),
        Mistake(
            "The division by the standard deviation is missing in the gradient of x.",
            _backward(back=lambda g, z, std: _whole(g, z)),
        ),
        Mistake(
            "The gradient of x was multiplied by the standard deviation. z is x divided by it, and so is the gradient.",
            _backward(back=lambda g, z, std: _whole(g, z) * std),
        ),
        Mistake(
            "The gradient of x was divided by the variance. z is x divided by its root, and so is the gradient.",
            _backward(back=lambda g, z, std: _whole(g, z) / std**2),
        ),
        Mistake(
            "The weight is missing in the gradient of x: y = weight * z + bias, so z gets weight * grad_y.",
            _backward(weigh=lambda grad, weight: grad),
        ),
        Mistake("The gradient of x was divided by the weight. Multiply.", _backward(weigh=lambda grad, weight: grad / weight)),
        Mistake(
            "The gradient of the weight was made with x. The weight multiplies the *normalised* x: sum of grad_y * z.",
            _backward(affine=lambda g, z, x: ((g * x).sum(axis=0), g.sum(axis=0))),
        ),
        Mistake(
            "The gradients of weight and bias are means. They act on every example: add up over the batch.",
            _backward(affine=lambda g, z, x: ((g * z).mean(axis=0), g.mean(axis=0))),
        ),
        Mistake(
            "The gradient of the bias is the mean. The bias is added to every example: add up over the batch.",
            _backward(affine=lambda g, z, x: ((g * z).sum(axis=0), g.mean(axis=0))),
        ),
        Mistake(
            "The gradients of weight and bias are not added up over the batch: they have the shapes of weight and bias.",
            _backward(affine=lambda g, z, x: (g * z, g)),
        ),
        Mistake(
            "The gradients of weight and bias are exchanged: return x, weight, bias.",
            _backward(affine=lambda g, z, x: (g.sum(axis=0), (g * z).sum(axis=0))),
        ),
        Mistake(
            "The sums of weight and bias run along the rows. There is one weight for each *feature*: axis=0.",
            _backward(affine=lambda g, z, x: ((g * z).sum(axis=1), g.sum(axis=1))),
        ),
        Mistake(
            "The unbiased variance (n - 1 below) was used. The forward pass divides by n.",
            _backward(std=lambda x, epsilon: np.sqrt(x.var(axis=0, ddof=1) + epsilon)),
        ),
        Mistake(
            "Epsilon is missing: the forward pass divides by √(variance + epsilon), and so must this.",
            _backward(std=lambda x, epsilon: x.std(axis=0)),
        ),
        Mistake(
            "Epsilon stands outside the root. The forward pass divides by √(variance + epsilon).",
            _backward(std=lambda x, epsilon: x.std(axis=0) + epsilon),
        ),
        Mistake(
            "Only the gradient of x is returned. Return three: x, weight, bias.", lambda *args, **kw: _RIGHT(*args, **kw)[0]
        ),
    ),
    hints=(
        "Two are short. y = weight * z + bias, so the bias gets the sum of grad_y over the batch, and the weight the sum of "
        "grad_y * z.",
        "Call g = weight * grad_y, the gradient of z = (x - mean)/s with s = √(variance + epsilon). One entry of x acts on "
        "its own z, on the mean, and on s. Each path gives one term: g/s, -mean(g)/s, and -z · mean(g z)/s.",
        "`grad_x = (g - g.mean(axis=0) - z * (g * z).mean(axis=0)) / s`. Two signs that it is right: it adds up to 0 over "
        "the batch, and where epsilon is tiny it is at right angles to z.",
    ),
)
