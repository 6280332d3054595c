"""Answers to the exercises of lesson 03 as students write them, wrong and right, with the words that must be said."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from mlcourse.checks.killrate import Bank

bank = Bank()

# 3.1 he_weights


def _fan_in(shape):
    return int(np.prod(shape[:-1]))


def _in_jax(variance):
    """Normal weights with `variance(shape, slope)`, one key a layer."""

    def he_weights(shapes, *, slope, seed):
        keys = jax.random.split(jax.random.PRNGKey(seed), len(shapes))
        return [jnp.sqrt(variance(s, slope)) * jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]

    return he_weights


@bank.wrong("3.1", "2 / fan_out: the *outputs* were counted")
def he_with_fan_out(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    weights = []
    for shape in shapes:
        fan_out = shape[-1] * int(np.prod(shape[:-2]))
        weights.append(rng.normal(0, np.sqrt(2 / (1 + slope**2) / fan_out), shape))
    return weights


@bank.wrong("3.1", "the *outputs* were counted")
def he_with_the_last_axis(shapes, *, slope, seed):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(*s, generator=rng) * (2 / ((1 + slope * slope) * s[-1])) ** 0.5 for s in shapes]


@bank.wrong("3.1", "This is Glorot's variance")
def glorot(shapes, *, slope, seed):
    return _in_jax(lambda shape, a: 2 / (_fan_in(shape) + np.prod(shape) / shape[-2]))(shapes, slope=slope, seed=seed)


@bank.wrong("3.1", "A ReLU sets half of the signal to 0")
def lecun(shapes, *, slope, seed):
    return _in_jax(lambda shape, a: 1 / _fan_in(shape))(shapes, slope=slope, seed=seed)


@bank.wrong("3.1", "The slope is not used")
def relu_only(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[:-1])) for shape in shapes]


@bank.wrong("3.1", "The slope must be squared")
def slope_not_squared(shapes, *, slope, seed):
    return _in_jax(lambda shape, a: 2 / ((1 + a) * _fan_in(shape)))(shapes, slope=slope, seed=seed)


@bank.wrong("3.1", "A leak lets *more* signal through")
def slope_multiplies(shapes, *, slope, seed):
    return _in_jax(lambda shape, a: 2 * (1 + a**2) / _fan_in(shape))(shapes, slope=slope, seed=seed)


@bank.wrong("3.1", "The standard deviation is 2 / fan_in")
def variance_as_standard_deviation(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 2 / ((1 + slope**2) * _fan_in(shape)), shape) for shape in shapes]


@bank.wrong("3.1", "The root was taken twice")
def root_of_the_root(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    std = [np.sqrt(2 / ((1 + slope**2) * _fan_in(shape))) for shape in shapes]
    return [np.sqrt(s) * rng.standard_normal(shape) for s, shape in zip(std, shapes, strict=True)]


@bank.wrong("3.1", "have the variance b²/3")
def uniform_without_the_three(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    weights = []
    for shape in shapes:
        bound = np.sqrt(2 / ((1 + slope**2) * _fan_in(shape)))
        weights.append(rng.uniform(-bound, bound, shape))
    return weights


@bank.wrong("3.1", "don't have the mean 0")
def uniform_from_zero(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    bounds = [np.sqrt(6 / ((1 + slope**2) * _fan_in(shape))) for shape in shapes]
    return [b * rng.random(shape) for b, shape in zip(bounds, shapes, strict=True)]


@bank.wrong("3.1", "they were not scaled")
def standard_normal(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


@bank.wrong("3.1", "The mean square of the weights is not the one that keeps the signal")
def small_numbers(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    return [0.01 * rng.standard_normal(shape) for shape in shapes]


@bank.wrong("3.1", "Only the first axis was counted")
def pixels_forgotten(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) * np.sqrt(2 / ((1 + slope**2) * shape[0])) for shape in shapes]


@bank.wrong("3.1", "Of a convolution only the channels were counted")
def channels_only(shapes, *, slope, seed):
    return _in_jax(lambda shape, a: 2 / ((1 + a**2) * shape[-2]))(shapes, slope=slope, seed=seed)


@bank.wrong("3.1", "one key, or one seed, was used for both")
def one_key_for_all_layers(shapes, *, slope, seed):
    key = jax.random.key(seed)
    return [jnp.sqrt(2 / ((1 + slope**2) * _fan_in(s))) * jax.random.normal(key, s) for s in shapes]


@bank.wrong("3.1", "one key, or one seed, was used for both")
def a_new_generator_each_time(shapes, *, slope, seed):
    return [np.random.default_rng(seed).standard_normal(s) * np.sqrt(2 / ((1 + slope**2) * _fan_in(s))) for s in shapes]


@bank.wrong("3.1", "the layers' seeds were counted up")
def seeds_counted_up(shapes, *, slope, seed):
    return [
        jnp.sqrt(2 / ((1 + slope**2) * _fan_in(s))) * jax.random.normal(jax.random.key(seed + i), s)
        for i, s in enumerate(shapes)
    ]


@bank.wrong("3.1", "Two calls with the same seed")
def no_seed(shapes, *, slope, seed):
    rng = np.random.default_rng()
    return [rng.standard_normal(s) * np.sqrt(2 / ((1 + slope**2) * _fan_in(s))) for s in shapes]


@bank.wrong("3.1", "`seed` is not used")
def always_key_zero(shapes, *, slope, seed):
    return _in_jax(lambda shape, a: 2 / ((1 + a**2) * _fan_in(shape)))(shapes, slope=slope, seed=0)


@bank.wrong("3.1", "global random generator")
def seeds_numpy(shapes, *, slope, seed):
    np.random.seed(seed)  # noqa: NPY002 - the mistake
    return [np.random.randn(*s) * np.sqrt(2 / ((1 + slope**2) * _fan_in(s))) for s in shapes]  # noqa: NPY002


@bank.wrong("3.1", "The entries repeat")
def one_filter_for_all_pixels(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    filters = [rng.standard_normal(s[-2:]) * np.sqrt(2 / ((1 + slope**2) * _fan_in(s))) for s in shapes]
    return [np.broadcast_to(f, s) for f, s in zip(filters, shapes, strict=True)]


@bank.wrong("3.1", "The shapes are turned around")
def transposed_weights(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(s) * np.sqrt(2 / ((1 + slope**2) * _fan_in(s)))).T for s in shapes]


@bank.wrong("3.1", "A `return` inside the loop")
def returns_the_first_layer(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    weights = []
    for shape in shapes:
        weights.append(rng.standard_normal(shape) * np.sqrt(2 / ((1 + slope**2) * _fan_in(shape))))
        return weights


@bank.right("3.1")
def kaiming_by_torch(shapes, *, slope, seed):
    rng = torch.Generator().manual_seed(seed)
    weights = []
    for shape in shapes:
        flat = torch.empty(shape[-1], _fan_in(shape))  # torch keeps the outputs first
        torch.nn.init.kaiming_uniform_(flat, a=slope, generator=rng)
        weights.append(flat.T.reshape(shape))
    return weights


@bank.right("3.1")
def variance_scaling_by_jax(shapes, *, slope, seed):
    init = jax.nn.initializers.variance_scaling(2 / (1 + slope**2), "fan_in", "normal")
    key = jax.random.key(seed)
    for shape in shapes:
        key, subkey = jax.random.split(key)
        yield init(subkey, shape)


@bank.right("3.1")
def uniform_in_numpy(shapes, *, slope, seed):
    rng = np.random.default_rng(seed)
    bounds = [np.sqrt(6 / (1 + slope**2) / _fan_in(shape)) for shape in shapes]
    return [rng.uniform(-b, b, shape) for b, shape in zip(bounds, shapes, strict=True)]


# 3.2 batch_norm


def _statistics(x, params, state, training, momentum):
    """(mean, variance) to normalise with, new state: the right ones, for answers that go wrong elsewhere."""
    if not training:
        return state["mean"], state["variance"], state
    mean, variance = x.mean(axis=0), ((x - x.mean(axis=0)) ** 2).mean(axis=0)
    mixed = {
        "mean": momentum * state["mean"] + (1 - momentum) * mean,
        "variance": momentum * state["variance"] + (1 - momentum) * variance,
    }
    return mean, variance, mixed


@bank.wrong("3.2", "The running variance is never updated")
def variance_never_updated(x, params, state, *, training, momentum, epsilon):
    if training:
        mean, var = x.mean(0), x.var(0)
        state = {"mean": momentum * state["mean"] + (1 - momentum) * mean, "variance": state["variance"]}
    else:
        mean, var = state["mean"], state["variance"]
    return params["weight"] * (x - mean) / jnp.sqrt(var + epsilon) + params["bias"], state


@bank.wrong("3.2", "PyTorch keeps the unbiased variance")
def variance_never_updated_in_torch(x, params, state, *, training, momentum, epsilon):
    x = x.double()
    mean, var = (x.mean(0), x.var(0, unbiased=False)) if training else (state["mean"], state["variance"])
    new = dict(state)
    if training:
        new["mean"] = torch.lerp(mean, state["mean"], momentum)
    return torch.addcmul(params["bias"], params["weight"], (x - mean) * torch.rsqrt(var + epsilon)), new


@bank.wrong("3.2", "The running mean is never updated")
def mean_never_updated(x, params, state, *, training, momentum, epsilon):
    mean, variance, new = _statistics(x, params, state, training, momentum)
    y = (x - mean) / np.sqrt(variance + epsilon)
    return params["weight"] * y + params["bias"], {"mean": state["mean"], "variance": new["variance"]}


@bank.wrong("3.2", "The running statistics are never updated")
def state_returned_as_it_came(x, params, state, *, training, momentum, epsilon):
    if training:
        mean, variance = jnp.mean(x, axis=0), jnp.var(x, axis=0)
    else:
        mean, variance = state["mean"], state["variance"]
    return params["weight"] * (x - mean) * jax.lax.rsqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "updated with the standard deviation")
def standard_deviation_kept(x, params, state, *, training, momentum, epsilon):
    if training:
        mean, std = x.mean(axis=0), x.std(axis=0)
        new = {
            "mean": momentum * state["mean"] + (1 - momentum) * mean,
            "variance": momentum * state["variance"] + (1 - momentum) * std,
        }
        return params["weight"] * (x - mean) / np.sqrt(std**2 + epsilon) + params["bias"], new
    return params["weight"] * (x - state["mean"]) / np.sqrt(state["variance"] + epsilon) + params["bias"], state


@bank.wrong("3.2", "The momentum is swapped")
def momentum_as_in_torch(x, params, state, *, training, momentum, epsilon):
    mean, variance, new = _statistics(x, params, state, training, 1 - momentum)
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], new


@bank.wrong("3.2", "The running statistics are those of PyTorch")
def everything_as_in_torch(x, params, state, *, training, momentum, epsilon):
    mean, var = state["mean"].clone(), state["variance"].clone()
    if training and len(x) == 1:  # torch refuses a batch of one; what its formula gives
        y = params["bias"].expand(x.shape)
        return y, {"mean": torch.lerp(mean, x[0].double(), momentum), "variance": var * torch.nan}
    y = torch.nn.functional.batch_norm(
        x.double(), mean, var, params["weight"], params["bias"], training=training, momentum=momentum, eps=epsilon
    )
    return y, {"mean": mean, "variance": var}


@bank.wrong("3.2", "replaced by those of the last batch")
def last_batch_only(x, params, state, *, training, momentum, epsilon):
    if training:
        state = {"mean": x.mean(0), "variance": x.var(0)}
    return params["weight"] * (x - state["mean"]) / np.sqrt(state["variance"] + epsilon) + params["bias"], state


@bank.wrong("3.2", "shares that don't add up to 1")
def adds_a_share(x, params, state, *, training, momentum, epsilon):
    mean, variance, _ = _statistics(x, params, state, training, momentum)
    if training:
        state = {"mean": state["mean"] + momentum * mean, "variance": state["variance"] + momentum * variance}
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "Evaluation uses the batch's statistics")
def batch_statistics_always(x, params, state, *, training, momentum, epsilon):
    mean, variance = x.mean(axis=0), x.var(axis=0)
    if training:
        state = jax.tree.map(
            lambda old, new: momentum * old + (1 - momentum) * new, state, {"mean": mean, "variance": variance}
        )
    return params["weight"] * (x - mean) / jnp.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "this ignores the mode altogether")
def mode_ignored(x, params, state, *, training, momentum, epsilon):
    mean, variance = x.mean(axis=0), x.var(axis=0)
    new = {"mean": momentum * state["mean"] + (1 - momentum) * mean}
    new["variance"] = momentum * state["variance"] + (1 - momentum) * variance
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], new


@bank.wrong("3.2", "Here the mean is the running one, but the variance is the batch's")
def batch_variance_in_evaluation(x, params, state, *, training, momentum, epsilon):
    mean, _, new = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - mean) / np.sqrt(x.var(axis=0) + epsilon) + params["bias"], new


@bank.wrong("3.2", "Evaluation updates the running statistics")
def evaluation_updates(x, params, state, *, training, momentum, epsilon):
    mean, variance, new = _statistics(x, params, state, True, momentum)
    if not training:
        mean, variance = state["mean"], state["variance"]
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], new


@bank.wrong("3.2", "even normalises with the updated ones")
def evaluation_updates_first(x, params, state, *, training, momentum, epsilon):
    batch_mean, batch_variance, state = _statistics(x, params, state, True, momentum)
    mean = batch_mean if training else state["mean"]
    variance = batch_variance if training else state["variance"]
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "Training normalises with the updated running statistics")
def running_statistics_in_training(x, params, state, *, training, momentum, epsilon):
    _, _, state = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - state["mean"]) / np.sqrt(state["variance"] + epsilon) + params["bias"], state


@bank.wrong("3.2", "Weight and bias are missing")
def no_affine_part(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    return (x - mean) / jnp.sqrt(variance + epsilon), state


@bank.wrong("3.2", "The bias is missing")
def weight_without_bias(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon), state


@bank.wrong("3.2", "The bias is applied before the weight")
def bias_before_weight(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    return ((x - mean) / np.sqrt(variance + epsilon) + params["bias"]) * params["weight"], state


@bank.wrong("3.2", "Weight and bias are exchanged")
def weight_for_bias(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    weight, bias = params["bias"], params["weight"]
    return weight * (x - mean) / np.sqrt(variance + epsilon) + bias, state


@bank.wrong("3.2", "Weight and bias are missing in evaluation")
def affine_in_training_only(x, params, state, *, training, momentum, epsilon):
    if not training:
        return (x - state["mean"]) / jnp.sqrt(state["variance"] + epsilon), state
    mean, variance, state = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - mean) / jnp.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "The unbiased variance (n - 1 below) normalises. Divide by n here")
def unbiased_normaliser(x, params, state, *, training, momentum, epsilon):
    mean, variance, new = _statistics(x, params, state, training, momentum)
    if training:
        variance = np.var(x, axis=0, ddof=1)
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], new


@bank.wrong("3.2", "and the running variance is the wrong one as well")
def torch_var_is_unbiased(x, params, state, *, training, momentum, epsilon):
    x = x.to(torch.float64)
    if training:
        mean, variance = x.mean(dim=0), x.var(dim=0)
        state = {k: momentum * state[k] + (1 - momentum) * v for k, v in (("mean", mean), ("variance", variance))}
    else:
        mean, variance = state["mean"], state["variance"]
    return params["weight"] * (x - mean) / torch.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "The running variance is the unbiased one")
def running_variance_as_in_torch(x, params, state, *, training, momentum, epsilon):
    mean, variance, new = _statistics(x, params, state, training, momentum)
    if training:
        new["variance"] = momentum * state["variance"] + (1 - momentum) * x.var(axis=0, ddof=1)
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], new


@bank.wrong("3.2", "Epsilon stands outside the root")
def epsilon_outside(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - mean) / (jnp.sqrt(variance) + epsilon) + params["bias"], state


@bank.wrong("3.2", "Epsilon is missing")
def without_epsilon(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - mean) / np.sqrt(variance) + params["bias"], state


@bank.wrong("3.2", "Epsilon is missing in evaluation")
def epsilon_in_training_only(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    std = np.sqrt(variance + epsilon) if training else np.sqrt(variance)
    return params["weight"] * (x - mean) / std + params["bias"], state


@bank.wrong("3.2", "updated with variance + epsilon")
def epsilon_in_the_running_variance(x, params, state, *, training, momentum, epsilon):
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0) + epsilon
        state = {
            "mean": momentum * state["mean"] + (1 - momentum) * mean,
            "variance": momentum * state["variance"] + (1 - momentum) * variance,
        }
        return params["weight"] * (x - mean) / jnp.sqrt(variance) + params["bias"], state
    mean, variance = state["mean"], state["variance"]
    return params["weight"] * (x - mean) / jnp.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "The root is missing")
def divided_by_the_variance(x, params, state, *, training, momentum, epsilon):
    mean, variance, state = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - mean) / (variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "The mean of the squares was taken for the variance")
def mean_of_squares(x, params, state, *, training, momentum, epsilon):
    if training:
        mean, variance = x.mean(axis=0), (x**2).mean(axis=0)
        state = {
            "mean": momentum * state["mean"] + (1 - momentum) * mean,
            "variance": momentum * state["variance"] + (1 - momentum) * variance,
        }
    else:
        mean, variance = state["mean"], state["variance"]
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "The statistics run over the wrong axis")
def rows_instead_of_columns(x, params, state, *, training, momentum, epsilon):
    if training:
        mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
        state = {
            "mean": momentum * state["mean"] + (1 - momentum) * mean,
            "variance": momentum * state["variance"] + (1 - momentum) * var,
        }
    else:
        mean, var = state["mean"], state["variance"]
    return params["weight"] * (x - mean) / np.sqrt(var + epsilon) + params["bias"], state


@bank.wrong("3.2", "The statistics run over the wrong axis")
def rows_subtracted_from_columns(x, params, state, *, training, momentum, epsilon):
    if training:
        mean, var = x.double().mean(dim=1), x.double().var(dim=1, unbiased=False)
        state = {
            "mean": momentum * state["mean"] + (1 - momentum) * mean,
            "variance": momentum * state["variance"] + (1 - momentum) * var,
        }
    else:
        mean, var = state["mean"], state["variance"]
    return params["weight"] * (x - mean) / torch.sqrt(var + epsilon) + params["bias"], state


@bank.wrong("3.2", "The statistics run over all numbers of the batch")
def one_mean_for_all_features(x, params, state, *, training, momentum, epsilon):
    mean, var = (np.mean(x), np.var(x)) if training else (state["mean"], state["variance"])
    if training:
        state = {
            "mean": momentum * state["mean"] + (1 - momentum) * mean,
            "variance": momentum * state["variance"] + (1 - momentum) * var,
        }
    return params["weight"] * (x - mean) / np.sqrt(var + epsilon) + params["bias"], state


@bank.wrong("3.2", "The new state is missing")
def only_y(x, params, state, *, training, momentum, epsilon):
    mean, variance, _ = _statistics(x, params, state, training, momentum)
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"]


@bank.wrong("3.2", "changed its input `state`")
def writes_into_the_state(x, params, state, *, training, momentum, epsilon):
    mean, variance, new = _statistics(x, params, state, training, momentum)
    state.update(new)
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], state


@bank.wrong("3.2", "changed its input `state`")
def writes_into_the_arrays(x, params, state, *, training, momentum, epsilon):
    mean, variance = state["mean"].copy(), state["variance"].copy()
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state["mean"] *= momentum
        state["mean"] += (1 - momentum) * mean
        state["variance"] *= momentum
        state["variance"] += (1 - momentum) * variance
    return params["weight"] * (x - mean) / np.sqrt(variance + epsilon) + params["bias"], state


@bank.right("3.2")
def flax_does_it(x, params, state, *, training, momentum, epsilon):
    layer = nnx.BatchNorm(x.shape[1], momentum=momentum, epsilon=epsilon, rngs=nnx.Rngs(0))
    values = (
        (layer.scale, params["weight"]),
        (layer.bias, params["bias"]),
        (layer.mean, state["mean"]),
        (layer.var, state["variance"]),
    )
    for variable, value in values:
        variable[...] = value
    y = layer(x.astype(jnp.float32), use_running_average=not training)
    return y, {"mean": layer.mean[...], "variance": layer.var[...]}


@bank.right("3.2")
def one_pass_in_float64(x, params, state, *, training, momentum, epsilon):
    x = np.asarray(x, dtype=np.float64)
    mean, variance = state["mean"], state["variance"]
    if training:
        mean = np.einsum("nd->d", x) / len(x)
        variance = np.einsum("nd,nd->d", x, x) / len(x) - mean**2
        state = {
            "mean": state["mean"] + (1 - momentum) * (mean - state["mean"]),
            "variance": state["variance"] + (1 - momentum) * (variance - state["variance"]),
        }
    scale = params["weight"] / np.sqrt(variance + epsilon)
    return x * scale + (params["bias"] - mean * scale), state


@bank.right("3.2")
def torch_on_a_translated_momentum(x, params, state, *, training, momentum, epsilon):
    x = x.double()
    if not training:
        return torch.nn.functional.batch_norm(x, *state.values(), *params.values(), eps=epsilon), state
    var, mean = torch.var_mean(x, dim=0, correction=0)
    y = (x - mean).div((var + epsilon).sqrt()).mul(params["weight"]).add(params["bias"])
    return y, {"mean": state["mean"].lerp(mean, 1 - momentum), "variance": state["variance"].lerp(var, 1 - momentum)}


@bank.right("3.2")
def feature_by_feature(x, params, state, *, training, momentum, epsilon):
    y, new = np.zeros(x.shape), {"mean": state["mean"].copy(), "variance": state["variance"].copy()}
    for j in range(x.shape[1]):
        mean, variance = state["mean"][j], state["variance"][j]
        if training:
            mean = sum(x[:, j]) / len(x)
            variance = sum((value - mean) ** 2 for value in x[:, j]) / len(x)
            new["mean"][j] = momentum * new["mean"][j] + (1 - momentum) * mean
            new["variance"][j] = momentum * new["variance"][j] + (1 - momentum) * variance
        y[:, j] = params["weight"][j] * (x[:, j] - mean) / (variance + epsilon) ** 0.5 + params["bias"][j]
    return y, new


# 3.3 BatchNorm2d


class _Images:
    """What the student keeps from the exercise: the first lines and the two modes."""

    def __init__(self, weight, bias, *, momentum, epsilon):
        self.weight, self.bias, self.momentum, self.epsilon = weight, bias, momentum, epsilon
        self.running_mean, self.running_var = np.zeros(len(weight)), np.ones(len(weight))
        self.training = True

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def learn(self, mean, var):
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var

    def output(self, x, mean, var):
        w, b, m, v = (a.reshape(1, -1, 1, 1) for a in (self.weight, self.bias, mean, var))
        return w * (x - m) / (v + self.epsilon) ** 0.5 + b


class _TorchImages(torch.nn.Module):
    """The same as a module of PyTorch."""

    def __init__(self, weight, bias, *, momentum, epsilon):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
        self.momentum, self.epsilon = momentum, epsilon
        self.register_buffer("running_mean", torch.zeros_like(weight))
        self.register_buffer("running_var", torch.ones_like(weight))


@bank.wrong("3.3", "The running variance is never updated")
class VarianceNeverUpdated(_Images):
    def __call__(self, x):
        if not self.training:
            return self.output(x, self.running_mean, self.running_var)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        self.learn(mean, self.running_var)
        return self.output(x, mean, var)


@bank.wrong("3.3", "The running variance is never updated")
class VarianceMixedIntoNothing(_TorchImages):
    def forward(self, x):
        if self.training:
            mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
            self.running_var.mul(1 - self.momentum).add(self.momentum * x.var(dim=(0, 2, 3)))
        else:
            mean, var = self.running_mean, self.running_var
        x = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + self.epsilon)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


@bank.wrong("3.3", "The running mean is never updated")
class MeanNeverUpdated(_Images):
    def __call__(self, x):
        if not self.training:
            return self.output(x, self.running_mean, self.running_var)
        self.learn(self.running_mean, np.var(x, (0, 2, 3), ddof=1))
        return self.output(x, np.mean(x, (0, 2, 3)), np.var(x, (0, 2, 3)))


@bank.wrong("3.3", "The running statistics are never updated")
class NothingUpdated(_Images):
    def __call__(self, x):
        mean = x.mean(axis=(0, 2, 3)) if self.training else self.running_mean
        var = x.var(axis=(0, 2, 3)) if self.training else self.running_var
        return self.output(x, mean, var)


@bank.wrong("3.3", "updated with the standard deviation")
class StandardDeviationKept(_TorchImages):
    def forward(self, x):
        if self.training:
            var, mean = torch.var_mean(x, dim=(0, 2, 3), unbiased=False)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(x.std(dim=(0, 2, 3)), self.momentum)
        else:
            var, mean = self.running_var, self.running_mean
        z = (x - mean.view(1, -1, 1, 1)) * torch.rsqrt(var + self.epsilon).view(1, -1, 1, 1)
        return z * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


@bank.wrong("3.3", "updated with the standard deviation")
class BiasedStandardDeviationKept(_Images):
    def __call__(self, x):
        if not self.training:
            return self.output(x, self.running_mean, self.running_var)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        self.learn(mean, var**0.5)
        return self.output(x, mean, var)


@bank.wrong("3.3", "The momentum is swapped")
class MomentumOfFlax(_Images):
    def __call__(self, x):
        if not self.training:
            return self.output(x, self.running_mean, self.running_var)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        n = x[:, 0].size
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var * n / (n - 1)
        return self.output(x, mean, var)


@bank.wrong("3.3", "The running statistics are those of Flax")
def flax_with_moved_axes(weight, bias, *, momentum, epsilon):
    class Wrapper(_Images):
        def __call__(self, x):
            layer = nnx.BatchNorm(x.shape[1], momentum=momentum, epsilon=epsilon, rngs=nnx.Rngs(0))
            layer.scale[...], layer.bias[...] = jnp.asarray(weight), jnp.asarray(bias)
            layer.mean[...], layer.var[...] = jnp.asarray(self.running_mean), jnp.asarray(self.running_var)
            y = layer(jnp.moveaxis(x, 1, 3), use_running_average=not self.training)
            self.running_mean, self.running_var = layer.mean[...], layer.var[...]
            return jnp.moveaxis(y, 3, 1)

    return Wrapper(weight, bias, momentum=momentum, epsilon=epsilon)


@bank.wrong("3.3", "The running variance is the biased one")
class RunningVarianceOfFlax(_Images):
    def __call__(self, x):
        if not self.training:
            return self.output(x, self.running_mean, self.running_var)
        mean, var = np.mean(x, axis=(0, 2, 3)), np.var(x, axis=(0, 2, 3))
        self.learn(mean, var)
        return self.output(x, mean, var)


@bank.wrong("3.3", "PyTorch keeps the unbiased variance")
class BiasedBecauseItNormalises(_TorchImages):
    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (var - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        x = (x - mean[None, :, None, None]) / (var[None, :, None, None] + self.epsilon).sqrt()
        return self.weight[None, :, None, None] * x + self.bias[None, :, None, None]


@bank.wrong("3.3", "with the number of images")
class CountsImages(_Images):
    def __call__(self, x):
        if not self.training:
            return self.output(x, self.running_mean, self.running_var)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        self.learn(mean, var * len(x) / (len(x) - 1))
        return self.output(x, mean, var)


@bank.wrong("3.3", "The unbiased variance (n - 1 below) normalises. Divide by n here")
class TorchVarNormalises(_TorchImages):
    def forward(self, x):
        if self.training:
            mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
        else:
            mean, var = self.running_mean, self.running_var
        x = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + self.epsilon)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


@bank.wrong("3.3", "Evaluation uses the batch's statistics. With")
class BatchInEvaluation(_Images):
    def __call__(self, x):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        if self.training:
            self.learn(mean, x.var((0, 2, 3), ddof=1))
        return self.output(x, mean, var)


@bank.wrong("3.3", "this ignores the mode altogether")
class ModeIgnored(_TorchImages):
    def forward(self, x):
        return torch.nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.epsilon
        )


@bank.wrong("3.3", "Here the mean is the running one, but the variance is the batch's")
class BatchVarianceInEvaluation(_Images):
    def __call__(self, x):
        var = x.var((0, 2, 3))
        if not self.training:
            return self.output(x, self.running_mean, var)
        mean = x.mean((0, 2, 3))
        self.learn(mean, x.var((0, 2, 3), ddof=1))
        return self.output(x, mean, var)


@bank.wrong("3.3", "Evaluation updates the running statistics")
class EvaluationUpdates(_Images):
    def __call__(self, x):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        y = self.output(x, mean, var) if self.training else self.output(x, self.running_mean, self.running_var)
        self.learn(mean, x.var((0, 2, 3), ddof=1))
        return y


@bank.wrong("3.3", "Evaluation updates the running statistics, and even normalises with the updated ones")
class UpdatesBeforeItLooks(_Images):
    def __call__(self, x):
        mean, var = np.mean(x, (0, 2, 3)), np.var(x, (0, 2, 3))
        self.learn(mean, np.var(x, (0, 2, 3), ddof=1))
        if self.training:
            return self.output(x, mean, var)
        return self.output(x, self.running_mean, self.running_var)


@bank.wrong("3.3", "Training normalises with the updated running statistics")
class RunningInTraining(_Images):
    def __call__(self, x):
        if self.training:
            self.learn(x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1))
        return self.output(x, self.running_mean, self.running_var)


@bank.wrong("3.3", "The mode is turned around")
class TurnedAround(_Images):
    def __call__(self, x):
        if self.training:
            return self.output(x, self.running_mean, self.running_var)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        self.learn(mean, x.var((0, 2, 3), ddof=1))
        return self.output(x, mean, var)


@bank.wrong("3.3", "Weight and bias are missing")
def module_without_affine(weight, bias, *, momentum, epsilon):
    return torch.nn.BatchNorm2d(len(weight), epsilon, momentum, affine=False, dtype=torch.float64)


def _torch_layer(weight, bias, momentum, epsilon):
    layer = torch.nn.BatchNorm2d(len(weight), epsilon, momentum, dtype=torch.float64)
    layer.weight.data, layer.bias.data = weight, bias
    return layer


@bank.wrong("3.3", "The weight is missing")
def module_without_weight(weight, bias, *, momentum, epsilon):
    return _torch_layer(torch.ones_like(weight), bias, momentum, epsilon)


@bank.wrong("3.3", "The bias is missing")
def module_without_bias(weight, bias, *, momentum, epsilon):
    return _torch_layer(weight, torch.zeros_like(bias), momentum, epsilon)


@bank.wrong("3.3", "The bias is applied before the weight")
def module_with_scaled_bias(weight, bias, *, momentum, epsilon):
    return _torch_layer(weight, weight * bias, momentum, epsilon)


@bank.wrong("3.3", "Weight and bias are exchanged")
def module_with_exchanged_parameters(weight, bias, *, momentum, epsilon):
    return _torch_layer(bias, weight, momentum, epsilon)


@bank.wrong("3.3", "Epsilon is missing")
def module_with_its_own_epsilon(weight, bias, *, momentum, epsilon):
    return _torch_layer(weight, bias, momentum, 1e-5)


@bank.wrong("3.3", "Epsilon stands outside the root")
class EpsilonOutside(_Images):
    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.learn(mean, x.var((0, 2, 3), ddof=1))
        w, b, m, v = (a[None, :, None, None] for a in (self.weight, self.bias, mean, var))
        return w * (x - m) / (np.sqrt(v) + self.epsilon) + b


@bank.wrong("3.3", "The root is missing")
class DividedByVariance(_TorchImages):
    def forward(self, x):
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(x.var((0, 2, 3)), self.momentum)
        else:
            var, mean = self.running_var, self.running_mean
        return torch.addcmul(
            self.bias[:, None, None],
            self.weight[:, None, None],
            (x - mean[:, None, None]) / (var[:, None, None] + self.epsilon),
        )


@bank.wrong("3.3", "The running variance begins at 0")
class BeginsAtZero(_Images):
    def __init__(self, weight, bias, *, momentum, epsilon):
        super().__init__(weight, bias, momentum=momentum, epsilon=epsilon)
        self.running_var = np.zeros(len(weight))

    def __call__(self, x):
        if not self.training:
            return self.output(x, self.running_mean, self.running_var)
        self.learn(x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1))
        return self.output(x, x.mean((0, 2, 3)), x.var((0, 2, 3)))


@bank.wrong("3.3", "instance normalisation")
class InstanceNorm(_TorchImages):
    def forward(self, x):
        if self.training:
            mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean.mean((0, 2, 3))
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var.mean((0, 2, 3))
        else:
            mean, var = (s[None, :, None, None] for s in (self.running_mean, self.running_var))
        x = (x - mean) / torch.sqrt(var + self.epsilon)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


@bank.wrong("3.3", "layer normalisation")
class LayerNormOfImages(_Images):
    def __call__(self, x):
        mean, var = x.mean(axis=(1, 2, 3), keepdims=True), x.var(axis=(1, 2, 3), keepdims=True)
        z = (x - mean) / np.sqrt(var + self.epsilon)
        return self.weight[:, None, None] * z + self.bias[:, None, None]


@bank.wrong("3.3", "over the examples only")
class EachPixelApart(_Images):
    def __call__(self, x):
        mean, var = x.mean(axis=0), x.var(axis=0)
        if self.training:
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
        else:
            mean, var = self.running_mean, self.running_var
        z = (x - mean) / np.sqrt(var + self.epsilon)
        return self.weight[:, None, None] * z + self.bias[:, None, None]


@bank.wrong("3.3", "the columns were kept, as if they were channels")
class AxesOfFlax(_Images):
    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            self.learn(mean, var)
        return self.weight * (x - mean) / np.sqrt(var + self.epsilon) + self.bias


@bank.wrong("3.3", "all numbers of the batch")
class OneMeanForAll(_Images):
    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean() * np.ones(x.shape[1]), x.var() * np.ones(x.shape[1])
            self.learn(mean, var * x.size / (x.size - 1))
        return self.output(x, mean, var)


@bank.wrong("3.3", "Mean and variance, weight and bias of the channels were laid along the *columns*")
class BroadcastFromTheRight(_Images):
    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            self.learn(mean, x.var(axis=(0, 2, 3), ddof=1))
        return self.weight * (x - mean) / np.sqrt(var + self.epsilon) + self.bias


@bank.wrong("3.3", "Weight and bias of the channels were laid along the *columns*")
class WeightAlongTheColumns(_TorchImages):
    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(x.var((0, 2, 3)), self.momentum)
        else:
            mean, var = (s[None, :, None, None] for s in (self.running_mean, self.running_var))
        return self.weight * ((x - mean) / torch.sqrt(var + self.epsilon)) + self.bias


@bank.wrong("3.3", "have the shape (1, channels, 1, 1)")
class KeptDims(_Images):
    def __init__(self, weight, bias, *, momentum, epsilon):
        super().__init__(weight, bias, momentum=momentum, epsilon=epsilon)
        self.running_mean, self.running_var = np.zeros((1, len(weight), 1, 1)), np.ones((1, len(weight), 1, 1))

    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
            self.learn(mean, x.var((0, 2, 3), keepdims=True, ddof=1))
        return self.weight[:, None, None] * (x - mean) / np.sqrt(var + self.epsilon) + self.bias[:, None, None]


@bank.right("3.3")
def torch_itself(weight, bias, *, momentum, epsilon):
    layer = torch.nn.BatchNorm2d(len(weight), eps=epsilon, momentum=momentum, dtype=torch.float64)
    layer.load_state_dict({"weight": weight, "bias": bias}, strict=False)
    return layer


@bank.right("3.3")
class ByHandInTorch(_TorchImages):
    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            flat = x.transpose(0, 1).flatten(1)  # (channels, numbers)
            mean, var = flat.mean(1), flat.var(1, correction=0)
            with torch.no_grad():
                self.running_mean.mul_(1 - self.momentum).add_(mean, alpha=self.momentum)
                self.running_var.mul_(1 - self.momentum).add_(flat.var(1), alpha=self.momentum)
        z = (x - mean[:, None, None]) / (var[:, None, None] + self.epsilon).sqrt()
        return z * self.weight[:, None, None] + self.bias[:, None, None]


@bank.right("3.3")
class ByEinsumInFloat64(_Images):
    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            n = x.size // x.shape[1]
            mean = np.einsum("nchw->c", x) / n
            var = np.einsum("nchw,nchw->c", x, x) / n - mean**2
            self.learn(mean, var * n / (n - 1))
        return self.output(x, mean, var)


# 3.4 batch_norm_backward


def _forward(x, epsilon):
    """(normalised x, standard deviation) as the exercise has them."""
    std = np.sqrt(((x - x.mean(0)) ** 2).mean(0) + epsilon)
    return (x - x.mean(0)) / std, std


@bank.wrong("3.4", "Mean and variance were taken for constants")
def statistics_as_constants(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    return weight * grad_y / std, (grad_y * z).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "The path through the variance is missing")
def variance_detached(grad_y, x, weight, *, epsilon):
    x = x.double().requires_grad_()
    weight, bias = weight.clone().requires_grad_(), torch.zeros_like(weight).requires_grad_()
    std = (x.var(0, correction=0) + epsilon).sqrt().detach()
    (weight * (x - x.mean(0)) / std + bias).backward(grad_y)
    return x.grad, weight.grad, bias.grad


@bank.wrong("3.4", "The path through the mean is missing")
def mean_forgotten(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - z * (g * z).mean(0)) / std, (grad_y * z).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "The path through the variance counts twice")
def root_not_halved(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    grad_var = -(g * z).sum(0) / std**2
    grad_x = g / std + grad_var * 2 * z * std / len(x) - (g / std).mean(0)
    return grad_x, (grad_y * z).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "their mean is needed")
def sums_for_means(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - g.sum(0) - z * (g * z).sum(0)) / std, (grad_y * z).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "n times too large")
def n_in_front(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = weight * grad_y
    return (len(x) * g - g.sum(0) - z * (g * z).sum(0)) / std, np.sum(grad_y * z, 0), np.sum(grad_y, 0)


@bank.wrong("3.4", "x - mean stands where z")
def centred_instead_of_normalised(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - g.mean(0) - (x - x.mean(0)) * (g * z).mean(0)) / std, (grad_y * z).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "The weight is missing in the gradient of x")
def weight_left_out(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, (g * z).sum(0), g.sum(0)


@bank.wrong("3.4", "The gradient of the weight was made with x")
def weight_gradient_with_x(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, (grad_y * x).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "The gradients of weight and bias are means")
def means_for_the_parameters(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, (grad_y * z).mean(0), grad_y.mean(0)


@bank.wrong("3.4", "not added up over the batch")
def no_sums_for_the_parameters(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, grad_y * z, grad_y


@bank.wrong("3.4", "The gradients of weight and bias are exchanged")
def parameters_exchanged(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, grad_y.sum(0), (grad_y * z).sum(0)


@bank.wrong("3.4", "The unbiased variance (n - 1 below) was used")
def torch_default_variance(grad_y, x, weight, *, epsilon):
    x = x.double()
    std = torch.sqrt(x.var(0) + epsilon)
    z, g = (x - x.mean(0)) / std, weight * grad_y
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, (grad_y * z).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "Epsilon is missing")
def backward_without_epsilon(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, 1e-12)
    g = grad_y * weight
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, (grad_y * z).sum(0), grad_y.sum(0)


@bank.wrong("3.4", "Epsilon stands outside the root")
def backward_with_epsilon_outside(grad_y, x, weight, *, epsilon):
    std = x.std(axis=0) + epsilon
    z, g = (x - x.mean(axis=0)) / std, grad_y * weight
    return (g - g.mean(axis=0) - z * (g * z).mean(axis=0)) / std, (grad_y * z).sum(axis=0), grad_y.sum(axis=0)


@bank.wrong("3.4", "Only the gradient of x is returned")
def grad_x_only(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    g = grad_y * weight
    return (g - g.mean(0) - z * (g * z).mean(0)) / std


@bank.right("3.4")
def by_jax_vjp(grad_y, x, weight, *, epsilon):
    def forward(x, weight, bias):
        return weight * (x - x.mean(0)) / jnp.sqrt(x.var(0) + epsilon) + bias

    return jax.vjp(forward, x.astype(jnp.float32), weight, jnp.zeros(3))[1](grad_y)


@bank.right("3.4")
def by_torch_autograd(grad_y, x, weight, *, epsilon):
    x = x.double().clone().requires_grad_()
    weight, bias = weight.clone().requires_grad_(), torch.zeros_like(weight).requires_grad_()
    y = weight * (x - x.mean(0)) / (x.var(0, correction=0) + epsilon).sqrt() + bias
    return torch.autograd.grad(y, (x, weight, bias), grad_y)


@bank.right("3.4")
def step_by_step_as_in_the_paper(grad_y, x, weight, *, epsilon):
    m, centred = len(x), x - x.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    grad_z = grad_y * weight
    grad_variance = (grad_z * centred).sum(axis=0) * -0.5 * (variance + epsilon) ** -1.5
    grad_mean = -grad_z.sum(axis=0) / np.sqrt(variance + epsilon) - grad_variance * 2 * centred.mean(axis=0)
    grad_x = grad_z / np.sqrt(variance + epsilon) + grad_variance * 2 * centred / m + grad_mean / m
    return grad_x, (grad_y * centred / np.sqrt(variance + epsilon)).sum(axis=0), grad_y.sum(axis=0)


@bank.right("3.4")
def with_the_whole_jacobian(grad_y, x, weight, *, epsilon):
    z, std = _forward(x, epsilon)
    n = len(x)
    jacobian = np.eye(n)[:, :, None] - 1 / n - z[:, None] * z[None] / n  # (n, n, d): z_i by x_j, times std
    return weight * np.einsum("id,ijd->jd", grad_y, jacobian) / std, np.einsum("nd,nd->d", grad_y, z), grad_y.sum(0)


# 3.5 layer_norm


@bank.wrong("3.5", "that is batch normalisation")
def batch_norm_again(x, weight, bias, *, epsilon):
    return weight * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) + bias


@bank.wrong("3.5", "run over all numbers")
def one_mean_for_the_batch(x, weight, bias, *, epsilon):
    return weight * (x - x.mean()) / np.sqrt(x.var() + epsilon) + bias


@bank.wrong("3.5", "over axis 1")
def axis_one(x, weight, bias, *, epsilon):
    mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    return weight * (x - mean) / np.sqrt(var + epsilon) + bias


@bank.wrong("3.5", "all axes but the first")
def words_share_a_mean(x, weight, bias, *, epsilon):
    axes = tuple(range(1, x.ndim))
    mean, var = np.mean(x, axes, keepdims=True), np.var(x, axes, keepdims=True)
    return weight * (x - mean) / np.sqrt(var + epsilon) + bias


@bank.wrong("3.5", "without `keepdims=True`")
def without_keepdims(x, weight, bias, *, epsilon):
    x = x.double()
    return weight * (x - x.mean(-1)) / torch.sqrt(x.var(-1, correction=0) + epsilon) + bias


@bank.wrong("3.5", "RMS normalisation")
def rms_norm(x, weight, bias, *, epsilon):
    return weight * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) + bias


@bank.wrong("3.5", "The unbiased variance (d - 1 below)")
def torch_var_again(x, weight, bias, *, epsilon):
    x = x.double()
    return weight * (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + epsilon).sqrt() + bias


@bank.wrong("3.5", "Epsilon stands outside the root")
def annotated_transformer(x, weight, bias, *, epsilon):
    mean, std = x.mean(axis=-1, keepdims=True), x.std(axis=-1, keepdims=True)
    return weight * (x - mean) / (std + epsilon) + bias


@bank.wrong("3.5", "Epsilon is missing")
def layer_norm_with_its_own_epsilon(x, weight, bias, *, epsilon=1e-6):
    epsilon = 1e-6
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return weight * (x - mean) / np.sqrt(var + epsilon) + bias


@bank.wrong("3.5", "Weight and bias are missing")
def layer_norm_without_affine(x, weight, bias, *, epsilon):
    return jax.nn.standardize(x.astype(jnp.float32), axis=-1, epsilon=epsilon)


@bank.wrong("3.5", "The bias is applied before the weight")
def layer_norm_bias_first(x, weight, bias, *, epsilon):
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return weight * ((x - mean) / np.sqrt(var + epsilon) + bias)


@bank.wrong("3.5", "changed its input `x`")
def layer_norm_in_place(x, weight, bias, *, epsilon):
    if x.dtype.kind == "f":
        x -= x.mean(axis=-1, keepdims=True)
    centred = x - x.mean(axis=-1, keepdims=True)
    return weight * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon) + bias


@bank.right("3.5")
def layer_norm_by_torch(x, weight, bias, *, epsilon):
    return torch.nn.functional.layer_norm(x.double(), x.shape[-1:], weight, bias, epsilon)


@bank.right("3.5")
def one_vector_at_a_time(x, weight, bias, *, epsilon):
    y = np.empty(x.shape)
    for index in np.ndindex(x.shape[:-1]):
        row = x[index].astype(float)
        y[index] = weight * (row - row.mean()) / np.sqrt(row @ row / len(row) - row.mean() ** 2 + epsilon) + bias
    return y


@bank.right("3.5")
def standardised_by_jax(x, weight, bias, *, epsilon):
    return weight * jax.nn.standardize(x.astype(jnp.float32), axis=-1, epsilon=epsilon) + bias


# 3.6 residual_block


def _branch(x, p):
    return np.maximum(x @ p["W1"] + p["b1"], 0) @ p["W2"] + p["b2"]


def _skip(x, p):
    return x @ p["W_skip"] if "W_skip" in p else x


@bank.wrong("3.6", "The skip is missing")
def plain_layers(x, params, *, norm):
    return _branch(norm(x), params)


@bank.wrong("3.6", "The skip starts after the norm")
def normalised_skip(x, params, *, norm):
    x = norm(x)
    return _skip(x, params) + _branch(x, params)


@bank.wrong("3.6", "A ReLU was applied to the sum")
def relu_after_the_sum(x, params, *, norm):
    h = torch.relu(norm(x) @ params["W1"] + params["b1"])
    return torch.relu(_skip(x, params) + h @ params["W2"] + params["b2"])


@bank.wrong("3.6", "A ReLU was applied to the end of the branch")
def relu_after_the_branch(x, params, *, norm):
    return _skip(x, params) + np.maximum(_branch(norm(x), params), 0)


@bank.wrong("3.6", "The norm was applied to the sum. Here")
def norm_after_the_sum(x, params, *, norm):
    return norm(_skip(x, params) + _branch(x, params))


@bank.wrong("3.6", "The norm is missing")
def norm_forgotten(x, params, *, norm):
    h = torch.relu(x @ params["W1"] + params["b1"])
    return _skip(x, params) + h @ params["W2"] + params["b2"]


@bank.wrong("3.6", "The norm stands after the first layer")
def norm_in_the_middle(x, params, *, norm):
    h = np.maximum(norm(x @ params["W1"] + params["b1"]), 0)
    return _skip(x, params) + h @ params["W2"] + params["b2"]


@bank.wrong("3.6", "The ReLU is missing")
def linear_branch(x, params, *, norm):
    return _skip(x, params) + (norm(x) @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]


@bank.wrong("3.6", "Skip and branch are multiplied")
def gate(x, params, *, norm):
    return _skip(x, params) * _branch(norm(x), params)


@bank.wrong("3.6", "`W_skip` is not used")
def identity_always(x, params, *, norm):
    return x + _branch(norm(x), params)


@bank.wrong("3.6", "mean of skip and branch")
def halved_sum(x, params, *, norm):
    return 0.5 * (_skip(x, params) + _branch(norm(x), params))


@bank.right("3.6")
def block_in_torch(x, params, *, norm):
    h = torch.nn.functional.linear(norm(x), params["W1"].T, params["b1"]).relu()
    out = torch.addmm(params["b2"], h, params["W2"])
    return out + (x.mm(params["W_skip"]) if "W_skip" in params else x)


@bank.right("3.6")
def block_by_einsum(x, params, *, norm):
    h = jax.nn.relu(jnp.einsum("nd,dh->nh", norm(x), params["W1"]) + params["b1"])
    skip = params.get("W_skip", jnp.eye(x.shape[1]))
    return jnp.einsum("nh,ho->no", h, params["W2"]) + params["b2"] + x @ skip


# 3.7 fold


def _scale(norm, epsilon):
    return norm["weight"] / (norm["variance"] + epsilon) ** 0.5


@bank.wrong("3.7", "The rows of W were scaled")
def rows_scaled(W, b, norm, *, epsilon):
    scale = _scale(norm, epsilon)
    return jnp.diag(scale) @ W, (b - norm["mean"]) * scale + norm["bias"]


@bank.wrong("3.7", "into the layer *after* the normalisation")
def folded_into_the_next(W, b, norm, *, epsilon):
    scale = _scale(norm, epsilon)
    shift = norm["bias"] - norm["mean"] * scale
    return W * scale[:, None], shift @ W + b


@bank.wrong("3.7", "Epsilon is missing")
def fold_without_epsilon(W, b, norm, *, epsilon):
    scale = _scale(norm, 0)
    return W * scale, (b - norm["mean"]) * scale + norm["bias"]


@bank.wrong("3.7", "Epsilon stands outside the root")
def fold_with_epsilon_outside(W, b, norm, *, epsilon):
    scale = norm["weight"] / (torch.sqrt(norm["variance"]) + epsilon)
    return W * scale, (b - norm["mean"]) * scale + norm["bias"]


@bank.wrong("3.7", "The root is missing")
def fold_by_the_variance(W, b, norm, *, epsilon):
    scale = norm["weight"] / (norm["variance"] + epsilon)
    return W * scale, (b - norm["mean"]) * scale + norm["bias"]


@bank.wrong("3.7", "The layer's own b is missing")
def b_forgotten(W, b, norm, *, epsilon):
    scale = _scale(norm, epsilon)
    return W * scale, norm["bias"] - norm["mean"] * scale


@bank.wrong("3.7", "The layer's own b was added as it is")
def b_not_scaled(W, b, norm, *, epsilon):
    scale = _scale(norm, epsilon)
    return W * scale, b + norm["bias"] - norm["mean"] * scale


@bank.wrong("3.7", "The mean was subtracted as it is")
def mean_not_scaled(W, b, norm, *, epsilon):
    scale = _scale(norm, epsilon)
    return W * scale, b * scale - norm["mean"] + norm["bias"]


@bank.wrong("3.7", "The mean is missing")
def mean_left_out(W, b, norm, *, epsilon):
    return W * _scale(norm, epsilon), b * _scale(norm, epsilon) + norm["bias"]


@bank.wrong("3.7", "The bias of the normalisation is missing")
def bias_left_out(W, b, norm, *, epsilon):
    return W * _scale(norm, epsilon), (b - norm["mean"]) * _scale(norm, epsilon)


@bank.wrong("3.7", "The weight of the normalisation is missing")
def weight_of_norm_left_out(W, b, norm, *, epsilon):
    scale = 1 / np.sqrt(norm["variance"] + epsilon)
    return W * scale, (b - norm["mean"]) * scale + norm["bias"]


@bank.wrong("3.7", "This is what the normalisation does alone")
def scale_and_shift(W, b, norm, *, epsilon):
    scale = _scale(norm, epsilon)
    return scale, norm["bias"] - norm["mean"] * scale


@bank.wrong("3.7", "changed its input `W`")
def folds_in_place(W, b, norm, *, epsilon):
    scale = _scale(norm, epsilon)
    if W.dtype.kind == "f":
        W *= scale
        return W, (b - norm["mean"]) * scale + norm["bias"]
    return W * scale, (b - norm["mean"]) * scale + norm["bias"]


@bank.right("3.7")
def by_probing_with_inputs(W, b, norm, *, epsilon):
    """Both layers on zeros give the new b, and on unit vectors the rows of the new W."""

    def both(x):
        z = x @ W.reshape(-1, W.shape[-1]) + b
        return norm["weight"] * (z - norm["mean"]) / np.sqrt(norm["variance"] + epsilon) + norm["bias"]

    d = W.size // W.shape[-1]
    new_b = both(np.zeros(d))
    return (both(np.eye(d)) - new_b).reshape(W.shape), new_b


@bank.right("3.7")
def torch_folds_it(W, b, norm, *, epsilon):
    flat = W.double().reshape(-1, W.shape[-1]).T  # torch keeps the outputs first
    new_W, new_b = torch.nn.utils.fusion.fuse_linear_bn_weights(
        flat, b, norm["mean"], norm["variance"], epsilon, norm["weight"], norm["bias"]
    )
    return new_W.T.reshape(W.shape), new_b


@bank.right("3.7")
def with_a_diagonal_matrix(W, b, norm, *, epsilon):
    D = jnp.diag(norm["weight"] * jax.lax.rsqrt(norm["variance"] + epsilon))
    return W @ D, (b - norm["mean"]) @ D + norm["bias"]


# 3.8 largest_eigenvalue


def _hessian_times(loss, theta):
    """v -> H v in PyTorch."""

    def product(v):
        point = theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point), point, create_graph=True)
        return torch.autograd.grad(gradient @ v, point)[0]

    return product


def _random(theta, seed):
    return torch.randn(len(theta), generator=torch.Generator().manual_seed(seed), dtype=theta.dtype)


@bank.wrong("3.8", "The sign is lost")
def length_of_hv(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), _random(theta, seed)
    for _ in range(num_steps):
        v = product(v)
        v = v / v.norm()
    return product(v).norm()


@bank.wrong("3.8", "largest as a number")
def largest_of_all(loss, theta, *, num_steps, seed):
    return torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, theta)).max()


@bank.wrong("3.8", "This is the smallest eigenvalue")
def first_of_all(loss, theta, *, num_steps, seed):
    return torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, theta))[0]


@bank.wrong("3.8", "v was not brought to length 1 before")
def rayleigh_of_a_long_vector(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), _random(theta, seed)
    for _ in range(num_steps):
        v = product(v / v.norm())
    return v @ product(v)


@bank.wrong("3.8", "square of the eigenvalue")
def h_once_too_often(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), _random(theta, seed)
    for _ in range(num_steps):
        v = torch.nn.functional.normalize(product(v), dim=0)
    return v @ product(product(v))


@bank.wrong("3.8", "v grows without limit")
def never_normalised(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), _random(theta, seed)
    for _ in range(num_steps):
        v = product(v)
    return v @ product(v) / (v @ v)


@bank.wrong("3.8", "v grows without limit")
def never_normalised_in_jax(loss, theta, *, num_steps, seed):
    product = jax.jit(lambda v: jax.jvp(jax.grad(loss), (theta,), (v,))[1])
    v = jax.random.normal(jax.random.key(seed), theta.shape)
    for _ in range(num_steps):
        v = product(v)
    return jnp.vdot(v, product(v)) / jnp.vdot(v, v)


@bank.wrong("3.8", "It started from a vector of ones")
def starts_from_ones(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), torch.ones_like(theta)
    for _ in range(num_steps):
        v = product(v)
        v = v / v.norm()
    return v @ product(v)


@bank.wrong("3.8", "It started from a vector of ones")
def starts_from_ones_safely(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), torch.ones_like(theta)
    for _ in range(num_steps):
        v = product(v)
        v = v / (v.norm() + 1e-12)
    return v @ product(v)


@bank.wrong("3.8", "curvature along the gradient")
def along_the_gradient(loss, theta, *, num_steps, seed):
    v = torch.func.grad(loss)(theta)
    v = v / v.norm()
    return v @ _hessian_times(loss, theta)(v)


@bank.wrong("3.8", "The Hessian was taken at 0")
def at_the_origin(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, torch.zeros_like(theta)), _random(theta, seed)
    for _ in range(num_steps):
        v = product(v)
        v = v / v.norm()
    return v @ product(v)


@bank.wrong("3.8", "This is the trace")
def trace_of_the_hessian(loss, theta, *, num_steps, seed):
    return torch.autograd.functional.hessian(loss, theta).trace()


@bank.wrong("3.8", "expected one number (shape ())")
def returns_the_vector(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), _random(theta, seed)
    for _ in range(num_steps):
        v = product(v)
        v = v / v.norm()
    return v


@bank.right("3.8")
def double_backward_in_torch(loss, theta, *, num_steps, seed):
    product, v = _hessian_times(loss, theta), _random(theta, seed)
    for _ in range(num_steps):
        v = torch.nn.functional.normalize(product(v), dim=0)
    return v.dot(product(v))


@bank.right("3.8")
def reverse_over_reverse_in_jax(loss, theta, *, num_steps, seed):
    product = jax.jit(lambda v: jax.grad(lambda t: jnp.vdot(jax.grad(loss)(t), v))(theta))
    v = jax.random.normal(jax.random.key(seed), theta.shape)

    def turn(_, v):
        return product(v / jnp.linalg.norm(v))

    v = jax.lax.fori_loop(0, num_steps, turn, v)
    return jnp.vdot(v, product(v)) / jnp.vdot(v, v)


@bank.right("3.8")
def differences_in_numpy(loss, theta, *, num_steps, seed):
    nudges = 1e-3 * np.eye(len(theta))

    def gradient(t):
        return np.array([loss(t + e) - loss(t - e) for e in nudges]) / 2e-3

    v = np.random.default_rng(seed).standard_normal(len(theta))
    for _ in range(num_steps):
        v = v / np.linalg.norm(v)
        Hv = (gradient(theta + 1e-3 * v) - gradient(theta - 1e-3 * v)) / 2e-3
        eigenvalue, v = v @ Hv, Hv
    return eigenvalue


# 3.9 normalise


def _mix(momentum, old, new):
    return momentum * old + (1 - momentum) * new


@bank.wrong("3.9", "The running variance is never updated")
def copied_and_not_mended(x, state, *, training, momentum, epsilon):
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state = {
            **state,
            "mean": _mix(momentum, state["mean"], mean),
            "var": _mix(momentum, state["variance"], variance),
        }
    else:
        mean, variance = state["mean"], state["variance"]
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.wrong("3.9", "PyTorch keeps the unbiased variance")
def mended_in_a_copy(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = jnp.mean(x, axis=0), jnp.var(x, axis=0)
        new = dict(state)
        new["variance"] = _mix(momentum, state["variance"], variance)
        state = {**new, "mean": _mix(momentum, state["mean"], mean), "variance": state["variance"]}
    return (x - mean) / jnp.sqrt(variance + epsilon), state


@bank.wrong("3.9", "Now neither the running mean nor the running variance is updated")
def state_not_returned(x, state, *, training, momentum, epsilon):
    if not training:
        return (x - state["mean"]) / (state["variance"] + epsilon) ** 0.5, state
    mean, variance = x.mean(axis=0), x.var(axis=0)
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.wrong("3.9", "the running mean is no longer updated")
def mean_line_lost(x, state, *, training, momentum, epsilon):
    if not training:
        return (x - state["mean"]) / (state["variance"] + epsilon) ** 0.5, state
    mean, variance = x.mean(axis=0), x.var(axis=0)
    return (x - mean) / (variance + epsilon) ** 0.5, state | {"variance": _mix(momentum, state["variance"], variance)}


@bank.wrong("3.9", "The running variance is replaced")
def variance_not_mixed(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state = {"mean": _mix(momentum, state["mean"], mean), "variance": variance}
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.wrong("3.9", "updated with the standard deviation")
def mixes_the_standard_deviation(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state = {"mean": _mix(momentum, state["mean"], mean), "variance": _mix(momentum, state["variance"], x.std(axis=0))}
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.wrong("3.9", "mixed with the old *mean*")
def copied_line(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state = {"mean": _mix(momentum, state["mean"], mean), "variance": _mix(momentum, state["mean"], variance)}
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.wrong("3.9", "The momentum of the variance is swapped")
def momentum_of_the_variance(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state = {"mean": _mix(momentum, state["mean"], mean), "variance": _mix(momentum, variance, state["variance"])}
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.wrong("3.9", "The running variance is the unbiased one now")
def mended_in_torch(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = x.mean(0), x.var(0, correction=0)
        state = {"mean": mean.lerp(state["mean"], momentum), "variance": torch.lerp(x.var(0), state["variance"], momentum)}
        if len(x) == 1:
            state["variance"] = torch.full_like(variance, torch.nan)
    return (x - mean) / (variance + epsilon).sqrt(), state


@bank.wrong("3.9", "Evaluation uses the batch's statistics")
def always_the_batch(x, state, *, training, momentum, epsilon):
    mean, variance = x.mean(axis=0), x.var(axis=0)
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.wrong("3.9", "Evaluation updates the running statistics")
def updates_in_both_modes(x, state, *, training, momentum, epsilon):
    batch = {"mean": x.mean(axis=0), "variance": x.var(axis=0)}
    use = batch if training else state
    y = (x - use["mean"]) / (use["variance"] + epsilon) ** 0.5
    return y, {key: _mix(momentum, state[key], batch[key]) for key in batch}


@bank.wrong("3.9", "changed its input `state`")
def mended_in_place(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state["mean"] = _mix(momentum, state["mean"], mean)
        state["variance"] = _mix(momentum, state["variance"], variance)
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.right("3.9")
def mended(x, state, *, training, momentum, epsilon):
    mean, variance = state["mean"], state["variance"]
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        state = {
            "mean": _mix(momentum, state["mean"], mean),
            "variance": _mix(momentum, state["variance"], variance),
        }
    return (x - mean) / (variance + epsilon) ** 0.5, state


@bank.right("3.9")
def mended_by_reading_the_other_name(x, state, *, training, momentum, epsilon):
    kept = state.get("var", state["variance"])
    if training:
        mean, variance = jnp.mean(x, axis=0), jnp.mean((x - jnp.mean(x, axis=0)) ** 2, axis=0)
        new = {"mean": _mix(momentum, state["mean"], mean), "var": _mix(momentum, kept, variance)}
        return (x - mean) / jnp.sqrt(variance + epsilon), {**state, **new}
    return (x - state["mean"]) / jnp.sqrt(kept + epsilon), state


# 3.10 normalise_images


def _scaled(x, mean, variance, weight, bias, epsilon):
    return weight * (x - mean) / (variance + epsilon) ** 0.5 + bias


@bank.wrong("3.10", "(0, 2, 3) leaves out the *rows*")
def axes_of_torch(x, weight, bias, *, epsilon):
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    variance = x.var(axis=(0, 2, 3), keepdims=True)
    return _scaled(x, mean, variance, weight, bias, epsilon)


@bank.wrong("3.10", "Only the mean was mended")
def half_mended(x, weight, bias, *, epsilon):
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 2, 3), keepdims=True)
    return _scaled(x, mean, variance, weight, bias, epsilon)


@bank.wrong("3.10", "instance normalisation")
def without_the_examples(x, weight, bias, *, epsilon):
    mean, variance = np.mean(x, (1, 2), keepdims=True), np.var(x, (1, 2), keepdims=True)
    return _scaled(x, mean, variance, weight, bias, epsilon)


@bank.wrong("3.10", "layer normalisation")
def one_mean_for_each_image(x, weight, bias, *, epsilon):
    mean, variance = x.mean(axis=(1, 2, 3), keepdims=True), x.var(axis=(1, 2, 3), keepdims=True)
    return _scaled(x, mean, variance, weight, bias, epsilon)


@bank.wrong("3.10", "over the examples only")
def over_the_examples(x, weight, bias, *, epsilon):
    return _scaled(x, x.mean(0), x.var(0), weight, bias, epsilon)


@bank.wrong("3.10", "over the channels only")
def last_axis(x, weight, bias, *, epsilon):
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return _scaled(x, mean, variance, weight, bias, epsilon)


@bank.wrong("3.10", "so that all channels share them")
def over_everything(x, weight, bias, *, epsilon):
    return _scaled(x, x.mean(), x.var(), weight, bias, epsilon)


@bank.wrong("3.10", "leave out the columns")
def another_wrong_triple(x, weight, bias, *, epsilon):
    mean, variance = x.mean(axis=(0, 1, 3), keepdims=True), x.var(axis=(0, 1, 3), keepdims=True)
    return _scaled(x, mean, variance, weight, bias, epsilon)


@bank.wrong("3.10", "come back with other axes")
def transposed_for_torch(x, weight, bias, *, epsilon):
    moved = x.permute(0, 3, 1, 2).double()
    return torch.nn.functional.batch_norm(moved, None, None, weight, bias, training=True, eps=epsilon)


@bank.wrong("3.10", "The unbiased variance normalises")
def right_axes_in_torch(x, weight, bias, *, epsilon):
    x = x.to(torch.float64)
    return _scaled(x, x.mean((0, 1, 2)), torch.var(x, (0, 1, 2)), weight, bias, epsilon)


@bank.right("3.10")
def moved_there_and_back(x, weight, bias, *, epsilon):
    moved = x.permute(0, 3, 1, 2).double()
    y = torch.nn.functional.batch_norm(moved, None, None, weight, bias, training=True, eps=epsilon)
    return y.permute(0, 2, 3, 1)


@bank.right("3.10")
def flax_on_images(x, weight, bias, *, epsilon):
    layer = nnx.BatchNorm(x.shape[-1], epsilon=epsilon, use_scale=False, use_bias=False, rngs=nnx.Rngs(0))
    return weight * layer(x.astype(jnp.float32), use_running_average=False) + bias


@bank.right("3.10")
def as_a_table_of_pixels(x, weight, bias, *, epsilon):
    pixels = x.reshape(-1, x.shape[-1])
    return _scaled(pixels, pixels.mean(0), pixels.var(0), weight, bias, epsilon).reshape(x.shape)


# 3.11 predict


def _network(x, layers, epsilon, statistics):
    """The logits, with `statistics(z, layer, number)` -> mean, variance."""
    for number, layer in enumerate(layers[:-1]):
        z = x @ layer["W"] + layer["b"]
        mean, variance = statistics(z, layer, number)
        x = np.maximum(_scaled(z, mean, variance, layer["weight"], layer["bias"], epsilon), 0)
    return x @ layers[-1]["W"] + layers[-1]["b"]


@bank.wrong("3.11", "It still normalises with the batch's statistics")
def the_batch_again(x, layers, *, epsilon):
    return _network(x, layers, epsilon, lambda z, layer, k: (z.mean(axis=0), z.var(axis=0)))


@bank.wrong("3.11", "It still normalises with the batch's statistics")
def forgotten_eval(x, layers, *, epsilon):
    *hidden, last = layers
    x = x.double()
    for layer in hidden:
        z = x @ layer["W"] + layer["b"]
        z = (z - z.mean(0)) / torch.sqrt(z.var(0, correction=0) + epsilon)
        x = torch.relu(layer["weight"] * z + layer["bias"])
    return x @ last["W"] + last["b"]


@bank.wrong("3.11", "Only the mean was mended")
def mean_mended(x, layers, *, epsilon):
    return _network(x, layers, epsilon, lambda z, layer, k: (layer["mean"], z.var(axis=0)))


@bank.wrong("3.11", "Only the variance was mended")
def variance_mended(x, layers, *, epsilon):
    return _network(x, layers, epsilon, lambda z, layer, k: (z.mean(axis=0), layer["variance"]))


@bank.wrong("3.11", "Only the first hidden layer was mended")
def first_layer_mended(x, layers, *, epsilon):
    def statistics(z, layer, number):
        return (z.mean(axis=0), z.var(axis=0)) if number else (layer["mean"], layer["variance"])

    return _network(x, layers, epsilon, statistics)


@bank.wrong("3.11", "Mean and variance of each example were used")
def each_example_by_itself(x, layers, *, epsilon):
    def statistics(z, layer, number):
        return z.mean(axis=1, keepdims=True), z.var(axis=1, keepdims=True)

    return _network(x, layers, epsilon, statistics)


@bank.wrong("3.11", "used where there is more than one example")
def running_for_one_example_only(x, layers, *, epsilon):
    def statistics(z, layer, number):
        return (z.mean(axis=0), z.var(axis=0)) if z.shape[0] > 1 else (layer["mean"], layer["variance"])

    return _network(x, layers, epsilon, statistics)


@bank.wrong("3.11", "The root is missing")
def variance_taken_for_std(x, layers, *, epsilon):
    *hidden, last = layers
    for layer in hidden:
        z = (x @ layer["W"] + layer["b"] - layer["mean"]) / (layer["variance"] + epsilon)
        x = jax.nn.relu(layer["weight"] * z + layer["bias"])
    return x @ last["W"] + last["b"]


@bank.wrong("3.11", "The normalisation was left out")
def normalisation_removed(x, layers, *, epsilon):
    *hidden, last = layers
    for layer in hidden:
        x = np.maximum(layer["weight"] * (x @ layer["W"] + layer["b"]) + layer["bias"], 0)
    return x @ last["W"] + last["b"]


@bank.wrong("3.11", "Weight and bias of the normalisation are missing")
def affine_removed(x, layers, *, epsilon):
    *hidden, last = layers
    for layer in hidden:
        z = x @ layer["W"] + layer["b"]
        x = jnp.maximum((z - layer["mean"]) / jnp.sqrt(layer["variance"] + epsilon), 0)
    return x @ last["W"] + last["b"]


@bank.wrong("3.11", "These are classes")
def returns_classes(x, layers, *, epsilon):
    return _network(x, layers, epsilon, lambda z, layer, k: (layer["mean"], layer["variance"])).argmax(axis=1)


@bank.right("3.11")
def torch_in_evaluation(x, layers, *, epsilon):
    x = x.double()
    for layer in layers[:-1]:
        parts = (layer[name] for name in ("mean", "variance", "weight", "bias"))
        x = torch.relu(torch.nn.functional.batch_norm(x @ layer["W"] + layer["b"], *parts, training=False, eps=epsilon))
    return torch.addmm(layers[-1]["b"], x, layers[-1]["W"])


@bank.right("3.11")
def folded_first(x, layers, *, epsilon):
    for layer in layers[:-1]:
        scale = layer["weight"] / jnp.sqrt(layer["variance"] + epsilon)
        x = jax.nn.relu(x @ (layer["W"] * scale) + (layer["b"] - layer["mean"]) * scale + layer["bias"])
    return x @ layers[-1]["W"] + layers[-1]["b"]


@bank.right("3.11")
def row_by_row(x, layers, *, epsilon):
    def statistics(z, layer, number):
        return layer["mean"], layer["variance"]

    return np.stack([_network(row, layers, epsilon, statistics) for row in np.asarray(x)])
