"""What JAX can say without running: parameters, states, residuals and the compiled step's arguments."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from mlcourse.sizing import Task, find_task, size
from mlcourse.sizing.models_flax import gpt, mlp
from mlcourse.sizing.trace_jax import abstract_step, jaxpr_flops, saved_residuals, trace_jax, tree_bytes
from mlcourse.sizing.trace_torch import trace_torch
from mlcourse.transformer import Config


@pytest.mark.parametrize("optimizer, states", [("sgd", 0), ("momentum", 1), ("adam", 2), ("adamw", 2)])
def test_flax_and_pytorch_agree_on_parameters_states_and_flops(optimizer, states):
    flax = trace_jax(find_task("mlp-digits-flax"), 32, optimizer=optimizer)
    torch = trace_torch(find_task("mlp-digits"), 32, optimizer=optimizer)
    assert (flax.parameters, flax.weights, flax.gradients) == (torch.parameters, 4 * torch.parameters, 4 * torch.parameters)
    assert flax.optimizer == states * flax.weights + (4 if states == 2 else 0)  # one step counter for all
    # JAX differentiates the gather of the labels by a product of one row a label; apart from it, the same products.
    assert flax.flops == pytest.approx(torch.flops, rel=0.01)


TASKS = {
    "mlp": lambda: (mlp((64, 32, 10)), 16),
    "transformer": lambda: (gpt(Config(vocab=30, context=16, layers=2, width=32)), 4),
    "batch norm": lambda: (Task(lambda: Normed(rngs=nnx.Rngs(0)), mlp((16, 8, 4)).batch, mlp((16, 8, 4)).loss, "jax"), 8),
}


class Normed(nnx.Module):
    """With running means, which change in a step and are no parameters."""

    def __init__(self, *, rngs):
        self.linear, self.norm, self.out = (
            nnx.Linear(16, 8, rngs=rngs),
            nnx.BatchNorm(8, rngs=rngs),
            nnx.Linear(8, 4, rngs=rngs),
        )

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.linear(x))))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_the_compiled_step_takes_and_returns_the_bytes_that_were_counted(name, optimizer):
    task, size = TASKS[name]()
    step, state, batch = abstract_step(task, size, optimizer=optimizer)
    memory = jax.jit(step, donate_argnums=0).lower(state, batch).compile().memory_analysis()
    trace = trace_jax(task, size, optimizer=optimizer)
    assert (memory.argument_size_in_bytes, memory.alias_size_in_bytes) == (trace.arguments, trace.alias)
    # The result is a tuple; some versions of the CPU's compiler add its table, a pointer of 8 bytes for each array.
    assert memory.output_size_in_bytes - trace.outputs in (0, 8 * (len(jax.tree.leaves(state)) + 1))


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_what_the_compiler_plans_lies_between_the_fused_and_the_unfused_program(name):
    task = mlp((256, 512, 512, 10)) if name == "mlp" else gpt(Config(vocab=65, context=64, layers=2, width=64))
    step, state, batch = abstract_step(task, 256 if name == "mlp" else 8, optimizer="adamw")
    memory = jax.jit(step, donate_argnums=0).lower(state, batch).compile().memory_analysis()
    total = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes + memory.temp_size_in_bytes
    trace = trace_jax(task, 256 if name == "mlp" else 8, optimizer="adamw")
    assert 0.95 * max(sum(parts.values()) for parts in trace.phases.values()) < total < 1.05 * trace.unfused_peak


def test_phases_of_a_flax_step_hold_what_can_be_counted_by_hand():
    phases = trace_jax(mlp((64, 128, 10)), 32, optimizer="momentum").phases
    weights, batch = 4 * (64 * 128 + 128 + 128 * 10 + 10), 4 * 32 * 64 + 4 * 32
    assert phases["load"] == {
        "weights": weights, "gradients": 0, "optimizer": weights, "saved": 0, "loss_head": 0, "temporary": batch
    }  # fmt: skip
    # For the backward pass: the hidden layer before ReLU (where the gradient is 0) and after (for the weights).
    assert phases["forward"]["saved"] == 2 * 4 * 32 * 128
    assert phases["optimizer_step"]["gradients"] == weights and phases["optimizer_step"]["saved"] == 0


def test_recomputation_in_flax_saves_less():
    plain = mlp((64, 256, 256, 10))
    again = plain._replace(loss=lambda model, x, y: plain.loss(lambda x: nnx.remat(lambda m, x: m(x))(model, x), x, y))
    saved = [trace_jax(task, 64, optimizer="sgd").phases["forward"]["saved"] for task in (plain, again)]
    assert saved[1] < 0.5 * saved[0]


def test_size_takes_a_flax_task_as_it_takes_a_pytorch_one():
    flax, torch = (size(name, 64, optimizer="momentum", gpu="t4") for name in ("mlp-digits-flax", "mlp-digits"))
    assert flax.phases.keys() == torch.phases.keys() and flax.phases["load"].keys() == torch.phases["load"].keys()
    assert flax.phases["load"]["optimizer"] == torch.phases["load"]["optimizer"]
    assert flax.time.bound == torch.time.bound == "overhead" and flax.verdict == "fits"
    assert flax.reserved.low == flax.tensor_peak <= flax.reserved.middle <= flax.reserved.high
    assert any("XLA" in words for words in flax.assumptions)
    low = size("mlp-digits-flax", 64, optimizer="momentum", gpu="a100-40", precision="bf16")
    assert low.phases["load"]["weights"] == flax.phases["load"]["weights"] / 2
    kept = size("mlp-digits-flax", 64, accumulate=2)
    assert kept.phases["forward"]["gradients"] == flax.phases["load"]["weights"]
    with pytest.raises(ValueError, match="wrap its blocks in nnx.remat"):
        size("mlp-digits-flax", 64, checkpoint=True)


def test_flops_of_a_flax_resnet_are_those_of_the_pytorch_one():
    flax, torch = trace_jax(find_task("resnet18-cifar-flax"), 2), trace_torch(find_task("resnet18-cifar"), 2)
    assert flax.parameters == torch.parameters == 11_220_132
    assert flax.flops == pytest.approx(torch.flops, rel=0.001)


def test_residuals_are_named_and_hold_what_the_backward_pass_needs():
    found = saved_residuals(lambda w, x: jnp.tanh(x @ w).sum(), jnp.zeros((3, 2)), jnp.zeros((5, 3)))
    assert {(r.array, r.bytes) for r in found} >= {("f32[5,3]", 60), ("f32[5,2]", 40)}
    assert any("argument x" in r.origin for r in found)


def test_residuals_grow_with_the_batch():
    small, large = (trace_jax(mlp((64, 32, 10)), batch).saved for batch in (16, 32))
    assert large == pytest.approx(2 * small, rel=0.01)


def test_flops_of_a_convolution_count_every_tap():
    image, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 5))
    program = jax.make_jaxpr(
        lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    assert jaxpr_flops(program(image, kernel).jaxpr) == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)


def test_flops_of_a_scan_count_every_turn():
    program = jax.make_jaxpr(lambda w: jax.lax.scan(lambda h, _: (h @ w, None), jnp.ones((4, 4)), length=7)[0])
    assert jaxpr_flops(program(jnp.ones((4, 4))).jaxpr) == 7 * 2 * 4**3


def test_bytes_of_a_tree_respect_the_type():
    assert tree_bytes([jax.ShapeDtypeStruct((3,), jnp.bfloat16), jnp.zeros((2, 2), jnp.int8)]) == 10


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="unknown optimizer 'adamx'. Did you mean 'adam'"):
        trace_jax(find_task("mlp-digits-flax"), 1, optimizer="adamx")
