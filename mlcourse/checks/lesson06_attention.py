"""Exercises of lesson 06 on attention: who may see whom, and the weighted mean of what is seen."""

from collections.abc import Callable

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property

# 6.1 causal_mask(num_queries, num_keys) -> (num_queries, num_keys), True where a query may see a key


def _mask_cases() -> dict:
    return {
        "four tokens that are read together": {"num_queries": 4, "num_keys": 4},
        "one new token after five in the cache": {"num_queries": 1, "num_keys": 6},
        "three new tokens after four in the cache": {"num_queries": 3, "num_keys": 7},
        "one token alone": {"num_queries": 1, "num_keys": 1},
        "two tokens": {"num_queries": 2, "num_keys": 2},
    }


def _mask(sees: Callable = lambda key, query, first: key <= first + query) -> Callable:
    """True where `sees(key, query, position of the first query)`."""

    def causal_mask(num_queries: int, num_keys: int) -> np.ndarray:
        query, key = np.arange(num_queries)[:, None], np.arange(num_keys)[None]
        return sees(key, query, num_keys - num_queries) & (key >= 0)

    return causal_mask


causal_mask = _mask()
_ADDED = (
    "These are numbers to add to the scores. Here the mask says who may see whom: True or False. (Adding 0 or -inf to the "
    "scores comes to the same, later.)"
)

CAUSAL_MASK = Exercise(
    id="6.1",
    name="causal_mask",
    title="Who may see whom",
    minutes=10,
    difficulty=1,
    cases=_mask_cases,
    reference=causal_mask,
    mistakes=(
        Mistake(
            "The mask is inverted: it is True where a token must *not* look. Here True means that the query sees the key. "
            "(Some libraries have it the other way round; read what yours expects.)",
            lambda num_queries, num_keys: ~causal_mask(num_queries, num_keys),
        ),
        Mistake(
            "A token can't see itself: the comparison is one too strict. The newest token is the most useful one: key <= "
            "query, not key < query. (The first token would see nothing at all.)",
            _mask(lambda key, query, first: key < first + query),
        ),
        Mistake(
            "A token sees the one after it, which is just what it has to predict. The last key a query sees is its own.",
            _mask(lambda key, query, first: key <= first + query + 1),
        ),
        Mistake(
            "The first query was put at position 0. The queries are the *last* num_queries of the num_keys positions: query "
            "i stands at num_keys - num_queries + i.",
            _mask(lambda key, query, first: key <= query),
        ),
        Mistake(
            "The triangle is turned over: a token sees itself and what comes *after* it. Rows are queries, columns keys: "
            "key <= query.",
            _mask(lambda key, query, first: key >= first + query),
        ),
        Mistake("Every token sees every other: nothing is masked.", _mask(lambda key, query, first: key >= query * 0)),
        Mistake("Each token sees only itself.", _mask(lambda key, query, first: key == first + query)),
        Mistake(_ADDED, lambda num_queries, num_keys: np.where(causal_mask(num_queries, num_keys), 0.0, -np.inf)),
        Mistake(_ADDED, lambda num_queries, num_keys: np.where(causal_mask(num_queries, num_keys), 0.0, -1e9)),
    ),
    properties=(
        Property(
            "The values are right, but they are numbers. Return an array of True and False: then `~mask` and `where(mask, "
            "...)` do what they say.",
            lambda run, **case: run(**case).dtype == bool,
        ),
    ),
    hints=(
        "At which position does query i stand, if the queries are the last ones? With as many queries as keys it is i.",
        "Make the positions of the queries a column and those of the keys a row; one comparison of the two gives the whole "
        "mask.",
        "`(num_keys - num_queries + np.arange(num_queries))[:, None] >= np.arange(num_keys)`.",
    ),
)


# 6.2 attention(q, k, v, mask) -> (..., num_queries, v's features). Vaswani et al. 2017, equation 1.


def softmax(scores: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """Along an axis, safe for huge scores."""
    scores = np.asarray(scores, dtype=float)
    e = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def normals(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers as float32."""
    return (scale * rng.normal(size=shape)).astype(np.float32)


def _attention_cases() -> dict:
    rng = np.random.default_rng(62)
    holes = np.array([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0], [1, 1, 1, 1, 0]], dtype=bool)

    def case(mask: np.ndarray, d: int, d_v: int, *leading: int, scale: float = 1.0) -> dict:
        num_queries, num_keys = mask.shape
        return {
            "q": normals(rng, *leading, num_queries, d, scale=scale),
            "k": normals(rng, *leading, num_keys, d, scale=scale),
            "v": normals(rng, *leading, num_keys, d_v),
            "mask": mask,
        }

    wide = case(causal_mask(4, 4), 6, 3)
    return {
        "three tokens": case(causal_mask(3, 3), 3, 3),
        "a batch of two, three heads each": case(causal_mask(4, 4), 5, 5, 2, 3),
        "two queries, five keys, values of another width": case(causal_mask(2, 5), 3, 2),
        "a mask with holes": case(holes, 7, 4, 2),
        "huge scores": case(causal_mask(4, 4), 5, 5, scale=60.0),
        "every second feature of a wider array": {**wide, "q": wide["q"][:, ::2], "k": wide["k"][:, ::2]},
    }


def _attention(
    scale: Callable = lambda q, k, v: 1 / np.sqrt(q.shape[-1]),
    *,
    hide: Callable = lambda scores, mask: np.where(mask, scores, -np.inf),
    weigh: Callable = softmax,
    finish: Callable = lambda weights, mask: weights,
) -> Callable:
    """softmax(hide(scale * q kT)) v, with each part open to be got wrong."""

    def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
        q, k, v = (x.astype(float) for x in (q, k, v))
        scores = q @ np.swapaxes(k, -1, -2) * scale(q, k, v)
        return finish(weigh(hide(scores, mask)), mask) @ v

    return attention


def _weights_only(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return softmax(np.where(mask, q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]), -np.inf))


def _without_maximum(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores.astype(np.float32))  # overflows where the reader's float32 does
    return e / e.sum(axis=-1, keepdims=True)


attention = _attention()
_INVERTED = "The mask is inverted: queries see what they must not. True means that the query sees the key."

ATTENTION = Exercise(
    id="6.2",
    name="attention",
    title="Scaled dot-product attention",
    minutes=20,
    difficulty=2,
    cases=_attention_cases,
    reference=attention,
    atol=1e-5,
    mistakes=(
        Mistake(
            "The scores are not scaled. Divide them by the square root of d, the number of features of a query.",
            _attention(lambda q, k, v: 1.0),
        ),
        Mistake(
            "The scores were divided by d. Divide by its square root: a sum of d products of unit variance has a standard "
            "deviation of sqrt(d).",
            _attention(lambda q, k, v: 1 / q.shape[-1]),
        ),
        Mistake(
            "The scores were *multiplied* by the square root of d. Divide.", _attention(lambda q, k, v: q.shape[-1] ** 0.5)
        ),
        Mistake(
            "The scale was taken from the values' width. It is the width of queries and keys that the dot product adds up: "
            "q.shape[-1].",
            _attention(lambda q, k, v: v.shape[-1] ** -0.5),
        ),
        Mistake(
            "The scale was taken from the number of tokens. It is the number of features of a query: q.shape[-1].",
            _attention(lambda q, k, v: k.shape[-2] ** -0.5),
        ),
        Mistake(
            "The softmax runs over the wrong axis: the weights add up to 1 for each key, not for each query. A query shares "
            "its attention among the keys, the last axis.",
            _attention(weigh=lambda scores: softmax(scores, -2)),
        ),
        Mistake(
            "One softmax for all queries and keys together. Each query has its own: the last axis.",
            _attention(weigh=lambda scores: softmax(scores, (-2, -1))),
        ),
        Mistake(_INVERTED, _attention(hide=lambda scores, mask: np.where(mask, -np.inf, scores))),
        Mistake(_INVERTED, _attention(hide=lambda scores, mask: np.where(mask, -1e9, scores))),
        Mistake(
            "The mask was not used: every query sees every key.",
            _attention(hide=lambda scores, mask: scores),
        ),
        Mistake(
            "The mask was applied after the softmax, so the weights of a row add up to less than 1. Hide a score before the "
            "softmax: set it to -inf.",
            _attention(hide=lambda scores, mask: scores, finish=lambda weights, mask: weights * mask),
        ),
        Mistake(
            "A hidden score was set to 0, and exp(0) = 1 is a weight like others. Set it to -inf: exp(-inf) = 0.",
            _attention(hide=lambda scores, mask: scores * mask),
        ),
        Mistake(
            "A hidden score was set to a finite number, and beside huge scores that is a score like others. Set it to -inf.",
            _attention(hide=lambda scores, mask: np.where(mask, scores, -100.0)),
        ),
        Mistake(
            "The mask was added to the scores as 0 and 1. What is hidden needs -inf: `jnp.where(mask, scores, -jnp.inf)`.",
            _attention(hide=lambda scores, mask: scores + mask),
        ),
        Mistake(
            "The softmax overflows: exp(100) is infinite in float32, and inf/inf is nan. Subtract the largest score of each "
            "row first, or take the library's softmax.",
            _attention(weigh=_without_maximum),
        ),
        Mistake(
            "There is no softmax: the scores themselves are the weights.",
            _attention(hide=lambda scores, mask: scores * mask, weigh=lambda scores: scores),
        ),
        Mistake("These are the weights. The result is weights @ v: the mean of the values, weighted.", _weights_only),
        Mistake(
            "Queries and keys are exchanged: each row should belong to a query. The scores are q @ k^T.",
            lambda q, k, v, mask: attention(k, q, v, mask),
        ),
    ),
    hints=(
        "Three lines: scores (..., queries, keys), weights of the same shape, and their product with v.",
        "`q @ k` with the last two axes of k exchanged (`jnp.swapaxes(k, -1, -2)`, in PyTorch `k.transpose(-1, -2)`), "
        "divided by the root of d. Where the mask is False, -inf. Then a softmax over the last axis.",
        "`scores = jnp.where(mask, scores, -jnp.inf)`, `weights = jax.nn.softmax(scores, axis=-1)`, `return weights @ v`.",
    ),
)
