"""Training tokens per second of a small Transformer, ours and hand-written, interleaved; prints a table (see README.md here).

    python benchmarks/transformer.py [--rounds 7] [--threads 1 2] [--out runs/bench-transformer.json]

The well-known small setting: 4 layers, 4 heads, width 128, context 64, batch 12, 65 characters; AdamW, gradients clipped at
norm 1. The loop in the style of nanoGPT is eager, with PyTorch's fused attention and its AdamW as it is by default on a CPU;
the compiled ones also use the fused AdamW. Every contestant trains the same model from the same kind of start on the same
random rows and hands back its losses. Each number of threads is a process of its own, bound to that many cores. A round runs
each contestant once, every second round in the opposite order; a ratio is taken round by round, so a machine that slows down
slows both, and the table shows its median. With one thread time is processor time, which other programs hardly disturb; with
more it is wall time.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

VOCAB, CONTEXT, BATCH, LAYERS, HEADS, WIDTH = 65, 64, 12, 4, 4, 128
STEPS, ROWS, RATE = 20, 2000, 1e-3
REFERENCE = "hand-written PyTorch, eager (nanoGPT style)"
COMPARE = {  # ours: the hand-written ones of the same framework, the best of which it is held against
    "ours: JAX, train_compiled": (
        "hand-written JAX, scan",
        "hand-written JAX, scan, rows of tokens",
        "hand-written JAX, scan, rows of tokens, jax.nn's attention",
    ),
    "ours: JAX, train with a jitted step": ("hand-written JAX, jitted step",),
    "ours: PyTorch, eager": (REFERENCE, "hand-written PyTorch, eager, plain attention", "torch.nn.TransformerEncoder"),
    "ours: PyTorch, compiled, fused AdamW": (
        "hand-written PyTorch, compiled, fused AdamW",
        "torch.nn.TransformerEncoder, compiled, fused AdamW",
    ),
}


def torch_contestants(rows, order) -> dict[str, Callable[[], list[float]]]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    from mlcourse import transformer_torch as ours
    from mlcourse.train import train
    from mlcourse.transformer import Config

    rows = torch.from_numpy(rows).long()

    class Block(nn.Module):
        def __init__(self, fused):
            super().__init__()
            self.fused = fused
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
            self.register_buffer("later", torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).triu(1))

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = (z.view(b, t, HEADS, c // HEADS).transpose(1, 2) for z in self.qkv(self.norm1(x)).split(c, dim=2))
            if self.fused:
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = (q @ k.transpose(-2, -1)) * (c // HEADS) ** -0.5
                y = F.softmax(scores.masked_fill(self.later[:t, :t], -torch.inf), dim=-1) @ v
            x = x + self.out(y.transpose(1, 2).contiguous().view(b, t, c))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCAB, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.blocks = (
                block() if isinstance(block(), nn.TransformerEncoder) else nn.Sequential(*(block() for _ in range(LAYERS)))
            )
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    nn.init.normal_(parameter, std=0.02)

        def forward(self, rows):
            x = self.tokens(rows[:, :-1]) + self.positions(torch.arange(CONTEXT))
            more = {"mask": self.mask, "is_causal": True} if isinstance(self.blocks, nn.TransformerEncoder) else {}
            logits = self.head(self.norm(self.blocks(x, **more)))
            return F.cross_entropy(logits.view(-1, VOCAB), rows[:, 1:].reshape(-1))

    def encoder():
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation=nn.GELU("tanh"), batch_first=True, norm_first=True
        )
        return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def adamw(model, fused):
        return torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=fused)

    def loop(make, compiled=False):
        """A hand-written loop; the model and its compiled form are made once, and trained on."""
        model = make()
        optimizer, forward = adamw(model, fused=compiled), torch.compile(model) if compiled else model

        def run():
            losses = []
            for rows_of_batch in order:
                batch = torch.stack([rows[i] for i in rows_of_batch.tolist()])
                loss = forward(batch)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                losses.append(loss.detach())
            return [float(loss) for loss in losses]

        return run

    def our_loop(compiled=False):
        model = ours.Transformer(Config(VOCAB, CONTEXT, LAYERS, HEADS, WIDTH))
        forward = torch.compile(model) if compiled else model

        def step(state, batch):
            model, optimizer = state
            loss = ours.loss(forward, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return state, {"loss": loss.detach()}

        state = model, adamw(model, fused=compiled)

        def run():
            batches = (rows[torch.from_numpy(i).long()] for i in order)
            return [row["loss"] for row in train(step, state, batches, num_steps=len(order), progress=False)[1]]

        return run

    return {
        REFERENCE: loop(lambda: Model(lambda: Block(fused=True))),
        "hand-written PyTorch, eager, plain attention": loop(lambda: Model(lambda: Block(fused=False))),
        "hand-written PyTorch, compiled, fused AdamW": loop(lambda: Model(lambda: Block(fused=True)), compiled=True),
        "torch.nn.TransformerEncoder": loop(lambda: Model(encoder)),
        "torch.nn.TransformerEncoder, compiled, fused AdamW": loop(lambda: Model(encoder), compiled=True),
        "ours: PyTorch, eager": our_loop(),
        "ours: PyTorch, compiled, fused AdamW": our_loop(compiled=True),
    }


def jax_contestants(rows, order) -> dict[str, Callable[[], list[float]]]:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx

    from mlcourse import transformer
    from mlcourse.train import train
    from mlcourse.train_jax import train_compiled

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE, b2=0.99, weight_decay=0.1))
    shapes = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}

    def hand_written_params():
        keys = iter(jax.random.split(jax.random.key(0), 3 + 4 * LAYERS))

        def normal(*shape):
            return 0.02 * jax.random.normal(next(keys), shape)

        norm = (jnp.ones(WIDTH), jnp.zeros(WIDTH))
        blocks = [
            {"norm1": norm, "norm2": norm} | {name: (normal(*shape), jnp.zeros(shape[1])) for name, shape in shapes.items()}
            for _ in range(LAYERS)
        ]
        return normal(VOCAB, WIDTH), normal(CONTEXT, WIDTH), blocks, norm, normal(WIDTH, VOCAB)

    def hand_written_loss(params, batch, *, flat, library=False):
        tokens, positions, blocks, last_norm, head = params

        def norm(scale_and_shift, x):
            scale, shift = scale_and_shift
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift

        def linear(weights, x):
            return x @ weights[0] + weights[1]

        x = tokens[batch[:, :-1]] + positions
        x = x.reshape(-1, WIDTH) if flat else x  # (batch * time, width) or (batch, time, width)
        later = np.triu(np.ones((CONTEXT, CONTEXT), bool), 1)
        for block in blocks:
            qkv = linear(block["qkv"], norm(block["norm1"], x)).reshape(-1, CONTEXT, 3, HEADS, WIDTH // HEADS)
            if library:  # takes and gives (batch, time, heads, d)
                y = jax.nn.dot_product_attention(*jnp.moveaxis(qkv, 2, 0), is_causal=True)
            else:
                q, k, v = qkv.transpose(2, 0, 3, 1, 4)
                scores = jnp.where(later, -jnp.inf, q @ k.swapaxes(-1, -2) * (WIDTH // HEADS) ** -0.5)
                y = (jax.nn.softmax(scores) @ v).swapaxes(1, 2)
            x = x + linear(block["out"], y.reshape(x.shape))
            x = x + linear(block["down"], jax.nn.gelu(linear(block["up"], norm(block["norm2"], x))))
        logits = (norm(last_norm, x) @ head).reshape(-1, VOCAB)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:].reshape(-1)).mean()

    def make_step(loss_fn):
        def step(state, batch):
            params, opt_state = state
            loss, grads = jax.value_and_grad(loss_fn)(params, batch[0])
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), {"loss": loss}

        return step

    def scanned(step, params):
        data, indices, state = jnp.asarray(rows), jnp.asarray(order), (params, optimizer.init(params))
        whole = jax.jit(lambda state: jax.lax.scan(lambda state, i: step(state, (data[i],)), state, indices))
        return lambda: np.asarray(whole(state)[1]["loss"]).tolist()

    def stepped(step, params):
        step, start = jax.jit(step), (params, optimizer.init(params))

        def run():
            state, losses = start, []
            for i in order:
                state, metrics = step(state, (rows[i],))
                losses.append(metrics["loss"])
            return [float(loss) for loss in losses]

        return run

    config = transformer.Config(VOCAB, CONTEXT, LAYERS, HEADS, WIDTH)
    graph, params = nnx.split(transformer.Transformer(config, rngs=nnx.Rngs(0)), nnx.Param)
    our_step = make_step(lambda params, batch: transformer.loss(nnx.merge(graph, params), batch))
    start, jitted = (params, optimizer.init(params)), jax.jit(our_step)

    def ours_compiled():
        return [row["loss"] for row in train_compiled(our_step, start, (rows,), order)[1]]

    def ours_stepped():
        batches = ((rows[i],) for i in order)
        return [row["loss"] for row in train(jitted, start, batches, num_steps=len(order), progress=False)[1]]

    hand = hand_written_params()
    cube, flat = (make_step(lambda p, b, flat=flat: hand_written_loss(p, b, flat=flat)) for flat in (False, True))
    library = make_step(lambda p, b: hand_written_loss(p, b, flat=True, library=True))
    return {
        "hand-written JAX, scan": scanned(cube, hand),
        "hand-written JAX, scan, rows of tokens": scanned(flat, hand),
        "hand-written JAX, scan, rows of tokens, jax.nn's attention": scanned(library, hand),
        "hand-written JAX, jitted step": stepped(flat, hand),
        "ours: JAX, train_compiled": ours_compiled,
        "ours: JAX, train with a jitted step": ours_stepped,
    }


def measure(threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of `STEPS` steps of every contestant in every round, in this process, on `threads` cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if threads == 1:  # before JAX is imported
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    rows = np.cumsum(rng.integers(0, 3, (ROWS, CONTEXT + 1)), axis=1).astype(np.int32) % VOCAB  # a random walk: learnable
    order = rng.integers(0, ROWS, (STEPS, BATCH))
    clock = time.process_time if threads == 1 else time.perf_counter
    contestants = torch_contestants(rows, order) | jax_contestants(rows, order)
    for label, contestant in list(contestants.items()):  # warm-up: compiles, and shows that it learns
        try:
            losses = contestant()
        except Exception as error:  # torch.compile needs a C++ compiler, which not every machine has
            if "compiled, fused AdamW" not in label:
                raise
            print(f"{label}: left out, {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            del contestants[label]
            continue
        assert len(losses) == STEPS and np.isfinite(losses).all() and losses[-1] < losses[0] - 0.2, (label, losses)
    seconds = {label: [] for label in contestants}
    for round_number in range(rounds):
        labels = list(contestants)
        for label in labels if round_number % 2 else reversed(labels):
            start = clock()
            contestants[label]()
            seconds[label].append(clock() - start)
    return seconds


def table(seconds: dict[str, list[float]]) -> str:
    """Markdown: median tokens per second, the ratio to the nanoGPT-style loop, ours to the best hand-written one."""
    tokens = STEPS * BATCH * CONTEXT
    median = {label: statistics.median(values) for label, values in seconds.items()}
    lines = [
        "| contestant | tokens per second | ratio to the nanoGPT-style loop [min, max over rounds] | to the best by hand |",
        "|---|---:|---|---|",
    ]
    for label in sorted(median, key=median.get):
        ratios = [a / b for a, b in zip(seconds[REFERENCE], seconds[label], strict=True)]
        others, best = [name for name in COMPARE.get(label, ()) if name in seconds], ""
        if others:
            other = min(others, key=median.get)
            best = f"{statistics.median(a / b for a, b in zip(seconds[other], seconds[label], strict=True)):.2f} ({other})"
        ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        lines.append(f"| {label} | {tokens / median[label]:,.0f} | {ratio} | {best} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, help="keep every timing here, as JSON")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)  # the process of one number of threads
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.rounds)))
        return
    from mlcourse import repro

    versions = repro.manifest({})["packages"]
    results = {}
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}, jax {versions['jax']}, "
        f"torch {versions['torch']}, {arguments.rounds} rounds of {STEPS} steps\n"
    )
    for threads in arguments.threads:
        command = [sys.executable, __file__, "--measure", str(threads), "--rounds", str(arguments.rounds)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        results[threads] = json.loads(found.stdout.splitlines()[-1])
        print(f"### {threads} thread{'s' if threads > 1 else ''}\n\n{table(results[threads])}\n", flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
