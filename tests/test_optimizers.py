"""The optimizers in JAX against Optax: the same weights after 100 steps on the same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mlcourse import optimizers, schedules
from mlcourse.search.precision import float64

STEPS = 100
RATES = [0.01, 0.3]
# For each optimizer: ours, Optax's, and every combination of these settings (all in one compiled program).
CASES = {
    "sgd": (lambda eta: optimizers.sgd(eta), lambda eta: optax.sgd(eta), {"eta": RATES}),
    "momentum": (
        lambda eta, beta: optimizers.momentum(eta, beta=beta),
        lambda eta, beta: optax.sgd(eta, momentum=beta),
        {"eta": RATES, "beta": [0.0, 0.5, 0.99]},
    ),
    "average_momentum": (
        lambda eta, beta: optimizers.average_momentum(eta, beta=beta),
        lambda eta, beta: optax.chain(optax.ema(beta, debias=False), optax.scale(-eta)),
        {"eta": RATES, "beta": [0.0, 0.5, 0.99]},
    ),
    "nesterov": (
        lambda eta, beta: optimizers.nesterov(eta, beta=beta),
        lambda eta, beta: optax.sgd(eta, momentum=beta, nesterov=True),
        {"eta": RATES, "beta": [0.0, 0.5, 0.99]},
    ),
    "adagrad": (  # with no epsilon to speak of, inside and outside the root are the same place
        lambda eta, initial: optimizers.adagrad(eta, initial=initial, epsilon=1e-30),
        lambda eta, initial: optax.adagrad(eta, initial_accumulator_value=initial, eps=0.0),
        {"eta": RATES, "initial": [0.0, 0.1, 2.0]},
    ),
    "rmsprop": (
        lambda eta, beta, epsilon: optimizers.rmsprop(eta, beta=beta, epsilon=epsilon),
        lambda eta, beta, epsilon: optax.rmsprop(eta, decay=beta, eps=epsilon, eps_in_sqrt=False),
        {"eta": RATES, "beta": [0.0, 0.9, 0.99], "epsilon": [1e-8, 0.1]},
    ),
    "adam": (
        lambda eta, beta1, beta2, epsilon: optimizers.adam(eta, beta1=beta1, beta2=beta2, epsilon=epsilon),
        lambda eta, beta1, beta2, epsilon: optax.adam(eta, beta1, beta2, epsilon),
        {"eta": RATES, "beta1": [0.0, 0.9], "beta2": [0.0, 0.95, 0.999], "epsilon": [1e-8, 0.1]},
    ),
    "adamw": (
        lambda eta, beta1, epsilon, decay: optimizers.adamw(eta, beta1=beta1, epsilon=epsilon, weight_decay=decay),
        lambda eta, beta1, epsilon, decay: optax.adamw(eta, beta1, eps=epsilon, weight_decay=decay),
        {"eta": RATES, "beta1": [0.0, 0.9], "epsilon": [1e-8, 0.1], "decay": [0.0, 0.1]},
    ),
    "l2_penalty before nesterov": (
        lambda eta, beta, decay: optax.chain(optimizers.l2_penalty(decay), optimizers.nesterov(eta, beta=beta)),
        lambda eta, beta, decay: optax.chain(optax.add_decayed_weights(decay), optax.sgd(eta, beta, nesterov=True)),
        {"eta": RATES, "beta": [0.0, 0.9], "decay": [0.0, 0.1]},
    ),
    "clip_by_global_norm before adam": (
        lambda eta, norm: optax.chain(optimizers.clip_by_global_norm(norm), optimizers.adam(eta, epsilon=0.1)),
        lambda eta, norm: optax.chain(optax.clip_by_global_norm(norm), optax.adam(eta, eps=0.1)),
        {"eta": RATES, "norm": [0.1, 1.0, 1e6]},
    ),
    "clip_by_value before sgd": (
        lambda eta, limit: optax.chain(optimizers.clip_by_value(limit), optimizers.sgd(eta)),
        lambda eta, limit: optax.chain(optax.clip(limit), optax.sgd(eta)),
        {"eta": RATES, "limit": [0.1, 1e6]},
    ),
    "adam on a schedule": (
        lambda eta: optimizers.adam(schedules.warmup_cosine(eta, STEPS, warmup=10)),
        lambda eta: optax.adam(lambda step: eta * optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, STEPS)(step)),
        {"eta": RATES},
    ),
    "adamw on a schedule": (
        lambda eta: optimizers.adamw(schedules.cosine(eta, STEPS), weight_decay=0.1),
        lambda eta: optax.adamw(optax.cosine_decay_schedule(eta, STEPS), weight_decay=0.1),
        {"eta": RATES},
    ),
    "momentum on a schedule": (
        lambda eta: optimizers.momentum(schedules.cosine(eta, STEPS)),
        lambda eta: optax.sgd(optax.cosine_decay_schedule(eta, STEPS), momentum=0.9),
        {"eta": RATES},
    ),
}
MAKERS = {
    "sgd": lambda: optimizers.sgd(0.1),
    "momentum": lambda: optimizers.momentum(0.1),
    "average_momentum": lambda: optimizers.average_momentum(0.1),
    "nesterov": lambda: optimizers.nesterov(0.1),
    "adagrad": lambda: optimizers.adagrad(0.1),
    "rmsprop": lambda: optimizers.rmsprop(0.1),
    "adam": lambda: optimizers.adam(0.1),
    "adamw": lambda: optimizers.adamw(0.1),
    "clipped": lambda: optax.chain(optimizers.clip_by_global_norm(0.5), optimizers.clip_by_value(0.4), optimizers.sgd(0.1)),
}


def start(seed=0):
    rng = np.random.default_rng(seed)
    return {"w": jnp.asarray(rng.normal(size=(3, 2))), "b": jnp.asarray(rng.normal())}


def gradients(seed=1, steps=STEPS):
    """Gradients over seven orders of magnitude; one step in ten has none, and one coordinate never has one."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-5, 2, steps) * (rng.random(steps) > 0.1)
    w = rng.normal(size=(steps, 3, 2)) * size[:, None, None]
    w[:, 2, 1] = 0
    return {"w": jnp.asarray(w), "b": jnp.asarray(rng.normal(size=steps) * size)}


def run(optimizer, params, state, grads):
    """The parameters and the state after one update for each gradient."""

    def step(carry, grad):
        params, state = carry
        updates, state = optimizer.update(grad, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), grads)[0]


def whole_run(optimizer, params, grads):
    return run(optimizer, params, optimizer.init(params), grads)[0]


def combinations(choices):
    grids = np.meshgrid(*choices.values(), indexing="ij")
    return {name: jnp.asarray(values.ravel()) for name, values in zip(choices, grids, strict=True)}


def close(ours, theirs, rtol):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=0), ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_the_weights_are_those_of_optax_for_every_combination_of_settings(name):
    ours, theirs, choices = CASES[name]
    with float64():
        params, grads, settings = start(), gradients(), combinations(choices)

        @jax.jit
        @jax.vmap
        def both(settings):
            return tuple(whole_run(make(**settings), params, grads) for make in (ours, theirs))

        mine, optaxes = both(settings)
        close(mine, optaxes, rtol=1e-6)
        assert np.ptp(np.asarray(mine["w"])[:, 0, 0]) > 0, "the settings make a difference"


def test_a_number_a_traced_scalar_and_a_constant_schedule_are_the_same_learning_rate():
    params, grads = start(), gradients(steps=10)
    by_number = whole_run(optimizers.adam(0.05), params, grads)
    by_schedule = whole_run(optimizers.adam(schedules.constant(0.05)), params, grads)
    traced = jax.jit(lambda rate: whole_run(optimizers.adam(rate), params, grads))(0.05)
    close(by_number, by_schedule, rtol=0)
    close(by_number, traced, rtol=1e-5)  # float32, and compiled as another program


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_resumed_from_its_stored_state_is_the_run_that_never_stopped(name):
    with float64():
        optimizer, params, grads = MAKERS[name](), start(), gradients(steps=40)
        first, second = (jax.tree.map(lambda g, half=half: g[half], grads) for half in (slice(0, 20), slice(20, 40)))
        go = jax.jit(lambda params, state, grads: run(optimizer, params, state, grads))
        fresh = optimizer.init(params)
        stored = jax.tree.map(np.array, go(params, fresh, first))  # to the host, as a checkpoint does
        resumed = go(*stored, second)
        close(resumed, go(params, fresh, grads), rtol=1e-12)  # scans of two lengths: the same operations, compiled twice
        if name not in ("sgd", "clipped"):
            assert not np.allclose(go(stored[0], fresh, second)[0]["w"], resumed[0]["w"], rtol=1e-6), "the state matters"


def test_groups_with_settings_of_their_own_are_those_of_optax():
    def grouped(library, beta):
        return optax.partition(
            {"matrix": library.adam(0.1), "vector": library.rmsprop(0.01, **beta)}, {"w": "matrix", "b": "vector"}
        )

    with float64():
        ours = whole_run(grouped(optimizers, {"beta": 0.5}), start(), gradients())
        theirs = whole_run(grouped(optax, {"decay": 0.5, "eps_in_sqrt": False}), start(), gradients())
        close(ours, theirs, rtol=1e-6)


def test_a_parameter_without_gradient_stays_where_it_is():
    frozen = optax.masked(optimizers.adam(0.1), {"w": True, "b": False})
    params, grads = start(), gradients(steps=10)
    grads["b"] = jnp.zeros(10)
    moved = whole_run(frozen, params, grads)
    assert moved["b"] == params["b"] and (moved["w"] != params["w"]).sum() == 5
    ends = jax.jit(lambda params: {name: whole_run(make(), params, grads) for name, make in MAKERS.items()})(params)
    for name, after in ends.items():
        shrinks = name == "adamw"  # without a gradient it still decays
        assert (after["b"] != params["b"]) == shrinks, name
        assert (after["w"][2, 1] != params["w"][2, 1]) == shrinks, name


def test_state_and_parameters_keep_their_types_in_a_scan():
    params, grads = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (start(), gradients(steps=3)))
    for name, make in MAKERS.items():
        after = jax.eval_shape(lambda make=make: whole_run(make(), params, grads))  # a scan refuses a carry of another type
        assert after["w"].dtype == jnp.bfloat16, name


def test_flax_takes_our_optimizer_for_one_of_optax():
    model, twin = (nnx.Linear(3, 2, rngs=nnx.Rngs(0)) for _ in range(2))
    ours = nnx.Optimizer(model, optimizers.adam(0.1), wrt=nnx.Param)
    theirs = nnx.Optimizer(twin, optax.adam(0.1), wrt=nnx.Param)
    x = jnp.arange(12.0).reshape(4, 3) / 10
    for _ in range(3):
        for network, optimizer in ((model, ours), (twin, theirs)):
            optimizer.update(network, nnx.grad(lambda m: (m(x) ** 2).mean())(network))
    np.testing.assert_allclose(model.kernel[...], twin.kernel[...], rtol=1e-5)


def test_the_two_forms_of_momentum_walk_one_path_when_their_rates_differ_by_one_minus_beta():
    with float64():
        heavy_ball = whole_run(optimizers.momentum(0.02, beta=0.8), start(), gradients())
        average = whole_run(optimizers.average_momentum(0.1, beta=0.8), start(), gradients())
        close(heavy_ball, average, rtol=1e-12)


def test_the_scale_of_the_loss_is_nothing_to_adam_and_everything_to_sgd():
    with float64():
        params, grads = start(), gradients(steps=20)
        grads = jax.tree.map(lambda g: g + 1.0, grads)  # none of them near epsilon
        larger = jax.tree.map(lambda g: 1000 * g, grads)
        close(whole_run(optimizers.adam(0.1), params, grads), whole_run(optimizers.adam(0.1), params, larger), rtol=1e-6)
        by_sgd = [whole_run(optimizers.sgd(0.1), params, g)["b"] - params["b"] for g in (grads, larger)]
        np.testing.assert_allclose(by_sgd[1], 1000 * by_sgd[0], rtol=1e-9)


def test_decay_in_the_gradient_and_decoupled_decay_agree_for_sgd_and_not_for_adam():
    """Decoupled decay of strength 0.1 by hand; for `sgd` the L2 penalty gives the same, for `adam` it does not."""
    with float64():
        params, grads = start(), gradients(steps=20)
        penalty = optimizers.l2_penalty(0.1)
        decoupled = optax.chain(optimizers.sgd(0.2), optax.add_decayed_weights(-0.2 * 0.1))
        close(
            whole_run(optax.chain(penalty, optimizers.sgd(0.2)), params, grads), whole_run(decoupled, params, grads), rtol=1e-12
        )
        in_gradient = whole_run(optax.chain(penalty, optimizers.adam(0.2)), params, grads)
        assert not np.allclose(in_gradient["w"], whole_run(optimizers.adamw(0.2, weight_decay=0.1), params, grads)["w"], 1e-2)


def test_clipping_by_norm_keeps_the_direction_and_leaves_short_gradients_alone():
    grads = {"w": jnp.array([[3.0, 0.0]]), "b": jnp.array(-4.0)}
    clipped, _ = optimizers.clip_by_global_norm(0.5).update(grads, ())
    close(clipped, jax.tree.map(lambda g: g / 10, grads), rtol=1e-6)
    untouched, _ = optimizers.clip_by_global_norm(5.1).update(grads, ())
    close(untouched, grads, rtol=0)
    nothing, _ = optimizers.clip_by_global_norm(0.5).update(jax.tree.map(jnp.zeros_like, grads), ())
    assert not np.isnan(nothing["w"]).any(), "a gradient of zero has no direction, and needs none"
    cut, _ = optimizers.clip_by_value(3.5).update(grads, ())
    assert cut["w"].tolist() == [[3.0, 0.0]] and cut["b"] == -3.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.sgd(-0.1), r"learning_rate=-0.1 is not a step size.*Pass a finite number of at least 0"),
        (lambda: optimizers.momentum(float("nan")), "learning_rate=nan is not a step size"),
        (lambda: optimizers.adam(np.float32(-1)), "learning_rate=-1.0 is not a step size"),
        (lambda: optimizers.sgd(jnp.inf), "learning_rate=inf is not a step size"),
        (lambda: optimizers.momentum(0.1, beta=1.0), r"beta=1.0 is not in \[0, 1\).*Pass for example 0.9"),
        (lambda: optimizers.average_momentum(0.1, beta=-0.1), r"beta=-0.1 is not in \[0, 1\)"),
        (lambda: optimizers.nesterov(0.1, beta=1.5), r"beta=1.5 is not in \[0, 1\)"),
        (lambda: optimizers.rmsprop(0.1, epsilon=0.0), "epsilon=0.0 is not above 0.*1e-8"),
        (lambda: optimizers.adam(0.1, beta1=1.0), r"beta1=1.0 is not in \[0, 1\)"),
        (lambda: optimizers.adam(0.1, beta2=jnp.array(1.0)), r"beta2=1.0 is not in \[0, 1\)"),
        (lambda: optimizers.adam(0.1, epsilon=-1e-8), "epsilon=-1e-08 is not above 0"),
        (lambda: optimizers.adamw(0.1, weight_decay=-0.01), "weight_decay=-0.01 is not a strength.*0 switches it off"),
        (lambda: optimizers.adagrad(0.1, initial=-1.0), "initial=-1.0 is not a strength"),
        (lambda: optimizers.l2_penalty(-1.0), "weight_decay=-1.0 is not a strength"),
        (lambda: optimizers.clip_by_global_norm(0.0), "max_norm=0.0 is not above 0"),
        (lambda: optimizers.clip_by_value(-2.0), "limit=-2.0 is not above 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_with_its_value_and_the_cure(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_setting_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="learning_rate='0.1' is a str; pass a number"):
        optimizers.sgd("0.1")
    with pytest.raises(TypeError, match="beta=<function.*is a function; pass a number"):
        optimizers.momentum(0.1, beta=lambda step: 0.9)


@pytest.mark.parametrize("optimizer", [optimizers.adamw(0.1), optimizers.l2_penalty(0.1)], ids=["adamw", "l2_penalty"])
def test_weight_decay_without_parameters_says_what_to_pass(optimizer):
    grads = jnp.ones(2)
    with pytest.raises(ValueError, match=r"params=None. Call `update\(grads, state, params\)`"):
        optimizer.update(grads, optimizer.init(grads))
