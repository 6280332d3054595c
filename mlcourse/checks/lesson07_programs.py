"""A right program of lesson 07 into the wrong ones that people write: one argument ignored, one result from elsewhere."""

import inspect
from collections.abc import Callable
from typing import Any

GIB = 2**30  # bytes; a GB has 10**9
PATIENT = 20.0  # seconds: an answer may ask PyTorch's meta device to count, and that loads for some seconds at first
EXACT = {"rtol": 1e-9, "atol": 0.0, "seconds": PATIENT}  # bytes and counts: one parameter too few of a billion is wrong
CLOSE = {"rtol": 1e-6, "atol": 0.0}  # seconds, dollars: the order of the divisions may differ


def after(positional: int) -> Callable:
    """How to run an answer whose first `positional` arguments have no name, and whose others are keyword-only."""

    def run(answer: Callable, **case: Any) -> Any:
        names = list(case)
        return answer(*(case[name] for name in names[:positional]), **{name: case[name] for name in names[positional:]})

    return run


def changed(function: Callable, **fixed: Any) -> Callable:
    """The program that puts a value of its own in the place of these arguments. A function as value is given the old one."""
    signature = inspect.signature(function)

    def wrong(*args: Any, **named: Any) -> Any:
        bound = signature.bind(*args, **named)
        for name, value in fixed.items():
            bound.arguments[name] = value(bound.arguments[name]) if callable(value) else value
        return function(*bound.args, **bound.kwargs)

    return wrong


def partly(right: Callable, wrong: Callable, *keys: str) -> Callable:
    """The right program, except that these results are those of the wrong one."""

    def mixed(*args: Any, **named: Any) -> dict:
        return {**right(*args, **named), **{key: wrong(*args, **named)[key] for key in keys}}

    return mixed


def scaled(function: Callable, factor: float, *keys: str) -> Callable:
    """The same program with these results, or the only one, times a factor."""

    def wrong(*args: Any, **named: Any) -> Any:
        found = function(*args, **named)
        return {**found, **{key: factor * found[key] for key in keys}} if keys else factor * found

    return wrong
