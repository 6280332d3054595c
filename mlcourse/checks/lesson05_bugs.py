"""Exercises of lesson 05 that hand over code with a bug: a sign, a forgotten noise, the training points."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson05_decision import Phi, phi
from mlcourse.checks.lesson05_posterior import (
    ALL_ENTRIES,
    FORGOT,
    JITTER,
    ROOT_NOISE,
    SQUARED_NOISE,
    like,
    on_diagonal,
    posterior_cases,
    solve,
)
from mlcourse.checks.values import as_numpy

# 5.11 next_drill(mean, std, best, candidates, *, margin) -> scores (m,), place (d,), for code that minimises


def _drill_cases() -> dict:
    rng = np.random.default_rng(511)
    wide = rng.uniform(-1, 1, (7, 6))
    return {
        "5 places on a strip": {
            "mean": np.array([1.0, 2.2, 1.6, 0.3, -0.4]),
            "std": np.array([0.3, 0.2, 0.9, 1.2, 0.5]),
            "best": 2.0,
            "candidates": np.array([[0.1], [0.3], [0.55], [0.8], [1.0]]),
            "margin": 0.25,
        },
        "7 places in a field, all below 0": {
            "mean": rng.normal(size=7) - 4,
            "std": rng.uniform(0.3, 1.5, 7),
            "best": -3.5,
            "candidates": wide[:, ::3],
            "margin": 0.5,
        },
        "a best that is hard to beat": {
            "mean": np.array([0.0, 1.0, 0.5, 0.8]),
            "std": np.array([1.6, 0.4, 1.1, 0.7]),
            "best": 1.4,
            "candidates": wide[:4, 1:].copy(),
            "margin": 0.3,
        },
    }


def _run_drill(answer: Callable, mean: Any, std: Any, best: float, candidates: Any, margin: float) -> Any:
    return answer(mean, std, best, candidates, margin=margin)


def _drill(
    gain: Callable = lambda mean, best, margin: mean - best - margin, score: Callable | None = None, pick: Callable = np.argmax
) -> Callable:
    """Scores and place for `score(gain, std)`, which is the expected improvement unless given."""
    score = score or (lambda gain, std: gain * Phi(gain / std) + std * phi(gain / std))

    def next_drill(mean: np.ndarray, std: np.ndarray, best: float, candidates: np.ndarray, *, margin: float) -> tuple:
        scores = score(gain(mean, best, margin), std)
        return scores, candidates[pick(scores)]

    return next_drill


def _two_gains(first: np.ndarray, in_z: np.ndarray, std: np.ndarray, candidates: np.ndarray) -> tuple:
    scores = first * Phi(in_z / std) + std * phi(in_z / std)
    return scores, candidates[scores.argmax()]


_STILL = "The improvement still has the sign of minimisation: it rewards places below the best. More gold is better: "

NEXT_DRILL = Exercise(
    id="5.11",
    name="next_drill",
    title="Find the bug: it drills where the gold is not",
    minutes=10,
    difficulty=2,
    cases=_drill_cases,
    reference=_drill(),
    run=_run_drill,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        Mistake(f"{_STILL}mean - best - margin.", _drill(lambda mean, best, margin: best - mean - margin)),
        Mistake(
            "The sign of the difference was turned, and that of the margin with it: the margin lowers the bar now. The "
            "improvement is mean - best - margin.",
            _drill(lambda mean, best, margin: mean - best + margin),
        ),
        Mistake(
            "The whole improvement was turned around, the margin too: that is best - mean + margin. It must be mean - best "
            "- margin.",
            _drill(lambda mean, best, margin: best - mean + margin),
        ),
        Mistake(
            "The sign was turned in z only. The improvement stands in the first term as well: gain Φ(z) + std φ(z), with "
            "one gain.",
            lambda mean, std, best, candidates, *, margin: _two_gains(
                best - mean - margin, mean - best - margin, std, candidates
            ),
        ),
        Mistake(
            "The sign was turned in the first term only. z needs the same improvement: z = (mean - best - margin) / std.",
            lambda mean, std, best, candidates, *, margin: _two_gains(
                mean - best - margin, best - mean - margin, std, candidates
            ),
        ),
        Mistake(
            "The margin is missing: the improvement is mean - best - margin.", _drill(lambda mean, best, margin: mean - best)
        ),
        Mistake(
            "The scores are right, but the place is the one with the *lowest*: the sign of minimisation again. Take `argmax`.",
            _drill(pick=np.argmin),
        ),
        Mistake(
            "A minus before the score does not mend it: the expected fall below the best is not the opposite of the "
            "expected rise above it. Turn the improvement around: mean - best - margin.",
            _drill(
                lambda mean, best, margin: best - mean - margin,
                lambda gain, std: -(gain * Phi(gain / std) + std * phi(gain / std)),
            ),
        ),
        Mistake(
            "The lowest score of a minimiser is taken. The expected fall below the best is not the opposite of the "
            "expected rise above it. Turn the improvement around: mean - best - margin.",
            _drill(lambda mean, best, margin: best - mean - margin, pick=np.argmin),
        ),
        Mistake(
            "The scores have a minus, as for a minimiser. Here a high score is good.",
            _drill(score=lambda gain, std: -(gain * Phi(gain / std) + std * phi(gain / std)), pick=np.argmin),
        ),
        Mistake("The term std φ(z) is missing.", _drill(score=lambda gain, std: gain * Phi(gain / std))),
        Mistake("The term gain Φ(z) is missing.", _drill(score=lambda gain, std: std * phi(gain / std))),
        Mistake(
            "std φ(z) was subtracted. Only the improvement had the wrong sign: gain Φ(z) + std φ(z).",
            _drill(score=lambda gain, std: gain * Phi(gain / std) - std * phi(gain / std)),
        ),
        Mistake("This is the probability of improvement, Φ(z).", _drill(score=lambda gain, std: Phi(gain / std))),
        Mistake(
            "The place is the number of the candidate. Return the candidate itself, `candidates[scores.argmax()]`.",
            lambda mean, std, best, candidates, *, margin: (
                _drill()(mean, std, best, candidates, margin=margin)[0],
                _drill()(mean, std, best, candidates, margin=margin)[0].argmax(),
            ),
        ),
    ),
    hints=(
        "Take one place with mean far above the best, and one far below. Which of the two should score higher?",
        "For a minimum, an improvement is best - mean. For a maximum?",
        "The margin raises the bar in both cases: it is subtracted from the improvement, whatever the direction.",
    ),
)


# 5.12 posterior_variance(kernel, X, points, *, noise) -> (m,), for code that forgets the noise


def _variance_cases() -> dict:
    return {name: {key: value for key, value in case.items() if key != "y"} for name, case in posterior_cases().items()}


def _run_variance(answer: Callable, kernel: Callable, X: Any, points: Any, noise: float) -> Any:
    return answer(kernel, X, points, noise=noise)


def _variance(change: Callable = lambda variance, prior, noise: variance, noise_of: Callable = on_diagonal) -> Callable:
    """`change(variance, prior variance, noise)`, with `noise_of(n, noise)` added to K."""

    def variance(kernel: Callable, X: np.ndarray, points: np.ndarray, *, noise: float) -> np.ndarray:
        _, covariance = solve(kernel, X, points, np.zeros(len(X)), noise_of(len(X), noise))
        return change(np.diag(covariance), np.diag(kernel(points, points)), noise)

    return variance


def _whole_covariance(kernel: Callable, X: np.ndarray, points: np.ndarray, *, noise: float) -> np.ndarray:
    return solve(kernel, X, points, np.zeros(len(X)), on_diagonal(len(X), noise))[1]


POSTERIOR_VARIANCE = Exercise(
    id="5.12",
    name="posterior_variance",
    title="Find the bug: a map that knows too much",
    minutes=10,
    difficulty=2,
    cases=_variance_cases,
    reference=_variance(),
    run=_run_variance,
    rtol=1e-3,
    atol=1e-4,
    mistakes=(
        Mistake(FORGOT, _variance(noise_of=lambda n, noise: on_diagonal(n, JITTER))),
        Mistake(ALL_ENTRIES, _variance(noise_of=lambda n, noise: noise)),
        Mistake(SQUARED_NOISE, _variance(noise_of=lambda n, noise: on_diagonal(n, noise**2))),
        Mistake(ROOT_NOISE, _variance(noise_of=lambda n, noise: on_diagonal(n, noise**0.5))),
        Mistake(
            "The noise was added to the result, and is still missing in K. It makes each *reading* less certain, so it belongs "
            "on the diagonal of K.",
            _variance(lambda variance, prior, noise: variance + noise, noise_of=lambda n, noise: on_diagonal(n, JITTER)),
        ),
        Mistake(
            "The noise was added twice, to K and to the result. That is the variance of a new reading; here the function's own "
            "is asked for.",
            _variance(lambda variance, prior, noise: variance + noise),
        ),
        Mistake(
            "This is the standard deviation. Return the variance, its square.", _variance(lambda v, prior, noise: np.sqrt(v))
        ),
        Mistake(
            "This is the variance before any reading. Subtract what the readings explain.",
            _variance(lambda v, prior, noise: prior),
        ),
        Mistake(
            "This is what the readings explain. Subtract it from the prior variance.",
            _variance(lambda v, prior, noise: prior - v),
        ),
        Mistake(
            "What the readings explain was added. Subtract it: readings make us surer.",
            _variance(lambda v, prior, noise: 2 * prior - v),
        ),
        Mistake("This is the whole covariance. Return its diagonal, (m,).", _whole_covariance),
    ),
    hints=(
        "Drill one hole with a noise as large as the amplitude. At that very place half of the variance should be left. "
        "What does the broken code say?",
        "Where in the code does `noise` occur?",
        "A reading varies by the function's variance and by the noise, each reading for itself: what does that add to K?",
    ),
)


# 5.13 next_hole(acquisition, X, candidates) -> place (d,), for code that drills the old holes again


def _make_acquisition(top: tuple[float, ...], *, shift: float) -> Callable:
    """A score for each point: highest at `top`, falling with the squared distance from it."""

    def acquisition(points: Any) -> Any:
        return like(points, shift - ((as_numpy(points) - np.array(top)) ** 2).sum(axis=1))

    acquisition.__doc__ = f"acquisition(points) = {shift} - the squared distance from {top}, (m, d) -> (m,)"
    return acquisition


def _hole_cases() -> dict:
    strip = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])[:, None]
    field = np.stack(np.meshgrid([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], indexing="ij"), axis=-1).reshape(-1, 2)
    doubled = np.repeat(field, 2, axis=0)
    return {
        "two holes, the top elsewhere": {
            "acquisition": _make_acquisition((0.8,), shift=1.0),
            "X": np.array([[0.25], [1.25]]),
            "candidates": strip,
        },
        "the top was drilled already": {
            "acquisition": _make_acquisition((0.8,), shift=2.0),
            "X": np.array([[1.0], [0.75], [0.0]]),
            "candidates": strip[::-1],
        },
        "all scores below 0, as those of log EI": {
            "acquisition": _make_acquisition((0.6,), shift=-5.0),
            "X": np.array([[0.5], [1.5]]),
            "candidates": strip,
        },
        "in a field, on the rows and columns of old holes": {
            "acquisition": _make_acquisition((0.55, 0.9), shift=1.0),
            "X": np.array([[0.5, 1.0], [1.0, 1.0]]),
            "candidates": field,
        },
        "one hole in a field, at the top": {
            "acquisition": _make_acquisition((0.45, 0.1), shift=1.0),
            "X": np.array([[0.5, 0.0]]),
            "candidates": field.copy(),
        },
        "every second row of a larger array": {
            "acquisition": _make_acquisition((0.1, 0.2), shift=0.0),
            "X": np.array([[1.0, 0.0]]),
            "candidates": doubled[::2],
        },
    }


def _drilled(X: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(m,): whether the candidate is a row of X."""
    return (candidates[:, None] == X).all(axis=2).any(axis=1)


def _next_hole(filled: float = -np.inf, *, drilled: Callable = _drilled, pick: Callable = np.argmax) -> Callable:
    """The place with the highest score once those of drilled places are `filled`."""

    def next_hole(acquisition: Callable, X: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return candidates[pick(np.where(drilled(X, candidates), filled, acquisition(candidates)))]

    return next_hole


def _never(X: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    return np.zeros(len(candidates), bool)


NEXT_HOLE = Exercise(
    id="5.13",
    name="next_hole",
    title="Find the bug: the same hole again and again",
    minutes=10,
    difficulty=2,
    cases=_hole_cases,
    reference=_next_hole(),
    mistakes=(
        Mistake(
            "The acquisition is still maximised on the training points, X: the answer is an old hole. Score the `candidates`.",
            lambda acquisition, X, candidates: X[acquisition(X).argmax()],
        ),
        Mistake(
            "The candidates are scored, but the place is taken from the training points, X. Take it from `candidates`.",
            lambda acquisition, X, candidates: X[acquisition(candidates).argmax() % len(X)],
        ),
        Mistake(
            "The training points are scored, and their number is used for a candidate. Score the `candidates`.",
            lambda acquisition, X, candidates: candidates[acquisition(X).argmax()],
        ),
        Mistake(
            "This place is a training point: it was drilled before. Leave out the candidates that are rows of X.",
            _next_hole(drilled=_never),
        ),
        Mistake(
            "The drilled candidates were given the score 0, which is the *highest* where all others are below 0. Give them "
            "-inf.",
            _next_hole(0.0),
        ),
        Mistake(
            "A candidate that shares one coordinate with an old hole was left out. It is the same place only where all "
            "coordinates agree: `.all(axis=2)`.",
            _next_hole(drilled=lambda X, candidates: (candidates[:, None] == X).any(axis=2).any(axis=1)),
        ),
        Mistake(
            "A candidate was left out only where it agrees with *every* old hole. One is enough: `.any(axis=1)`.",
            _next_hole(drilled=lambda X, candidates: (candidates[:, None] == X).all(axis=2).all(axis=1)),
        ),
        Mistake(
            "A candidate was left out where each coordinate occurs in some hole, not all in the same one (`isin` does that). "
            "Compare whole rows.",
            _next_hole(drilled=lambda X, candidates: np.isin(candidates, X).all(axis=1)),
        ),
        Mistake(
            "The first len(X) candidates were left out, as if they were the old holes. Compare the candidates with the "
            "rows of X.",
            _next_hole(drilled=lambda X, candidates: np.arange(len(candidates)) < len(X)),
        ),
        Mistake(
            "The place has the *lowest* score: that is the sign of minimisation. Take `argmax`.",
            _next_hole(np.inf, pick=np.argmin),
        ),
        Mistake(
            "The place has the *lowest* score: that is the sign of minimisation. Take `argmax`.",
            _next_hole(drilled=_never, pick=np.argmin),
        ),
        Mistake(
            "This is the number of a candidate. Return the candidate itself, (d,).",
            lambda acquisition, X, candidates: np.where(_drilled(X, candidates), -np.inf, acquisition(candidates)).argmax(),
        ),
        Mistake(
            "The number was counted among the candidates that are left, and used for all of them. Index the same array "
            "that was scored.",
            lambda acquisition, X, candidates: candidates[acquisition(candidates[~_drilled(X, candidates)]).argmax()],
        ),
        Mistake(
            "The place came out as a row of a matrix, (1, d). Return it with the shape (d,).",
            lambda acquisition, X, candidates: _next_hole()(acquisition, X, candidates)[None],
        ),
    ),
    hints=(
        "Which points does the broken code ask about, and from which array does it take the place?",
        "`candidates[:, None] == X` has the shape (m, n, d). A candidate was drilled where all d agree with any of the n "
        "holes.",
        "`jnp.where(drilled, -jnp.inf, acquisition(candidates)).argmax()` is the number of the best place that is left.",
    ),
)
