"""The exercises of lesson 05, Bayesian optimisation, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson05_acquisition import (
    ACTIVE_LEARNING,
    EXPECTED_IMPROVEMENT,
    PROBABILITY_OF_IMPROVEMENT,
    UPPER_CONFIDENCE_BOUND,
)
from mlcourse.checks.lesson05_bugs import NEXT_DRILL, NEXT_HOLE, POSTERIOR_VARIANCE
from mlcourse.checks.lesson05_kernel import MATERN52, RBF
from mlcourse.checks.lesson05_loop import TUNE
from mlcourse.checks.lesson05_posterior import LOG_MARGINAL_LIKELIHOOD, POSTERIOR
from mlcourse.checks.lesson05_thompson import THOMPSON

NOTEBOOK = "05_bayesian_optimisation"
EXERCISES = (
    RBF,
    MATERN52,
    POSTERIOR,
    LOG_MARGINAL_LIKELIHOOD,
    PROBABILITY_OF_IMPROVEMENT,
    EXPECTED_IMPROVEMENT,
    UPPER_CONFIDENCE_BOUND,
    THOMPSON,
    ACTIVE_LEARNING,
    TUNE,
    NEXT_DRILL,
    POSTERIOR_VARIANCE,
    NEXT_HOLE,
)
