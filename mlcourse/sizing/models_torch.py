"""The PyTorch models that are sized by name, each a function from options to a `Task`.

Written for tracing: plain layers, one `blocks` list of the units that checkpointing may recompute.
"""

import torch
from torch import nn
from torch.nn import functional as F

from mlcourse.sizing.task import Task


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):  # (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(h)) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18; the CIFAR stem keeps the 32x32 resolution that the ImageNet stem divides by four."""

    def __init__(self, *, num_classes: int, cifar_stem: bool):
        super().__init__()
        if cifar_stem:
            self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            )
        widths, strides = [64, 64, 64, 128, 128, 256, 256, 512, 512], [1, 1, 2, 1, 2, 1, 2, 1]
        self.blocks = nn.ModuleList(map(BasicBlock, widths[:-1], widths[1:], strides))
        self.head = nn.Linear(512, num_classes)

    def forward(self, x):  # (B, 3, H, W) -> (B, classes)
        h = self.stem(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h.mean(dim=(2, 3)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, *, fused: bool, dropout: float):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.fused, self.dropout = heads, fused, dropout

    def forward(self, x):  # (B, T, width) -> the same
        B, T, width = x.shape
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5  # (B, heads, T, T)
            future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
            weights = F.softmax(scores.masked_fill(future, float("-inf")), dim=-1)
            y = F.dropout(weights, self.dropout) @ v if self.dropout else weights @ v
        return self.out(y.transpose(1, 2).reshape(B, T, width))


class Block(nn.Module):
    """One layer of GPT-2: norm before attention and before the MLP (Radford et al. 2019)."""

    def __init__(self, width: int, heads: int, *, fused: bool, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, fused=fused, dropout=dropout)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = dropout

    def forward(self, x):
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))

    def drop(self, x):
        return F.dropout(x, self.dropout) if self.dropout else x


class GPT(nn.Module):
    """A decoder with learned positions whose head shares the token embedding's matrix."""

    def __init__(self, *, layers: int, width: int, heads: int, context: int, vocabulary: int, fused: bool, dropout: float):
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, fused=fused, dropout=dropout) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(width), dropout

    def forward(self, tokens):  # (B, T) -> (B, T, vocabulary)
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        x = F.dropout(x, self.dropout) if self.dropout else x
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.token.weight)


def image_loss(model, images, labels):
    return F.cross_entropy(model(images), labels)


def token_loss(model, tokens, targets):
    return F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())


def resnet18(side: int, num_classes: int, cifar_stem: bool) -> Task:
    return Task(
        lambda: ResNet18(num_classes=num_classes, cifar_stem=cifar_stem),
        lambda size: (torch.empty(size, 3, side, side), torch.zeros(size, dtype=torch.long)),
        image_loss,
    )


def resnet18_cifar(num_classes: int = 100) -> Task:
    """CIFAR-100: 32x32 images, stem without stride."""
    return resnet18(32, num_classes, True)


def resnet18_imagenet(num_classes: int = 1000) -> Task:
    """224x224 images."""
    return resnet18(224, num_classes, False)


def gpt(
    *, layers: int, width: int, heads: int, context: int, vocabulary: int, attention: str = "fused", dropout: float = 0.0
) -> Task:
    """A GPT of any shape; `attention` is "fused" or "naive"."""
    if attention not in ("fused", "naive"):
        raise ValueError(f"attention={attention!r} is not known; take 'fused' or 'naive'.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}; it is the share of numbers that is dropped, at least 0 and below 1.")
    return Task(
        lambda: GPT(
            layers=layers,
            width=width,
            heads=heads,
            context=context,
            vocabulary=vocabulary,
            fused=attention == "fused",
            dropout=dropout,
        ),
        lambda size: tuple(torch.zeros(size, context, dtype=torch.long) for _ in range(2)),
        token_loss,
        tokens=context,
    )


def gpt_char(attention: str = "fused", dropout: float = 0.0) -> Task:
    """The character model of nanoGPT: 10.8 million parameters."""
    return gpt(layers=6, width=384, heads=6, context=256, vocabulary=65, attention=attention, dropout=dropout)


def gpt2(attention: str = "fused", dropout: float = 0.0) -> Task:
    """GPT-2 small: 124.4 million parameters."""
    return gpt(layers=12, width=768, heads=12, context=1024, vocabulary=50257, attention=attention, dropout=dropout)


def mlp(widths: tuple[int, ...]) -> Task:
    """Linear layers with ReLU between them, and cross-entropy."""

    def model():
        layers = [layer for a, b in zip(widths[:-1], widths[1:], strict=True) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers[:-1])

    return Task(model, lambda size: (torch.empty(size, widths[0]), torch.zeros(size, dtype=torch.long)), image_loss)


def mlp_digits() -> Task:
    """The network of lesson 01: 64-128-128-10."""
    return mlp((64, 128, 128, 10))
