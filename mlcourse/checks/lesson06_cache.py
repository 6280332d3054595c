"""Exercises of lesson 06 on the cache: one step with it, and a bug hunt in the loop that generates."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson06_attention import normals, softmax
from mlcourse.checks.values import like

# 6.10 cache_step(q, k, v, keys, values, *, position) -> output (heads, d), keys, values (heads, context, d)


def _cache_cases() -> dict:
    rng = np.random.default_rng(610)

    def case(heads: int, context: int, d: int, position: int, *, empty: float = 0.0, scale: float = 1.0) -> dict:
        """A cache with `position` tokens in it, and in the free places zeros or, with `empty`, an old text."""
        keys, values = normals(rng, heads, context, d), normals(rng, heads, context, d)
        keys[:, position:] *= empty
        values[:, position:] *= empty
        q, k, v = (normals(rng, heads, d, scale=scale) for _ in range(3))
        return {"q": q, "k": k, "v": v, "keys": keys, "values": values, "position": position}

    return {
        "two tokens in the cache": case(1, 4, 3, 2),
        "three heads": case(3, 6, 5, 3),
        "an old text behind the new one": case(2, 5, 3, 2, empty=3.0),
        "the first token": case(2, 5, 3, 0, empty=1.0),
        "the last free place": case(2, 5, 3, 4),
        "as many heads as places": case(4, 4, 3, 1, empty=1.0),
        "huge scores": case(2, 5, 3, 3, scale=60.0),
    }


def _run_step(answer: Callable, q: Any, k: Any, v: Any, keys: Any, values: Any, position: int) -> Any:
    return answer(q, k, v, keys, values, position=position)


def _put(cache: np.ndarray, new: np.ndarray, place: int) -> np.ndarray:
    cache = cache.copy()
    cache[:, place] = new
    return cache


def _cache_step(
    *,
    place: Callable = lambda position, context: position,
    seen: Callable = lambda places, position: places <= position,
    scale: Callable = lambda q: q.shape[-1] ** -0.5,
    stored: Callable = lambda k, v: (k, v),
    finish: Callable = lambda output, keys, values, given: (output, keys, values),
) -> Callable:
    """Put k and v at `place`, attend to the places that are `seen`."""

    def cache_step(
        q: np.ndarray, k: np.ndarray, v: np.ndarray, keys: np.ndarray, values: np.ndarray, *, position: int
    ) -> tuple:
        given, context = (keys, values), keys.shape[1]
        new_key, new_value = stored(k, v)
        keys = _put(keys, new_key, place(position, context)) if new_key is not None else keys
        values = _put(values, new_value, place(position, context)) if new_value is not None else values
        scores = np.einsum("hd,hcd->hc", q.astype(float), keys) * scale(q)
        weights = softmax(np.where(seen(np.arange(context), position), scores, -np.inf))
        return finish(np.einsum("hc,hcd->hd", weights, values), keys, values, given)

    return cache_step


def _grown(q: np.ndarray, k: np.ndarray, v: np.ndarray, keys: np.ndarray, values: np.ndarray, *, position: int) -> tuple:
    output = _cache_step()(q, k, v, keys, values, position=position)[0]
    grown = (np.concatenate([old[:, :position], new[:, None]], axis=1) for old, new in ((keys, k), (values, v)))
    return output, *grown


def _rolled(q: np.ndarray, k: np.ndarray, v: np.ndarray, keys: np.ndarray, values: np.ndarray, *, position: int) -> tuple:
    keys, values = (_put(np.roll(cache, -1, axis=1), new, -1) for cache, new in ((keys, k), (values, v)))
    weights = softmax(np.einsum("hd,hcd->hc", q.astype(float), keys) / q.shape[-1] ** 0.5)
    return np.einsum("hc,hcd->hd", weights, values), keys, values


CACHE_STEP = Exercise(
    id="6.10",
    name="cache_step",
    title="One token with the cache",
    minutes=20,
    difficulty=3,
    cases=_cache_cases,
    reference=_cache_step(),
    run=_run_step,
    atol=1e-5,
    mistakes=(
        Mistake(
            "The new key and value were written one place too far. Positions count from 0: with `position` tokens in the "
            "cache, the next free place is `position`.",
            _cache_step(place=lambda position, context: min(position + 1, context - 1)),
        ),
        Mistake(
            "The new key and value were written one place too early, over those of the token before. The free place is "
            "`position`.",
            _cache_step(place=lambda position, context: position - 1),
        ),
        Mistake(
            "The new key and value were written at place 0, over those of the first token.", _cache_step(place=lambda *_: 0)
        ),
        Mistake(
            "The new key and value were written at the last place. The free place is `position`.",
            _cache_step(place=lambda position, context: context - 1),
        ),
        Mistake(
            "The newest key is not among those that were seen: places <= position, the new one included.",
            _cache_step(seen=lambda places, position: places < position),
        ),
        Mistake(
            "The query saw one place too many, behind the newest token.",
            _cache_step(seen=lambda places, position: places <= position + 1),
        ),
        Mistake(
            "The query saw the free places too. They hold zeros, whose score of 0 is a score like others, or an old text. "
            "Only places <= position count.",
            _cache_step(seen=lambda places, position: places >= 0),
        ),
        Mistake("The scores are not scaled by 1 / sqrt(d).", _cache_step(scale=lambda q: 1.0)),
        Mistake("The scores were divided by d. Divide by its square root.", _cache_step(scale=lambda q: 1 / q.shape[-1])),
        Mistake(
            "The scale was taken from all heads together. Each head's dot product has d terms: q.shape[-1].",
            _cache_step(scale=lambda q: q.size**-0.5),
        ),
        Mistake("The key was stored, but not the value.", _cache_step(stored=lambda k, v: (k, None))),
        Mistake("The value was stored, but not the key.", _cache_step(stored=lambda k, v: (None, v))),
        Mistake("Keys and values are exchanged in the cache.", _cache_step(stored=lambda k, v: (v, k))),
        Mistake(
            "The caches came back as they were. The next step needs the new ones.",
            _cache_step(finish=lambda output, keys, values, given: (output, *given)),
        ),
        Mistake(
            "The new caches are missing: return the output and both.",
            _cache_step(finish=lambda output, keys, values, given: output),
        ),
        Mistake(
            "The caches have a new size. Theirs stays the same, so that one compiled program does for all steps: put the new "
            "key and value into the free place.",
            _grown,
        ),
        Mistake(
            "The caches were shifted to make room at the end. Nothing moves: put the new key and value at `position`.", _rolled
        ),
    ),
    hints=(
        "Three steps: put k and v into the free place, scores of q with *all* places, and hide the places that hold nothing "
        "yet.",
        "Which places hold something, after the new token is in? Compare `np.arange(context)` with `position`. There is only "
        "one query for each head, so the scores have the shape (heads, context).",
        '`keys = keys.at[:, position].set(k)` (PyTorch: clone first, then assign), `jnp.einsum("hd,hcd->hc", q, keys)`, '
        "-inf where `jnp.arange(context) > position`.",
    ),
)


# 6.16 decode(step, cache, prompt, *, num_new) -> the new tokens

TOKENS = 50


def play(cache: tuple, token: int, position: int) -> tuple[tuple, np.ndarray]:
    """step(cache, token, position) -> cache, logits of shape (50,)"""
    cache = (*cache, (int(token), int(position)))
    tokens, positions = np.array(cache, dtype=float).T[:, :, None]  # what it says depends on all tokens and positions
    logits = np.sin(1.7 * (tokens + 3) * (np.arange(TOKENS) + 5) + 0.9 * positions**2).sum(axis=0)
    return cache, logits.astype(np.float32)


def _decode_cases() -> dict:
    def case(prompt: list[int], num_new: int) -> dict:
        return {"step": play, "cache": (), "prompt": np.array(prompt), "num_new": num_new}

    return {
        "a prompt of three tokens": case([7, 3, 11], 4),
        "a prompt of one token": case([20], 5),
        "a long prompt": case([4, 4, 9, 31, 2, 17, 8], 6),
        "one new token": case([5, 6], 1),
        "a prompt of two tokens": case([13, 40], 8),
    }


def _run_decode(answer: Callable, step: Callable, cache: tuple, prompt: Any, num_new: int) -> Any:
    def in_the_readers_framework(cache: tuple, token: Any, position: Any) -> tuple:
        cache, logits = step(cache, token, position)
        return cache, like(prompt, logits) if not isinstance(prompt, np.ndarray) else logits

    got = answer(in_the_readers_framework, cache, prompt, num_new=num_new)
    return np.array([int(token) for token in got]) if isinstance(got, (list, tuple)) else got


def _decode(
    position_of: Callable = lambda i, length: length + i,
    *,
    read: Callable = lambda prompt: list(enumerate(prompt)),
    start: Callable = lambda prompt, token: token,
    keep: Callable = lambda new, old: new,
    finish: Callable = lambda prompt, new: new,
) -> Callable:
    """Read the prompt, then go on: new token i is put at `position_of(i, length of the prompt)`."""

    def decode(step: Callable, cache: tuple, prompt: np.ndarray, *, num_new: int) -> list[int]:
        for position, token in read(prompt):
            cache, logits = step(cache, token, position)
        new = []
        for i in range(num_new):
            new.append(int(np.argmax(logits)))
            changed, logits = step(cache, start(prompt, new[-1]) if i == 0 else new[-1], position_of(i, len(prompt)))
            cache = keep(changed, cache)
        return finish(list(prompt), new)

    return decode


DECODE = Exercise(
    id="6.16",
    name="decode",
    title="Find the bug: a text that forgets where it is",
    minutes=15,
    difficulty=2,
    cases=_decode_cases,
    reference=_decode(),
    run=_run_decode,
    mistakes=(
        Mistake(
            "The positions still begin at 0 again after the prompt. New token i follows a prompt of len(prompt) tokens: its "
            "position is len(prompt) + i.",
            _decode(lambda i, length: i),
        ),
        Mistake(
            "The new tokens stand one place too far: the positions of the prompt end at len(prompt) - 1, so the first new one "
            "has len(prompt).",
            _decode(lambda i, length: length + i + 1),
        ),
        Mistake(
            "The first new token has the position of the prompt's last one, and all others are one behind. It is "
            "len(prompt) + i.",
            _decode(lambda i, length: length + i - 1),
        ),
        Mistake("All new tokens have the position len(prompt). It must grow with each.", _decode(lambda i, length: length)),
        Mistake(
            "All new tokens have the position of the prompt's last one. It must grow with each: len(prompt) + i.",
            _decode(lambda i, length: length - 1),
        ),
        Mistake(
            "The positions begin at 1 after the prompt. They go on from it: len(prompt) + i.", _decode(lambda i, length: i + 1)
        ),
        Mistake(
            "The positions of the prompt begin at 1. They begin at 0, as in training.",
            _decode(read=lambda prompt: list(enumerate(prompt, start=1))),
        ),
        Mistake(
            "All positions begin at 1. They begin at 0, as in training.",
            _decode(lambda i, length: length + i + 1, read=lambda prompt: list(enumerate(prompt, start=1))),
        ),
        Mistake(
            "Only the last token of the prompt was read, so the cache holds no other.",
            _decode(read=lambda prompt: [(len(prompt) - 1, prompt[-1])]),
        ),
        Mistake(
            "The prompt's last token was put into the cache twice, the second time in the place of the first new token.",
            _decode(start=lambda prompt, token: prompt[-1]),
        ),
        Mistake(
            "The cache was not carried on: each new token saw the prompt only, and not the new ones before it. Keep the cache "
            "that `step` returns.",
            _decode(keep=lambda new, old: old),
        ),
        Mistake("The prompt came back too. Return the new tokens only.", _decode(finish=lambda prompt, new: [*prompt, *new])),
        Mistake("There is one new token too few.", _decode(finish=lambda prompt, new: new[:-1])),
    ),
    hints=(
        "Which positions does the model get to see in the first loop, and which in the second?",
        "The second loop has a counter of its own, from 0. The position is that counter and the length of the prompt.",
    ),
)
