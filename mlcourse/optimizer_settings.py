"""The settings of an optimizer or a schedule into nothing, or into an error that names the cure.

One rule a name, so the JAX and the PyTorch optimizers refuse the same values with the same words.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """What a number has to satisfy, and the sentences for one that does not."""

    holds: Callable[[float], bool]
    wrong: str
    cure: str


RATE = Rule(
    lambda v: 0 <= v < math.inf,
    "is not a step size: below 0 every update would climb",
    "Pass a finite number of at least 0, for example 0.01",
)
DECAY = Rule(
    lambda v: 0 <= v < math.inf,
    "is not a strength: below 0 it would blow up what it should shrink",
    "Pass a finite number of at least 0; 0 switches it off",
)
FORGETTING = Rule(
    lambda v: 0 <= v < 1,
    "is not in [0, 1): it is the part of the old value that is kept, and with 1 nothing is ever forgotten",
    "Pass for example 0.9; 0 remembers nothing",
)
POSITIVE = Rule(
    lambda v: 0 < v < math.inf,
    "is not above 0",
    "Pass a finite number above 0; for an epsilon, which keeps the division from dividing by zero, 1e-8",
)
COUNT = Rule(
    lambda v: v == int(v) and v >= 1,
    "is not a number of updates",
    "Pass a whole number of at least 1",
)
PART = Rule(
    lambda v: v == int(v) and v >= 0,
    "is not a number of updates",
    "Pass a whole number of at least 0; 0 leaves that part out",
)

RULES = (
    dict.fromkeys(("learning_rate", "lr", "peak", "start", "end"), RATE)
    | dict.fromkeys(("weight_decay", "initial"), DECAY)
    | dict.fromkeys(("beta", "beta1", "beta2", "momentum", "alpha"), FORGETTING)
    | dict.fromkeys(("epsilon", "eps", "max_norm", "limit"), POSITIVE)
    | {"num_steps": COUNT, "length": COUNT, "warmup": PART, "cooldown": PART}
)


def check(**settings: Any) -> None:
    """Returns if every setting keeps the rule of its name.

    What `jit` or `vmap` traces has no value yet and is not looked at. Nor are functions, which are schedules.

    Raises:
        ValueError: the first setting that is out of its range, with its value, the reason and the cure.
        TypeError: a setting that is no number, array or function.

    >>> check(learning_rate=0.1, beta=0.9)
    >>> check(beta=1.0)
    Traceback (most recent call last):
    ValueError: beta=1.0 is not in [0, 1): it is the part of the old value that is kept, ...

    Built in lesson 02.
    """
    for name, value in settings.items():
        if RULES[name] is RATE and callable(value):
            continue
        if hasattr(value, "item"):  # NumPy, JAX or PyTorch
            try:
                value = value.item()
            except TypeError:  # traced
                continue
        if not isinstance(value, int | float):
            raise TypeError(f"{name}={value!r} is a {type(value).__name__}; pass a number.")
        holds, wrong, cure = RULES[name]
        if math.isnan(value) or not holds(value):
            raise ValueError(f"{name}={value!r} {wrong}. {cure}.")
