"""A Flax task into the same counts by abstract evaluation: shapes flow through the program, and nothing is computed.

What JAX can say exactly: parameters, gradients, optimizer states, and the arguments and results of the compiled step. What it
keeps for the backward pass is a list of residuals *before* XLA fuses operations, so their sum is an upper bound.
"""

import contextlib
import io
import math
import re
from typing import NamedTuple

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import optax
from flax import nnx

from mlcourse.errors import unknown_name
from mlcourse.sizing.task import Task

OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "adam": lambda: optax.adam(1e-3),
    "adamw": lambda: optax.adamw(1e-3),
}


class Residual(NamedTuple):
    """One array kept for the backward pass: its type and shape, its bytes, and where it was made."""

    array: str
    bytes: int
    origin: str


class JaxTrace(NamedTuple):
    """A step in bytes and FLOPs; `residuals` are before fusion, so `saved` is an upper bound."""

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    batch_bytes: int
    residuals: list[Residual]
    saved: int
    flops: int


def tree_bytes(tree) -> int:
    """The bytes of all arrays of a tree, or of their shapes.

    >>> tree_bytes({"w": jax.ShapeDtypeStruct((10, 3), jnp.float32), "b": jnp.zeros(3, jnp.bfloat16)})
    126
    """
    return sum(math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def abstract_step(task: Task, batch: int, *, optimizer: str = "adamw"):
    """(step, params, opt_state, batch): a training step, and shapes in place of its arguments.

    `step(params, opt_state, *batch) -> (params, opt_state, loss)` can be jitted, lowered or evaluated on shapes.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(unknown_name("optimizer", optimizer, OPTIMIZERS))
    graph, params, rest = nnx.split(nnx.eval_shape(task.model), nnx.Param, ...)
    update = OPTIMIZERS[optimizer]()
    params, rest = (jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree) for tree in (params, rest))

    def loss(params, *inputs):
        return task.loss(nnx.merge(graph, params, rest), *inputs)

    def step(params, opt_state, *inputs):
        value, grads = jax.value_and_grad(loss)(params, *inputs)
        updates, opt_state = update.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    step.loss = loss
    return step, params, jax.eval_shape(update.init, params), task.batch(batch)


def trace_jax(task: Task, batch: int, *, optimizer: str = "adamw") -> JaxTrace:
    """One training step of a Flax task, counted without computing it.

    >>> from mlcourse.sizing.task import find_task
    >>> trace = trace_jax(find_task("mlp-digits-flax"), 32, optimizer="momentum")
    >>> trace.parameters, trace.weights, trace.optimizer, trace.flops
    (26122, 104488, 104488, 4440064)

    Built in lesson 07.
    """
    step, params, opt_state, inputs = abstract_step(task, batch, optimizer=optimizer)
    residuals = saved_residuals(step.loss, params, *inputs)
    return JaxTrace(
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        weights=tree_bytes(params),
        gradients=tree_bytes(jax.eval_shape(jax.grad(step.loss), params, *inputs)),
        optimizer=tree_bytes(opt_state),
        batch_bytes=tree_bytes(inputs),
        residuals=residuals,
        saved=sum(r.bytes for r in residuals if "argument params" not in r.origin),
        flops=jaxpr_flops(jax.make_jaxpr(step)(params, opt_state, *inputs).jaxpr),
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
    total = 0
    for equation in jaxpr.eqns:
        shapes = [v.aval.shape for v in equation.invars]
        out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
        if equation.primitive.name == "dot_general":
            contracted = equation.params["dimension_numbers"][0][0]
            total += 2 * out * math.prod(shapes[0][d] for d in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            kernel_out = shapes[1][equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * out * math.prod(shapes[1]) // kernel_out
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += times * jaxpr_flops(inner)
    return total
