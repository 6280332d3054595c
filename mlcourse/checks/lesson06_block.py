"""Exercises of lesson 06 on the block: layer norm, and the residual stream that two parts read from and write to."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson06_attention import normals

# 6.5 layer_norm(x, *, gain, bias, epsilon): (..., d) -> (..., d). Ba, Kiros and Hinton 2016, section 3.1.


def _norm_cases() -> dict:
    rng = np.random.default_rng(65)

    def case(*shape: int, epsilon: float = 1e-5, scale: float = 1.0, shift: float = 0.0) -> dict:
        d = shape[-1]
        return {
            "x": normals(rng, *shape, scale=scale) + np.float32(shift),
            "gain": rng.uniform(0.5, 2, d).astype(np.float32),
            "bias": normals(rng, d),
            "epsilon": epsilon,
        }

    flat, wide = case(3, 4), case(2, 3, 8)
    flat["x"][1] = 2.5
    return {
        "two tokens of three features": case(2, 3, shift=2.0),
        "a batch of two, three tokens each": case(2, 3, 4, scale=3.0, shift=-1.0),
        "as many tokens as features": case(4, 4),
        "small activations, where epsilon counts": case(2, 5, epsilon=0.01, scale=0.1),
        "a token whose features are all equal": flat,
        "every second feature of a wider array": {
            "x": wide["x"][..., ::2],
            "gain": wide["gain"][::2],
            "bias": wide["bias"][::2],
            "epsilon": 1e-5,
        },
    }


def _run_norm(answer: Callable, x: Any, gain: Any, bias: Any, epsilon: float) -> Any:
    return answer(x, gain=gain, bias=bias, epsilon=epsilon)


def _norm(
    axes: Callable = lambda x: -1,
    *,
    centred: bool = True,
    ddof: int = 0,
    root: Callable = lambda variance, epsilon: np.sqrt(variance + epsilon),
    finish: Callable = lambda z, gain, bias: gain * z + bias,
) -> Callable:
    """finish((x - mean) / root(variance, epsilon), gain, bias), over the axes `axes(x)`."""

    def layer_norm(x: np.ndarray, *, gain: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
        x, over = x.astype(float), axes(x)
        mean = x.mean(axis=over, keepdims=True) if centred else 0.0
        variance = x.var(axis=over, keepdims=True, ddof=ddof) if centred else (x**2).mean(axis=over, keepdims=True)
        return finish((x - mean) / root(variance, epsilon), gain, bias)

    return layer_norm


LAYER_NORM = Exercise(
    id="6.5",
    name="layer_norm",
    title="Layer norm",
    minutes=10,
    difficulty=1,
    cases=_norm_cases,
    reference=_norm(),
    run=_run_norm,
    atol=1e-4,  # float32, after a division by a small deviation
    mistakes=(
        Mistake(
            "The variance was computed with d - 1. Here it is the mean of the squares, with d, which NumPy and JAX take by "
            "default (PyTorch: `var(dim=-1, correction=0)`).",
            _norm(ddof=1),
        ),
        Mistake(
            "Epsilon stands outside the root: std + epsilon. It belongs to the variance, sqrt(variance + epsilon).",
            _norm(root=lambda variance, epsilon: np.sqrt(variance) + epsilon),
        ),
        Mistake("Epsilon is missing: a token whose features are all equal becomes 0/0.", _norm(root=lambda v, epsilon: v**0.5)),
        Mistake(
            "It was divided by the variance. Divide by its root.", _norm(root=lambda variance, epsilon: variance + epsilon)
        ),
        Mistake("The gain is missing: gain * z + bias.", _norm(finish=lambda z, gain, bias: z + bias)),
        Mistake("The bias is missing: gain * z + bias.", _norm(finish=lambda z, gain, bias: gain * z)),
        Mistake("Gain and bias are missing: gain * z + bias.", _norm(finish=lambda z, gain, bias: z)),
        Mistake(
            "The bias was added before the gain multiplies: it is gain * z + bias.",
            _norm(finish=lambda z, gain, bias: gain * (z + bias)),
        ),
        Mistake(
            "The gain was taken as 1 + gain. Some libraries store it that way; here it multiplies as it is.",
            _norm(finish=lambda z, gain, bias: (1 + gain) * z + bias),
        ),
        Mistake(
            "The norm runs over the wrong axis: the first. That is batch norm. Each token is normalised over its own features, "
            "the last axis.",
            _norm(lambda x: 0),
        ),
        Mistake(
            "Mean and variance were taken over the tokens. Each token is normalised by itself, over its features: the last "
            "axis.",
            _norm(lambda x: -2),
        ),
        Mistake(
            "One mean and one variance for everything. Each token has its own: `axis=-1, keepdims=True`.",
            _norm(lambda x: tuple(range(x.ndim))),
        ),
        Mistake(
            "Mean and variance were taken over tokens and features together, so tokens see each other, the future too. Each "
            "token has its own: the last axis.",
            _norm(lambda x: tuple(range(1, x.ndim)) if x.ndim > 2 else -1),
        ),
        Mistake("The mean was not subtracted. This is RMS norm, a good one, but another.", _norm(centred=False)),
        Mistake("The features were centred, but not divided by the deviation.", _norm(root=lambda variance, epsilon: 1.0)),
    ),
    hints=(
        "Mean and variance of each token over its features. With `keepdims=True` they keep an axis of length 1 and can be "
        "subtracted.",
        "z = (x - mean) / sqrt(variance + epsilon) has mean 0 and variance 1 for each token; then gain and bias, which have "
        "one entry for each feature.",
        "`z = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + epsilon)`.",
    ),
)


# 6.6 block(x, norm1, attend, norm2, mlp) -> as x: pre-norm, two residual connections. Xiong et al. 2020, figure 1b.
# The four functions use nothing but operators and methods that NumPy, JAX and PyTorch share.


def _normed(h: Any, gain: float, shift: float) -> Any:
    centred = h - h.mean(-1)[..., None]
    return gain * centred / ((centred**2).mean(-1)[..., None] + 1e-5) ** 0.5 + shift


def norm1(h: Any) -> Any:
    """norm1(h): a layer norm, each token by itself"""
    return _normed(h, 1.5, 0.3)


def norm2(h: Any) -> Any:
    """norm2(h): another layer norm, with gain and bias of its own"""
    return _normed(h, 0.7, -0.4)


def attend(h: Any) -> Any:
    """attend(h): causal attention; a token gets a mean of itself and those before it"""
    return 0.4 * h.cumsum(-2) * (1 + 0.1 * h)


def mlp(h: Any) -> Any:
    """mlp(h): a small network, the same for each token"""
    return 1.3 * h * (h > 0) + 0.2


def _block_cases() -> dict:
    rng = np.random.default_rng(66)

    def case(*shape: int, scale: float = 1.0) -> dict:
        x = normals(rng, *shape, scale=scale)
        return {"x": x, "norm1": norm1, "attend": attend, "norm2": norm2, "mlp": mlp}

    wide = case(3, 8)
    return {
        "three tokens of four features": case(3, 4),
        "a batch of two": case(2, 4, 3),
        "one token": case(1, 5, scale=3.0),
        "every second feature of a wider array": {**wide, "x": wide["x"][:, ::2]},
    }


def _block(program: Callable) -> Callable:
    """`program(x, n1, attend, n2, mlp)` in float64."""

    def block(x: np.ndarray, norm1: Callable, attend: Callable, norm2: Callable, mlp: Callable) -> np.ndarray:
        return program(x.astype(float), norm1, attend, norm2, mlp)

    return block


def _pre_norm(x: Any, n1: Callable, attend: Callable, n2: Callable, mlp: Callable) -> Any:
    x = x + attend(n1(x))
    return x + mlp(n2(x))


def _post_norm(x: Any, n1: Callable, attend: Callable, n2: Callable, mlp: Callable) -> Any:
    x = n1(x + attend(x))
    return n2(x + mlp(x))


def _norm_of_the_parts(x: Any, n1: Callable, attend: Callable, n2: Callable, mlp: Callable) -> Any:
    x = x + n1(attend(x))
    return x + n2(mlp(x))


def _stream_normed(x: Any, n1: Callable, attend: Callable, n2: Callable, mlp: Callable) -> Any:
    x = n1(x)
    x = x + attend(x)
    x = n2(x)
    return x + mlp(x)


def _mlp_first(x: Any, n1: Callable, attend: Callable, n2: Callable, mlp: Callable) -> Any:
    return _pre_norm(x, n2, mlp, n1, attend)


def _no_second(x: Any, n1: Callable, attend: Callable, n2: Callable, mlp: Callable) -> Any:
    return mlp(n2(x + attend(n1(x))))


def _old_stream(x: Any, n1: Callable, attend: Callable, n2: Callable, mlp: Callable) -> Any:
    return x + mlp(n2(x + attend(n1(x))))


BLOCK = Exercise(
    id="6.6",
    name="block",
    title="The block: read, write, add",
    minutes=10,
    difficulty=2,
    cases=_block_cases,
    reference=_block(_pre_norm),
    atol=1e-5,
    mistakes=(
        Mistake(
            "This is the post-norm form of 2017: the norm comes after the sum, so it stands in the stream's way and a deep "
            "stack needs a careful warm-up. Here each part reads norm(x), and x itself is never normalised.",
            _block(_post_norm),
        ),
        Mistake(
            "The residual connection around the attention is missing: x + attend(norm1(x)).",
            _block(lambda x, n1, attend, n2, mlp: (lambda a: a + mlp(n2(a)))(attend(n1(x)))),
        ),
        Mistake("The residual connection around the MLP is missing: x + mlp(norm2(x)).", _block(_no_second)),
        Mistake(
            "Both residual connections are missing: each part's output is *added* to x.",
            _block(lambda x, n1, attend, n2, mlp: mlp(n2(attend(n1(x))))),
        ),
        Mistake(
            "The stream itself was normalised: x became norm(x) before the sum. Keep x as it is and give the part a "
            "normalised copy: x + attend(norm1(x)).",
            _block(_stream_normed),
        ),
        Mistake(
            "The norm is on what the parts return. It belongs on what they read: attend(norm1(x)).", _block(_norm_of_the_parts)
        ),
        Mistake(
            "The two norms are exchanged: norm1 belongs to the attention, norm2 to the MLP.",
            _block(lambda x, n1, attend, n2, mlp: _pre_norm(x, n2, attend, n1, mlp)),
        ),
        Mistake(
            "norm1 was used twice. The MLP has a norm of its own, norm2.",
            _block(lambda x, n1, attend, n2, mlp: _pre_norm(x, n1, attend, n1, mlp)),
        ),
        Mistake(
            "Attention and MLP both read the old x, side by side. The MLP reads the stream after the attention has written "
            "to it.",
            _block(lambda x, n1, attend, n2, mlp: x + attend(n1(x)) + mlp(n2(x))),
        ),
        Mistake("The MLP came first. Attention, then MLP.", _block(_mlp_first)),
        Mistake(
            "The second sum starts from the old x, so what the attention wrote is lost from the stream. Add the MLP's output "
            "to the new x.",
            _block(_old_stream),
        ),
        Mistake(
            "Neither part reads a normalised copy: the norms are missing.",
            _block(lambda x, n1, attend, n2, mlp: _pre_norm(x, lambda h: h, attend, lambda h: h, mlp)),
        ),
        Mistake(
            "The norm before the MLP is missing.",
            _block(lambda x, n1, attend, n2, mlp: _pre_norm(x, n1, attend, lambda h: h, mlp)),
        ),
        Mistake("The MLP is missing.", _block(lambda x, n1, attend, n2, mlp: x + attend(n1(x)))),
    ),
    hints=(
        "Think of x as a stream that flows through untouched. A part reads a copy of it, and adds what it found.",
        "Two lines of the same form. What each part reads is normalised; what it is added to is not.",
        "`x = x + attend(norm1(x))`, then the same with norm2 and mlp.",
    ),
)
