"""The exercises of lesson 04, regularisation, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson04_bugs import LOSSES, PREPARE
from mlcourse.checks.lesson04_calibration import ECE, FIT_TEMPERATURE
from mlcourse.checks.lesson04_distillation import DISTILLATION
from mlcourse.checks.lesson04_dropout import DROPOUT
from mlcourse.checks.lesson04_inputs import FGSM, MIXUP
from mlcourse.checks.lesson04_stopping import EARLY_STOPPING, SELECT
from mlcourse.checks.lesson04_weights import DECOUPLED_STEP, L2_STEP, MAX_NORM

NOTEBOOK = "04_regularisation"
EXERCISES = (
    DROPOUT,
    L2_STEP,
    DECOUPLED_STEP,
    MAX_NORM,
    EARLY_STOPPING,
    FGSM,
    MIXUP,
    DISTILLATION,
    ECE,
    FIT_TEMPERATURE,
    LOSSES,
    SELECT,
    PREPARE,
)
