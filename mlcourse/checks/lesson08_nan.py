"""Exercise of lesson 08 on NaN: which layer made the first value that is no number."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy, like

# 8.8 first_bad(layers, x) -> name, number of examples; layers: list of (name, function)


def _layer(words: str, function: Callable) -> Callable:
    def layer(h: Any) -> Any:
        with np.errstate(all="ignore"):
            return like(h, function(as_numpy(h).astype(np.float32)).astype(np.float32))

    layer.__doc__ = words
    return layer


double = _layer("doubles h", lambda h: 2 * h)
exp = _layer("exp of h", np.exp)
log = _layer("log of h", np.log)
inverse = _layer("1 / h", lambda h: 1 / h)
normalise = _layer(
    "h minus its row's mean, divided by its row's std",
    lambda h: (h - h.mean(axis=1, keepdims=True)) / h.std(axis=1, keepdims=True),
)
relu = _layer("the larger of h and 0", lambda h: np.where(h > 0, h, 0))


def _nan_cases() -> dict:
    x = np.array([[1.0, 2.0], [3.0, 0.5], [0.25, 4.0]], dtype=np.float32)
    flat = np.array([[1.0, 2.0], [3.0, 3.0], [5.0, 5.0], [2.0, 2.0]], dtype=np.float32)
    hot = np.array([[1.0, 99.0, 2.0], [0.0, 1.0, 2.0]], dtype=np.float32)
    broken = x.copy()
    broken[1, 1] = np.nan
    return {
        "three rows without any spread": {"layers": [("scale", double), ("norm", normalise), ("head", double)], "x": flat},
        "an overflow that heals: 1 / inf is 0": {"layers": [("exp", exp), ("inverse", inverse), ("head", double)], "x": hot},
        "a log of 0, which becomes NaN one layer later": {
            "layers": [("relu", relu), ("log", log), ("norm", normalise)],
            "x": np.array([[-1.0, 2.0], [1.0, 2.0], [-3.0, -1.0], [2.0, 4.0]], dtype=np.float32),
        },
        "nothing wrong": {"layers": [("scale", double), ("exp", exp), ("log", log)], "x": x},
        "NaN in the data": {"layers": [("scale", double), ("relu", relu), ("exp", exp)], "x": broken},
        "numbers that grow twice": {
            "layers": [("exp", exp), ("exp again", exp), ("head", double)],
            "x": np.array([[1.0, 5.0, 0.0], [0.0, 1.0, 0.5]], dtype=np.float32),
        },
        "one example": {"layers": [("log", log), ("relu", relu)], "x": np.array([[-1.0, 1.0]], dtype=np.float32)},
    }


def _bad(h: np.ndarray) -> np.ndarray:
    return ~np.isfinite(h)


def _first_bad(
    *,
    bad: Callable = _bad,
    is_bad: Callable = lambda marks: marks.any(),
    count: Callable = lambda marks: int(marks.any(axis=1).sum()),
    look_at_input: bool = True,
    last: bool = False,
    name: Callable = lambda name, before: name,
) -> Callable:
    def first_bad(layers: list, x: Any) -> Any:
        found, before, h = ("none", 0), "input", x
        if look_at_input and is_bad(bad(as_numpy(x))):
            found = ("input", count(bad(as_numpy(x))))
            if not last:
                return found
        for layer_name, layer in layers:
            h = layer(h)
            marks = bad(as_numpy(h))
            if is_bad(marks):
                found = (name(layer_name, before), count(marks))
                if not last:
                    return found
            before = layer_name
        return found

    return first_bad


def _output_only(layers: list, x: Any) -> tuple:
    h = x
    for _, layer in layers:
        h = layer(h)
    marks = _bad(as_numpy(h))
    return (layers[-1][0], int(marks.any(axis=1).sum())) if marks.any() else ("none", 0)


def _on_the_input(layers: list, x: Any) -> tuple:
    """Every layer is given the data, not the output of the layer before."""
    for name, layer in [("input", lambda h: h), *layers]:
        marks = _bad(as_numpy(layer(x)))
        if marks.any():
            return name, int(marks.any(axis=1).sum())
    return "none", 0


FIRST_BAD = Exercise(
    id="8.8",
    name="first_bad",
    title="Where the NaN was born",
    minutes=15,
    difficulty=2,
    cases=_nan_cases,
    reference=_first_bad(),
    mistakes=(
        Mistake(
            "Only NaN was looked for, not infinity. Infinity comes first: log(0) is -inf, and turns into NaN a layer later, "
            "where nothing is wrong. Ask for `isfinite`.",
            _first_bad(bad=np.isnan),
        ),
        Mistake(
            "Only infinity was looked for, not NaN. `isfinite` is False for both.",
            _first_bad(bad=np.isinf),
        ),
        Mistake(
            "This is the *last* layer with a value that is no number. The first one is where it was born.",
            _first_bad(last=True),
        ),
        Mistake(
            "Only the output of the last layer was looked at. It names the victim, not the culprit, and misses what healed on "
            "the way. Look after every layer.",
            _output_only,
        ),
        Mistake(
            "The data themselves were not looked at. A NaN in x is nobody's fault but theirs: return 'input'.",
            _first_bad(look_at_input=False),
        ),
        Mistake(
            "The layer *before* the one that made the first bad value was named.", _first_bad(name=lambda name, before: before)
        ),
        Mistake(
            "The second number counts values. Count examples: rows with at least one bad value.",
            _first_bad(count=lambda marks: int(marks.sum())),
        ),
        Mistake(
            "A layer was reported only when *all* its values were bad. One is enough: `any`.",
            _first_bad(is_bad=lambda marks: marks.all()),
        ),
        Mistake(
            "Only rows in which every value is bad were counted. One bad value spoils an example: `any(axis=1)`.",
            _first_bad(count=lambda marks: int(marks.all(axis=1).sum())),
        ),
        Mistake(
            "Columns were counted. Examples are rows: `any(axis=1)`.",
            _first_bad(count=lambda marks: int(marks.any(axis=0).sum())),
        ),
        Mistake("Each layer was given x. It needs what the layer before it put out.", _on_the_input),
        Mistake("The number is that of the healthy examples.", _first_bad(count=lambda marks: int((~marks.any(axis=1)).sum()))),
    ),
    hints=(
        "`isfinite` is False for NaN and for both infinities.",
        "Look at x first; then, in a loop, `h = layer(h)`, and look at h.",
        "`bad = ~np.isfinite(h)`; return `name, bad.any(axis=1).sum()` at the first layer where `bad.any()`.",
    ),
)
