"""One step, three ways: the loop, the compiled run and many runs at once give the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from mlcourse import data
from mlcourse.errors import DataError, DivergedError, StepError
from mlcourse.train import train
from mlcourse.train_jax import grid, train_compiled, train_many

# The three ways compile different programs, which may add in another order: float32 rounds at 6e-8, and over 60 stable
# updates the differences stay below 1e-5 (measured: 3e-7).
SAME = {"rtol": 1e-5, "atol": 1e-6}

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 6)).astype(np.float32)
Y = rng.integers(0, 3, 200).astype(np.int32)
INDICES = data.batch_indices(200, batch_size=16, num_steps=60, seed=3)


def init(run):
    keys = jax.random.split(jax.random.key(run["seed"]), 2)
    params = {"w1": jax.random.normal(keys[0], (6, 16)) * 0.5, "w2": jax.random.normal(keys[1], (16, 3)) * 0.3}
    return params, optax.sgd(0.1, momentum=0.9).init(params)


def loss_fn(params, x, y):
    logits = jax.nn.relu(x @ params["w1"]) @ params["w2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def make_step(run):
    optimizer = optax.sgd(run["learning_rate"], momentum=0.9)

    def step(state, batch):
        params, opt_state = state
        loss, gradient = jax.value_and_grad(loss_fn)(params, *batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), {"loss": loss}

    return step


def evaluate(state):
    return {"all": loss_fn(state[0], X, Y)}


def make_evaluate(run):
    return evaluate


def column(history, name):
    return np.array([row[name] for row in history if name in row])


@pytest.fixture(scope="module")
def loop():
    """The history and parameters of the Python loop: what the two compiled ways are held against."""
    run = {"seed": 1, "learning_rate": 0.05}
    batches = data.minibatches(X, Y, batch_size=16, seed=3, last="drop", epochs=None)
    state, history = train(
        jax.jit(make_step(run)), init(run), batches, num_steps=60, evaluate=evaluate, eval_every=25, progress=False
    )
    return run, state, history


def test_the_compiled_run_gives_the_numbers_of_the_loop(loop):
    run, loop_state, loop_history = loop
    state, history = train_compiled(make_step(run), init(run), (X, Y), INDICES, evaluate=evaluate, eval_every=25)
    assert [set(row) for row in history] == [set(row) for row in loop_history]
    assert [row["step"] for row in history if "all" in row] == [0, 25, 50, 60]
    for name in ("loss", "all"):
        np.testing.assert_allclose(column(history, name), column(loop_history, name), **SAME)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **SAME), state, loop_state)


@pytest.mark.parametrize("chunk", [1, 4, 50])
def test_many_runs_give_the_numbers_of_the_loop_in_every_chunk_size(loop, chunk):
    _, _, loop_history = loop
    runs = grid(learning_rate=[0.2, 0.05], seed=range(3))
    many = train_many(
        init, make_step, (X, Y), INDICES, runs=runs, make_evaluate=make_evaluate, eval_every=25, chunk=chunk, progress=False
    )
    (i,) = many.where(learning_rate=0.05, seed=1)
    assert many.metrics["loss"].shape == (6, 60) and many.evaluations["all"].shape == (6, 4)
    for name in ("loss", "all"):
        np.testing.assert_allclose(column(many.history(i), name), column(loop_history, name), **SAME)
    assert len(jax.tree.leaves(many.states)[0]) == 6
    assert not np.allclose(many.metrics["loss"][0], many.metrics["loss"][1])  # other seeds are other runs


def test_each_run_can_have_its_own_batch_order():
    runs = grid(learning_rate=[0.05], seed=[1, 1])
    orders = np.stack([INDICES, data.batch_indices(200, batch_size=16, num_steps=60, seed=4)])
    many = train_many(init, make_step, (X, Y), orders, runs=runs, progress=False)
    shared = train_many(init, make_step, (X, Y), INDICES, runs=runs, progress=False)
    np.testing.assert_allclose(many.metrics["loss"][0], shared.metrics["loss"][0], **SAME)
    assert np.abs(many.metrics["loss"][1] - shared.metrics["loss"][1]).max() > 0.01


def test_a_second_call_compiles_nothing():
    traced = []

    def counted(state, batch):
        traced.append(1)
        return make_step({"learning_rate": 0.05})(state, batch)

    for seed in range(3):
        train_compiled(counted, init({"seed": seed}), (X, Y), INDICES[:10])
    assert len(traced) == 1

    traced.clear()

    def counted_make_step(run):
        traced.append(1)
        return make_step(run)

    for seeds in (range(7), range(10, 17)):  # chunks of 3, two at a time: the last is filled up, not compiled anew
        runs = grid(learning_rate=[0.1], seed=seeds)
        train_many(init, counted_make_step, (X, Y), INDICES[:10], runs=runs, chunk=3, workers=2, progress=False)
    assert len(traced) == 1


def test_pytorch_and_jax_steps_give_the_same_history():
    run = {"seed": 2, "learning_rate": 0.05}
    state = init(run)
    weights = [torch.nn.Parameter(torch.from_numpy(np.array(state[0][name]))) for name in ("w1", "w2")]
    optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9)

    def torch_step(state, batch):
        x, y = torch.from_numpy(batch[0]), torch.from_numpy(batch[1]).long()
        loss = torch.nn.functional.cross_entropy(torch.relu(x @ weights[0]) @ weights[1], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return state, {"loss": loss.detach()}

    def history_of(step, state):
        batches = data.minibatches(X, Y, batch_size=16, seed=3, last="drop", epochs=None)
        return column(train(step, state, batches, num_steps=60, progress=False)[1], "loss")

    np.testing.assert_allclose(history_of(torch_step, None), history_of(jax.jit(make_step(run)), state), rtol=1e-5)


def test_a_diverged_compiled_run_names_the_step():
    def step(state, batch):
        return state * 1e6, {"loss": state}

    with pytest.raises(DivergedError, match=r"the loss is inf at step 8"):
        train_compiled(step, jnp.float32(1.0), (X, Y), INDICES)


def test_a_diverged_run_among_many_leaves_the_others_alone():
    runs = grid(learning_rate=[0.05, 1e20], seed=[1])
    many = train_many(init, make_step, (X, Y), INDICES, runs=runs, progress=False)
    assert np.isfinite(many.metrics["loss"][0]).all() and not np.isfinite(many.metrics["loss"][1]).all()


def test_bad_batch_orders_are_refused_before_anything_runs():
    def compiled(indices, arrays=(X, Y)):
        train_compiled(make_step({"learning_rate": 0.1}), init({"seed": 0}), arrays, indices)

    with pytest.raises(DataError, match=r"batch_indices run from 0 to 200, but the data have rows 0 to 199"):
        compiled(np.array([[0, 200]]))
    with pytest.raises(DataError, match=r"batch_indices has shape \(3,\), not \(num_steps, batch_size\)"):
        compiled(np.array([1, 2, 3]))
    with pytest.raises(DataError, match=r"have \[199, 200\] rows"):
        compiled(INDICES, (X, Y[:-1]))
    with pytest.raises(DataError, match="1 batch orders for 2 runs"):
        train_many(init, make_step, (X, Y), INDICES[None], runs=grid(learning_rate=[0.1], seed=[0, 1]), progress=False)


def test_bad_runs_are_refused():
    with pytest.raises(ValueError, match="`runs` is empty"):
        train_many(init, make_step, (X, Y), INDICES, runs=[])
    with pytest.raises(ValueError, match=r"runs\[1\] has the keys \['seed'\]"):
        train_many(init, make_step, (X, Y), INDICES, runs=[{"seed": 0, "learning_rate": 0.1}, {"seed": 1}])
    with pytest.raises(ValueError, match="chunk=0"):
        train_many(init, make_step, (X, Y), INDICES, runs=grid(learning_rate=[0.1], seed=[0]), chunk=0)
    many = train_many(init, make_step, (X, Y), INDICES[:2], runs=grid(learning_rate=[0.1], seed=[0]), progress=False)
    with pytest.raises(ValueError, match=r"no run has \{'seed': 5\}"):
        many.where(seed=5)


def test_a_compiled_step_without_a_loss_is_told_how_to_end():
    with pytest.raises(StepError, match="`step` returned None"):
        train_compiled(lambda state, batch: None, 0.0, (X, Y), INDICES)
    with pytest.raises(StepError, match="hold no 'loss'"):
        train_compiled(lambda state, batch: (state, {"accuracy": 0.5}), 0.0, (X, Y), INDICES)
