"""Exercises of lesson 02 on the length of a step: clipping by the global norm, a rate that warms up and comes down."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson02_pairs import flat, rebuilt

# 2.7 clip_by_global_norm(grads, max_norm) -> tree like grads


def _clip_cases() -> dict:
    rng = np.random.default_rng(27)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    small = {"w": np.float32([[3, 0], [0, -4]]), "b": np.float32([0, 12, 0])}
    wide = normal(2, 6)
    return {
        "norm 13": {"grads": small, "max_norm": 6.5},
        "norm 13, and 20 is allowed": {"grads": {name: leaf.copy() for name, leaf in small.items()}, "max_norm": 20.0},
        "a large and a small array, a dict in a dict": {
            "grads": {"hidden": {"w": 30 * normal(3, 2), "b": 0.1 * normal(2)}, "output": {"w": 0.1 * normal(2, 1)}},
            "max_norm": 1.5,
        },
        "every second column, and a single number": {
            "grads": {"w": wide[:, ::2], "scale": np.array(-7.0, dtype=np.float32)},
            "max_norm": 0.25,
        },
        "all zero": {"grads": {"w": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.float32)}, "max_norm": 1.0},
        "numbers whose squares float32 can't hold": {
            "grads": {"w": 1e25 * normal(2, 3), "b": 1e25 * normal(3)},
            "max_norm": 2.0,
        },
    }


def _root_of_squares(leaves: list) -> Any:
    return np.sqrt(sum((leaf.astype(np.float32) ** 2).sum() for leaf in leaves))


def _scaled(factor: Callable) -> Callable:
    """All arrays times `factor(arrays, max_norm)`."""

    def clip(grads: Any, max_norm: float) -> Any:
        leaves = flat(grads)
        scale = factor(list(leaves.values()), np.float32(max_norm))
        return rebuilt(grads, {path: leaf * scale for path, leaf in leaves.items()})

    return clip


def _at_most(norm: Callable = _root_of_squares) -> Callable:
    """All arrays scaled so that `norm(arrays)` is at most max_norm."""
    return _scaled(lambda leaves, max_norm: min(np.float32(1.0), max_norm / norm(leaves)))


def _each(clip_one: Callable) -> Callable:
    """`clip_one(array, max_norm)` for every array by itself."""
    return lambda grads, max_norm: rebuilt(grads, {path: clip_one(leaf, max_norm) for path, leaf in flat(grads).items()})


def _clip(grads: Any, max_norm: float) -> Any:
    norm = np.sqrt(sum((leaf.astype(np.float64) ** 2).sum() for leaf in flat(grads).values()))
    return _scaled(lambda leaves, _: max_norm / norm if norm > max_norm else 1.0)(grads, max_norm)


def _largest_taken_out(leaves: list, max_norm: float) -> Any:
    largest = max(abs(leaf).max() for leaf in leaves)
    norm = largest * _root_of_squares([leaf / largest for leaf in leaves])
    return np.minimum(np.float32(1.0), max_norm / norm)  # nan where largest is 0


def _python_division(leaves: list, max_norm: float) -> float:
    return min(1.0, float(max_norm) / float(_root_of_squares(leaves)))


def _of_dicts_only_the_top(grads: dict, max_norm: float) -> dict:
    if any(isinstance(leaf, dict) for leaf in grads.values()):
        raise TypeError("a dict is no array")
    return _at_most()(grads, max_norm)


CLIP = Exercise(
    id="2.7",
    name="clip_by_global_norm",
    title="Clipping by the global norm",
    minutes=15,
    difficulty=2,
    cases=_clip_cases,
    reference=_clip,
    mistakes=(
        Mistake(
            "The squares are too large for float32: the norm is infinite, and max_norm / inf makes every gradient 0, so a huge "
            "gradient becomes no step at all. Divide by the largest absolute value before you square.",
            _at_most(),
        ),
        Mistake(
            "Each array was clipped by itself. That turns the direction of the step. There is one norm for all arrays "
            "together, and one factor.",
            _each(lambda leaf, max_norm: leaf * min(1.0, np.float32(max_norm) / _root_of_squares([leaf]))),
        ),
        Mistake(
            "A norm below max_norm was scaled *up* to it. Clipping only shortens: the factor is at most 1.",
            _scaled(lambda leaves, max_norm: max_norm / _root_of_squares(leaves)),
        ),
        Mistake(
            "It is scaled when the norm is below max_norm, and left alone when it is above. It must be the other way round.",
            _scaled(lambda leaves, max_norm: max(np.float32(1.0), max_norm / _root_of_squares(leaves))),
        ),
        Mistake(
            "The numbers were cut off one by one, at -max_norm and max_norm: that is clipping by value, and it turns the "
            "direction. Multiply all by one factor.",
            _each(lambda leaf, max_norm: np.clip(leaf, -max_norm, max_norm)),
        ),
        Mistake(
            "The root is missing: this is the squared norm.",
            _at_most(lambda leaves: sum((leaf.astype(np.float32) ** 2).sum() for leaf in leaves)),
        ),
        Mistake(
            "The norms of the arrays were added up. Add their squares, and take the root of the sum.",
            _at_most(lambda leaves: sum(_root_of_squares([leaf]) for leaf in leaves)),
        ),
        Mistake(
            "This is the norm of the largest array only. Add the squares of all arrays.",
            _at_most(lambda leaves: max(_root_of_squares([leaf]) for leaf in leaves)),
        ),
        Mistake(
            "The absolute values were added up: that is another norm. Take the root of the sum of squares.",
            _at_most(lambda leaves: sum(abs(leaf).sum() for leaf in leaves)),
        ),
        Mistake(
            "The largest absolute value is no norm of this kind. Take the root of the sum of squares.",
            _at_most(lambda leaves: max(abs(leaf).max() for leaf in leaves)),
        ),
        Mistake(
            "The squares were averaged. Add them up: the norm is a length, not a typical size.",
            _at_most(
                lambda leaves: np.sqrt(sum((leaf**2).sum() for leaf in leaves) / np.float32(sum(leaf.size for leaf in leaves)))
            ),
        ),
        Mistake(
            "The gradient was scaled to norm 1. Its norm may be max_norm: multiply by max_norm / norm.",
            _scaled(
                lambda leaves, max_norm: (
                    1 / _root_of_squares(leaves) if _root_of_squares(leaves) > max_norm else np.float32(1.0)
                )
            ),
        ),
        Mistake(
            "The factor is upside down: it is max_norm / norm.",
            _scaled(lambda leaves, max_norm: max(np.float32(1.0), _root_of_squares(leaves) / max_norm)),
        ),
        Mistake(
            "The largest absolute value was taken out, which divides by zero where all gradients are 0. They must stay 0.",
            _scaled(_largest_taken_out),
        ),
        Mistake(
            "It divides by zero where all gradients are 0. They must stay 0: ask `norm > max_norm` first.",
            _scaled(_python_division),
        ),
        Mistake(
            "An inner dict was treated as an array. Go down into it: `jax.tree.leaves` finds all arrays at any depth.",
            _of_dicts_only_the_top,
        ),
        Mistake("Nothing was clipped.", lambda grads, max_norm: grads),
        Mistake(
            "This is the norm. Return the gradients, scaled.",
            lambda grads, max_norm: _root_of_squares(list(flat(grads).values())),
        ),
        Mistake(
            "Return the clipped gradients alone, without the norm.",
            lambda grads, max_norm: (_clip(grads, max_norm), _root_of_squares(list(flat(grads).values()))),
        ),
    ),
    hints=(
        "`jax.tree.leaves(grads)` is a list of all arrays. One number for all: the root of the sum of all squares.",
        "The factor is max_norm / norm where norm > max_norm, and 1 elsewhere. One factor, `jax.tree.map`, for every array.",
        "Against overflow: with `largest` the largest absolute value of all (1 if that is 0), norm = largest * "
        "sqrt(sum((g / largest)**2)).",
    ),
)


# 2.8 warmup_cosine(step, *, start, peak, end, num_warmup, num_steps) -> the learning rate of this step


def _schedule_cases() -> dict:
    return {
        "up from 0, down to 0": {
            "steps": tuple(range(11)),
            "start": 0.0,
            "peak": 0.8,
            "end": 0.0,
            "num_warmup": 4,
            "num_steps": 10,
        },
        "from 0.1 to 0.2, and on after the end": {
            "steps": (0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 17, 30),
            "start": 0.1,
            "peak": 1.0,
            "end": 0.2,
            "num_warmup": 3,
            "num_steps": 12,
        },
        "no warm-up": {
            "steps": (0, 1, 3, 7, 8, 9),
            "start": 0.3,
            "peak": 2.0,
            "end": 0.5,
            "num_warmup": 0,
            "num_steps": 8,
        },
        "a long warm-up": {
            "steps": (0, 1, 5, 6, 7, 8, 9),
            "start": 0.05,
            "peak": 0.4,
            "end": 0.1,
            "num_warmup": 6,
            "num_steps": 8,
        },
    }


def _run_schedule(answer: Callable, steps: tuple, **settings: Any) -> dict:
    return {f"step {step}": answer(step, **settings) for step in steps}


def _up(k: int, start: float, peak: float, W: int) -> float:
    return start + (peak - start) * k / W


def _half_wave(t: float) -> float:
    """From 1 at t = 0 down to 0 at t = 1."""
    return (1 + np.cos(np.pi * t)) / 2


def _down(share: Callable = _half_wave, t: Callable = lambda k, W, T: (k - W) / (T - W), clipped: bool = True) -> Callable:
    """From peak to end, with `share(t)` of the way left; t is at most 1 if clipped."""

    def rate(k: int, peak: float, end: float, W: int, T: int) -> float:
        time = t(k, W, T)
        return end + (peak - end) * share(min(1.0, time) if clipped else time)

    return rate


def _schedule(up: Callable = _up, down: Callable | None = None, warms: Callable = lambda k, W: k < W) -> Callable:
    """`up(k, start, peak, W)` while `warms(k, W)`, then `down(k, peak, end, W, T)`."""
    down = down or _down()

    def rate(step: int, *, start: float, peak: float, end: float, num_warmup: int, num_steps: int) -> float:
        if warms(step, num_warmup):
            return up(step, start, peak, num_warmup)
        return down(step, peak, end, num_warmup, num_steps)

    return rate


def _both_at_once(step: int, *, start: float, peak: float, end: float, num_warmup: int, num_steps: int) -> float:
    cosine = _down(t=lambda k, W, T: k / T)(step, peak, end, num_warmup, num_steps)
    return cosine if step >= num_warmup else cosine * _up(step, start, peak, num_warmup) / peak


WARMUP_COSINE = Exercise(
    id="2.8",
    name="warmup_cosine",
    title="Warm up, then come down along a cosine",
    minutes=15,
    difficulty=1,
    cases=_schedule_cases,
    reference=_schedule(),
    run=_run_schedule,
    mistakes=(
        Mistake(
            "The warm-up is off by one: it runs ahead by a step. At step 0 the rate is `start`: the share of the way is "
            "step / num_warmup.",
            _schedule(up=lambda k, start, peak, W: _up(k + 1, start, peak, W)),
        ),
        Mistake(
            "The warm-up is off by one: it is at the peak one step too early. Divide by num_warmup, not by num_warmup - 1.",
            _schedule(up=lambda k, start, peak, W: start + (peak - start) * k / (W - 1)),
        ),
        Mistake(
            "The warm-up is off by one: it has not reached the peak at step num_warmup. Divide by num_warmup.",
            _schedule(up=lambda k, start, peak, W: start + (peak - start) * k / (W + 1), warms=lambda k, W: W > 0 and k <= W),
        ),
        Mistake(
            "`start` is not used: the warm-up goes from start to peak, not from 0.",
            _schedule(up=lambda k, start, peak, W: peak * k / W),
        ),
        Mistake(
            "The warm-up climbs by peak, not by peak - start, and ends above the peak.",
            _schedule(up=lambda k, start, peak, W: start + peak * k / W),
        ),
        Mistake(
            "There is no warm-up: before step num_warmup the rate rises in a straight line.",
            _schedule(warms=lambda k, W: False, down=_down(t=lambda k, W, T: max(0.0, (k - W) / (T - W)))),
        ),
        Mistake(
            "The cosine began at step 0, so the rate jumps when the warm-up ends. Count from there: step - num_warmup.",
            _schedule(down=_down(t=lambda k, W, T: k / T)),
        ),
        Mistake(
            "The cosine takes num_steps from the end of the warm-up on, so it is not down at the end. It has "
            "num_steps - num_warmup steps.",
            _schedule(down=_down(t=lambda k, W, T: (k - W) / T)),
        ),
        Mistake(
            "The cosine is off by one: it is down one step too early. It has num_steps - num_warmup steps.",
            _schedule(down=_down(t=lambda k, W, T: (k - W) / (T - W - 1))),
        ),
        Mistake(
            "After num_steps the rate rises again, as a cosine does. It must stay at `end`: let t be at most 1.",
            _schedule(down=_down(clipped=False)),
        ),
        Mistake(
            "After num_steps the rate is 0. It must stay at `end`.",
            _schedule(down=lambda k, peak, end, W, T: _down()(k, peak, end, W, T) if k <= T else 0.0),
        ),
        Mistake(
            "`end` is not used: the cosine comes down to end, not to 0.",
            _schedule(down=lambda k, peak, end, W, T: _down()(k, peak, 0.0, W, T)),
        ),
        Mistake(
            "The cosine was added to `end` in full, so it begins above the peak. What falls is peak - end.",
            _schedule(down=lambda k, peak, end, W, T: end + _down()(k, peak, 0.0, W, T)),
        ),
        Mistake(
            "The cosine was cut off at `end`. It must come to rest there: end + (peak - end) * (1 + cos) / 2.",
            _schedule(down=lambda k, peak, end, W, T: max(end, _down()(k, peak, 0.0, W, T))),
        ),
        Mistake(
            "The 1 + is missing: cos falls to -1, and the rate below `end`.",
            _schedule(down=_down(share=lambda t: np.cos(np.pi * t))),
        ),
        Mistake("The half is missing: 1 + cos begins at 2.", _schedule(down=_down(share=lambda t: 1 + np.cos(np.pi * t)))),
        Mistake(
            "This is a quarter of a wave, cos(pi t / 2). The rate leaves the peak and reaches the end level: "
            "(1 + cos(pi t)) / 2.",
            _schedule(down=_down(share=lambda t: np.cos(np.pi * t / 2))),
        ),
        Mistake(
            "This is a whole wave, down and up again: cos(2 pi t). Half a wave is cos(pi t).",
            _schedule(down=_down(share=lambda t: _half_wave(2 * t))),
        ),
        Mistake(
            "It comes down in a straight line. Between peak and end there is half a wave of a cosine.",
            _schedule(down=_down(share=lambda t: 1 - t)),
        ),
        Mistake(
            "After the warm-up the rate stays at the peak. It must come down to `end`.",
            _schedule(down=lambda k, peak, end, W, T: peak),
        ),
        Mistake(
            "Without a warm-up this divides by zero: step / num_warmup where num_warmup is 0. Ask `step < num_warmup` first.",
            _schedule(warms=lambda k, W: k <= W),
        ),
        Mistake(
            "The warm-up multiplies a cosine that is already falling, so the peak is never reached. First the one, then "
            "the other.",
            _both_at_once,
        ),
    ),
    hints=(
        "Two pieces with an `if`: before step num_warmup a straight line from start to peak, after it the cosine.",
        "In the second piece let t run from 0 to 1: t = (step - num_warmup) / (num_steps - num_warmup), and `min(t, 1)` "
        "afterwards.",
        "(1 + cos(pi t)) / 2 falls from 1 to 0. So the rate is end + (peak - end) * (1 + cos(pi t)) / 2.",
    ),
)
