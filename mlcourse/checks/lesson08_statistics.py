"""Exercises of lesson 08 on chance: the bootstrap interval, and a paired test that counts instead of assuming."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy

# 8.4 bootstrap_interval(values, statistic, *, resamples, confidence, seed) -> low, high


def median(values: Any) -> float:
    """statistic(values): the median"""
    return float(np.median(as_numpy(values)))


def mean(values: Any) -> float:
    """statistic(values): the mean"""
    return float(as_numpy(values).mean())


def spread(values: Any) -> float:
    """statistic(values): the largest minus the smallest"""
    return float(np.ptp(as_numpy(values)))


def _bootstrap_cases() -> dict:
    rng = np.random.default_rng(84)

    def case(values: np.ndarray, statistic: Callable, resamples: int, confidence: float, seed: int) -> dict:
        how = {"resamples": resamples, "confidence": confidence, "seed": seed}
        return {"values": values, "statistic": statistic, **how}

    return {
        "the mean of 8 skewed numbers": case(rng.exponential(size=8), mean, 400, 0.95, 0),
        "the median": case(rng.normal(size=15), median, 300, 0.9, 1),
        "right and wrong answers": case((rng.random(40) < 0.2).astype(np.int32), mean, 500, 0.95, 2),
        "a spread, which no formula covers": case(rng.normal(size=12), spread, 300, 0.5, 3),
        "two numbers": case(np.array([1.0, 3.0]), mean, 200, 0.8, 4),
        "every second number": case(rng.normal(size=22)[::2], median, 200, 0.99, 5),
    }


def two(found: Any) -> Any:
    """An array of two numbers as a pair; anything else as it is."""
    return tuple(as_numpy(found)) if getattr(found, "shape", None) == (2,) else found


def _run_bootstrap(answer: Callable, values: Any, statistic: Callable, resamples: int, confidence: float, seed: int) -> Any:
    return two(answer(values, statistic, resamples=resamples, confidence=confidence, seed=seed))


def _rows(n: int, resamples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n, size=(resamples, n))


def _tails(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2


def _ends(found: np.ndarray, values: np.ndarray, statistic: Callable, confidence: float) -> tuple:
    return tuple(np.quantile(found, _tails(confidence)))


def _bootstrap(rows: Callable = _rows, ends: Callable = _ends, of: Callable = lambda values, row: values[row]) -> Callable:
    def bootstrap_interval(values: Any, statistic: Callable, *, resamples: int, confidence: float, seed: int) -> Any:
        values = as_numpy(values)
        found = np.array([statistic(of(values, row)) for row in rows(len(values), resamples, seed)])
        return ends(found, values, statistic, confidence)

    return bootstrap_interval


def _without_replacement(n: int, resamples: int, seed: int) -> np.ndarray:
    return np.tile(np.arange(n), (resamples, 1))  # in whatever order: a mean does not see it


def _normal(found: np.ndarray, values: np.ndarray, statistic: Callable, confidence: float) -> tuple:
    quantiles = {0.5: 0.674, 0.8: 1.282, 0.9: 1.645, 0.95: 1.96, 0.99: 2.576}
    half = quantiles[confidence] * found.std()
    return statistic(values) - half, statistic(values) + half


def _one_sided(found: np.ndarray, values: np.ndarray, statistic: Callable, confidence: float) -> tuple:
    return tuple(np.quantile(found, [1 - confidence, confidence]))


BOOTSTRAP_INTERVAL = Exercise(
    id="8.4",
    name="bootstrap_interval",
    title="An interval for anything",
    minutes=15,
    difficulty=2,
    cases=_bootstrap_cases,
    reference=_bootstrap(),
    run=_run_bootstrap,
    mistakes=(
        Mistake(
            "The values were drawn *without* replacement: every resample is the whole list in another order, and its "
            "statistic never changes. Use the rows of `integers(0, n, size=(resamples, n))`.",
            _bootstrap(_without_replacement),
        ),
        Mistake(
            "The quantiles 1 - confidence and confidence leave out twice as much as they should. Half of what is left out "
            "lies on each side: (1 - confidence) / 2 and (1 + confidence) / 2.",
            _bootstrap(ends=_one_sided),
        ),
        Mistake(
            "These are quantiles of the values themselves: where single examples lie, not how well the statistic is known.",
            _bootstrap(ends=lambda found, values, statistic, confidence: tuple(np.quantile(values, _tails(confidence)))),
        ),
        Mistake(
            "This is the statistic plus and minus a multiple of the resamples' deviation, which assumes a normal distribution. "
            "The percentile interval takes the quantiles of the resamples as they are.",
            _bootstrap(ends=_normal),
        ),
        Mistake(
            "The mean of each resample was taken, whatever the statistic was.",
            lambda values, statistic, **how: _bootstrap()(values, mean, **how),
        ),
        Mistake(
            "The seed is not used: the resamples of seed 0 were taken every time.",
            _bootstrap(lambda n, resamples, seed: _rows(n, resamples, 0)),
        ),
        Mistake(
            "The interval is always the one of 95 %. Use `confidence`.",
            _bootstrap(ends=lambda found, values, statistic, confidence: tuple(np.quantile(found, _tails(0.95)))),
        ),
        Mistake(
            "These are the smallest and the largest of the resamples. They grow apart the longer you draw; take quantiles.",
            _bootstrap(ends=lambda found, values, statistic, confidence: (found.min(), found.max())),
        ),
        Mistake(
            "The two ends are exchanged: low first.",
            _bootstrap(ends=lambda *args: _ends(*args)[::-1]),
        ),
        Mistake(
            "This is the middle and half the width. Return the two ends, low and high.",
            _bootstrap(ends=lambda *args: (np.mean(_ends(*args)), np.ptp(_ends(*args)) / 2)),
        ),
        Mistake(
            "Each resample has half as many values as the data, so the interval is about 1.4 times too wide. Draw n of n.",
            _bootstrap(lambda n, resamples, seed: np.random.default_rng(seed).integers(0, n, size=(resamples, n // 2))),
        ),
        Mistake(
            "The last value is never drawn: the end of `integers(0, n)` is left out already.",
            _bootstrap(lambda n, resamples, seed: np.random.default_rng(seed).integers(0, n - 1, size=(resamples, n))),
        ),
    ),
    hints=(
        "If the data are all you know of the world, new data are drawn from them.",
        "`rows = np.random.default_rng(seed).integers(0, n, size=(resamples, n))`; one statistic for each row.",
        "`np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])`.",
    ),
)


# 8.5 paired_test(a, b) -> mean difference, p of the exact sign-flip test. All values are multiples of 1/64: sums are exact.


def _paired_cases() -> dict:
    rng = np.random.default_rng(85)

    def sixty_fourths(*shape: int, low: int = -64, high: int = 64) -> np.ndarray:
        return rng.integers(low, high, shape) / 64

    shared = sixty_fourths(8, low=0, high=640)
    return {
        "four pairs, three of them better": {"a": np.array([0.75, 0.5, 1.0, 0.25]), "b": np.array([0.5, 0.25, 0.5, 0.5])},
        "eight seeds that differ much, and a small gain": {"a": shared + sixty_fourths(8, low=4, high=12), "b": shared},
        "a is lower": {"a": sixty_fourths(7, low=-96, high=8), "b": sixty_fourths(7, low=-32, high=64)},
        "no difference at all": {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([1.0, 2.0, 3.0])},
        "some differences are zero": {"a": np.array([1.0, 2.0, 3.5, 4.5, 5.25]), "b": np.array([1.0, 2.0, 3.0, 4.0, 5.0])},
        "two pairs": {"a": np.array([0.5, 0.75]), "b": np.array([0.25, 0.25])},
        "every second seed": {"a": sixty_fourths(12)[::2], "b": sixty_fourths(12, low=0)[::2]},
    }


def _flipped(d: np.ndarray) -> np.ndarray:
    """(2**n,): the mean of the differences under every choice of signs."""
    return np.array([np.mean(d * signs) for signs in itertools.product((1, -1), repeat=len(d))])


def _paired(p: Callable, difference: Callable = lambda a, b: (a - b).mean()) -> Callable:
    def paired_test(a: Any, b: Any) -> tuple:
        a, b = as_numpy(a), as_numpy(b)
        return difference(a, b), p(a, b)

    return paired_test


def _exact(a: np.ndarray, b: np.ndarray) -> float:
    return float((np.abs(_flipped(a - b)) >= abs((a - b).mean())).mean())


def _unpaired(a: np.ndarray, b: np.ndarray) -> float:
    """All ways to choose which len(a) of the values are called a."""
    together, n = np.concatenate([a, b]), len(a)
    sums = np.array([together[list(chosen)].sum() for chosen in itertools.combinations(range(2 * n), n)])
    means = 2 * sums / n - together.sum() / n
    return float((np.abs(means) >= abs((a - b).mean())).mean())


def _random_flips(a: np.ndarray, b: np.ndarray) -> float:
    signs = np.random.default_rng(0).choice([-1, 1], size=(1000, len(a)))
    return float((np.abs((signs * (a - b)).mean(axis=1)) >= abs((a - b).mean())).mean())


def _t_test(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sided p; with x = sqrt(nu) tan(angle), the density of t is proportional to cos(angle)**(nu - 1)."""
    d, nu = a - b, len(a) - 1
    with np.errstate(all="ignore"):
        angle = np.arctan(abs(d.mean()) / (d.std(ddof=1) / np.sqrt(len(d))) / np.sqrt(nu))
    tail, half = (np.trapezoid(np.cos(x) ** (nu - 1), x) for x in np.linspace([angle, 0], np.pi / 2, 2001).T)
    return float(tail / half)


PAIRED_TEST = Exercise(
    id="8.5",
    name="paired_test",
    title="Could it be luck? Count",
    minutes=20,
    difficulty=2,
    cases=_paired_cases,
    reference=_paired(_exact),
    run=lambda answer, a, b: two(answer(a, b)),
    mistakes=(
        Mistake(
            "This is the p of Student's t test, which assumes normal differences. Here nothing is assumed: count the flips.",
            _paired(_t_test),
        ),
        Mistake(
            "Only flips *beyond* the observed mean were counted. Those that equal it count too, and the observed one is among "
            "them: use >=.",
            _paired(lambda a, b: float((np.abs(_flipped(a - b)) > abs((a - b).mean())).mean())),
        ),
        Mistake(
            "This is the one-sided p: only flips that lie as far on the same side were counted. A difference as large in the "
            "other direction would have impressed you as well: compare absolute values.",
            _paired(lambda a, b: float((_flipped(a - b) >= (a - b).mean()).mean())),
        ),
        Mistake(
            "The values of a and b were mixed without regard to their pairs. That throws away what pairing buys: flip the "
            "sign of each pair's difference instead.",
            _paired(_unpaired),
        ),
        Mistake(
            "A random sample of flips was taken. With so few pairs you can go through all 2**n of them, and need no luck: "
            "`itertools.product((1, -1), repeat=n)`.",
            _paired(_random_flips),
        ),
        Mistake(
            "The difference has the wrong sign: it is a - b.",
            _paired(_exact, lambda a, b: (b - a).mean()),
        ),
        Mistake(
            "This is the absolute difference. Keep its sign: it says which of the two is larger.",
            _paired(_exact, lambda a, b: abs((a - b).mean())),
        ),
        Mistake("This is the sum of the differences, not their mean.", _paired(_exact, lambda a, b: (a - b).sum())),
        Mistake("This is the median of the differences. Return the mean.", _paired(_exact, lambda a, b: np.median(a - b))),
        Mistake(
            "This is 1 - p: how many flips lie *below* the observed mean.",
            _paired(lambda a, b: 1 - _exact(a, b)),
        ),
        Mistake(
            "The observed signs were left out of the count. They are one of the 2**n possibilities; without them p could be 0, "
            "and nothing is ever that certain.",
            _paired(lambda a, b: (_exact(a, b) * 2 ** len(a) - 1) / (2 ** len(a) - 1)),
        ),
        Mistake(
            "This is the sign test: it counts how many differences are above 0 and forgets how large they are. Compare the "
            "means of the flipped differences.",
            _paired(
                lambda a, b: float(
                    (np.abs([sum(s) for s in itertools.product((1, -1), repeat=len(a))]) >= abs(np.sign(a - b).sum())).mean()
                )
            ),
        ),
        Mistake("This is only the number of flips. Divide it by all 2**n.", _paired(lambda a, b: _exact(a, b) * 2 ** len(a))),
    ),
    hints=(
        "If the two methods were the same, each pair could just as well have come out the other way round: its difference "
        "with the other sign.",
        "`itertools.product((1, -1), repeat=len(d))` goes through all choices of signs.",
        "Count the choices for which `abs(mean(signs * d)) >= abs(mean(d))`, and divide by their number.",
    ),
)
