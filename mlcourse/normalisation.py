"""Activations -> activations of mean 0 and variance 1: batch normalisation, its gradient, layer normalisation, folding.

Letters (Ioffe and Szegedy, Batch Normalization, 2015, algorithms 1 and 2):
    x activations, (B, C), or for images (B, height, width, C) with axis=-1 as in Flax, (B, C, height, width) with axis=1
    as in PyTorch; C channels, each normalised over everything else, n values a channel
    gamma (C,), beta (C,) what is learned: the standard deviation and mean that a channel gets in place of 1 and 0
    epsilon added to the variance, inside the root
Only arithmetic and methods of arrays are used, so NumPy, JAX and PyTorch arrays work, in any precision.

Two conventions of the libraries differ, and porting a network without knowing them changes what it predicts:
    momentum: the weight of the *old* running value here and in Flax (0.99 by default there), the weight of the *new*
    one in PyTorch (0.1 by default): `momentum=0.9` here is PyTorch's 0.1
    running variance: Flax keeps an average of the variance that it divides by, sum / n; PyTorch of the unbiased
    sum / (n - 1), though it divides by sum / n as well: `correction=1` here
"""

from typing import Any, NamedTuple

Array = Any  # of NumPy, JAX or PyTorch


class Statistics(NamedTuple):
    """What a channel is normalised by: of a batch, or running over the batches of training."""

    mean: Array  # (C,)
    variance: Array  # (C,), never the standard deviation


def batch_statistics(x: Array, *, axis: int = -1) -> Statistics:
    """Mean and (biased) variance of every channel over all other axes.

    Args:
        x: (B, C) or (B, ..., C); `axis` says where the channels are.

    Raises:
        ValueError: x has fewer than two axes, or no axis `axis`.

    >>> import numpy as np
    >>> batch_statistics(np.array([[1.0, 0.0], [3.0, 0.0]]))
    Statistics(mean=array([2., 0.]), variance=array([1., 0.]))

    Built in lesson 03.
    """
    others = other_axes(x, axis)
    mean = x.mean(axis=others)
    variance = ((x - per_channel(mean, x, axis)) ** 2).mean(axis=others)
    return Statistics(mean, variance)


def normalise(x: Array, statistics: Statistics, gamma: Array, beta: Array, *, epsilon: float = 1e-5, axis: int = -1) -> Array:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, every channel with its own four numbers.

    With the batch's own statistics this is batch normalisation in training; with the running statistics, in evaluation.

    Args:
        x: (B, C) or (B, ..., C); `axis` says where the channels are.
        statistics, gamma, beta: (C,) each.
        epsilon: 1e-5 in Flax and PyTorch.

    Raises:
        ValueError: one of them is not (C,).

    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]])
    >>> normalise(x, Statistics(np.array([1.0]), np.array([4.0])), np.array([10.0]), np.array([0.5]), epsilon=0.0).tolist()
    [[0.5], [10.5]]

    Built in lesson 03.
    """
    mean, variance, gamma, beta = (per_channel(values, x, axis) for values in (*statistics, gamma, beta))
    return gamma * (x - mean) / (variance + epsilon) ** 0.5 + beta


def update_running(running: Statistics, batch: Statistics, *, momentum: float = 0.9) -> Statistics:
    """momentum running + (1 - momentum) batch, for the mean and for the variance.

    Args:
        momentum: the weight of the old value, in [0, 1], as in Flax; PyTorch calls 1 - momentum so.

    >>> update_running(Statistics(0.0, 1.0), Statistics(2.0, 5.0), momentum=0.75)
    Statistics(mean=0.5, variance=2.0)

    Built in lesson 03.
    """
    return Statistics(*(momentum * old + (1 - momentum) * new for old, new in zip(running, batch, strict=True)))


def batch_norm_train(
    x: Array,
    gamma: Array,
    beta: Array,
    running: Statistics,
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    axis: int = -1,
    correction: int = 0,
) -> tuple[Array, Statistics]:
    """Batch normalisation in training: (y, the new running statistics). y is normalised by the statistics of its batch.

    Args:
        x: (B, C) or (B, ..., C); `axis` says where the channels are.
        gamma, beta: (C,).
        running: starts as mean 0 and variance 1 in both libraries; y does not depend on it.
        momentum: the weight of the old running statistics.
        correction: the variance that enters the *running* variance is sum / (n - correction): 0 as in Flax, 1 as in
            PyTorch. y is always divided by the root of sum / n.

    Raises:
        ValueError: correction is 1 and a channel has one value; the others as `batch_statistics` and `normalise`.

    >>> import numpy as np
    >>> one, running = np.ones(1), Statistics(np.zeros(1), np.ones(1))
    >>> y, running = batch_norm_train(np.array([[1.0], [5.0]]), 3 * one, one, running, epsilon=0.0)
    >>> y.ravel().tolist(), running.mean.round(3).tolist(), running.variance.round(3).tolist()
    ([-2.0, 4.0], [0.3], [1.3])

    Built in lesson 03.
    """
    batch = batch_statistics(x, axis=axis)
    y = normalise(x, batch, gamma, beta, epsilon=epsilon, axis=axis)
    seen = batch._replace(variance=batch.variance * bessel(x, axis, correction))
    return y, update_running(running, seen, momentum=momentum)


def batch_norm_eval(
    x: Array, gamma: Array, beta: Array, running: Statistics, *, epsilon: float = 1e-5, axis: int = -1
) -> Array:
    """Batch normalisation in evaluation: by the running statistics, so no example depends on the others.

    >>> import numpy as np
    >>> one = np.ones(1)
    >>> batch_norm_eval(np.array([[7.0]]), 2 * one, one, Statistics(3 * one, 4 * one), epsilon=0.0).tolist()
    [[5.0]]

    Built in lesson 03.
    """
    return normalise(x, running, gamma, beta, epsilon=epsilon, axis=axis)


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, *, epsilon: float = 1e-5, axis: int = -1
) -> tuple[Array, Array, Array]:
    """(dx, dgamma, dbeta): the gradient of a loss through batch normalisation in training, from its gradient dy.

    With z = (x - mean) / std and averages over the n values of a channel:
    dbeta = sum dy, dgamma = sum dy z, dx = gamma / std (dy - average(dy) - z average(dy z)).
    Each x moves the mean and the variance of its whole channel; the two averages are what that contributes.

    Args:
        dy, x: (B, C) or (B, ..., C).
        gamma: (C,).

    >>> import numpy as np
    >>> dx, dgamma, dbeta = batch_norm_backward(np.array([[1.0], [0.0], [0.0]]), np.array([[0.0], [1.0], [2.0]]), np.ones(1))
    >>> bool(abs(dx.sum()) < 1e-12), dbeta.tolist()  # shifting all of x changes nothing
    (True, [1.0])

    Built in lesson 03.
    """
    others = other_axes(x, axis)
    mean, variance = (per_channel(values, x, axis) for values in batch_statistics(x, axis=axis))
    std = (variance + epsilon) ** 0.5
    z = (x - mean) / std
    through_mean = per_channel(dy.mean(axis=others), x, axis)
    through_variance = z * per_channel((dy * z).mean(axis=others), x, axis)
    dx = per_channel(gamma, x, axis) / std * (dy - through_mean - through_variance)
    return dx, (dy * z).sum(axis=others), dy.sum(axis=others)


def layer_norm(x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5) -> Array:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta with the mean and variance of each example over its last axis.

    Ba, Kiros and Hinton, Layer Normalization, 2016. No running statistics, and training and evaluation are the same. For
    images with channels last this is Flax's `LayerNorm`, each pixel over its channels. epsilon is 1e-6 by default in Flax,
    1e-5 in PyTorch.

    Args:
        x: (..., d).
        gamma, beta: (d,).

    >>> import numpy as np
    >>> layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), np.ones(2), np.zeros(2), epsilon=0.0).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]

    Built in lesson 03.
    """
    mean = x.mean(axis=-1)[..., None]
    variance = ((x - mean) ** 2).mean(axis=-1)[..., None]
    return gamma * (x - mean) / (variance + epsilon) ** 0.5 + beta


def fold(
    W: Array, b: Array, gamma: Array, beta: Array, running: Statistics, *, epsilon: float = 1e-5, axis: int = -1
) -> tuple[Array, Array]:
    """(W, b) of the one layer that does what a layer followed by batch normalisation in evaluation does.

    gamma (x W + b - mean) / std + beta = x (W gamma / std) + ((b - mean) gamma / std + beta), for a linear layer and for a
    convolution, whatever its stride and padding.

    Args:
        W: weights; `axis` says where the outputs are: -1 for (d_in, d_out) and Flax's kernels (height, width, in, out),
            0 for PyTorch's weights, (d_out, d_in) and (out, in, height, width).
        b: (d_out,), zeros where the layer has no bias.
        gamma, beta, running: (d_out,) each.

    Raises:
        ValueError: one of them is not (d_out,).

    >>> import numpy as np
    >>> one = np.ones(1)
    >>> W, b = fold(np.array([[1.0]]), 0 * one, 6 * one, one, Statistics(2 * one, 9 * one), epsilon=0.0)
    >>> W.tolist(), b.tolist()
    ([[2.0]], [-3.0])

    Built in lesson 03.
    """
    ratio = gamma / (running.variance + epsilon) ** 0.5
    return W * per_channel(ratio, W, axis), (b - running.mean) * ratio + beta


def other_axes(x: Array, axis: int) -> tuple[int, ...]:
    """Every axis of x but the one of the channels.

    >>> import numpy as np
    >>> other_axes(np.ones((5, 4, 3, 2)), -1), other_axes(np.ones((5, 4, 3, 2)), 1)
    ((0, 1, 2), (0, 2, 3))
    """
    if x.ndim < 2 or not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and axis={axis}; x needs a batch axis and, at `axis`, the channels: "
            "(B, C) or (B, height, width, C) with axis=-1, (B, C, height, width) with axis=1."
        )
    return tuple(i for i in range(x.ndim) if i != axis % x.ndim)


def per_channel(values: Array, x: Array, axis: int) -> Array:
    """(C,) values in a shape that multiplies x channel by channel.

    >>> import numpy as np
    >>> per_channel(np.arange(4), np.ones((5, 4, 3, 2)), 1).shape
    (1, 4, 1, 1)
    """
    channels = x.shape[axis]
    if tuple(values.shape) != (channels,):
        raise ValueError(
            f"x has shape {tuple(x.shape)}, so {channels} channels on axis {axis}, but the values for its channels have "
            f"shape {tuple(values.shape)}, not ({channels},). Is `axis` where the channels are?"
        )
    shape = [1] * x.ndim
    shape[axis] = channels
    return values.reshape(shape)


def bessel(x: Array, axis: int, correction: int) -> float:
    """n / (n - correction), with n the values of x in a channel.

    >>> import numpy as np
    >>> bessel(np.ones((5, 3)), -1, 1), bessel(np.ones((5, 3)), -1, 0)
    (1.25, 1.0)
    """
    n = 1
    for i in other_axes(x, axis):
        n *= x.shape[i]
    if n <= correction:
        raise ValueError(
            f"x has shape {tuple(x.shape)}: {n} value a channel, whose unbiased variance is 0 / 0. Take a larger batch, or "
            "correction=0."
        )
    return n / (n - correction)
