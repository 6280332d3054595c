"""`step`, a state and batches into a trained state and a history: the Python loop, for any framework.

The contract is `step(state, batch) -> (state, metrics)`, with `metrics` a dict of scalars that holds at least "loss".
Nothing here looks inside the state: a JAX pytree, a (model, optimizer) pair of PyTorch, or a plain number all work.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

from tqdm.auto import tqdm

from mlcourse.errors import DataError, DivergedError, StepError

Step = Callable[[Any, Any], tuple[Any, dict]]
Evaluate = Callable[[Any], dict]
Row = dict[str, float]

CHECK_EVERY = 100  # steps between two looks at the losses: looking waits for the device, so not at every step


def train(
    step: Step,
    state: Any,
    batches: Iterable,
    *,
    num_steps: int,
    evaluate: Evaluate | None = None,
    eval_every: int | None = None,
    progress: bool = True,
    tracker: Callable[[Row], None] | None = None,
) -> tuple[Any, list[Row]]:
    """The state after `num_steps` updates, and one row of numbers per update.

    Args:
        step: `step(state, batch) -> (state, metrics)`; `metrics` holds scalars, at least "loss".
        state: what `step` takes and returns.
        batches: one batch per update. Endless iterables are fine; one that ends early is an error.
        num_steps: number of updates, at least 1.
        evaluate: `evaluate(state) -> dict` of scalars. Called before the first update, every `eval_every` updates
            and after the last.
        eval_every: updates between two evaluations; `None` evaluates at the start and the end only.
        progress: show a progress bar, on stderr; pass False in a notebook cell whose output is compared.
        tracker: called with every row, in order, for example to log it.

    Returns:
        `(state, history)`. Row k of the history is `{"step": k, "loss": ..., ...}`: the metrics of the k-th batch, taken
        before the k-th update. Evaluations are merged into the row of the step they were made after; the one before
        training stands in a row of its own, `{"step": 0, ...}`.

    Raises:
        StepError: `step` does not return `(state, metrics)` with scalar metrics and a "loss".
        ValueError: `batches` ended early, or a count is below 1.
        DataError: a batch without examples.
        DivergedError: a loss is not finite. The message names the step; `error.history` holds the rows so far.

    >>> def step(w, batch): return w - 0.1 * 2 * (w - batch), {"loss": (w - batch) ** 2}
    >>> w, history = train(step, 0.0, [1.0] * 20, num_steps=20, progress=False)
    >>> round(w, 3), history[0]
    (0.988, {'step': 1, 'loss': 1.0})

    Built in lesson 01.
    """
    check_counts(num_steps, eval_every)
    history: list[Row] = []
    if evaluate:
        history.append({"step": 0, **scalars(evaluate(state), "evaluate")})
        track(tracker, history)
    batches = iter(batches)
    done = 0
    with tqdm(total=num_steps, disable=not progress, unit="step") as bar:
        while done < num_steps:
            stop = min(num_steps, next_stop(done, eval_every))
            state, metrics = run_block(step, state, batches, done=done, stop=stop, num_steps=num_steps)
            rows = [{"step": k, **scalars(m, "step")} for k, m in enumerate(metrics, start=done + 1)]
            history.extend(rows)
            check_finite(rows, history)
            if evaluate and (stop == num_steps or eval_every and stop % eval_every == 0):
                rows[-1].update(scalars(evaluate(state), "evaluate"))
            track(tracker, rows)
            bar.update(stop - done)
            bar.set_postfix(loss=f"{rows[-1]['loss']:.3g}", refresh=False)
            done = stop
    return state, history


def run_block(step: Step, state: Any, batches: Iterable, *, done: int, stop: int, num_steps: int):
    """The state after the updates `done + 1` to `stop`, and their metrics as the framework gave them."""
    metrics = []
    for batch in itertools.islice(batches, stop - done):
        check_batch(batch, done + len(metrics) + 1)
        result = step(state, batch)
        try:
            state, metric = result
            metric["loss"]
        except (TypeError, ValueError, KeyError, IndexError):
            raise StepError(describe_result(result, done + len(metrics) + 1)) from None
        metrics.append(metric)
    if len(metrics) < stop - done:
        ended = done + len(metrics)
        raise ValueError(
            f"num_steps={num_steps}, but `batches` ended after {ended}. Pass an endless iterator, for example "
            f"`data.minibatches(x, y, batch_size=64, seed=0, epochs=None)`, or num_steps={ended}."
        )
    return state, metrics


def next_stop(done: int, eval_every: int | None) -> int:
    """The next step after which the loop has to look up: for a check, for the bar or for an evaluation."""
    stops = [every * (done // every + 1) for every in (CHECK_EVERY, eval_every) if every]
    return min(stops)


def check_counts(num_steps: int, eval_every: int | None) -> None:
    for name, value in (("num_steps", num_steps), ("eval_every", eval_every)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}={value!r}, but it counts updates: pass an integer of at least 1.")


def check_batch(batch: Any, step: int) -> None:
    """Raises where a batch of arrays holds no example: the mean of no losses is NaN, which would look like divergence."""
    first = batch[0] if isinstance(batch, tuple | list) and batch else batch
    shape = getattr(first, "shape", None)
    if shape and shape[0] == 0:
        raise DataError(
            f"step {step}: the batch is empty, its first array has shape {tuple(shape)}. Leave empty batches out, or check "
            "the filter that made them; `data.minibatches` gives none."
        )


def describe_result(result: Any, step: int) -> str:
    """The sentence for a `step` that broke its contract."""
    cure = 'End it with `return state, {"loss": loss}`.'
    if result is None:
        return f"step {step}: `step` returned None. {cure}"
    if not isinstance(result, tuple) or len(result) != 2:
        size = f" of {len(result)}" if isinstance(result, tuple) else ""
        return f"step {step}: `step` returned a {type(result).__name__}{size}, not the pair (state, metrics). {cure}"
    metrics = result[1]
    if not isinstance(metrics, dict):
        return f"step {step}: the metrics are a {type(metrics).__name__}, not a dict. {cure}"
    return f"step {step}: the metrics {sorted(metrics)} hold no 'loss'. {cure}"


def scalars(metrics: dict, source: str) -> Row:
    """The metrics as Python floats. This is where the loop waits for the device."""
    row = {}
    for name, value in metrics.items():
        try:
            row[name] = float(value)
        except (TypeError, ValueError):
            shape = getattr(value, "shape", None)
            what = f"has shape {tuple(shape)}" if shape is not None else f"is a {type(value).__name__}"
            raise StepError(
                f"`{source}` gives the metric {name!r}, which {what}; a metric is one number. Average it first."
            ) from None
    return row


def check_finite(rows: list[Row], history: list[Row]) -> None:
    """Raises at the first row whose loss is not a finite number."""
    for row in rows:
        if not math.isfinite(row["loss"]):
            kept = history[: history.index(row) + 1]
            finite = [r["loss"] for r in kept if math.isfinite(r.get("loss", math.nan))]
            last = f"the last finite loss was {finite[-1]:.4g}" if finite else "no loss was finite"
            raise DivergedError(
                f"the loss is {row['loss']} at step {int(row['step'])}; {last}. Try a learning rate 10 times smaller; "
                "if that does not help, look for NaN in the data, a log or root of 0, or gradients that need clipping.",
                kept,
            )


def track(tracker: Callable[[Row], None] | None, rows: list[Row]) -> None:
    if tracker:
        for row in rows:
            tracker(row)
