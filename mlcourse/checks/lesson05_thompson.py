"""Exercise of lesson 05 that draws a map from the posterior: Thompson sampling. Its check asks for properties."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property
from mlcourse.checks.lesson05_decision import make_posterior
from mlcourse.checks.randomness import GLOBAL_GENERATOR, repeats
from mlcourse.checks.values import same

# 5.8 thompson_sampling(posterior, X, y, candidates, *, noise, seed) -> draw (m,), the candidate to drill (d,)

DRAWS = 150
_known: WeakKeyDictionary = WeakKeyDictionary()  # run -> its draws, so that all properties share them


def _thompson_cases() -> dict:
    X = np.array([[0.2], [0.8], [1.4]])
    y = np.array([1.0, -0.5, 3.0])
    strip = np.linspace(0, 2, 11)[:, None] + 0.01
    field = np.array([[0.0, 0.1], [1.0, 0.9], [0.2, 1.1], [0.9, 0.0]])
    grid = np.stack(np.meshgrid(np.linspace(0.02, 1.5, 3), np.linspace(0.05, 1.4, 3)), axis=-1).reshape(-1, 2)
    return {
        "3 holes on a strip, 11 candidates": {
            "posterior": make_posterior(length=0.5, amplitude=2.0),
            "X": X,
            "y": y,
            "candidates": strip,
            "noise": 0.8,
            "seed": 0,
        },
        "4 holes in a field, 9 candidates": {
            "posterior": make_posterior(length=0.8, amplitude=1.0),
            "X": field,
            "y": np.array([-3.0, 1.0, 0.0, 2.0]),
            "candidates": grid,
            "noise": 0.5,
            "seed": 1,
        },
        "every second candidate of a larger array": {
            "posterior": make_posterior(length=0.4, amplitude=3.0),
            "X": X.copy(),
            "y": y + 5,
            "candidates": np.repeat(strip, 2, axis=0)[::2],
            "noise": 1.5,
            "seed": 5,
        },
    }


def _run_thompson(answer: Callable, posterior: Callable, X: Any, y: Any, candidates: Any, noise: float, seed: int) -> Any:
    return answer(posterior, X, y, candidates, noise=noise, seed=seed)


def _thompson(posterior: Callable, X: np.ndarray, y: np.ndarray, candidates: np.ndarray, *, noise: float, seed: int) -> tuple:
    mean, covariance = posterior(X, y, candidates, noise=noise)
    L = np.linalg.cholesky(covariance + 1e-4 * np.eye(len(mean)))
    draw = mean + L @ np.random.default_rng(seed).standard_normal(len(mean))
    return draw, candidates[draw.argmax()]


def _draws(run: Callable, case: dict) -> np.ndarray:
    """(DRAWS, m): draws of as many seeds."""
    if run not in _known:
        _known[run] = np.stack([run(**{**case, "seed": seed})[0] for seed in range(100, 100 + DRAWS)])
    return _known[run]


def _model(case: dict, **noise: float) -> tuple[np.ndarray, np.ndarray]:
    return case["posterior"](case["X"], case["y"], case["candidates"], **noise)


def _seed_matters(run: Callable, **case: Any) -> bool:
    return not same(run(**case)[0], run(**{**case, "seed": case["seed"] + 1})[0])


def _place_is(which: Callable) -> Callable:
    """Whether it never happens, over ten seeds, that the place is `which(case, draw)` and not the top of the draw."""

    def holds(run: Callable, **case: Any) -> bool:
        found = []
        for seed in range(10):
            draw, place = run(**{**case, "seed": seed})
            right = np.allclose(place, case["candidates"][draw.argmax()], atol=1e-5)
            found.append(not right and any(np.allclose(place, row, atol=1e-5) for row in np.atleast_2d(which(case, draw))))
        return not any(found)

    return holds


def _near(run: Callable, mean: np.ndarray, case: dict) -> bool:
    """Whether the mean of the draws lies within 6 standard errors of `mean` everywhere (and 0.01 for rounding)."""
    error = np.sqrt(np.diag(_model(case, noise=case["noise"])[1]) / DRAWS)
    return bool((abs(_draws(run, case).mean(axis=0) - mean) < 6 * error + 0.01).all())


def _not_upside_down(run: Callable, **case: Any) -> bool:
    mean, _ = _model(case, noise=case["noise"])
    return _near(run, mean, case) or not _near(run, -mean, case)


def _knows_the_noise(run: Callable, **case: Any) -> bool:
    """The candidate next to a hole: without noise its variance is about 0, and the draws' mean is the reading."""
    _, right = _model(case, noise=case["noise"])
    _, noiseless = _model(case)
    near = np.argmin(np.diag(noiseless) / np.diag(right))
    return bool(_draws(run, case)[:, near].var() > (np.diag(noiseless) + np.diag(right))[near] / 4)


def _spread(run: Callable, case: dict) -> np.ndarray:
    """(m,): variance of the draws over the posterior's; 150 draws measure it to 12 %."""
    return _draws(run, case).var(axis=0) / np.diag(_model(case, noise=case["noise"])[1])


def _varies(run: Callable, **case: Any) -> bool:
    mean, _ = _model(case, noise=case["noise"])
    return not np.allclose(_draws(run, case), mean, atol=1e-3)


def _neighbours_move_together(run: Callable, **case: Any) -> bool:
    """The correlation of the two candidates that the posterior ties most; independent ones have about 0."""
    _, covariance = _model(case, noise=case["noise"])
    std = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(std, std) - np.eye(len(std))
    i, j = np.unravel_index(correlation.argmax(), correlation.shape)
    return bool(np.corrcoef(_draws(run, case)[:, [i, j]].T)[0, 1] > correlation[i, j] - 0.4)


def _not_all_alike(run: Callable, **case: Any) -> bool:
    """The least tied candidates: one normal number for the whole map would tie all completely."""
    _, covariance = _model(case, noise=case["noise"])
    std = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(std, std)
    i, j = np.unravel_index(abs(correlation).argmin(), correlation.shape)
    return bool(abs(np.corrcoef(_draws(run, case)[:, [i, j]].T)[0, 1]) < abs(correlation[i, j]) + 0.5)


def _no_noise_on_top(run: Callable, **case: Any) -> bool:
    _, covariance = _model(case, noise=case["noise"])
    reading = _draws(run, case).var(axis=0) / (np.diag(covariance) + case["noise"])
    return abs(_spread(run, case).mean() - 1) < 0.35 or abs(reading.mean() - 1) > 0.3


def _right_covariance(run: Callable, **case: Any) -> bool:
    _, covariance = _model(case, noise=case["noise"])
    return bool(np.linalg.norm(np.cov(_draws(run, case).T) - covariance) < 0.6 * np.linalg.norm(covariance))


def _right_mean(run: Callable, **case: Any) -> bool:
    return _near(run, _model(case, noise=case["noise"])[0], case)


def _shaped(change: Callable) -> Callable:
    """`change(draw, place, case)` of a right answer, for mistakes that the shape gives away."""

    def thompson(posterior: Callable, X: Any, y: Any, candidates: Any, *, noise: float, seed: int) -> Any:
        draw, place = _thompson(posterior, X, y, candidates, noise=noise, seed=seed)
        return change(draw, place, X)

    return thompson


THOMPSON = Exercise(
    id="5.8",
    name="thompson_sampling",
    title="Thompson sampling",
    minutes=20,
    difficulty=3,
    cases=_thompson_cases,
    reference=_thompson,
    run=_run_thompson,
    compare="shapes",
    mistakes=(
        Mistake(
            "The draw is one of the training points, X. Draw the map at the `candidates`, or the search drills old holes "
            "again.",
            _shaped(lambda draw, place, X: (np.zeros(len(X)), place)),
        ),
        Mistake(
            "The place is the number of the candidate. Return the candidate itself, `candidates[draw.argmax()]`.",
            _shaped(lambda draw, place, X: (draw, draw.argmax())),
        ),
        Mistake("Only the draw was returned. Return the draw and the place.", _shaped(lambda draw, place, X: draw)),
        Mistake("Only the place was returned. Return the draw and the place.", _shaped(lambda draw, place, X: place)),
        Mistake(
            "The draw is a whole matrix. Multiply the Cholesky factor with `@`: `L @ normal`, of shape (m,).",
            _shaped(lambda draw, place, X: (np.zeros((len(draw), len(draw))), place)),
        ),
        Mistake(
            "The draw is one number. A draw is a whole map: one value for each candidate, (m,).",
            _shaped(lambda draw, place, X: (draw.max(), place)),
        ),
    ),
    properties=(
        Property(
            "Two calls with the same seed give different draws. Make the key from the seed: `jax.random.key(seed)`.",
            repeats,
        ),
        Property(
            "The place is the *lowest* of the draw: that is the sign of minimisation. Take `argmax`.",
            _place_is(lambda case, draw: case["candidates"][draw.argmin()]),
        ),
        Property(
            "The place is a training point, a row of X, so the search would drill an old hole again. Take it from "
            "`candidates`.",
            _place_is(lambda case, draw: case["X"]),
        ),
        Property(
            "The place is where the posterior *mean* is highest. Take the highest of the draw: the chance in it is what makes "
            "the search explore.",
            _place_is(lambda case, draw: case["candidates"][_model(case, noise=case["noise"])[0].argmax()]),
        ),
        Property(
            "The place is not where this draw is highest. Use one draw for both: `candidates[draw.argmax()]`.",
            _place_is(lambda case, draw: case["candidates"]),
        ),
        Property(
            "The draws do not vary: this is the mean, whatever the seed. Add a random part with the covariance of the "
            "posterior.",
            _varies,
        ),
        Property(
            "Another seed gives the same draw, so `seed` is not used. Make the key from it: `jax.random.key(seed)`.",
            _seed_matters,
        ),
        Property(
            "The draws are upside down: their mean is minus the posterior's. That is the sign of minimisation; here more "
            "gold is better.",
            _not_upside_down,
        ),
        Property(
            "The noise is forgotten: next to a hole the draws hardly vary. Call `posterior(X, y, candidates, noise=noise)`.",
            _knows_the_noise,
        ),
        Property(
            "The noise was added to the draws. They are to be maps of the function, not of new readings.",
            _no_noise_on_top,
        ),
        Property(
            "Neighbouring candidates do not move together: every one got its own normal number times its standard "
            "deviation. Draw the whole map with the covariance: mean + L z, with L its Cholesky factor.",
            _neighbours_move_together,
        ),
        Property(
            "The whole map moves up and down as one: a single normal number was drawn. Draw m of them, and multiply by the "
            "Cholesky factor.",
            _not_all_alike,
        ),
        Property(
            "The mean of many draws is not the mean of the posterior. A draw is mean + L z, where z has mean 0.",
            _right_mean,
        ),
        Property(
            "The covariance of many draws is not that of the posterior. With the lower Cholesky factor L (covariance = L "
            "Lᵀ), a draw is mean + L z, with z standard normal.",
            _right_covariance,
        ),
        GLOBAL_GENERATOR,
    ),
    hints=(
        "If z has independent standard normal entries, L z has the covariance L Lᵀ. So L is a Cholesky factor, and of "
        "which matrix?",
        "A covariance of near points has eigenvalues of about 0, which rounding makes negative: add 1e-4 to its diagonal "
        "first.",
        "`draw = mean + jnp.linalg.cholesky(covariance + 1e-4 * jnp.eye(m)) @ jax.random.normal(key, (m,))`, and the place "
        "is where it is highest.",
    ),
)
