"""Exercises of lesson 02 on optimizers that scale each parameter's step by itself: RMSProp and Adam."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson02_pairs import PURE, count_is_outside, form_mistakes, pair_cases, pair_of, run_pair

# 2.4 rmsprop(learning_rate, *, beta, epsilon) -> init, update


def _square_average(
    new: Callable = lambda s, g, beta: beta * s + (1 - beta) * g**2,
    step: Callable = lambda g, s, epsilon, k, beta: g / (np.sqrt(s) + epsilon),
    kept: Callable = lambda s: s,
    used: Callable = lambda old, s: s,
) -> Callable:
    """One array's RMSProp: `new(s, g, beta)` is the average, `step(g, used(old, s), epsilon, k, beta)` is scaled by it."""

    def of_one_array(
        g: np.ndarray, p: np.ndarray, memory: tuple, k: int, *, learning_rate: float, beta: float, epsilon: float
    ) -> tuple:
        (old,) = memory
        s = new(old, g, beta)
        return -learning_rate * step(g, used(old, s), epsilon, k, beta), (kept(s),)

    return of_one_array


def _rms(**how: Callable) -> Callable:
    return pair_of(_square_average(**how), slots=1)


INSIDE = "Epsilon is inside the root: sqrt(s + epsilon). Add it to the root, sqrt(s) + epsilon."
NO_EPSILON = "Epsilon is missing: where the gradient has always been 0, this is 0 / 0. Divide by root + epsilon."
NOT_SQUARED = (
    "The gradient was not squared: this averages the gradients, and the root of a negative average is nan. Average g**2."
)
NO_ROOT = "The root is missing: divide by sqrt of the averaged squares, which has the size of a gradient."
ONE_FOR_ALL = "One number was made for a whole array. Every parameter has its own average, and its own step."

RMSPROP = Exercise(
    id="2.4",
    name="rmsprop",
    title="RMSProp: a step size for each parameter",
    minutes=15,
    difficulty=2,
    cases=lambda: pair_cases(
        {"learning_rate": 0.1, "beta": 0.8, "epsilon": 0.1},
        {"learning_rate": 0.02, "beta": 0.95, "epsilon": 1e-7},
        {"learning_rate": 0.5, "beta": 0.3, "epsilon": 1e-5},
        scales=(1.0, 100.0, 0.01),
    ),
    reference=_rms(),
    run=run_pair,
    properties=PURE,
    rtol=2e-4,
    mistakes=(
        *form_mistakes(
            _square_average(),
            slots=1,
            forgot="The average starts again at zero in every step, so only the newest gradient counts. Take the old average "
            "from `state`, and return the new one as the new state.",
        ),
        Mistake(NOT_SQUARED, _rms(new=lambda s, g, beta: beta * s + (1 - beta) * g)),
        Mistake(
            "The absolute values were averaged, not the squares. Average g**2 and take the root of that.",
            _rms(new=lambda s, g, beta: beta * s + (1 - beta) * abs(g), step=lambda g, s, epsilon, k, beta: g / (s + epsilon)),
        ),
        Mistake(NO_ROOT, _rms(step=lambda g, s, epsilon, k, beta: g / (s + epsilon))),
        Mistake(INSIDE, _rms(step=lambda g, s, epsilon, k, beta: g / np.sqrt(s + epsilon))),
        Mistake(NO_EPSILON, _rms(step=lambda g, s, epsilon, k, beta: g / np.sqrt(s))),
        Mistake(
            "The squares are added up and nothing fades: that is AdaGrad. Average them: beta * s + (1 - beta) * g**2.",
            _rms(new=lambda s, g, beta: s + g**2),
        ),
        Mistake(
            "1 - beta is missing: this is a sum that grows to 1 / (1 - beta) times the average. The new square counts (1 - "
            "beta).",
            _rms(new=lambda s, g, beta: beta * s + g**2),
        ),
        Mistake(
            "beta and 1 - beta are exchanged. beta says how much of the old average is kept.",
            _rms(new=lambda s, g, beta: (1 - beta) * s + beta * g**2),
        ),
        Mistake(
            "1 - beta was squared with the gradient. Square the gradient only: (1 - beta) * g**2.",
            _rms(new=lambda s, g, beta: beta * s + ((1 - beta) * g) ** 2),
        ),
        Mistake(
            "The step was scaled by the average that came in. Renew it first: today's square counts already.",
            _rms(used=lambda old, s: old),
        ),
        Mistake(
            "What was kept is the root. The state is the average of the squares itself.",
            _rms(kept=np.sqrt),
        ),
        Mistake(
            "The average was divided by 1 - beta**k. That correction came with Adam; RMSProp has none.",
            _rms(step=lambda g, s, epsilon, k, beta: g / (np.sqrt(s / (1 - beta**k)) + epsilon)),
        ),
        Mistake(
            "The gradient was multiplied by the root. Divide by it: large gradients are to be scaled down.",
            _rms(step=lambda g, s, epsilon, k, beta: g * (np.sqrt(s) + epsilon)),
        ),
        Mistake(
            "Epsilon was added to the quotient: mind the brackets, g / (sqrt(s) + epsilon).",
            _rms(step=lambda g, s, epsilon, k, beta: g / np.sqrt(s) + epsilon),
        ),
        Mistake(ONE_FOR_ALL, _rms(new=lambda s, g, beta: beta * s + (1 - beta) * (g**2).mean())),
    ),
    hints=(
        "The state is like that of the heavy ball, a tree of zeros. It holds an average of squares in the place of a velocity.",
        "For one array: s_new = beta * s + (1 - beta) * g**2, then the update is -learning_rate * g / (sqrt(s_new) + epsilon).",
        "The update needs the gradient and the new average: `jax.tree.map(lambda g, s: ..., grads, square)` walks through "
        "both.",
    ),
)


# 2.5 adam(learning_rate, *, beta1, beta2, epsilon) -> init, update


def corrected_averages(m: Any, v: Any, k: int, beta1: float, beta2: float) -> tuple:
    """m / (1 - beta1**k) and v / (1 - beta2**k), for k from 1."""
    return m / (1 - beta1**k), v / (1 - beta2**k)


def adam_step(
    first: Callable = lambda m, g, beta: beta * m + (1 - beta) * g,
    second: Callable = lambda v, g, m, beta: beta * v + (1 - beta) * g**2,
    corrected: Callable = corrected_averages,
    divided: Callable = lambda m, v, epsilon: m / (np.sqrt(v) + epsilon),
    kept: Callable = lambda m, v, m_hat, v_hat: (m, v),
    grad: Callable = lambda g, p, decay: g,
    decayed: Callable = lambda step, p, decay: step,
) -> Callable:
    """One array's Adam, with every part exchangeable; `grad` and `decayed` are the two places for a weight decay."""

    def of_one_array(
        g: np.ndarray,
        p: np.ndarray,
        memory: tuple,
        k: int,
        *,
        learning_rate: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float = 0.0,
    ) -> tuple:
        g = grad(g, p, weight_decay)
        m = first(memory[0], g, beta1)
        v = second(memory[1], g, m, beta2)
        m_hat, v_hat = corrected(m, v, k, beta1, beta2)
        return -learning_rate * decayed(divided(m_hat, v_hat, epsilon), p, weight_decay), kept(m, v, m_hat, v_hat)

    return of_one_array


def _adam(**how: Callable) -> Callable:
    return pair_of(adam_step(**how), slots=2)


def power(shift: int) -> Callable:
    """Corrections with k + shift in the place of k."""

    def corrected(m: Any, v: Any, k: int, beta1: float, beta2: float) -> tuple:
        return m / np.float64(1 - beta1 ** (k + shift)), v / np.float64(1 - beta2 ** (k + shift))

    return corrected


def uncorrected(m: Any, v: Any, k: int, beta1: float, beta2: float) -> tuple:
    """The averages as they are."""
    return m, v


def only_first(m: Any, v: Any, k: int, beta1: float, beta2: float) -> tuple:
    """m corrected, v not."""
    return m / (1 - beta1**k), v


def only_second(m: Any, v: Any, k: int, beta1: float, beta2: float) -> tuple:
    """v corrected, m not."""
    return m, v / (1 - beta2**k)


def count_stays(m: Any, v: Any, k: int, beta1: float, beta2: float) -> tuple:
    """The correction of the first step, always."""
    return m / (1 - beta1), v / (1 - beta2)


def exchanged_betas(m: Any, v: Any, k: int, beta1: float, beta2: float) -> tuple:
    """Each average corrected with the other's beta."""
    return m / (1 - beta2**k), v / (1 - beta1**k)


_NOTHING_CORRECTED = (
    "The bias correction is missing. The averages begin at zero, so at first they are too small: divide m by 1 - beta1**k "
    "and v by 1 - beta2**k."
)


def adam_mistakes(adam: Callable) -> tuple[Mistake, ...]:
    """The mistakes in Adam's own lines, for an `adam(**parts of adam_step)` that makes the whole answer."""
    return (
        Mistake(_NOTHING_CORRECTED, adam(corrected=uncorrected)),
        Mistake(
            "The second average has no bias correction: divide v by 1 - beta2**k before the root.",
            adam(corrected=only_first),
        ),
        Mistake(
            "The first average has no bias correction: divide m by 1 - beta1**k.",
            adam(corrected=only_second),
        ),
        Mistake(
            "The bias correction has the wrong count of steps: it is 0 in the first step, where 1 - beta**0 = 0 divides by "
            "zero. Count the step before you correct: k = 1, 2, 3, ...",
            adam(corrected=power(-1)),
        ),
        Mistake(
            "The bias correction has the wrong count of steps: it is one too large. In the first step k is 1.",
            adam(corrected=power(1)),
        ),
        Mistake(
            "The bias correction has the wrong count of steps: it is always that of the first step, 1 - beta. Divide by "
            "1 - beta**k, with a k that grows by one in every step.",
            adam(corrected=count_stays),
        ),
        Mistake(
            "The bias corrections are exchanged: beta1 belongs to m, beta2 to v.",
            adam(corrected=exchanged_betas),
        ),
        Mistake(
            "The averages were multiplied by the bias correction. Divide by it.",
            adam(corrected=lambda m, v, k, beta1, beta2: (m * (1 - beta1**k), v * (1 - beta2**k))),
        ),
        Mistake(
            "The bias correction is 1 - beta * k. It is a power: 1 - beta**k.",
            adam(corrected=lambda m, v, k, beta1, beta2: (m / np.float64(1 - beta1 * k), v / np.float64(1 - beta2 * k))),
        ),
        Mistake(
            "The corrected averages went into the state, and were corrected again in the next step. Keep m and v as they are.",
            adam(kept=lambda m, v, m_hat, v_hat: (m_hat, v_hat)),
        ),
        Mistake(
            "Epsilon is inside the root: sqrt(v_hat + epsilon). Add it to the root, sqrt(v_hat) + epsilon.",
            adam(divided=lambda m, v, epsilon: m / np.sqrt(v + epsilon)),
        ),
        Mistake(NO_EPSILON, adam(divided=lambda m, v, epsilon: m / np.sqrt(v))),
        Mistake(
            "Epsilon was added to the quotient: mind the brackets, m_hat / (sqrt(v_hat) + epsilon).",
            adam(divided=lambda m, v, epsilon: m / np.sqrt(v) + epsilon),
        ),
        Mistake(NOT_SQUARED, adam(second=lambda v, g, m, beta: beta * v + (1 - beta) * g)),
        Mistake(
            "The average m was squared for v. It is the gradient that is squared: the average of squares, not the square of an "
            "average.",
            adam(second=lambda v, g, m, beta: beta * v + (1 - beta) * m**2),
        ),
        Mistake(NO_ROOT, adam(divided=lambda m, v, epsilon: m / (v + epsilon))),
        Mistake(
            "1 - beta1 is missing: m is an average, beta1 * m + (1 - beta1) * g.", adam(first=lambda m, g, beta: beta * m + g)
        ),
        Mistake(
            "1 - beta2 is missing: v is an average, beta2 * v + (1 - beta2) * g**2.",
            adam(second=lambda v, g, m, beta: beta * v + g**2),
        ),
        Mistake(
            "beta and 1 - beta are exchanged in m: beta1 says how much of the old average is kept.",
            adam(first=lambda m, g, beta: (1 - beta) * m + beta * g),
        ),
        Mistake(
            "beta and 1 - beta are exchanged in v: beta2 says how much of the old average is kept.",
            adam(second=lambda v, g, m, beta: (1 - beta) * v + beta * g**2),
        ),
        Mistake(ONE_FOR_ALL, adam(second=lambda v, g, m, beta: beta * v + (1 - beta) * (g**2).mean())),
    )


def _other_settings(step: Callable, change: Callable) -> Callable:
    """The step with `change(settings)` in the place of its settings."""

    def of_one_array(g: np.ndarray, p: np.ndarray, memory: tuple, k: int, **settings: float) -> tuple:
        return step(g, p, memory, k, **change(settings))

    return of_one_array


def _betas_swapped(settings: dict) -> dict:
    return {**settings, "beta1": settings["beta2"], "beta2": settings["beta1"]}


def _epsilon_hat(
    g: np.ndarray, p: np.ndarray, memory: tuple, k: int, *, learning_rate: float, beta1: float, beta2: float, epsilon: float
) -> tuple:
    m, v = beta1 * memory[0] + (1 - beta1) * g, beta2 * memory[1] + (1 - beta2) * g**2
    rate = learning_rate * np.sqrt(1 - beta2**k) / (1 - beta1**k)
    return -rate * m / (np.sqrt(v) + epsilon), (m, v)


def _not_averaged(
    g: np.ndarray, p: np.ndarray, memory: tuple, k: int, *, learning_rate: float, beta1: float, beta2: float, epsilon: float
) -> tuple:
    v = beta2 * memory[1] + (1 - beta2) * g**2
    return -learning_rate * g / (np.sqrt(v / (1 - beta2**k)) + epsilon), (memory[0], v)


EPSILON_HAT = (
    "Epsilon was added before the bias correction of the root, so it counts for more at the start. Correct first: "
    "m_hat / (sqrt(v_hat) + epsilon). (The short form that folds both corrections into the rate needs "
    "epsilon * sqrt(1 - beta2**k).)"
)

FORGOT_AVERAGES = (
    "The averages start again at zero in every step. Take the old ones from `state`, and return the new ones, with the new "
    "count, as the new state."
)

ADAM = Exercise(
    id="2.5",
    name="adam",
    title="Adam",
    minutes=20,
    difficulty=2,
    cases=lambda: pair_cases(
        {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.1},
        {"learning_rate": 0.02, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        {"learning_rate": 0.5, "beta1": 0.0, "beta2": 0.6, "epsilon": 1e-6},
        scales=(1.0, 100.0, 1e-4),
    ),
    reference=_adam(),
    run=run_pair,
    properties=PURE,
    rtol=2e-4,
    mistakes=(
        *form_mistakes(adam_step(), slots=2, forgot=FORGOT_AVERAGES),
        count_is_outside(adam_step(), slots=2),
        *adam_mistakes(_adam),
        Mistake(EPSILON_HAT, pair_of(_epsilon_hat, slots=2)),
        Mistake(
            "beta1 and beta2 are exchanged: beta1 averages the gradients, beta2 their squares.",
            pair_of(_other_settings(adam_step(), _betas_swapped), slots=2),
        ),
        Mistake(
            "The step is made of the gradient itself. Its numerator is the averaged gradient, m_hat.",
            pair_of(_not_averaged, slots=2),
        ),
    ),
    hints=(
        "Adam is the average form of momentum over the root of RMSProp, each divided by what it lacks at the start. So the "
        "state has three parts: a count, m and v.",
        "In `update`, first k = count + 1. Then m and v. Then m_hat = m / (1 - beta1**k) and v_hat = v / (1 - beta2**k), which "
        "don't go into the state.",
        "The update of one array is -learning_rate * m_hat / (sqrt(v_hat) + epsilon). Return it with the new state, "
        "`(k, m, v)`.",
    ),
)
