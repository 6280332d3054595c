"""An exercise of lesson 06: one step of byte-pair encoding, the most frequent pair made into a token."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 6.7 merge_step(tokens, new_token) -> pair, tokens. Sennrich, Haddow and Birch 2016, algorithm 1; ties to the first.


def _merge_cases() -> dict:
    rng = np.random.default_rng(67)
    return {
        "one pair stands out": {"tokens": [1, 2, 3, 1, 2, 4, 1, 2], "new_token": 5},
        "three in a row": {"tokens": [1, 1, 1, 2, 1, 1, 1, 1, 2], "new_token": 9},
        "two pairs equally often": {"tokens": [3, 4, 1, 2, 0, 1, 2, 3, 4, 0], "new_token": 7},
        "two pairs equally often, the smaller one first": {"tokens": [1, 2, 3, 4, 0, 3, 4, 1, 2, 0], "new_token": 7},
        "the pair and its mirror image": {"tokens": [2, 1, 5, 1, 2, 6, 1, 2, 7, 2, 1, 8, 1, 2, 2], "new_token": 10},
        "four in a row": {"tokens": [2, 3, 0, 2, 3, 5, 1, 1, 1, 1], "new_token": 8},
        "at an odd place": {"tokens": [0, 8, 9, 5, 6, 8, 9], "new_token": 11},
        "a single pair": {"tokens": [4, 3], "new_token": 6},
        "sixty tokens of three kinds": {"tokens": rng.integers(0, 3, 60).tolist(), "new_token": 3},
    }


def _run_merge(answer: Callable, tokens: list, new_token: int) -> Any:
    """Pair and tokens as arrays; lists, tuples and arrays are all the same to the exercise."""
    got = answer(tokens, new_token)
    return tuple(np.asarray(part) for part in got) if isinstance(got, (tuple, list)) and len(got) == 2 else got


def _pairs(tokens: list) -> list[tuple]:
    return list(zip(tokens[:-1], tokens[1:], strict=True))


def _most_frequent(tokens: list) -> tuple:
    return Counter(_pairs(tokens)).most_common(1)[0][0]  # the first of those that tie


def _replaced(tokens: list, pair: tuple, new: int, *, skip: int = 2, at_most: int = 10**6, is_pair: Callable = tuple) -> list:
    """From left to right; `skip` tokens are passed after a merge, `is_pair` brings two neighbours to the form of `pair`."""
    out, i = [], 0
    while i < len(tokens):
        if is_pair(tokens[i : i + 2]) == pair and at_most > 0:
            out.append(new)
            i, at_most = i + skip, at_most - 1
        else:
            out.append(tokens[i])
            i += 1
    return out


def _step(choose: Callable = _most_frequent, replace: Callable = _replaced) -> Callable:
    def merge_step(tokens: list, new_token: int) -> tuple:
        pair = choose(tokens)
        return pair, replace(tokens, pair, new_token)

    return merge_step


def _from_the_right(tokens: list, pair: tuple, new: int) -> list:
    return _replaced(tokens[::-1], pair[::-1], new)[::-1]


def _without_the_last(tokens: list, pair: tuple, new: int) -> list:
    """A loop over range(len(tokens) - 1): a last token that is not merged falls out."""
    out = _replaced(tokens, pair, new)
    return out if tuple(tokens[-2:]) == pair and len(out) > 0 and out[-1] == new else out[:-1]


def _last_of_a_tie(tokens: list) -> tuple:
    counts = Counter(_pairs(tokens))
    return [pair for pair in counts if counts[pair] == max(counts.values())][-1]


def _by_number(pick: Callable) -> Callable:
    def choose(tokens: list) -> tuple:
        counts = Counter(_pairs(tokens))
        return pick(pair for pair in counts if counts[pair] == max(counts.values()))

    return choose


def _counted_apart(tokens: list) -> tuple:
    """Occurrences that share a token count once."""
    counts, last = Counter(), {}
    for i, pair in enumerate(_pairs(tokens)):
        if last.get(pair, -2) < i - 1:
            counts[pair] += 1
            last[pair] = i
    return counts.most_common(1)[0][0]


def _either_order(tokens: list) -> tuple:
    return Counter(tuple(sorted(pair)) for pair in _pairs(tokens)).most_common(1)[0][0]


def _either_order_replaced(tokens: list, pair: tuple, new: int) -> list:
    return _replaced(tokens, pair, new, is_pair=lambda two: tuple(sorted(two)))


def _two_commonest(tokens: list) -> tuple:
    (one, _), (two, _) = (Counter(tokens).most_common(2) * 2)[:2]
    return one, two


MERGE_STEP = Exercise(
    id="6.7",
    name="merge_step",
    title="One merge of byte-pair encoding",
    minutes=15,
    difficulty=2,
    cases=_merge_cases,
    reference=_step(),
    run=_run_merge,
    mistakes=(
        Mistake(
            "The second token of the pair stayed behind the new one. A merge takes two tokens away: go on two places further.",
            _step(replace=lambda tokens, pair, new: _replaced(tokens, pair, new, skip=1)),
        ),
        Mistake(
            "The pairs were merged from right to left, which matters in 1 1 1. Go from left to right.",
            _step(replace=_from_the_right),
        ),
        Mistake(
            "Only the first occurrence was merged. Merge all of them.",
            _step(replace=lambda tokens, pair, new: _replaced(tokens, pair, new, at_most=1)),
        ),
        Mistake(
            "The last token fell out: a loop over pairs ends one token early. What belongs to no pair is kept.",
            _step(replace=_without_the_last),
        ),
        Mistake(
            "Of two pairs that are equally often, the later one was taken. Take the one that occurs first. (With `>` instead "
            "of `>=` the first one stays.)",
            _step(_last_of_a_tie),
        ),
        Mistake(
            "Of two pairs that are equally often, the one with the larger numbers was taken. Take the one that occurs first.",
            _step(_by_number(max)),
        ),
        Mistake(
            "Of two pairs that are equally often, the one with the smaller numbers was taken. Take the one that occurs first.",
            _step(_by_number(min)),
        ),
        Mistake(
            "Occurrences that overlap were counted once. For the count, every two neighbours are a pair: 1 1 1 holds (1, 1) "
            "twice.",
            _step(_counted_apart),
        ),
        Mistake(
            "(1, 2) and (2, 1) were taken for the same pair. The order counts: a token stands for one string.",
            _step(_either_order, _either_order_replaced),
        ),
        Mistake(
            "Only pairs that begin at an even place were counted. Every two neighbours are a pair: "
            "`zip(tokens[:-1], tokens[1:])`.",
            _step(lambda tokens: Counter(zip(tokens[::2], tokens[1::2], strict=False)).most_common(1)[0][0]),
        ),
        Mistake(
            "The two most frequent tokens were taken. They need not stand side by side: count pairs.", _step(_two_commonest)
        ),
        Mistake(
            "The pair that is least frequent was taken.",
            _step(lambda tokens: min(Counter(_pairs(tokens)).items(), key=lambda item: item[1])[0]),
        ),
        Mistake("The tokens came back as they were: the pair was found, but not merged.", _step(replace=lambda t, *_: t)),
        Mistake(
            "The pair is missing: return the pair and the new list.", lambda tokens, new_token: _step()(tokens, new_token)[1]
        ),
        Mistake(
            "Pair and list are exchanged: first the pair, then the new list.",
            lambda tokens, new_token: _step()(tokens, new_token)[::-1],
        ),
    ),
    hints=(
        "Two parts: count all pairs of neighbours and take the most frequent; then walk through the list and replace.",
        "`collections.Counter` counts; its `most_common(1)` gives the first of those that tie. For the second part take a "
        "`while` loop: after a merge i grows by 2, otherwise by 1.",
        "`pair = Counter(zip(tokens[:-1], tokens[1:])).most_common(1)[0][0]`; in the loop compare `tuple(tokens[i : i + 2])` "
        "with it.",
    ),
)
