"""A posterior -> how much a reading at a point is worth. A search reads where that is highest.

Letters: mean mu, std sigma > 0 of the function at a point, of any shape; best the highest value so far; margin how much more
is worth having; z = (mean - best - margin) / std; Phi and phi the normal distribution and its density. Everything is
maximised: for a minimum give the negative values.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

from mlcourse.search.gp import Posterior, covariance, matern32, matern52, rbf

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def probability_of_improvement(mean, std, best, *, margin=0.0):
    """P(f > best + margin) = Phi(z). Kushner 1964. Without a margin it creeps: next to the best, any gain is near certain.

    >>> float(probability_of_improvement(1.0, 2.0, 1.0))
    0.5
    """
    return norm.cdf((mean - best - margin) / std)


def expected_improvement(mean, std, best, *, margin=0.0):
    """E[max(f - best - margin, 0)] = std (phi(z) + z Phi(z)). Jones, Schonlau and Welch 1998, eq. 15.

    >>> round(float(expected_improvement(0.0, 1.0, 0.0)), 4)
    0.3989
    """
    z = (mean - best - margin) / std
    return std * (norm.pdf(z) + z * norm.cdf(z))


def log_expected_improvement(mean, std, best, *, margin=0.0):
    """log(expected_improvement), finite and with a slope where the improvement itself is 0 in floating point.

    After Ament et al. 2023 (arXiv 2310.20708), eq. 9, with other branches: above z = -1 as it is written, down to -15 through
    the ratio Phi / phi, below by its asymptotic series (relative error under 1e-8 in float64).

    >>> bool(jnp.isfinite(log_expected_improvement(-40.0, 1.0, 0.0)))
    True
    """
    z = (mean - best - margin) / std
    is_near, is_far = z > -1, z < -15
    near, middle, far = (  # no branch sees a z that is not its own: a NaN there would spoil the gradient here
        jnp.where(mine, z, inside) for mine, inside in ((is_near, 0.0), (~is_near & ~is_far, -2.0), (is_far, -20.0))
    )
    log_near = jnp.log(norm.pdf(near) + near * norm.cdf(near))
    ratio = jnp.exp(log_ndtr(middle) + middle**2 / 2 + HALF_LOG_2PI)  # Phi / phi
    log_middle = -(middle**2) / 2 - HALF_LOG_2PI + jnp.log1p(middle * ratio)
    v = 1 / far**2
    series = v * (-3 + v * (15 + v * (-105 + v * (945 - v * 10395))))
    log_far = -(far**2) / 2 - HALF_LOG_2PI + jnp.log(v) + jnp.log1p(series)
    return jnp.log(std) + jnp.where(is_near, log_near, jnp.where(is_far, log_far, log_middle))


def upper_confidence_bound(mean, std, *, width=2.0):
    """mean + width × std: optimism in the face of uncertainty. Srinivas et al. 2010.

    >>> upper_confidence_bound(1.0, 0.5, width=2.0)
    2.0
    """
    return mean + width * std


def posterior_variance(mean, std):
    """std²: active learning asks where the map is worst, whatever the value there.

    >>> posterior_variance(7.0, 3.0)
    9.0
    """
    return std**2


def thompson_sample(key: jax.Array, posterior: Posterior, *, num_features: int = 512) -> Callable:
    """One function drawn from the posterior, points (m, d) -> values (m,): its maximum is where to read next.

    Wilson et al. 2020 (arXiv 2002.09309): a draw from the prior, as a sum of `num_features` random cosines, moved by the
    data: f(x) = prior(x) + k(x, X) K^-1 (y - prior(X) - noise). It has a gradient and needs no covariance of the points.
    """
    kernel, hyper, X, mask, L, alpha = posterior
    keys = jax.random.split(key, 5)
    frequencies = jax.random.normal(keys[0], (num_features, X.shape[1])) / hyper.lengths
    freedom = {rbf: None, matern32: 3.0, matern52: 5.0}[kernel]  # the spectrum of a Matern is Student's t, of an RBF normal
    if freedom is not None:
        frequencies *= jnp.sqrt(freedom / (2 * jax.random.gamma(keys[1], freedom / 2, (num_features, 1))))
    phases = jax.random.uniform(keys[2], (num_features,), maxval=2 * jnp.pi)
    weights = jax.random.normal(keys[3], (num_features,)) * jnp.sqrt(2 * hyper.amplitude / num_features)

    def prior(points):
        return jnp.cos(points @ frequencies.T + phases) @ weights

    readings = prior(X) + jnp.sqrt(hyper.noise) * jax.random.normal(keys[4], mask.shape)
    half = solve_triangular(L, jnp.where(mask, readings, 0.0), lower=True)
    pull = alpha - solve_triangular(L.T, half, lower=False)
    return lambda points: prior(points) + covariance(kernel, hyper, points, X) @ jnp.where(mask, pull, 0.0)
