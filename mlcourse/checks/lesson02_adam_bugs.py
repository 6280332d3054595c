"""Exercises of lesson 02 that hand over an Adam with a bug: no bias correction, the epsilon in the wrong place."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson02_adaptive import (
    EPSILON_HAT,
    corrected_averages,
    count_stays,
    exchanged_betas,
    only_first,
    only_second,
    power,
    uncorrected,
)

# 2.11 adam_path(gradient, start, *, learning_rate, beta1, beta2, epsilon, num_steps) -> (num_steps + 1, d)


def _slope(x: Any) -> Any:
    """gradient(x) = x**3 + 2 x, the slope of a bowl with its lowest point at 0"""
    return x**3 + 2 * x


def _path_cases() -> dict:
    wide = np.float32([0.5, 9.0, -1.0, 9.0, 2.0])

    def case(start: np.ndarray, rate: float, beta1: float, beta2: float, epsilon: float, num_steps: int) -> dict:
        return {
            "gradient": _slope,
            "start": start,
            "learning_rate": rate,
            "beta1": beta1,
            "beta2": beta2,
            "epsilon": epsilon,
            "num_steps": num_steps,
        }

    return {
        "two parameters": case(np.float32([2.0, -1.0]), 0.1, 0.9, 0.999, 1e-8, 4),
        "a large epsilon": case(np.float32([-1.5, 0.5, 1.0]), 0.2, 0.8, 0.95, 0.5, 5),
        "beta1 = 0, and every second entry": case(wide[::2], 0.05, 0.0, 0.6, 0.01, 3),
        "no steps": case(np.float32([1.0, 3.0]), 0.1, 0.9, 0.99, 0.1, 0),
    }


def _run_path(answer: Callable, gradient: Callable, start: Any, **settings: Any) -> Any:
    return answer(gradient, start, **settings)


def _path(
    corrected: Callable = corrected_averages,
    divided: Callable = lambda m, v, epsilon: m / (np.sqrt(v) + epsilon),
    kept: Callable = lambda m, v, m_hat, v_hat: (m, v),
    summed_up: Callable = lambda path: path,
) -> Callable:
    """Adam's path, with its parts exchangeable; `corrected(m, v, k, beta1, beta2)` with k from 1."""

    def path(
        gradient: Callable,
        start: np.ndarray,
        *,
        learning_rate: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        num_steps: int,
    ) -> np.ndarray:
        x, m, v = start.astype(np.float64), 0 * start, 0 * start
        points = [x]
        for k in range(1, num_steps + 1):
            g = gradient(x)
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
            m_hat, v_hat = corrected(m, v, k, beta1, beta2)
            x = x - learning_rate * divided(m_hat, v_hat, epsilon)
            m, v = kept(m, v, m_hat, v_hat)
            points.append(x)
        return summed_up(np.stack(points))

    return path


def _path_epsilon_hat(gradient: Callable, start: np.ndarray, *, num_steps: int, **settings: float) -> np.ndarray:
    rate, beta1, beta2, epsilon = (settings[name] for name in ("learning_rate", "beta1", "beta2", "epsilon"))
    points, m, v = [start.astype(np.float64)], 0.0, 0.0
    for k in range(1, num_steps + 1):
        g = gradient(points[-1])
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        points.append(points[-1] - rate * np.sqrt(1 - beta2**k) / (1 - beta1**k) * m / (np.sqrt(v) + epsilon))
    return np.stack(points)


ADAM_PATH = Exercise(
    id="2.11",
    name="adam_path",
    title="Find the bug: the first steps are too long",
    minutes=10,
    difficulty=2,
    cases=_path_cases,
    reference=_path(),
    run=_run_path,
    rtol=2e-4,
    mistakes=(
        Mistake(
            "The bias correction is still missing. Both averages begin at zero: divide m by 1 - beta1**k and v by 1 - beta2**k "
            "before the step.",
            _path(corrected=uncorrected),
        ),
        Mistake(
            "v is still too small at the start: it needs its bias correction too, v / (1 - beta2**k).",
            _path(corrected=only_first),
        ),
        Mistake(
            "m is still too small at the start: it needs its bias correction too, m / (1 - beta1**k).",
            _path(corrected=only_second),
        ),
        Mistake(
            "The correction has the wrong count of steps. The loop counts from 0, and 1 - beta**0 is 0: the power is k + 1 in "
            "this loop.",
            _path(corrected=power(-1)),
        ),
        Mistake(
            "The correction has the wrong count of steps: in the first step the power is 1.",
            _path(corrected=power(1)),
        ),
        Mistake(
            "The correction is the same in every step, 1 - beta. Its power grows with the steps: 1 - beta**k.",
            _path(corrected=count_stays),
        ),
        Mistake("The corrections are exchanged: beta1 belongs to m, beta2 to v.", _path(corrected=exchanged_betas)),
        Mistake(
            "The averages were multiplied by the correction. Divide by it.",
            _path(corrected=lambda m, v, k, beta1, beta2: (m * (1 - beta1**k), v * (1 - beta2**k))),
        ),
        Mistake(
            "The corrected averages took the place of m and v, and were averaged and corrected again in the next step. Give "
            "them names of their own.",
            _path(kept=lambda m, v, m_hat, v_hat: (m_hat, v_hat)),
        ),
        Mistake(
            "The root was divided by 1 - beta2**k. Correct v first, and take the root afterwards.",
            _path(
                corrected=lambda m, v, k, beta1, beta2: (m / (1 - beta1**k), v / (1 - beta2**k) ** 2),
            ),
        ),
        Mistake(EPSILON_HAT, _path_epsilon_hat),
        Mistake(
            "Epsilon went into the root on the way. It stood right: sqrt(v) + epsilon.",
            _path(divided=lambda m, v, epsilon: m / np.sqrt(v + epsilon)),
        ),
        Mistake(
            "The start is missing: the path has num_steps + 1 points, and `start` is the first.",
            _path(summed_up=lambda path: path[1:]),
        ),
        Mistake("This is the last point only. Return all of them, the start first.", _path(summed_up=lambda path: path[-1])),
    ),
    hints=(
        "Work out the first step by hand, for a gradient of 1: m is 1 - beta1, v is 1 - beta2. What is m / sqrt(v) with 0.9 "
        "and 0.999? What should it be?",
        "Both averages begin at 0, so after k steps their weights add up to 1 - beta**k only. Divide by that.",
        "`m_hat = m / (1 - beta1 ** (k + 1))` if the loop's k begins at 0. m itself goes on uncorrected.",
    ),
)


# 2.12 adam_update(g, m, v, k, *, learning_rate, beta1, beta2, epsilon) -> update, m, v


def _update_cases() -> dict:
    rng = np.random.default_rng(212)

    def case(shape: tuple, size: float, k: int, rate: float, beta1: float, beta2: float, epsilon: float) -> dict:
        g, m, v = (size * rng.normal(size=shape) for _ in range(3))
        if k == 1:
            m, v = 0 * m, 0 * v
        arrays = {"g": g, "m": m, "v": v**2}
        settings = {"k": k, "learning_rate": rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
        return {**{name: np.float32(array) for name, array in arrays.items()}, **settings}

    wide = case((3, 4), 0.3, 7, 0.2, 0.7, 0.9, 1e-3)
    nothing = case((2,), 0.0, 1, 0.1, 0.9, 0.999, 1e-8)
    return {
        "gradients of about 1e-5": case((3,), 1e-5, 2, 0.1, 0.9, 0.999, 1e-8),
        "a large epsilon": case((2, 3), 1.0, 3, 0.5, 0.8, 0.95, 0.1),
        "the first step": case((2, 2), 0.1, 1, 0.1, 0.9, 0.99, 1e-2),
        "every second column": {name: value[:, ::2] if np.ndim(value) else value for name, value in wide.items()},
        "gradients that are all 0": nothing,
    }


def _run_update(answer: Callable, g: Any, m: Any, v: Any, k: int, **settings: float) -> Any:
    return answer(g, m, v, k, **settings)


def _update(
    step: Callable = lambda m, v, epsilon: m / (np.sqrt(v) + epsilon),
    corrected: Callable = corrected_averages,
    returned: Callable = lambda update, m, v: (update, m, v),
) -> Callable:
    """`step(m_hat, v_hat, epsilon)` times -learning_rate, with m and v."""

    def update(
        g: np.ndarray, m: np.ndarray, v: np.ndarray, k: int, *, learning_rate: float, beta1: float, beta2: float, epsilon: float
    ) -> tuple:
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        return returned(-learning_rate * step(*corrected(m, v, k, beta1, beta2), epsilon), m, v)

    return update


def _update_epsilon_hat(g: np.ndarray, m: np.ndarray, v: np.ndarray, k: int, **settings: float) -> tuple:
    def folded(m: Any, v: Any, epsilon: float) -> Any:
        return np.sqrt(1 - settings["beta2"] ** k) / (1 - settings["beta1"] ** k) * m / (np.sqrt(v) + epsilon)

    return _update(folded, corrected=uncorrected)(g, m, v, k, **settings)


def _epsilon_in_v(g: np.ndarray, m: np.ndarray, v: np.ndarray, k: int, **settings: float) -> tuple:
    return _update(
        lambda m_hat, v_hat, epsilon: m_hat / np.sqrt(v_hat + epsilon / (1 - settings["beta2"] ** k)),
        returned=lambda update, m, v: (update, m, v + settings["epsilon"]),
    )(g, m, v, k, **settings)


ADAM_UPDATE = Exercise(
    id="2.12",
    name="adam_update",
    title="Find the bug: small gradients, smaller steps",
    minutes=10,
    difficulty=2,
    cases=_update_cases,
    reference=_update(),
    run=_run_update,
    rtol=2e-4,
    atol=1e-12,
    mistakes=(
        Mistake(
            "Epsilon is still inside the root, where it is compared with *squares* of gradients. Add it to the root: "
            "sqrt(v_hat) + epsilon.",
            _update(lambda m, v, epsilon: m / np.sqrt(v + epsilon)),
        ),
        Mistake(
            "Epsilon was taken out altogether: gradients that are all 0 now give 0 / 0.",
            _update(lambda m, v, epsilon: m / np.sqrt(v)),
        ),
        Mistake(
            "Epsilon was squared inside the root. That has the right size, but it is another formula: sqrt(v_hat) + epsilon.",
            _update(lambda m, v, epsilon: m / np.sqrt(v + epsilon**2)),
        ),
        Mistake(
            "Epsilon stands in both places now. Only outside of the root.",
            _update(lambda m, v, epsilon: m / (np.sqrt(v + epsilon) + epsilon)),
        ),
        Mistake(
            "Epsilon was added to the quotient: mind the brackets, m_hat / (sqrt(v_hat) + epsilon).",
            _update(lambda m, v, epsilon: m / np.sqrt(v) + epsilon),
        ),
        Mistake(
            "This is the larger of root and epsilon. Add them.",
            _update(lambda m, v, epsilon: m / np.maximum(np.sqrt(v), epsilon)),
        ),
        Mistake(
            "The root of epsilon was added: sqrt(v_hat) + sqrt(epsilon) is as large as before.",
            _update(lambda m, v, epsilon: m / (np.sqrt(v) + np.sqrt(epsilon))),
        ),
        Mistake("Epsilon was subtracted. Add it.", _update(lambda m, v, epsilon: m / (np.sqrt(v) - epsilon))),
        Mistake("The root is gone with it: divide by sqrt(v_hat) + epsilon.", _update(lambda m, v, epsilon: m / (v + epsilon))),
        Mistake(EPSILON_HAT, _update_epsilon_hat),
        Mistake(
            "Epsilon went into v, and with it into the state, where it adds up from step to step.",
            _epsilon_in_v,
        ),
        Mistake("The bias correction was lost on the way. It was right.", _update(corrected=uncorrected)),
        Mistake(
            "The corrected averages were returned. The next step needs m and v as they are.",
            lambda g, m, v, k, **settings: _update(
                returned=lambda update, m, v: (update, *corrected_averages(m, v, k, settings["beta1"], settings["beta2"]))
            )(g, m, v, k, **settings),
        ),
        Mistake("Return the update with m and v: the next step needs them.", _update(returned=lambda update, m, v: update)),
        Mistake(
            "The sign is lost: the update is added to the parameters, so it needs a minus.",
            _update(returned=lambda update, m, v: (-update, m, v)),
        ),
    ),
    hints=(
        "Compare sizes. The gradient is about 1e-5, so v is about 1e-10. Which of v and epsilon = 1e-8 decides the root?",
        "Epsilon is only to stop a division by zero. It should be small against the root of v, not against v.",
        "m_hat / (sqrt(v_hat) + epsilon).",
    ),
)
