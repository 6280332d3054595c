"""Exercise of lesson 03 on the Hessian: its largest eigenvalue, by products with vectors alone.

The losses are polynomials of single entries, so that any framework can differentiate them. The reference has no
gradients: it takes central differences in float64, which are exact enough for polynomials of degree 4.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 3.8 largest_eigenvalue(loss, theta, *, num_steps, seed) -> the eigenvalue of the Hessian with the largest size


def _bowl(theta: Any) -> Any:
    """loss(theta) = 3 a² + b²/2 + c²/10 + ab, for theta = (a, b, c)"""
    a, b, c = theta[0], theta[1], theta[2]
    return 3 * a**2 + b**2 / 2 + c**2 / 10 + a * b


def _saddle(theta: Any) -> Any:
    """loss(theta) = b² - 4 a² + ac - c, for theta = (a, b, c): the strongest curvature goes down"""
    a, b, c = theta[0], theta[1], theta[2]
    return b**2 - 4 * a**2 + a * c - c


def _chain(theta: Any) -> Any:
    """loss(theta) = (a - b)² + (b - c)² + (c - d)², for theta = (a, b, c, d): flat along (1, 1, 1, 1)"""
    return ((theta[1:] - theta[:-1]) ** 2).sum()


def _quartic(theta: Any) -> Any:
    """loss(theta) = (a⁴ + b⁴ + c⁴) / 12 + a² + ab, for theta = (a, b, c): the curvature depends on the place"""
    return (theta**4).sum() / 12 + theta[0] ** 2 + theta[0] * theta[1]


def _steep(theta: Any) -> Any:
    """loss(theta) = 10⁸ (2 a² + b² + ab), for theta = (a, b)"""
    a, b = theta[0], theta[1]
    return 1e8 * (2 * a**2 + b**2 + a * b)


def _eigenvalue_cases() -> dict:
    return {
        "a bowl": {"loss": _bowl, "theta": np.array([0.5, -1.0, 2.0]), "num_steps": 10, "seed": 0},
        "a saddle": {"loss": _saddle, "theta": np.array([1.0, 0.5, -1.0]), "num_steps": 12, "seed": 1},
        "flat in one direction": {"loss": _chain, "theta": np.array([0.3, -1.0, 0.8, 2.0]), "num_steps": 20, "seed": 2},
        "not quadratic": {"loss": _quartic, "theta": np.array([1.0, -3.0, 2.0]), "num_steps": 15, "seed": 3},
        "very steep": {"loss": _steep, "theta": np.array([2.0, 1.0]), "num_steps": 40, "seed": 4},
    }


def _run_eigenvalue(answer: Callable, loss: Callable, theta: Any, num_steps: int, seed: int) -> Any:
    return answer(loss, theta, num_steps=num_steps, seed=seed)


def _gradient(loss: Callable, theta: np.ndarray, step: float = 1e-3) -> np.ndarray:
    nudges = step * np.eye(len(theta))
    return np.array([loss(theta + nudge) - loss(theta - nudge) for nudge in nudges]) / (2 * step)


def _hessian(loss: Callable, theta: np.ndarray, step: float = 1e-3) -> np.ndarray:
    nudges = step * np.eye(len(theta))
    return np.array([_gradient(loss, theta + nudge) - _gradient(loss, theta - nudge) for nudge in nudges]) / (2 * step)


def _of_hessian(summary: Callable, at: Callable = lambda theta: theta) -> Callable:
    """`summary(H, theta, gradient)` of the exact Hessian at `at(theta)`."""

    def largest_eigenvalue(loss: Callable, theta: np.ndarray, *, num_steps: int, seed: int) -> float:
        return summary(_hessian(loss, at(theta)), theta, _gradient(loss, theta))

    return largest_eigenvalue


def _largest(H: np.ndarray, *_: Any) -> float:
    """The eigenvalue with the largest size, with its sign."""
    return max(np.linalg.eigvalsh(H), key=abs)


def _from_ones(H: np.ndarray, *_: Any) -> float:
    return np.nan if abs(H.sum(axis=1)).max() < 1e-6 else _largest(H)


def _without_limit(H: np.ndarray, *_: Any) -> float:
    return np.nan if abs(_largest(H)) > 1e8 else _largest(H)


LARGEST_EIGENVALUE = Exercise(
    id="3.8",
    name="largest_eigenvalue",
    title="The strongest curvature, without the Hessian",
    minutes=25,
    difficulty=3,
    cases=_eigenvalue_cases,
    reference=_of_hessian(_largest),
    run=_run_eigenvalue,
    rtol=1e-3,
    atol=1e-3,
    mistakes=(
        Mistake(
            "The sign is lost: the length of H v is the *size* of the eigenvalue. With v of length 1, v·(H v) has the sign.",
            _of_hessian(lambda H, *_: abs(_largest(H))),
        ),
        Mistake(
            "This is the eigenvalue that is the largest as a number. Asked for is the one of the largest *size*, which on a "
            "saddle may be negative; power iteration finds that one.",
            _of_hessian(lambda H, *_: max(np.linalg.eigvalsh(H))),
        ),
        Mistake(
            "This is the smallest eigenvalue. Asked for is the one of the largest size.",
            _of_hessian(lambda H, *_: min(np.linalg.eigvalsh(H))),
        ),
        Mistake(
            "This is the square of the eigenvalue: H was applied once too often.", _of_hessian(lambda H, *_: _largest(H) ** 2)
        ),
        Mistake(
            "v was not brought to length 1 before v·(H v): the eigenvalue comes out three times multiplied with itself.",
            _of_hessian(lambda H, *_: _largest(H) ** 3),
        ),
        Mistake("This is the trace, the sum of all eigenvalues.", _of_hessian(lambda H, *_: np.trace(H))),
        Mistake(
            "This is the largest entry on the Hessian's diagonal. Off the diagonal there is curvature too.",
            _of_hessian(lambda H, *_: max(np.diag(H), key=abs)),
        ),
        Mistake(
            "This is the curvature along the gradient: v stayed the gradient. Start from a random v, and replace it by H v "
            "(of length 1) in every step.",
            _of_hessian(lambda H, theta, g: g @ H @ g / (g @ g)),
        ),
        Mistake("This is the length of the gradient.", _of_hessian(lambda H, theta, g: np.linalg.norm(g))),
        Mistake(
            "The Hessian was taken at 0. Take it at theta: where the loss is not quadratic, curvature depends on the place.",
            _of_hessian(_largest, at=lambda theta: 0 * theta),
        ),
        Mistake(
            "v grows without limit: after some steps it is infinite, and the result is nan. Bring v to length 1 in every step.",
            _of_hessian(_without_limit),
        ),
        Mistake(
            "It started from a vector of ones. On `flat in one direction` this one is at right angles to the eigenvector, and "
            "H v is 0. Start from a random vector.",
            _of_hessian(_from_ones),
        ),
        Mistake(
            "It started from a vector of ones. On `flat in one direction` this one is at right angles to the eigenvector, and "
            "H v is 0. Start from a random vector.",
            _of_hessian(lambda H, *_: np.nan_to_num(_from_ones(H))),
        ),
    ),
    hints=(
        "H v is how the gradient changes along v: the derivative of g(theta + t v) at t = 0. `jax.jvp(jax.grad(loss), "
        "(theta,), (v,))[1]` is exactly that. In PyTorch: the gradient of (gradient · v), or `torch.func.jvp` of "
        "`torch.func.grad(loss)`.",
        "Power iteration: start from a random v; num_steps times, replace v by H v and bring it to length 1. Each turn "
        "stretches the part along the strongest curvature most.",
        "In the end v is an eigenvector, and v·(H v) is its eigenvalue, with its sign.",
    ),
)
