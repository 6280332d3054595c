"""Exercises of lesson 06 on heads: the features of a token cut into heads, and put together again."""

from collections.abc import Callable

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 6.3 split_heads(x, heads): (B, T, width) -> (B, heads, T, width / heads)


def _split_cases() -> dict:
    rng = np.random.default_rng(63)

    def case(B: int, T: int, width: int, heads: int) -> dict:
        return {"x": rng.normal(size=(B, T, width)).astype(np.float32), "heads": heads}

    wide = rng.normal(size=(2, 3, 24)).astype(np.float32)
    return {
        "three tokens of four features, two heads": {"x": np.arange(12, dtype=np.float32).reshape(1, 3, 4), "heads": 2},
        "a batch of two, heads of three features": case(2, 3, 6, 2),
        "as many tokens as heads": case(2, 4, 12, 4),
        "as many tokens as features of a head": case(2, 5, 15, 3),
        "one head": case(2, 3, 4, 1),
        "heads of one feature": case(3, 2, 4, 4),
        "every second feature of a wider array": {"x": wide[:, :, ::2], "heads": 3},
    }


def _split(cut: Callable, *axes: int) -> Callable:
    """x cut into five axes or fewer by `cut(x, B, T, heads, size)`, which are then put in this order."""

    def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
        B, T, width = x.shape
        parts = cut(x, B, T, heads, width // heads)
        return parts.transpose(axes) if axes else parts

    return split_heads


def _in_blocks(x: np.ndarray, B: int, T: int, heads: int, size: int) -> np.ndarray:
    return x.reshape(B, T, heads, size)


def _in_turns(x: np.ndarray, B: int, T: int, heads: int, size: int) -> np.ndarray:
    return x.reshape(B, T, size, heads)


split_heads = _split(_in_blocks, 0, 2, 1, 3)

SPLIT_HEADS = Exercise(
    id="6.3",
    name="split_heads",
    title="One token, several heads",
    minutes=10,
    difficulty=1,
    cases=_split_cases,
    reference=split_heads,
    mistakes=(
        Mistake(
            "The features were dealt out in turns, one to each head. A head takes neighbours: the first width / heads "
            "features, the next, and so on. In einops the head comes first in the bracket: `(h d)`.",
            _split(_in_turns, 0, 3, 1, 2),
        ),
        Mistake(
            "The array was reshaped straight to the new shape, which mixes tokens: a head has features of several of them. "
            "Cut the features first, (B, T, heads, size), and then exchange two axes.",
            _split(lambda x, B, T, heads, size: x.reshape(B, heads, T, size)),
        ),
        Mistake(
            "The axes are (B, T, heads, size): the features are cut, but heads and tokens not exchanged. Attention works on "
            "the last two axes, so these must be tokens and features.",
            _split(_in_blocks),
        ),
        Mistake(
            "`heads` was taken for the size of a head. It is how many there are; each has width / heads features.",
            _split(_in_turns, 0, 2, 1, 3),
        ),
        Mistake(
            "The axes are (B, heads, size, T): the last two are exchanged. That is how keys enter the product, but it is "
            "not the split.",
            _split(_in_blocks, 0, 2, 3, 1),
        ),
        Mistake("The heads came first, before the batch. The order is (B, heads, T, size).", _split(_in_blocks, 2, 0, 1, 3)),
        Mistake(
            "Heads and batch were laid together on one axis. Keep four axes: (B, heads, T, size).",
            lambda x, heads: split_heads(x, heads).reshape(-1, x.shape[1], x.shape[2] // heads),
        ),
        Mistake(
            "The tokens were cut into heads. Each head sees all tokens; it is the features that are shared out.",
            _split(lambda x, B, T, heads, size: x.swapaxes(1, 2).reshape(B, heads, T, size)),
        ),
    ),
    hints=(
        "Name the axes: b for the batch, t for the tokens, h for the heads, d for a head's features. On the left the last "
        "axis is made of two of them.",
        "In `(h d)` the letter on the left runs slowly: (h d) is head 0 with all its features, then head 1.",
        '`rearrange(x, "b t (h d) -> b h t d", h=heads)`.',
    ),
)


# 6.4 merge_heads(x): (B, heads, T, size) -> (B, T, heads * size)


def _merge_cases() -> dict:
    rng = np.random.default_rng(64)

    def case(*shape: int) -> dict:
        return {"x": rng.normal(size=shape).astype(np.float32)}

    return {
        "two heads, three tokens, two features each": {"x": np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)},
        "a batch of two": case(2, 3, 4, 2),
        "as many tokens as heads": case(2, 3, 3, 4),
        "one head": case(2, 1, 3, 4),
        "heads of one feature": case(3, 4, 2, 1),
        "every second token of a longer text": {"x": case(2, 3, 8, 5)["x"][:, :, ::2]},
    }


def _merge(shape: Callable, *axes: int) -> Callable:
    """The axes put in this order, and the result brought to `shape(B, heads, T, size)`."""

    def merge_heads(x: np.ndarray) -> np.ndarray:
        return x.transpose(axes).reshape(shape(*x.shape))

    return merge_heads


def _joined(B: int, heads: int, T: int, size: int) -> tuple[int, ...]:
    return B, T, heads * size


merge_heads = _merge(_joined, 0, 2, 1, 3)

MERGE_HEADS = Exercise(
    id="6.4",
    name="merge_heads",
    title="The heads side by side again",
    minutes=5,
    difficulty=1,
    cases=_merge_cases,
    reference=merge_heads,
    mistakes=(
        Mistake(
            "The array was reshaped without exchanging heads and tokens first, so one token gets features of others: the "
            "future leaks in, past every mask. First (B, T, heads, size), then join the last two axes.",
            _merge(_joined, 0, 1, 2, 3),
        ),
        Mistake(
            "The heads' features are interleaved: feature 0 of all heads, then feature 1. Put head beside head, `(h d)`, as "
            "the split cut them.",
            _merge(_joined, 0, 2, 3, 1),
        ),
        Mistake(
            "The axes are (B, T, heads, size): heads and tokens are exchanged, but the heads not joined yet.",
            _merge(lambda B, heads, T, size: (B, T, heads, size), 0, 2, 1, 3),
        ),
        Mistake(
            "The heads were averaged. They found different things; put them side by side, and let the next matrix mix them.",
            lambda x: x.mean(axis=1),
        ),
        Mistake("The heads were added up. Put them side by side: heads * size features.", lambda x: x.sum(axis=1)),
        Mistake(
            "The heads were joined along the tokens, one text after the other. Each token keeps one row, with the features "
            "of all heads.",
            _merge(lambda B, heads, T, size: (B, heads * T, size), 0, 1, 2, 3),
        ),
        Mistake(
            "The tokens came first, before the batch. The order is (B, T, width).", lambda x: merge_heads(x).swapaxes(0, 1)
        ),
        Mistake("Only the first head came back.", lambda x: x[:, 0]),
        Mistake("The result is (B, width, T): tokens and features are exchanged.", lambda x: merge_heads(x).swapaxes(1, 2)),
    ),
    hints=(
        "It is exercise 6.3 run backwards; with einops the two sides of the arrow change places.",
        "`(h d)` on the right joins two axes, and the head must run slowly, as it did in the split.",
        '`rearrange(x, "b h t d -> b t (h d)")`. In NumPy: exchange axes 1 and 2, then reshape.',
    ),
)
