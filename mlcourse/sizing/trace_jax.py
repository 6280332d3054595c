"""A Flax task into the same counts by abstract evaluation: shapes flow through the program, and nothing is computed.

What JAX can say exactly: parameters, gradients, optimizer states, and the arguments and results of the compiled step. What it
keeps for the backward pass is a list of residuals *before* XLA fuses operations, so their sum is an upper bound.
"""

import contextlib
import io
import math
import re
from functools import partial
from typing import NamedTuple

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import optax
from flax import nnx

from mlcourse.errors import unknown_name
from mlcourse.sizing.liveness import flat, flops_of, live
from mlcourse.sizing.task import Task

OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "adam": lambda: optax.adam(1e-3),
    "adamw": lambda: optax.adamw(1e-3),
}
PRECISIONS = {"fp32": None, "mixed-bf16": jnp.bfloat16, "mixed-fp16": jnp.float16, "bf16": None, "fp8": jnp.bfloat16}
STORED = {"bf16": jnp.bfloat16}


class Residual(NamedTuple):
    """One array kept for the backward pass: its type and shape, its bytes, and where it was made."""

    array: str
    bytes: int
    origin: str


class JaxTrace(NamedTuple):
    """A step in bytes and FLOPs. `residuals` are before fusion, so `saved` is an upper bound; `phases` and `kernels` are of
    the program with its elementwise operations fused, `unfused_peak` is the tensor peak without that.

    `arguments`, `outputs` and `alias` are what a compiled step takes, returns and shares between the two, when the state is
    donated.
    """

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    batch_bytes: int
    arguments: int
    outputs: int
    alias: int
    residuals: list[Residual]
    saved: int
    flops: int
    forward_flops: int
    phases: dict[str, dict[str, int]]
    kernels: list[tuple[str, int, int]]
    unfused_peak: int


def tree_bytes(tree) -> int:
    """The bytes of all arrays of a tree, or of their shapes.

    >>> tree_bytes({"w": jax.ShapeDtypeStruct((10, 3), jnp.float32), "b": jnp.zeros(3, jnp.bfloat16)})
    126
    """
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def abstract_step(task: Task, batch: int, *, optimizer: str = "adamw", precision: str = "fp32"):
    """(step, state, batch): a training step, and shapes in place of its arguments.

    `step(state, batch) -> (state, {"loss": loss})` can be jitted, lowered or evaluated on shapes. The state is (parameters,
    optimizer states, the rest): running means of batch norm, keys of dropout. With "mixed-bf16" the parameters are cast
    inside the loss; with "bf16" they, and the optimizer's states, are stored so.

    >>> from mlcourse.sizing.task import find_task
    >>> step, state, batch = abstract_step(find_task("mlp-digits-flax"), 32, optimizer="sgd")
    >>> jax.eval_shape(step, state, batch)[1]["loss"].shape
    ()
    """
    if batch < 1:
        raise ValueError(f"batch={batch}; a step needs at least 1 example.")
    for kind, name, known in (("optimizer", optimizer, OPTIMIZERS), ("precision", precision, PRECISIONS)):
        if name not in known:
            raise ValueError(unknown_name(kind, name, known))
    update, low, stored = OPTIMIZERS[optimizer](), PRECISIONS[precision], STORED.get(precision)
    graph, params, rest = nnx.split(nnx.eval_shape(task.model), nnx.Param, ...)
    params, rest = (jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree) for tree in (params, rest))
    inputs = task.batch(batch)
    if stored:
        params = jax.eval_shape(partial(cast, dtype=stored), params)
        inputs = jax.eval_shape(partial(cast, dtype=stored), inputs)

    def loss(params, rest, inputs):
        if low:
            params, inputs = cast(params, low), cast(inputs, low)
        model = nnx.merge(graph, params, rest, copy=True)
        value = task.loss(model, *inputs)
        return value, nnx.split(model, nnx.Param, ...)[2]

    def step(state, inputs):
        params, opt_state, rest = state
        (value, rest), grads = jax.value_and_grad(loss, has_aux=True)(params, rest, inputs)
        updates, opt_state = update.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, rest), {"loss": value}, grads

    def without_gradients(state, inputs):
        return step(state, inputs)[:2]

    without_gradients.loss = lambda params, rest, inputs: loss(params, rest, inputs)[0]
    without_gradients.with_gradients = step
    return without_gradients, (params, jax.eval_shape(update.init, params), rest), inputs


def cast(tree, dtype):
    """Its floating-point arrays in another precision."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def trace_jax(task: Task, batch: int, *, optimizer: str = "adamw", precision: str = "fp32") -> JaxTrace:
    """One training step of a Flax task, counted without computing it.

    Args:
        precision: "fp32"; "mixed-bf16" or "mixed-fp16" (parameters in fp32, cast inside the loss); "bf16" (stored so);
            "fp8", counted as mixed-bf16.

    Raises:
        ValueError: an unknown optimizer or precision, or a batch below 1.

    >>> from mlcourse.sizing.task import find_task
    >>> trace = trace_jax(find_task("mlp-digits-flax"), 32, optimizer="momentum")
    >>> trace.parameters, trace.weights, trace.optimizer, trace.flops
    (26122, 104488, 104488, 4440064)

    Built in lesson 07.
    """
    step, state, inputs = abstract_step(task, batch, optimizer=optimizer, precision=precision)
    params, opt_state, rest = state
    residuals = saved_residuals(step.loss, params, rest, inputs)
    closed, shapes = jax.make_jaxpr(step.with_gradients, return_shape=True)(state, inputs)
    program = flat(closed)
    kinds = [("weights", params), ("optimizer", opt_state), ("weights", rest), ("temporary", inputs)]
    names = [name for name, tree in kinds for _ in jax.tree.leaves(tree)]
    parts = dict(zip(program.arguments, names + ["temporary"] * (len(program.arguments) - len(names)), strict=True))
    count = len(jax.tree.leaves(shapes[0]))  # of the results, the state comes first, then the loss, then the gradients
    facts = {"parts": parts, "loss": program.results[count], "gradients": program.results[count + 1 :]}
    life = live(program, **facts)
    return JaxTrace(
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        weights=tree_bytes(params),
        gradients=tree_bytes(shapes[2]),
        optimizer=tree_bytes(opt_state),
        batch_bytes=tree_bytes(inputs),
        arguments=tree_bytes((state, inputs)),
        outputs=tree_bytes(shapes[:2]),
        alias=tree_bytes(state),
        residuals=residuals,
        saved=sum(r.bytes for r in residuals if "argument params" not in r.origin),
        flops=sum(op.flops for op in program.ops),
        forward_flops=jaxpr_flops(jax.make_jaxpr(step.loss)(params, rest, inputs).jaxpr),
        phases=life.phases,
        kernels=life.kernels,
        unfused_peak=live(program, **facts, fuse=False).peak,
    )


def saved_residuals(function, *args) -> list[Residual]:
    """What reverse mode keeps of `function(*args)`, as `jax.ad_checkpoint.print_saved_residuals` names it."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        jax.ad_checkpoint.print_saved_residuals(function, *args)
    names = {"f": "float", "i": "int", "u": "uint", "bf": "bfloat", "b": "bool"}
    found = []
    for line in printed.getvalue().splitlines():
        kind, bits, shape, origin = re.match(r"([a-z]+)(\d*)\[([\d,]*)\] (.*)", line).groups()
        itemsize = jnp.dtype("bool_" if kind in ("bool", "b") else names[kind] + bits).itemsize
        found.append(Residual(f"{kind}{bits}[{shape}]", itemsize * math.prod(map(int, filter(None, shape.split(",")))), origin))
    return found


def jaxpr_flops(jaxpr) -> int:
    """2 FLOPs for each multiply-add of the matrix products and convolutions of a program."""
    return sum(map(flops_of, jaxpr.eqns))
