"""Bug hunts of lesson 06: a mask after the softmax, attention that is not scaled, targets that are not shifted."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson06_attention import causal_mask, normals, softmax
from mlcourse.checks.lesson06_heads import merge_heads, split_heads

# 6.13 attention_weights(scores, mask): (..., queries, keys) -> the same shape


def _weights_cases() -> dict:
    rng = np.random.default_rng(613)
    future = normals(rng, 3, 3)
    future[0, 2] = 500.0  # hidden, and far above what may be seen
    return {
        "three tokens": {"scores": normals(rng, 3, 3), "mask": causal_mask(3, 3)},
        "a batch of two, two heads each": {"scores": normals(rng, 2, 2, 4, 4), "mask": causal_mask(4, 4)},
        "a huge score in the future": {"scores": future, "mask": causal_mask(3, 3)},
        "a mask with holes": {
            "scores": normals(rng, 2, 5, scale=2.0),
            "mask": np.array([[1, 0, 1, 1, 0], [0, 0, 0, 1, 0]], dtype=bool),
        },
        "scores far below zero": {"scores": normals(rng, 4, 4) - np.float32(300), "mask": causal_mask(4, 4)},
    }


def _weights(
    hide: Callable = lambda scores, mask: np.where(mask, scores, -np.inf),
    *,
    axis: int = -1,
    finish: Callable = lambda weights, mask: weights,
) -> Callable:
    def attention_weights(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return finish(softmax(hide(scores.astype(float), mask), axis), mask)

    return attention_weights


def _renormalised(weights: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = (weights * mask).astype(np.float32)  # where the reader's float32 becomes 0, this does too
    return weights / weights.sum(axis=-1, keepdims=True)


def _seen(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return scores


ATTENTION_WEIGHTS = Exercise(
    id="6.13",
    name="attention_weights",
    title="Find the bug: weights that do not add up",
    minutes=10,
    difficulty=1,
    cases=_weights_cases,
    reference=_weights(),
    mistakes=(
        Mistake(
            "The mask still comes after the softmax: the hidden scores have a say in the sum below the fraction line, and the "
            "weights of a row add up to less than 1. Set hidden scores to -inf, and then take the softmax.",
            _weights(_seen, finish=lambda weights, mask: weights * mask),
        ),
        Mistake(
            "Dividing by the sum afterwards mends the sums, but not everything: where a hidden score is far above the rest, "
            "all that may be seen has been rounded to 0, and 0/0 is nan. Set hidden scores to -inf *before* the softmax.",
            _weights(_seen, finish=_renormalised),
        ),
        Mistake(
            "Hidden scores were set to 0 before the softmax, and exp(0) = 1 is a weight like others. Set them to -inf.",
            _weights(lambda scores, mask: scores * mask),
        ),
        Mistake(
            "The mask was added to the scores as 0 and 1. What is hidden needs -inf: `jnp.where(mask, scores, -jnp.inf)`.",
            _weights(lambda scores, mask: scores + mask),
        ),
        Mistake(
            "Hidden scores were set to a number that is not low enough: here all scores are lower still. Take -inf.",
            _weights(lambda scores, mask: np.where(mask, scores, -100.0)),
        ),
        Mistake(
            "The mask is inverted: what may be seen is hidden. True means that the query sees the key.",
            _weights(lambda scores, mask: np.where(mask, -np.inf, scores)),
        ),
        Mistake("The mask is gone: every query sees every key.", _weights(_seen)),
        Mistake(
            "The softmax runs over the queries. A query shares its attention among the keys: the last axis.",
            _weights(axis=-2),
        ),
        Mistake(
            "The weights of hidden keys are -inf: the mask was applied after the softmax, only otherwise. Apply it before.",
            _weights(_seen, finish=lambda weights, mask: np.where(mask, weights, -np.inf)),
        ),
        Mistake(
            "These are the masked scores. Take the softmax of them.",
            lambda scores, mask: np.where(mask, scores, -np.inf),
        ),
    ),
    hints=(
        "A softmax divides by a sum. Over which keys does that sum run in the broken code?",
        "What score gives a weight of exactly 0? exp of it must be 0.",
    ),
)


# 6.14 multi_head(x, params, *, heads): (B, T, width) -> (B, T, width), causal


def _heads_cases() -> dict:
    rng = np.random.default_rng(614)

    def case(B: int, T: int, width: int, heads: int, scale: float = 1.0) -> dict:
        params = {name: normals(rng, width, width, scale=width**-0.5) for name in ("Wq", "Wk", "Wv", "Wo")}
        return {"x": normals(rng, B, T, width, scale=scale), "params": params, "heads": heads}

    return {
        "one text of three tokens": case(1, 3, 6, 2),
        "a batch of two": case(2, 4, 12, 4, 2.0),
        "one head": case(1, 4, 5, 1, 2.0),
        "heads of one feature": case(2, 3, 3, 3, 2.0),
        "large activations": case(1, 5, 10, 2, 6.0),
    }


def _run_heads(answer: Callable, x: Any, params: dict, heads: int) -> Any:
    return answer(x, params, heads=heads)


def _multi_head(
    scale: Callable = lambda width, heads, size, T: size**-0.5,
    *,
    of_weights: Callable = lambda size: 1.0,
    see: Callable = causal_mask,
    join: Callable = merge_heads,
    out: Callable = lambda h, Wo: h @ Wo,
) -> Callable:
    def multi_head(x: np.ndarray, params: dict, *, heads: int) -> np.ndarray:
        _, T, width = x.shape
        size = width // heads
        q, k, v = (split_heads(x.astype(float) @ params[name], heads) for name in ("Wq", "Wk", "Wv"))
        scores = q @ k.swapaxes(-1, -2) * scale(width, heads, size, T)
        weights = softmax(np.where(see(T, T), scores, -np.inf)) * of_weights(size)
        return out(join(weights @ v), params["Wo"])

    return multi_head


MULTI_HEAD = Exercise(
    id="6.14",
    name="multi_head",
    title="Find the bug: heads that see one token only",
    minutes=15,
    difficulty=2,
    cases=_heads_cases,
    reference=_multi_head(),
    run=_run_heads,
    atol=1e-4,
    mistakes=(
        Mistake(
            "The scores are still not scaled. Their standard deviation grows with the root of a head's size, and a softmax of "
            "large numbers is all or nothing: divide by sqrt(head size).",
            _multi_head(lambda width, heads, size, T: 1.0),
        ),
        Mistake(
            "The scores were divided by the root of the *width*. The dot product runs over the features of one head: width / "
            "heads of them.",
            _multi_head(lambda width, heads, size, T: width**-0.5),
        ),
        Mistake(
            "The scores were divided by the size of a head. Divide by its square root.",
            _multi_head(lambda width, heads, size, T: 1 / size),
        ),
        Mistake(
            "The scores were divided by the width. Divide by sqrt(width / heads).", _multi_head(lambda width, *_: 1 / width)
        ),
        Mistake(
            "The scores were divided by the root of the number of heads. Take the *size* of a head: width / heads.",
            _multi_head(lambda width, heads, size, T: heads**-0.5),
        ),
        Mistake(
            "The scores were divided by the root of the number of tokens. The dot product runs over a head's features.",
            _multi_head(lambda width, heads, size, T: T**-0.5),
        ),
        Mistake("The scores were multiplied by the root. Divide.", _multi_head(lambda width, heads, size, T: size**0.5)),
        Mistake(
            "The weights were divided, after the softmax, so they add up to less than 1. Divide the scores, before it.",
            _multi_head(lambda width, heads, size, T: 1.0, of_weights=lambda size: size**-0.5),
        ),
        Mistake(
            "The scale is right, but the causal mask is gone.",
            _multi_head(see=lambda num_queries, num_keys: np.ones((num_queries, num_keys), dtype=bool)),
        ),
        Mistake(
            "The scale is right, but the last matrix, Wo, is gone.",
            _multi_head(out=lambda h, Wo: h),
        ),
        Mistake(
            "The scale is right, but the heads were joined without exchanging heads and tokens.",
            _multi_head(join=lambda h: h.reshape(h.shape[0], h.shape[2], -1)),
        ),
    ),
    hints=(
        "Add up d products of independent numbers with variance 1. What is the standard deviation of the sum?",
        "How many products does one score add up here? The head's features, width / heads.",
    ),
)


# 6.15 next_token_batch(tokens, starts, *, length) -> x (B, length), y (B, length)


def _batch_cases() -> dict:
    rng = np.random.default_rng(615)

    def case(n: int, starts: list[int], length: int) -> dict:
        return {"tokens": rng.integers(0, 90, n), "starts": np.array(starts), "length": length}

    return {
        "ten tokens": {"tokens": np.arange(10, 20), "starts": np.array([0, 3]), "length": 4},
        "starts in no order": case(40, [17, 2, 30], 5),
        "up to the last token": case(12, [7, 0], 4),
        "windows of one token": case(9, [2, 5, 0, 7], 1),
        "the same window twice": case(30, [11, 11], 6),
    }


def _run_batch(answer: Callable, tokens: Any, starts: Any, length: int) -> Any:
    return answer(tokens, starts, length=length)


def _batch(of_x: Callable, of_y: Callable, finish: Callable = lambda x, y: (x, y)) -> Callable:
    """`of_x` and `of_y` make a window from (tokens, start, length)."""

    def next_token_batch(tokens: np.ndarray, starts: np.ndarray, *, length: int) -> Any:
        return finish(*(np.stack([of(tokens, s, length) for s in starts]) for of in (of_x, of_y)))

    return next_token_batch


def _window(shift: int = 0, longer: int = 0) -> Callable:
    def window(tokens: np.ndarray, start: int, length: int) -> np.ndarray:
        places = start + shift + np.arange(length + longer)
        return tokens[places % len(tokens)]  # -1 is the last token, as in Python

    return window


def _rolled(tokens: np.ndarray, start: int, length: int) -> np.ndarray:
    return np.roll(_window()(tokens, start, length), -1)


def _repeated(tokens: np.ndarray, start: int, length: int) -> np.ndarray:
    window = _window()(tokens, start, length)
    return np.append(window[1:], window[-1:])


NEXT_TOKEN_BATCH = Exercise(
    id="6.15",
    name="next_token_batch",
    title="Find the bug: a loss too good to be true",
    minutes=10,
    difficulty=1,
    cases=_batch_cases,
    reference=_batch(_window(), _window(1)),
    run=_run_batch,
    mistakes=(
        Mistake(
            "The targets are still the inputs themselves: the model learns to copy, its loss goes to 0, and it can't write a "
            "word. The target at each place is the token *after* it.",
            _batch(_window(), _window()),
        ),
        Mistake(
            "The targets are the tokens *before* the inputs: the shift goes the wrong way, and the model learns to read "
            "backwards. Start one place later, not earlier.",
            _batch(_window(), _window(-1)),
        ),
        Mistake("The targets are two places on. One is enough: the next token.", _batch(_window(), _window(2))),
        Mistake(
            "Within each window the tokens were rolled round, so the last target is the window's first token. It is the token "
            "after the window, from the text.",
            _batch(_window(), _rolled),
        ),
        Mistake(
            "The last target is the last input again. It is the token after the window, from the text.",
            _batch(_window(), _repeated),
        ),
        Mistake(
            "The inputs are one place ahead of the targets, as if x and y were exchanged: x begins at the start, y one later.",
            _batch(_window(1), _window()),
        ),
        Mistake(
            "Inputs and targets were both shifted, so they are the same again. Only the targets move.",
            _batch(_window(1), _window(1)),
        ),
        Mistake(
            "Inputs and targets are one token short. Cut length + 1 tokens from the text, then take all but the last and all "
            "but the first.",
            _batch(_window(0, -1), _window(1, -1)),
        ),
        Mistake(
            "There is one target for each window, the token after it. A causal model predicts at every place: length targets.",
            _batch(_window(), lambda tokens, start, length: tokens[start + length]),
        ),
        Mistake("The inputs have one token too many, the targets' last one.", _batch(_window(0, 1), _window(1))),
        Mistake("The targets are missing: return x and y.", _batch(_window(), _window(1), lambda x, y: x)),
    ),
    hints=(
        "The model sees the tokens up to a place. What should it say there, and what does `y` ask for?",
        "y is cut from the text like x, but starting one place later.",
    ),
)
