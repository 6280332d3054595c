"""Exercises of lesson 04 on calibration: the expected calibration error, and temperature scaling."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 4.9 expected_calibration_error(probabilities, labels, *, num_bins) -> (). Guo et al. 2017, equation 3.


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _draw(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """(n,): for every row of p, (n, num_classes), a class drawn with these probabilities."""
    return (p.cumsum(axis=1) < rng.random((len(p), 1)) * p.sum(axis=1, keepdims=True)).sum(axis=1).astype(np.int32)


def _ece_cases() -> dict:
    def case(seed: int, n: int, num_classes: int, num_bins: int, scale: float, power: float = 0.5) -> dict:
        """Labels drawn with probabilities p**power: the model is too sure below 1, not sure enough above."""
        rng = np.random.default_rng(seed)
        p = _softmax(scale * rng.normal(size=(n, num_classes)))
        return {"probabilities": p.astype(np.float32), "labels": _draw(rng, p**power), "num_bins": num_bins}

    wide = case(494, 60, 4, 5, 1.5)
    # Eighths are exact in floating point, so these confidences lie exactly on the edges of 4 bins, or inside.
    edges = np.array(
        [[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.625, 0.375], [1.0, 0.0], [0.0, 1.0], [0.125, 0.875]]
    )
    return {
        "50 examples, 3 classes, 5 bins": case(491, 50, 3, 5, 2.0),
        "6 examples, 15 bins: most are empty": case(492, 6, 4, 15, 2.0),
        "confidences on the edges of bins, and of 1": {
            "probabilities": edges.astype(np.float32),
            "labels": np.array([0, 1, 1, 1, 0, 0, 0, 0], dtype=np.int32),
            "num_bins": 4,
        },
        "an unsure model, right more often than it thinks": case(493, 60, 3, 10, 0.9, power=3.0),
        "one bin": case(495, 30, 3, 1, 1.0),
        "every second row of a larger array": {
            **wide,
            "probabilities": wide["probabilities"][::2],
            "labels": wide["labels"][::2],
        },
    }


def _run_ece(answer: Callable, probabilities: Any, labels: Any, num_bins: int) -> Any:
    return answer(probabilities, labels, num_bins=num_bins)


def _in_bins(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """The number of each one's bin, whose upper edge belongs to it."""
    return np.ceil(confidence * num_bins).astype(int) - 1


def _top(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return p.max(axis=1)


def _is_right(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return p.argmax(axis=1) == labels


def _weighted(gaps: np.ndarray, counts: np.ndarray) -> float:
    return float((counts * abs(gaps)).sum() / counts.sum())


def _ece(
    summary: Callable = _weighted,
    *,
    confidence: Callable = _top,
    right: Callable = _is_right,
    bins: Callable = _in_bins,
    centre: Callable = lambda confidence, number, num_bins: confidence.mean(),
) -> Callable:
    """`summary(gaps, counts)` over the bins with an example in them; a gap is confidence minus accuracy."""

    def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int) -> Any:
        p = probabilities.astype(float)
        c, hits = confidence(p, labels), right(p, labels)
        number = bins(c, num_bins)
        used = [k for k in range(num_bins) if (number == k).any()]
        gaps = np.array([centre(c[number == k], k, num_bins) - hits[number == k].mean() for k in used])
        return summary(gaps, np.array([(number == k).sum() for k in used]))

    return expected_calibration_error


def _over_all_bins(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int) -> float:
    return _ece(lambda gaps, counts: abs(gaps).sum() / num_bins)(probabilities, labels, num_bins=num_bins)


def _nan_if_empty(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int) -> float:
    empty = set(range(num_bins)) - set(_in_bins(probabilities.max(axis=1), num_bins))
    return float("nan") if empty else _ece()(probabilities, labels, num_bins=num_bins)


def _equally_filled(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    number = np.empty(len(confidence), int)
    for k, rows in enumerate(np.array_split(np.argsort(confidence, kind="stable"), num_bins)):
        number[rows] = k
    return number


def _from_chance(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int) -> float:
    """Bins from 1 / num_classes to 1."""
    lowest = 1 / probabilities.shape[1]

    def bins(confidence: np.ndarray, num_bins: int) -> np.ndarray:
        return np.clip(_in_bins((confidence - lowest) / (1 - lowest), num_bins), 0, num_bins - 1)

    return _ece(bins=bins)(probabilities, labels, num_bins=num_bins)


def _by_lower_edge(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    return np.floor(confidence * num_bins).astype(int)


def _without_the_last_edge(summary: Callable) -> Callable:
    """Bins [lower, upper), in which a confidence of 1 has no place; `summary(gaps, counts, n)`."""

    def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int) -> float:
        lost = probabilities.max(axis=1) >= 1
        return _ece(lambda gaps, counts: summary(gaps, counts, len(lost)), bins=_by_lower_edge)(
            probabilities, labels, num_bins=num_bins
        )

    return expected_calibration_error


def _to_the_nearest_edge(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int) -> float:
    bins = lambda confidence, _: np.round(confidence * num_bins).astype(int)  # noqa: E731
    return _ece(bins=bins)(probabilities, labels, num_bins=num_bins + 1)


def _one_bin_less(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int) -> float:
    return _ece()(probabilities, labels, num_bins=num_bins - 1) if num_bins > 1 else 0.0


_EDGE = (
    "A confidence on an edge was put into the upper bin. Bin k holds k/num_bins < confidence <= (k + 1)/num_bins, so that 1.0 "
    "has a place too."
)

ECE = Exercise(
    id="4.9",
    name="expected_calibration_error",
    title="Does 90 % mean 90 %?",
    minutes=20,
    difficulty=2,
    cases=_ece_cases,
    reference=_ece(),
    run=_run_ece,
    rtol=1e-3,
    mistakes=(
        Mistake(
            "All bins with examples count the same. Weight each by its share of the examples, count / n.",
            _ece(lambda gaps, counts: abs(gaps).mean()),
        ),
        Mistake(
            "The gaps were averaged over all bins, the empty ones too. Weight each bin by its share of the examples, count "
            "/ n.",
            _over_all_bins,
        ),
        Mistake(
            "An empty bin gave nan: the mean of nothing. Skip bins without an example.",
            _nan_if_empty,
        ),
        Mistake(
            "The differences kept their signs, so that too sure in one bin and too unsure in another cancel. Take the "
            "absolute value in each bin.",
            _ece(lambda gaps, counts: float((counts * gaps).sum() / counts.sum())),
        ),
        Mistake(
            "The differences kept their signs, so that too sure in one bin and too unsure in another cancel. Take the "
            "absolute value in each bin.",
            _ece(lambda gaps, counts: float(-(counts * gaps).sum() / counts.sum())),
        ),
        Mistake(
            "The absolute value was taken of the sum over the bins, in which the differences cancel. Take it in each bin.",
            _ece(lambda gaps, counts: abs(float((counts * gaps).sum() / counts.sum()))),
        ),
        Mistake(
            "The probability of the true class was taken for the confidence. It is that of the class the model predicts, "
            "the largest.",
            _ece(confidence=lambda p, labels: p[np.arange(len(p)), labels]),
        ),
        Mistake(
            "The probability of class 1 was taken for the confidence. It is that of the class the model predicts, the largest.",
            _ece(confidence=lambda p, labels: p[:, 1]),
        ),
        Mistake(_EDGE, _ece(bins=lambda confidence, n: np.minimum(_by_lower_edge(confidence, n), n - 1))),
        Mistake(
            f"{_EDGE} Here the examples with a confidence of 1 fell out.",
            _without_the_last_edge(lambda gaps, counts, n: (counts * abs(gaps)).sum() / n),
        ),
        Mistake(
            "This is the largest gap of all bins, the maximum calibration error. Add them up, each weighted with count / n.",
            _ece(lambda gaps, counts: abs(gaps).max()),
        ),
        Mistake(
            "The gaps were squared. Take absolute values.", _ece(lambda gaps, counts: (counts * gaps**2).sum() / counts.sum())
        ),
        Mistake(
            "The root of the mean square was taken. Take the mean of the absolute values.",
            _ece(lambda gaps, counts: np.sqrt((counts * gaps**2).sum() / counts.sum())),
        ),
        Mistake(
            "The middle of the bin was taken for its confidence. Take the mean confidence of the examples in it.",
            _ece(centre=lambda confidence, k, num_bins: (k + 0.5) / num_bins),
        ),
        Mistake(
            "The confidences were rounded to the nearest edge, so the bins are shifted by half a width, and there is one more "
            "of them. Bin k holds k/num_bins < confidence <= (k + 1)/num_bins.",
            _to_the_nearest_edge,
        ),
        Mistake(
            "The bins hold equally many examples. Here they have equal widths, 1/num_bins.",
            _ece(bins=_equally_filled),
        ),
        Mistake(
            "The bins begin at 1 over the number of classes. Divide the whole range from 0 to 1.",
            _from_chance,
        ),
        Mistake(
            "There is one bin too few: num_bins bins have num_bins + 1 edges, `linspace(0, 1, num_bins + 1)`.",
            _one_bin_less,
        ),
        Mistake(
            "The gaps were multiplied by the counts and not divided by the number of examples.",
            _ece(lambda gaps, counts: (counts * abs(gaps)).sum()),
        ),
        Mistake(
            "The bins' errors were used, not their accuracies: a sure and right model would come out worst.",
            _ece(right=lambda p, labels: ~_is_right(p, labels)),
        ),
        Mistake("This is in per cent. Return a number from 0 to 1.", lambda p, y, **how: 100 * _ece()(p, y, **how)),
    ),
    hints=(
        "Three arrays of length n come first: the confidence (the largest probability), whether the prediction is right, "
        "and the number of the bin.",
        "With edges k/num_bins: `lower < confidence` and `confidence <= upper`. A bin without examples adds nothing.",
        "Sum over the bins of count / n * |mean confidence - accuracy|. That is the same as |sum of confidence - sum of "
        "hits| / n for each bin, which needs no division by a count.",
    ),
)


# 4.10 fit_temperature(logits, labels) -> T. Guo et al. 2017, section 4.2.


def _temperature_cases() -> dict:
    def case(seed: int, n: int, num_classes: int, sharpness: float) -> dict:
        """Labels drawn from the softmax of z, and logits that are sharpness * z, with a little noise."""
        rng = np.random.default_rng(seed)
        z = 1.5 * rng.normal(size=(n, num_classes))
        labels = _draw(rng, _softmax(z))
        logits = sharpness * (z + 0.3 * rng.normal(size=z.shape))
        return {"logits": logits.astype(np.float32), "labels": labels}

    wide = case(4103, 200, 3, 3.0)
    return {
        "a model that is too sure": case(4101, 120, 3, 2.5),
        "a model that is not sure enough": case(4102, 150, 4, 0.4),
        "every second row of a larger array": {name: value[::2] for name, value in wide.items()},
        "logits in the hundreds": case(4104, 90, 5, 40.0),
    }


def _log_probabilities(logits: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(m, n, num_classes): the log-softmax of logits / T for each of m temperatures."""
    z = logits.astype(float) / T[:, None, None]
    z = z - z.max(axis=2, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=2, keepdims=True))


def _nll(logits: np.ndarray, labels: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(m,): the cross-entropy at each of m temperatures."""
    return -_log_probabilities(logits, T)[:, np.arange(len(labels)), labels].mean(axis=1)


def _brier(logits: np.ndarray, labels: np.ndarray, T: np.ndarray) -> np.ndarray:
    p = np.exp(_log_probabilities(logits, T))
    return ((p - np.eye(p.shape[2])[labels]) ** 2).sum(axis=2).mean(axis=1)


def _gap(logits: np.ndarray, labels: np.ndarray, T: np.ndarray) -> np.ndarray:
    return abs(np.exp(_log_probabilities(logits, T)).max(axis=2).mean(axis=1) - (logits.argmax(axis=1) == labels).mean())


def _fitted(score: Callable = _nll, low: float = 0.02, high: float = 200.0) -> Callable:
    """The T from low to high with the lowest score: grids on a log axis, each 20 times as fine as the one before."""

    def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
        ends = np.array([low, high])
        for _ in range(3):
            grid = np.geomspace(*ends, 41)
            best = int(score(logits, labels, grid).argmin())
            ends = grid[[max(best - 1, 0), min(best + 1, 40)]]
        return float(grid[best])

    return fit_temperature


_fit_temperature = _fitted()
_BOUND = "The search stopped at T = 1. A model can be too sure (T above 1) or not sure enough (T below 1): look on both sides."
_OWN_LABELS = (
    "The predictions were used as labels. A model is always surest of its own predictions, so T went to the smallest value you "
    "allow. Use the true labels."
)


def _on_own_predictions(low: float) -> Callable:
    return lambda logits, labels: _fitted(low=low)(logits, logits.argmax(axis=1))


FIT_TEMPERATURE = Exercise(
    id="4.10",
    name="fit_temperature",
    title="One number that mends the confidence",
    minutes=15,
    difficulty=2,
    cases=_temperature_cases,
    reference=_fit_temperature,
    rtol=0.01,
    seconds=30.0,  # gradient descent is allowed, and slow
    mistakes=(
        Mistake(
            "This is 1/T. The logits are *divided* by T; what you found multiplies them.",
            lambda logits, labels: 1 / _fit_temperature(logits, labels),
        ),
        Mistake(_BOUND, _fitted(low=1.0)),
        Mistake(_BOUND, _fitted(high=1.0)),
        Mistake(
            "The search stopped at T = 10, and the best T of these logits is higher. Search more widely, on a log axis.",
            _fitted(high=10.0),
        ),
        Mistake(
            "The search stopped at T = 5, and the best T of these logits is higher. Search more widely, on a log axis.",
            _fitted(high=5.0),
        ),
        Mistake(
            "The squared error of the probabilities (the Brier score) was made smallest. It was the cross-entropy that was "
            "asked for.",
            _fitted(_brier),
        ),
        Mistake(
            "The mean confidence was made equal to the accuracy. That mends the mean only; make the cross-entropy smallest.",
            _fitted(_gap),
        ),
        Mistake(
            "T stayed at 1: nothing was fitted. (The accuracy can't fit it: no T changes which class is first.)",
            lambda logits, labels: 1.0,
        ),
        *(Mistake(_OWN_LABELS, _on_own_predictions(low)) for low in (0.001, 0.01, 0.05, 0.1)),
        Mistake(
            "This is the cross-entropy at the best T. Return T itself.",
            lambda logits, labels: _nll(logits, labels, np.array([_fit_temperature(logits, labels)]))[0],
        ),
        Mistake(
            "These are the scaled logits. Return T, one number.",
            lambda logits, labels: logits / _fit_temperature(logits, labels),
        ),
        Mistake(
            "These are the probabilities at the best T. Return T, one number.",
            lambda logits, labels: _softmax(logits / _fit_temperature(logits, labels)),
        ),
        Mistake(
            "This is log T. Return its exponential.",
            lambda logits, labels: np.log(_fit_temperature(logits, labels)),
        ),
    ),
    hints=(
        "One number is to be found, so a search along a line will do. On a log axis it has one valley.",
        "The cross-entropy is convex in 1/T. Begin with a grid from 0.01 to 100 and then a finer one around the best, or take "
        "`scipy.optimize.minimize_scalar` over log T.",
        "`minimize_scalar(lambda t: cross_entropy(logits / np.exp(t), labels), bounds=(-5, 5), method='bounded').x` is log T.",
    ),
)
