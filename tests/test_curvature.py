"""Curvature: against the whole matrix, on matrices whose eigenvalues are known, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlcourse.curvature import damped_newton_step, hessian, hessian_vector_product, lanczos
from mlcourse.search.precision import float64


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues and random eigenvectors."""
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    return V * np.asarray(eigenvalues, dtype=float) @ V.T


def network_loss():
    """A small tanh network as a loss of one vector of 23 parameters, and such a vector."""
    rng = np.random.default_rng(0)
    x, y, w = rng.standard_normal((20, 3)), rng.standard_normal(20), rng.standard_normal(23)

    def loss(w):
        h = jnp.tanh(x @ w[:12].reshape(3, 4) + w[12:16])
        return ((h @ w[16:20] - y) ** 2).mean() + w[20] * w[21] ** 2 + w[22]

    return loss, w


def test_products_are_columns_of_the_hessian_that_jax_computes_whole():
    loss, w = network_loss()
    with float64():
        expected = np.asarray(jax.jit(jax.hessian(loss))(jnp.asarray(w)))
        v = np.random.default_rng(1).standard_normal(23)
        product = np.asarray(jax.jit(lambda w, v: hessian_vector_product(loss, w, v))(w, v))
        whole = [np.asarray(jax.jit(lambda w, k=size: hessian(loss, w, batch_size=k))(w)) for size in (5, 64)]
    np.testing.assert_allclose(product, expected @ v, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(whole[0], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(whole[1], whole[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(whole[0], whole[0].T)


def test_products_are_differences_of_gradients():
    loss, w = network_loss()
    v = np.random.default_rng(2).standard_normal(23)
    with float64():
        gradient = jax.jit(jax.grad(loss))
        difference = (gradient(jnp.asarray(w + 1e-5 * v)) - gradient(jnp.asarray(w - 1e-5 * v))) / 2e-5
        product = jax.jit(lambda w, v: hessian_vector_product(loss, w, v))(w, v)
        np.testing.assert_allclose(product, difference, rtol=1e-5, atol=1e-7)


def test_a_product_takes_parameters_in_a_tree():
    def loss(params):
        return params["a"] ** 2 * params["b"].sum()

    params, v = {"a": 3.0, "b": jnp.array([1.0, 4.0])}, {"a": 1.0, "b": jnp.array([0.0, 2.0])}
    product = hessian_vector_product(loss, params, v)  # d²/da² = 2 (1 + 4), d²/da db = 2 a
    assert float(product["a"]) == 10 * 1 + 6 * 2
    assert product["b"].tolist() == [6.0, 6.0]


def test_lanczos_with_as_many_steps_as_dimensions_gives_every_eigenvalue():
    A = symmetric([-3, -1, -0.1, 0.01, 0.5, 2, 7])
    found = lanczos(lambda v: A @ v, np.random.default_rng(0).standard_normal(7), num_steps=50)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(A), atol=1e-10)
    assert found.errors.max() < 1e-8


def test_lanczos_settles_on_the_extremes_of_a_large_matrix_within_its_own_error():
    A = symmetric(np.concatenate([[-2.0, 30.0], np.random.default_rng(0).uniform(0, 10, 118)]))
    true = np.linalg.eigvalsh(A)
    found = lanczos(lambda v: A @ v, np.random.default_rng(1).standard_normal(120), num_steps=40)
    np.testing.assert_allclose(found.values[[0, -1]], true[[0, -1]], rtol=1e-6)
    distance = np.abs(true[:, None] - found.values).min(axis=0)
    assert (distance <= found.errors + 1e-9).all()
    assert found.values[0] >= true[0] - 1e-9 and found.values[-1] <= true[-1] + 1e-9


def test_lanczos_finds_no_eigenvalue_twice_after_many_steps():
    A = symmetric([1000.0, *np.linspace(0, 1, 99)])  # without orthogonalising again, 1000 comes back as a ghost
    found = lanczos(lambda v: A @ v, np.ones(100) + np.arange(100) / 7, num_steps=60)
    assert (found.values > 2).sum() == 1


def test_lanczos_stops_when_nothing_new_comes():
    found = lanczos(lambda v: 4 * v, np.arange(1.0, 6.0), num_steps=5)
    np.testing.assert_allclose(found.values, [4.0])
    np.testing.assert_allclose(found.errors, 0, atol=1e-9)


@pytest.mark.parametrize(
    "product, start, num_steps, words",
    [
        (lambda v: v, np.zeros(3), 3, "start of length 0.0: take at least one step from a nonzero start"),
        (lambda v: v, np.ones(3), 0, "num_steps=0 and"),
        (lambda v: v, np.array([1.0, np.nan]), 3, "a start of length nan"),
        (lambda v: v * np.nan, np.ones(3), 3, "the product number 1 is not finite. Is the loss finite"),
    ],
)
def test_lanczos_refuses_what_it_cannot_start_from(product, start, num_steps, words):
    with pytest.raises(ValueError, match=words):
        lanczos(product, start, num_steps=num_steps)


@pytest.mark.parametrize("damping", [0.5, 3.0])
def test_the_damped_step_solves_the_damped_system(damping):
    H = symmetric(np.linspace(-0.2, 50, 40))
    g = np.random.default_rng(0).standard_normal(40)
    step = damped_newton_step(lambda v: H @ v, g, damping=damping, tolerance=1e-10)
    np.testing.assert_allclose(step, np.linalg.solve(H + damping * np.eye(40), g), rtol=1e-7, atol=1e-9)


def test_a_newton_step_reaches_the_minimum_of_a_quadratic():
    H, centre, w = symmetric([0.1, 1, 20]), np.array([1.0, -2.0, 3.0]), np.zeros(3)
    step = damped_newton_step(lambda v: H @ v, H @ (w - centre), damping=0.0, tolerance=1e-12)
    np.testing.assert_allclose(w - step, centre, atol=1e-9)


def test_much_damping_leaves_the_gradient_only_shorter():
    H, g = symmetric([1.0, 10.0]), np.array([1.0, 1.0])
    np.testing.assert_allclose(1e6 * damped_newton_step(lambda v: H @ v, g, damping=1e6), g, rtol=1e-4)


def test_the_step_from_a_stationary_point_is_zero():
    assert damped_newton_step(lambda v: v, np.zeros(3), damping=0.0).tolist() == [0, 0, 0]


def test_too_little_damping_is_refused_with_how_far_the_loss_bends_down():
    with pytest.raises(ValueError, match=r"bends down there by 0\.3\. Take a larger damping than 0\.1"):
        damped_newton_step(lambda v: -0.3 * v, np.ones(2), damping=0.1)


def test_a_step_that_does_not_settle_is_refused():
    H = np.diag(np.logspace(-14, 3, 30))  # beyond what rounding lets conjugate gradients resolve
    with pytest.raises(ValueError, match="after 300 products the residual is still .* Take a larger damping than 0"):
        damped_newton_step(lambda v: H @ v, np.ones(30), damping=0.0, tolerance=1e-14)
