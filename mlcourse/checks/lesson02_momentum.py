"""Exercises of lesson 02 on momentum: the heavy ball, its pace, Nesterov's look ahead."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson02_pairs import PURE, form_mistakes, pair_cases, pair_of, run_pair


def _velocity(
    step: Callable = lambda v, g, old, rate, beta: -rate * v,
    new: Callable = lambda v, g, beta: beta * v + g,
    kept: Callable = lambda v, step: v,
) -> Callable:
    """One array's step: `new(v, g, beta)` is the velocity, `step(v, g, old v, rate, beta)` the update."""

    def of_one_array(g: np.ndarray, p: np.ndarray, memory: tuple, k: int, *, learning_rate: float, beta: float) -> tuple:
        (old,) = memory
        v = new(old, g, beta)
        update = step(v, g, old, learning_rate, beta)
        return update, (kept(v, update),)

    return of_one_array


def _pair(*args: Callable, **how: Callable) -> Callable:
    return pair_of(_velocity(*args, **how), slots=1)


def _momentum_cases() -> dict:
    return pair_cases(
        {"learning_rate": 0.1, "beta": 0.9},
        {"learning_rate": 0.5, "beta": 0.3},
        {"learning_rate": 0.02, "beta": 0.0},
        scales=(1.0, 20.0, 50.0),
    )


# 2.1 momentum(*, learning_rate, beta) -> init, update

_AVERAGE = (
    "This is the average form: the new gradient was multiplied by 1 - beta, so the steps are that much shorter. The heavy ball "
    "adds the whole gradient: v = beta * v + g."
)
_AROUND = "beta and 1 - beta are exchanged. beta says how much of the old velocity is kept."
_GRADIENT_TOO = "beta multiplies the new gradient too. It brakes only the old velocity: v = beta * v + g."
_RATE_TWICE = "The learning rate was applied twice, in the velocity and in the step. Once is enough."
_STEP_KEPT = (
    "The step went into the state in the place of the velocity. The velocity must be kept as it is, without the minus and the "
    "learning rate."
)

MOMENTUM = Exercise(
    id="2.1",
    name="momentum",
    title="Momentum: the heavy ball",
    minutes=15,
    difficulty=1,
    cases=_momentum_cases,
    reference=_pair(),
    run=run_pair,
    properties=PURE,
    mistakes=(
        *form_mistakes(
            _velocity(),
            slots=1,
            forgot="This is plain gradient descent: the velocity does not live from one step to the next. Take the old one "
            "from `state`, and return the new one as the new state.",
        ),
        Mistake(_AVERAGE, _pair(new=lambda v, g, beta: beta * v + (1 - beta) * g)),
        Mistake(_AROUND, _pair(new=lambda v, g, beta: (1 - beta) * v + g)),
        Mistake(_AROUND, _pair(new=lambda v, g, beta: (1 - beta) * v + beta * g)),
        Mistake(_GRADIENT_TOO, _pair(new=lambda v, g, beta: beta * (v + g))),
        Mistake("The velocity is never slowed down: multiply the old one by beta.", _pair(new=lambda v, g, beta: v + g)),
        Mistake(
            "beta multiplies the gradient, and the old velocity is kept whole. It is the other way round: v = beta * v + g.",
            _pair(new=lambda v, g, beta: v + beta * g),
        ),
        Mistake(
            "The step is one gradient late: it was made with the velocity that came in. Make the new one first, and step "
            "with it.",
            _pair(lambda v, g, old, rate, beta: -rate * old),
        ),
        Mistake(_RATE_TWICE, _pair(lambda v, g, old, rate, beta: -rate * rate * v)),
        Mistake(_STEP_KEPT, _pair(kept=lambda v, step: step)),
        Mistake(
            "State and updates are exchanged: `return updates, state`.",
            pair_of(
                lambda g, p, memory, k, *, learning_rate, beta: (
                    beta * memory[0] + g,
                    (-learning_rate * (beta * memory[0] + g),),
                ),
                slots=1,
            ),
        ),
        Mistake(
            "This is Nesterov's form. The heavy ball steps with the velocity alone: -learning_rate * v.",
            _pair(lambda v, g, old, rate, beta: -rate * (g + beta * v)),
        ),
        Mistake(
            "The gradient counts twice: it is in the new velocity already.",
            _pair(lambda v, g, old, rate, beta: -rate * (v + g)),
        ),
    ),
    hints=(
        "The state is the velocity: a tree of zeros in the shapes of the parameters, which `jax.tree.map(jnp.zeros_like, "
        "params)` makes.",
        "For one array: v_new = beta * v + g, then the update is -learning_rate * v_new.",
        "Two walks through the trees: `velocity = jax.tree.map(lambda v, g: beta * v + g, state, grads)`, and one that makes "
        "the updates from `velocity`. Return both, the updates first.",
    ),
)


# 2.2 same_pace(learning_rate, beta, new_beta) -> rate of the heavy ball, rate of the average form


def _pace_cases() -> dict:
    return {
        "from 0.9 to 0.99": {"learning_rate": 0.1, "beta": 0.9, "new_beta": 0.99},
        "from 0.8 down to 0.5": {"learning_rate": 0.03, "beta": 0.8, "new_beta": 0.5},
        "from no momentum": {"learning_rate": 2.0, "beta": 0.0, "new_beta": 0.75},
        "to no momentum": {"learning_rate": 0.4, "beta": 0.6, "new_beta": 0.0},
    }


def _pace(heavy: Callable | None = None, average: Callable | None = None) -> Callable:
    heavy = heavy or (lambda rate, b, c: rate * (1 - c) / (1 - b))
    average = average or (lambda rate, b, c: rate / (1 - b))
    return lambda *given: (heavy(*given), average(*given))


SAME_PACE = Exercise(
    id="2.2",
    name="same_pace",
    title="The same pace with another momentum",
    minutes=10,
    difficulty=2,
    cases=_pace_cases,
    reference=_pace(),
    mistakes=(
        Mistake(
            "The first rate was left as it is. With a constant gradient a heavy ball's velocity grows to g / (1 - beta), so "
            "another beta changes the pace.",
            _pace(heavy=lambda rate, b, c: rate),
        ),
        Mistake(
            "The first rate is the wrong way round: more momentum means longer steps, so the rate must come down as 1 - beta "
            "does.",
            _pace(heavy=lambda rate, b, c: rate * (1 - b) / (1 - c)),
        ),
        Mistake(
            "The first rate follows beta. It is 1 - beta that counts: steps grow to learning_rate * g / (1 - beta).",
            _pace(heavy=lambda rate, b, c: rate * b / c if c else np.float64(rate * b) / np.float64(c)),
        ),
        Mistake(
            "The first rate follows beta. It is 1 - beta that counts: steps grow to learning_rate * g / (1 - beta).",
            _pace(heavy=lambda rate, b, c: rate * c / b if b else np.float64(rate * c) / np.float64(b)),
        ),
        Mistake(
            "The first rate is that of a start without momentum. The old beta was at work too: its pace is "
            "learning_rate / (1 - beta).",
            _pace(heavy=lambda rate, b, c: rate * (1 - c)),
        ),
        Mistake(
            "The first number is the pace itself, learning_rate / (1 - beta). The heavy ball multiplies its rate by "
            "1 / (1 - new_beta) on its own.",
            _pace(heavy=lambda rate, b, c: rate / (1 - b)),
        ),
        Mistake(
            "The second rate was left as it is. The average form takes steps of learning_rate * g in the long run, the heavy "
            "ball of learning_rate * g / (1 - beta).",
            _pace(average=lambda rate, b, c: rate),
        ),
        Mistake(
            "The second rate was made with the new beta. The average form's pace does not depend on its own beta: only the old "
            "heavy ball's does.",
            _pace(average=lambda rate, b, c: rate / (1 - c)),
        ),
        Mistake(
            "The second rate is the wrong way round: the average form takes *shorter* steps than a heavy ball of the same "
            "rate, so its rate must be larger.",
            _pace(average=lambda rate, b, c: rate * (1 - b)),
        ),
        Mistake(
            "The second rate was made with the new beta, and the wrong way round. The average form's steps are learning_rate "
            "* g in the long run, whatever its beta.",
            _pace(average=lambda rate, b, c: rate * (1 - c)),
        ),
        Mistake(
            "In the second rate the new beta counts twice. The average form's steps are learning_rate * g in the long run, "
            "whatever its beta.",
            _pace(average=lambda rate, b, c: rate * (1 - c) / (1 - b)),
        ),
        Mistake("The two rates are exchanged: first the heavy ball's.", lambda *given: _pace()(*given)[::-1]),
        Mistake("This is one of two numbers. `return heavy, average`.", lambda *given: _pace()(*given)[0]),
    ),
    hints=(
        "Let every gradient be g = 1. Where does v = beta * v + 1 come to rest? Solve v = beta * v + 1 for v.",
        "So the old optimizer's pace is learning_rate / (1 - beta). The average form v = beta * v + (1 - beta) * 1 comes to "
        "rest at 1, whatever beta.",
        "Set rate / (1 - new_beta) equal to the old pace; and for the average form, set rate * 1 equal to it.",
    ),
)


# 2.3 nesterov(*, learning_rate, beta) -> init, update


def _nesterov_cases() -> dict:
    return pair_cases(
        {"learning_rate": 0.1, "beta": 0.8},
        {"learning_rate": 0.5, "beta": 0.3},
        {"learning_rate": 0.02, "beta": 0.95},
        scales=(1.0, 20.0, 50.0),
    )


def _ahead(v: Any, g: Any, old: Any, rate: float, beta: float) -> Any:
    return -rate * (g + beta * v)


NESTEROV = Exercise(
    id="2.3",
    name="nesterov",
    title="Nesterov: a look ahead",
    minutes=10,
    difficulty=2,
    cases=_nesterov_cases,
    reference=_pair(_ahead),
    run=run_pair,
    properties=PURE,
    mistakes=(
        *form_mistakes(
            _velocity(_ahead),
            slots=1,
            forgot="The velocity does not live from one step to the next: every step is -learning_rate * (1 + beta) * g. "
            "Return the new velocity as the new state.",
        ),
        Mistake(
            "This is the heavy ball. Nesterov's step is -learning_rate * (g + beta * v) with the *new* velocity v. With the "
            "old one in it, g + beta * v is the heavy ball again.",
            _pair(),
        ),
        Mistake(
            "The gradient is missing in the step: g + beta * v, not beta * v alone.",
            _pair(lambda v, g, old, rate, beta: -rate * beta * v),
        ),
        Mistake(
            "The gradient and the velocity changed places: beta multiplies the velocity, g + beta * v.",
            _pair(lambda v, g, old, rate, beta: -rate * (v + beta * g)),
        ),
        Mistake(
            "The new velocity counts in full. It is slowed down by beta once more: g + beta * v.",
            _pair(lambda v, g, old, rate, beta: -rate * (g + v)),
        ),
        Mistake(
            "The velocity was added to itself. The step is g + beta * v.",
            _pair(lambda v, g, old, rate, beta: -rate * (v + beta * v)),
        ),
        Mistake(
            "What was kept is the look ahead, g + beta * v. The state is the velocity v alone.",
            pair_of(
                lambda g, p, memory, k, *, learning_rate, beta: (
                    -learning_rate * (g + beta * (beta * memory[0] + g)),
                    (g + beta * (beta * memory[0] + g),),
                ),
                slots=1,
            ),
        ),
        Mistake(_AVERAGE, _pair(_ahead, new=lambda v, g, beta: beta * v + (1 - beta) * g)),
        Mistake(
            "This is the average form: both gradients were multiplied by 1 - beta.",
            _pair(
                lambda v, g, old, rate, beta: -rate * ((1 - beta) * g + beta * v),
                new=lambda v, g, beta: beta * v + (1 - beta) * g,
            ),
        ),
        Mistake(_AROUND, _pair(_ahead, new=lambda v, g, beta: (1 - beta) * v + g)),
        Mistake(_GRADIENT_TOO, _pair(_ahead, new=lambda v, g, beta: beta * (v + g))),
        Mistake(_RATE_TWICE, _pair(lambda v, g, old, rate, beta: -rate * rate * (g + beta * v))),
        Mistake(_STEP_KEPT, _pair(_ahead, kept=lambda v, step: step)),
    ),
    hints=(
        "Begin with your heavy ball: the state and the new velocity are the same. Only the step differs.",
        "The next step would carry beta * v of today's velocity along. Nesterov takes that part now, on top of the fresh "
        "gradient.",
        "update = -learning_rate * (g + beta * v_new).",
    ),
)
