"""A loss and its parameters -> its curvature: Hessian-vector products, the Hessian, extreme eigenvalues, a Newton step.

Letters: m parameters, g (m,) gradient, H (m, m) Hessian, v (m,) a direction, k steps of Lanczos, mu damping.
A Hessian-vector product costs a few gradients and stores no matrix. Everything else here is built on it, and takes it as a
function `product(v) -> H v`, so it works for any symmetric matrix. Use 64 bits (`with float64():` of
`mlcourse.search.precision`) where small eigenvalues matter: float32 ends at about 1e-6 of the largest.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Product = Callable[[np.ndarray], np.ndarray]


class Ritz(NamedTuple):
    """Estimates of eigenvalues, rising, and how far each can be from the nearest true one."""

    values: np.ndarray  # (k,)
    errors: np.ndarray  # (k,)


def hessian_vector_product(loss: Callable, params: Any, v: Any) -> Any:
    """H v: how the gradient changes as the parameters move along v, exactly (Pearlmutter 1994).

    Args:
        loss: `loss(params) -> scalar`, twice differentiable by JAX.
        params, v: trees of arrays of the same shapes.

    >>> hessian_vector_product(lambda w: w[0] ** 2 * w[1] + 3 * w[1], jnp.array([2.0, 5.0]), jnp.array([1.0, 0.0])).tolist()
    [10.0, 4.0]

    Built in lesson 03.
    """
    return jax.jvp(jax.grad(loss), (params,), (v,))[1]


def hessian(loss: Callable, w: jax.Array, *, batch_size: int = 64) -> jax.Array:
    """The whole matrix (m, m), one product a column, for a vector w (m,) of up to a few thousand parameters.

    Args:
        batch_size: columns computed together: more are faster, up to what memory holds.

    >>> hessian(lambda w: w[0] ** 2 * w[1] + 3 * w[1], jnp.array([2.0, 5.0])).tolist()
    [[10.0, 4.0], [4.0, 0.0]]

    Built in lesson 03.
    """
    columns = jax.lax.map(lambda v: hessian_vector_product(loss, w, v), jnp.eye(len(w), dtype=w.dtype), batch_size=batch_size)
    return (columns + columns.T) / 2  # symmetric but for rounding


def lanczos(product: Product, start: np.ndarray, *, num_steps: int) -> Ritz:
    """Eigenvalues of a symmetric matrix, the outermost first to settle, from `num_steps` products with it.

    Lanczos 1950, with every new vector made orthogonal to all before (Golub and Van Loan, Matrix Computations, 10.1, 10.3).
    In the basis q of the vectors start, H start, H² start, ... made orthonormal, H is a small tridiagonal matrix, whose
    eigenvalues these are. The largest is at most the largest of H, the smallest at least the smallest; near each lies a
    true eigenvalue, at most `errors` away.

    Args:
        product: `product(v) -> H v` for v (m,).
        start: (m,) any vector, best random: an eigenvector orthogonal to it is never found.
        num_steps: at least 1; 20 to 50 give the largest to three digits. It stops at m, or when nothing new comes.

    Raises:
        ValueError: `num_steps` below 1, a start of zeros, or a product that is not finite.

    >>> print(lanczos(lambda v: np.array([1.0, 2.0, 5.0]) * v, np.ones(3), num_steps=3).values.round(6))
    [1. 2. 5.]

    Built in lesson 03.
    """
    start = np.asarray(start, dtype=float)
    length = np.linalg.norm(start)
    if num_steps < 1 or not length > 0:
        raise ValueError(f"num_steps={num_steps} and a start of length {length}: take at least one step from a nonzero start.")
    basis, diagonal, beside = [start / length], [], []
    for _ in range(min(num_steps, len(start))):
        new = np.asarray(product(basis[-1]), dtype=float)
        if not np.isfinite(new).all():
            raise ValueError(f"the product number {len(basis)} is not finite. Is the loss finite at these parameters?")
        diagonal.append(basis[-1] @ new)
        Q = np.stack(basis)
        for _ in range(2):  # once leaves what rounding lost, twice is enough
            new = new - Q.T @ (Q @ new)
        beside.append(np.linalg.norm(new))
        if beside[-1] <= 1e-12 * max(map(abs, diagonal + beside)):
            break  # the vectors so far span a space that H does not leave: their eigenvalues are exact
        basis.append(new / beside[-1])
    T = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    values, vectors = np.linalg.eigh(T)
    return Ritz(values, beside[-1] * np.abs(vectors[-1]))


def damped_newton_step(product: Product, g: np.ndarray, *, damping: float, tolerance: float = 1e-6) -> np.ndarray:
    """(H + mu I)^-1 g by conjugate gradients: the step that a quadratic model of the loss asks for, to be subtracted.

    Hestenes and Stiefel 1952. Needs products only, about as many as the root of the condition number of H + mu I.

    Args:
        product: `product(v) -> H v`.
        g: (m,) gradient.
        damping: mu, larger than minus the smallest eigenvalue of H.
        tolerance: stops when the residual is this part of g.

    Raises:
        ValueError: H + mu I is not positive definite along a direction that was met, or it did not settle within 10 m
            products.

    >>> damped_newton_step(lambda v: np.array([1.0, 3.0]) * v, np.array([2.0, 8.0]), damping=1.0).round(6).tolist()
    [1.0, 2.0]

    Built in lesson 03.
    """
    residual = np.asarray(g, dtype=float)
    step, direction = np.zeros_like(residual), residual
    square = residual @ residual
    goal = tolerance**2 * square
    for _ in range(10 * len(residual)):
        if square <= goal:
            return step
        image = np.asarray(product(direction), dtype=float) + damping * direction
        curvature = direction @ image
        if not curvature > 0:
            bent = curvature / (direction @ direction)
            raise ValueError(
                f"along one direction H + damping I has the curvature {bent:.3g}, which is not positive: the loss bends "
                f"down there by {damping - bent:.3g}. Take a larger damping than {damping:.3g}; `lanczos` finds how large."
            )
        length = square / curvature
        step, residual = step + length * direction, residual - length * image
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    if square <= goal:
        return step
    raise ValueError(
        f"after {10 * len(residual)} products the residual is still {(square / (goal or 1)) ** 0.5:.3g} times the goal. "
        f"Take a larger damping than {damping:.3g}, or a larger tolerance than {tolerance:.3g}."
    )
