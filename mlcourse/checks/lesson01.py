"""The exercises of lesson 01, the training loop, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson01_fit import FIT
from mlcourse.checks.lesson01_gradients import NUMERICAL_GRADIENT, SGD_STEP
from mlcourse.checks.lesson01_losses import CONSTANT_BASELINE, CROSS_ENTROPY
from mlcourse.checks.lesson01_minibatches import EPOCHS, MINIBATCHES
from mlcourse.checks.lesson01_models import ACCURACY, DEPENDENCY_CHART
from mlcourse.checks.lesson01_noise import NOISY_COPIES

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
