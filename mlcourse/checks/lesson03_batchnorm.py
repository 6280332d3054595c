"""Exercise of lesson 03 on batch normalisation, and the mistakes that its 2-D and its 4-D form have in common.

A `Step` is batch normalisation of rows: x (n, d), weight, bias, the running mean and variance (d,) into y and the new
running mean and variance. `make_step` makes the right one, or a wrong one with one part replaced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy, copy

Step = Callable[..., tuple]


class Convention(NamedTuple):
    """What two libraries do differently: `mix(old, new, momentum)`, and n - `ddof` under the running variance."""

    mix: Callable
    ddof: int


FLAX = Convention(mix=lambda old, new, momentum: momentum * old + (1 - momentum) * new, ddof=0)
PYTORCH = Convention(mix=lambda old, new, momentum: (1 - momentum) * old + momentum * new, ddof=1)


def moments(x: np.ndarray, ddof: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=0), x.var(axis=0, ddof=ddof)


def inside_root(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float, training: bool) -> np.ndarray:
    return (x - mean) / np.sqrt(variance + epsilon)


def weighted(z: np.ndarray, weight: np.ndarray, bias: np.ndarray, training: bool) -> np.ndarray:
    return weight * z + bias


def make_step(
    convention: Convention,
    *,
    batch: Callable = moments,
    learned: Callable | None = None,
    mix: Callable | None = None,
    use: Callable = lambda training, batch, old, new: batch if training else old,
    keep: Callable = lambda training, old, new: new if training else old,
    scale: Callable = inside_root,
    affine: Callable = weighted,
) -> Step:
    """Batch normalisation of rows with any part replaced.

    `batch(x)` gives the statistics that normalise; `learned(x, old, epsilon)` those that are mixed into the running
    ones; `use` chooses which normalise, `keep` which are kept; `scale(x, mean, variance, epsilon, training)`
    normalises; `affine(z, weight, bias, training)` is what comes after.
    """
    learned = learned or (lambda x, old, epsilon: moments(x, convention.ddof))
    mix = mix or convention.mix

    def step(
        x: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        running: tuple,
        *,
        training: bool,
        momentum: float,
        epsilon: float,
    ) -> tuple:
        new = tuple(mix(o, n, momentum) for o, n in zip(running, learned(x, running, epsilon), strict=True))
        mean, variance = use(training, batch(x), running, new)
        y = affine(scale(x, mean, variance, epsilon, training), weight, bias, training)
        return y, keep(training, running, new)

    return step


LIBRARIES = (
    "The libraries differ here: PyTorch keeps the unbiased variance, n/(n-1) times the batch's own, although it normalises "
    "with the biased one; Flax keeps the biased one that also normalises."
)


def shared_mistakes(convention: Convention, wrap: Callable[[Step], Any]) -> tuple[Mistake, ...]:
    """The mistakes that do not depend on the form of x; `wrap(step)` is an answer to the exercise."""
    right = "momentum * old + (1 - momentum) * new" if convention is FLAX else "(1 - momentum) * old + momentum * new"

    def mistake(words: str, **parts: Callable) -> Mistake:
        return Mistake(words, wrap(make_step(convention, **parts)))

    def about_running_mean(x: np.ndarray, old: tuple, epsilon: float) -> tuple:
        return x.mean(axis=0), ((x - old[0]) ** 2).sum(axis=0) / (len(x) - convention.ddof)

    std = "The running variance is updated with the standard deviation. Mix in the variance: in evaluation the root is taken."
    batch_used = "Evaluation uses the batch's statistics. With `training` False normalise with the *running* mean and variance"
    return (
        mistake(
            f"The running variance is never updated, so evaluation divides by its first value. Mix it like the mean: {right}. "
            f"{LIBRARIES}",
            keep=lambda training, old, new: (new[0], old[1]) if training else old,
        ),
        mistake(
            "The running mean is never updated. Training mixes the batch's mean into it.",
            keep=lambda training, old, new: (old[0], new[1]) if training else old,
        ),
        mistake(
            "The running statistics are never updated. Training mixes the batch's mean and variance into them.",
            keep=lambda training, old, new: old,
        ),
        mistake(std, learned=lambda x, old, epsilon: (x.mean(axis=0), x.std(axis=0))),
        mistake(std, learned=lambda x, old, epsilon: (x.mean(axis=0), x.std(axis=0, ddof=1))),
        mistake(
            "The running variance is updated with variance + epsilon. Epsilon belongs under the root only, at the end.",
            learned=lambda x, old, epsilon: (x.mean(axis=0), x.var(axis=0, ddof=convention.ddof) + epsilon),
        ),
        mistake(
            "The running variance was taken about the running mean. Take the batch's variance about the batch's own mean.",
            learned=about_running_mean,
        ),
        mistake(
            f"The momentum is swapped: here the new running value is {right}. In Flax `momentum` is the share of the *old* "
            "value that is kept (0.99 by default), in PyTorch the share of the *new* one (0.1).",
            mix=lambda old, new, momentum: convention.mix(new, old, momentum),
        ),
        mistake(
            f"The running statistics are replaced by those of the last batch. Mix them: {right}.",
            mix=lambda old, new, momentum: new,
        ),
        mistake(
            f"Old and new value are mixed with shares that don't add up to 1. It is {right}.",
            mix=lambda old, new, momentum: old + momentum * new,
        ),
        mistake(
            f"Old and new value are mixed with shares that don't add up to 1. It is {right}.",
            mix=lambda old, new, momentum: old + (1 - momentum) * new,
        ),
        mistake(f"{batch_used}.", use=lambda training, batch, old, new: batch),
        mistake(
            f"{batch_used}, and leave them as they are: this ignores the mode altogether.",
            use=lambda training, batch, old, new: batch,
            keep=lambda training, old, new: new,
        ),
        mistake(
            f"{batch_used}. (Here the mean is the running one, but the variance is the batch's.)",
            use=lambda training, batch, old, new: batch if training else (old[0], batch[1]),
        ),
        mistake(
            f"{batch_used}. (Here the variance is the running one, but the mean is the batch's.)",
            use=lambda training, batch, old, new: batch if training else (batch[0], old[1]),
        ),
        mistake(
            "Evaluation updates the running statistics. Then a prediction depends on what was predicted before; update them "
            "in training only.",
            keep=lambda training, old, new: new,
        ),
        mistake(
            "Evaluation updates the running statistics, and even normalises with the updated ones. Update them in training "
            "only.",
            use=lambda training, batch, old, new: batch if training else new,
            keep=lambda training, old, new: new,
        ),
        mistake(
            "The statistics are updated in evaluation and left alone in training: the mode is turned around.",
            keep=lambda training, old, new: old if training else new,
        ),
        mistake(
            "The mode is turned around: training uses the running statistics, and evaluation the batch's.",
            use=lambda training, batch, old, new: old if training else batch,
            keep=lambda training, old, new: old if training else new,
        ),
        mistake(
            "Training normalises with the running statistics. In training they are only kept for later: normalise with the "
            "batch's own.",
            use=lambda training, batch, old, new: old,
        ),
        mistake(
            "Training normalises with the updated running statistics. In training they are only kept for later: normalise "
            "with the batch's own.",
            use=lambda training, batch, old, new: new if training else old,
        ),
        mistake(
            "Weight and bias are missing: y = weight * z + bias, with z the normalised x.",
            affine=lambda z, weight, bias, training: z,
        ),
        mistake(
            "Weight and bias are missing in evaluation. They belong to both modes.",
            affine=lambda z, weight, bias, training: weight * z + bias if training else z,
        ),
        mistake("The bias is missing: y = weight * z + bias.", affine=lambda z, weight, bias, training: weight * z),
        mistake("The weight is missing: y = weight * z + bias.", affine=lambda z, weight, bias, training: z + bias),
        mistake(
            "The bias is applied before the weight, which then multiplies it as well: y = weight * z + bias.",
            affine=lambda z, weight, bias, training: weight * (z + bias),
        ),
        mistake(
            "Weight and bias are exchanged: y = weight * z + bias.",
            affine=lambda z, weight, bias, training: bias * z + weight,
        ),
        mistake("The bias is subtracted: y = weight * z + bias.", affine=lambda z, weight, bias, training: weight * z - bias),
        mistake(
            "The unbiased variance (n - 1 below) normalises. Divide by n here: then the normalised batch has the variance 1. "
            f"{LIBRARIES}",
            batch=lambda x: moments(x, 1),
        ),
        mistake(
            "The unbiased variance (n - 1 below) normalises, and the running variance is the wrong one as well. Divide by n "
            f"to normalise. {LIBRARIES}",
            batch=lambda x: moments(x, 1),
            learned=lambda x, old, epsilon: moments(x, 1 - convention.ddof),
        ),
        *_of_the_other_library(convention, mistake),
        mistake(
            "Epsilon stands outside the root. It belongs under it: √(variance + epsilon).",
            scale=lambda x, mean, variance, epsilon, training: (x - mean) / (np.sqrt(variance) + epsilon),
        ),
        mistake(
            "Epsilon is missing (or is a small number of its own instead of the argument): a feature that is the same in the "
            "whole batch would be divided by 0. √(variance + epsilon).",
            scale=lambda x, mean, variance, epsilon, training: (x - mean) / np.sqrt(variance),
        ),
        mistake(
            "Epsilon is missing in evaluation. Both modes divide by √(variance + epsilon).",
            scale=lambda x, mean, variance, epsilon, training: (x - mean) / np.sqrt(variance + epsilon * training),
        ),
        mistake(
            "Epsilon is missing in training. Both modes divide by √(variance + epsilon).",
            scale=lambda x, mean, variance, epsilon, training: (x - mean) / np.sqrt(variance + epsilon * (not training)),
        ),
        mistake(
            "The root is missing: x - mean was divided by the variance. Divide by √(variance + epsilon).",
            scale=lambda x, mean, variance, epsilon, training: (x - mean) / (variance + epsilon),
        ),
        mistake(
            "x - mean was multiplied by √(variance + epsilon). Divide by it.",
            scale=lambda x, mean, variance, epsilon, training: (x - mean) * np.sqrt(variance + epsilon),
        ),
        mistake(
            "The mean is not subtracted: z = (x - mean) / √(variance + epsilon).",
            scale=lambda x, mean, variance, epsilon, training: x / np.sqrt(variance + epsilon),
        ),
        mistake(
            "The mean of the squares was taken for the variance. Subtract the mean before you square.",
            batch=lambda x: (x.mean(axis=0), (x**2.0).mean(axis=0)),
            learned=lambda x, old, epsilon: (x.mean(axis=0), (x**2.0).mean(axis=0)),
        ),
        mistake(
            "The statistics run over all numbers of the batch. Each feature (each channel) has its own mean and variance.",
            batch=lambda x: (x.mean(), x.var()),
            learned=lambda x, old, epsilon: (x.mean(), x.var(ddof=convention.ddof)),
        ),
    )


def _of_the_other_library(convention: Convention, mistake: Callable) -> tuple[Mistake, ...]:
    """The running variance of the other library, alone and with its momentum."""
    ours, other = ("Flax", "PyTorch") if convention is FLAX else ("PyTorch", "Flax")
    if convention is FLAX:
        words = f"The running variance is the unbiased one. In this exercise it is the batch's own, as in Flax. {LIBRARIES}"
    else:
        words = (
            "The running variance is the biased one. In this exercise it is the unbiased one, as in PyTorch: n/(n-1) times the "
            f"batch's, with n counting examples and pixels. {LIBRARIES}"
        )
    both = (
        f"The running statistics are those of {other}: its momentum and its running variance. This exercise uses the "
        f"conventions of {ours}. PyTorch: momentum is the share of the *new* value, the running variance is unbiased. Flax: "
        "momentum is the share of the *old* value, the running variance is the batch's own."
    )

    def learned(x: np.ndarray, old: tuple, epsilon: float) -> tuple:
        return moments(x, 1 - convention.ddof)

    def mix(old: Any, new: Any, momentum: float) -> Any:
        return convention.mix(new, old, momentum)

    return mistake(words, learned=learned), mistake(both, learned=learned, mix=mix)


def of_every_call(call: Callable[[Any, bool], Any], x: tuple, training: tuple) -> dict[str, Any]:
    """What `call(batch, mode)` gives for one batch after the other, by the number of the call.

    Copied, because an answer may go on writing into what it returned.
    """
    results = {}
    for number, (batch, mode) in enumerate(zip(x, training, strict=True), start=1):
        name = f"call {number}, {'training' if mode else 'evaluation'}"
        results[name] = copy(as_numpy(call(batch, mode)))
    return results


# 3.2 batch_norm(x, params, state, *, training, momentum, epsilon) -> y (n, d), new state


def _batch_norm_cases() -> dict:
    rng = np.random.default_rng(32)

    signs, spread = np.array([1.0, -1.0, 1.0]), np.array([1.0, 2.0, 3.0])

    def case(x: tuple, training: tuple, momentum: float, epsilon: float) -> dict:
        return {
            "x": x,
            "params": {"weight": signs * (0.5 + rng.random(3)), "bias": 0.5 + rng.standard_normal(3)},
            "state": {"mean": rng.standard_normal(3), "variance": 0.5 + 2 * rng.random(3)},
            "training": training,
            "momentum": momentum,
            "epsilon": epsilon,
        }

    def batch(n: int) -> np.ndarray:
        return 2.0 + spread * rng.standard_normal((n, 3))

    wide = rng.integers(-4, 9, (5, 6))
    return {
        "one step of training, 3 examples of 3 features": case((batch(3),), (True,), 0.9, 0.25),
        "three steps of training, then evaluation": case(
            (batch(5), batch(5), batch(5), batch(5)), (True, True, True, False), 0.7, 0.1
        ),
        "evaluation first, and training on one example": case(
            (batch(5), batch(1), batch(1), batch(5)), (False, False, True, False), 0.6, 0.5
        ),
        "whole numbers, every second column of a larger array": case((wide[:, ::2], wide[:, 1::2]), (True, False), 0.2, 0.4),
    }


def _run_batch_norm(
    answer: Callable, x: tuple, params: dict, state: dict, training: tuple, momentum: float, epsilon: float
) -> Any:
    """All results of all calls. Of a single call only y, so that a wrong y is named whatever became of the state."""

    def call(batch: Any, mode: bool) -> Any:
        nonlocal state
        result = answer(batch, params, state, training=mode, momentum=momentum, epsilon=epsilon)
        if isinstance(result, (tuple, list)) and len(result) == 2:
            y, state = result
            return y if len(x) == 1 else result
        return result

    return of_every_call(call, x, training)


def _as_function(step: Step) -> Callable:
    """An answer to exercise 3.2."""

    def batch_norm(
        x: np.ndarray, params: dict, state: dict, *, training: bool, momentum: float, epsilon: float
    ) -> tuple[np.ndarray, dict]:
        running = state["mean"], state["variance"]
        y, (mean, variance) = step(
            x, params["weight"], params["bias"], running, training=training, momentum=momentum, epsilon=epsilon
        )
        return y, {"mean": mean, "variance": variance}

    return batch_norm


def _of_each_example(keepdims: bool) -> Callable:
    """The statistics run along the rows; without `keepdims` they are then subtracted from the columns."""
    return lambda x: (x.mean(axis=1, keepdims=keepdims), x.var(axis=1, keepdims=keepdims))


_RIGHT = _as_function(make_step(FLAX))
_WRONG_AXIS = (
    "The statistics run over the wrong axis: they are those of each example. Batch normalisation takes each *feature* over "
    "the examples, axis=0."
)

BATCH_NORM = Exercise(
    id="3.2",
    name="batch_norm",
    title="Batch normalisation, in training and in evaluation",
    minutes=25,
    difficulty=2,
    cases=_batch_norm_cases,
    reference=_RIGHT,
    run=_run_batch_norm,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(_WRONG_AXIS, _as_function(make_step(FLAX, batch=_of_each_example(False)))),
        Mistake(_WRONG_AXIS, _as_function(make_step(FLAX, batch=_of_each_example(True)))),
        *shared_mistakes(FLAX, _as_function),
        Mistake("The new state is missing: return `y, state`.", lambda *args, **kwargs: _RIGHT(*args, **kwargs)[0]),
        Mistake("The two results are exchanged: return `y, state`.", lambda *args, **kwargs: _RIGHT(*args, **kwargs)[::-1]),
        Mistake(
            "The new state is a pair. Return a dict with the same keys as the old one.",
            lambda *args, **kwargs: (_RIGHT(*args, **kwargs)[0], tuple(_RIGHT(*args, **kwargs)[1].values())),
        ),
    ),
    hints=(
        "Two branches decide two things: which mean and variance normalise, and what the new state is. The last two lines, "
        "normalise and then weight and bias, are the same in both modes.",
        "In training: `mean, variance = x.mean(axis=0), x.var(axis=0)`, and a *new* dict `{'mean': momentum * state['mean'] + "
        "(1 - momentum) * mean, ...}`. In evaluation: the two of the state, and the state as it came.",
        "`y = params['weight'] * (x - mean) / sqrt(variance + epsilon) + params['bias']`.",
    ),
)
