"""The program of a JAX step into what is alive when: bytes by phase, and one kernel for each value that is written.

JAX hands XLA a list of operations, and XLA writes only some of their results to memory: elementwise ones are computed where
they are used. Here a value is written if it comes from a product, a reduction, a gather or the like, if a product reads it, or
if it is needed twice and would need two arrays to make it again. What is written stays until its last use. That is a model of
a compiler, not the compiler: `fuse=False`, where every result is written, is its upper bound.
"""

import math
from collections import Counter
from typing import NamedTuple

from jax.extend.core import ClosedJaxpr, Literal

CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2", "custom_jvp_call", "custom_vjp_call"}
VIEWS = {"reshape", "transpose", "squeeze", "expand_dims", "stop_gradient", "copy", "slice"}
PRODUCTS = {"dot_general", "conv_general_dilated"}
WRITTEN = PRODUCTS | {
    "gather", "scatter", "scatter-add", "scatter_add", "sort", "top_k", "cumsum", "scan", "while", "cond", "concatenate",
    "dynamic_update_slice", "random_bits", "random_split", "random_wrap", "threefry2x32", "select_and_scatter_add",
}  # fmt: skip
EXPENSIVE = {"exp", "log", "tanh", "logistic", "erf", "pow", "rsqrt", "sqrt", "sin", "cos"}  # not computed twice


class Op(NamedTuple):
    """One operation: the numbers of the values it reads and makes, and its FLOPs."""

    name: str
    inputs: list[int]
    outputs: list[int]
    flops: int


class Program(NamedTuple):
    """A flat program: its operations in order, the bytes of each value, the numbers of arguments and results."""

    ops: list[Op]
    bytes: list[int]
    arguments: list[int]
    results: list[int]


class Life(NamedTuple):
    """`phases[phase][part]` at the fullest instant of each phase; `kernels` are (name, FLOPs, bytes moved)."""

    phases: dict[str, dict[str, int]]
    kernels: list[tuple[str, int, int]]

    @property
    def peak(self) -> int:
        return max(sum(parts.values()) for parts in self.phases.values())


def flat(closed: ClosedJaxpr) -> Program:
    """The program with the bodies of its functions in place of their calls."""
    ops, sizes = [], []

    def new(var) -> int:
        sizes.append(math.prod(var.aval.shape) * var.aval.dtype.itemsize)
        return len(sizes) - 1

    def walk(jaxpr, numbers):
        def number(var):
            if isinstance(var, Literal):
                return new(var)
            if var not in numbers:
                numbers[var] = new(var)
            return numbers[var]

        for equation in jaxpr.eqns:
            inputs = [number(v) for v in equation.invars]
            inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            if equation.primitive.name in CALLS and inner is not None:
                inner = getattr(inner, "jaxpr", inner)
                inside = dict(zip(inner.invars, inputs, strict=True))
                walk(inner, inside)
                numbers.update(zip(equation.outvars, (inside.get(v) if not isinstance(v, Literal) else new(v)
                                                      for v in inner.outvars), strict=True))  # fmt: skip
            else:
                ops.append(Op(equation.primitive.name, inputs, [number(v) for v in equation.outvars], flops_of(equation)))

    numbers: dict = {}
    arguments = [numbers.setdefault(v, new(v)) for v in (*closed.jaxpr.invars, *closed.jaxpr.constvars)]
    walk(closed.jaxpr, numbers)
    results = [new(v) if isinstance(v, Literal) else numbers[v] for v in closed.jaxpr.outvars]
    return Program(ops, sizes, arguments, results)


def flops_of(equation) -> int:
    """2 FLOPs for each multiply-add of a product or a convolution; a scan's body counts once a turn."""
    name, out = equation.primitive.name, math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    shapes = [v.aval.shape for v in equation.invars]
    if name == "dot_general":
        return 2 * out * math.prod(shapes[0][d] for d in equation.params["dimension_numbers"][0][0])
    if name == "conv_general_dilated":
        taps = math.prod(shapes[1]) // shapes[1][equation.params["dimension_numbers"].rhs_spec[0]]
        return 2 * out * taps // math.prod(equation.params["lhs_dilation"])  # products with the zeros between are not counted
    times, total = equation.params.get("length", 1) if name == "scan" else 1, 0
    for value in equation.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(inner, "jaxpr", inner)
            total += sum(times * flops_of(e) for e in getattr(inner, "eqns", ()))
    return total


def live(program: Program, *, parts: dict[int, str], loss: int, gradients: list[int], fuse: bool = True) -> Life:
    """What each phase of a training step holds, and the kernels that write it.

    Args:
        parts: the part ("weights", "optimizer" or "temporary") of each argument, by its number. Weights and states are
            updated in place, as a donated argument is.
        loss, gradients: their numbers; the forward pass ends with the last operation that the loss needs, the backward
            pass with the last one that a gradient needs.
    """
    ops, sizes = program.ops, program.bytes
    needs, written = sources(program, fuse)
    forward = last_ancestor(ops, [loss])
    backward = max(forward, last_ancestor(ops, gradients))
    gradient = {n for g in gradients for n in needs[g]} - needs_before(ops, needs, forward) - set(program.arguments)
    in_place = set(program.results) - set(gradients) - {loss}
    products = [i for i, op in enumerate(ops) if op.name in PRODUCTS]
    head = (max((i for i in products if i <= forward), default=0), min((i for i in products if i > forward), default=0))

    last: dict[int, int] = {}
    for i, op in enumerate(ops):
        if not fuse or any(v in written for v in op.outputs) or any(v in in_place for v in op.outputs):
            last.update((n, i) for v in op.inputs for n in needs[v])
    made = {v: i for i, op in enumerate(ops) for v in op.outputs if v in written and v not in in_place}
    last.update((v, max(last.get(v, i), i)) for v, i in made.items())
    for n in gradient & set(made):
        last[n] = len(ops)  # until the optimizer is done

    def part(value: int) -> str:
        if value in gradient:
            return "gradients"
        if head[0] < made[value] < head[1]:
            return "loss_head"
        return "saved" if made[value] <= forward < last[value] else "temporary"

    begin, end = {}, {}
    for value, i in made.items():
        begin.setdefault(i, []).append(value)
        end.setdefault(last[value], []).append(value)
    alive = dict.fromkeys(("weights", "gradients", "optimizer", "saved", "loss_head", "temporary"), 0)
    for value, name in parts.items():
        alive[name] += sizes[value]
    phases = {"load": dict(alive)}
    for i in range(len(ops)):
        phase = "forward" if i <= forward else "backward" if i <= backward else "optimizer_step"
        for value in begin.get(i, ()):
            alive[part(value)] += sizes[value]
        if sum(alive.values()) > sum(phases.get(phase, {}).values()):
            phases[phase] = dict(alive)
        for value in end.get(i, ()):
            alive[part(value)] -= sizes[value]
    return Life({name: phases.get(name, dict(alive)) for name in ("load", "forward", "backward", "optimizer_step")},
                kernels(program, needs, written | in_place))  # fmt: skip


def sources(program: Program, fuse: bool) -> tuple[list[set[int]], set[int]]:
    """(the written values that each value is made of, the set of all written ones)."""
    ops, sizes = program.ops, program.bytes
    uses = Counter(v for op in ops if op.name not in VIEWS for v in set(op.inputs))
    maker = {v: op for op in ops for v in op.outputs}
    wanted = set()  # what products read, through views
    for op in ops:
        for v in op.inputs if op.name in PRODUCTS else ():
            while v in maker and maker[v].name in VIEWS:
                v = maker[v].inputs[0]
            wanted.add(v)
    needs: list[set[int]] = [set() for _ in sizes]
    for argument in program.arguments:
        needs[argument] = {argument}
    written: set[int] = set()
    for op in ops:
        inputs = set().union(*(needs[v] for v in op.inputs)) if op.inputs else set()
        for v in op.outputs:
            large = [n for n in inputs if 2 * sizes[n] >= sizes[v]]
            if op.name in VIEWS and fuse:
                write = False
            else:
                write = (
                    not fuse
                    or op.name in WRITTEN
                    or op.name.startswith(("reduce_", "arg", "cum"))
                    or v in wanted
                    or (uses[v] > 1 and (op.name in EXPENSIVE or len(large) > 1))
                )
            needs[v] = {v} if write and sizes[v] else inputs
            if write and sizes[v]:
                written.add(v)
    return needs, written


def needs_before(ops: list[Op], needs: list[set[int]], forward: int) -> set[int]:
    return {n for op in ops[: forward + 1] for v in op.outputs for n in needs[v]}


def last_ancestor(ops: list[Op], values: list[int]) -> int:
    """The index of the last operation that the values depend on; -1 for arguments."""
    maker = {v: i for i, op in enumerate(ops) for v in op.outputs}
    return max((maker.get(v, -1) for v in values), default=-1)


def kernels(program: Program, needs: list[set[int]], written: set[int]) -> list[tuple[str, int, int]]:
    """(name, FLOPs, bytes read and written) of each operation whose result is written."""
    found = []
    for op in program.ops:
        made = [v for v in op.outputs if v in written]
        if made and program.bytes[made[0]] > 8:
            read = {n for v in op.inputs for n in needs[v]}
            found.append((op.name, op.flops, sum(program.bytes[v] for v in (*read, *made))))
    return found
