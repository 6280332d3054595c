"""The exercises of lesson 07, sizing the hardware, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson07_activations import ACTIVATIONS
from mlcourse.checks.lesson07_byte_bugs import AUTOCAST, ROOM_LEFT
from mlcourse.checks.lesson07_cache import KV_CACHE
from mlcourse.checks.lesson07_layers import CONVOLUTION, MLP
from mlcourse.checks.lesson07_memory import SAVED, STATES
from mlcourse.checks.lesson07_rate_bugs import EPOCH_TIME, UTILISATION
from mlcourse.checks.lesson07_runs import RUN_COST, STEP_TIME
from mlcourse.checks.lesson07_transformers import BLOCK, LANGUAGE_MODEL
from mlcourse.checks.lesson07_verdict import FIT, LARGEST_BATCH

NOTEBOOK = "07_sizing_the_hardware"
EXERCISES = (
    MLP,
    CONVOLUTION,
    BLOCK,
    LANGUAGE_MODEL,
    STATES,
    SAVED,
    ACTIVATIONS,
    KV_CACHE,
    FIT,
    LARGEST_BATCH,
    RUN_COST,
    STEP_TIME,
    UTILISATION,
    EPOCH_TIME,
    ROOM_LEFT,
    AUTOCAST,
)
