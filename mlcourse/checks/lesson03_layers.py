"""Exercises of lesson 03 on layers: layer normalisation, a residual block, a batch normalisation folded away."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 3.5 layer_norm(x, weight, bias, *, epsilon) -> (..., d)


def _layer_norm_cases() -> dict:
    rng = np.random.default_rng(35)

    def case(x: np.ndarray, epsilon: float) -> dict:
        d = x.shape[-1]
        return {
            "x": x,
            "weight": rng.uniform(0.5, 2.0, d) * [(-1) ** k for k in range(d)],
            "bias": rng.normal(0.5, size=d),
            "epsilon": epsilon,
        }

    wide = rng.normal(1.0, 2.0, (3, 8))
    return {
        "4 examples of 4 features": case(rng.normal(2.0, [1, 2, 3, 4], (4, 4)), 0.25),
        "2 texts of 3 words of 4 features": case(rng.normal(0.0, 3.0, (2, 3, 4)) + 1.0, 0.1),
        "one example": case(rng.normal(-1.0, 2.0, (1, 4)), 0.5),
        "every second column of a larger array": case(wide[:, ::2], 0.3),
        "whole numbers": case(rng.integers(-4, 9, (5, 4)), 0.2),
    }


def _run_layer_norm(answer: Callable, x: Any, weight: Any, bias: Any, epsilon: float) -> Any:
    return answer(x, weight, bias, epsilon=epsilon)


def _layer_norm(
    *,
    axes: Callable = lambda x: (-1,),
    mean: Callable = lambda x, axes: x.mean(axis=axes, keepdims=True),
    variance: Callable = lambda x, axes: x.var(axis=axes, keepdims=True),
    scale: Callable = lambda x, mean, variance, epsilon: (x - mean) / np.sqrt(variance + epsilon),
    affine: Callable = lambda z, weight, bias: weight * z + bias,
) -> Callable:
    """Layer normalisation with any part replaced."""

    def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, epsilon: float) -> np.ndarray:
        over = axes(x)
        return affine(scale(x, mean(x, over), variance(x, over), epsilon), weight, bias)

    return layer_norm


LAYER_NORM = Exercise(
    id="3.5",
    name="layer_norm",
    title="Layer normalisation",
    minutes=10,
    difficulty=1,
    cases=_layer_norm_cases,
    reference=_layer_norm(),
    run=_run_layer_norm,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(
            "The statistics run over the examples, axis=0: that is batch normalisation. Each example has a mean and a variance "
            "of its own: axis=-1.",
            _layer_norm(axes=lambda x: (0,)),
        ),
        Mistake(
            "The statistics run over all numbers. Each example (each word) has a mean and a variance of its own: axis=-1.",
            _layer_norm(axes=lambda x: tuple(range(x.ndim))),
        ),
        Mistake(
            "The statistics run over all axes but the first: the words of one text share them. Each word has its own: axis=-1.",
            _layer_norm(axes=lambda x: tuple(range(1, x.ndim))),
        ),
        Mistake(
            "The statistics run over all axes but the last: that is batch normalisation. Each example has a mean and a "
            "variance of its own: axis=-1.",
            _layer_norm(axes=lambda x: tuple(range(x.ndim - 1))),
        ),
        Mistake(
            "The statistics run over axis 1. The features of one word are along the last axis: axis=-1.",
            _layer_norm(axes=lambda x: (1,)),
        ),
        Mistake(
            "The means of the rows were subtracted from the columns: without `keepdims=True` the shape (n,) is matched with "
            "the last axis.",
            _layer_norm(mean=lambda x, axes: x.mean(axis=-1), variance=lambda x, axes: x.var(axis=-1)),
        ),
        Mistake(
            "The mean is not subtracted: this is RMS normalisation. z = (x - mean) / √(variance + epsilon).",
            _layer_norm(mean=lambda x, axes: 0.0, variance=lambda x, axes: (x**2.0).mean(axis=-1, keepdims=True)),
        ),
        Mistake("The mean is not subtracted: z = (x - mean) / √(variance + epsilon).", _layer_norm(mean=lambda x, axes: 0.0)),
        Mistake(
            "The mean of the squares was taken for the variance. Subtract the mean before you square.",
            _layer_norm(variance=lambda x, axes: (x**2.0).mean(axis=-1, keepdims=True)),
        ),
        Mistake(
            "The unbiased variance (d - 1 below) normalises. Divide by d: then the normalised example has the variance 1.",
            _layer_norm(variance=lambda x, axes: x.var(axis=-1, keepdims=True, ddof=1)),
        ),
        Mistake(
            "Epsilon stands outside the root. It belongs under it: √(variance + epsilon).",
            _layer_norm(scale=lambda x, mean, variance, epsilon: (x - mean) / (np.sqrt(variance) + epsilon)),
        ),
        Mistake(
            "Epsilon is missing (or is a small number of its own instead of the argument): √(variance + epsilon).",
            _layer_norm(scale=lambda x, mean, variance, epsilon: (x - mean) / np.sqrt(variance)),
        ),
        Mistake(
            "The root is missing: x - mean was divided by the variance. Divide by √(variance + epsilon).",
            _layer_norm(scale=lambda x, mean, variance, epsilon: (x - mean) / (variance + epsilon)),
        ),
        Mistake(
            "Weight and bias are missing: y = weight * z + bias, with z the normalised x.",
            _layer_norm(affine=lambda z, weight, bias: z),
        ),
        Mistake("The weight is missing: y = weight * z + bias.", _layer_norm(affine=lambda z, weight, bias: z + bias)),
        Mistake("The bias is missing: y = weight * z + bias.", _layer_norm(affine=lambda z, weight, bias: weight * z)),
        Mistake(
            "The bias is applied before the weight, which then multiplies it as well: y = weight * z + bias.",
            _layer_norm(affine=lambda z, weight, bias: weight * (z + bias)),
        ),
        Mistake(
            "Weight and bias are exchanged: y = weight * z + bias.",
            _layer_norm(affine=lambda z, weight, bias: bias * z + weight),
        ),
    ),
    hints=(
        "It is batch normalisation turned by a quarter, and simpler: no running statistics, and training and evaluation are "
        "the same.",
        "Mean and variance over `axis=-1` with `keepdims=True`, so that a column (n, 1) is subtracted from (n, d).",
    ),
)


# 3.6 residual_block(x, params, *, norm) -> (n, d_out)


def centre(x: Any) -> Any:
    """norm(x) = x - x.mean(axis=1, keepdims=True): each example without its mean"""
    return x - x.mean(axis=1, keepdims=True)


def halve(x: Any) -> Any:
    """norm(x) = x / 2 + 1"""
    return x / 2 + 1


def _residual_cases() -> dict:
    rng = np.random.default_rng(36)

    def case(x: np.ndarray, h: int, d_out: int, norm: Callable, scale: float = 1.0) -> dict:
        d = x.shape[1]
        params = {
            "W1": rng.normal(size=(d, h)),
            "b1": rng.normal(size=h),
            "W2": scale * rng.normal(size=(h, d_out)),
            "b2": scale * rng.normal(size=d_out),
        }
        if d_out != d:
            params["W_skip"] = rng.normal(size=(d, d_out))
        return {"x": x, "params": params, "norm": norm}

    wide = rng.normal(size=(5, 6))
    return {
        "5 examples, as many outputs as inputs": case(rng.normal(size=(5, 3)), 4, 3, centre),
        "another norm": case(rng.normal(size=(5, 3)), 4, 3, halve),
        "a branch that gives 0": case(rng.normal(size=(5, 3)), 4, 3, halve, scale=0.0),
        "3 inputs and 2 outputs": case(rng.normal(size=(5, 3)), 4, 2, centre),
        "every second column of a larger array": case(wide[:, ::2], 4, 2, halve),
    }


def _run_residual(answer: Callable, x: Any, params: dict, norm: Callable) -> Any:
    return answer(x, params, norm=norm)


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _hidden(x: np.ndarray, p: dict, norm: Callable) -> np.ndarray:
    return _relu(norm(x) @ p["W1"] + p["b1"])


def _block(
    *,
    hidden: Callable = _hidden,
    out: Callable = lambda h, p: h @ p["W2"] + p["b2"],
    skip: Callable = lambda x, p, norm: x @ p["W_skip"] if "W_skip" in p else x,
    join: Callable = lambda skip, branch, norm: skip + branch,
) -> Callable:
    """The block with any part replaced."""

    def residual_block(x: np.ndarray, params: dict, *, norm: Callable) -> np.ndarray:
        return join(skip(x, params, norm), out(hidden(x, params, norm), params), norm)

    return residual_block


RESIDUAL_BLOCK = Exercise(
    id="3.6",
    name="residual_block",
    title="A residual block",
    minutes=10,
    difficulty=1,
    cases=_residual_cases,
    reference=_block(),
    run=_run_residual,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake("The skip is missing: this is the branch alone.", _block(join=lambda skip, branch, norm: branch)),
        Mistake(
            "The skip starts after the norm. Take x as it came in, or the signal is normalised again in every block and the "
            "straight way through the network is gone.",
            _block(skip=lambda x, p, norm: norm(x) @ p["W_skip"] if "W_skip" in p else norm(x)),
        ),
        Mistake(
            "A ReLU was applied to the sum. Then the signal can only grow from block to block; the sum is the output.",
            _block(join=lambda skip, branch, norm: _relu(skip + branch)),
        ),
        Mistake(
            "A ReLU was applied to the end of the branch. Then the branch can only add, never take away.",
            _block(join=lambda skip, branch, norm: skip + _relu(branch)),
        ),
        Mistake(
            "The norm was applied to the sum. Here it stands at the beginning of the branch, and the skip goes around it.",
            _block(hidden=lambda x, p, norm: _relu(x @ p["W1"] + p["b1"]), join=lambda skip, branch, norm: norm(skip + branch)),
        ),
        Mistake(
            "The norm was applied to the sum as well. It stands at the beginning of the branch only.",
            _block(join=lambda skip, branch, norm: norm(skip + branch)),
        ),
        Mistake(
            "The norm is missing: the branch begins with `norm(x)`.",
            _block(hidden=lambda x, p, norm: _relu(x @ p["W1"] + p["b1"])),
        ),
        Mistake(
            "The norm stands after the first layer. The branch begins with it: norm, layer, ReLU, layer.",
            _block(hidden=lambda x, p, norm: _relu(norm(x @ p["W1"] + p["b1"]))),
        ),
        Mistake(
            "The ReLU is missing. Without it two layers are one linear layer.",
            _block(hidden=lambda x, p, norm: norm(x) @ p["W1"] + p["b1"]),
        ),
        Mistake(
            "The ReLU stands before the first layer. The order is norm, layer, ReLU, layer.",
            _block(hidden=lambda x, p, norm: _relu(norm(x)) @ p["W1"] + p["b1"]),
        ),
        Mistake("b2 is missing at the end of the branch.", _block(out=lambda h, p: h @ p["W2"])),
        Mistake("b1 is missing.", _block(hidden=lambda x, p, norm: _relu(norm(x) @ p["W1"]))),
        Mistake(
            "The branch is subtracted. Add it.",
            _block(join=lambda skip, branch, norm: skip - branch),
        ),
        Mistake(
            "Skip and branch are multiplied. Add them: a sum hands the gradient on to both.",
            _block(join=lambda skip, branch, norm: skip * branch),
        ),
        Mistake(
            "This is the mean of skip and branch. Add them: halving the signal in every block is what the skip should prevent.",
            _block(join=lambda skip, branch, norm: (skip + branch) / 2),
        ),
        Mistake(
            "`W_skip` is not used. Where input and output have different widths, the skip is x @ W_skip.",
            _block(skip=lambda x, p, norm: x),
        ),
    ),
    hints=(
        "Two ways from input to output, and a plus where they meet. Write the branch first: norm, layer, ReLU, layer.",
        "The skip is `x`, or `x @ params['W_skip']` where `'W_skip' in params`.",
    ),
)


# 3.7 fold(W, b, norm, *, epsilon) -> W (..., d_out), b (d_out,) of one layer that does what both did


def _fold_cases() -> dict:
    rng = np.random.default_rng(37)

    def case(W: np.ndarray, epsilon: float) -> dict:
        d = W.shape[-1]
        norm = {
            "weight": rng.uniform(0.5, 2.0, d) * [(-1) ** k for k in range(d)],
            "bias": rng.normal(0.5, size=d),
            "mean": rng.normal(1.0, size=d),
            "variance": rng.uniform(0.3, 3.0, d),
        }
        return {"W": W, "b": rng.normal(size=d), "norm": norm, "epsilon": epsilon}

    return {
        "a square layer": case(rng.normal(size=(3, 3)), 0.25),
        "5 inputs and 3 outputs": case(rng.normal(size=(5, 3)), 0.1),
        "a convolution of 2 by 2 pixels, 4 to 3 channels": case(rng.normal(size=(2, 2, 4, 3)), 0.5),
        "every second column of a larger array": case(rng.normal(size=(5, 6))[:, ::2], 0.4),
        "whole numbers in W": case(rng.integers(-3, 4, (5, 3)), 0.3),
    }


def _run_fold(answer: Callable, W: Any, b: Any, norm: dict, epsilon: float) -> Any:
    return answer(W, b, norm, epsilon=epsilon)


def _scale(norm: dict, epsilon: float) -> np.ndarray:
    return norm["weight"] / np.sqrt(norm["variance"] + epsilon)


def _fold(
    *,
    scale: Callable = _scale,
    weights: Callable = lambda W, scale: W * scale,
    biases: Callable = lambda b, scale, norm: (b - norm["mean"]) * scale + norm["bias"],
) -> Callable:
    """The folded layer with any part replaced."""

    def fold(W: np.ndarray, b: np.ndarray, norm: dict, *, epsilon: float) -> tuple:
        s = scale(norm, epsilon)
        return weights(W, s), biases(b, s, norm)

    return fold


def _into_next(W: np.ndarray, b: np.ndarray, norm: dict, *, epsilon: float) -> tuple:
    scale = _scale(norm, epsilon)
    return scale[:, None] * W, b + (norm["bias"] - norm["mean"] * scale) @ W


FOLD = Exercise(
    id="3.7",
    name="fold",
    title="Fold a batch normalisation into the layer before it",
    minutes=15,
    difficulty=2,
    cases=_fold_cases,
    reference=_fold(),
    run=_run_fold,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(
            "The rows of W were scaled. The scale belongs to the *outputs*, which are the last axis of W: `W * scale`.",
            _fold(weights=lambda W, scale: W * scale[:, None]),
        ),
        Mistake(
            "It was folded into the layer *after* the normalisation. Here the layer comes first: normalise x @ W + b.",
            _into_next,
        ),
        Mistake(
            "Epsilon is missing: evaluation divides by √(variance + epsilon).",
            _fold(scale=lambda norm, epsilon: norm["weight"] / np.sqrt(norm["variance"])),
        ),
        Mistake(
            "Epsilon stands outside the root: evaluation divides by √(variance + epsilon).",
            _fold(scale=lambda norm, epsilon: norm["weight"] / (np.sqrt(norm["variance"]) + epsilon)),
        ),
        Mistake(
            "The root is missing: divide by √(variance + epsilon), not by the variance.",
            _fold(scale=lambda norm, epsilon: norm["weight"] / (norm["variance"] + epsilon)),
        ),
        Mistake(
            "The outputs were multiplied by √(variance + epsilon). Divide by it.",
            _fold(scale=lambda norm, epsilon: norm["weight"] * np.sqrt(norm["variance"] + epsilon)),
        ),
        Mistake(
            "The weight of the normalisation is missing: scale = weight / √(variance + epsilon).",
            _fold(scale=lambda norm, epsilon: 1 / np.sqrt(norm["variance"] + epsilon)),
        ),
        Mistake(
            "The layer's own b is missing in the new bias: it is normalised together with x @ W.",
            _fold(biases=lambda b, scale, norm: norm["bias"] - norm["mean"] * scale),
        ),
        Mistake(
            "The layer's own b was added as it is. It is normalised together with x @ W: (b - mean) * scale + bias.",
            _fold(biases=lambda b, scale, norm: b + norm["bias"] - norm["mean"] * scale),
        ),
        Mistake(
            "The mean was subtracted as it is. It is subtracted *before* the scale: (b - mean) * scale + bias.",
            _fold(biases=lambda b, scale, norm: b * scale + norm["bias"] - norm["mean"]),
        ),
        Mistake(
            "The mean is missing in the new bias: (b - mean) * scale + bias.",
            _fold(biases=lambda b, scale, norm: b * scale + norm["bias"]),
        ),
        Mistake(
            "The mean was added. Subtract it: (b - mean) * scale + bias.",
            _fold(biases=lambda b, scale, norm: (b + norm["mean"]) * scale + norm["bias"]),
        ),
        Mistake(
            "The bias of the normalisation is missing: (b - mean) * scale + bias.",
            _fold(biases=lambda b, scale, norm: (b - norm["mean"]) * scale),
        ),
        Mistake(
            "The bias of the normalisation was scaled. It comes after the scale: (b - mean) * scale + bias.",
            _fold(biases=lambda b, scale, norm: (b - norm["mean"] + norm["bias"]) * scale),
        ),
        Mistake("W was left as it is. Its columns are scaled: `W * scale`.", _fold(weights=lambda W, scale: W)),
        Mistake("b was left as it is: (b - mean) * scale + bias.", _fold(biases=lambda b, scale, norm: b)),
        Mistake(
            "This is what the normalisation does alone, scale and shift. Multiply them into W and b.",
            lambda W, b, norm, *, epsilon: (_scale(norm, epsilon), norm["bias"] - norm["mean"] * _scale(norm, epsilon)),
        ),
        Mistake("Only W is returned. Return `W, b`.", lambda *args, **kw: _fold()(*args, **kw)[0]),
        Mistake("W and b are exchanged: return `W, b`.", lambda *args, **kw: _fold()(*args, **kw)[::-1]),
    ),
    hints=(
        "In evaluation the batch normalisation is only a scale and a shift for each output, with fixed numbers: "
        "y = scale * z + shift. Which numbers?",
        "scale = weight / √(variance + epsilon), shift = bias - mean * scale. Now put z = x @ W + b into y = scale * z + shift "
        "and sort by x.",
    ),
)
