"""The Flax models that are sized by name: each a function from options to a `Task`."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mlcourse.sizing.task import Task


class MLP(nnx.Module):
    def __init__(self, widths: tuple[int, ...], *, rngs: nnx.Rngs):
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.hidden = nnx.Sequential(*(layer for a, b in pairs[:-1] for layer in (nnx.Linear(a, b, rngs=rngs), nnx.relu)))
        self.output = nnx.Linear(*pairs[-1], rngs=rngs)

    def __call__(self, x):  # (B, widths[0]) -> (B, widths[-1])
        return self.output(self.hidden(x))


def image_loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def mlp(widths: tuple[int, ...]) -> Task:
    """Linear layers with ReLU between them, and cross-entropy."""
    return Task(
        lambda: MLP(widths, rngs=nnx.Rngs(0)),
        lambda size: (jax.ShapeDtypeStruct((size, widths[0]), jnp.float32), jax.ShapeDtypeStruct((size,), jnp.int32)),
        image_loss,
        framework="jax",
    )


def mlp_digits() -> Task:
    """The network of lesson 01: 64-128-128-10."""
    return mlp((64, 128, 128, 10))
