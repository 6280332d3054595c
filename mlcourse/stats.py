"""Results over seeds into intervals, paired tests and bootstraps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats as distributions


class Interval(NamedTuple):
    """An estimate with its confidence interval."""

    mean: float
    low: float
    high: float
    n: int  # number of values it rests on

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"

    def __format__(self, spec: str) -> str:
        """`f"{interval:.3f}"` formats the three numbers alike."""
        if not spec:
            return str(self)
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


class PairedTest(NamedTuple):
    """The mean of the differences a - b, its interval, and the p-value of "no difference"."""

    difference: Interval
    p_value: float

    def __str__(self) -> str:
        return f"difference {self.difference}, p = {self.p_value:.2g}, {self.difference.n} pairs"


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The mean of independent runs with Student's t interval (Student 1908): mean ± t s / sqrt(n).

    Args:
        values: (n,) one number a run, n at least 2.
        confidence: probability that such an interval covers the mean of all possible runs, in (0, 1).

    Raises:
        ValueError: fewer than 2 values, a value that is not finite, or a confidence outside (0, 1).

    >>> print(mean_interval([1.0, 2.0, 3.0]))
    2 [-0.484, 4.48]
    """
    values = finite_values(values, "values")
    check_confidence(confidence)
    half = distributions.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, float(mean - half), float(mean + half), len(values))


def band(curves: np.ndarray, *, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean over runs and its t interval at every point of a curve.

    Args:
        curves: (runs, points), runs at least 2. A point where any run is not finite gives NaN there.

    Returns:
        mean, low, high: each (points,).

    >>> mean, low, high = band(np.array([[0.0, 1.0], [2.0, 1.0]]))
    >>> mean.tolist(), (high - low).round(2).tolist()
    ([1.0, 1.0], [25.41, 0.0])
    """
    curves = np.asarray(curves, dtype=float)
    check_confidence(confidence)
    if curves.ndim != 2 or len(curves) < 2:
        raise ValueError(f"curves has shape {curves.shape}, not (runs, points) with at least 2 runs.")
    finite = np.where(np.isfinite(curves), curves, np.nan)
    mean = finite.mean(axis=0)
    half = distributions.t.ppf((1 + confidence) / 2, len(curves) - 1) * finite.std(axis=0, ddof=1) / np.sqrt(len(curves))
    return mean, mean - half, mean + half


def paired_test(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95) -> PairedTest:
    """Student's paired t test of `a` against `b`, which were measured on the same seeds, in the same order.

    Pairing removes what the two methods share (the split, the batch order), so it finds smaller differences than two
    separate intervals do. With n pairs that all differ by the same amount the spread is zero and the p-value is 0.

    Raises:
        ValueError: unequal lengths, fewer than 2 pairs, or a value that is not finite.

    >>> print(paired_test([0.90, 0.92, 0.91], [0.88, 0.91, 0.89]))
    difference 0.0167 [0.00232, 0.031], p = 0.038, 3 pairs
    """
    a, b = finite_values(a, "a"), finite_values(b, "b")
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} values and b has {len(b)}; a paired test needs one of each for every seed.")
    difference = mean_interval(a - b, confidence=confidence)
    if np.ptp(a - b) == 0:
        return PairedTest(difference, 1.0 if difference.mean == 0 else 0.0)
    return PairedTest(difference, float(distributions.ttest_rel(a, b).pvalue))


def bootstrap(
    values: Sequence[float],
    statistic: Callable = np.mean,
    *,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """A statistic with its bootstrap interval (Efron 1979), for a median, an accuracy, or anything without a formula.

    The percentile interval: the statistic is computed on `resamples` samples of n values drawn with replacement. With
    fewer than about 20 values it is too narrow; use `mean_interval` there.

    Args:
        values: (n,), one number an example or a run.
        statistic: takes values along an `axis` argument, as NumPy's do.
        seed: of the resampling.

    >>> print(bootstrap(np.arange(100), np.median, seed=0, resamples=2000))
    49.5 [40.5, 58.5]
    """
    values = finite_values(values, "values")
    check_confidence(confidence)
    if resamples < 100:
        raise ValueError(f"resamples={resamples} leave nothing in the tails: take at least 100, better 10,000.")
    result = distributions.bootstrap(
        (values,),
        statistic,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        batch=max(1, 10_000_000 // len(values)),
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(statistic(values, axis=0)), float(low), float(high), len(values))


def finite_values(values: Sequence[float], name: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"{name} has shape {array.shape}; an interval needs a list of at least 2 numbers, one a run.")
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(
            f"{name}[{bad}] is {array[bad]}. Count diverged runs apart and say how many there were; do not average them."
        )
    return array


def check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is not between 0 and 1; 0.95 gives a 95 % interval.")
