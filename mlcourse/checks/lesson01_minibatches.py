"""Exercises of lesson 01 that shuffle: minibatches and epochs. Their checks ask for properties."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property, listed
from mlcourse.checks.randomness import GLOBAL_GENERATOR, repeats, seed_matters

# 1.2 minibatches(x, y, *, batch_size, seed, last) yields (x, y) for one epoch


def _numbered(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """n examples that are all different; the first feature and the label both tell which example it is."""
    x = np.arange(n * d, dtype=np.float32).reshape(n, d) * d
    return x, np.arange(n, dtype=np.int32) + 100


def _which(x: np.ndarray) -> list[int]:
    """The numbers of these examples."""
    return [int(round(float(row[0]) / len(row) ** 2)) for row in x]


def _minibatch_cases() -> dict:
    x, y = _numbered(23, 3)
    even_x, even_y = _numbered(24, 2)
    doubled_x, doubled_y = np.repeat(x, 2, axis=1), np.repeat(y, 2)
    return {
        "23 examples in batches of 5, the last of 3 kept": {"x": x, "y": y, "batch_size": 5, "seed": 0, "last": "keep"},
        "23 examples in batches of 5, the last of 3 dropped": {
            "x": x,
            "y": y,
            "batch_size": 5,
            "seed": 1,
            "last": "drop",
        },
        "24 examples in batches of 8, none left over": {
            "x": even_x,
            "y": even_y,
            "batch_size": 8,
            "seed": 2,
            "last": "keep",
        },
        "24 examples in batches of 8, nothing to drop": {
            "x": even_x,
            "y": even_y,
            "batch_size": 8,
            "seed": 3,
            "last": "drop",
        },
        "every second entry of larger arrays": {
            "x": doubled_x[:, ::2],
            "y": doubled_y[::2],
            "batch_size": 5,
            "seed": 4,
            "last": "keep",
        },
    }


def _run_minibatches(answer: Callable, x: Any, y: Any, batch_size: int, seed: int, last: str) -> Any:
    return listed(answer(x, y, batch_size=batch_size, seed=seed, last=last))


def _minibatches(x: np.ndarray, y: np.ndarray, *, batch_size: int, seed: int, last: str) -> Iterator:
    order = np.random.default_rng(seed).permutation(len(x))
    end = len(x) if last == "keep" else len(x) - len(x) % batch_size
    for start in range(0, end, batch_size):
        rows = order[start : min(start + batch_size, end)]
        yield x[rows], y[rows]


def _order(batches: list) -> list[int]:
    return [number for x, _ in batches for number in _which(x)]


def _labels_belong(run: Callable, **case: Any) -> bool:
    return all(_which(x) == [int(label) - 100 for label in y] for x, y in run(**case))


def _at_most_once(run: Callable, **case: Any) -> bool:
    order = _order(run(**case))
    return len(set(order)) == len(order)


def _is_shuffled(run: Callable, **case: Any) -> bool:
    order = _order(run(**case))
    return order != sorted(order)


def _batches_are_mixed(run: Callable, **case: Any) -> bool:
    neighbours = [b - a == 1 for x, _ in run(**case) for a, b in pairwise(_which(x))]
    return not all(neighbours)


def _last_is_random(run: Callable, **case: Any) -> bool:
    """With `drop`, not always the same examples are left out."""
    seen = [frozenset(_order(run(**{**case, "seed": seed}))) for seed in range(4)]
    return case["last"] == "keep" or len(case["x"]) % case["batch_size"] == 0 or len(set(seen)) > 1


_SHUFFLE_RULES = (
    Property(
        "The labels do not belong to their examples any more: x and y were shuffled apart. Draw one order and "
        "index both with it: `x[order], y[order]`.",
        _labels_belong,
    ),
    Property(
        "Some examples come twice and others never: this samples with replacement. Take a permutation of all the "
        "numbers from 0 to n-1, so that every example comes once an epoch.",
        _at_most_once,
    ),
    Property(
        "The examples come in the order of the data: nothing was shuffled. Draw `order = rng.permutation(len(x))` "
        "and take the rows `order[start:stop]`, not `start:stop`.",
        _is_shuffled,
    ),
    Property(
        "The batches were shuffled, but not the examples: each batch holds neighbours. Shuffle the examples first, "
        "and cut into batches afterwards.",
        _batches_are_mixed,
    ),
    Property(
        "Two calls with the same seed give different orders. Make the generator from the seed: "
        "`rng = np.random.default_rng(seed)`.",
        repeats,
    ),
    Property(
        "Another seed gives the same order, so `seed` is not used. Make the generator from it: "
        "`rng = np.random.default_rng(seed)`.",
        seed_matters,
    ),
    GLOBAL_GENERATOR,
)


def _other_last(flip: dict[str, str]) -> Callable:
    return lambda x, y, *, batch_size, seed, last: _minibatches(x, y, batch_size=batch_size, seed=seed, last=flip[last])


def _one_batch_too_few(x: np.ndarray, y: np.ndarray, *, batch_size: int, seed: int, last: str) -> list:
    return [
        (x[start : start + batch_size], y[start : start + batch_size]) for start in range(0, len(x) - batch_size, batch_size)
    ]


MINIBATCHES = Exercise(
    id="1.2",
    name="minibatches",
    title="Minibatches: everyone once an epoch",
    minutes=15,
    difficulty=2,
    cases=_minibatch_cases,
    reference=_minibatches,
    run=_run_minibatches,
    compare="shapes",
    mistakes=(
        Mistake(
            'The last, smaller batch is always dropped. With `last="keep"` it must come too, or some examples are never seen.',
            _other_last({"keep": "drop", "drop": "drop"}),
        ),
        Mistake(
            'The last, smaller batch is always kept. With `last="drop"` leave it out, so that all batches have the same shape.',
            _other_last({"keep": "keep", "drop": "keep"}),
        ),
        Mistake(
            '"keep" and "drop" are exchanged: "keep" yields the last, smaller batch.',
            _other_last({"keep": "drop", "drop": "keep"}),
        ),
        Mistake(
            "One full batch is missing at the end: `range(0, n - batch_size, batch_size)` stops too early when n "
            "divides evenly. The last start that still fits is n - batch_size itself.",
            _one_batch_too_few,
        ),
        Mistake(
            "It never ends: for one epoch, yield every example once and stop (no `while True`).",
            lambda x, y, *, batch_size, seed, last: ((x[:batch_size], y[:batch_size]) for _ in iter(int, 1)),
        ),
        Mistake(
            "The last batch was filled up with examples that had been used already. Let it be smaller.",
            lambda x, y, *, batch_size, seed, last: [(x[:batch_size], y[:batch_size]) for _ in range(-(-len(x) // batch_size))],
        ),
        Mistake(
            "Only the first batch comes. `return` inside the loop ends it; use `yield`.",
            lambda x, y, *, batch_size, seed, last: (x[:batch_size], y[:batch_size]),
        ),
        Mistake(
            "Only the first batch comes: the loop ends after one turn. `yield` inside the loop, once for each batch.",
            lambda x, y, *, batch_size, seed, last: [(x[:batch_size], y[:batch_size])],
        ),
        Mistake(
            "Every batch holds one example. Step through the order by `batch_size` and take a slice of that length.",
            lambda x, y, *, batch_size, seed, last: [(x[i : i + 1], y[i : i + 1]) for i in range(len(x))],
        ),
    ),
    properties=(
        *_SHUFFLE_RULES,
        Property(
            'With `last="drop"` the same examples are left out whatever the seed. Shuffle all examples first and cut '
            "the rest off afterwards.",
            _last_is_random,
        ),
    ),
    hints=(
        "Shuffle numbers, not data: `order = np.random.default_rng(seed).permutation(len(x))`, then take rows of x "
        "and y with pieces of it.",
        "`range(0, n, batch_size)` gives every start. A slice that reaches over the end is shortened by Python: "
        "that is the partial batch.",
        'For `last="drop"`, stop at `n - n % batch_size`, the largest multiple of the batch size.',
    ),
)


# 1.7 epochs(x, y, *, batch_size, num_epochs, seed) yields (x, y), in a new order every epoch


def _epoch_cases() -> dict:
    x, y = _numbered(24, 2)
    odd_x, odd_y = _numbered(19, 3)
    return {
        "24 examples, batches of 6, 3 epochs": {"x": x, "y": y, "batch_size": 6, "num_epochs": 3, "seed": 0},
        "19 examples, batches of 8, 2 epochs": {"x": odd_x, "y": odd_y, "batch_size": 8, "num_epochs": 2, "seed": 5},
        "one epoch": {"x": x, "y": y, "batch_size": 10, "num_epochs": 1, "seed": 2},
    }


def _run_epochs(answer: Callable, x: Any, y: Any, batch_size: int, num_epochs: int, seed: int) -> Any:
    return listed(answer(x, y, batch_size=batch_size, num_epochs=num_epochs, seed=seed))


def _epochs(x: np.ndarray, y: np.ndarray, *, batch_size: int, num_epochs: int, seed: int) -> Iterator:
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            yield x[rows], y[rows]


def _by_epoch(run: Callable, **case: Any) -> list[list[int]]:
    order, n = _order(run(**case)), len(case["x"])
    return [order[start : start + n] for start in range(0, len(order), n)]


def _everyone_each_epoch(run: Callable, **case: Any) -> bool:
    return all(sorted(epoch) == list(range(len(case["x"]))) for epoch in _by_epoch(run, **case))


def _no_epoch_in_order(run: Callable, **case: Any) -> bool:
    return not any(epoch == sorted(epoch) for epoch in _by_epoch(run, **case))


def _epochs_differ(run: Callable, **case: Any) -> bool:
    orders = _by_epoch(run, **case)
    return len(set(map(tuple, orders))) == len(orders)


def _seeds_do_not_overlap(run: Callable, **case: Any) -> bool:
    """The second epoch of one seed is not the first of the next one."""
    first, following = _by_epoch(run, **case), _by_epoch(run, **{**case, "seed": case["seed"] + 1})
    return case["num_epochs"] == 1 or first[1] != following[0]


EPOCHS = Exercise(
    id="1.7",
    name="epochs",
    title="Find the bug: always the same order",
    minutes=10,
    difficulty=2,
    cases=_epoch_cases,
    reference=_epochs,
    run=_run_epochs,
    compare="shapes",
    mistakes=(
        Mistake(
            "There is only one epoch. Repeat the inner loop `num_epochs` times.",
            lambda x, y, *, batch_size, num_epochs, seed: _epochs(x, y, batch_size=batch_size, num_epochs=1, seed=seed),
        ),
        Mistake(
            "The last, smaller batch of an epoch is missing, so some examples are not seen in that epoch.",
            lambda x, y, *, batch_size, num_epochs, seed: _epochs(
                x[: len(x) // batch_size * batch_size],
                y[: len(x) // batch_size * batch_size],
                batch_size=batch_size,
                num_epochs=num_epochs,
                seed=seed,
            ),
        ),
        Mistake(
            "The epochs run into one another: a batch reaches over the end of an epoch. Cut each epoch into batches by itself.",
            lambda x, y, *, batch_size, num_epochs, seed: _epochs(
                np.tile(x, (num_epochs, 1)), np.tile(y, num_epochs), batch_size=batch_size, num_epochs=1, seed=seed
            ),
        ),
    ),
    properties=(
        _SHUFFLE_RULES[0],
        Property(
            "Within one epoch some examples come twice and others never: this samples with replacement. Draw a "
            "permutation for each epoch.",
            _everyone_each_epoch,
        ),
        Property(
            "The examples still come in the order of the data: `order` is drawn, but not used. Take `x[order[start:stop]]`.",
            _no_epoch_in_order,
        ),
        _SHUFFLE_RULES[3],
        Property(
            "Every epoch has the same order. One generator for the whole run, made before the loop, and one new "
            "permutation in each epoch.",
            _epochs_differ,
        ),
        *_SHUFFLE_RULES[4:],
        Property(
            "Epoch 1 of one seed is epoch 0 of the next seed, so runs with neighbouring seeds see the same orders "
            "and are not independent. Make one generator from `seed` before the loop, instead of one from `seed + "
            "epoch`.",
            _seeds_do_not_overlap,
        ),
    ),
    hints=(
        "Print the first batch of every epoch. What should be different, and is not?",
        "Follow the variable `order`: where is it made, and where is it used?",
    ),
)
