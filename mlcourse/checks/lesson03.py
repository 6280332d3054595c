"""The exercises of lesson 03, initialisation and normalisation, in order: cases, what is right, and the mistakes people
make."""

from mlcourse.checks.lesson03_backward import BATCH_NORM_BACKWARD
from mlcourse.checks.lesson03_batchnorm import BATCH_NORM
from mlcourse.checks.lesson03_batchnorm2d import BATCH_NORM_2D
from mlcourse.checks.lesson03_bugs import NORMALISE, NORMALISE_IMAGES, PREDICT
from mlcourse.checks.lesson03_curvature import LARGEST_EIGENVALUE
from mlcourse.checks.lesson03_init import HE_WEIGHTS
from mlcourse.checks.lesson03_layers import FOLD, LAYER_NORM, RESIDUAL_BLOCK

NOTEBOOK = "03_initialisation"
EXERCISES = (
    HE_WEIGHTS,
    BATCH_NORM,
    BATCH_NORM_2D,
    BATCH_NORM_BACKWARD,
    LAYER_NORM,
    RESIDUAL_BLOCK,
    FOLD,
    LARGEST_EIGENVALUE,
    NORMALISE,
    NORMALISE_IMAGES,
    PREDICT,
)
