"""A function and many starts -> the highest point that each start climbs to, all starts at once.

Letters: f function to maximise; x (d,) point; g (d,) gradient; H (d, d) estimate of the inverse of -Hessian;
p (d,) step; s (d,) move; r (d,) fall of the gradient along it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def climb(f: Callable, start: jax.Array, low, high, *, steps: int, reach: float) -> tuple[jax.Array, jax.Array]:
    """The point (d,) and value () after `steps` steps of BFGS inside a box, from `start` (d,).

    Nocedal and Wright, Numerical Optimization, eq. 6.17 (the update), without their line search: one value and one
    gradient a step, whatever happens. A step that does not climb is not taken, but its gradient still sharpens H,
    so the next one is shorter. All starts then do the same work, which suits `vmap` (see `maximise`).

    Args:
        f: (d,) -> scalar, differentiable. NaN counts as minus infinity.
        start: inside the box.
        low, high: the box, scalars or (d,).
        steps: number of evaluations, the one of the start included.
        reach: longest first step, in the units of x; a later one may be 4 times as long.

    >>> top, value = climb(lambda x: -jnp.sum((x - 0.3) ** 2), jnp.ones(3), 0.0, 1.0, steps=10, reach=0.1)
    >>> bool(jnp.allclose(top, 0.3, atol=1e-3))
    True
    """
    value_and_grad = jax.value_and_grad(f)

    def step(i, state):
        x, value, g, H, x_new = state
        value_new, g_new = value_and_grad(x_new)
        s, r = x_new - x, g - g_new
        sr = s @ r
        A = jnp.eye(len(x)) - jnp.outer(s, r) / sr
        climbs = value_new > value
        curved = jnp.isfinite(value_new) & (sr > 1e-10 * jnp.linalg.norm(s) * jnp.linalg.norm(r))
        H = jnp.where(curved, A @ H @ A.T + jnp.outer(s, s) / sr, jnp.where(climbs, H, H / 4))
        H = jnp.where(i == 0, jnp.eye(len(x)) * reach / (jnp.linalg.norm(g_new) + 1e-300), H)
        x, value, g = jnp.where(climbs, x_new, x), jnp.where(climbs, value_new, value), jnp.where(climbs, g_new, g)
        free = ~((x <= low) & (g < 0) | (x >= high) & (g > 0))  # a wall we are pushed against takes no part
        p = free * (H @ (free * g))
        p = p * jnp.minimum(1.0, 4 * reach / (jnp.linalg.norm(p) + 1e-300))
        return x, value, g, H, jnp.clip(x + p, low, high)

    d = len(start)
    return jax.lax.fori_loop(0, steps, step, (start, jnp.array(-jnp.inf), jnp.zeros(d), jnp.zeros((d, d)), start))[:2]


def maximise(f: Callable, starts: jax.Array, low, high, *, steps: int, reach: float) -> tuple[jax.Array, jax.Array]:
    """Points (k, d) and values (k,) of the climbs from each of `starts` (k, d), all at once.

    Not for an `f` that factors a matrix of its own: jaxlib 0.10 splits a large batch of factorisations over threads that can
    wait for each other for ever. Take `jax.lax.map` over `climb` there.

    >>> tops, values = maximise(lambda x: -jnp.sum((x - 0.3) ** 2), jnp.ones((2, 3)), 0.0, 1.0, steps=10, reach=0.1)
    >>> tops.shape, values.shape
    ((2, 3), (2,))
    """
    return jax.vmap(lambda start: climb(f, start, low, high, steps=steps, reach=reach))(starts)
