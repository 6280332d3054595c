"""The same JAX `step`, compiled: over a whole run (`train_compiled`), and over many runs at once (`train_many`).

Both run the step of `mlcourse.train.train` under `jax.lax.scan`, on the batches `data[batch_indices[k]]`, and give its
numbers up to rounding: a compiler may add in another order, so expect a relative difference of 1e-6 after some hundred
stable steps.
"""

import functools
import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from mlcourse.errors import DataError, StepError
from mlcourse.train import Evaluate, Row, Step, check_counts, check_finite, describe_result

CHUNK = 5  # runs that advance together: more of them no longer fit the caches of a laptop (benchmarks/README.md)


class ManyRuns(NamedTuple):
    """What `train_many` gives: R runs of K steps, evaluated E times."""

    runs: list[dict]  # the R settings, as they were passed
    metrics: dict[str, np.ndarray]  # name -> (R, K): what `step` measured on each batch
    eval_steps: np.ndarray  # (E,): the updates made before each evaluation
    evaluations: dict[str, np.ndarray]  # name -> (R, E)
    states: Any  # the states at the end: every leaf has a leading axis of length R

    def history(self, run: int) -> list[Row]:
        """The rows of one run, as `mlcourse.train.train` would have returned them."""
        metrics = {name: values[run] for name, values in self.metrics.items()}
        evaluations = {name: values[run] for name, values in self.evaluations.items()}
        return rows(metrics, evaluations, self.eval_steps)

    def where(self, **settings) -> np.ndarray:
        """The positions of the runs with these settings, for example `where(learning_rate=0.1)`."""
        found = [i for i, run in enumerate(self.runs) if all(run[k] == v for k, v in settings.items())]
        if not found:
            raise ValueError(f"no run has {settings}; the first of the {len(self.runs)} runs is {self.runs[0]}.")
        return np.array(found)


def grid(**choices: Iterable) -> list[dict]:
    """Every combination of the choices, the last one varying fastest.

    >>> grid(learning_rate=[0.1, 1.0], seed=range(2))[:2]
    [{'learning_rate': 0.1, 'seed': 0}, {'learning_rate': 0.1, 'seed': 1}]
    """
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def train_compiled(
    step: Step,
    state: Any,
    data: tuple,
    batch_indices: np.ndarray,
    *,
    evaluate: Evaluate | None = None,
    eval_every: int | None = None,
) -> tuple[Any, list[Row]]:
    """The state and history of a run that is compiled as a whole; see `mlcourse.train.train` for what they hold.

    Args:
        step: a JAX step, free of side effects.
        state: a pytree of arrays.
        data: the whole training set, a tuple of arrays with one row an example, for example `(x, y)`.
        batch_indices: int (num_steps, batch_size), for example `data.batch_indices(len(x), ...)`.
        evaluate: a JAX function `evaluate(state) -> dict` of scalars, compiled with the run.
        eval_every: updates between two evaluations; `None` evaluates at the start and the end only.

    Raises:
        DataError: an index outside the data, or arrays of unequal length.
        StepError, DivergedError: as `train`.

    The compiled program is kept for as long as the same `step` and `evaluate` objects are passed: calling again with
    other data of the same shape, another state or another order of batches compiles nothing. Built in lesson 01.
    """
    check_indices(data, batch_indices, eval_every)
    run = compiled_run(step, evaluate, eval_every)
    state, metrics, evaluations = run(state, tuple(map(jnp.asarray, data)), jnp.asarray(batch_indices))
    metrics, evaluations = jax.device_get((metrics, evaluations))
    history = rows(metrics, evaluations, eval_steps(len(batch_indices), eval_every))
    check_finite([row for row in history if "loss" in row], history)
    return state, history


def train_many(
    init: Callable[[dict], Any],
    make_step: Callable[[dict], Step],
    data: tuple,
    batch_indices: np.ndarray,
    *,
    runs: list[dict],
    make_evaluate: Callable[[dict], Evaluate] | None = None,
    eval_every: int | None = None,
    chunk: int | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> ManyRuns:
    """Many runs at once, one for each entry of `runs`, compiled once.

    Args:
        init: `init(run) -> state`; `run` is one entry of `runs` with its numbers as JAX scalars.
        make_step: `make_step(run) -> step`, for example with `optax.sgd(run["learning_rate"])` inside.
        data: as in `train_compiled`, shared by all runs.
        batch_indices: int (num_steps, batch_size): one batch order shared by all runs, which makes comparisons paired and
            is faster; or (R, num_steps, batch_size): an order for each run. With a shared order the spread over seeds is
            that of the starts alone: where it should hold the noise of the batches too, give each seed its own order.
        runs: R dicts with the same keys and numbers as values, for example `grid(seed=range(5), learning_rate=[.1, 1])`.
        make_evaluate: `make_evaluate(run) -> evaluate`.
        eval_every: as in `train`.
        chunk: runs that advance together; the last chunk is filled up with copies of its last run, which are dropped. By
            default 5, or fewer where that keeps every worker busy. Calls with the same `chunk` can share a program.
        workers: chunks that are computed at the same time, by default one a core: a small network keeps one core busy.
        progress: show a progress bar, one step a chunk.

    Returns:
        `ManyRuns`. A diverged run is no error here, as a sweep of learning rates needs: its loss is NaN or infinite from
        that step on.

    Raises:
        ValueError: `runs` is empty or its entries have different keys.
        DataError: as `train_compiled`.
    """
    workers = workers or os.cpu_count() or 1
    chunk = min(CHUNK, -(-len(runs) // workers)) if chunk is None else chunk
    check_runs(runs, chunk)
    batch_indices = np.asarray(batch_indices)
    shared = batch_indices.ndim == 2
    if not shared and len(batch_indices) != len(runs):
        raise DataError(f"{len(batch_indices)} batch orders for {len(runs)} runs: pass one for all, or one for each.")
    check_indices(data, batch_indices.reshape(-1, batch_indices.shape[-1]), eval_every)
    data = tuple(map(jnp.asarray, data))
    arguments = []
    for first in range(0, len(runs), chunk):
        picked = np.minimum(np.arange(first, first + chunk), len(runs) - 1)
        settings = {key: jnp.asarray([runs[i][key] for i in picked]) for key in runs[0]}
        states = jax.vmap(init)(settings)  # operation by operation: compiling it would take longer than running it
        arguments.append((settings, states, data, jnp.asarray(batch_indices if shared else batch_indices[picked])))
    program = chunk_program(make_step, make_evaluate, eval_every, shared)(*arguments[0])
    with ThreadPoolExecutor(workers) as pool:  # XLA lets go of Python's lock while it computes
        chunks = pool.map(lambda args: jax.device_get(program(*args)), arguments)
        results = list(tqdm(chunks, total=len(arguments), disable=not progress, unit="chunk"))
    states, metrics, evaluations = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(runs)], *results)
    return ManyRuns(runs, metrics, eval_steps(batch_indices.shape[-2], eval_every), evaluations, states)


@functools.lru_cache(maxsize=32)
def compiled_run(step: Step, evaluate: Evaluate | None, eval_every: int | None) -> Callable:
    return jax.jit(functools.partial(whole_run, step, evaluate, eval_every))


@functools.lru_cache(maxsize=32)
def chunk_program(make_step, make_evaluate, eval_every: int | None, shared: bool) -> Callable:
    """A function from the arguments of a chunk to the program compiled for arguments of their shapes and types."""

    def one(run: dict, state: Any, data: tuple, order: jax.Array):
        evaluate = make_evaluate(run) if make_evaluate else None
        return whole_run(make_step(run), evaluate, eval_every, state, data, order)

    runs = jax.jit(jax.vmap(one, in_axes=(0, 0, None, None if shared else 0)))
    programs = {}

    def program(*arguments):
        key = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arguments))
        if key not in programs:
            programs[key] = runs.lower(*arguments).compile()
        return programs[key]

    return program


def whole_run(step: Step, evaluate: Evaluate | None, eval_every: int | None, state: Any, data: tuple, order: jax.Array):
    """One run as one JAX expression: a scan over the steps inside a scan over the evaluations."""
    num_steps = len(order)
    every = min(eval_every or num_steps, num_steps) if evaluate else num_steps

    def body(state, indices):  # indices: (batch_size,)
        result = step(state, tuple(array[indices] for array in data))
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict) and "loss" in result[1]):
            raise StepError(describe_result(result, 1))
        return result

    def block(state, order):  # order: (every, batch_size)
        state, metrics = jax.lax.scan(body, state, order)
        return state, (metrics, evaluate(state) if evaluate else {})

    whole = num_steps // every * every
    start = evaluate(state) if evaluate else {}
    state, (metrics, evaluations) = jax.lax.scan(block, state, order[:whole].reshape(-1, every, order.shape[-1]))
    metrics = jax.tree.map(lambda m: m.reshape(whole, *m.shape[2:]), metrics)
    evaluations = jax.tree.map(lambda first, rest: jnp.concatenate([jnp.asarray(first)[None], rest]), start, evaluations)
    if whole < num_steps:  # the steps after the last full block
        state, (last_metrics, last_evaluation) = block(state, order[whole:])
        metrics = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), metrics, last_metrics)
        evaluations = jax.tree.map(lambda a, b: jnp.concatenate([a, jnp.asarray(b)[None]]), evaluations, last_evaluation)
    return state, metrics, evaluations


def eval_steps(num_steps: int, eval_every: int | None) -> np.ndarray:
    """The updates made before each evaluation: 0, every `eval_every`, and the last."""
    every = eval_every or num_steps
    return np.array(sorted({0, *range(every, num_steps + 1, every), num_steps}))


def rows(metrics: dict, evaluations: dict, steps: np.ndarray) -> list[Row]:
    """Arrays of numbers into the history that `mlcourse.train.train` returns."""
    columns = {name: np.asarray(values, dtype=float).tolist() for name, values in metrics.items()}
    length = len(next(iter(columns.values())))
    history = [{"step": k + 1, **{name: column[k] for name, column in columns.items()}} for k in range(length)]
    if evaluations:
        history.insert(0, {"step": 0})
        for position, step in enumerate(steps):
            history[step].update({name: float(values[position]) for name, values in evaluations.items()})
    return history


def check_indices(data: tuple, batch_indices: np.ndarray, eval_every: int | None) -> None:
    lengths = {len(array) for array in data}
    if len(lengths) != 1:
        raise DataError(f"the arrays of `data` have {sorted(lengths)} rows; they must have one row an example.")
    if np.ndim(batch_indices) != 2 or np.size(batch_indices) == 0:
        raise DataError(
            f"batch_indices has shape {np.shape(batch_indices)}, not (num_steps, batch_size) with both at least 1. "
            "Make it with `data.batch_indices(len(x), batch_size=64, num_steps=1000, seed=0)`."
        )
    check_counts(len(batch_indices), eval_every)
    low, high, (length,) = int(np.min(batch_indices)), int(np.max(batch_indices)), lengths
    if low < 0 or high >= length:  # JAX would clamp them in silence
        raise DataError(f"batch_indices run from {low} to {high}, but the data have rows 0 to {length - 1}.")


def check_runs(runs: list[dict], chunk: int) -> None:
    if not runs:
        raise ValueError("`runs` is empty. Make it with `grid(seed=range(5), learning_rate=[0.1, 1.0])`.")
    if chunk < 1:
        raise ValueError(f"chunk={chunk}, but it counts the runs that advance together: at least 1.")
    for i, run in enumerate(runs):
        if run.keys() != runs[0].keys():
            raise ValueError(f"runs[{i}] has the keys {sorted(run)}, but runs[0] has {sorted(runs[0])}. Give all the same.")
