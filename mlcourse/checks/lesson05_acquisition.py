"""Exercises of lesson 05 that say where to drill: PI, EI, UCB and active learning."""

from collections.abc import Callable

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson05_decision import (
    VARIANCE_AS_STD,
    Phi,
    Slip,
    decision,
    improvement_slips,
    mistakes_of,
    phi,
    run_decision,
    shape_mistakes,
    shared_slips,
    surveys,
)

# 5.5 probability_of_improvement(posterior, X, y, candidates, *, noise, margin)


def _pi(mean: np.ndarray, std: np.ndarray, best: float, *, margin: float) -> np.ndarray:
    return Phi((mean - best - margin) / std)


def _margins() -> dict:
    return surveys(margin=(0.15, 0.3, 0.2, 0.4))


PROBABILITY_OF_IMPROVEMENT = Exercise(
    id="5.5",
    name="probability_of_improvement",
    title="Probability of improvement",
    minutes=15,
    difficulty=2,
    cases=_margins,
    reference=decision(_pi),
    run=run_decision,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        *mistakes_of(_pi, (*shared_slips(), *improvement_slips())),
        *shape_mistakes(_pi),
        Mistake(
            "This is the density φ(z), which is highest where mean = best + margin. A probability is the area below: Φ(z).",
            decision(lambda mean, std, best, *, margin: phi((mean - best - margin) / std)),
        ),
        Mistake(
            "These are the z themselves. The probability is Φ(z).",
            decision(lambda mean, std, best, *, margin: (mean - best - margin) / std),
        ),
        Mistake(
            "This is the expected improvement of exercise 5.6. Here only the probability is asked for: Φ(z).",
            decision(lambda mean, std, best, *, margin: _ei(mean, std, best, margin=margin)),
        ),
    ),
    hints=(
        "`mean, covariance = posterior(X, y, candidates, noise=noise)`; the standard deviation is the root of the "
        "covariance's diagonal.",
        "The best so far is `posterior(X, y, X, noise=noise)[0].max()`: what the map says of the holes, not what the noisy "
        "readings say.",
        "The scores are Φ(z) with z = (mean - best - margin) / std: `jax.scipy.stats.norm.cdf`. The place is "
        "`candidates[scores.argmax()]`.",
    ),
)


# 5.6 expected_improvement(posterior, X, y, candidates, *, noise, margin)


def _ei(mean: np.ndarray, std: np.ndarray, best: float, *, margin: float) -> np.ndarray:
    z = (mean - best - margin) / std
    return std * (phi(z) + z * Phi(z))


def _ei_terms(terms: Callable) -> Callable:
    """`terms(z, std)` as the score."""
    return decision(lambda mean, std, best, *, margin: terms((mean - best - margin) / std, std))


EXPECTED_IMPROVEMENT = Exercise(
    id="5.6",
    name="expected_improvement",
    title="Expected improvement",
    minutes=15,
    difficulty=2,
    cases=_margins,
    reference=decision(_ei),
    run=run_decision,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        *mistakes_of(_ei, (*shared_slips(), *improvement_slips())),
        *shape_mistakes(_ei),
        Mistake(
            "The standard deviation in front is missing: std (φ(z) + z Φ(z)).", _ei_terms(lambda z, std: phi(z) + z * Phi(z))
        ),
        Mistake("The term z Φ(z) is missing: std (φ(z) + z Φ(z)).", _ei_terms(lambda z, std: std * phi(z))),
        Mistake("The term φ(z) is missing: std (φ(z) + z Φ(z)).", _ei_terms(lambda z, std: std * z * Phi(z))),
        Mistake("The z before Φ(z) is missing: std (φ(z) + z Φ(z)).", _ei_terms(lambda z, std: std * (phi(z) + Phi(z)))),
        Mistake(
            "φ and Φ are exchanged: std (φ(z) + z Φ(z)), with the density φ alone.",
            _ei_terms(lambda z, std: std * (Phi(z) + z * phi(z))),
        ),
        Mistake(
            "The second term is subtracted: std (φ(z) + z Φ(z)), with a plus.",
            _ei_terms(lambda z, std: std * (phi(z) - z * Phi(z))),
        ),
        Mistake(
            "Only φ(z) was multiplied by the standard deviation. Both terms are: std (φ(z) + z Φ(z)).",
            _ei_terms(lambda z, std: std * phi(z) + z * Phi(z)),
        ),
        Mistake("This is the probability of improvement. The size of the gain counts too.", _ei_terms(lambda z, std: Phi(z))),
        Mistake(
            "This is the improvement of the mean, and 0 where there is none. The uncertain places have a chance as well: "
            "std (φ(z) + z Φ(z)).",
            _ei_terms(lambda z, std: std * np.maximum(z, 0)),
        ),
    ),
    hints=(
        "z is that of exercise 5.5. The score is std (φ(z) + z Φ(z)), with the density φ and the distribution function Φ.",
        "`jax.scipy.stats.norm` has both: `norm.pdf` and `norm.cdf`.",
        "If only some scores are wrong, look at the best so far (highest posterior mean at X), at `noise` in both calls of "
        "`posterior`, and at the sign of the margin.",
    ),
)


# 5.7 upper_confidence_bound(posterior, X, y, candidates, *, noise, width)


def _ucb(mean: np.ndarray, std: np.ndarray, best: float, *, width: float) -> np.ndarray:
    return mean + width * std


_BOUND_SLIPS = (
    Slip(
        "This is the *lower* bound: that is the sign of minimisation. Optimism adds: mean + width std.",
        change=lambda score: lambda mean, std, best, *, width: score(mean, -std, best, width=width),
        theme="sign",
    ),
    Slip(
        "This is the lower bound with its sign turned around, as a minimiser has it: width std - mean. Here more gold is "
        "better: mean + width std.",
        change=lambda score: lambda mean, std, best, *, width: score(-mean, std, best, width=width),
    ),
    Slip(
        "The width was not used: mean + width std.",
        change=lambda score: lambda mean, std, best, *, width: score(mean, std, best, width=1.0),
    ),
    Slip(
        "A fixed width of 2 was used. Take the one that is given.",
        change=lambda score: lambda mean, std, best, *, width: score(mean, std, best, width=2.0),
    ),
    Slip(
        "The root of the width was taken. Papers write √β for it; here `width` stands in its place already.",
        change=lambda score: lambda mean, std, best, *, width: score(mean, std, best, width=np.sqrt(width)),
    ),
)

UPPER_CONFIDENCE_BOUND = Exercise(
    id="5.7",
    name="upper_confidence_bound",
    title="The upper confidence bound",
    minutes=10,
    difficulty=1,
    cases=lambda: surveys(width=(1.5, 3.0, 0.5, 2.0)),
    reference=decision(_ucb),
    run=run_decision,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        *mistakes_of(_ucb, (*shared_slips(), VARIANCE_AS_STD, *_BOUND_SLIPS)),
        *shape_mistakes(_ucb),
        Mistake(
            "This is the mean alone, without a word for what is unknown: the search never leaves the first good place. Add "
            "width std.",
            decision(lambda mean, std, best, *, width: mean),
        ),
        Mistake(
            "This is only width std. It never looks at what was found: add the mean.",
            decision(lambda mean, std, best, *, width: width * std),
        ),
        Mistake(
            "The best so far was subtracted. The bound is mean + width std.",
            decision(lambda mean, std, best, *, width: mean - best + width * std),
        ),
    ),
    hints=(
        "`mean, covariance = posterior(X, y, candidates, noise=noise)`.",
        "The scores are `mean + width * sqrt(diagonal of the covariance)`. There is no best so far in them.",
    ),
)


# 5.9 active_learning(posterior, X, y, candidates, *, noise)


def _spread(mean: np.ndarray, std: np.ndarray, best: float) -> np.ndarray:
    return std**2


ACTIVE_LEARNING = Exercise(
    id="5.9",
    name="active_learning",
    title="Active learning: where is the map worst?",
    minutes=10,
    difficulty=1,
    cases=surveys,
    reference=decision(_spread),
    run=run_decision,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        *mistakes_of(_spread, shared_slips()),
        *shape_mistakes(_spread),
        Mistake("This is the standard deviation. Return the variance.", decision(lambda mean, std, best: std)),
        Mistake("The variance was squared. It is the diagonal of the covariance.", decision(lambda mean, std, best: std**4)),
        Mistake(
            "This is the mean: it asks where the best is. Active learning asks where the map is worst, whatever the value "
            "there.",
            decision(lambda mean, std, best: mean),
        ),
        Mistake(
            "The mean is in the scores: that mixes in the question where the best is. Only the variance counts here.",
            decision(lambda mean, std, best: mean + std),
        ),
        Mistake(
            "The mean is in the scores: that mixes in the question where the best is. Only the variance counts here.",
            decision(lambda mean, std, best: mean + 2 * std),
        ),
        Mistake(
            "The whole covariance was returned. The scores are its diagonal, (m,).",
            lambda posterior, X, y, candidates, *, noise: (
                posterior(X, y, candidates, noise=noise)[1],
                decision(_spread)(posterior, X, y, candidates, noise=noise)[1],
            ),
        ),
        Mistake(
            "The rows of the covariance were added up. A candidate's own variance is the entry on the diagonal.",
            lambda posterior, X, y, candidates, *, noise: (
                posterior(X, y, candidates, noise=noise)[1].sum(axis=1),
                candidates[posterior(X, y, candidates, noise=noise)[1].sum(axis=1).argmax()],
            ),
        ),
    ),
    hints=(
        "The covariance that `posterior` gives has the variances on its diagonal.",
        "The scores are `jnp.diag(covariance)`, and nothing else comes in: not the mean, not the best so far.",
    ),
)
