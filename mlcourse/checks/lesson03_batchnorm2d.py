"""Exercise of lesson 03 on batch normalisation of images: a class with PyTorch's conventions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson03_batchnorm import LIBRARIES, PYTORCH, Step, make_step, of_every_call, shared_mistakes

# 3.3 BatchNorm2d(weight, bias, *, momentum, epsilon): layer(x) -> y, both (n, channels, height, width)


def _images_cases() -> dict:
    rng = np.random.default_rng(33)

    signs, spread = np.array([1.0, -1.0, 1.0]), np.arange(1.0, 4.0)[:, None, None]

    def case(x: tuple, training: tuple, momentum: float, epsilon: float) -> dict:
        c = x[0].shape[1]
        return {
            "x": x,
            "training": training,
            "weight": signs[:c] * (0.5 + rng.random(c)),
            "bias": 0.5 + rng.standard_normal(c),
            "momentum": momentum,
            "epsilon": epsilon,
        }

    def batch(n: int, c: int = 3, h: int = 2, w: int = 4) -> np.ndarray:
        return 2.0 + spread[:c] * rng.standard_normal((n, c, h, w))

    channels_last = 2 * rng.standard_normal((2, 2, 4, 3)) - 1
    return {
        "one step of training, 2 images of 2 channels, 2 by 2 pixels": case((batch(2, 2, 2, 2),), (True,), 0.2, 0.25),
        "three steps of training, then evaluation": case(
            (batch(2), batch(2), batch(2), batch(2)), (True, True, True, False), 0.3, 0.1
        ),
        "evaluation first, of one image too": case((batch(2), batch(1), batch(2)), (False, False, True), 0.4, 0.5),
        "training, evaluation, training again; the axes of the first array were moved (not contiguous)": case(
            (channels_last.transpose(0, 3, 1, 2), batch(2), batch(2)), (True, False, True), 0.75, 0.4
        ),
    }


def _run_images(answer: Callable, x: tuple, training: tuple, weight: Any, bias: Any, momentum: float, epsilon: float) -> Any:
    """All results of all calls. Of a single call only y, so that a wrong y is named whatever became of the statistics."""
    layer = answer(weight, bias, momentum=momentum, epsilon=epsilon)

    def call(batch: Any, mode: bool) -> Any:
        if mode:
            layer.train()
        else:
            layer.eval()
        y = layer(batch)
        return {"y": y, "running_mean": layer.running_mean, "running_var": layer.running_var} if len(x) > 1 else y

    return of_every_call(call, x, training)


class _Layer:
    """What all answers to exercise 3.3 have in common."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, *, momentum: float, epsilon: float):
        self.weight, self.bias, self.momentum, self.epsilon = weight, bias, momentum, epsilon
        self.running_mean, self.running_var = np.zeros(weight.shape), np.ones(weight.shape)
        self.training = True

    def train(self) -> None:
        self.training = True

    def eval(self) -> None:
        self.training = False


def _as_class(step: Step, *, start: float = 1.0, step_of: Callable | None = None) -> type:
    """An answer to exercise 3.3: the images as rows, one for each pixel, through a step.

    `start` is the first running variance; `step_of(x)`, where given, makes the step for these images.
    """

    class BatchNorm2d(_Layer):
        def __init__(self, weight: np.ndarray, bias: np.ndarray, **settings: float):
            super().__init__(weight, bias, **settings)
            self.running_var = np.full(weight.shape, start)

        def __call__(self, x: np.ndarray) -> np.ndarray:
            pixels = np.moveaxis(x, 1, -1)  # (n, height, width, channels)
            y, (self.running_mean, self.running_var) = (step_of(x) if step_of else step)(
                pixels.reshape(-1, x.shape[1]),
                self.weight,
                self.bias,
                (self.running_mean, self.running_var),
                training=self.training,
                momentum=self.momentum,
                epsilon=self.epsilon,
            )
            return np.moveaxis(y.reshape(pixels.shape), -1, 1)

    return BatchNorm2d


def _batch_only(axes: tuple[int, ...], *, statistics_axis: int | None = None, affine_axis: int = 1) -> type:
    """y from the batch's statistics over `axes`, and no running ones: for mistakes that show in one step of training.

    With `statistics_axis` the statistics, and with `affine_axis` weight and bias, are laid along that axis.
    """

    def along(values: np.ndarray, axis: int) -> np.ndarray:
        return values.reshape([-1 if k == axis else 1 for k in range(4)])

    class BatchNorm2d(_Layer):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
            if statistics_axis is not None:
                mean, variance = along(mean, statistics_axis), along(variance, statistics_axis)
            z = (x - mean) / np.sqrt(variance + self.epsilon)
            return along(self.weight, affine_axis) * z + along(self.bias, affine_axis)

    return BatchNorm2d


class _KeepsDims(_as_class(make_step(PYTORCH))):
    """The running statistics as (1, channels, 1, 1)."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.running_mean, self.running_var = self.running_mean.ravel(), self.running_var.ravel()
        y = super().__call__(x)
        self.running_mean, self.running_var = (s[None, :, None, None] for s in (self.running_mean, self.running_var))
        return y


def _counting(rows_of: Callable) -> Callable:
    """`step_of(x)` for a running variance with n/(n-1) where n is `rows_of(x)`, not the number of pixels."""

    def step_of(x: np.ndarray) -> Step:
        n = rows_of(x)
        factor = n / (n - 1) if n > 1 else np.inf
        return make_step(PYTORCH, learned=lambda rows, old, epsilon: (rows.mean(axis=0), rows.var(axis=0) * factor))

    return step_of


_OVER = "Each channel has one mean and one variance, over examples, rows and columns: axes (0, 2, 3)."
_ALONG = "Give arrays of shape (channels,) the shape (1, channels, 1, 1) before you combine them with x."

BATCH_NORM_2D = Exercise(
    id="3.3",
    name="BatchNorm2d",
    title="Batch normalisation of images, as a class",
    minutes=30,
    difficulty=3,
    cases=_images_cases,
    reference=_as_class(make_step(PYTORCH)),
    run=_run_images,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(
            f"The statistics run over rows and columns only, for each image apart (that is instance normalisation). {_OVER}",
            _batch_only((2, 3)),
        ),
        Mistake(f"The statistics run over the examples only, for each pixel apart. {_OVER}", _batch_only((0,))),
        Mistake(
            f"The statistics run over all of one image, channels too (that is layer normalisation). {_OVER}",
            _batch_only((1, 2, 3)),
        ),
        Mistake(
            f"The statistics run over the wrong axes: the columns were kept, as if they were channels. {_OVER}",
            _batch_only((0, 1, 2)),
        ),
        Mistake(
            f"The statistics run over the wrong axes: the columns were kept, as if they were channels. {_OVER}",
            _batch_only((0, 1, 2), affine_axis=3),
        ),
        Mistake(f"The statistics run over the wrong axis: over the channels only. {_OVER}", _batch_only((1,))),
        Mistake(
            f"Mean and variance of the channels were laid along the *columns*: NumPy matches shapes from the right. {_ALONG}",
            _batch_only((0, 2, 3), statistics_axis=3),
        ),
        Mistake(
            "Mean and variance, weight and bias of the channels were laid along the *columns*: NumPy matches shapes from the "
            f"right. {_ALONG}",
            _batch_only((0, 2, 3), statistics_axis=3, affine_axis=3),
        ),
        Mistake(
            "Weight and bias of the channels were laid along the *columns*: NumPy matches shapes from the right. " + _ALONG,
            _batch_only((0, 2, 3), affine_axis=3),
        ),
        Mistake(
            "The running statistics have the shape (1, channels, 1, 1). Keep them as (channels,), as PyTorch does.", _KeepsDims
        ),
        Mistake(
            "The running variance begins at 0. It begins at 1 (and the running mean at 0), so that a layer which was never "
            "trained leaves x about as it is.",
            _as_class(make_step(PYTORCH), start=0.0),
        ),
        Mistake(
            "The running variance was made unbiased with the number of images. One channel has images × rows × columns "
            f"numbers in the batch: that is n. {LIBRARIES}",
            _as_class(make_step(PYTORCH), step_of=_counting(len)),
        ),
        Mistake(
            "The running variance was made unbiased with the number of pixels of one image. One channel has images × rows × "
            f"columns numbers in the batch: that is n. {LIBRARIES}",
            _as_class(make_step(PYTORCH), step_of=_counting(lambda x: x.shape[2] * x.shape[3])),
        ),
        *shared_mistakes(PYTORCH, _as_class),
    ),
    hints=(
        "`__init__` keeps its four arguments, and makes `running_mean` (zeros) and `running_var` (ones) of shape (channels,).",
        "In training: `mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))`, both (channels,). Mix them into the "
        "running ones with the share `momentum` of the new value; the variance times n / (n - 1), where n = x.size / "
        "channels.",
        "In evaluation `mean, variance` are the running ones. In the end, in both modes, all four arrays (channels,) become "
        "(1, channels, 1, 1) by `a[None, :, None, None]`, and y = weight * (x - mean) / sqrt(variance + epsilon) + bias.",
    ),
)
