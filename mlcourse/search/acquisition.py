"""Mean and standard deviation at a point -> how much a reading there is worth.

Letters: mean mu, std sigma of the function at the point (any shape, not zero); best: the incumbent, the highest value so far;
z = (mean - best - margin) / std. Everything is maximised.
"""

import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

HALF_LOG_2PI = 0.5 * jnp.log(2 * jnp.pi).item()


def probability_of_improvement(mean, std, best, *, margin=0.0):
    """P(f > best + margin) = Phi(z)."""
    return norm.cdf((mean - best - margin) / std)


def expected_improvement(mean, std, best, *, margin=0.0):
    """E[max(f - best - margin, 0)] = std (phi(z) + z Phi(z)). Jones, Schonlau and Welch 1998, eq. 15."""
    z = (mean - best - margin) / std
    return std * (norm.pdf(z) + z * norm.cdf(z))


def log_expected_improvement(mean, std, best, *, margin=0.0):
    z = (mean - best - margin) / std
    near = jnp.maximum(z, -1.0)
    mid = jnp.clip(z, -15.0, -1.0)
    far = jnp.minimum(z, -15.0)
    log_near = jnp.log(norm.pdf(near) + near * norm.cdf(near))
    mills = jnp.exp(log_ndtr(mid) + mid**2 / 2 + HALF_LOG_2PI)  # Phi / phi
    log_mid = -(mid**2) / 2 - HALF_LOG_2PI + jnp.log1p(mid * mills)
    v = 1 / far**2
    series = v * (-3 + v * (15 + v * (-105 + v * (945 - v * 10395))))
    log_far = -(far**2) / 2 - HALF_LOG_2PI - 2 * jnp.log(-far) + jnp.log1p(series)
    return jnp.log(std) + jnp.where(z > -1, log_near, jnp.where(z > -15, log_mid, log_far))


def upper_confidence_bound(mean, std, *, width=2.0):
    return mean + width * std
