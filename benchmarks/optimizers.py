"""Seconds of our optimizers against Optax and torch.optim, interleaved in one run; prints a table (see README.md here).

    python benchmarks/optimizers.py [--rounds 25] [--threads 1] [--out runs/bench-optimizers.json]

JAX: whole runs compiled by `lax.scan`, the same network with our Adam and with Optax's. PyTorch: the optimizer's step alone,
on gradients that stay, and whole training steps. A round runs each contestant once, every second round in the opposite
order; a ratio is taken round by round, so a machine that slows down slows both sides, and the table shows its median. It is
taken in processor time: with one thread that is the time the work needs, and other programs hardly disturb it.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from mlcourse import data, optimizers, optimizers_torch, repro
from mlcourse.train_jax import train_compiled

RATE = 0.001
NETWORKS = {  # name: (layer sizes, batch size, compiled steps, optimizer steps alone, training steps)
    "digits": ((64, 128, 128, 10), 64, 1000, 300, 150),
    "mnist": ((784, 256, 128, 10), 128, 150, 100, 50),
}
JAX = {  # contestant: (ours or theirs, the alternative it is held against)
    "ours: adam": (lambda: optimizers.adam(RATE), "optax.adam"),
    "optax.adam": (lambda: optax.adam(RATE), ""),
    "ours: adamw": (lambda: optimizers.adamw(RATE, weight_decay=0.01), "optax.adamw"),
    "optax.adamw": (lambda: optax.adamw(RATE, weight_decay=0.01), ""),
    "ours: momentum": (lambda: optimizers.momentum(RATE), "optax.sgd, momentum"),
    "optax.sgd, momentum": (lambda: optax.sgd(RATE, momentum=0.9), ""),
}
TORCH = {
    "ours: Adam, one by one": (lambda p: optimizers_torch.Adam(p, RATE), "torch Adam(foreach=False)"),
    "ours: Adam, multi-tensor": (lambda p: optimizers_torch.Adam(p, RATE, foreach=True), "torch Adam(fused=True)"),
    "ours: Adam, multi-tensor, compiled": (lambda p: optimizers_torch.Adam(p, RATE, compiled=True), "torch Adam(fused=True)"),
    "torch Adam(foreach=False)": (lambda p: torch.optim.Adam(p, RATE, foreach=False), ""),
    "torch Adam(foreach=True)": (lambda p: torch.optim.Adam(p, RATE, foreach=True), "torch Adam(fused=True)"),
    "torch Adam(fused=True)": (lambda p: torch.optim.Adam(p, RATE, fused=True), ""),
}


def jax_runs(sizes, x, y, order) -> dict[str, Callable[[], list[float]]]:
    """Contestant -> a whole compiled run, which gives its losses. `order`: (steps, batch)."""
    keys = jax.random.split(jax.random.key(0), len(sizes) - 1)
    shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
    params = [{"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)} for k, a, b in shapes]

    def loss_fn(params, x, y):
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        logits = x @ params[-1]["w"] + params[-1]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def contestant(optimizer):
        def step(state, batch):
            params, opt_state = state
            loss, grads = jax.value_and_grad(loss_fn)(params, *batch)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), {"loss": loss}

        start = params, optimizer.init(params)
        return lambda: [row["loss"] for row in train_compiled(step, start, (x, y), order)[1]]

    return {name: contestant(make()) for name, (make, _) in JAX.items()}


def network(sizes) -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])


def torch_steps(sizes, x, y, num_steps) -> dict[str, Callable[[], list[float]]]:
    """Contestant -> `num_steps` steps of the optimizer alone; gives where the first weight ended."""

    def contestant(make):
        model = network(sizes)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer = make(model.parameters())

        def run():
            for _ in range(num_steps):
                optimizer.step()
            return [next(model.parameters())[0, 0].item()]

        return run

    return {name: contestant(make) for name, (make, _) in TORCH.items()}


def torch_trainings(sizes, batches) -> dict[str, Callable[[], list[float]]]:
    """Contestant -> a training step for each batch; gives the losses."""

    def contestant(make):
        def run():
            model = network(sizes)
            optimizer, losses = make(model.parameters()), []
            for x, y in batches:
                loss = torch.nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            return [float(loss) for loss in losses]

        return run

    return {name: contestant(make) for name, (make, _) in TORCH.items()}


def seconds_of(contestants: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Contestant -> processor seconds of each round. Before that one run each, whose results must agree by pairs."""
    results = {name: contestant() for name, contestant in contestants.items()}
    against = {name: other for table in (JAX, TORCH) for name, (_, other) in table.items()}
    for name, result in results.items():
        if against[name]:
            np.testing.assert_allclose(result, results[against[name]], rtol=0.05, atol=0.01, err_msg=name)
    seconds = {name: [] for name in contestants}
    for round_number in range(rounds):
        for name in list(contestants)[:: 1 if round_number % 2 else -1]:
            start = time.process_time()
            contestants[name]()
            seconds[name].append(time.process_time() - start)
    return seconds


def measure(name: str, rounds: int) -> dict[str, tuple[int, dict[str, list[float]]]]:
    """Title of a table -> (steps a round, processor seconds of every contestant in every round)."""
    sizes, batch_size, compiled, alone, training = NETWORKS[name]
    rng = np.random.default_rng(0)
    n = 20 * batch_size
    x, y = rng.random((n, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], n).astype(np.int32)
    order = data.batch_indices(n, batch_size=batch_size, num_steps=compiled, seed=0)
    images, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    batches = [(images[i], labels[i]) for i in torch.from_numpy(order[:training]).long()]
    shape = "-".join(map(str, sizes))
    return {
        f"JAX, compiled run, {shape}, batch {batch_size}": (compiled, seconds_of(jax_runs(sizes, x, y, order), rounds)),
        f"PyTorch, optimizer step alone, {shape}": (alone, seconds_of(torch_steps(sizes, *batches[0], alone), rounds)),
        f"PyTorch, training step, {shape}, batch {batch_size}": (training, seconds_of(torch_trainings(sizes, batches), rounds)),
    }


def table(title: str, steps: int, seconds: dict[str, list[float]]) -> str:
    """The result as Markdown: median microseconds a step, and the ratio to the named alternative."""
    lines = [f"### {title}", "", "| contestant | µs a step | ratio [quartiles over rounds] | to |", "|---|---:|---|---|"]
    for name, times in seconds.items():
        ratio, other = "", {**JAX, **TORCH}[name][1]
        if other:
            low, middle, high = statistics.quantiles([a / b for a, b in zip(times, seconds[other], strict=True)], n=4)
            ratio = f"{middle:.2f} [{low:.2f}, {high:.2f}]"
        lines.append(f"| {name} | {1e6 * statistics.median(times) / steps:,.0f} | {ratio} | {other} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--out", type=Path, help="keep every timing here, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    versions = repro.manifest({})["packages"]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch threads {torch.get_num_threads()}"
    print(
        f"{time.strftime('%Y-%m-%d')}, {machine}, jax {versions['jax']}, torch {versions['torch']}, {arguments.rounds} rounds"
    )
    results = {}
    for name in NETWORKS:
        for title, (steps, seconds) in measure(name, arguments.rounds).items():
            print(f"\n{table(title, steps, seconds)}")
            results[title] = {"steps": steps, "seconds": seconds}
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
