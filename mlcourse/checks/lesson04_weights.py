"""Exercises of lesson 04 that keep weights small: the L2 penalty, decoupled decay, the max-norm projection."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 4.2 l2_step and 4.3 decoupled_step(params, grads, velocity, *, learning_rate, momentum, decay) -> params, velocity


def _tree(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], scale: float = 1.0) -> dict[str, np.ndarray]:
    return {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def _step_cases() -> dict:
    rng = np.random.default_rng(42)
    deep = {"W1": (2, 3), "b1": (3,), "W2": (3, 2), "b2": (2,)}
    wide = _tree(rng, {"W": (4, 6), "b": (4,)}, 5.0)

    def case(params: dict, learning_rate: float, momentum: float, decay: float, scale: float = 1.0) -> dict:
        shapes = {name: value.shape for name, value in params.items()}
        return {
            "params": params,
            "grads": dict(reversed(_tree(rng, shapes).items())),  # not in the order of the parameters
            "velocity": _tree(rng, shapes, scale),
            "learning_rate": learning_rate,
            "momentum": momentum,
            "decay": decay,
        }

    kernel = {"kernel": (3, 2, 2), "scale": (2,), "head": (2, 3), "bias": (3,)}
    return {
        "a layer with its bias": case(_tree(rng, {"W": (2, 2), "b": (2,)}, 3.0), 0.5, 0.9, 0.3),
        "two layers": case(_tree(rng, deep, 4.0), 0.2, 0.5, 0.7),
        "every second column, a velocity of 0": case({"W": wide["W"][:, ::2], "b": wide["b"]}, 0.3, 0.8, 0.25, scale=0.0),
        "no momentum": case(_tree(rng, deep, 2.0), 0.4, 0.0, 0.6),
        "a convolution: more axes than two": case(_tree(rng, kernel, 3.0), 0.6, 0.7, 0.15),
        "no decay": case(_tree(rng, {"W": (3, 2), "b": (2,)}), 0.3, 0.6, 0.0),
    }


def _run_step(
    answer: Callable, params: dict, grads: dict, velocity: dict, learning_rate: float, momentum: float, decay: float
) -> Any:
    return answer(params, grads, velocity, learning_rate=learning_rate, momentum=momentum, decay=decay)


def _step(
    gradient: Callable = lambda w, g, v, eta, decay: g,
    moved: Callable = lambda w, v, eta, decay: w - eta * v,
    *,
    of_velocity: Callable = lambda v, g, momentum: momentum * v + g,
    kept: Callable = lambda v, w, eta, decay: v,
    decayed: Callable = lambda name, w: w.ndim >= 2,
) -> Callable:
    """One step: v = of_velocity(v, gradient(w, g, v, ...), momentum), w = moved(w, v, ...); the state is kept(v, ...)."""

    def step(
        params: dict, grads: dict, velocity: dict, *, learning_rate: float, momentum: float, decay: float
    ) -> tuple[dict, dict]:
        new, state = {}, {}
        for name, w in params.items():
            strength = decay if decayed(name, w) else 0.0
            g = gradient(w, grads[name], velocity[name], learning_rate, strength)
            v = of_velocity(velocity[name], g, momentum)
            new[name] = moved(w, v, learning_rate, strength)
            state[name] = kept(v, w, learning_rate, strength)
        return new, state

    return step


def _penalty(w: np.ndarray, g: np.ndarray, v: np.ndarray, eta: float, decay: float) -> np.ndarray:
    return g + decay * w


def _shrunk(w: np.ndarray, v: np.ndarray, eta: float, decay: float) -> np.ndarray:
    return w - eta * v - eta * decay * w


def _rate_in_velocity(gradient: Callable, moved: Callable) -> Callable:
    """v = momentum * v + learning_rate * g, w = w - v."""

    def of_gradient(w: np.ndarray, g: np.ndarray, v: np.ndarray, eta: float, decay: float) -> np.ndarray:
        return eta * gradient(w, g, v, eta, decay)

    def undivided(w: np.ndarray, v: np.ndarray, eta: float, decay: float) -> np.ndarray:
        return moved(w, v / eta, eta, decay)

    return _step(of_gradient, undivided)


def _nesterov(gradient: Callable, moved: Callable) -> Callable:
    """v = momentum * v + g, and a step along momentum * v + g with the new v."""

    def step(
        params: dict, grads: dict, velocity: dict, *, learning_rate: float, momentum: float, decay: float
    ) -> tuple[dict, dict]:
        how = {"learning_rate": learning_rate, "momentum": momentum, "decay": decay}
        _, state = _step(gradient, moved)(params, grads, velocity, **how)
        ahead, _ = _step(gradient, moved)(params, grads, state, **how)
        return ahead, state

    return step


_L2, _DECOUPLED = _step(_penalty), _step(moved=_shrunk)
_NO_DECAY = "There is no decay at all: this is SGD with momentum."
_SWAPPED = "Parameters and velocity are exchanged: return the new parameters first."


def _without_velocity(step: Callable) -> Callable:
    return lambda *args, **kwargs: step(*args, **kwargs)[0]


def _swapped(step: Callable) -> Callable:
    return lambda *args, **kwargs: step(*args, **kwargs)[::-1]


def _shared_mistakes(step: Callable, gradient: Callable, moved: Callable) -> tuple[Mistake, ...]:
    """What can go wrong with either kind of decay."""
    return (
        Mistake(
            "Biases were decayed too. Only arrays with two or more axes are: a bias sets a level and does not make the "
            "function steeper. Ask `ndim >= 2`.",
            _step(gradient, moved, decayed=lambda name, w: True),
        ),
        Mistake(
            "Only the biases were decayed. It is the arrays with two or more axes that are.",
            _step(gradient, moved, decayed=lambda name, w: w.ndim < 2),
        ),
        Mistake(
            "Only arrays with exactly two axes were decayed. A convolution's weights have more: ask `ndim >= 2`.",
            _step(gradient, moved, decayed=lambda name, w: w.ndim == 2),
        ),
        Mistake(
            "Only arrays with the name W were decayed, and weights can have other names. Ask for the number of axes, `ndim "
            ">= 2`.",
            _step(gradient, moved, decayed=lambda name, w: name == "W"),
        ),
        Mistake(
            "Only arrays whose name begins with W were decayed, and weights can have other names. Ask for the number of axes, "
            "`ndim >= 2`.",
            _step(gradient, moved, decayed=lambda name, w: name.startswith("W")),
        ),
        Mistake(_NO_DECAY, _step()),
        Mistake(
            "The new gradient was multiplied by 1 - momentum. Here the velocity adds all of it: v = momentum * v + g.",
            _step(gradient, moved, of_velocity=lambda v, g, momentum: momentum * v + (1 - momentum) * g),
        ),
        Mistake(
            "The old velocity is not used. The new one is momentum * v + g.",
            _step(gradient, moved, of_velocity=lambda v, g, momentum: g),
        ),
        Mistake(
            "The learning rate was put into the velocity. Here the velocity is momentum * v + g, and the learning rate "
            "multiplies it in the step.",
            _rate_in_velocity(gradient, moved),
        ),
        Mistake(
            "This is Nesterov's step, which adds the gradient once more. The plain one is p - learning_rate * v.",
            _nesterov(gradient, moved),
        ),
        Mistake("The velocity is missing: return the new parameters and the new velocity.", _without_velocity(step)),
        Mistake(_SWAPPED, _swapped(step)),
        Mistake(
            "The velocity came back as it was. The next step needs the new one.",
            lambda params, grads, velocity, **how: (step(params, grads, velocity, **how)[0], velocity),
        ),
    )


L2_STEP = Exercise(
    id="4.2",
    name="l2_step",
    title="Weight decay through the loss",
    minutes=10,
    difficulty=1,
    cases=_step_cases,
    reference=_L2,
    run=_run_step,
    mistakes=(
        *_shared_mistakes(_L2, _penalty, lambda w, v, eta, decay: w - eta * v),
        Mistake(
            "The penalty has the slope 2 decay W here. With the half in decay/2 * ||W||² the 2 goes away: add decay * W.",
            _step(lambda w, g, v, eta, decay: g + 2 * decay * w),
        ),
        Mistake(
            "Only half of the decay arrives. The slope of decay/2 * ||W||² is decay * W.",
            _step(lambda w, g, v, eta, decay: g + decay * w / 2),
        ),
        Mistake(
            "The decay has the wrong sign: it makes the weights grow. The penalty's gradient is *added* to that of the loss, "
            "and both are stepped against.",
            _step(lambda w, g, v, eta, decay: g - decay * w),
        ),
        Mistake(
            "This is decoupled decay: the weights shrink beside the velocity. A penalty is a part of the loss, so its gradient "
            "goes into the velocity with the rest.",
            _DECOUPLED,
        ),
        Mistake(
            "This is an L1 penalty: its slope is the sign of W. That of L2 is W itself.",
            _step(lambda w, g, v, eta, decay: g + decay * np.sign(w)),
        ),
        Mistake(
            "The learning rate multiplies the decay twice, in the gradient and in the step. Add decay * W to the gradient.",
            _step(lambda w, g, v, eta, decay: g + eta * decay * w),
        ),
        Mistake(
            "The penalty itself was added to the gradient, one number everywhere. Add its gradient, decay * W.",
            _step(lambda w, g, v, eta, decay: g + decay / 2 * (w**2).sum()),
        ),
        Mistake(
            "The squared weights were added to the gradient. The slope of w²/2 is w.",
            _step(lambda w, g, v, eta, decay: g + decay / 2 * w**2),
        ),
        Mistake(
            "The weights shrink twice, in the velocity and beside it. A penalty does it in the velocity alone.",
            _step(_penalty, _shrunk),
        ),
        Mistake(
            "The velocity was decayed. The penalty is on the weights: add decay * W.",
            _step(lambda w, g, v, eta, decay: g + decay * v),
        ),
    ),
    hints=(
        "The loss is now L + decay/2 * ||W||². What is the gradient of the second term?",
        "For a weight array: g = g + decay * W, then the velocity, then the step, as ever. For a bias leave out the first "
        "line.",
        "`g = grads[name] + decay * p if p.ndim >= 2 else grads[name]`, in a loop over `params.items()`.",
    ),
)

DECOUPLED_STEP = Exercise(
    id="4.3",
    name="decoupled_step",
    title="Weight decay beside the loss",
    minutes=10,
    difficulty=2,
    cases=_step_cases,
    reference=_DECOUPLED,
    run=_run_step,
    mistakes=(
        *_shared_mistakes(_DECOUPLED, lambda w, g, v, eta, decay: g, _shrunk),
        Mistake(
            "The decay went into the gradient and so into the velocity: that is the L2 penalty of exercise 4.2. Here the "
            "velocity knows nothing of the decay.",
            _L2,
        ),
        Mistake(
            "The learning rate is missing in the decay: the weights lose learning_rate * decay * W in each step. (PyTorch's "
            "AdamW has it too.)",
            _step(moved=lambda w, v, eta, decay: w - eta * v - decay * w),
        ),
        Mistake(
            "The weights were decayed after the step. Both parts start from the old W: W - learning_rate * v - learning_rate * "
            "decay * W.",
            _step(moved=lambda w, v, eta, decay: (w - eta * v) * (1 - eta * decay)),
        ),
        Mistake(
            "The decay has the wrong sign: the weights grow. Subtract learning_rate * decay * W.",
            _step(moved=lambda w, v, eta, decay: w - eta * v + eta * decay * w),
        ),
        Mistake(
            "The weights shrink twice, in the velocity and beside it. Decoupled means: beside it only.",
            _step(_penalty, _shrunk),
        ),
        Mistake(
            "The decay is twice as strong: with decoupled decay there is no square and no 2. Subtract learning_rate * decay "
            "* W.",
            _step(moved=lambda w, v, eta, decay: w - eta * v - 2 * eta * decay * w),
        ),
        Mistake(
            "The velocity was decayed as well as the weights. Only the weights shrink.",
            _step(moved=_shrunk, kept=lambda v, w, eta, decay: v * (1 - eta * decay)),
        ),
        Mistake(
            "The weights became the decay alone: the old W is missing. W (1 - learning_rate * decay) - learning_rate * v.",
            _step(moved=lambda w, v, eta, decay: -eta * v - eta * decay * w if decay else w - eta * v),
        ),
        Mistake(
            "The sign of W was subtracted, which is the L1 form. Subtract learning_rate * decay * W.",
            _step(moved=lambda w, v, eta, decay: w - eta * v - eta * decay * np.sign(w)),
        ),
    ),
    hints=(
        "The velocity is made of gradients of the loss only. Write that line first.",
        "Then the weights do two things at once: they step along the velocity, and they shrink by the share learning_rate * "
        "decay of what they were.",
        "`W - learning_rate * v - learning_rate * decay * W` for a weight array, `b - learning_rate * v` for a bias.",
    ),
)


# 4.4 max_norm(W, *, limit) -> W with no column longer than the limit. Srivastava et al. 2014, section 5.1.


def _norm_cases() -> dict:
    rng = np.random.default_rng(44)
    wide = rng.normal(size=(5, 8)).astype(np.float32)
    sparse = 3 * rng.normal(size=(3, 4)).astype(np.float32)
    sparse[:, 1] = 0.0
    square = np.array([[3.0, 0.3, -1.2], [4.0, -0.4, 0.9], [0.0, 0.2, 2.0]], dtype=np.float32)
    return {
        "a column too long, one short, one in between": {"W": square, "limit": 2.0},
        "a column of zeros": {"W": sparse, "limit": 1.5},
        "all columns short enough": {"W": 0.2 * wide, "limit": 4.0},
        "every second column of a wider array": {"W": wide[:, ::2], "limit": 1.3},
        "whole numbers": {"W": np.array([[3, 1, 0], [4, 1, -7]], dtype=np.int32), "limit": 2.5},
        "one unit": {"W": 2 * wide[:, :1], "limit": 0.5},
    }


def _run_norm(answer: Callable, W: Any, limit: float) -> Any:
    return answer(W, limit=limit)


def _lengths(W: np.ndarray, axis: int | None = 0) -> np.ndarray:
    return np.sqrt((W.astype(float) ** 2).sum(axis=axis, keepdims=True))


def _by_length(length: Callable = _lengths) -> Callable:
    """W scaled where `length(W)` is above the limit."""

    def max_norm(W: np.ndarray, *, limit: float) -> np.ndarray:
        lengths = length(W)
        return W * np.where(lengths > limit, limit / np.where(lengths > 0, lengths, 1), 1)

    return max_norm


def _all_to_the_limit(W: np.ndarray, *, limit: float) -> np.ndarray:
    return W * limit / np.where(_lengths(W) > 0, _lengths(W), 1)


_max_norm = _by_length()

MAX_NORM = Exercise(
    id="4.4",
    name="max_norm",
    title="A leash for every unit",
    minutes=10,
    difficulty=1,
    cases=_norm_cases,
    reference=_max_norm,
    run=_run_norm,
    mistakes=(
        Mistake(
            "The rows were shortened. In x @ W the weights that come *into* a unit are a column: take the norm along axis 0.",
            _by_length(lambda W: _lengths(W, 1)),
        ),
        Mistake(
            "The norm of the whole matrix was taken. Each unit has a leash of its own: one norm for each column, axis=0.",
            _by_length(lambda W: _lengths(W, None)),
        ),
        Mistake(
            "One factor for all columns, that of the longest. Shorten only the columns that are too long, each by its own "
            "factor.",
            _by_length(lambda W: _lengths(W).max()),
        ),
        Mistake(
            "Short columns were stretched to the limit. Leave a column alone that is short enough.",
            _all_to_the_limit,
        ),
        Mistake(
            "Short columns were stretched to the limit, and a column of zeros became nan (0/0). Leave a column alone that is "
            "short enough.",
            lambda W, *, limit: W / _lengths(W) * limit,
        ),
        Mistake(
            "A column of zeros became nan: 0/0. Divide only where the norm is above the limit, or by the larger of norm and "
            "limit.",
            lambda W, *, limit: W / _lengths(W) * np.minimum(_lengths(W), limit),
        ),
        Mistake(
            "Each weight was clipped by itself, which turns the column to another direction. Scale the whole column.",
            lambda W, *, limit: np.clip(W, -limit, limit),
        ),
        Mistake("The root is missing: this is the squared norm.", _by_length(lambda W: _lengths(W) ** 2)),
        Mistake(
            "This is the sum of absolute values. The length is the root of the sum of squares.",
            _by_length(lambda W: abs(W).sum(axis=0, keepdims=True)),
        ),
        Mistake(
            "This is the largest absolute value of a column. The length is the root of the sum of squares.",
            _by_length(lambda W: abs(W).max(axis=0, keepdims=True)),
        ),
        Mistake(
            "This is the root of the *mean* square, which is shorter than the length. Add up, do not average.",
            _by_length(lambda W: _lengths(W) / len(W) ** 0.5),
        ),
        Mistake(
            "Long columns were given the length 1. Their new length is `limit`.",
            lambda W, *, limit: W / np.where(_lengths(W) > limit, _lengths(W), 1),
        ),
        Mistake("Long columns were set to 0. Shorten them to the limit.", lambda W, *, limit: W * (_lengths(W) <= limit)),
        Mistake(
            "The columns that are too *short* were changed, and the long ones were left alone.",
            lambda W, *, limit: np.where(_lengths(W) > limit, W, _all_to_the_limit(W, limit=limit)),
        ),
        Mistake(
            "The result was rounded to whole numbers, because W holds whole numbers here. Make a new array instead of "
            "writing into a copy of W.",
            lambda W, *, limit: _max_norm(W, limit=limit).astype(W.dtype),
        ),
        Mistake("These are the norms. Return the shortened W.", lambda W, *, limit: _lengths(W)[0]),
    ),
    hints=(
        "`x @ W`: which entries of W does unit j see? They are what the leash holds.",
        "The factor of a column is 1 where its norm is at most `limit`, and limit / norm where it is longer.",
        "`W * jnp.minimum(1, limit / norm)` has a 0/0 only if norm and limit are both 0; `W * limit / jnp.maximum(norm, "
        "limit)` has none. Take the norm with `axis=0, keepdims=True`.",
    ),
)
