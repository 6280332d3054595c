"""Exercises of lesson 02 that hand over a bug around the optimizer: a decay before it, a schedule that counts epochs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson02_pairs import PURE, Pair, flat, pair_cases, rebuilt, run_pair

# 2.13 decayed(optimizer, *, learning_rate, weight_decay) -> init, update


def _no_memory(params: Any) -> tuple:
    """init: nothing is remembered"""
    return ()


def _bounded_update(grads: Any, state: Any, params: Any = None) -> tuple:
    """update: -0.1 g / (|g| + 0.5), where large gradients are scaled down as in Adam"""
    return rebuilt(grads, {path: -0.1 * g / (abs(g) + 0.5) for path, g in flat(grads).items()}), state


def _first_params(params: Any) -> Any:
    """init: a velocity of zeros"""
    return rebuilt(params, {path: 0 * p for path, p in flat(params).items()})


def _heavy_update(grads: Any, state: Any, params: Any = None) -> tuple:
    """update: a heavy ball whose velocity, below 1 in size, is its step"""
    g = flat(grads)
    velocity = {path: 0.5 * v + g[path] / (1 + g[path] ** 2) for path, v in flat(state).items()}
    return rebuilt(state, {path: -0.2 * v for path, v in velocity.items()}), rebuilt(state, velocity)


def _of_size_update(grads: Any, state: Any, params: Any = None) -> tuple:
    """update: a step in the direction of g as large as 0.1 p (it needs params)"""
    p = flat(params)
    return rebuilt(grads, {path: -0.1 * abs(p[path]) * g / (1 + abs(g)) for path, g in flat(grads).items()}), state


def _decay_cases() -> dict:
    return pair_cases(
        {"optimizer": (_no_memory, _bounded_update), "learning_rate": 0.1, "weight_decay": 0.5},
        {"optimizer": (_first_params, _heavy_update), "learning_rate": 0.2, "weight_decay": 2.0},
        {"optimizer": (_no_memory, _of_size_update), "learning_rate": 0.05, "weight_decay": 1.5},
        scales=(1.0, 3.0, 2.0),
    )


def _decayed(
    after: Callable = lambda u, p, rate, decay: u - rate * decay * p,
    before: Callable = lambda g, p, rate, decay: g,
    returned: Callable = lambda updates, state, old: (updates, state),
) -> Callable:
    """The optimizer with `before` done to every gradient and `after` to every update."""

    def decayed(optimizer: Pair, *, learning_rate: float, weight_decay: float) -> Pair:
        init, inner = optimizer

        def each(change: Callable, tree: Any, params: Any) -> Any:
            p = flat(params)
            return rebuilt(tree, {path: change(x, p[path], learning_rate, weight_decay) for path, x in flat(tree).items()})

        def update(grads: Any, state: Any, params: Any) -> tuple:
            updates, new = inner(each(before, grads, params), state, params)
            return returned(each(after, updates, params), new, state)

        return init, update

    return decayed


def _run_decayed(answer: Callable, *, optimizer: Pair, params: Any, grads: list, probe: str = "", **settings: Any) -> Any:
    return run_pair(lambda **these: answer(optimizer, **these), params=params, grads=grads, probe=probe, **settings)


def _adds_decay(g: Any, p: Any, rate: float, decay: float) -> Any:
    return g + decay * p


def _as_it_is(u: Any, p: Any, rate: float, decay: float) -> Any:
    return u


DECAYED = Exercise(
    id="2.13",
    name="decayed",
    title="Find the bug: weights that hardly decay",
    minutes=15,
    difficulty=2,
    cases=_decay_cases,
    reference=_decayed(),
    run=_run_decayed,
    properties=PURE,
    mistakes=(
        Mistake(
            "The decay still goes through the gradient, so the optimizer inside scales it like a gradient. Let the optimizer "
            "work first, and add -learning_rate * weight_decay * p to its updates.",
            _decayed(_as_it_is, _adds_decay),
        ),
        Mistake(
            "The decay is in both places now. Leave the gradient as it is.",
            _decayed(before=_adds_decay),
        ),
        Mistake(
            "The learning rate is missing: updates are ready-made steps, already multiplied by it. The decay needs it too, "
            "-learning_rate * weight_decay * p.",
            _decayed(lambda u, p, rate, decay: u - decay * p),
        ),
        Mistake(
            "The sign is wrong: updates are *added*, so this makes the weights grow. Subtract the decay.",
            _decayed(lambda u, p, rate, decay: u + rate * decay * p),
        ),
        Mistake(
            "Sign and learning rate are missing: weight_decay * p is added to a finished step as if it were a gradient. Add "
            "-learning_rate * weight_decay * p.",
            _decayed(lambda u, p, rate, decay: u + decay * p),
        ),
        Mistake(
            "The whole update was multiplied by the learning rate. Updates are ready-made: only the decay needs it.",
            _decayed(lambda u, p, rate, decay: rate * (u - decay * p)),
        ),
        Mistake(
            "The whole update was multiplied by -learning_rate. Updates are ready-made: only the decay needs it.",
            _decayed(lambda u, p, rate, decay: -rate * (u + decay * p)),
        ),
        Mistake("There is no decay any more.", _decayed(_as_it_is)),
        Mistake(
            "This is the decay alone: the optimizer's update is lost. Add them.",
            _decayed(lambda u, p, rate, decay: -rate * decay * p),
        ),
        Mistake(
            "The update was shrunk, not the weights: p does not occur in the decay.",
            _decayed(lambda u, p, rate, decay: u * (1 - rate * decay)),
        ),
        Mistake(
            "The decay was taken from the weights after the step. Take it from those that came in.",
            _decayed(lambda u, p, rate, decay: u - rate * decay * (p + u)),
        ),
        Mistake(
            "These are the new parameters. Return the updates, what is to be added.",
            _decayed(lambda u, p, rate, decay: p + u - rate * decay * p),
        ),
        Mistake(
            "The gradient was multiplied by the learning rate first. Give the optimizer its gradient as it is.",
            _decayed(_as_it_is, lambda g, p, rate, decay: g + rate * decay * p),
        ),
        Mistake(
            "The state that came in was returned. Return the one that the optimizer gave.",
            _decayed(returned=lambda updates, state, old: (updates, old)),
        ),
    ),
    hints=(
        "What does the optimizer inside do with a number that is added to the gradient? Follow it where the gradient is large.",
        "Call the optimizer with the gradients as they came. Its updates are ready to be added to the parameters.",
        "`jax.tree.map(lambda u, p: u - learning_rate * weight_decay * p, updates, params)`.",
    ),
)


# 2.14 rates_of_run(schedule, *, num_epochs, num_batches) -> (num_epochs * num_batches,)


def _ramp(step: Any) -> float:
    """schedule(step): 0.1 (step + 1) up to 0.6, then 0.02 less in every step"""
    return min(0.1 * (step + 1), 0.6 - 0.02 * (step - 5))


def _halved(step: Any) -> float:
    """schedule(step): 2.0, halved in every step"""
    return 2.0 * 0.5**step


def _rates_cases() -> dict:
    return {
        "3 epochs of 4 batches": {"schedule": _ramp, "num_epochs": 3, "num_batches": 4},
        "2 epochs of 5 batches": {"schedule": _halved, "num_epochs": 2, "num_batches": 5},
        "1 epoch of 7 batches": {"schedule": _ramp, "num_epochs": 1, "num_batches": 7},
        "5 epochs of 2 batches": {"schedule": _halved, "num_epochs": 5, "num_batches": 2},
    }


def _run_rates(answer: Callable, schedule: Callable, num_epochs: int, num_batches: int) -> Any:
    rates = answer(schedule, num_epochs=num_epochs, num_batches=num_batches)
    return np.array(rates) if isinstance(rates, list) else rates


def _rates(count: Callable = lambda epoch, batch, E, B: epoch * B + batch) -> Callable:
    """The schedule at `count(epoch, batch, num_epochs, num_batches)` for every batch."""

    def rates(schedule: Callable, *, num_epochs: int, num_batches: int) -> np.ndarray:
        places = [(epoch, batch) for epoch in range(num_epochs) for batch in range(num_batches)]
        return np.array([schedule(count(*place, num_epochs, num_batches)) for place in places])

    return rates


RATES_OF_RUN = Exercise(
    id="2.14",
    name="rates_of_run",
    title="Find the bug: a warm-up without end",
    minutes=10,
    difficulty=1,
    cases=_rates_cases,
    reference=_rates(),
    run=_run_rates,
    mistakes=(
        Mistake(
            "The schedule still counts epochs: all batches of an epoch get the same rate. It wants the number of updates "
            "made so far, which goes on from epoch to epoch.",
            _rates(lambda epoch, batch, E, B: epoch),
        ),
        Mistake(
            "The schedule begins again in every epoch: `batch` alone starts at 0 each time. Add the updates of the epochs "
            "before.",
            _rates(lambda epoch, batch, E, B: batch),
        ),
        Mistake(
            "The count moves only between epochs. Within an epoch every batch is one update more.",
            _rates(lambda epoch, batch, E, B: epoch * B),
        ),
        Mistake(
            "Off by one: the first update gets the rate of the second. Before it, 0 updates have been made. Ask for the rate "
            "first, and count afterwards.",
            _rates(lambda epoch, batch, E, B: epoch * B + batch + 1),
        ),
        Mistake(
            "Off by one: from the second update on the rate is one step late.",
            _rates(lambda epoch, batch, E, B: max(0, epoch * B + batch - 1)),
        ),
        Mistake(
            "Off by one at the end of every epoch: an update is counted twice there. An epoch has num_batches updates.",
            _rates(lambda epoch, batch, E, B: epoch * (B - 1) + batch),
        ),
        Mistake(
            "Off by one at the start of every epoch: an update is left out there. An epoch has num_batches updates.",
            _rates(lambda epoch, batch, E, B: epoch * (B + 1) + batch),
        ),
        Mistake(
            "epoch + batch is no count: an epoch stands for num_batches updates.",
            _rates(lambda epoch, batch, E, B: epoch + batch),
        ),
        Mistake(
            "The epochs were multiplied by num_epochs. An epoch has num_batches updates.",
            _rates(lambda epoch, batch, E, B: epoch * E + batch),
        ),
        Mistake(
            "These are parts of epochs, epoch + batch / num_batches. The schedule counts updates.",
            _rates(lambda epoch, batch, E, B: epoch + batch / B),
        ),
        Mistake(
            "There is one rate for each epoch. Every update has its own.",
            lambda schedule, *, num_epochs, num_batches: np.array([schedule(epoch) for epoch in range(num_epochs)]),
        ),
    ),
    hints=(
        "What does `schedule` count? How often is it asked for a new number in the broken code?",
        "After `epoch` whole epochs, epoch * num_batches updates have been made. And some more in this one.",
        "Or count by yourself: `step = 0` before both loops, `step += 1` after every update.",
    ),
)
