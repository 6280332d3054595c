"""The exercises of lesson 08, research-grade experiments, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson08_bugs import COMPARE, RANDOM_SEARCH, REPORT
from mlcourse.checks.lesson08_card import MODEL_CARD
from mlcourse.checks.lesson08_identity import HASH_SPLIT, MANIFEST, RUN_NAME
from mlcourse.checks.lesson08_nan import FIRST_BAD
from mlcourse.checks.lesson08_resume import RESUMABLE
from mlcourse.checks.lesson08_seeds import SEED_EVERYTHING
from mlcourse.checks.lesson08_statistics import BOOTSTRAP_INTERVAL, PAIRED_TEST

NOTEBOOK = "08_research_experiments"
EXERCISES = (
    HASH_SPLIT,
    SEED_EVERYTHING,
    RUN_NAME,
    BOOTSTRAP_INTERVAL,
    PAIRED_TEST,
    RESUMABLE,
    MANIFEST,
    FIRST_BAD,
    MODEL_CARD,
    REPORT,
    COMPARE,
    RANDOM_SEARCH,
)
