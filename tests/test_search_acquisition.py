"""Acquisitions: by hand, against quadrature and 400-digit arithmetic, and what a change of units may not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from mlcourse.search import acquisition, gp
from mlcourse.search.precision import float64

LOG_EI = {  # z: log(phi(z) + z Phi(z)), from mpmath with 400 digits
    1.0: 0.08002621884930694,
    -0.5: -1.6205162643873199,
    -1.0: -2.4851210257126413,
    -5.0: -16.74430116266099,
    -14.9: -117.33996689032444,
    -15.1: -120.36628896904408,
    -20.0: -206.9178385094251,
    -40.0: -808.29856835661996,
    -1000.0: -500014.73445209116,
}


@pytest.fixture(autouse=True)
def in_64_bits():
    with float64():
        yield


@pytest.mark.parametrize("z, expected", LOG_EI.items())
def test_log_expected_improvement_is_right_on_each_of_its_branches(z, expected):
    # the value is a difference of numbers as large as z²/2, so 1e-8 absolute holds as long as z² / 2 < 1e7
    assert float(acquisition.log_expected_improvement(z, 1.0, 0.0)) == pytest.approx(expected, abs=1e-8)


def test_log_expected_improvement_is_finite_and_ordered_from_40_deviations_below():
    z = jnp.linspace(-40, 10, 2001)
    values = acquisition.log_expected_improvement(z, 1.0, 0.0)
    slopes = jax.vmap(jax.grad(lambda z: acquisition.log_expected_improvement(z, 1.0, 0.0)))(z)
    assert np.isfinite(values).all() and np.isfinite(slopes).all()
    assert (np.diff(values) > 0).all() and (slopes > 0).all()


def test_the_slope_of_log_expected_improvement_is_that_of_its_values():
    z, h = jnp.array([-39.0, -15.0, -14.0, -1.0, 0.0, 2.0]), 1e-4
    slopes = jax.vmap(jax.grad(lambda z: acquisition.log_expected_improvement(z, 1.0, 0.0)))(z)
    up, down = (acquisition.log_expected_improvement(z + step, 1.0, 0.0) for step in (h, -h))
    np.testing.assert_allclose(slopes, (up - down) / (2 * h), rtol=1e-4)


@pytest.mark.parametrize("mean, std, best, margin", [(0.2, 0.5, 0.4, 0.0), (1.0, 2.0, -1.0, 0.3), (-3.0, 0.7, 0.0, 0.1)])
def test_improvement_is_the_integral_that_defines_it(mean, std, best, margin):
    threshold = best + margin
    density = norm(mean, std).pdf
    gain = quad(lambda f: (f - threshold) * density(f), threshold, threshold + 20)[0]
    chance = quad(density, threshold, threshold + 20)[0]
    assert float(acquisition.expected_improvement(mean, std, best, margin=margin)) == pytest.approx(gain, abs=1e-9)
    assert float(acquisition.probability_of_improvement(mean, std, best, margin=margin)) == pytest.approx(chance, abs=1e-9)
    assert float(acquisition.log_expected_improvement(mean, std, best, margin=margin)) == pytest.approx(np.log(gain), abs=1e-5)


def test_a_change_of_units_scales_the_improvement_and_leaves_its_chance():
    metres = np.array([0.3, 0.8, 0.5])
    millimetres = 1000 * metres
    assert acquisition.expected_improvement(*millimetres) == pytest.approx(1000 * acquisition.expected_improvement(*metres))
    assert acquisition.probability_of_improvement(*millimetres) == pytest.approx(
        acquisition.probability_of_improvement(*metres)
    )


def test_a_higher_mean_and_a_wider_bar_are_both_worth_more():
    for worth in (acquisition.expected_improvement, acquisition.log_expected_improvement):
        assert worth(0.1, 1.0, 1.0) > worth(0.0, 1.0, 1.0)
        assert worth(0.0, 1.1, 1.0) > worth(0.0, 1.0, 1.0)
    assert acquisition.upper_confidence_bound(1.0, 0.5, width=3.0) == 2.5
    assert acquisition.posterior_variance(99.0, 0.5) == 0.25


@pytest.mark.parametrize("kernel", [gp.rbf, gp.matern32, gp.matern52], ids=lambda k: k.__name__)
def test_thompson_draws_have_the_mean_and_covariance_of_the_posterior(kernel):
    X, y, mask = jnp.array([[0.2], [0.7], [0.0]]), jnp.array([1.0, -1.0, 50.0]), jnp.array([True, True, False])
    hyper = gp.Hyperparameters(jnp.array([0.2]), jnp.array(1.5), jnp.array(0.1))
    posterior, points = gp.condition(kernel, hyper, X, y, mask), jnp.array([[0.2], [0.45], [0.9]])
    keys = jax.random.split(jax.random.key(0), 4000)
    draws = jax.vmap(lambda key: acquisition.thompson_sample(key, posterior, num_features=256)(points))(keys)
    mean, covariance = gp.predict(posterior, points)
    # 4000 draws: standard error 0.02 of a mean, 0.035 of a variance of 1.5
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.14)


def test_a_thompson_draw_goes_through_readings_without_noise():
    X, y = jnp.linspace(0, 1, 5)[:, None], jnp.array([0.0, 1.0, -1.0, 2.0, 0.5])
    hyper = gp.Hyperparameters(jnp.array([0.2]), jnp.array(1.0), jnp.array(1e-10))
    draw = acquisition.thompson_sample(jax.random.key(1), gp.condition(gp.matern52, hyper, X, y, jnp.full(5, True)))
    np.testing.assert_allclose(draw(X), y, atol=1e-3)
    assert float(jnp.std(draw(jnp.linspace(0, 1, 50)[:, None]))) > 0.5
