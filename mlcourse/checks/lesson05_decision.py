"""What the exercises of lesson 05 that decide where to drill share: cases, the decision itself, and its mistakes."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mlcourse.checks.engine import Mistake
from mlcourse.checks.lesson05_posterior import make_kernel, on_diagonal, solve
from mlcourse.checks.values import as_numpy, like

# What the four have in common: (posterior, X, y, candidates, *, noise, ...) -> scores (m,), the candidate to drill (d,)


def make_posterior(*, length: float, amplitude: float) -> Callable:
    """A right answer to exercise 5.3 with a kernel filled in, for arrays of any framework. Without `noise` it knows of none."""
    kernel = make_kernel(length=length, amplitude=amplitude)

    def posterior(X: Any, y: Any, points: Any, *, noise: float = 0.0) -> tuple:
        rows, places = as_numpy(X), as_numpy(points)
        matrix = on_diagonal(len(rows), float(noise) + 1e-6)  # a tiny bit, so that it works without noise too
        mean, covariance = solve(kernel, rows, places, as_numpy(y), matrix)
        return like(points, mean), like(points, covariance)

    posterior.__doc__ = (
        f"posterior(X, y, points, noise=0.0): mean and covariance, RBF of length {length}, amplitude {amplitude}"
    )
    return posterior


def surveys(**options: tuple) -> dict:
    """Cases for a decision; each option has one value for every case."""
    rng = np.random.default_rng(59)
    X = np.array([[0.2], [0.7], [1.1], [1.6], [2.2]])
    y = np.array([0.4, 1.9, 1.1, 1.3, -0.6])
    strip = np.array([[0.0], [0.45], [0.68], [0.9], [1.35], [1.62], [1.9], [2.6]])
    field = rng.uniform(0, 2, (7, 2))
    grams = np.cos(2 * field).sum(axis=1) + 0.5 * rng.standard_normal(7)
    places = rng.uniform(0, 2, (10, 2))
    doubled = np.repeat(places, 2, axis=0)
    cases = {
        "5 holes on a strip, 8 candidates": (make_posterior(length=0.4, amplitude=1.0), X, y, strip, 0.25),
        "7 holes in a field, 10 candidates": (make_posterior(length=0.6, amplitude=1.5), field, grams, places, 0.1),
        "all readings below 0": (make_posterior(length=0.5, amplitude=2.0), X, y - 4, strip[::-1], 0.5),
        "every second row of a larger array": (make_posterior(length=0.5, amplitude=0.8), field, grams, doubled[::2], 0.3),
    }
    names = ("posterior", "X", "y", "candidates", "noise")
    return {
        title: {
            **dict(
                zip(
                    names,
                    [item.copy() if isinstance(item, np.ndarray) and item.flags.c_contiguous else item for item in case],
                    strict=True,
                )
            ),
            **{option: of_case[i] for option, of_case in options.items()},
        }
        for i, (title, case) in enumerate(cases.items())
    }


def run_decision(answer: Callable, posterior: Callable, X: Any, y: Any, candidates: Any, **options: float) -> Any:
    return answer(posterior, X, y, candidates, **options)


def Phi(z: np.ndarray) -> np.ndarray:
    """The normal distribution function."""
    return np.vectorize(math.erf)(z / math.sqrt(2)) / 2 + 0.5


def phi(z: np.ndarray) -> np.ndarray:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _best_mean(posterior: Callable, X: np.ndarray, y: np.ndarray, candidates: np.ndarray, noise: float) -> float:
    return posterior(X, y, X, noise=noise)[0].max()


def decision(
    score: Callable,
    *,
    incumbent: Callable = _best_mean,
    pick: Callable = np.argmax,
    noise_known: Callable = lambda noise: noise,
    noise_of_best: Callable | None = None,
    noise_added: float = 0.0,
    scored_at: str = "candidates",
    taken_from: str = "candidates",
) -> Callable:
    """scores and place for `score(mean, std, best, **options)`; the keywords make the mistakes."""

    def decide(posterior: Callable, X: Any, y: Any, candidates: Any, *, noise: float, **options: float) -> tuple:
        places = {"candidates": candidates, "X": X}
        mean, covariance = posterior(X, y, places[scored_at], noise=noise_known(noise))
        std = np.sqrt(np.maximum(np.diag(covariance), 0) + noise_added * noise)
        best = incumbent(posterior, X, y, candidates, (noise_of_best or noise_known)(noise))
        scores = score(mean, std, best, **options)
        return scores, places[taken_from][pick(scores) % len(places[taken_from])]

    return decide


class Slip(NamedTuple):
    """One thing that goes wrong in a decision. The usual ones have a theme, and meet with those of the other themes."""

    words: str
    keywords: dict = {}  # of `decision`
    change: Callable = lambda score: score  # score -> the score with the slip in it
    theme: str = ""


def mistakes_of(score: Callable, slips: tuple[Slip, ...]) -> tuple[Mistake, ...]:
    """Each slip alone, then each two of the usual ones: a reader who makes both is told both."""
    alone = [Mistake(slip.words, decision(slip.change(score), **slip.keywords)) for slip in slips]
    pairs = [
        Mistake(
            f"Two mistakes at once. First: {a.words} Second: {b.words}",
            decision(b.change(a.change(score)), **a.keywords, **b.keywords),
        )
        for a, b in itertools.combinations([slip for slip in slips if slip.theme], 2)
        if a.theme != b.theme
    ]
    return (*alone, *pairs)


def _turned(score: Callable) -> Callable:
    return lambda *arguments, **options: -score(*arguments, **options)


def shared_slips() -> tuple[Slip, ...]:
    """Slips of any decision: the noise, the place, the end of the scale."""
    return (
        Slip(
            "The noise is forgotten: `posterior(X, y, points, noise=noise)`. Without it the map believes every reading, and "
            "its standard deviation at a drilled place is 0.",
            {"noise_known": lambda noise: 0.0},
            theme="noise",
        ),
        Slip(
            "The noise was squared on its way to the posterior. It is a variance already.",
            {"noise_known": lambda noise: noise**2},
        ),
        Slip(
            "The noise was added to the variance at the candidates. That is the variance of a new reading; what counts is the "
            "gold in the ground, the function itself.",
            {"noise_added": 1.0},
        ),
        Slip(
            "The scores are those of the training points, X, and so is the place: it would drill an old hole again, for ever. "
            "Ask the posterior about `candidates`, and take the place from them.",
            {"scored_at": "X", "taken_from": "X"},
            theme="places",
        ),
        Slip(
            "The scores are those of the training points, X. Ask the posterior about `candidates`.",
            {"scored_at": "X"},
        ),
        Slip(
            "The place is a training point, a row of X, so it would drill an old hole again. Take the place from `candidates`.",
            {"taken_from": "X"},
        ),
        Slip(
            "The place is the one with the lowest score: that is the sign of minimisation. A high score is good: `argmax`.",
            {"pick": np.argmin},
            theme="end",
        ),
        Slip(
            "The scores have the opposite sign, as for a minimiser. Here a high score is good.",
            {"pick": np.argmin},
            _turned,
        ),
        Slip(
            "The scores have the opposite sign, and the highest of them is taken: that is the place worth *least*. Here a high "
            "score is good.",
            {"pick": np.argmax},
            _turned,
        ),
    )


def shape_mistakes(score: Callable) -> tuple[Mistake, ...]:
    """What else is returned in place of scores and place."""
    return (
        Mistake(
            "The place is the number of the candidate. Return the candidate itself, `candidates[scores.argmax()]`.",
            _only(lambda scores, place, index: (scores, index), score),
        ),
        Mistake(
            "Only the scores were returned. Return the scores and the place.", _only(lambda scores, place, index: scores, score)
        ),
        Mistake(
            "Only the place was returned. Return the scores and the place.", _only(lambda scores, place, index: place, score)
        ),
        Mistake(
            "Only the best score was returned. Return the scores of all candidates, (m,), and the place.",
            _only(lambda scores, place, index: (scores.max(), place), score),
        ),
    )


def _only(part: Callable, score: Callable) -> Callable:
    """`part(scores, place, index)` of a right decision."""

    def decide(posterior: Callable, X: Any, y: Any, candidates: Any, **options: float) -> Any:
        scores, place = decision(score)(posterior, X, y, candidates, **options)
        return part(scores, place, scores.argmax())

    return decide


VARIANCE_AS_STD = Slip(
    "The variance was used as the standard deviation. Take the root of the covariance's diagonal.",
    change=lambda score: lambda mean, std, best, **options: score(mean, std**2, best, **options),
)


def improvement_slips() -> tuple[Slip, ...]:
    """Slips of PI and EI, which compare with the best so far: `score(mean, std, best, *, margin)`."""

    def lowest_mean(posterior: Callable, X: np.ndarray, y: np.ndarray, candidates: np.ndarray, noise: float) -> float:
        return posterior(X, y, X, noise=noise)[0].min()

    def best_reading(posterior: Callable, X: np.ndarray, y: np.ndarray, candidates: np.ndarray, noise: float) -> float:
        return y.max()

    def lowest_reading(posterior: Callable, X: np.ndarray, y: np.ndarray, candidates: np.ndarray, noise: float) -> float:
        return y.min()

    def best_candidate(posterior: Callable, X: np.ndarray, y: np.ndarray, candidates: np.ndarray, noise: float) -> float:
        return posterior(X, y, candidates, noise=noise)[0].max()

    def below(score: Callable) -> Callable:
        return lambda mean, std, best, *, margin: score(-mean, std, -best, margin=margin)

    def below_with_the_margin(score: Callable) -> Callable:
        return lambda mean, std, best, *, margin: score(-mean, std, -best, margin=-margin)

    minimising = "The improvement has the sign of minimisation: it rewards places *below* the best. Here more gold is better: "
    lowest = "the best so far is the highest mean, and z = (mean - best - margin) / std."
    return (
        VARIANCE_AS_STD,
        Slip(
            "The noise is forgotten in one of the two calls of `posterior`, the one at the candidates. Pass `noise=noise` to "
            "both.",
            {"noise_known": lambda noise: 0.0, "noise_of_best": lambda noise: noise},
        ),
        Slip(
            "The margin is missing: only what lies above best + margin counts, z = (mean - best - margin) / std. Without "
            "it the search creeps around the best hole.",
            change=lambda score: lambda mean, std, best, *, margin: score(mean, std, best, margin=0.0),
            theme="margin",
        ),
        Slip(
            "The margin has the wrong sign: it was added to the improvement. It raises the bar: mean - best - margin.",
            change=lambda score: lambda mean, std, best, *, margin: score(mean, std, best, margin=-margin),
        ),
        Slip(f"{minimising}z = (mean - best - margin) / std.", change=below, theme="sign"),
        Slip(f"{minimising}z = (mean - best - margin) / std.", change=below_with_the_margin),
        Slip(f"{minimising}{lowest}", {"incumbent": lowest_mean}, below),
        Slip(f"{minimising}{lowest}", {"incumbent": lowest_reading}, below),
        Slip(
            "The best so far is the *lowest* mean at the holes: that is the sign of minimisation. Take the highest.",
            {"incumbent": lowest_mean},
        ),
        Slip(
            "The best so far is the highest *reading*, which forgets the noise (and so does the mean at X without "
            "`noise=noise`): a reading may have been lucky, and the bar is too high for good. Take the highest posterior mean "
            "at X.",
            {"incumbent": best_reading},
            theme="noise",
        ),
        Slip(
            "The best so far is the *lowest* reading: that is the sign of minimisation. Take the highest posterior mean at X.",
            {"incumbent": lowest_reading},
        ),
        Slip(
            "The best so far is the highest mean of the *candidates*. It is the highest mean at the holes that were "
            "drilled, X.",
            {"incumbent": best_candidate},
        ),
        Slip(
            "The best so far was left out. Only what lies above it is an improvement: mean - best - margin.",
            {"incumbent": lambda *_: 0.0},
        ),
        Slip(
            "The difference was not divided by the standard deviation: z = (mean - best - margin) / std.",
            change=lambda score: lambda mean, std, best, *, margin: score(mean * std, std, best * std, margin=margin * std),
        ),
    )
