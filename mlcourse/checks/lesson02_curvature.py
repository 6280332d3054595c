"""Exercises of lesson 02 on what the Hessian tells: the rates a quadratic allows, and Newton's step off a saddle."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake


def _turned(*eigenvalues: float, seed: int) -> np.ndarray:
    """A symmetric matrix with these eigenvalues, whose axes point anywhere."""
    n = len(eigenvalues)
    Q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
    return ((Q * np.array(eigenvalues)) @ Q.T).astype(np.float32)


# 2.9 quadratic_rates(H) -> largest stable rate, best rate, contraction at the best rate


def _rates_cases() -> dict:
    return {
        "a long valley along the axes": {"H": np.diag(np.float32([1.0, 9.0]))},
        "three directions, turned": {"H": _turned(0.5, 8.0, 2.0, seed=1)},
        "a round bowl": {"H": 4 * np.eye(2, dtype=np.float32)},
        "every second row and column": {"H": np.repeat(np.repeat(_turned(7.0, 0.2, 3.0, 1.0, seed=2), 2, 0), 2, 1)[::2, ::2]},
        "one parameter": {"H": np.float32([[0.25]])},
    }


def _extremes(H: np.ndarray) -> tuple:
    eigenvalues = np.linalg.eigvalsh(H.astype(np.float64))
    return eigenvalues[0], eigenvalues[-1]


def _rates(
    stable: Callable = lambda low, high: 2 / high,
    best: Callable = lambda low, high: 2 / (low + high),
    contraction: Callable = lambda low, high: (high - low) / (high + low),
    extremes: Callable = _extremes,
) -> Callable:
    def rates(H: np.ndarray) -> tuple:
        low, high = map(np.float64, extremes(H))
        return stable(low, high), best(low, high), contraction(low, high)

    return rates


_FROM_DIAGONAL = (
    "The curvatures were read off the diagonal. That is right only for a valley along the axes: take the eigenvalues, "
    "`eigvalsh(H)`."
)

QUADRATIC_RATES = Exercise(
    id="2.9",
    name="quadratic_rates",
    title="How large a rate a valley allows",
    minutes=15,
    difficulty=2,
    cases=_rates_cases,
    reference=_rates(),
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        Mistake(_FROM_DIAGONAL, _rates(extremes=lambda H: (np.diag(H).min(), np.diag(H).max()))),
        Mistake(
            "The smallest and the largest *entry* of H are no curvatures. Take the eigenvalues, `eigvalsh(H)`.",
            _rates(extremes=lambda H: (H.min(), H.max())),
        ),
        Mistake(
            "The eigenvalues were not in order: `eig` and `eigvals` sort nothing. Take `min` and `max`, or `eigvalsh`, which "
            "sorts them.",
            _rates(extremes=lambda H: (np.linalg.eigvals(H)[0], np.linalg.eigvals(H)[-1])),
        ),
        Mistake(
            "Smallest and largest curvature are exchanged. The steepest direction sets the limit: 2 / largest.",
            _rates(stable=lambda low, high: 2 / low, contraction=lambda low, high: (low - high) / (high + low)),
        ),
        Mistake(
            "The largest stable rate is that of the flattest direction. Along the steepest one it diverges: 2 / largest.",
            _rates(stable=lambda low, high: 2 / low),
        ),
        Mistake(
            "The largest stable rate is half of what is possible: 1 / largest jumps right to the bottom of the steepest "
            "direction, and up to 2 / largest the jump over it still ends lower.",
            _rates(stable=lambda low, high: 1 / high),
        ),
        Mistake(
            "The limit was made with the sum of all curvatures, or with their root of squares. It is 2 / the largest "
            "eigenvalue.",
            lambda H: (2 / np.trace(H), *_rates()(H)[1:]),
        ),
        Mistake(
            "The limit was made with the sum of all curvatures, or with their root of squares. It is 2 / the largest "
            "eigenvalue.",
            lambda H: (2 / np.sqrt((H**2).sum()), *_rates()(H)[1:]),
        ),
        Mistake(
            "The best rate is not 1 / largest: that leaves the flattest direction behind. Make |1 - rate * smallest| and "
            "|1 - rate * largest| equal.",
            _rates(best=lambda low, high: 1 / high),
        ),
        Mistake(
            "The best rate is half of what it should be: 2 / (smallest + largest).",
            _rates(best=lambda low, high: 1 / (low + high)),
        ),
        Mistake(
            "The best rate has the difference of the curvatures. Make 1 - rate * smallest = rate * largest - 1: the sum comes "
            "out.",
            _rates(best=lambda low, high: 2 / (high - low)),
        ),
        Mistake(
            "The best rate is not the mean of two rates. Make |1 - rate * smallest| and |1 - rate * largest| equal.",
            _rates(best=lambda low, high: (1 / low + 1 / high) / 2),
        ),
        Mistake(
            "The best rate belongs to the geometric mean of the curvatures. It is their arithmetic mean: 2 / (smallest + "
            "largest).",
            _rates(best=lambda low, high: 1 / np.sqrt(low * high)),
        ),
        Mistake(
            "The contraction is that of momentum, with the roots of the curvatures. Gradient descent has (k - 1) / (k + 1).",
            _rates(contraction=lambda low, high: (np.sqrt(high) - np.sqrt(low)) / (np.sqrt(high) + np.sqrt(low))),
        ),
        Mistake(
            "The contraction is that of the rate 1 / largest. At the best rate it is |1 - rate * smallest| with the rate "
            "2 / (smallest + largest).",
            _rates(contraction=lambda low, high: 1 - low / high),
        ),
        Mistake(
            "The contraction is upside down, above 1: the distance would grow. It is (k - 1) / (k + 1).",
            _rates(contraction=lambda low, high: (high + low) / (high - low)),
        ),
        Mistake(
            "The contraction has the wrong sign: it is a ratio of distances, |1 - rate * smallest|.",
            _rates(contraction=lambda low, high: (low - high) / (high + low)),
        ),
        Mistake(
            "The contraction is that of the loss, which is the square. Asked is that of the distance to the minimum.",
            _rates(contraction=lambda low, high: ((high - low) / (high + low)) ** 2),
        ),
        Mistake(
            "The third number is the condition number k. The contraction is (k - 1) / (k + 1).",
            _rates(contraction=lambda low, high: high / low),
        ),
        Mistake(
            "The first two rates are exchanged: first the largest stable one.",
            _rates(stable=lambda low, high: 2 / (low + high), best=lambda low, high: 2 / high),
        ),
        Mistake("Two of three numbers: the contraction is missing.", lambda H: _rates()(H)[:2]),
    ),
    hints=(
        "Along an eigenvector with eigenvalue l one step multiplies the distance by 1 - rate * l. So the eigenvalues say "
        "everything: `eigvalsh(H)`, sorted.",
        "Stable means |1 - rate * l| <= 1 for the largest l. The slowest direction at a given rate is one of the two extremes.",
        "Best is where both extremes are equally slow: 1 - rate * smallest = rate * largest - 1. Solve for the rate, and put "
        "it back in.",
    ),
)


# 2.10 newton_step(H, g, *, damping) -> step (m,)


def _newton_cases() -> dict:
    rng = np.random.default_rng(210)

    def gradient(n: int) -> np.ndarray:
        return rng.normal(size=n).astype(np.float32)

    wide = np.repeat(np.repeat(_turned(4.0, -1.5, 0.5, seed=5), 2, 0), 2, 1)
    return {
        "a valley along the axes": {"H": np.diag(np.float32([1.0, 9.0])), "g": np.float32([2.0, -5.0]), "damping": 1.0},
        "a saddle along the axes": {"H": np.diag(np.float32([3.0, -1.0])), "g": np.float32([2.0, 3.0]), "damping": 0.5},
        "a bowl, turned, without damping": {"H": _turned(0.5, 2.0, 6.0, seed=3), "g": gradient(3), "damping": 0.0},
        "a saddle, turned": {"H": _turned(5.0, -2.0, 1.0, -0.2, seed=4), "g": gradient(4), "damping": 0.5},
        "a flat direction": {"H": _turned(2.0, 0.0, seed=6), "g": gradient(2), "damping": 0.1},
        "every second entry": {"H": wide[::2, ::2], "g": np.repeat(gradient(3), 2)[::2], "damping": 0.3},
        "gradient 0": {"H": _turned(1.0, -3.0, seed=7), "g": np.zeros(2, np.float32), "damping": 0.2},
    }


def _run_newton(answer: Callable, H: Any, g: Any, damping: float) -> Any:
    return answer(H, g, damping=damping)


def _newton(
    scale: Callable = lambda c, mu: 1 / (abs(c) + mu),
    first: Callable = lambda Q: Q.T,
    then: Callable = lambda Q: Q,
) -> Callable:
    """-then(Q) diag(scale(c, damping)) first(Q) g, with the eigenvalues c and eigenvectors Q of H."""

    def step(H: np.ndarray, g: np.ndarray, *, damping: float) -> np.ndarray:
        eigenvalues, Q = np.linalg.eigh(H.astype(np.float64))
        return -then(Q) @ (scale(eigenvalues, damping) * (first(Q) @ g))

    return step


def _solve(of: Callable) -> Callable:
    """-M^-1 g with M = of(H, damping, identity)."""
    return lambda H, g, *, damping: -np.linalg.solve(of(H.astype(np.float64), damping, np.eye(len(H))), g)


_PLUS = "The sign is missing: it is a step *down*, so it begins with a minus."

NEWTON_STEP = Exercise(
    id="2.10",
    name="newton_step",
    title="Newton's step, away from a saddle",
    minutes=20,
    difficulty=3,
    cases=_newton_cases,
    reference=_newton(),
    run=_run_newton,
    rtol=1e-3,
    atol=1e-4,
    mistakes=(
        Mistake(
            "This is the damped Newton step -(H + damping I)^-1 g. Where a curvature is below -damping it goes uphill, to the "
            "saddle. Take the absolute value of every eigenvalue.",
            _newton(lambda c, mu: 1 / (c + mu)),
        ),
        Mistake(
            "The damping was added before the absolute value was taken. First |eigenvalue|, then + damping.",
            _newton(lambda c, mu: 1 / abs(c + mu)),
        ),
        Mistake(
            "The absolute values of H's *entries* were taken. That is another matrix: take those of its eigenvalues.",
            _solve(lambda H, mu, eye: abs(H) + mu * eye),
        ),
        Mistake(_PLUS, _newton(lambda c, mu: -1 / (abs(c) + mu))),
        Mistake("There is no damping: a flat direction gives an endless step.", _newton(lambda c, mu: 1 / abs(c))),
        Mistake(
            "The damping was subtracted. It must make every curvature larger, and the step shorter.",
            _newton(lambda c, mu: 1 / (abs(c) - mu)),
        ),
        Mistake(
            "The damping was added to every entry of H. It belongs on the diagonal, damping * I, or to every eigenvalue.",
            _solve(lambda H, mu, eye: H + mu),
        ),
        Mistake("This is the larger of |eigenvalue| and damping. Add them.", _newton(lambda c, mu: 1 / np.maximum(abs(c), mu))),
        Mistake(
            "Negative curvatures were set to 0, so those directions get g / damping. Take their absolute value: a strongly "
            "curved ridge is left in a short step.",
            _newton(lambda c, mu: 1 / (np.maximum(c, 0) + mu)),
        ),
        Mistake(
            "Directions of negative curvature were left out. They lead away from the saddle: keep them, with |eigenvalue|.",
            _newton(lambda c, mu: np.where(c > 0, 1 / (abs(c) + mu), 0)),
        ),
        Mistake(
            "The whole matrix was lifted by its lowest eigenvalue. Damp every direction by itself: |eigenvalue| + damping.",
            _newton(lambda c, mu: 1 / (c + max(0, -c.min()) + mu)),
        ),
        Mistake(
            "The gradient was multiplied by the curvatures. Divide by them: a steep direction gets the shorter step.",
            _newton(lambda c, mu: abs(c) + mu),
        ),
        Mistake("The curvatures were squared. Divide by |eigenvalue| + damping.", _newton(lambda c, mu: 1 / (c**2 + mu))),
        Mistake(
            "Q and its transpose changed places. `eigh` gives the eigenvectors as *columns*: into them with Q.T @ g, back with "
            "Q @ (...).",
            _newton(first=lambda Q: Q, then=lambda Q: Q.T),
        ),
        Mistake(
            "The step was left in the directions of the eigenvectors. Go back to the parameters: Q @ (...).",
            _newton(then=lambda Q: np.eye(len(Q))),
        ),
        Mistake(
            "The gradient was not turned into the directions of the eigenvectors first: Q.T @ g.",
            _newton(first=lambda Q: np.eye(len(Q))),
        ),
        Mistake(
            "Only the diagonal of H was used. The directions of the curvatures are its eigenvectors.",
            lambda H, g, *, damping: -g / (abs(np.diag(H)) + damping),
        ),
        Mistake("This is a gradient step. Divide by the curvatures.", lambda H, g, *, damping: -g),
    ),
    hints=(
        "`eigh(H)` gives the eigenvalues and a matrix Q, whose columns are the directions that belong to them.",
        "Three moves: the gradient in those directions, Q.T @ g; each part divided by |eigenvalue| + damping; back, Q @ (...). "
        "And the minus.",
        "-Q @ ((Q.T @ g) / (abs(eigenvalues) + damping)).",
    ),
)
