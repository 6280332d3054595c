"""The Gaussian process: by hand, against scikit-learn's, and what padding and repeated points may not change."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

from mlcourse.search import gp
from mlcourse.search.ascent import maximise
from mlcourse.search.precision import float64

PEERS = {gp.rbf: RBF, gp.matern32: lambda *a: Matern(*a, nu=1.5), gp.matern52: lambda *a: Matern(*a, nu=2.5)}
LENGTHS, AMPLITUDE, NOISE = [0.3, 0.9], 1.7, 0.01
kernels = pytest.mark.parametrize("kernel", PEERS, ids=lambda k: k.__name__)


@pytest.fixture(autouse=True)
def in_64_bits():
    with float64():
        yield


def observations(n=12):
    rng = np.random.default_rng(0)
    X = rng.random((n, 2))
    return X, np.sin(6 * X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(n)


def hyper():
    return gp.Hyperparameters(jnp.array(LENGTHS), jnp.array(AMPLITUDE), jnp.array(NOISE))


@kernels
def test_posterior_mean_and_covariance_are_scikit_learns(kernel):
    X, y = observations()
    points = np.random.default_rng(1).random((30, 2))
    peer = GaussianProcessRegressor(AMPLITUDE * PEERS[kernel](LENGTHS), alpha=NOISE, optimizer=None).fit(X, y)
    mean, covariance = peer.predict(points, return_cov=True)
    posterior = gp.condition(kernel, hyper(), X, y, np.full(len(y), True))
    np.testing.assert_allclose(gp.predict(posterior, points)[0], mean, atol=1e-8, rtol=0)
    np.testing.assert_allclose(gp.predict(posterior, points)[1], covariance, atol=1e-8, rtol=0)
    np.testing.assert_allclose(gp.predict_std(posterior, points)[1] ** 2, np.diag(covariance), atol=1e-8, rtol=0)


@kernels
def test_likelihood_and_its_gradient_are_scikit_learns(kernel):
    X, y = observations()
    peer = GaussianProcessRegressor(AMPLITUDE * PEERS[kernel](LENGTHS) + WhiteKernel(NOISE), alpha=0, optimizer=None).fit(X, y)
    value, gradient = peer.log_marginal_likelihood(peer.kernel_.theta, eval_gradient=True)  # in log amplitude, lengths, noise

    def ours(logs):
        h = gp.Hyperparameters(jnp.exp(logs[1:3]), jnp.exp(logs[0]), jnp.exp(logs[3]))
        return gp.log_marginal_likelihood(kernel, h, X, y, np.full(len(y), True))

    assert ours(peer.kernel_.theta) == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(jax.grad(ours)(peer.kernel_.theta), gradient, atol=1e-7)


@kernels
def test_the_likelihood_at_the_optimum_is_no_worse_than_scikit_learns(kernel):
    X, y = observations(25)
    y = (y - y.mean()) / y.std()
    start = ConstantKernel(1.0, (1e-3, 1e3)) * PEERS[kernel]([0.3, 0.3], (0.01, 100)) + WhiteKernel(1e-2, (1e-8, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = GaussianProcessRegressor(start, alpha=0, n_restarts_optimizer=5, random_state=0).fit(X, y)
    mask = np.full(len(y), True)
    fitted = gp.fit(kernel, X, y, mask, prior=lambda hyper: 0.0, steps=60)
    assert gp.log_marginal_likelihood(kernel, fitted, X, y, mask) > peer.log_marginal_likelihood_value_ - 1e-6


def test_the_fixed_steps_of_a_search_come_within_a_hundredth_of_the_top():
    X, y = observations(25)
    y, mask = (y - y.mean()) / y.std(), np.full(25, True)

    def height(hyper):
        return gp.log_marginal_likelihood(gp.matern52, hyper, X, y, mask) + gp.log_prior(hyper)

    few, many = (height(gp.fit(gp.matern52, X, y, mask, steps=steps)) for steps in (15, 100))
    assert few > many - 0.01


@kernels
def test_padding_changes_nothing(kernel):
    X, y = observations()
    mask = np.arange(32) < 12
    padded_X, padded_y = np.pad(X, ((0, 20), (0, 0)), constant_values=0.5), np.pad(y, (0, 20), constant_values=99.0)
    points = np.random.default_rng(1).random((5, 2))
    short = gp.condition(kernel, hyper(), X, y, mask[:12])
    long = gp.condition(kernel, hyper(), padded_X, padded_y, mask)
    for a, b in zip(gp.predict(short, points), gp.predict(long, points), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert gp.log_marginal_likelihood(kernel, hyper(), padded_X, padded_y, mask) == pytest.approx(
        float(gp.log_marginal_likelihood(kernel, hyper(), X, y, mask[:12])), abs=1e-10
    )


def test_two_readings_at_one_point_by_hand():
    # K = [[2, 1], [1, 2]], k = [1, 1]: mean = (3 + 6) / 3, variance = 1 - 2 / 3
    one = gp.Hyperparameters(jnp.ones(1), jnp.array(1.0), jnp.array(1.0))
    X = np.zeros((2, 1))
    mean, covariance = gp.predict(gp.condition(gp.rbf, one, X, np.array([3.0, 6.0]), np.array([True, True])), X[:1])
    assert float(mean[0]) == pytest.approx(3)
    assert float(covariance[0, 0]) == pytest.approx(1 / 3)


@kernels
def test_far_from_all_readings_the_prior_returns(kernel):
    X, y = observations()
    mean, std = gp.predict_std(gp.condition(kernel, hyper(), X, y, np.full(12, True)), np.array([[1e3, 1e3]]))
    assert (float(mean[0]), float(std[0]) ** 2) == pytest.approx((0, AMPLITUDE), abs=1e-9)


@kernels
def test_the_gradient_is_finite_where_points_coincide(kernel):
    X = np.full((4, 2), 0.5)
    gradient = jax.grad(lambda h: gp.log_marginal_likelihood(kernel, h, X, np.arange(4.0), np.full(4, True)))(hyper())
    assert all(np.isfinite(g).all() for g in gradient)


def test_a_fit_hands_lapack_one_matrix_at_a_time():
    # jaxlib 0.10 shares a large batch out over the threads of a pool, which on two cores can wait for each other for ever
    shapes = [jax.ShapeDtypeStruct(shape, kind) for shape, kind in (((512, 2), float), ((512,), float), ((512,), bool))]
    text = jax.jit(lambda X, y, mask: gp.fit(gp.matern52, X, y, mask)).lower(*shapes).as_text()
    calls = [line for line in text.splitlines() if "@lapack_" in line]
    assert len(calls) >= 3
    assert not [line for line in calls if re.search(r"tensor<\d+x\d+x\d+xf64>", line)]


def test_a_climb_ends_at_the_wall_when_the_top_is_behind_it():
    tops, values = maximise(
        lambda x: -jnp.sum((x - jnp.array([0.4, 2.0])) ** 2), jnp.zeros((1, 2)), 0.0, 1.0, steps=20, reach=0.1
    )
    np.testing.assert_allclose(tops, [[0.4, 1.0]], atol=1e-6)
    assert float(values[0]) == pytest.approx(-1)


def test_every_start_climbs_to_its_own_top():
    tops, _ = maximise(lambda x: jnp.sin(x[0]), jnp.array([[1.0], [8.0]]), 0.0, 10.0, steps=20, reach=0.5)
    np.testing.assert_allclose(tops[:, 0], [np.pi / 2, 5 * np.pi / 2], atol=1e-6)


def test_a_climb_along_a_bent_ridge_arrives():
    def rosenbrock(x):
        return -((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)

    tops, _ = maximise(rosenbrock, jnp.array([[-1.0, 1.0]]), -2.0, 2.0, steps=150, reach=0.1)
    np.testing.assert_allclose(tops, [[1, 1]], atol=1e-3)


def test_a_climb_never_enters_where_the_function_is_no_number():
    tops, values = maximise(lambda x: jnp.log(0.5 - x[0]) + 3 * x[0], jnp.array([[0.1]]), 0.0, 1.0, steps=30, reach=1.0)
    assert np.isfinite(values).all()
    assert float(tops[0, 0]) == pytest.approx(0.5 - 1 / 3, abs=1e-6)  # the derivative 3 - 1 / (0.5 - x) is 0 there
