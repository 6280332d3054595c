"""Token numbers into logits for the next token: a decoder-only Transformer (GPT-2's form), in full view, in Flax NNX.

    letter  meaning                            shape
    q, k, v queries, keys, values              (batch, heads, time, width / heads)
    x       residual stream, one row a token   (batch * time, width)
    mask    True where a query sees a key      (queries, keys)

Vaswani et al. 2017, "Attention is all you need"; Radford et al. 2019 (GPT-2): norm before each part, tanh GELU, biases. Two
differences from GPT-2: no dropout, and the output has weights of its own, so that a fresh model knows nothing (its loss is
the logarithm of the number of tokens). Weights start normal with standard deviation 0.02, those that write to the residual
stream with 0.02 / sqrt(2 layers), biases at 0. `mlcourse.transformer_torch` is the same in PyTorch.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mlcourse.errors import unknown_name

POSITIONS = ("learned", "sinusoidal", "rotary", "none")


class Config(NamedTuple):
    """The sizes of a Transformer. Built in lesson 06."""

    vocab: int  # different tokens
    context: int  # the most tokens it can see
    layers: int = 2
    heads: int = 4  # divides width
    width: int = 64  # of the residual stream
    hidden: int | None = None  # of the MLP; None is 4 * width
    positions: str = "learned"  # one of POSITIONS
    causal: bool = True  # False lets tokens see the future: only for showing what that does


class Cache(NamedTuple):
    """The keys and values of the tokens seen so far. Built in lesson 06."""

    k: jax.Array  # (layers, batch, heads, context, width / heads)
    v: jax.Array
    length: jax.Array  # tokens seen, a scalar


class Attention(nnx.Module):
    """Causal self-attention with several heads. Built in lesson 06."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.heads, self.rotary = config.heads, config.positions == "rotary"
        self.qkv = nnx.Linear(config.width, 3 * config.width, kernel_init=normal(0.02), rngs=rngs)
        self.out = nnx.Linear(config.width, config.width, kernel_init=normal(residual_std(config)), rngs=rngs)

    def split(self, x: jax.Array, positions: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """x (batch * time, width) into q, k, v, each (batch, heads, time, width / heads)."""
        qkv = self.qkv(x).reshape(-1, len(positions), 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = jnp.einsum("btshd->sbhtd", qkv)
        return (rotate(q, positions), rotate(k, positions), v) if self.rotary else (q, k, v)

    def __call__(self, x: jax.Array, positions: jax.Array, mask: jax.Array, past: tuple | None = None):
        """The output, shaped as x (batch * time, width), and the keys and values it looked at."""
        q, k, v = self.split(x, positions)
        if past is not None:  # new keys and values go behind those in the cache
            k, v = (jax.lax.dynamic_update_slice_in_dim(*pair, positions[0], axis=2) for pair in zip(past, (k, v), strict=True))
        y = jnp.einsum("bhtd->bthd", attention(q, k, v, mask))
        return self.out(y.reshape(x.shape)), (k, v)


class Block(nnx.Module):
    """Attention moves information between tokens, the MLP works on each; both add to x. Built in lesson 06."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        hidden = config.hidden or 4 * config.width
        self.norm1 = nnx.LayerNorm(config.width, epsilon=1e-5, rngs=rngs)
        self.attention = Attention(config, rngs)
        self.norm2 = nnx.LayerNorm(config.width, epsilon=1e-5, rngs=rngs)
        self.up = nnx.Linear(config.width, hidden, kernel_init=normal(0.02), rngs=rngs)
        self.down = nnx.Linear(hidden, config.width, kernel_init=normal(residual_std(config)), rngs=rngs)

    def __call__(self, x: jax.Array, positions: jax.Array, mask: jax.Array, past: tuple | None = None):
        y, seen = self.attention(self.norm1(x), positions, mask, past)
        x = x + y
        return x + self.down(jax.nn.gelu(self.up(self.norm2(x)))), seen


class Transformer(nnx.Module):
    """`model(tokens)` gives the logits of each next token. Built in lesson 06.

    >>> model = Transformer(Config(vocab=5, context=8, layers=1, width=16), rngs=nnx.Rngs(0))
    >>> tokens = jnp.array([[0, 1, 2]])
    >>> model(tokens).shape, model.attention_maps(tokens).shape  # (batch, time, vocab), (layers, batch, heads, time, time)
    ((1, 3, 5), (1, 1, 4, 3, 3))
    >>> logits, cache = model(tokens, cache=empty_cache(model.config, batch=1))
    >>> next_logits, cache = model(jnp.array([[4]]), cache=cache)
    >>> bool(jnp.allclose(next_logits[:, 0], model(jnp.array([[0, 1, 2, 4]]))[:, 3], atol=1e-6)), int(cache.length)
    (True, 4)
    """

    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.config = check(config)
        self.tokens = nnx.Embed(config.vocab, config.width, embedding_init=normal(0.02), rngs=rngs)
        if config.positions == "learned":
            self.positions = nnx.Embed(config.context, config.width, embedding_init=normal(0.02), rngs=rngs)
        self.blocks = nnx.Sequential(*(Block(config, rngs) for _ in range(config.layers)))
        self.norm = nnx.LayerNorm(config.width, epsilon=1e-5, rngs=rngs)
        self.logits = nnx.Linear(config.width, config.vocab, use_bias=False, kernel_init=normal(0.02), rngs=rngs)

    def __call__(self, tokens: jax.Array, cache: Cache | None = None):
        """Logits (batch, time, vocab) of tokens (batch, time); with a cache, of tokens that follow it, and the longer cache."""
        x, positions, mask = self.embed(tokens, cache)
        seen = []
        for layer, block in enumerate(self.blocks.layers):
            x, kv = block(x, positions, mask, None if cache is None else (cache.k[layer], cache.v[layer]))
            seen.append(kv)
        logits = self.logits(self.norm(x)).reshape(*tokens.shape, self.config.vocab)
        if cache is None:
            return logits
        k, v = (jnp.stack(part) for part in zip(*seen, strict=True))
        return logits, Cache(k, v, cache.length + tokens.shape[1])

    def embed(self, tokens: jax.Array, cache: Cache | None = None):
        """What enters the first block: x (batch * time, width), the positions (time,) and the mask (time, keys).

        One row a token, because only attention needs to know which rows belong together; and because XLA sums the gradients
        of norms and biases faster over one axis than over two (benchmarks/README.md).
        """
        config, time = self.config, tokens.shape[1]
        check_length(time, config)
        start, num_keys = (0, time) if cache is None else (cache.length, config.context)
        positions = start + jnp.arange(time)
        x = self.tokens(tokens)
        if config.positions == "learned":
            x = x + self.positions(positions)
        elif config.positions == "sinusoidal":
            x = x + 0.02 * 2**0.5 * sinusoids(positions, config.width)  # as large as the learned ones at the start
        mask = causal_mask(time, num_keys, start=start) if config.causal else jnp.ones((time, num_keys), bool)
        return x.reshape(-1, config.width), positions, mask

    def attention_maps(self, tokens: jax.Array) -> jax.Array:
        """How much each token (row) looks at each other (column): (layers, batch, heads, time, time), rows sum to 1."""
        x, positions, mask = self.embed(tokens)
        maps = []
        for block in self.blocks.layers:
            q, k, _ = block.attention.split(block.norm1(x), positions)
            maps.append(attention_weights(q, k, mask))
            x, _ = block(x, positions, mask)
        return jnp.stack(maps)


def causal_mask(num_queries: int, num_keys: int | None = None, *, start: int | jax.Array = 0) -> jax.Array:
    """True where a query may look: query i, which stands at place `start` + i, sees the keys 0 .. `start` + i.

    >>> causal_mask(3).astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    >>> causal_mask(1, 4, start=2).astype(int).tolist()
    [[1, 1, 1, 0]]

    Built in lesson 06.
    """
    num_keys = num_queries if num_keys is None else num_keys
    return jnp.arange(num_keys) <= start + jnp.arange(num_queries)[:, None]


def attention_weights(q: jax.Array, k: jax.Array, mask: jax.Array) -> jax.Array:
    """softmax(q k^T / sqrt(d)) over the keys that the mask lets through: (..., queries, keys), rows sum to 1.

    Args:
        q, k: (..., queries, d) and (..., keys, d), with the same leading axes.
        mask: bool, broadcast against (queries, keys); each row must let one key through.

    Built in lesson 06.
    """
    scores = jnp.einsum("...qd,...kd->...qk", q, k) / np.sqrt(q.shape[-1])
    return jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))


def attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """For each query the mean of the values, weighted by how well query and key agree (Vaswani et al. 2017, equation 1).

    Args:
        q, k, v: (..., queries, d), (..., keys, d) and (..., keys, d).
        mask: bool, broadcast against (queries, keys).

    Returns:
        (..., queries, d): `jax.nn.dot_product_attention`, which has its heads on the axis before the last.

    >>> q = k = jnp.zeros((3, 1))  # all keys agree equally: a running mean
    >>> attention(q, k, jnp.array([[0.0], [2.0], [4.0]]), causal_mask(3)).ravel().tolist()
    [0.0, 1.0, 2.0]

    Built in lesson 06.
    """
    return jnp.einsum("...qk,...kd->...qd", attention_weights(q, k, mask), v)


def sinusoids(positions: jax.Array, width: int) -> jax.Array:
    """(time, width): sines, then cosines, of wavelengths from 2 pi to 20,000 pi (Vaswani et al. 2017, section 3.5).

    >>> print(np.array(sinusoids(jnp.array([0, 1]), 4)).round(2))  # wavelengths 2 pi and 200 pi
    [[0.   0.   1.   1.  ]
     [0.84 0.01 0.54 1.  ]]

    Built in lesson 06.
    """
    angles = positions[:, None] / 10_000 ** (jnp.arange(0, width, 2) / width)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)


def rotate(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Rotary positions: pair (i, i + d/2) of x (..., time, d) turned by position / 10,000^(2i/d) (Su et al. 2021).

    The product of a rotated query and key then depends on how far apart they are, not on where they stand. Built in lesson 06.
    """
    sin, cos = jnp.split(sinusoids(positions, x.shape[-1]), 2, axis=-1)  # (time, d/2)
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def token_losses(model: Transformer, tokens: jax.Array) -> jax.Array:
    """-log p(token | the tokens before it) in nats: (batch, time - 1), for every token but the first. Built in lesson 06."""
    log_p = jax.nn.log_softmax(model(tokens[:, :-1]))
    return -jnp.take_along_axis(log_p, tokens[:, 1:, None], axis=-1)[..., 0]


def loss(model: Transformer, tokens: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """The mean cross-entropy of the next token, in nats.

    Args:
        tokens: int (batch, time), time at most context + 1.
        weights: (batch, time) or None: how much predicting each token counts, for example a mask. Column 0 is not used,
            because the first token has nothing before it.

    >>> model = Transformer(Config(vocab=5, context=8, layers=1, width=16), rngs=nnx.Rngs(0))
    >>> print(f"{loss(model, jnp.array([[0, 1, 2, 3]])):.1f} {np.log(5):.1f}")  # knows nothing yet
    1.6 1.6

    Built in lesson 06.
    """
    losses = token_losses(model, tokens)
    return losses.mean() if weights is None else (losses * weights[:, 1:]).sum() / weights[:, 1:].sum()


def sample(logits: jax.Array, key: jax.Array, temperature=1.0, top_k=None, top_p=None) -> jax.Array:
    """One token for each row of logits (batch, vocab), from softmax(logits / temperature).

    Args:
        temperature: 0 takes the most probable token; below 1 is more careful, above 1 more daring.
        top_k: only among the k most probable tokens (ties are kept).
        top_p: then only among the fewest most probable ones that have probability `top_p` together.

    >>> logits = jnp.log(jnp.array([[0.1, 0.6, 0.3]]))
    >>> sorted({int(sample(logits, jax.random.key(i), top_p=0.7)[0]) for i in range(30)})
    [1, 2]

    Built in lesson 06.
    """
    scaled = logits / jnp.where(temperature == 0, 1.0, temperature)
    if top_k is not None:
        highest = jnp.sort(scaled, axis=-1)[:, ::-1]
        smallest_kept = jnp.take(highest, jnp.minimum(top_k, logits.shape[-1]) - 1, axis=-1)[:, None]
        scaled = jnp.where(scaled < smallest_kept, -jnp.inf, scaled)
    if top_p is not None:
        highest = jnp.sort(scaled, axis=-1)[:, ::-1]
        p = jax.nn.softmax(highest)
        kept = jnp.cumsum(p, axis=-1) - p < top_p  # those before it don't reach top_p yet
        scaled = jnp.where(scaled < jnp.where(kept, highest, jnp.inf).min(-1, keepdims=True), -jnp.inf, scaled)
    return jnp.where(temperature == 0, logits.argmax(-1), jax.random.categorical(key, scaled))


def empty_cache(config: Config, batch: int) -> Cache:
    """A cache that has seen nothing. Built in lesson 06."""
    if not config.causal:
        raise ValueError("causal=False, but a cache needs a causal model: old tokens would change with every new one.")
    shape = (config.layers, batch, config.heads, config.context, config.width // config.heads)
    return Cache(jnp.zeros(shape), jnp.zeros(shape), jnp.array(0))


def generate(
    model: Transformer,
    tokens: jax.Array,
    num_tokens: int,
    key: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    use_cache: bool = True,
) -> jax.Array:
    """The tokens with `num_tokens` more behind them: (batch, time + num_tokens).

    When the context is full, its older half is forgotten and the newer half becomes the start of a new one.

    Args:
        tokens: int (batch, time), the beginning, 1 to `context` tokens.
        temperature, top_k, top_p: as in `sample`; the program is compiled once for all temperatures, k and p.
        use_cache: False computes all keys and values again for every token: the same tokens, in more time.

    >>> model = Transformer(Config(vocab=5, context=8, layers=1, width=16), rngs=nnx.Rngs(0))
    >>> generate(model, jnp.array([[0, 1]]), 10, jax.random.key(0)).shape
    (1, 12)

    Built in lesson 06.
    """
    tokens, context = jnp.asarray(tokens), model.config.context
    if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= context:
        raise ValueError(f"tokens has shape {tokens.shape}, not (batch, 1 to {context}). Cut it: `tokens[:, -{context}:]`.")
    window = jnp.zeros((len(tokens), context), tokens.dtype).at[:, : tokens.shape[1]].set(tokens)
    graph, state = nnx.split(model)
    new = _generate(graph, num_tokens, use_cache, state, window, tokens.shape[1], key, temperature, top_k, top_p)
    return jnp.concatenate([tokens, new], axis=1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _generate(graph, num_tokens, use_cache, state, window, length, key, temperature, top_k, top_p):
    """`num_tokens` new tokens (batch, num_tokens) behind the first `length` ones of window (batch, context)."""
    model = nnx.merge(graph, state)
    batch, context = window.shape

    def read(window, length, cache):  # all of it; what stands behind `length` is written over before it is looked at
        if not use_cache:
            return model(window)[:, length - 1], None
        logits, cache = model(window, cache=empty_cache(model.config, batch))
        return logits[:, length - 1], cache._replace(length=length)

    def extend(window, length, cache):  # only the last token is new
        logits, cache = model(jax.lax.dynamic_slice_in_dim(window, length - 1, 1, axis=1), cache=cache)
        return logits[:, 0], cache

    def step(carry, key):
        window, length, cache, fresh = carry
        look = functools.partial(jax.lax.cond, fresh, read, extend) if use_cache else read
        logits, cache = look(window, length, cache)
        new = sample(logits, key, temperature, top_k, top_p).astype(window.dtype)
        full = length == context
        window = jnp.where(full, jnp.roll(window, -(context - context // 2), axis=1), window)
        length = jnp.where(full, context // 2, length)
        window = jax.lax.dynamic_update_slice_in_dim(window, new[:, None], length, axis=1)
        return (window, length + 1, cache, full), new

    cache = empty_cache(model.config, batch) if use_cache else None
    start = window, jnp.asarray(length), cache, jnp.array(True)
    return jax.lax.scan(step, start, jax.random.split(key, num_tokens))[1].T


def normal(std: float) -> nnx.Initializer:
    return nnx.initializers.normal(std)


def residual_std(config: Config) -> float:
    return 0.02 / (2 * config.layers) ** 0.5


def check(config: Config) -> Config:
    """The config, if a model can have it."""
    if config.positions not in POSITIONS:
        raise ValueError(unknown_name("kind of positions", config.positions, POSITIONS))
    even = config.positions == "rotary"
    if config.width % (config.heads * (2 if even else 1)):
        raise ValueError(
            f"width={config.width} can't be shared by heads={config.heads}: each head needs a whole"
            f"{', even' if even else ''} number of columns. Take width={config.heads * 16}, for example."
        )
    if config.positions == "sinusoidal" and config.width % 2:
        raise ValueError(f"width={config.width}, but sinusoidal positions come in pairs. Take an even width.")
    return config


def check_length(time: int, config: Config) -> None:
    """Raises if the tokens can't fit. How full a cache is, is known only while it runs: `generate` looks after that."""
    if time > config.context:
        raise ValueError(f"{time} tokens, but context={config.context}. Pass at most {config.context} at a time.")
