"""The exercises of lesson 02, optimizers from scratch, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson02_adam_bugs import ADAM_PATH, ADAM_UPDATE
from mlcourse.checks.lesson02_adamw import ADAMW
from mlcourse.checks.lesson02_adaptive import ADAM, RMSPROP
from mlcourse.checks.lesson02_curvature import NEWTON_STEP, QUADRATIC_RATES
from mlcourse.checks.lesson02_momentum import MOMENTUM, NESTEROV, SAME_PACE
from mlcourse.checks.lesson02_step_bugs import DECAYED, RATES_OF_RUN
from mlcourse.checks.lesson02_steps import CLIP, WARMUP_COSINE

NOTEBOOK = "02_optimizers"
EXERCISES = (
    MOMENTUM,
    SAME_PACE,
    NESTEROV,
    RMSPROP,
    ADAM,
    ADAMW,
    CLIP,
    WARMUP_COSINE,
    QUADRATIC_RATES,
    NEWTON_STEP,
    ADAM_PATH,
    ADAM_UPDATE,
    DECAYED,
    RATES_OF_RUN,
)
