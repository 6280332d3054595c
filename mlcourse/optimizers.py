"""Gradients into updates: the optimizers of lesson 02, in JAX.

An `Optimizer` is a pair of functions with Optax's protocol, so it stands wherever an `optax.GradientTransformation` does:

    state = optimizer.init(params)
    updates, state = optimizer.update(grads, state, params)     # params + updates are the new parameters

The learning rate is a number, a scalar traced by `jit` or `vmap`, or a schedule: a function of the number of updates made
so far, such as those of `mlcourse.schedules`. In all equations g is the gradient, theta the parameters, eta the learning
rate; state starts at zero.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mlcourse.optimizer_settings import check

Schedule = Callable[[Any], Any]
Rate = float | jax.Array | Schedule


class Optimizer(NamedTuple):
    """`init(params) -> state` and `update(grads, state, params) -> (updates, state)`, both free of side effects."""

    init: Callable
    update: Callable


class StepState(NamedTuple):
    step: jax.Array  # updates made so far


class MomentumState(NamedTuple):
    step: jax.Array
    velocity: Any  # like the parameters


class SquareState(NamedTuple):
    step: jax.Array
    square: Any  # like the parameters: sum or average of the squared gradients


class AdamState(NamedTuple):
    step: jax.Array
    mean: Any  # like the parameters: average of the gradients
    square: Any  # like the parameters: average of their squares


def zero_steps() -> jax.Array:
    return jnp.zeros((), jnp.int32)


def zeros_like(params: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, params)


def rate_at(learning_rate: Rate, step: jax.Array) -> jax.Array | float:
    """The learning rate of this update: of a schedule its value, of a number the number.

    >>> rate_at(0.1, 7), rate_at(lambda step: 1 / step, 8)
    (0.1, 0.125)
    """
    return learning_rate(step) if callable(learning_rate) else learning_rate


# Gradient descent and momentum


def sgd(learning_rate: Rate) -> Optimizer:
    """Gradient descent, on batches stochastic gradient descent (Robbins and Monro 1951): theta -= eta g.

    As `optax.sgd(learning_rate)` and `torch.optim.SGD(params, lr)`.

    Args:
        learning_rate: at least 0; a number, a traced scalar or a schedule.

    Raises:
        ValueError: a learning rate below 0 or not finite.

    >>> optimizer = sgd(0.5)
    >>> updates, state = optimizer.update({"w": jnp.array([2.0])}, optimizer.init({"w": jnp.array([1.0])}))
    >>> updates["w"].tolist(), int(state.step)
    ([-1.0], 1)

    Built in lesson 02.
    """
    check(learning_rate=learning_rate)

    def init(params):
        return StepState(zero_steps())

    def update(grads, state, params=None):
        rate = rate_at(learning_rate, state.step)
        return jax.tree.map(lambda g: -rate * g, grads), StepState(state.step + 1)

    return Optimizer(init, update)


def momentum(learning_rate: Rate, *, beta: float = 0.9) -> Optimizer:
    """Heavy-ball momentum (Polyak 1964): v = beta v + g, theta -= eta v.

    A constant gradient is multiplied by 1 / (1 - beta) in the long run. As `optax.sgd(learning_rate, momentum=beta)` and
    `torch.optim.SGD(params, lr, momentum=beta)`. Polyak's own form keeps eta inside the velocity, v = beta v + eta g;
    the two differ only while a schedule changes eta.

    Args:
        learning_rate: as in `sgd`.
        beta: the part of the velocity that is kept, in [0, 1).

    Raises:
        ValueError: a learning rate below 0, or beta outside [0, 1).

    >>> optimizer = momentum(0.1, beta=0.5)
    >>> first, state = optimizer.update(jnp.array(2.0), optimizer.init(jnp.array(0.0)))
    >>> second, state = optimizer.update(jnp.array(2.0), state)
    >>> print(f"{first:.2f} {second:.2f}")
    -0.20 -0.30

    Built in lesson 02.
    """
    check(learning_rate=learning_rate, beta=beta)

    def init(params):
        return MomentumState(zero_steps(), zeros_like(params))

    def update(grads, state, params=None):
        velocity = jax.tree.map(lambda v, g: beta * v + g, state.velocity, grads)
        rate = rate_at(learning_rate, state.step)
        return jax.tree.map(lambda v: -rate * v, velocity), MomentumState(state.step + 1, velocity)

    return Optimizer(init, update)


def average_momentum(learning_rate: Rate, *, beta: float = 0.9) -> Optimizer:
    """Momentum as an exponential average: v = beta v + (1 - beta) g, theta -= eta v.

    The path of `momentum(eta)` is the path of `average_momentum(eta / (1 - beta))`. As Optax's `ema(beta, debias=False)`
    followed by `scale(-eta)`. PyTorch's `SGD(momentum=beta, dampening=1 - beta)` starts from v = g instead of (1 - beta) g.

    Args, Raises: as in `momentum`.

    >>> optimizer = average_momentum(0.2, beta=0.5)
    >>> first, state = optimizer.update(jnp.array(2.0), optimizer.init(jnp.array(0.0)))
    >>> second, state = optimizer.update(jnp.array(2.0), state)
    >>> print(f"{first:.2f} {second:.2f}")
    -0.20 -0.30

    Built in lesson 02.
    """
    check(learning_rate=learning_rate, beta=beta)

    def init(params):
        return MomentumState(zero_steps(), zeros_like(params))

    def update(grads, state, params=None):
        velocity = jax.tree.map(lambda v, g: beta * v + (1 - beta) * g, state.velocity, grads)
        rate = rate_at(learning_rate, state.step)
        return jax.tree.map(lambda v: -rate * v, velocity), MomentumState(state.step + 1, velocity)

    return Optimizer(init, update)


def nesterov(learning_rate: Rate, *, beta: float = 0.9) -> Optimizer:
    """Nesterov's momentum (1983), in the form of Sutskever et al. (2013): v = beta v + g, theta -= eta (g + beta v).

    The parameters kept are those of the look-ahead point, where the gradient is taken. As
    `optax.sgd(learning_rate, momentum=beta, nesterov=True)` and `torch.optim.SGD(..., momentum=beta, nesterov=True)`.

    Args, Raises: as in `momentum`.

    >>> optimizer = nesterov(0.1, beta=0.5)
    >>> first, state = optimizer.update(jnp.array(2.0), optimizer.init(jnp.array(0.0)))
    >>> print(f"{first:.2f}")  # 0.1 (2 + 0.5 * 2)
    -0.30

    Built in lesson 02.
    """
    check(learning_rate=learning_rate, beta=beta)

    def init(params):
        return MomentumState(zero_steps(), zeros_like(params))

    def update(grads, state, params=None):
        velocity = jax.tree.map(lambda v, g: beta * v + g, state.velocity, grads)
        rate = rate_at(learning_rate, state.step)
        updates = jax.tree.map(lambda v, g: -rate * (g + beta * v), velocity, grads)
        return updates, MomentumState(state.step + 1, velocity)

    return Optimizer(init, update)


# A step size of its own for every coordinate


def adagrad(learning_rate: Rate, *, initial: float = 0.0, epsilon: float = 1e-10) -> Optimizer:
    """AdaGrad (Duchi, Hazan and Singer 2011): s += g^2, theta -= eta g / (sqrt(s) + epsilon).

    As `torch.optim.Adagrad(params, lr)`. `optax.adagrad` differs: its s starts at 0.1, and its epsilon stands inside the
    root, g / sqrt(s + epsilon).

    Args:
        learning_rate: as in `sgd`.
        initial: where s starts, at least 0.
        epsilon: above 0; keeps a coordinate without gradient from dividing by zero.

    Raises:
        ValueError: a setting out of its range.

    >>> optimizer = adagrad(0.1)
    >>> state = optimizer.init(jnp.zeros(2))
    >>> for _ in range(4): updates, state = optimizer.update(jnp.array([3.0, 0.03]), state)
    >>> [f"{u:.3f}" for u in updates]  # 0.1 / sqrt(4), whatever the size of the gradient
    ['-0.050', '-0.050']

    Built in lesson 02.
    """
    check(learning_rate=learning_rate, initial=initial, epsilon=epsilon)

    def init(params):
        return SquareState(zero_steps(), jax.tree.map(lambda p: jnp.full_like(p, initial), params))

    def update(grads, state, params=None):
        square = jax.tree.map(lambda s, g: s + g**2, state.square, grads)
        rate = rate_at(learning_rate, state.step)
        updates = jax.tree.map(lambda g, s: -rate * g / (jnp.sqrt(s) + epsilon), grads, square)
        return updates, SquareState(state.step + 1, square)

    return Optimizer(init, update)


def rmsprop(learning_rate: Rate, *, beta: float = 0.9, epsilon: float = 1e-8) -> Optimizer:
    """RMSProp (Tieleman and Hinton 2012): s = beta s + (1 - beta) g^2, theta -= eta g / (sqrt(s) + epsilon).

    As `torch.optim.RMSprop(params, lr, alpha=beta)`, whose default for beta is 0.99, and as
    `optax.rmsprop(learning_rate, decay=beta, eps_in_sqrt=False)`; by default Optax puts epsilon inside the root. Because s
    starts at 0 and nothing corrects for it, the first step is eta / sqrt(1 - beta).

    Args:
        learning_rate: as in `sgd`.
        beta: the part of s that is kept, in [0, 1).
        epsilon: above 0.

    Raises:
        ValueError: a setting out of its range.

    >>> optimizer = rmsprop(0.1, beta=0.99)
    >>> updates, _ = optimizer.update(jnp.array(-5.0), optimizer.init(jnp.array(0.0)))
    >>> print(f"{updates:.3f}")
    1.000

    Built in lesson 02.
    """
    check(learning_rate=learning_rate, beta=beta, epsilon=epsilon)

    def init(params):
        return SquareState(zero_steps(), zeros_like(params))

    def update(grads, state, params=None):
        square = jax.tree.map(lambda s, g: beta * s + (1 - beta) * g**2, state.square, grads)
        rate = rate_at(learning_rate, state.step)
        updates = jax.tree.map(lambda g, s: -rate * g / (jnp.sqrt(s) + epsilon), grads, square)
        return updates, SquareState(state.step + 1, square)

    return Optimizer(init, update)


def adam(learning_rate: Rate, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam (Kingma and Ba 2015, algorithm 1), with k the number of this update, from 1:

        m = beta1 m + (1 - beta1) g            s = beta2 s + (1 - beta2) g^2
        theta -= eta m_hat / (sqrt(s_hat) + epsilon),   m_hat = m / (1 - beta1^k),   s_hat = s / (1 - beta2^k)

    As `optax.adam` and `torch.optim.Adam`.

    Args:
        learning_rate: as in `sgd`; the paper's alpha.
        beta1, beta2: the parts of m and s that are kept, in [0, 1).
        epsilon: above 0, outside the root.

    Raises:
        ValueError: a setting out of its range.

    >>> optimizer = adam(0.1)
    >>> updates, state = optimizer.update(jnp.array([3.0, -0.02]), optimizer.init(jnp.zeros(2)))
    >>> [f"{u:.3f}" for u in updates]  # the first step is eta in every coordinate
    ['-0.100', '0.100']

    Built in lesson 02.
    """
    check(learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def init(params):
        return AdamState(zero_steps(), zeros_like(params), zeros_like(params))

    def update(grads, state, params=None):
        step = state.step + 1
        mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mean, grads)
        square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state.square, grads)
        rate = rate_at(learning_rate, state.step)

        def change(m, s):
            m_hat, s_hat = m / (1 - beta1**step), s / (1 - beta2**step)
            return -rate * m_hat / (jnp.sqrt(s_hat) + epsilon)

        return jax.tree.map(change, mean, square), AdamState(step, mean, square)

    return Optimizer(init, update)


def adamw(
    learning_rate: Rate, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.01
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): Adam's update, and theta -= eta weight_decay theta.

    The decay does not pass through Adam's division, so it shrinks all parameters alike. As `torch.optim.AdamW` and
    `optax.adamw`, whose default for the decay is 1e-4. The paper's decay is eta weight_decay here.

    Args:
        weight_decay: at least 0.
        others: as in `adam`.

    Raises:
        ValueError: a setting out of its range; `update` without parameters.

    >>> optimizer = adamw(0.1, weight_decay=0.5)
    >>> params = jnp.array([2.0])
    >>> updates, _ = optimizer.update(jnp.array([0.0]), optimizer.init(params), params)
    >>> print(f"{updates[0]:.3f}")  # 0.1 * 0.5 * 2: no gradient, and still it shrinks
    -0.100

    Built in lesson 02.
    """
    check(weight_decay=weight_decay)
    plain = adam(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def update(grads, state, params=None):
        need_params(params)
        rate = rate_at(learning_rate, state.step)
        updates, state = plain.update(grads, state)
        return jax.tree.map(lambda u, p: u - rate * weight_decay * p, updates, params), state

    return Optimizer(plain.init, update)


# What is done to a gradient before an optimizer sees it


def l2_penalty(weight_decay: float) -> Optimizer:
    """Gradients of the loss with the penalty (weight_decay / 2) |theta|^2: g + weight_decay theta.

    For the front of an `optax.chain`: `chain(l2_penalty(0.01), momentum(0.1))` is PyTorch's `SGD(weight_decay=0.01)`.
    As `optax.add_decayed_weights`.

    Raises:
        ValueError: weight_decay below 0; `update` without parameters.

    >>> penalty = l2_penalty(0.1)
    >>> grads, _ = penalty.update(jnp.array([1.0]), penalty.init(None), jnp.array([5.0]))
    >>> grads.tolist()
    [1.5]

    Built in lesson 02.
    """
    check(weight_decay=weight_decay)

    def update(grads, state, params=None):
        need_params(params)
        return jax.tree.map(lambda g, p: g + weight_decay * p, grads, params), state

    return Optimizer(no_state, update)


def clip_by_global_norm(max_norm: float) -> Optimizer:
    """Gradients scaled down together so that their joint length is at most max_norm (Pascanu et al. 2013, algorithm 1).

    The direction stays. As `optax.clip_by_global_norm`; PyTorch's `clip_grad_norm_` adds 1e-6 to the length it divides by.

    Args:
        max_norm: above 0.

    Raises:
        ValueError: max_norm not above 0.

    >>> clip = clip_by_global_norm(1.0)
    >>> grads, _ = clip.update({"w": jnp.array([3.0]), "b": jnp.array([4.0])}, clip.init(None))
    >>> print(f"{grads['w'][0]:.1f} {grads['b'][0]:.1f}")
    0.6 0.8

    Built in lesson 02.
    """
    check(max_norm=max_norm)

    def update(grads, state, params=None):
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)))
        scale = max_norm / jnp.maximum(norm, max_norm)  # 1 when the gradient is short enough
        return jax.tree.map(lambda g: g * scale, grads), state

    return Optimizer(no_state, update)


def clip_by_value(limit: float) -> Optimizer:
    """Gradients with every entry cut off at -limit and limit. This turns the direction. As `optax.clip`.

    Raises:
        ValueError: limit not above 0.

    >>> clip_by_value(1.0).update(jnp.array([0.5, -7.0]), ())[0].tolist()
    [0.5, -1.0]

    Built in lesson 02.
    """
    check(limit=limit)

    def update(grads, state, params=None):
        return jax.tree.map(lambda g: jnp.clip(g, -limit, limit), grads), state

    return Optimizer(no_state, update)


def no_state(params: Any) -> tuple:
    return ()


def need_params(params: Any) -> None:
    if params is None:
        raise ValueError("weight decay needs the parameters, and params=None. Call `update(grads, state, params)`.")
