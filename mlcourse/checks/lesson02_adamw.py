"""Exercise of lesson 02 on weight decay: AdamW, whose decay does not go through the gradient."""

from collections.abc import Callable

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson02_adaptive import FORGOT_AVERAGES, adam_mistakes, adam_step
from mlcourse.checks.lesson02_pairs import PURE, count_is_outside, form_mistakes, pair_cases, pair_of, run_pair

# 2.6 adamw(learning_rate, *, beta1, beta2, epsilon, weight_decay) -> init, update


def _adamw(**how: Callable) -> Callable:
    return pair_of(adam_step(**{"decayed": lambda step, p, decay: step + decay * p, **how}), slots=2)


def _coupled_first_only(
    g: np.ndarray, p: np.ndarray, memory: tuple, k: int, *, weight_decay: float, **settings: float
) -> tuple:
    """Decay in the average of the gradients, not in that of the squares."""
    update, (_, v) = adam_step()(g, p, memory, k, **settings)
    m = settings["beta1"] * memory[0] + (1 - settings["beta1"]) * (g + weight_decay * p)
    m_hat, v_hat = m / (1 - settings["beta1"] ** k), v / (1 - settings["beta2"] ** k)
    return -settings["learning_rate"] * m_hat / (np.sqrt(v_hat) + settings["epsilon"]), (m, v)


def _own_rate(decay_of: Callable) -> Callable:
    """Adam, then `decay_of(p, update, rate, decay)` added to its update."""

    def of_one_array(g: np.ndarray, p: np.ndarray, memory: tuple, k: int, *, weight_decay: float, **settings: float) -> tuple:
        update, memory = adam_step()(g, p, memory, k, **settings)
        return update + decay_of(p, update, settings["learning_rate"], weight_decay), memory

    return pair_of(of_one_array, slots=2)


def _decays_the_start(**settings: float) -> tuple:
    """Decay of the parameters that `init` was given."""
    init, update = _adamw()(**settings)
    return lambda params: (init(params), params), lambda grads, state, params: (
        (done := update(grads, state[0], state[1]))[0],
        (done[1], state[1]),
    )


THROUGH_GRADIENT = (
    "The decay went through the gradient, g + weight_decay * p, into both averages: that is L2 in Adam. There it is divided by "
    "the root, and weights with large gradients hardly decay. Add weight_decay * p to the finished step instead."
)

ADAMW = Exercise(
    id="2.6",
    name="adamw",
    title="AdamW: a decay of its own",
    minutes=10,
    difficulty=2,
    cases=lambda: pair_cases(
        {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.1, "weight_decay": 0.5},
        {"learning_rate": 0.02, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 3.0},
        {"learning_rate": 0.5, "beta1": 0.0, "beta2": 0.6, "epsilon": 1e-6, "weight_decay": 0.3},
        scales=(1.0, 100.0, 1e-4),
    ),
    reference=_adamw(),
    run=run_pair,
    properties=PURE,
    rtol=2e-4,
    mistakes=(
        *form_mistakes(adam_step(decayed=lambda step, p, decay: step + decay * p), slots=2, forgot=FORGOT_AVERAGES),
        count_is_outside(adam_step(decayed=lambda step, p, decay: step + decay * p), slots=2),
        Mistake(THROUGH_GRADIENT, _adamw(grad=lambda g, p, decay: g + decay * p, decayed=lambda step, p, decay: step)),
        Mistake(
            "The decay went through the first average, m: it is smoothed, and divided by the root. Add weight_decay * p to the "
            "finished step instead.",
            pair_of(_coupled_first_only, slots=2),
        ),
        Mistake(
            "The decay was divided by the root with the step. Add weight_decay * p *after* the division.",
            pair_of(
                lambda g, p, memory, k, *, weight_decay, **settings: adam_step(
                    divided=lambda m, v, epsilon: (m + weight_decay * p) / (np.sqrt(v) + epsilon)
                )(g, p, memory, k, **settings),
                slots=2,
            ),
        ),
        Mistake(
            "The decay was not multiplied by the learning rate. A schedule must slow it down with the step: the update is "
            "-learning_rate * (step + weight_decay * p).",
            _own_rate(lambda p, update, rate, decay: -decay * p),
        ),
        Mistake(
            "The decay was multiplied by the learning rate twice. Once is enough.",
            _own_rate(lambda p, update, rate, decay: -rate * rate * decay * p),
        ),
        Mistake(
            "The decay has the wrong sign: the weights grow. The update is -learning_rate * (step + weight_decay * p).",
            _own_rate(lambda p, update, rate, decay: rate * decay * p),
        ),
        Mistake(
            "There is no decay: this is Adam. The update is -learning_rate * (step + weight_decay * p).",
            _own_rate(lambda p, update, rate, decay: 0.0),
        ),
        Mistake(
            "The decay was taken from the parameters *after* Adam's step. Take it from those that came in, `params`.",
            _own_rate(lambda p, update, rate, decay: -rate * decay * (p + update)),
        ),
        Mistake(
            "The decay was taken from the parameters that `init` was given. Take it from `params`, those of today.",
            _decays_the_start,
        ),
        Mistake(
            "Adam's step was shrunk, not the parameters: p does not occur. Add weight_decay * p to the step.",
            _own_rate(lambda p, update, rate, decay: -rate * decay * update),
        ),
        Mistake(
            "Every weight decays by the same amount, whatever its size: only its sign was used. Decay is in proportion to p.",
            _own_rate(lambda p, update, rate, decay: -rate * decay * np.sign(p)),
        ),
        Mistake(
            "Only arrays with two axes decay. Projects often leave biases out, but here every parameter decays.",
            _own_rate(lambda p, update, rate, decay: -rate * decay * p * (p.ndim > 1)),
        ),
        Mistake(
            "weight_decay was doubled. The step is made of weight_decay * p itself.",
            _own_rate(lambda p, update, rate, decay: -2 * rate * decay * p),
        ),
        *adam_mistakes(_adamw),
    ),
    hints=(
        "Your `adam` does nearly all of it: `init, adam_update = adam(learning_rate, beta1=...)`, and a new `update` that "
        "calls `adam_update` first.",
        "Adam's update is already multiplied by -learning_rate. So add -learning_rate * weight_decay * p to it.",
        "`jax.tree.map(lambda u, p: u - learning_rate * weight_decay * p, updates, params)`.",
    ),
)
