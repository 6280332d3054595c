"""Observations -> a Gaussian process: a map with error bars, and how likely it makes what was seen.

Letters (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1):
    X (n, d) points, y (n,) readings, mask (n,) True where a row is used: the others are padding, so that the
    shapes, and with them the compiled code, stay the same as points arrive
    k kernel, K (n, n) covariance of the readings = k(X, X) + noise I = L L^T, alpha = K^-1 y
All of it is jax.numpy and differentiable. Run it in 64 bits (`with float64():`): the covariance matrix of
near points has a condition number that float32 can't factor.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from mlcourse.search.ascent import climb


class Hyperparameters(NamedTuple):
    lengths: jax.Array  # (d,) how far along each dimension the function stays similar, in units of X
    amplitude: jax.Array  # () variance of the function
    noise: jax.Array  # () variance of a reading about the function


class Posterior(NamedTuple):
    kernel: Callable
    hyper: Hyperparameters
    X: jax.Array  # (n, d)
    mask: jax.Array  # (n,)
    L: jax.Array  # (n, n)
    alpha: jax.Array  # (n,)


def rbf(r2):
    """Correlation at squared distance r2: exp(-r²/2), infinitely smooth."""
    return jnp.exp(-r2 / 2)


def matern32(r2):
    """(1 + √3 r) exp(-√3 r): differentiable once."""
    r = jnp.sqrt(3 * r2 + 1e-30)  # the 1e-30 keeps the gradient finite where two points coincide
    return (1 + r) * jnp.exp(-r)


def matern52(r2):
    """(1 + √5 r + 5r²/3) exp(-√5 r): differentiable twice."""
    r = jnp.sqrt(5 * r2 + 1e-30)
    return (1 + r + r**2 / 3) * jnp.exp(-r)


def covariance(kernel: Callable, hyper: Hyperparameters, A: jax.Array, B: jax.Array) -> jax.Array:
    """(a, b): amplitude × kernel(squared distance in length scales) between the rows of A (a, d) and of B (b, d)."""
    A, B = A / hyper.lengths, B / hyper.lengths
    r2 = jnp.sum(A**2, 1)[:, None] + jnp.sum(B**2, 1) - 2 * A @ B.T  # a matrix product: 3 times as fast as (A - B)²
    return hyper.amplitude * kernel(jnp.maximum(r2, 0.0))


def condition(kernel: Callable, hyper: Hyperparameters, X, y, mask) -> Posterior:
    """The process given the readings. A row of padding is independent of all and reads 0: it changes nothing.

    >>> hyper, x = Hyperparameters(jnp.ones(1), 1.0, 1.0), jnp.zeros((1, 1))
    >>> mean, variance = predict(condition(rbf, hyper, x, jnp.array([4.0]), jnp.array([True])), x)
    >>> round(float(mean[0]), 3), float(variance[0, 0])  # one reading as noisy as the function varies: believed by half
    (2.0, 0.5)
    """
    K = jnp.where(mask[:, None] & mask, covariance(kernel, hyper, X, X), 0.0)
    L = jnp.linalg.cholesky(K + jnp.diag(jnp.where(mask, hyper.noise, 1.0)))
    half = solve_triangular(L, jnp.where(mask, y, 0.0), lower=True)
    return Posterior(kernel, hyper, X, mask, L, solve_triangular(L.T, half, lower=False))


def predict(posterior: Posterior, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean (m,) and covariance (m, m) of the function (without noise) at points (m, d)."""
    kernel, hyper, X, mask, L, alpha = posterior
    k = jnp.where(mask[:, None], covariance(kernel, hyper, X, points), 0.0)  # (n, m)
    half = solve_triangular(L, k, lower=True)
    return k.T @ alpha, covariance(kernel, hyper, points, points) - half.T @ half


def predict_std(posterior: Posterior, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation, both (m,): the diagonal of `predict` without the rest."""
    kernel, hyper, X, mask, L, alpha = posterior
    k = jnp.where(mask[:, None], covariance(kernel, hyper, X, points), 0.0)
    variance = hyper.amplitude - jnp.sum(solve_triangular(L, k, lower=True) ** 2, axis=0)
    return k.T @ alpha, jnp.sqrt(jnp.maximum(variance, 1e-12 * hyper.amplitude))


def log_marginal_likelihood(kernel: Callable, hyper: Hyperparameters, X, y, mask) -> jax.Array:
    """log p(y | X) = -y^T alpha / 2 - sum(log diag L) - n log(2 pi) / 2, eq. 2.30."""
    _, _, _, _, L, alpha = condition(kernel, hyper, X, y, mask)
    fit = -0.5 * jnp.sum(jnp.where(mask, y, 0.0) * alpha)
    return fit - jnp.sum(jnp.log(jnp.diag(L))) - 0.5 * jnp.sum(mask) * jnp.log(2 * jnp.pi)


def log_prior(hyper: Hyperparameters) -> jax.Array:
    """What is believed before any reading, for X in the unit cube and y of mean 0 and variance 1: normal in the logarithms.

    Lengths near 0.3 √d (points in more dimensions are further apart), an amplitude near 1, a noise from none to most of it.
    """
    lengths = jnp.log(hyper.lengths / (0.3 * len(hyper.lengths) ** 0.5))
    return -0.5 * (jnp.sum(lengths**2) + (jnp.log(hyper.amplitude) / 1.5) ** 2 + ((jnp.log(hyper.noise) + 11) / 3) ** 2)


def fit(kernel: Callable, X, y, mask, *, prior: Callable = log_prior, steps: int = 15) -> Hyperparameters:
    """The hyperparameters of the highest likelihood × prior, for X and y as `log_prior` has them: four climbs."""
    d = X.shape[1]

    def unpack(logs):
        return Hyperparameters(jnp.exp(logs[:d]), jnp.exp(logs[d]), jnp.exp(logs[d + 1]))

    def height(logs):
        return log_marginal_likelihood(kernel, unpack(logs), X, y, mask) + prior(unpack(logs))

    starts = [[length * d**0.5] * d + [1.0, noise] for length, noise in ((0.1, 1e-4), (0.3, 1e-4), (1.0, 1e-4), (0.3, 0.1))]
    starts, low, high = map(jnp.log, map(jnp.array, (starts, [0.01] * d + [1e-3, 1e-8], [100.0] * d + [1e3, 1.0])))
    tops, values = jax.lax.map(lambda start: climb(height, start, low, high, steps=steps, reach=0.5), starts)
    return unpack(tops[jnp.nanargmax(values)])
