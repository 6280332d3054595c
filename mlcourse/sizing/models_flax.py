"""The Flax models that are sized by name: each a function from options to a `Task`."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mlcourse.sizing.task import Task
from mlcourse.transformer import Config, Transformer


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, rngs: nnx.Rngs):
        def conv(a: int, taps: int, stride: int) -> nnx.Conv:
            return nnx.Conv(a, outputs, (taps, taps), strides=stride, padding=taps // 2, use_bias=False, rngs=rngs)

        self.conv1, self.norm1 = conv(inputs, 3, stride), nnx.BatchNorm(outputs, rngs=rngs)
        self.conv2, self.norm2 = conv(outputs, 3, 1), nnx.BatchNorm(outputs, rngs=rngs)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nnx.Sequential(conv(inputs, 1, stride), nnx.BatchNorm(outputs, rngs=rngs))

    def __call__(self, x):  # (B, H, W, inputs) -> (B, H / stride, W / stride, outputs)
        h = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.norm2(self.conv2(h)) + (x if self.shortcut is None else self.shortcut(x)))


class ResNet18(nnx.Module):
    """ResNet-18 with the stem that keeps 32x32."""

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        widths, strides = [64, 64, 64, 128, 128, 256, 256, 512, 512], [1, 1, 2, 1, 2, 1, 2, 1]
        self.stem = nnx.Conv(3, 64, (3, 3), padding=1, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(64, rngs=rngs)
        blocks = zip(widths[:-1], widths[1:], strides, strict=True)
        self.blocks = nnx.Sequential(*(BasicBlock(a, b, stride, rngs=rngs) for a, b, stride in blocks))
        self.head = nnx.Linear(512, num_classes, rngs=rngs)

    def __call__(self, x):  # (B, 32, 32, 3) -> (B, classes)
        return self.head(self.blocks(nnx.relu(self.norm(self.stem(x)))).mean(axis=(1, 2)))


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


def resnet18_cifar(num_classes: int = 100) -> Task:
    """CIFAR-100: 32x32 images, stem without stride."""
    return Task(
        lambda: ResNet18(num_classes, rngs=nnx.Rngs(0)),
        lambda size: (jax.ShapeDtypeStruct((size, 32, 32, 3), jnp.float32), jax.ShapeDtypeStruct((size,), jnp.int32)),
        image_loss,
        framework="jax",
    )


def gpt(config: Config) -> Task:
    """The Transformer of lesson 06, of any size; its head has weights of its own."""
    return Task(
        lambda: Transformer(config, rngs=nnx.Rngs(0)),
        lambda size: tuple(jax.ShapeDtypeStruct((size, config.context), jnp.int32) for _ in range(2)),
        image_loss,
        framework="jax",
        tokens=config.context,
    )


def gpt_char() -> Task:
    """The sizes of nanoGPT's character model."""
    return gpt(Config(vocab=65, context=256, layers=6, heads=6, width=384))
