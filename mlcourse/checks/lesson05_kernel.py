"""Exercises of lesson 05 on kernels: the RBF and the Matern with a length scale for each dimension."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 5.1 rbf(A, B, *, lengths, amplitude) -> (a, b), and 5.2 matern52 with the same arguments


def _kernel_cases() -> dict:
    rng = np.random.default_rng(51)
    A, B = rng.uniform(0, 1, (4, 2)), rng.uniform(0, 1, (3, 2))
    wide = rng.uniform(0, 2, (5, 6))
    return {
        "4 and 3 points in two dimensions": {"A": A, "B": B, "lengths": np.array([0.3, 1.7]), "amplitude": 2.5},
        "one dimension": {"A": A[:, :1].copy(), "B": B[:, 1:].copy(), "lengths": np.array([0.6]), "amplitude": 0.4},
        "the same points twice": {"A": A, "B": A.copy(), "lengths": np.array([0.5, 0.8]), "amplitude": 1.5},
        "every second column of a larger array": {
            "A": wide[:, ::2],
            "B": wide[::-1, 1::2],
            "lengths": np.array([0.7, 2.0, 1.3]),
            "amplitude": 3.0,
        },
        "whole numbers": {
            "A": np.array([[0, 1], [2, 3], [1, 1]]),
            "B": np.array([[1, 1], [0, 3]]),
            "lengths": np.array([1.5, 2.5]),
            "amplitude": 2.0,
        },
    }


def _run_kernel(answer: Callable, A: Any, B: Any, lengths: Any, amplitude: float) -> Any:
    return answer(A, B, lengths=lengths, amplitude=amplitude)


def _gaps(A: np.ndarray, B: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(a, b, d): the differences in length scales."""
    return (A[:, None] - B) / lengths


def _squared(A: np.ndarray, B: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return (_gaps(A, B, lengths) ** 2).sum(axis=2)


def _kernel(correlation: Callable, *, distance: Callable = _squared, amplitude_power: float = 1) -> Callable:
    """`correlation(r²)` of the squared distance in length scales, times a power of the amplitude."""

    def kernel(A: np.ndarray, B: np.ndarray, *, lengths: np.ndarray, amplitude: float) -> np.ndarray:
        return amplitude**amplitude_power * correlation(distance(A, B, lengths))

    return kernel


def _per_dimension(join: Callable, correlation: Callable) -> Callable:
    """A kernel for each dimension, joined by `join` along the last axis."""

    def kernel(A: np.ndarray, B: np.ndarray, *, lengths: np.ndarray, amplitude: float) -> np.ndarray:
        return amplitude * join(correlation(_gaps(A, B, lengths) ** 2), axis=2)

    return kernel


def _rbf(r2: np.ndarray) -> np.ndarray:
    return np.exp(-r2 / 2)


def _matern(
    r2: np.ndarray, root: float = 5**0.5, last: float = 5 / 3, middle: float = 1.0, decay: float = 5**0.5
) -> np.ndarray:
    """(1 + middle root r + last r²) exp(-decay r)."""
    r = np.sqrt(r2)
    return (1 + middle * root * r + last * r2) * np.exp(-decay * r)


def _manhattan(A: np.ndarray, B: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return abs(_gaps(A, B, lengths)).sum(axis=2) ** 2


def _distance_mistakes(correlation: Callable) -> tuple[Mistake, ...]:
    """Mistakes in distance, length scales and amplitude, which any kernel invites."""

    def with_distance(distance: Callable) -> Callable:
        return _kernel(correlation, distance=distance)

    def transposed(A: np.ndarray, B: np.ndarray, *, lengths: np.ndarray, amplitude: float) -> np.ndarray:
        return amplitude * correlation(_squared(B, A, lengths))

    def row_by_row(A: np.ndarray, B: np.ndarray, *, lengths: np.ndarray, amplitude: float) -> np.ndarray:
        n = min(len(A), len(B))
        return amplitude * np.diag(correlation(_squared(A[:n], B[:n], lengths)))

    return (
        Mistake(
            "The squared differences were divided by the length scales, not by their squares. Divide the differences "
            "first, then square: `((A[:, None] - B) / lengths) ** 2`.",
            with_distance(lambda A, B, lengths: ((A[:, None] - B) ** 2 / lengths).sum(axis=2)),
        ),
        Mistake(
            "The differences were multiplied by the length scales. A long length scale makes points alike: divide by it.",
            with_distance(lambda A, B, lengths: _squared(A, B, 1 / lengths)),
        ),
        Mistake(
            "The length scales were not used. Divide the difference along each dimension by its own length scale.",
            with_distance(lambda A, B, lengths: _squared(A, B, np.ones_like(lengths))),
        ),
        Mistake(
            "Only the first length scale was used. Each dimension has its own.",
            with_distance(lambda A, B, lengths: _squared(A, B, lengths[:1])),
        ),
        Mistake(
            "The mean of the length scales was used. Each dimension has its own.",
            with_distance(lambda A, B, lengths: _squared(A, B, lengths.mean())),
        ),
        Mistake(
            "The mean over the dimensions was taken. Squared differences add up: `.sum(axis=2)`.",
            with_distance(lambda A, B, lengths: (_gaps(A, B, lengths) ** 2).mean(axis=2)),
        ),
        Mistake(
            "Absolute differences were added up. The distance is Euclidean: add their squares.",
            with_distance(_manhattan),
        ),
        Mistake(
            "The amplitude is missing: the kernel of a point with itself is `amplitude`.",
            _kernel(correlation, amplitude_power=0),
        ),
        Mistake("The amplitude was squared. Here it is a variance already.", _kernel(correlation, amplitude_power=2)),
        Mistake(
            "The root of the amplitude was taken. Here it is a variance already.", _kernel(correlation, amplitude_power=0.5)
        ),
        Mistake(
            "Rows and columns are exchanged. Entry [i, j] belongs to row i of A and row j of B, so the shape is (a, b): "
            "start from `A[:, None] - B`.",
            transposed,
        ),
        Mistake(
            "Row i of A was compared with row i of B only. Compare every row with every row: `A[:, None] - B` has the "
            "shape (a, b, d).",
            row_by_row,
        ),
        Mistake(
            "There is one value for each dimension. Add the squared differences up over the last axis before the kernel.",
            with_distance(lambda A, B, lengths: _gaps(A, B, lengths) ** 2),
        ),
        Mistake(
            "The sign of the exponent is missing: this grows with the distance.",
            lambda A, B, *, lengths, amplitude: (
                amplitude**2 / _kernel(_rbf)(A, B, lengths=lengths, amplitude=amplitude)
                if correlation is _rbf
                else amplitude * _matern(_squared(A, B, lengths), decay=-(5**0.5))
            ),
        ),
    )


RBF = Exercise(
    id="5.1",
    name="rbf",
    title="The RBF kernel, one length scale a dimension",
    minutes=10,
    difficulty=1,
    cases=_kernel_cases,
    reference=_kernel(_rbf),
    run=_run_kernel,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        Mistake("The 2 is missing: the exponent is -r²/2.", _kernel(lambda r2: np.exp(-r2))),
        Mistake(
            "The distance was not squared: this is exp(-r/2). The exponent is -r²/2.",
            _kernel(lambda r2: np.exp(-np.sqrt(r2) / 2)),
        ),
        Mistake(
            "This is exp(-r), the exponential kernel, whose functions are rough. The exponent is -r²/2.",
            _kernel(lambda r2: np.exp(-np.sqrt(r2))),
        ),
        Mistake(
            "One kernel for each dimension was made, and they were added up. The correlations multiply: add the squared "
            "differences inside the exponential.",
            _per_dimension(np.sum, _rbf),
        ),
        Mistake("This is the squared distance. The kernel is exp(-r²/2) of it.", _kernel(lambda r2: r2)),
        Mistake(
            "The density of a normal distribution has a factor in front that a kernel has not. At distance 0 it is "
            "`amplitude`, nothing else.",
            _kernel(lambda r2: _rbf(r2) / np.sqrt(2 * np.pi)),
        ),
        *_distance_mistakes(_rbf),
    ),
    hints=(
        "First the differences of all pairs: `A[:, None] - B` has the shape (a, b, d). `lengths` of shape (d,) fits its "
        "last axis.",
        "`r2 = (((A[:, None] - B) / lengths) ** 2).sum(axis=2)` is the squared distance in length scales, (a, b).",
        "What is left is `amplitude * exp(-r2 / 2)`.",
    ),
)


MATERN52 = Exercise(
    id="5.2",
    name="matern52",
    title="Matérn 5/2",
    minutes=10,
    difficulty=1,
    cases=_kernel_cases,
    reference=_kernel(_matern),
    run=_run_kernel,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        Mistake(
            "This is Matérn 3/2. The 5/2 has a root of 5 and one more term, 5r²/3.",
            _kernel(lambda r2: _matern(r2, 3**0.5, 0, decay=3**0.5)),
        ),
        Mistake("The term 5r²/3 is missing.", _kernel(lambda r2: _matern(r2, last=0))),
        Mistake("The term √5 r is missing.", _kernel(lambda r2: _matern(r2, middle=0))),
        Mistake(
            "The quadratic term is r²/3 here. It is 5r²/3, that is (√5 r)²/3.", _kernel(lambda r2: _matern(r2, last=1 / 3))
        ),
        Mistake("The quadratic term is 5r² here. It is divided by 3.", _kernel(lambda r2: _matern(r2, last=5.0))),
        Mistake(
            "The exponent is -r here. It is -√5 r, the same √5 as in the bracket.", _kernel(lambda r2: _matern(r2, decay=1.0))
        ),
        Mistake("The root is missing: it is √5, not 5.", _kernel(lambda r2: _matern(r2, root=5.0, decay=5.0))),
        Mistake("The bracket is missing: this is only exp(-√5 r).", _kernel(lambda r2: _matern(r2, middle=0, last=0))),
        Mistake(
            "The squared distance stands where the distance belongs. Take the root: r = √r².",
            _kernel(lambda r2: _matern(r2**2)),
        ),
        Mistake("This is the RBF kernel of exercise 5.1.", _kernel(_rbf)),
        Mistake(
            "One kernel for each dimension was made, and they were multiplied. Only for the RBF is that the same: take "
            "one distance over all dimensions first.",
            _per_dimension(np.prod, _matern),
        ),
        *_distance_mistakes(_matern),
    ),
    hints=(
        "The distance r is that of exercise 5.1: `r = sqrt((((A[:, None] - B) / lengths) ** 2).sum(axis=2))`.",
        "Call `s = sqrt(5) * r`. Then the correlation is (1 + s + s²/3) exp(-s).",
    ),
)
