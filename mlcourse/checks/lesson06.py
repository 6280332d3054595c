"""The exercises of lesson 06, a mini-Transformer, in order: cases, what is right, and the mistakes people make."""

from mlcourse.checks.lesson06_attention import ATTENTION, CAUSAL_MASK
from mlcourse.checks.lesson06_block import BLOCK, LAYER_NORM
from mlcourse.checks.lesson06_bugs import ATTENTION_WEIGHTS, MULTI_HEAD, NEXT_TOKEN_BATCH
from mlcourse.checks.lesson06_cache import CACHE_STEP, DECODE
from mlcourse.checks.lesson06_heads import MERGE_HEADS, SPLIT_HEADS
from mlcourse.checks.lesson06_sampling import TOP_K, TOP_P
from mlcourse.checks.lesson06_scores import FIT_POWER_LAW, SCORES
from mlcourse.checks.lesson06_tokens import MERGE_STEP

NOTEBOOK = "06_transformer"
EXERCISES = (
    CAUSAL_MASK,
    ATTENTION,
    SPLIT_HEADS,
    MERGE_HEADS,
    LAYER_NORM,
    BLOCK,
    MERGE_STEP,
    TOP_K,
    TOP_P,
    CACHE_STEP,
    SCORES,
    FIT_POWER_LAW,
    ATTENTION_WEIGHTS,
    MULTI_HEAD,
    NEXT_TOKEN_BATCH,
    DECODE,
)
