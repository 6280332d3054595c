"""Exercise of lesson 07 on generating text: the bytes of the KV cache, and how many sequences a card can serve."""

from collections.abc import Callable

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import EXACT, GIB, after, changed

# 7.8 kv_cache(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib) -> {"bytes", "sequences"}


def _cache_cases() -> dict:
    names = ("layers", "width", "heads", "kv_heads", "context", "bytes_each", "num_params", "card_gib")
    cases = {
        "Llama 3.1 8B on a card with 24 GiB": (32, 4096, 32, 8, 8192, 2, 8_030_261_248, 24.0),
        "every head with keys of its own, in float32": (12, 768, 12, 12, 1024, 4, 124_439_808, 3.0),
        "one pair of keys and values for all heads, in 8 bits": (24, 2048, 16, 1, 32768, 1, 2_000_000_000, 6.0),
        "weights that fill the card by themselves": (80, 8192, 64, 8, 4096, 2, 70_553_706_496, 79.0),
        "filled to the last byte": (2, 64, 4, 2, 4096, 2, 2**29 - 2**21, 1.0),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _cache(
    *,
    kinds: int = 2,
    head: Callable = lambda width, heads: width // heads,
    weights: Callable = lambda num_params, bytes_each: num_params * bytes_each,
    count: Callable = lambda room, each: max(0, int(room // each)),
    gib: int = GIB,
) -> Callable:
    """The cache with its parts exchangeable; `count` sequences go into the room that the weights leave."""

    def cache(
        layers: int,
        *,
        width: int,
        heads: int,
        kv_heads: int,
        context: int,
        bytes_each: int,
        num_params: int,
        card_gib: float,
    ) -> dict:
        each = kinds * layers * kv_heads * head(width, heads) * context * bytes_each
        return {"bytes": each, "sequences": count(card_gib * gib - weights(num_params, bytes_each), each)}

    return cache


KV_CACHE = Exercise(
    id="7.8",
    name="kv_cache",
    title="The KV cache",
    minutes=15,
    difficulty=2,
    cases=_cache_cases,
    reference=_cache(),
    run=after(1),
    **EXACT,
    mistakes=(
        Mistake("There are keys *and* values: twice as many.", _cache(kinds=1)),
        Mistake("Keys and values are kept, queries are not: a factor of 2, not 3.", _cache(kinds=3)),
        Mistake(
            "The cache was counted for all heads. Only kv_heads of them have keys and values of their own; sharing them is "
            "done for the sake of this cache.",
            lambda layers, *, heads, kv_heads, **named: _cache()(layers, heads=heads, kv_heads=heads, **named),
        ),
        Mistake(
            "A head was taken to be as wide as the model. It has width / heads numbers.",
            _cache(head=lambda width, heads: width),
        ),
        Mistake("The kv_heads are forgotten: each has keys and values of its own.", changed(_cache(), kv_heads=1)),
        Mistake("The layers are forgotten: each has a cache of its own.", changed(_cache(), layers=1)),
        Mistake(
            "The cache was counted for one token. It holds the keys and values of the whole context.",
            changed(_cache(), context=1),
        ),
        Mistake(
            "The cache was given context² entries. It holds keys and values, one for each token; the scores are not kept.",
            changed(_cache(), context=lambda context: context**2),
        ),
        Mistake("These are numbers, not bytes. Each takes `bytes_each` bytes.", changed(_cache(), bytes_each=1)),
        Mistake(
            "These are bits. `bytes_each` is in bytes already.",
            changed(_cache(), bytes_each=lambda size: 8 * size),
        ),
        Mistake("A GiB has 2³⁰ bytes. With 10⁹, which is a GB, 7 % of the card are missing.", _cache(gib=10**9)),
        Mistake("The weights are on the card too. Only what they leave is free for caches.", _cache(weights=lambda *_: 0)),
        Mistake(
            "The weights were counted as parameters. Each takes `bytes_each` bytes.",
            _cache(weights=lambda num_params, bytes_each: num_params),
        ),
        Mistake(
            "The number of sequences is not a whole number. A sequence fits or it does not: round down.",
            _cache(count=lambda room, each: max(0, room / each)),
        ),
        Mistake(
            "The last sequence does not fit as a whole: round down.", _cache(count=lambda room, each: max(0, -(-room // each)))
        ),
        Mistake(
            "A number of sequences below 0. Where the weights fill the card by themselves, no sequence fits: 0.",
            _cache(count=lambda room, each: room // each),
        ),
    ),
    hints=(
        "For one token, one layer and one of the kv_heads: a key and a value of width / heads numbers each. Now multiply.",
        "`2 * layers * kv_heads * (width // heads) * context * bytes_each` bytes for a sequence. Which bytes lie on the card "
        "before the first token arrives?",
        "`max(0, int((card_gib * 2**30 - num_params * bytes_each) // each))` sequences.",
    ),
)
