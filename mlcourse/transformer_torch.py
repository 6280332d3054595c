"""Token numbers into logits for the next token: `mlcourse.transformer` once more, in PyTorch, with the same weights.

The names and initial values are those of the Flax model; `load` copies its weights, and the logits agree to 1e-5. The model
calls PyTorch's fused attention, the fastest on a CPU too (benchmarks/README.md); `attention` is the same in the open.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcourse.transformer import Config, check, check_length, residual_std


class Attention(nn.Module):
    """Causal self-attention with several heads. Built in lesson 06."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads, self.causal, self.rotary = config.heads, config.causal, config.positions == "rotary"
        self.qkv = linear(config.width, 3 * config.width, std=0.02)
        self.out = linear(config.width, config.width, std=residual_std(config))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        batch, time, width = x.shape
        qkv = self.qkv(x).reshape(batch, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, time, width / heads)
        if self.rotary:
            q, k = rotate(q, positions), rotate(k, positions)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)  # attention(q, k, v, causal_mask(time))
        return self.out(y.transpose(1, 2).reshape(batch, time, width))


class Block(nn.Module):
    """Attention moves information between tokens, the MLP works on each; both add to x. Built in lesson 06."""

    def __init__(self, config: Config):
        super().__init__()
        hidden = config.hidden or 4 * config.width
        self.norm1 = nn.LayerNorm(config.width, eps=1e-5)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-5)
        self.up = linear(config.width, hidden, std=0.02)
        self.down = linear(hidden, config.width, std=residual_std(config))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), positions)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Transformer(nn.Module):
    """`model(tokens)` gives the logits of each next token. Built in lesson 06.

    >>> model = Transformer(Config(vocab=5, context=8, layers=1, width=16))
    >>> tuple(model(torch.tensor([[0, 1, 2]])).shape)  # (batch, time, vocab)
    (1, 3, 5)
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = check(config)
        self.tokens = embedding(config.vocab, config.width)
        if config.positions == "learned":
            self.positions = embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=1e-5)
        self.logits = linear(config.width, config.vocab, std=0.02, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        config, time = self.config, tokens.shape[1]
        check_length(time, config)
        positions = torch.arange(time, device=tokens.device)
        x = self.tokens(tokens)
        if config.positions == "learned":
            x = x + self.positions(positions)
        elif config.positions == "sinusoidal":
            x = x + 0.02 * 2**0.5 * sinusoids(positions, config.width)
        for block in self.blocks:
            x = block(x, positions)
        return self.logits(self.norm(x))


def causal_mask(num_queries: int, num_keys: int | None = None, *, start: int = 0, device=None) -> Tensor:
    """True where a query may look: query i, which stands at place `start` + i, sees the keys 0 .. `start` + i.

    >>> causal_mask(3).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]

    Built in lesson 06.
    """
    keys = torch.arange(num_queries if num_keys is None else num_keys, device=device)
    return keys <= start + torch.arange(num_queries, device=device)[:, None]


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """For each query the mean of the values, weighted by how well query and key agree (Vaswani et al. 2017, equation 1).

    Shapes as in `mlcourse.transformer.attention`; the same as `torch.nn.functional.scaled_dot_product_attention`.

    >>> q = k = torch.zeros(3, 1)  # all keys agree equally: a running mean
    >>> attention(q, k, torch.tensor([[0.0], [2.0], [4.0]]), causal_mask(3)).ravel().tolist()
    [0.0, 1.0, 2.0]

    Built in lesson 06.
    """
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """(time, width): sines, then cosines, of wavelengths from 2 pi to 20,000 pi (Vaswani et al. 2017, section 3.5)."""
    angles = positions[:, None] / 10_000 ** (torch.arange(0, width, 2, device=positions.device) / width)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary positions, as in `mlcourse.transformer.rotate`. Built in lesson 06."""
    sin, cos = sinusoids(positions, x.shape[-1]).chunk(2, dim=-1)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def loss(model: Transformer, tokens: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean cross-entropy of the next token in nats, as in `mlcourse.transformer.loss`. Built in lesson 06."""
    logits, targets = model(tokens[:, :-1]), tokens[:, 1:]
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return losses.mean() if weights is None else (losses * weights[:, 1:]).sum() / weights[:, 1:].sum()


def load(model: Transformer, params: Mapping) -> Transformer:
    """The model with the weights of a Flax `Transformer`, which it now holds.

    Args:
        params: `nnx.state(flax_model, nnx.Param)`, or the same as nested dicts of arrays.

    Raises:
        RuntimeError: other sizes than the model's (from PyTorch, with the names).

    >>> from flax import nnx
    >>> from mlcourse import transformer
    >>> config = Config(vocab=5, context=8, layers=1, width=16)
    >>> flax_model = transformer.Transformer(config, rngs=nnx.Rngs(0))
    >>> model = load(Transformer(config), nnx.state(flax_model, nnx.Param))
    >>> tokens = np.array([[0, 1, 2]])
    >>> np.allclose(flax_model(tokens), model(torch.from_numpy(tokens)).detach(), atol=1e-5)
    True

    Built in lesson 06.
    """
    model.load_state_dict(dict(renamed(params)))
    return model


def renamed(tree: Any, path: tuple = ()):
    """(PyTorch's name, tensor) of every array: a Flax kernel is (inputs, outputs), PyTorch's weight the transpose."""
    if hasattr(tree, "items"):
        for key, value in tree.items():
            yield from renamed(value, (*path, str(key)))
        return
    *parents, kind = path
    array = np.array(tree)
    name = {"kernel": "weight", "embedding": "weight", "scale": "weight"}.get(kind, kind)
    if kind == "kernel":
        array = array.T.copy()
    yield ".".join([part for part in parents if part != "layers"] + [name]), torch.from_numpy(array)


def linear(inputs: int, outputs: int, *, std: float, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def embedding(number: int, width: int) -> nn.Embedding:
    layer = nn.Embedding(number, width)
    nn.init.normal_(layer.weight, std=0.02)
    return layer
