"""Batch and layer normalisation: by hand, against Flax and PyTorch, and what must not depend on what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from mlcourse import normalisation
from mlcourse.normalisation import (
    Statistics,
    batch_norm_backward,
    batch_norm_eval,
    batch_norm_train,
    batch_statistics,
    fold,
    layer_norm,
    normalise,
)
from mlcourse.search.precision import float64

FLAT, IMAGES = (7, 3), (5, 4, 6, 3)  # channels last
shapes = pytest.mark.parametrize("shape", [FLAT, IMAGES], ids=["2-D", "4-D"])
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}  # the libraries compute in float32, Flax the variance as E[x²] - E[x]²


def example(shape, seed=0, dtype=np.float32):
    """x far from mean 0 and variance 1, gamma and beta away from 1 and 0."""
    rng = np.random.default_rng(seed)
    channels = shape[-1]
    x = rng.standard_normal(shape) * np.linspace(0.5, 2, channels) + np.linspace(-1, 3, channels)
    return tuple(array.astype(dtype) for array in (x, rng.uniform(0.5, 2, channels), rng.standard_normal(channels)))


def fresh(channels, dtype=np.float32):
    return Statistics(np.zeros(channels, dtype), np.ones(channels, dtype))


def starting_from(gamma, beta):
    """Arguments for a layer of Flax that has this scale and this bias."""
    return {"scale_init": lambda *_: jnp.asarray(gamma), "bias_init": lambda *_: jnp.asarray(beta), "rngs": nnx.Rngs(0)}


def channels_first(x):
    return np.moveaxis(x, -1, 1).copy()


@shapes
@pytest.mark.parametrize("momentum, epsilon", [(0.9, 1e-5), (0.99, 1e-3)])
def test_training_and_evaluation_are_those_of_flax_running_statistics_included(shape, momentum, epsilon):
    x, gamma, beta = example(shape)
    theirs = nnx.BatchNorm(3, momentum=momentum, epsilon=epsilon, **starting_from(gamma, beta))
    running = fresh(3)
    for seed in range(3):  # several batches, so that the momentum shows
        batch = example(shape, seed)[0]
        y, running = batch_norm_train(batch, gamma, beta, running, momentum=momentum, epsilon=epsilon)
        np.testing.assert_allclose(y, theirs(batch, use_running_average=False), **TOLERANCE)
    np.testing.assert_allclose(running.mean, theirs.mean[...], **TOLERANCE)
    np.testing.assert_allclose(running.variance, theirs.var[...], **TOLERANCE)
    ours = batch_norm_eval(x, gamma, beta, running, epsilon=epsilon)
    np.testing.assert_allclose(ours, theirs(x, use_running_average=True), **TOLERANCE)


@shapes
@pytest.mark.parametrize("momentum, epsilon", [(0.9, 1e-5), (0.7, 1e-3)])
def test_training_and_evaluation_are_those_of_pytorch_running_statistics_included(shape, momentum, epsilon):
    x, gamma, beta = example(shape)
    layer = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    theirs = layer(3, eps=epsilon, momentum=1 - momentum)
    theirs.weight.data, theirs.bias.data = torch.from_numpy(gamma), torch.from_numpy(beta)
    options = {"epsilon": epsilon, "axis": 1}
    running = fresh(3)
    for seed in range(3):
        batch = channels_first(example(shape, seed)[0])
        y, running = batch_norm_train(batch, gamma, beta, running, momentum=momentum, correction=1, **options)
        np.testing.assert_allclose(y, theirs(torch.from_numpy(batch)).detach(), **TOLERANCE)
    np.testing.assert_allclose(running.mean, theirs.running_mean, **TOLERANCE)
    np.testing.assert_allclose(running.variance, theirs.running_var, **TOLERANCE)
    x = channels_first(x)
    np.testing.assert_allclose(
        batch_norm_eval(x, gamma, beta, running, **options), theirs.eval()(torch.from_numpy(x)).detach(), **TOLERANCE
    )


@shapes
def test_channels_first_and_channels_last_give_the_same(shape):
    x, gamma, beta = example(shape)
    last, running_last = batch_norm_train(x, gamma, beta, fresh(3))
    first, running_first = batch_norm_train(channels_first(x), gamma, beta, fresh(3), axis=1)
    np.testing.assert_allclose(first, channels_first(last), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(running_first, running_last, rtol=1e-5)


def test_the_running_variance_of_flax_is_biased_and_that_of_pytorch_is_not():
    x, one = np.array([[0.0], [0.0], [3.0]]), np.ones(1)  # squares about the mean 1: 1 + 1 + 4
    biased = batch_norm_train(x, one, one, fresh(1), momentum=0.0)[1]
    unbiased = batch_norm_train(x, one, one, fresh(1), momentum=0.0, correction=1)[1]
    assert (biased.variance[0], unbiased.variance[0]) == (pytest.approx(6 / 3), pytest.approx(6 / 2))


@shapes
def test_a_trained_channel_has_the_mean_beta_and_the_standard_deviation_gamma(shape):
    x, gamma, beta = example(shape, dtype=np.float64)
    y = batch_norm_train(x, gamma, beta, fresh(3), epsilon=0.0)[0]
    mean, variance = batch_statistics(y)
    np.testing.assert_allclose(mean, beta, atol=1e-12)
    np.testing.assert_allclose(variance, gamma**2, rtol=1e-12)


def test_scale_and_shift_of_the_input_make_no_difference_in_training_and_make_one_in_evaluation():
    x, gamma, beta = example(FLAT, dtype=np.float64)
    other = 100 * x - 7
    trained = [batch_norm_train(a, gamma, beta, fresh(3), epsilon=0.0)[0] for a in (x, other)]
    np.testing.assert_allclose(*trained, atol=1e-12)
    assert np.ptp([batch_norm_eval(a, gamma, beta, fresh(3)) for a in (x, other)], axis=0).min() > 1


def test_an_example_depends_on_its_batch_in_training_only():
    x, gamma, beta = example(FLAT, dtype=np.float64)
    running = batch_statistics(x)
    assert (
        np.abs(batch_norm_train(x[:4], gamma, beta, running)[0] - batch_norm_train(x, gamma, beta, running)[0][:4]).max() > 0.1
    )
    np.testing.assert_array_equal(batch_norm_eval(x[:4], gamma, beta, running), batch_norm_eval(x, gamma, beta, running)[:4])


def test_a_batch_of_one_leaves_only_beta():
    _, gamma, beta = example(FLAT)
    for value in (-5.0, 0.0, 1e6):
        np.testing.assert_array_equal(batch_norm_train(np.full((1, 3), value), gamma, beta, fresh(3))[0], beta[None])


def test_a_constant_channel_gives_beta_and_no_nan():
    y, running = batch_norm_train(np.full((4, 1), 3.0), 2 * np.ones(1), np.ones(1), fresh(1))
    np.testing.assert_array_equal(y, np.ones((4, 1)))
    assert running.variance[0] == pytest.approx(0.9)


def test_nothing_that_is_passed_is_changed():
    x, gamma, beta = example(FLAT)
    running = fresh(3)
    kept = [array.copy() for array in (x, gamma, beta, *running)]
    batch_norm_train(x, gamma, beta, running)
    batch_norm_backward(x, x, gamma)
    for now, before in zip((x, gamma, beta, *running), kept, strict=True):
        np.testing.assert_array_equal(now, before)


@shapes
def test_numpy_jax_and_pytorch_arrays_give_the_same(shape):
    x, gamma, beta = example(shape)
    results = [
        batch_norm_train(make(x), make(gamma), make(beta), Statistics(*map(make, fresh(3))), correction=1)
        for make in (np.asarray, jnp.asarray, torch.from_numpy)
    ]
    for y, running in results[1:]:
        np.testing.assert_allclose(y, results[0][0], **TOLERANCE)
        np.testing.assert_allclose(running.variance, results[0][1].variance, rtol=1e-5)


@pytest.mark.parametrize("shape, axis", [(FLAT, -1), (IMAGES, -1), (IMAGES, 1)])
def test_the_backward_pass_by_hand_is_what_automatic_differentiation_gives(shape, axis):
    x, gamma, beta = example(shape, dtype=np.float64)
    if axis == 1:
        x = channels_first(x)
    weights = np.random.default_rng(9).standard_normal(x.shape)  # the loss is sum(weights y²) / 2, so dy = weights y

    def loss(x, gamma, beta):
        y = batch_norm_train(x, gamma, beta, fresh(3), epsilon=1e-3, axis=axis)[0]
        return (weights * y**2).sum() / 2

    dy = weights * batch_norm_train(x, gamma, beta, fresh(3), epsilon=1e-3, axis=axis)[0]
    with float64():
        theirs = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*map(jnp.asarray, (x, gamma, beta)))
        theirs = [np.asarray(gradient) for gradient in theirs]
    for ours, expected in zip(batch_norm_backward(dy, x, gamma, epsilon=1e-3, axis=axis), theirs, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-10)


@shapes
def test_the_gradient_neither_shifts_nor_stretches_a_channel(shape):
    x, gamma, _ = example(shape, dtype=np.float64)
    dx = batch_norm_backward(np.random.default_rng(1).standard_normal(shape), x, gamma, epsilon=0.0)[0]
    others = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(dx.sum(axis=others), 0, atol=1e-10)
    np.testing.assert_allclose((dx * x).sum(axis=others), 0, atol=1e-10)


@pytest.mark.parametrize("shape", [FLAT, IMAGES, (2, 5, 3)])
def test_layer_normalisation_is_that_of_flax_and_of_pytorch(shape):
    x, gamma, beta = example(shape)
    flax = nnx.LayerNorm(3, epsilon=1e-4, **starting_from(gamma, beta))
    pytorch = torch.nn.LayerNorm(3, eps=1e-4)
    pytorch.weight.data, pytorch.bias.data = torch.from_numpy(gamma), torch.from_numpy(beta)
    ours = layer_norm(x, gamma, beta, epsilon=1e-4)
    np.testing.assert_allclose(ours, flax(x), **TOLERANCE)
    np.testing.assert_allclose(ours, pytorch(torch.from_numpy(x)).detach(), **TOLERANCE)


def test_layer_normalisation_treats_each_example_alone():
    x, gamma, beta = example(FLAT)
    np.testing.assert_array_equal(layer_norm(x, gamma, beta)[2:3], layer_norm(x[2:3], gamma, beta))


def test_a_linear_layer_with_its_batch_norm_folded_in_predicts_the_same():
    rng = np.random.default_rng(0)
    x, W, b = rng.standard_normal((6, 4)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    _, gamma, beta = example(FLAT, dtype=np.float64)
    running = Statistics(rng.standard_normal(3), rng.uniform(0.1, 4, 3))
    expected = batch_norm_eval(x @ W + b, gamma, beta, running, epsilon=1e-3)
    folded_W, folded_b = fold(W, b, gamma, beta, running, epsilon=1e-3)
    np.testing.assert_allclose(x @ folded_W + folded_b, expected, rtol=1e-12)
    transposed, same_b = fold(W.T, b, gamma, beta, running, epsilon=1e-3, axis=0)
    np.testing.assert_array_equal(transposed, folded_W.T)
    np.testing.assert_array_equal(same_b, folded_b)


def test_a_convolution_of_pytorch_with_its_batch_norm_folded_in_predicts_the_same():
    torch.manual_seed(0)
    convolution, norm = torch.nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.nn.BatchNorm2d(3)
    norm.weight.data, norm.bias.data = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([1.0, 0.0, 3.0])
    x = torch.randn(4, 2, 7, 7)
    norm(convolution(3 * x + 1))  # moves the running statistics
    running = Statistics(norm.running_mean, norm.running_var)
    folded = torch.nn.Conv2d(2, 3, 3, stride=2, padding=1)
    weights = fold(convolution.weight.data, convolution.bias.data, norm.weight.data, norm.bias.data, running, axis=0)
    folded.weight.data, folded.bias.data = weights
    np.testing.assert_allclose(folded(x).detach(), norm.eval()(convolution(x)).detach(), rtol=1e-5, atol=1e-5)


def test_a_convolution_of_flax_with_its_batch_norm_folded_in_predicts_the_same():
    rngs = nnx.Rngs(0)
    convolution, norm = nnx.Conv(2, 3, (3, 3), rngs=rngs), nnx.BatchNorm(3, momentum=0.9, rngs=rngs)
    x = np.random.default_rng(0).standard_normal((4, 7, 7, 2)).astype(np.float32)
    norm(convolution(3 * x + 1), use_running_average=False)
    running, parts = Statistics(norm.mean[...], norm.var[...]), (norm.scale[...], norm.bias[...])
    W, b = fold(convolution.kernel[...], convolution.bias[...], *parts, running)
    folded = nnx.Conv(2, 3, (3, 3), kernel_init=lambda *_: W, bias_init=lambda *_: b, rngs=rngs)
    np.testing.assert_allclose(folded(x), norm(convolution(x), use_running_average=True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: batch_statistics(np.ones(4)), r"shape \(4,\) and axis=-1; x needs a batch axis"),
        (lambda: batch_statistics(np.ones((4, 3)), axis=2), r"axis=2; x needs a batch axis"),
        (
            lambda: normalise(np.ones((2, 3, 5)), fresh(3), np.ones(3), np.ones(3)),
            r"so 5 channels on axis -1, .* have shape \(3,\), not \(5,\). Is `axis` where",
        ),
        (lambda: normalise(np.ones((2, 3)), fresh(3), np.ones((1, 3)), np.ones(3)), r"have shape \(1, 3\), not \(3,\)"),
        (lambda: fold(np.ones((2, 3)), np.zeros(3), np.ones(3), np.ones(3), fresh(3), axis=0), r"so 2 channels on axis 0"),
        (
            lambda: batch_norm_train(np.ones((1, 3)), np.ones(3), np.ones(3), fresh(3), correction=1),
            r"1 value a channel, whose unbiased variance is 0 / 0. Take a larger batch, or correction=0",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_module_needs_no_library():
    assert not {"np", "jnp", "torch"} & set(vars(normalisation))
