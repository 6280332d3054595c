"""Exercises of lesson 07 that count a Transformer: a block, a whole language model."""

from collections.abc import Callable

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_layers import MULTIPLY_ADD, NO_BATCH
from mlcourse.checks.lesson07_programs import EXACT, after, changed, scaled

# 7.3 block_counts(width, *, heads, kv_heads, hidden, bias, context, batch) -> {"parameters", "forward"}


def _block_cases() -> dict:
    names = ("width", "heads", "kv_heads", "hidden", "bias", "context", "batch")
    cases = {
        "a block of a small model, 4 heads": (128, 4, 4, 512, True, 64, 12),
        "a block of GPT-2": (768, 12, 12, 3072, True, 1024, 4),
        "8 heads share 2 keys and values, no biases": (64, 8, 2, 176, False, 48, 3),
        "all heads share one, a context longer than the width": (48, 6, 1, 100, True, 500, 2),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _key_width(width: int, heads: int, kv_heads: int) -> int:
    return width // heads * kv_heads


def _block(
    *,
    query: Callable = lambda width: width,
    keys: Callable = _key_width,
    projections: int = 2,
    mlp: int = 2,
    norms: int = 2,
    linear_biases: bool = True,
    norm_biases: bool = True,
    pairs: Callable = lambda context: context**2,
    scores: Callable = lambda width, heads, kv_heads: 2 * width,
) -> Callable:
    """The counts with their parts exchangeable; attention is `scores` multiply-adds for each of the `pairs` of tokens."""

    def counts(width: int, *, heads: int, kv_heads: int, hidden: int, bias: bool, context: int, batch: int) -> dict:
        kv = keys(width, heads, kv_heads)
        matrices = projections * query(width) * width + 2 * width * kv + mlp * width * hidden
        biases = 2 * width + 2 * kv + hidden + width
        attention = pairs(context) * scores(width, heads, kv_heads)
        return {
            "parameters": matrices + biases * (bias and linear_biases) + norms * width * (1 + (bias and norm_biases)),
            "forward": 2 * batch * (context * matrices + attention),
        }

    return counts


def _wide_queries(width: int, *, heads: int, bias: bool, context: int, batch: int, **named: int) -> dict:
    right = _block()(width, heads=heads, bias=bias, context=context, batch=batch, **named)
    more = (heads - 1) * width
    return {
        "parameters": right["parameters"] + more * width + more * bias,
        "forward": right["forward"] + 2 * batch * context * more * width,
    }


def _without_output(width: int, bias: bool, context: int, batch: int, named: dict) -> dict:
    right = _block()(width, bias=bias, context=context, batch=batch, **named)
    return {
        "parameters": right["parameters"] - width**2 - width * bias,
        "forward": right["forward"] - 2 * batch * context * width**2,
    }


def _one_token(width: int, named: dict) -> dict:
    right, once = _block()(width, **named), _block(scores=lambda *_: 0)(width, **named | {"context": 1})
    attention = right["forward"] - _block(scores=lambda *_: 0)(width, **named)["forward"]
    return right | {"forward": once["forward"] + attention}


BLOCK = Exercise(
    id="7.3",
    name="block_counts",
    title="A Transformer block",
    minutes=25,
    difficulty=3,
    cases=_block_cases,
    reference=_block(),
    run=after(1),
    **EXACT,
    mistakes=(
        Mistake(
            "The scores q·k and the sum of the values are missing from the FLOPs: 2 * context * context * width multiply-adds "
            "for each sequence. They have no parameters, which is why 6ND does not know of them.",
            _block(scores=lambda *_: 0),
        ),
        Mistake(
            "Half of attention is missing. It has two products, the scores q·k and the sum of the values, with context * "
            "context * width multiply-adds *each*; and the causal mask saves none of them: all scores are computed, then "
            "half is thrown away.",
            _block(scores=lambda width, *_: width),
        ),
        Mistake(
            "The scores above the diagonal were left out because of the causal mask. A product of matrices computes them all, "
            "and the mask throws them away: count context * context.",
            _block(pairs=lambda context: context * (context + 1) // 2),
        ),
        Mistake(
            "Attention grows with context * context: each token looks at every other one.",
            _block(pairs=lambda context: context),
        ),
        Mistake(
            "Attention was counted with the full width for each head. A head is only width / heads wide, so all heads together "
            "make the width.",
            _block(scores=lambda width, heads, kv_heads: 2 * width * heads),
        ),
        Mistake(
            "Attention was counted for one head only. All heads together make the width.",
            _block(scores=lambda width, heads, kv_heads: 2 * width // heads),
        ),
        Mistake(
            "Attention was counted for the kv_heads only. Each *query* head makes scores with the keys that it shares: fewer "
            "keys save weights and memory, not these FLOPs.",
            _block(scores=lambda width, heads, kv_heads: 2 * width // heads * kv_heads),
        ),
        Mistake(
            "The tokens of the whole batch look at one another here: (batch * context)². Attention stays within a sequence: "
            "batch * context².",
            lambda width, *, batch, context, **named: _block()(width, batch=1, context=batch * context, **named),
        ),
        Mistake(
            "The keys and values were counted as if every head had its own. They have kv_heads * width / heads outputs each.",
            _block(keys=lambda width, heads, kv_heads: width),
        ),
        Mistake(
            "The keys and values have kv_heads * width / heads outputs, not width / kv_heads.",
            _block(keys=lambda width, heads, kv_heads: width // kv_heads),
        ),
        Mistake(
            "The keys and values were counted for one head. They have kv_heads * width / heads outputs each.",
            _block(keys=lambda width, heads, kv_heads: width // heads),
        ),
        Mistake(
            "Each head was given queries of the full width. A head is width / heads wide, so the query matrix is width x "
            "width.",
            lambda width, *, heads, **named: _wide_queries(width, heads=heads, **named),
        ),
        Mistake(
            "The matrix after attention, which mixes the heads (width x width), is missing.",
            lambda width, *, bias, context, batch, **named: _without_output(width, bias, context, batch, named),
        ),
        Mistake("The MLP has two matrices: up to `hidden` and back down.", _block(mlp=1)),
        Mistake("The MLP has two matrices here. With three it would be a gated one.", _block(mlp=3)),
        Mistake("The layer norms are missing from the parameters: two of them, each with `width` weights.", _block(norms=0)),
        Mistake("There are two layer norms in a block: before attention, and before the MLP.", _block(norms=1)),
        Mistake("The biases are missing where `bias` is True.", changed(_block(), bias=False)),
        Mistake("There are no biases where `bias` is False, but they were counted.", changed(_block(), bias=True)),
        Mistake(
            "The biases of the linear layers are missing: one for each output.",
            _block(linear_biases=False),
        ),
        Mistake(
            "The biases of the layer norms are missing: `width` in each, beside its `width` weights.",
            _block(norm_biases=False),
        ),
        Mistake(MULTIPLY_ADD, scaled(_block(), 0.5, "forward")),
        Mistake(NO_BATCH, changed(_block(), batch=1)),
        Mistake(
            "The matrices were counted for one token. Every token of the context goes through them: times `context`.",
            lambda width, **named: _one_token(width, named),
        ),
    ),
    hints=(
        "List the matrices: query, key, value, output, up, down. How many outputs has each, when the keys and values have only "
        "`kv_heads` heads of width / heads numbers?",
        "A linear layer costs 2 * weights FLOPs a token, and there are batch * context tokens. Then attention itself: in each "
        "head, every token meets every token, with a product of width / heads numbers, twice (scores, and sum of the values).",
        "With `matrices = 2 * width**2 + 2 * width * kv + 2 * width * hidden`, the forward pass costs "
        "`2 * batch * (context * matrices + 2 * context**2 * width)`. The biases are 3 * width + 2 * kv + hidden, and each of "
        "the two norms has width weights and width biases.",
    ),
)

# 7.4 language_model_counts(layers, *, width, vocab, context, tied) -> {"parameters", "per_token"}


def _model_cases() -> dict:
    names = ("layers", "width", "vocab", "context", "tied")
    cases = {
        "GPT-2, 124 million": (12, 768, 50257, 1024, True),
        "a small character model": (4, 128, 65, 64, True),
        "a head of its own": (6, 384, 256, 300, False),
        "one layer, a context longer than all else": (1, 32, 40, 2048, False),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _model(
    *,
    positions: bool = True,
    final_norm: int = 2,
    head: Callable = lambda tied: not tied,
    block: Callable = lambda width: 12 * width**2 + 13 * width,
    matmul: Callable = lambda layers, width, vocab: 12 * layers * width**2 + vocab * width,
    attention: float = 12,
) -> Callable:
    """The counts with their parts exchangeable; `matmul` are the weights that are multiplied, at 6 FLOPs a token."""

    def counts(layers: int, *, width: int, vocab: int, context: int, tied: bool) -> dict:
        embeddings = (vocab + context * positions) * width
        return {
            "parameters": layers * block(width) + embeddings + final_norm * width + head(tied) * vocab * width,
            "per_token": 6 * matmul(layers, width, vocab) + attention * layers * width * context,
        }

    return counts


def _six_n(parameters: Callable = lambda counts, width, vocab, context: counts["parameters"], attention: int = 0) -> Callable:
    """6 FLOPs for each of the parameters that `parameters` picks, and attention."""

    def counts(layers: int, *, width: int, vocab: int, context: int, tied: bool) -> dict:
        right = _model()(layers, width=width, vocab=vocab, context=context, tied=tied)
        chosen = parameters(right, width, vocab, context)
        return right | {"per_token": 6 * chosen + attention * layers * width * context}

    return counts


LANGUAGE_MODEL = Exercise(
    id="7.4",
    name="language_model_counts",
    title="A language model, and what 6ND leaves out",
    minutes=20,
    difficulty=2,
    cases=_model_cases,
    reference=_model(),
    run=after(1),
    **EXACT,
    mistakes=(
        Mistake(
            "This is 6N: six FLOPs for each parameter and nothing else. It leaves out attention, 12 * layers * width * "
            "context, and counts tables that are only looked up (positions, an untied embedding), biases and norms.",
            _six_n(),
        ),
        Mistake(
            "All parameters were counted as multiplied. The positions are only looked up and added, an embedding with a head "
            "of its own is only looked up, and biases and norms multiply no matrix.",
            _six_n(attention=12),
        ),
        Mistake(
            "Attention is missing: scores and values take 2 * 2 * context * width FLOPs a token and layer forward, and three "
            "times that with the backward pass.",
            _model(attention=0),
        ),
        Mistake(
            "Attention's forward pass is there, its backward pass is not: 3 times as many, as for every product.",
            _model(attention=4),
        ),
        Mistake(
            "Half of attention was left out because of the causal mask. A product of matrices computes all scores, and the "
            "mask throws half away.",
            _model(attention=6),
        ),
        Mistake(
            "The head is missing from the FLOPs. Tied or not, its product with vocab x width weights is computed: tying saves "
            "parameters, not work.",
            _model(matmul=lambda layers, width, vocab: 12 * layers * width**2),
        ),
        Mistake(
            "The head's product is in the FLOPs forward only. It has a backward pass like all others: 6, not 2, for each of "
            "its weights. (A well-known calculator had this bug: 18 % too few for GPT-2.)",
            _model(matmul=lambda layers, width, vocab: 12 * layers * width**2 + vocab * width / 3),
        ),
        Mistake(
            "The embedding was counted as a product too. Looking up a row costs no multiplication; only the head multiplies.",
            _model(matmul=lambda layers, width, vocab: 12 * layers * width**2 + 2 * vocab * width),
        ),
        Mistake(
            "The embedding is there twice although `tied` says that the head uses the same matrix.",
            _model(head=lambda tied: True),
        ),
        Mistake(
            "The head's own matrix is missing where `tied` is False: another vocab x width parameters.",
            _model(head=lambda tied: False),
        ),
        Mistake(
            "`tied` was used the wrong way round: a tied head has no matrix of its own.",
            _model(head=lambda tied: tied),
        ),
        Mistake("The positions are missing from the parameters: context x width.", _model(positions=False)),
        Mistake("The final layer norm is missing: width weights and width biases.", _model(final_norm=0)),
        Mistake("The final layer norm has biases too.", _model(final_norm=1)),
        Mistake(
            "The biases and norms of the blocks are missing: 13 * width in each block.",
            _model(block=lambda width: 12 * width**2),
        ),
        Mistake(
            "The FLOPs are those of the forward pass. Training also goes backward, with two products for each one forward: "
            "times 3.",
            scaled(_model(), 1 / 3, "per_token"),
        ),
        Mistake(
            "The backward pass was counted as one product for each one forward. It is two: the gradient of the weights and "
            "that of the inputs.",
            scaled(_model(), 2 / 3, "per_token"),
        ),
        Mistake(MULTIPLY_ADD, scaled(_model(), 1 / 2, "per_token")),
        Mistake(
            "These are the FLOPs of a whole sequence. They were asked for one token: divide by the context.",
            lambda layers, *, context, **named: (
                _model()(layers, context=context, **named)
                | {"per_token": context * _model()(layers, context=context, **named)["per_token"]}
            ),
        ),
    ),
    hints=(
        "Use exercise 7.3 with as many kv_heads as heads and hidden = 4 * width: how many parameters has a block, and how many "
        "of them stand in matrices?",
        "A block has 12 width² weights in matrices and 13 width others. For the FLOPs, ask of each table: is it multiplied, or "
        "only looked up? Every multiplied weight costs 6 a token: 2 forward, 4 backward.",
        "`6 * (12 * layers * width**2 + vocab * width) + 12 * layers * width * context` for a token, and for the parameters "
        "`layers * (12 * width**2 + 13 * width) + (vocab + context + 2) * width`, and the head where it is not tied.",
    ),
)
