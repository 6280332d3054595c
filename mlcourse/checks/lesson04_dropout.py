"""Exercise of lesson 04 on dropout. Its masks are random, so its check asks for properties."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property
from mlcourse.checks.randomness import GLOBAL_GENERATOR, repeats, seed_matters

# 4.1 dropout(h, *, rate, seed, train) -> an array like h. Srivastava et al. 2014, in the inverted form.


def _dropout_cases() -> dict:
    rng = np.random.default_rng(41)

    def activations(*shape: int) -> np.ndarray:
        return (rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 3.0, shape)).astype(np.float32)  # none is near 0

    return {
        "40 rows of 30 units in training": {"h": activations(40, 30), "rate": 0.3, "seed": 0, "train": True},
        "a high rate": {"h": activations(24, 70), "rate": 0.8, "seed": 1, "train": True},
        "in evaluation": {"h": activations(4, 3), "rate": 0.4, "seed": 2, "train": False},
        "three axes, every second unit": {"h": activations(8, 9, 60)[..., ::2], "rate": 0.25, "seed": 3, "train": True},
        "a rate of 0": {"h": activations(3, 5), "rate": 0.0, "seed": 4, "train": True},
    }


def _run_dropout(answer: Callable, h: Any, rate: float, seed: int, train: bool) -> Any:
    return answer(h, rate=rate, seed=seed, train=train)


def _dropout(h: np.ndarray, *, rate: float, seed: int, train: bool) -> np.ndarray:
    if not train:
        return h
    return h * (np.random.default_rng(seed).random(h.shape) >= rate) / (1 - rate)


def _only(when: Callable[[dict], bool]) -> Callable:
    """A decorator for `holds(out, h, rate)`: only cases with `when(case)` are looked at; the others hold."""

    def decorate(holds: Callable) -> Callable:
        def wrapped(run: Callable, **case: Any) -> bool:
            return not when(case) or bool(holds(run(**case), case["h"], case["rate"]))

        return wrapped

    return decorate


_in_evaluation = _only(lambda case: not case["train"])
_in_training = _only(lambda case: case["train"] and case["rate"] > 0)


def _near(a: Any, b: Any) -> bool:
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-6))


@_in_evaluation
def _off_at_evaluation(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return (out != 0).all()


@_in_evaluation
def _not_scaled_at_evaluation(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return not (_near(out, h * (1 - rate)) or _near(out, h / (1 - rate)))


def _unchanged_where_off(run: Callable, **case: Any) -> bool:
    return (case["train"] and case["rate"] > 0) or _near(run(**case), case["h"])


@_in_training
def _something_is_dropped(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return (out == 0).any()


@_in_training
def _is_not_the_mask(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return len(np.unique(out)) > 2


def _share_is(kept: np.ndarray, probability: float) -> bool:
    """Within 6 standard errors of the probability."""
    return abs(kept.mean() - probability) < 6 * (probability * (1 - probability) / kept.size) ** 0.5


@_in_training
def _rate_is_not_the_probability_to_keep(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return not (_near(out, h * (out != 0) / rate) and _share_is(out != 0, rate))


def _survivors_are_not(factor: Callable[[float], float]) -> Callable:
    return _in_training(lambda out, h, rate: not _near(out, factor(rate) * h * (out != 0)))


@_in_training
def _survivors_have_one_size(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return _near(out, h * (out != 0) / (1 - rate))


@_in_training
def _rows_are_not_whole(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    kept = (out != 0).reshape(len(out), -1)
    return not (kept == kept[:, :1]).all()


@_in_training
def _rows_differ(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    kept = (out != 0).reshape(-1, out.shape[-1])
    return not (kept == kept[:1]).all()


@_in_training
def _not_kept_by_rate(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return not _share_is(out != 0, rate)


@_in_training
def _share_is_right(out: np.ndarray, h: np.ndarray, rate: float) -> bool:
    return _share_is(out != 0, 1 - rate)


def _number_varies(run: Callable, **case: Any) -> bool:
    """The number of survivors is not the same for eight seeds; where each activation decides by itself, it has a spread."""
    off = not case["train"] or case["rate"] == 0
    return off or len({int((run(**{**case, "seed": seed}) != 0).sum()) for seed in range(8)}) > 1


def _seed_matters(run: Callable, **case: Any) -> bool:
    off = not case["train"] or case["rate"] == 0
    return off or seed_matters(run, **case)


DROPOUT = Exercise(
    id="4.1",
    name="dropout",
    title="Dropout that keeps the mean",
    minutes=15,
    difficulty=1,
    cases=_dropout_cases,
    reference=_dropout,
    run=_run_dropout,
    compare="shapes",
    mistakes=(
        Mistake(
            "The mask was returned as well. Return the activations only.",
            lambda h, *, rate, seed, train: (_dropout(h, rate=rate, seed=seed, train=train), h != 0),
        ),
        Mistake(
            "The dropped activations were taken out, so the shape changed. Set them to 0 and leave them in their places.",
            lambda h, *, rate, seed, train: h[np.random.default_rng(seed).random(h.shape) >= rate],
        ),
    ),
    properties=(
        Property(
            "Dropout is still on at evaluation: some activations are 0. With `train=False`, return h as it is.",
            _off_at_evaluation,
        ),
        Property(
            "h was scaled at evaluation. Inverted dropout does all its scaling in training, so that evaluation needs none: "
            "with `train=False`, return h as it is.",
            _not_scaled_at_evaluation,
        ),
        Property("h was changed although nothing is to be dropped here. Return it as it is.", _unchanged_where_off),
        Property(
            "Nothing was dropped in training. Draw a mask of h's shape that is False with probability `rate`, and put 0 "
            "where it is False.",
            _something_is_dropped,
        ),
        Property("This is the mask. Multiply h by it, and divide by 1 - rate.", _is_not_the_mask),
        Property(
            "`rate` was taken for the probability to *keep* an activation, in the mask and in the scale. It is the "
            "probability to drop one: keep with 1 - rate, and divide by 1 - rate.",
            _rate_is_not_the_probability_to_keep,
        ),
        Property(
            "The survivors keep their size, so the mean of the layer falls in training and is another at evaluation. Divide "
            "them by 1 - rate.",
            _survivors_are_not(lambda rate: 1.0),
        ),
        Property(
            "The survivors were divided by `rate`. The share that survives is 1 - rate: divide by that.",
            _survivors_are_not(lambda rate: 1 / rate),
        ),
        Property(
            "The survivors were multiplied by 1 - rate, which makes the mean smaller still. Divide by it.",
            _survivors_are_not(lambda rate: 1 - rate),
        ),
        Property(
            "The survivors are not h / (1 - rate). One factor for all of them, the same in every call: scale with the "
            "probability, not with the share that happened to survive.",
            _survivors_have_one_size,
        ),
        Property(
            "Whole rows were dropped: an example loses all its activations or none. Draw the mask with the shape of h.",
            _rows_are_not_whole,
        ),
        Property(
            "Every row lost the same units: the mask was drawn once for all examples. Draw it with the shape of h.",
            _rows_differ,
        ),
        Property(
            "An activation survives with probability `rate`. That is the probability to *drop* it: keep where a uniform "
            "number is at least `rate`.",
            _not_kept_by_rate,
        ),
        Property(
            "The share of survivors is not 1 - rate. Decide for every activation by itself, each with the same probability.",
            _share_is_right,
        ),
        Property(
            "Two calls with the same seed give different masks. Make the generator or the key from the seed.",
            repeats,
        ),
        Property(
            "Another seed gives the same mask: the same units are dropped in every step, which is only a smaller network. "
            "Make the generator or the key from `seed`.",
            _seed_matters,
        ),
        Property(
            "With every seed exactly as many activations survive. Then they are not independent: one survives because another "
            "was dropped. Draw a number for each activation by itself.",
            _number_varies,
        ),
        GLOBAL_GENERATOR,
    ),
    hints=(
        "In training an activation is 0 with probability `rate`. By what must the others be multiplied, so that its mean is "
        "h again?",
        "A mask: `jax.random.bernoulli(jax.random.key(seed), 1 - rate, h.shape)`, or `np.random.default_rng(seed)"
        ".random(h.shape) >= rate`. True means that the activation survives.",
        "`jnp.where(mask, h / (1 - rate), 0.0)` in training, `h` at evaluation.",
    ),
)
