"""What JAX can say without running: parameters, states, residuals and the compiled step's arguments."""

import jax
import jax.numpy as jnp
import pytest

from mlcourse.sizing import find_task
from mlcourse.sizing.models_flax import mlp
from mlcourse.sizing.trace_jax import abstract_step, jaxpr_flops, saved_residuals, trace_jax, tree_bytes
from mlcourse.sizing.trace_torch import trace_torch


@pytest.mark.parametrize("optimizer, states", [("sgd", 0), ("momentum", 1), ("adam", 2), ("adamw", 2)])
def test_flax_and_pytorch_agree_on_parameters_states_and_flops(optimizer, states):
    flax = trace_jax(find_task("mlp-digits-flax"), 32, optimizer=optimizer)
    torch = trace_torch(find_task("mlp-digits"), 32, optimizer=optimizer)
    assert (flax.parameters, flax.weights, flax.gradients) == (torch.parameters, 4 * torch.parameters, 4 * torch.parameters)
    assert flax.optimizer == states * flax.weights + (4 if states == 2 else 0)  # one step counter for all
    # JAX differentiates the gather of the labels by a product of one row a label; apart from it, the same products.
    assert flax.flops == pytest.approx(torch.flops, rel=0.01)


def test_the_compiled_step_takes_and_returns_the_bytes_that_were_counted():
    step, params, states, batch = abstract_step(mlp((64, 32, 10)), 16, optimizer="momentum")
    memory = jax.jit(step, donate_argnums=(0, 1)).lower(params, states, *batch).compile().memory_analysis()
    trace = trace_jax(mlp((64, 32, 10)), 16, optimizer="momentum")
    carried = trace.weights + trace.optimizer
    assert memory.argument_size_in_bytes == carried + trace.batch_bytes
    assert memory.alias_size_in_bytes == carried
    # The result is a tuple; the CPU's compiler adds a table of 8 bytes for each array of it.
    arrays = len(jax.tree.leaves((params, states))) + 1
    assert memory.output_size_in_bytes in (carried + 4, carried + 4 + 8 * arrays)


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
