"""The exercises of lesson 01, the training loop, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson01_models import ACCURACY, DEPENDENCY_CHART, FIT
from mlcourse.checks.lesson01_random import EPOCHS, MINIBATCHES, NOISY_COPIES
from mlcourse.checks.lesson01_values import CONSTANT_BASELINE, CROSS_ENTROPY, NUMERICAL_GRADIENT, SGD_STEP

NOTEBOOK = "01_training_loop"
EXERCISES = (
    CROSS_ENTROPY,
    MINIBATCHES,
    SGD_STEP,
    ACCURACY,
    DEPENDENCY_CHART,
    FIT,
    EPOCHS,
    NOISY_COPIES,
    NUMERICAL_GRADIENT,
    CONSTANT_BASELINE,
)
