"""Exercise of lesson 07 on the activations of a Transformer: what its blocks keep, with and without checkpointing."""

from collections.abc import Callable

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import EXACT, after, changed

# 7.7 activation_bytes(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint) -> int


def _activation_cases() -> dict:
    names = ("layers", "batch", "context", "width", "heads", "kv_heads", "hidden", "bytes_each", "fused", "checkpoint")
    cases = {
        "GPT-2, float32, fused attention": (12, 4, 1024, 768, 12, 12, 3072, 4, True, False),
        "the same with the scores written out": (12, 4, 1024, 768, 12, 12, 3072, 4, False, False),
        "the same with checkpointing": (12, 4, 1024, 768, 12, 12, 3072, 4, False, True),
        "bfloat16, shared keys and values, fused": (5, 3, 96, 64, 8, 2, 176, 2, True, False),
        "bfloat16, shared keys and values, checkpointing": (5, 3, 96, 64, 8, 2, 176, 2, True, True),
        "bfloat16, scores written out": (3, 2, 50, 48, 6, 1, 100, 2, False, False),
        "one layer, with checkpointing": (1, 2, 64, 32, 4, 4, 128, 4, False, True),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _activations(
    *,
    rows: Callable = lambda width, kv, hidden: 6 * width + 2 * kv + 2 * hidden,
    statistics: Callable = lambda bytes_each: 4 * 4,
    scores: Callable = lambda heads, context, bytes_each: heads * context * bytes_each,
    fused_scores: Callable = lambda heads, bytes_each: heads * 4,
    checkpointed: Callable = lambda layers, block, entrance: layers * entrance + block - entrance,
    kv_width: Callable = lambda width, heads, kv_heads: width // heads * kv_heads,
) -> Callable:
    """The bytes with their parts exchangeable. `block` and `entrance` are the bytes of one block, and of its input."""

    def activation_bytes(
        layers: int,
        *,
        batch: int,
        context: int,
        width: int,
        heads: int,
        kv_heads: int,
        hidden: int,
        bytes_each: int,
        fused: bool,
        checkpoint: bool,
    ) -> int:
        kv = kv_width(width, heads, kv_heads)
        attention = fused_scores(heads, bytes_each) if fused else scores(heads, context, bytes_each)
        token = rows(width, kv, hidden) * bytes_each + statistics(bytes_each) + attention
        block, entrance = batch * context * token, batch * context * width * bytes_each
        return checkpointed(layers, block, entrance) if checkpoint else layers * block

    return activation_bytes


ACTIVATIONS = Exercise(
    id="7.7",
    name="activation_bytes",
    title="Activations, with and without checkpointing",
    minutes=25,
    difficulty=3,
    cases=_activation_cases,
    reference=_activations(),
    run=after(1),
    **EXACT,
    mistakes=(
        Mistake(
            "The scores are missing: where attention is not fused, every head keeps context numbers for each token.",
            _activations(scores=lambda heads, context, bytes_each: 0),
        ),
        Mistake(
            "The scores were counted for one head. Each head has its own: heads * context numbers for each token.",
            _activations(scores=lambda heads, context, bytes_each: context * bytes_each),
        ),
        Mistake(
            "Half of the scores was left out because of the causal mask. The masked ones are zeros that take their place in "
            "memory.",
            _activations(scores=lambda heads, context, bytes_each: heads * context * bytes_each / 2),
        ),
        Mistake(
            "The scores were counted twice, before and after the softmax. Its backward pass needs the probabilities only.",
            _activations(scores=lambda heads, context, bytes_each: 2 * heads * context * bytes_each),
        ),
        Mistake(
            "Fused attention keeps no scores: one float32 number for each head and token is all.",
            changed(_activations(), fused=False),
        ),
        Mistake(
            "Fused attention keeps one float32 number for each head and token, from which it makes the scores again. It is "
            "missing.",
            _activations(fused_scores=lambda heads, bytes_each: 0),
        ),
        Mistake(
            "The number that fused attention keeps for each head and token is float32, whatever the activations are.",
            _activations(fused_scores=lambda heads, bytes_each: heads * bytes_each),
        ),
        Mistake(
            "The statistics of the two norms are missing: a mean and a 1/std each, float32, for every token.",
            _activations(statistics=lambda bytes_each: 0),
        ),
        Mistake(
            "The statistics of only one norm are there. A block has two, each with two float32 numbers a token.",
            _activations(statistics=lambda bytes_each: 8),
        ),
        Mistake(
            "The statistics of the norms are float32, whatever the activations are: 4 numbers of 4 bytes for each token.",
            _activations(statistics=lambda bytes_each: 4 * bytes_each),
        ),
        Mistake(
            "The keys and values were counted with the full width. They are kv_heads * width / heads wide.",
            _activations(kv_width=lambda width, heads, kv_heads: width),
        ),
        Mistake(
            "The hidden layer of the MLP is kept twice: before its activation function and after it.",
            _activations(rows=lambda width, kv, hidden: 6 * width + 2 * kv + hidden),
        ),
        Mistake(
            "`hidden` was taken to be 4 * width. It is given.",
            _activations(rows=lambda width, kv, hidden: 6 * width + 2 * kv + 8 * width),
        ),
        Mistake(
            "A row of the table is missing: six of them are `width` wide (the block's input, norm 1, query, attention's "
            "output, the input of norm 2, norm 2).",
            _activations(rows=lambda width, kv, hidden: 5 * width + 2 * kv + 2 * hidden),
        ),
        Mistake("The batch is forgotten: every sequence has activations of its own.", changed(_activations(), batch=1)),
        Mistake("The layers are forgotten: every block keeps its own.", changed(_activations(), layers=1)),
        Mistake(
            "All was counted in float32. Activations take `bytes_each` bytes.",
            changed(_activations(), bytes_each=4),
        ),
        Mistake(
            "Checkpointing changes nothing here. With it, a block keeps only its input.",
            changed(_activations(), checkpoint=False),
        ),
        Mistake(
            "With checkpointing, these are the inputs of the blocks alone. In the backward pass each block is computed "
            "again, and then all that *this one* keeps is there too.",
            _activations(checkpointed=lambda layers, block, entrance: layers * entrance),
        ),
        Mistake(
            "With checkpointing, this is one block alone. The inputs of all the others wait in memory meanwhile.",
            _activations(checkpointed=lambda layers, block, entrance: block),
        ),
        Mistake(
            "With checkpointing, one input was counted twice: that of the block which is computed again is kept already.",
            _activations(checkpointed=lambda layers, block, entrance: layers * entrance + block),
        ),
        Mistake(
            "With checkpointing, the inputs of all blocks are kept until their turn comes, that of the first one too.",
            _activations(checkpointed=lambda layers, block, entrance: (layers - 1) * entrance + block - entrance),
        ),
        Mistake(
            "The square root of the number of layers belongs to another kind of checkpointing, with several blocks in a "
            "segment. Here every block is one.",
            _activations(checkpointed=lambda layers, block, entrance: layers**0.5 * block),
        ),
    ),
    hints=(
        "Add up the table for one token of one block first: how many numbers of `bytes_each` bytes, how many of 4?",
        "A token costs (6 width + 2 kv + 2 hidden) * bytes_each + 16 bytes, and for attention heads * context * bytes_each, or "
        "heads * 4 where it is fused. With checkpointing: what lies in memory while the last block is computed again?",
        "Without checkpointing `layers * block`; with it `(layers - 1) * entrance + block`, where `entrance` is the input of a "
        "block, batch * context * width * bytes_each.",
    ),
)
