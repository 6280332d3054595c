"""Named parameters -> points of the unit cube that a search works in, and back.

A space is a dict `name: parameter`. Every parameter becomes one column of a point u in [0, 1]^d, a categorical one column a
choice. A column of whole numbers takes the middles of equal cells, so each number has the same share of the cube.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from mlcourse.errors import unknown_name

Params = dict[str, Any]


class Real(NamedTuple):
    """A number between `low` and `high`. `when=(name, choice)`: it exists only if that categorical has that choice."""

    low: float
    high: float
    when: tuple[str, Any] | None = None


class LogReal(NamedTuple):
    """A positive number whose logarithm is searched evenly: a learning rate, a weight decay."""

    low: float
    high: float
    when: tuple[str, Any] | None = None


class Integer(NamedTuple):
    """A whole number, both ends included."""

    low: int
    high: int
    when: tuple[str, Any] | None = None


class Categorical(NamedTuple):
    """One of `choices`, which have no order. JSON keeps strings, numbers, booleans and None."""

    choices: tuple
    when: tuple[str, Any] | None = None


Space = dict[str, Real | LogReal | Integer | Categorical]


class Block(NamedTuple):
    """The columns of one parameter. `levels`: how many values it takes, 0 for a continuous one; hashable, for jit."""

    start: int
    stop: int
    levels: int
    one_hot: bool
    parent: int | None = None  # the column that must be 1 for the parameter to exist


def check_space(space: Space) -> None:
    """Raises ValueError or TypeError, with the cure, for a space that can't be searched.

    >>> check_space({"rate": LogReal(0.0, 1.0)})
    Traceback (most recent call last):
    ValueError: 'rate': LogReal(low=0.0, high=1.0) has no logarithm at 0.0. Take a low above 0, for example 0.001.
    """
    if not space:
        raise ValueError("the space has no parameters. Pass a dict such as {'rate': LogReal(1e-4, 1.0)}.")
    before: list[str] = []
    for name, p in space.items():
        if not isinstance(p, Real | LogReal | Integer | Categorical):
            raise TypeError(
                f"{name!r} is {p!r}, which is no parameter. Use Real, LogReal, Integer or Categorical, such as Real(0, 1)."
            )
        shown = type(p).__name__ + "(" + ", ".join(f"{k}={v!r}" for k, v in p._asdict().items() if k != "when") + ")"
        if isinstance(p, Categorical):
            _check_choices(name, p, shown)
        else:
            _check_range(name, p, shown)
        if p.when is not None:
            parent, choice = p.when
            if parent not in before or not isinstance(space[parent], Categorical):
                raise ValueError(f"{name!r} exists when {parent!r} is {choice!r}, and no Categorical {parent!r} comes first."
                                 f" Put one into the space, ahead of {name!r}.")  # fmt: skip
            if choice not in space[parent].choices:
                raise ValueError(f"{name!r} exists when {parent!r} is {choice!r}, which is none of its choices "
                                 f"{space[parent].choices!r}. Name one of them.")  # fmt: skip
        before.append(name)


def _check_choices(name: str, p: Categorical, shown: str) -> None:
    if isinstance(p.choices, str) or len(p.choices) < 1 or len(set(p.choices)) < len(p.choices):
        raise ValueError(f"{name!r}: {shown} needs a tuple of different choices, such as Categorical(('adam', 'sgd')).")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def _check_range(name: str, p: Real | LogReal | Integer, shown: str) -> None:
    numbers = (p.low, p.high)
    if not all(map(_is_finite, numbers)):
        raise ValueError(f"{name!r}: {shown} needs two finite numbers. Take a wide range instead of an endless one.")
    if isinstance(p, Integer) and not all(v == int(v) for v in numbers):
        raise ValueError(f"{name!r}: {shown} needs whole numbers. Use Real for the numbers between.")
    if p.low > p.high or (p.low == p.high and not isinstance(p, Integer)):
        raise ValueError(f"{name!r}: {shown} has low={p.low!r} not below high={p.high!r}. "
                         f"{'Swap them.' if p.low > p.high else 'Leave a constant out of the space.'}")  # fmt: skip
    if isinstance(p, LogReal) and p.low <= 0:
        raise ValueError(f"{name!r}: {shown} has no logarithm at {p.low!r}. Take a low above 0, for example {p.high / 1000:g}.")


def blocks(space: Space) -> tuple[Block, ...]:
    """Which columns hold which parameter, in the order of the space."""
    made: dict[str, Block] = {}
    for name, p in space.items():
        start = max((b.stop for b in made.values()), default=0)
        one_hot = isinstance(p, Categorical)
        levels = len(p.choices) if one_hot else int(p.high) - int(p.low) + 1 if isinstance(p, Integer) else 0
        parent = None if p.when is None else made[p.when[0]].start + list(space[p.when[0]].choices).index(p.when[1])
        made[name] = Block(start, start + (levels if one_hot else 1), levels, one_hot, parent)
    return tuple(made.values())


def snap(u, columns: tuple[Block, ...], np=np):
    """The nearest points (m, d) that stand for parameters: whole numbers, one choice each, 0.5 where nothing exists.

    `np` is NumPy or jax.numpy: the model snaps its candidates inside compiled code.
    """
    parts: list = []
    for b in columns:
        part = u[:, b.start : b.stop]
        if b.one_hot:
            part = (np.arange(b.levels) == np.argmax(part, axis=1)[:, None]) * 1.0
        elif b.levels:
            part = (np.clip(np.floor(part * b.levels), 0, b.levels - 1) + 0.5) / b.levels
        if b.parent is not None:
            exists = np.concatenate(parts, axis=1)[:, b.parent] == 1
            part = np.where(exists[:, None], part, 0.5)
        parts.append(part)
    return np.concatenate(parts, axis=1)


def decode(u: np.ndarray, space: Space) -> Params:
    """The parameters at the point u (d,).

    >>> decode(np.array([0.5, 0.99, 0.2, 0.7]), {"x": Real(-1, 1), "n": Integer(1, 3), "f": Categorical(("relu", "gelu"))})
    {'x': 0.0, 'n': 3, 'f': 'gelu'}
    """
    columns, params = blocks(space), {}
    u = snap(np.asarray(u, dtype=float)[None], columns)[0]
    for (name, p), b in zip(space.items(), columns, strict=True):
        if b.parent is not None and u[b.parent] != 1:
            continue
        t = float(u[b.start])
        if isinstance(p, Categorical):
            params[name] = p.choices[int(np.argmax(u[b.start : b.stop]))]
        elif isinstance(p, Integer):
            params[name] = int(p.low) + int(t * b.levels)
        elif isinstance(p, LogReal):
            params[name] = float(p.high) if t == 1 else p.low * (p.high / p.low) ** t
        else:
            params[name] = min(max(p.low * (1 - t) + p.high * t, float(p.low)), float(p.high))
    return params


def encode(params: Params, space: Space) -> np.ndarray:
    """The point u (d,) that stands for `params`, the inverse of `decode`. See `check_params` for what it takes."""
    columns = blocks(space)
    u = np.full(columns[-1].stop, 0.5)
    for (name, p), b in zip(space.items(), columns, strict=True):
        if name not in params:
            continue
        if isinstance(p, Categorical):
            u[b.start : b.stop] = np.arange(b.levels) == p.choices.index(params[name])
        elif isinstance(p, Integer):
            u[b.start] = (params[name] - p.low + 0.5) / b.levels
        elif isinstance(p, LogReal):
            u[b.start] = math.log(params[name] / p.low) / math.log(p.high / p.low)
        else:
            u[b.start] = (params[name] - p.low) / (p.high - p.low)
    return u


def check_params(params: Params, space: Space) -> None:
    """Raises ValueError, with the cure, if `params` are no point of the space.

    >>> check_params({"rat": 0.1}, {"rate": LogReal(1e-4, 1.0)})
    Traceback (most recent call last):
    ValueError: unknown parameter 'rat'. Did you mean 'rate'? Known: 'rate'.
    """
    for name in params:
        if name not in space:
            raise ValueError(unknown_name("parameter", name, space))
    for name, p in space.items():
        exists = p.when is None or params.get(p.when[0]) == p.when[1]
        if exists != (name in params):
            raise ValueError(
                f"{name!r} is missing from {params!r}. Tell every parameter that was asked."
                if exists
                else f"{name!r} exists only when {p.when[0]!r} is {p.when[1]!r}: leave it out of {params!r}."
            )
        if not exists:
            continue
        value = params[name]
        if isinstance(p, Categorical):
            if value not in p.choices:
                raise ValueError(f"{name!r} is {value!r}, which is none of its choices {p.choices!r}. Tell what was asked.")
        elif not (_is_finite(value) and p.low <= value <= p.high) or (isinstance(p, Integer) and value != int(value)):
            kind = "a whole number" if isinstance(p, Integer) else "a number"
            raise ValueError(f"{name!r} is {value!r}, but must be {kind} from {p.low!r} to {p.high!r}. "
                             f"Tell what was asked, or widen the space.")  # fmt: skip
