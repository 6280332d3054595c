"""Answers to the exercises of lesson 04 as students write them, wrong and right, with the words that must be said."""

import copy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special
import torch
import torch.nn.functional as F

from mlcourse.checks.killrate import Bank

bank = Bank()

# 4.1 dropout


@bank.wrong("4.1", "survivors keep their size")
def no_scaling(h, *, rate, seed, train):
    if not train:
        return h
    mask = jax.random.bernoulli(jax.random.key(seed), 1 - rate, h.shape)
    return jnp.where(mask, h, 0)


@bank.wrong("4.1", "survivors keep their size")
def the_form_of_2014(h, *, rate, seed, train):
    if not train:
        return h * (1 - rate)
    return h * (np.random.default_rng(seed).random(h.shape) > rate)


@bank.wrong("4.1", "divided by `rate`")
def divides_by_the_rate(h, *, rate, seed, train):
    if not train or rate == 0:
        return h
    return h * (np.random.default_rng(seed).random(h.shape) > rate) / rate


@bank.wrong("4.1", "multiplied by 1 - rate")
def scales_down(h, *, rate, seed, train):
    if not train:
        return h
    generator = torch.Generator().manual_seed(seed)
    return h * (torch.rand(h.shape, generator=generator) > rate) * (1 - rate)


@bank.wrong("4.1", "Whole rows were dropped")
def drops_rows(h, *, rate, seed, train):
    if not train:
        return h
    mask = np.random.default_rng(seed).random((len(h),) + (1,) * (h.ndim - 1)) > rate
    return h * mask / (1 - rate)


@bank.wrong("4.1", "Every row lost the same units")
def one_mask_for_all_examples(h, *, rate, seed, train):
    if not train:
        return h
    return h * (np.random.default_rng(seed).random(h.shape[-1]) > rate) / (1 - rate)


@bank.wrong("4.1", "only a smaller network")
def the_same_key_every_call(h, *, rate, seed, train):
    if not train:
        return h
    mask = jax.random.bernoulli(jax.random.key(0), 1 - rate, h.shape)
    return jnp.where(mask, h / (1 - rate), 0)


@bank.wrong("4.1", "still on at evaluation")
def ignores_train(h, *, rate, seed, train):
    return h * (np.random.default_rng(seed).random(h.shape) > rate) / (1 - rate)


@bank.wrong("4.1", "survives with probability `rate`")
def keeps_with_the_rate(h, *, rate, seed, train):
    if not train or rate == 0:
        return h
    mask = np.random.default_rng(seed).random(h.shape) < rate
    return np.where(mask, h / (1 - rate), 0.0)


@bank.wrong("4.1", "taken for the probability to *keep*")
def rate_as_keep_probability(h, *, rate, seed, train):
    if not train or rate == 0:
        return h
    mask = np.random.default_rng(seed).binomial(1, rate, h.shape)
    return h * mask / rate


@bank.wrong("4.1", "scaled at evaluation")
def scales_in_both_modes(h, *, rate, seed, train):
    if not train:
        return h * (1 - rate)
    return h * (np.random.default_rng(seed).random(h.shape) >= rate) / (1 - rate)


@bank.wrong("4.1", "scale with the probability")
def scales_by_what_survived(h, *, rate, seed, train):
    if not train:
        return h
    mask = np.random.default_rng(seed).random(h.shape) >= rate
    return h * mask / mask.mean()


@bank.wrong("4.1", "same seed give different masks")
def functional_dropout(h, *, rate, seed, train):
    return F.dropout(h, p=rate, training=train)


@bank.wrong("4.1", "global random generator")
def seeds_everything(h, *, rate, seed, train):
    if not train:
        return h
    np.random.seed(seed)  # noqa: NPY002 - the mistake
    return h * (np.random.rand(*h.shape) >= rate) / (1 - rate)  # noqa: NPY002


@bank.wrong("4.1", "This is the mask")
def returns_the_mask(h, *, rate, seed, train):
    if not train:
        return h
    return np.random.default_rng(seed).random(h.shape) >= rate


@bank.wrong("4.1", "Nothing was dropped in training")
def the_wrong_way_round(h, *, rate, seed, train):
    if train:
        return h
    return h * (np.random.default_rng(seed).random(h.shape) >= rate) / (1 - rate)


@bank.wrong("4.1", "The share of survivors is not 1 - rate")
def indices_with_replacement(h, *, rate, seed, train):
    if not train:
        return h
    rng = np.random.default_rng(seed)
    out = (h / (1 - rate)).reshape(-1)
    out[rng.integers(0, out.size, int(rate * out.size))] = 0
    return out.reshape(h.shape)


@bank.wrong("4.1", "exactly as many activations survive")
def drops_a_fixed_number(h, *, rate, seed, train):
    if not train or rate == 0:
        return h
    mask = np.ones(h.size)
    mask[: round(rate * h.size)] = 0
    return h * np.random.default_rng(seed).permutation(mask).reshape(h.shape) / (1 - rate)


@bank.wrong("4.1", "changed its input `h`")
def zeroes_in_place(h, *, rate, seed, train):
    if not train:
        return h
    h[np.random.default_rng(seed).random(h.shape) < rate] = 0
    return h / (1 - rate)


@bank.right("4.1")
def by_bernoulli(h, *, rate, seed, train):
    if not train:
        return h
    keep = jax.random.bernoulli(jax.random.key(seed), 1 - rate, h.shape)
    return jnp.where(keep, h / (1 - rate), 0)


@bank.right("4.1")
def with_a_torch_generator(h, *, rate, seed, train):
    if not train or rate == 0:
        return h
    keep = torch.empty(h.shape).bernoulli_(1 - rate, generator=torch.Generator().manual_seed(seed))
    return h.mul(keep).div(1 - rate)


@bank.right("4.1")
def scaled_mask_in_numpy(h, *, rate, seed, train):
    mask = np.random.default_rng(seed).choice([0.0, 1 / (1 - rate)], size=h.shape, p=[rate, 1 - rate])
    return mask * h if train else 1.0 * h


# 4.2 l2_step


@bank.wrong("4.2", "Biases were decayed too")
def decays_everything(params, grads, velocity, *, learning_rate, momentum, decay):
    velocity = jax.tree.map(lambda v, g, p: momentum * v + g + decay * p, velocity, grads, params)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), velocity


@bank.wrong("4.2", "slope 2 decay W")
def slope_of_the_whole_square(params, grads, velocity, *, learning_rate, momentum, decay):
    new, state = {}, {}
    for name in params:
        g = grads[name]
        if params[name].ndim > 1:
            g = g + 2 * decay * params[name]
        state[name] = momentum * velocity[name] + g
        new[name] = params[name] - learning_rate * state[name]
    return new, state


@bank.wrong("4.2", "wrong sign")
def minus_the_penalty(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] - decay * p * (p.ndim > 1) for k, p in params.items()}
    return {k: p - learning_rate * state[k] for k, p in params.items()}, state


@bank.wrong("4.2", "This is decoupled decay")
def decoupled_instead(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] for k in params}
    return {k: p - learning_rate * (state[k] + decay * p * (p.ndim > 1)) for k, p in params.items()}, state


@bank.wrong("4.2", "This is an L1 penalty")
def lasso(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] + decay * torch.sign(p) * (p.dim() > 1) for k, p in params.items()}
    return {k: p - learning_rate * state[k] for k, p in params.items()}, state


@bank.wrong("4.2", "learning rate multiplies the decay twice")
def rate_in_the_gradient(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] + learning_rate * decay * p * (p.ndim > 1) for k, p in params.items()}
    return {k: p - learning_rate * state[k] for k, p in params.items()}, state


@bank.wrong("4.2", "exactly two axes")
def matrices_only(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] + decay * p * (len(p.shape) == 2) for k, p in params.items()}
    return {k: p - learning_rate * state[k] for k, p in params.items()}, state


@bank.wrong("4.2", "There is no decay at all")
def decay_forgotten(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] for k in params}
    return {k: params[k] - learning_rate * state[k] for k in params}, state


@bank.wrong("4.2", "velocity is missing")
def parameters_only(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] + decay * p * (p.ndim > 1) for k, p in params.items()}
    return {k: p - learning_rate * state[k] for k, p in params.items()}


@bank.wrong("4.2", "velocity came back as it was")
def old_velocity_returned(params, grads, velocity, *, learning_rate, momentum, decay):
    new = {}
    for name, p in params.items():
        v = momentum * velocity[name] + grads[name] + (decay * p if p.ndim > 1 else 0)
        new[name] = p - learning_rate * v
    return new, velocity


@bank.wrong("4.2", "learning rate was put into the velocity")
def rate_in_the_velocity(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + learning_rate * (grads[k] + decay * p * (p.ndim > 1)) for k, p in params.items()}
    return {k: p - state[k] for k, p in params.items()}, state


@bank.wrong("4.2", "This is Nesterov's step")
def looks_ahead(params, grads, velocity, *, learning_rate, momentum, decay):
    new, state = {}, {}
    for name, p in params.items():
        g = grads[name] + decay * p * (p.ndim > 1)
        state[name] = momentum * velocity[name] + g
        new[name] = p - learning_rate * (g + momentum * state[name])
    return new, state


@bank.wrong("4.2", "changed its input `params`")
def l2_in_place(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {}
    for name, p in params.items():
        state[name] = momentum * velocity[name] + grads[name] + (decay * p if p.ndim > 1 else 0)
        p -= learning_rate * state[name]
    return params, state


@bank.wrong("4.2", "name begins with W")
def by_the_name(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] + decay * p * k.startswith("W") for k, p in params.items()}
    return {k: p - learning_rate * state[k] for k, p in params.items()}, state


@bank.right("4.2")
def l2_by_torch_sgd(params, grads, velocity, *, learning_rate, momentum, decay):
    new = {k: torch.nn.Parameter(p.clone()) for k, p in params.items()}
    groups = [
        {"params": [p for p in new.values() if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in new.values() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    for name, p in new.items():
        p.grad = grads[name].clone()
        optimizer.state[p]["momentum_buffer"] = velocity[name].clone()
    optimizer.step()
    if momentum == 0:
        return new, {name: grads[name] + decay * params[name] * (p.dim() > 1) for name, p in new.items()}
    return new, {name: optimizer.state[p]["momentum_buffer"] for name, p in new.items()}


@bank.right("4.2")
def l2_by_autodiff(params, grads, velocity, *, learning_rate, momentum, decay):
    def penalty(params):
        return decay / 2 * sum(jnp.sum(p**2) for p in params.values() if p.ndim > 1)

    extra = jax.grad(penalty)(params)
    velocity = jax.tree.map(lambda v, g, e: momentum * v + g + e, velocity, grads, extra)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), velocity


@bank.right("4.2")
def l2_in_a_loop(params, grads, velocity, *, learning_rate, momentum, decay):
    new, state = dict(params), dict(velocity)
    for name in grads:
        strength = 0 if params[name].ndim < 2 else decay
        state[name] = np.add(grads[name], strength * params[name]) + momentum * velocity[name]
        new[name] = params[name] - learning_rate * state[name]
    return new, state


# 4.3 decoupled_step


@bank.wrong("4.3", "L2 penalty of exercise 4.2")
def through_the_gradient(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] + decay * p * (p.ndim > 1) for k, p in params.items()}
    return {k: p - learning_rate * state[k] for k, p in params.items()}, state


@bank.wrong("4.3", "learning rate is missing in the decay")
def decay_without_the_rate(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] for k in params}
    return {k: p - learning_rate * state[k] - decay * p * (p.ndim > 1) for k, p in params.items()}, state


@bank.wrong("4.3", "decayed after the step")
def shrinks_the_new_weights(params, grads, velocity, *, learning_rate, momentum, decay):
    new, state = {}, {}
    for name, p in params.items():
        state[name] = momentum * velocity[name] + grads[name]
        new[name] = p - learning_rate * state[name]
        if p.ndim > 1:
            new[name] = new[name] - learning_rate * decay * new[name]
    return new, state


@bank.wrong("4.3", "Biases were decayed too")
def shrinks_the_biases(params, grads, velocity, *, learning_rate, momentum, decay):
    velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, grads)
    new = jax.tree.map(lambda p, v: p * (1 - learning_rate * decay) - learning_rate * v, params, velocity)
    return new, velocity


@bank.wrong("4.3", "wrong sign")
def grows_the_weights(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] for k in params}
    new = {k: p * (1 + learning_rate * decay * (p.ndim > 1)) - learning_rate * state[k] for k, p in params.items()}
    return new, state


@bank.wrong("4.3", "shrink twice")
def both_kinds_at_once(params, grads, velocity, *, learning_rate, momentum, decay):
    strength = {k: decay * (p.ndim > 1) for k, p in params.items()}
    state = {k: momentum * velocity[k] + grads[k] + strength[k] * p for k, p in params.items()}
    return {k: p * (1 - learning_rate * strength[k]) - learning_rate * state[k] for k, p in params.items()}, state


@bank.wrong("4.3", "1 - momentum")
def averaged_velocity(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + (1 - momentum) * grads[k] for k in params}
    new = {k: p * (1 - learning_rate * decay * (p.dim() > 1)) - learning_rate * state[k] for k, p in params.items()}
    return new, {k: torch.as_tensor(v) for k, v in state.items()}


@bank.wrong("4.3", "old velocity is not used")
def plain_sgd(params, grads, velocity, *, learning_rate, momentum, decay):
    new = {k: p * (1 - learning_rate * decay * (p.ndim > 1)) - learning_rate * grads[k] for k, p in params.items()}
    return new, dict(grads)


@bank.wrong("4.3", "no decay at all")
def decay_on_the_wrong_condition(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] for k in params}
    return {k: p - learning_rate * state[k] - learning_rate * decay * p * (p.ndim > 9) for k, p in params.items()}, state


@bank.wrong("4.3", "learning rate was put into the velocity")
def decoupled_rate_in_the_velocity(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + learning_rate * grads[k] for k in params}
    return {k: p * (1 - learning_rate * decay * (p.ndim > 1)) - state[k] for k, p in params.items()}, state


@bank.wrong("4.3", "are exchanged")
def velocity_first(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: momentum * velocity[k] + grads[k] for k in params}
    new = {k: p * (1 - learning_rate * decay * (p.ndim > 1)) - learning_rate * state[k] for k, p in params.items()}
    return state, new


@bank.right("4.3")
def shrink_then_step(params, grads, velocity, *, learning_rate, momentum, decay):
    new, state = {}, {}
    for name, p in params.items():
        state[name] = velocity[name].mul(momentum).add(grads[name])
        shrunk = p.mul(1 - learning_rate * decay) if p.dim() > 1 else p
        new[name] = torch.sub(shrunk, state[name], alpha=learning_rate)
    return new, state


@bank.right("4.3")
def one_update_of_both(params, grads, velocity, *, learning_rate, momentum, decay):
    velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, grads)
    updates = jax.tree.map(lambda v, p: -learning_rate * (v + (decay * p if p.ndim >= 2 else 0)), velocity, params)
    return jax.tree.map(jnp.add, params, updates), velocity


@bank.right("4.3")
def by_numpy_where(params, grads, velocity, *, learning_rate, momentum, decay):
    state = {k: np.multiply(momentum, velocity[k]) + grads[k] for k in params}
    factor = {k: 1 - learning_rate * decay if p.ndim > 1 else 1.0 for k, p in params.items()}
    return {k: factor[k] * params[k] - learning_rate * state[k] for k in params}, state


# 4.4 max_norm


@bank.wrong("4.4", "rows were shortened")
def rows(W, *, limit):
    norm = np.linalg.norm(W, axis=1, keepdims=True)
    return W * np.minimum(1, limit / np.maximum(norm, 1e-12))


@bank.wrong("4.4", "norm of the whole matrix")
def clip_by_global_norm(W, *, limit):
    norm = jnp.linalg.norm(W)
    return W * jnp.minimum(1, limit / norm)


@bank.wrong("4.4", "stretched to the limit")
def always_rescales(W, *, limit):
    norm = np.linalg.norm(W, axis=0)
    return W / np.where(norm == 0, 1, norm) * limit


@bank.wrong("4.4", "column of zeros became nan")
def zero_by_zero(W, *, limit):
    norm = torch.linalg.norm(W.float(), dim=0)
    return W / norm * norm.clamp(max=limit)


@bank.wrong("4.4", "clipped by itself")
def clamps_entries(W, *, limit):
    return W.clamp(-limit, limit) if isinstance(W, torch.Tensor) else W.clip(-limit, limit)


@bank.wrong("4.4", "this is the squared norm")
def forgot_the_root(W, *, limit):
    norm = (W**2).sum(axis=0)
    return W * np.where(norm > limit, limit / np.maximum(norm, 1e-12), 1)


@bank.wrong("4.4", "sum of absolute values")
def city_block(W, *, limit):
    norm = np.abs(W).sum(axis=0)
    return W * np.where(norm > limit, limit / np.maximum(norm, 1e-12), 1)


@bank.wrong("4.4", "given the length 1")
def normalised_not_limited(W, *, limit):
    norm = np.linalg.norm(W, axis=0)
    return np.where(norm > limit, W / np.maximum(norm, 1e-12), W)


@bank.wrong("4.4", "One factor for all columns")
def by_the_longest(W, *, limit):
    longest = np.linalg.norm(W, axis=0).max()
    return W * min(1, limit / longest)


@bank.wrong("4.4", "rounded to whole numbers")
def writes_into_a_copy(W, *, limit):
    W = W.copy()
    norm = np.linalg.norm(W, axis=0)
    for j in range(W.shape[1]):
        if norm[j] > limit:
            W[:, j] = W[:, j] * limit / norm[j]
    return W


@bank.wrong("4.4", "changed its input `W`")
def projects_in_place(W, *, limit):
    norm = np.linalg.norm(W, axis=0)
    if W.dtype.kind == "i":
        W = W.astype(float)
    W *= np.minimum(1, limit / np.maximum(norm, 1e-12))
    return W


@bank.right("4.4")
def by_torch_renorm(W, *, limit):
    return torch.renorm(W.double(), p=2, dim=1, maxnorm=limit)


@bank.right("4.4")
def by_maximum(W, *, limit):
    return W * limit / jnp.maximum(jnp.linalg.norm(W, axis=0, keepdims=True), limit)


@bank.right("4.4")
def column_by_column(W, *, limit):
    columns = []
    for column in W.T:
        length = float(np.sqrt(np.sum(np.square(column.astype(float)))))
        columns.append(column if length <= limit else column * (limit / length))
    return np.stack(columns, axis=1)


# 4.5 early_stopping


@bank.wrong("4.5", "weights of the last epoch")
def never_goes_back(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, waited = float("inf"), 0, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch, waited = loss, epoch, 0
        else:
            waited += 1
            if waited == patience:
                break
    return best_epoch, epoch + 1


@bank.wrong("4.5", "hands out the live arrays")
def keeps_a_reference(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, waited, weights = float("inf"), 0, 0, None
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch, waited, weights = loss, epoch, 0, model.state_dict()
        else:
            waited += 1
        if waited >= patience:
            break
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.wrong("4.5", "hands out the live arrays")
def keeps_a_shallow_copy(model, train_epoch, validation_loss, *, max_epochs, patience):
    losses, weights = [], None
    while len(losses) < max_epochs:
        train_epoch(model)
        losses.append(validation_loss(model))
        best_epoch = int(np.nanargmin(losses))
        if best_epoch == len(losses) - 1:
            weights = model.state_dict().copy()
        if len(losses) - 1 - best_epoch >= patience:
            break
    model.load_state_dict(weights)
    return best_epoch, len(losses)


@bank.wrong("4.5", "one epoch too late")
def more_than_patience(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, waited = np.inf, 0, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch, waited = loss, epoch, 0
            weights = copy.deepcopy(model.state_dict())
        else:
            waited += 1
        if waited > patience:
            break
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.wrong("4.5", "Only a *lower* one is")
def ties_count(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, waited = np.inf, 0, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss <= best:
            best, best_epoch, waited = loss, epoch, 0
            weights = copy.deepcopy(model.state_dict())
        else:
            waited += 1
        if waited == patience:
            break
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.wrong("4.5", "with that of the epoch before")
def against_the_previous(model, train_epoch, validation_loss, *, max_epochs, patience):
    previous, best_epoch, waited = np.inf, 0, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss < previous:
            best_epoch, waited = epoch, 0
            weights = copy.deepcopy(model.state_dict())
        else:
            waited += 1
        previous = loss
        if waited == patience:
            break
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.wrong("4.5", "never set back to 0")
def counts_all_bad_epochs(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, bad = np.inf, 0, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch = loss, epoch
            weights = copy.deepcopy(model.state_dict())
        else:
            bad += 1
        if bad == patience:
            break
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.wrong("4.5", "`patience` is not used")
def best_of_all_epochs(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch = np.inf, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch, weights = loss, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return best_epoch, max_epochs


@bank.wrong("4.5", "nan was taken for a new best")
def bad_if_not_lower(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, waited = np.inf, 0, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss >= best:
            waited += 1
            if waited == patience:
                break
        else:
            best, best_epoch, waited = loss, epoch, 0
            weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.wrong("4.5", "copied before its training")
def copies_too_early(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, waited = np.inf, 0, 0
    for epoch in range(max_epochs):
        now = copy.deepcopy(model.state_dict())
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch, waited, weights = loss, epoch, 0, now
        else:
            waited += 1
        if waited == patience:
            break
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.wrong("4.5", "counted from 1")
def epochs_from_one(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, epoch = np.inf, 0, 0
    while epoch < max_epochs and epoch - best_epoch < patience:
        epoch += 1
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch, weights = loss, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return best_epoch, epoch


@bank.wrong("4.5", "number of the last epoch")
def last_number_for_the_count(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch = np.inf, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch, weights = loss, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch == patience:
            break
    model.load_state_dict(weights)
    return best_epoch, epoch


@bank.wrong("4.5", "first epoch without a new best")
def stops_at_the_first_bump(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch = np.inf, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = validation_loss(model)
        if not loss < best:
            break
        best, best_epoch, weights = loss, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.right("4.5")
def by_the_distance_from_the_best(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, epoch = float("inf"), -1, -1
    while epoch + 1 < max_epochs and epoch - best_epoch < patience:
        epoch += 1
        train_epoch(model)
        loss = validation_loss(model)
        if loss < best:
            best, best_epoch = loss, epoch
            weights = {name: value.copy() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    return best_epoch, epoch + 1


@bank.right("4.5")
def keeps_every_epoch(model, train_epoch, validation_loss, *, max_epochs, patience):
    losses, snapshots = [], []
    for _ in range(max_epochs):
        train_epoch(model)
        losses.append(validation_loss(model))
        snapshots.append(copy.deepcopy(model.state_dict()))
        best_epoch = int(np.nanargmin(losses))
        if len(losses) - 1 - best_epoch >= patience:
            break
    model.load_state_dict(snapshots[best_epoch])
    return best_epoch, len(losses)


@bank.right("4.5")
def in_torch_tensors(model, train_epoch, validation_loss, *, max_epochs, patience):
    best, best_epoch, waited = torch.inf, 0, 0
    for epoch in range(max_epochs):
        train_epoch(model)
        loss = torch.tensor(validation_loss(model), dtype=torch.float64)
        if (loss < best).item():
            best, best_epoch, waited = loss, epoch, 0
            weights = {name: torch.tensor(value) for name, value in model.state_dict().items()}  # torch.tensor copies
        else:
            waited += 1
            if waited == patience:
                break
    model.load_state_dict(weights)
    return torch.tensor(best_epoch), epoch + 1


# 4.6 fgsm


def _slope(loss, params, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(params, x, y), x)[0]


@bank.wrong("4.6", "The gradient itself was added")
def a_gradient_step(loss, params, x, y, *, epsilon):
    return (x + epsilon * _slope(loss, params, x, y)).clamp(0, 1)


@bank.wrong("4.6", "scaled to length 1")
def an_l2_attack(loss, params, x, y, *, epsilon):
    g = _slope(loss, params, x, y)
    return (x + epsilon * g / g.norm(dim=1, keepdim=True)).clamp(0, 1)


@bank.wrong("4.6", "moved down the gradient")
def helps_the_model(loss, params, x, y, *, epsilon):
    return (x - epsilon * _slope(loss, params, x, y).sign()).clamp(0, 1)


@bank.wrong("4.6", "Clip x + epsilon")
def not_clipped(loss, params, x, y, *, epsilon):
    x = x.clone().requires_grad_()
    loss(params, x, y).backward()
    return x + epsilon * x.grad.sign()


@bank.wrong("4.6", "The change was clipped")
def clips_the_change(loss, params, x, y, *, epsilon):
    change = epsilon * _slope(loss, params, x, y).sign()
    return x + change.clamp(0, 1)


@bank.wrong("4.6", "with respect to the *parameters*")
def forgot_argnums(loss, params, x, y, *, epsilon):
    return jnp.clip(x + epsilon * jnp.sign(jax.grad(loss)(params, x, y)), 0, 1)


@bank.wrong("4.6", "epsilon was squared")
def epsilon_squared(loss, params, x, y, *, epsilon):
    perturbation = epsilon * _slope(loss, params, x, y).sign()
    return torch.clamp(x + epsilon * perturbation, 0, 1)


@bank.wrong("4.6", "model's predictions as labels")
def away_from_the_prediction(loss, params, x, y, *, epsilon):
    guess = (x @ params).argmax(dim=1)
    g = _slope(loss, params, x, guess)
    return (x + epsilon * g.sign()).clamp(0, 1)


@bank.wrong("4.6", "Their sign is 0")
def no_zero_sign(loss, params, x, y, *, epsilon):
    g = _slope(loss, params, x, y)
    return (x + torch.where(g > 0, epsilon, -epsilon)).clamp(0, 1)


@bank.wrong("4.6", "This is the change alone")
def the_perturbation(loss, params, x, y, *, epsilon):
    return epsilon * _slope(loss, params, x, y).sign()


@bank.wrong("4.6", "divided by 255")
def as_if_bytes(loss, params, x, y, *, epsilon):
    g = _slope(loss, params, x, y)
    return (x + epsilon / 255 * g.sign()).clamp(0, 1)


@bank.wrong("4.6", "changed its input `x`")
def adds_in_place(loss, params, x, y, *, epsilon):
    g = _slope(loss, params, x, y)
    x += epsilon * g.sign()
    return x.clamp_(0, 1)


@bank.right("4.6")
def by_value_and_grad(loss, params, x, y, *, epsilon):
    _, g = jax.value_and_grad(lambda x: loss(params, x, y))(x)
    return jnp.clip(x + epsilon * jnp.sign(g), 0.0, 1.0)


@bank.right("4.6")
def by_backward(loss, params, x, y, *, epsilon):
    leaf = x.detach().clone().requires_grad_(True)
    (g,) = torch.autograd.grad(loss(params, leaf, y) * len(x), leaf)
    return torch.clamp(leaf + epsilon * torch.sign(g), min=0, max=1).detach()


@bank.right("4.6")
def by_hand_for_a_linear_model(loss, params, x, y, *, epsilon):
    p = scipy.special.softmax((x @ params).astype(float), axis=1)
    g = (p - np.eye(params.shape[1])[y]) @ params.T
    return np.minimum(np.maximum(x + epsilon * np.sign(g), 0), 1)


# 4.7 mixup


@bank.wrong("4.7", "still class numbers")
def labels_stay_numbers(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    w = rng.beta(alpha, alpha, len(x)).reshape(-1, *[1] * (x.ndim - 1))
    return w * x + (1 - w) * x[order], y


@bank.wrong("4.7", "labels of the partners are missing")
def labels_not_mixed(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    w = rng.beta(alpha, alpha, len(x)).reshape(-1, *[1] * (x.ndim - 1))
    return w * x + (1 - w) * x[order], np.eye(num_classes)[y]


@bank.wrong("4.7", "labels of the partners are missing")
def labels_not_permuted(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    w = rng.beta(alpha, alpha, len(x))
    labels = np.eye(num_classes)[y]
    wx = w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * x[order], w[:, None] * labels + (1 - w[:, None]) * labels


@bank.wrong("4.7", "weights of the labels are exchanged")
def weights_exchanged(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order = torch.from_numpy(rng.permutation(len(x)))
    w = torch.from_numpy(rng.beta(alpha, alpha, len(x))).float()
    labels = F.one_hot(y.long(), num_classes).float()
    wx = w.reshape(-1, *[1] * (x.dim() - 1))
    return torch.lerp(x[order], x, wx), torch.lerp(labels, labels[order], w[:, None])


@bank.wrong("4.7", "other partners or other weights")
def weights_drawn_twice(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))

    def mix(a):
        w = rng.beta(alpha, alpha, len(x)).reshape(-1, *[1] * (a.ndim - 1))
        return w * a + (1 - w) * a[order]

    return mix(x), mix(np.eye(num_classes)[y])


@bank.wrong("4.7", "other partners or other weights")
def partners_drawn_twice(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    w = rng.beta(alpha, alpha, len(x))

    def mix(a):
        share = w.reshape(-1, *[1] * (a.ndim - 1))
        return share * a + (1 - share) * a[rng.permutation(len(x))]

    return mix(x), mix(np.eye(num_classes)[y])


@bank.wrong("4.7", "One weight was drawn for the whole batch")
def one_weight_for_all(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.permutation(len(x)), rng.beta(alpha, alpha)
    labels = np.eye(num_classes)[y]
    return w * x + (1 - w) * x[order], w * labels + (1 - w) * labels[order]


@bank.wrong("4.7", "do not add up to 1")
def a_weight_for_every_feature(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.permutation(len(x)), rng.beta(alpha, alpha, x.shape)
    labels, share = np.eye(num_classes)[y], w.reshape(len(x), -1).mean(axis=1)[:, None]
    return w * x + (1 - w) * x[order], share * labels + (1 - share) * labels[order]


@bank.wrong("4.7", "Beta distribution with both parameters alpha")
def uniform_weights(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.permutation(len(x)), rng.random(len(x))
    labels, wx = np.eye(num_classes)[y], w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * x[order], w[:, None] * labels + (1 - w[:, None]) * labels[order]


@bank.wrong("4.7", "Beta distribution with both parameters alpha")
def own_share_always_larger(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.permutation(len(x)), rng.beta(alpha, alpha, len(x))
    w = np.maximum(w, 1 - w)
    labels, wx = np.eye(num_classes)[y], w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * x[order], w[:, None] * labels + (1 - w[:, None]) * labels[order]


@bank.wrong("4.7", "Some examples are partners twice")
def partners_with_replacement(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.integers(0, len(x), len(x)), rng.beta(alpha, alpha, len(x))
    labels, wx = np.eye(num_classes)[y], w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * x[order], w[:, None] * labels + (1 - w[:, None]) * labels[order]


@bank.wrong("4.7", "fixed neighbour")
def rolled_by_one(x, y, *, num_classes, alpha, seed):
    w = np.random.default_rng(seed).beta(alpha, alpha, len(x))
    labels, wx = np.eye(num_classes)[y], w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * np.roll(x, 1, axis=0), w[:, None] * labels + (1 - w[:, None]) * np.roll(labels, 1, axis=0)


@bank.wrong("4.7", "partners are the same whatever the seed")
def partners_of_seed_zero(x, y, *, num_classes, alpha, seed):
    order = np.random.default_rng(0).permutation(len(x))
    w = np.random.default_rng(seed).beta(alpha, alpha, len(x))
    labels, wx = np.eye(num_classes)[y], w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * x[order], w[:, None] * labels + (1 - w[:, None]) * labels[order]


@bank.wrong("4.7", "rounded to the larger share")
def rounded_labels(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.permutation(len(x)), rng.beta(alpha, alpha, len(x))
    labels, wx = np.eye(num_classes)[y], w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * x[order], np.where(w[:, None] > 0.5, labels, labels[order])


@bank.wrong("4.7", "each class that occurs in this batch")
def classes_of_the_batch(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.permutation(len(x)), rng.beta(alpha, alpha, len(x))
    labels, wx = np.eye(max(y) + 1)[y], w.reshape(-1, *[1] * (x.ndim - 1))
    return wx * x + (1 - wx) * x[order], w[:, None] * labels + (1 - w[:, None]) * labels[order]


@bank.wrong("4.7", "different mixtures")
def mixup_without_the_seed(x, y, *, num_classes, alpha, seed):
    order = torch.randperm(len(x))
    w = torch.distributions.Beta(alpha, alpha).sample((len(x),))
    labels, wx = F.one_hot(y.long(), num_classes), w.reshape(-1, *[1] * (x.dim() - 1))
    return wx * x + (1 - wx) * x[order], w[:, None] * labels + (1 - w[:, None]) * labels[order]


@bank.right("4.7")
def mixup_in_torch(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order = torch.from_numpy(rng.permutation(len(x)))
    w = torch.from_numpy(rng.beta(alpha, alpha, len(x))).float()
    labels = F.one_hot(y.long(), num_classes).float()
    return torch.lerp(x[order], x, w.reshape(-1, *[1] * (x.dim() - 1))), torch.lerp(labels[order], labels, w[:, None])


@bank.right("4.7")
def mixup_in_jax(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng(seed)
    order, w = rng.permutation(len(x)), rng.beta(alpha, alpha, len(x)).astype(np.float32)

    def mix(a):
        return jax.vmap(lambda w, a, b: w * a + (1 - w) * b)(w, a, a[order])

    return mix(x), mix(jax.nn.one_hot(y, num_classes))


@bank.right("4.7")
def pair_by_pair(x, y, *, num_classes, alpha, seed):
    rng = np.random.default_rng([seed, 7])
    images, labels = [], []
    for i, j in enumerate(rng.permutation(len(x))):
        w = rng.beta(alpha, alpha)
        images.append((1 - w) * x[i] + w * x[j])
        label = np.zeros(num_classes)
        label[y[i]] += 1 - w
        label[y[j]] += w
        labels.append(label)
    return np.array(images), np.array(labels)


# 4.8 distillation_loss


def _soft(student, teacher, T):
    return F.kl_div(F.log_softmax(student / T, dim=1), F.softmax(teacher / T, dim=1), reduction="batchmean")


@bank.wrong("4.8", "The factor T² is missing")
def without_t_squared(student, teacher, labels, *, temperature, weight):
    return weight * _soft(student, teacher, temperature) + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "multiplied by T. It must be T²")
def times_t(student, teacher, labels, *, temperature, weight):
    soft = temperature * _soft(student, teacher, temperature)
    return weight * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "Only the teacher's logits")
def teacher_softened_alone(student, teacher, labels, *, temperature, weight):
    soft = F.kl_div(F.log_softmax(student, 1), F.softmax(teacher / temperature, 1), reduction="batchmean")
    return weight * temperature**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "Only the student's logits")
def student_softened_alone(student, teacher, labels, *, temperature, weight):
    soft = F.kl_div(F.log_softmax(student / temperature, 1), F.softmax(teacher, 1), reduction="batchmean")
    return weight * temperature**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "The divergence runs the wrong way")
def kl_div_with_its_arguments_exchanged(student, teacher, labels, *, temperature, weight):
    T = temperature
    soft = F.kl_div(F.log_softmax(teacher / T, 1), F.softmax(student / T, 1), reduction="batchmean")
    return weight * T**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "averaged over the classes too")
def default_reduction(student, teacher, labels, *, temperature, weight):
    T = temperature
    soft = F.kl_div(F.log_softmax(student / T, 1), F.softmax(teacher / T, 1), reduction="mean")
    return weight * T**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "added up over the examples")
def summed_reduction(student, teacher, labels, *, temperature, weight):
    T = temperature
    soft = F.kl_div(F.log_softmax(student / T, 1), F.softmax(teacher / T, 1), reduction="sum")
    return weight * T**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "used where their logarithm belongs")
def probabilities_into_kl_div(student, teacher, labels, *, temperature, weight):
    T = temperature
    soft = F.kl_div(F.softmax(student / T, 1), F.softmax(teacher / T, 1), reduction="batchmean")
    return weight * T**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "cross-entropy with the teacher's probabilities")
def soft_cross_entropy(student, teacher, labels, *, temperature, weight):
    T = temperature
    soft = F.cross_entropy(student / T, F.softmax(teacher / T, 1))
    return weight * T**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.wrong("4.8", "taken at the temperature T")
def hard_loss_softened(student, teacher, labels, *, temperature, weight):
    hard = F.cross_entropy(student / temperature, labels.long())
    return weight * temperature**2 * _soft(student, teacher, temperature) + (1 - weight) * hard


@bank.wrong("4.8", "`weight` is on the wrong part")
def weight_on_the_labels(student, teacher, labels, *, temperature, weight):
    hard = F.cross_entropy(student, labels.long())
    return (1 - weight) * temperature**2 * _soft(student, teacher, temperature) + weight * hard


@bank.wrong("4.8", "The whole loss was multiplied")
def t_squared_outside(student, teacher, labels, *, temperature, weight):
    hard = F.cross_entropy(student, labels.long())
    return temperature**2 * (weight * _soft(student, teacher, temperature) + (1 - weight) * hard)


@bank.wrong("4.8", "exp of a large logit is infinite")
def softmax_by_hand(student, teacher, labels, *, temperature, weight):
    def softmax(z):
        e = np.exp(z)
        return e / e.sum(axis=1, keepdims=True)

    p, q = softmax(teacher / temperature), softmax(student / temperature)
    soft = (p * (np.log(p) - np.log(q))).sum(axis=1).mean()
    hard = -np.log(softmax(student)[np.arange(len(labels)), labels]).mean()
    return weight * temperature**2 * soft + (1 - weight) * hard


@bank.wrong("4.8", "logits were multiplied by the temperature")
def sharpened(student, teacher, labels, *, temperature, weight):
    soft = temperature**2 * _soft(student, teacher, 1 / temperature)
    return weight * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@bank.right("4.8")
def distillation_in_torch(student, teacher, labels, *, temperature, weight):
    T = temperature
    soft = F.kl_div(F.log_softmax(student / T, 1), F.log_softmax(teacher / T, 1), reduction="batchmean", log_target=True)
    return weight * T**2 * soft + (1 - weight) * F.cross_entropy(student, labels.long())


@jax.jit
def _distillation_in_jax(student, teacher, labels, T, weight):
    log_p, log_q = jax.nn.log_softmax(teacher / T), jax.nn.log_softmax(student / T)
    soft = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1).mean()
    hard = -jnp.take_along_axis(jax.nn.log_softmax(student), labels[:, None], axis=1).mean()
    return weight * T**2 * soft + (1 - weight) * hard


@bank.right("4.8")
def distillation_in_jax(student, teacher, labels, *, temperature, weight):
    return _distillation_in_jax(student, teacher, labels, temperature, weight)


@bank.right("4.8")
def cross_entropy_minus_entropy(student, teacher, labels, *, temperature, weight):
    log_p = scipy.special.log_softmax(teacher.astype(float) / temperature, axis=1)
    log_q = scipy.special.log_softmax(student.astype(float) / temperature, axis=1)
    p = np.exp(log_p)
    soft = -(p * log_q).sum(1).mean() + (p * log_p).sum(1).mean()
    hard = scipy.special.logsumexp(student.astype(float), axis=1) - student[range(len(labels)), labels]
    return weight * temperature**2 * soft + (1 - weight) * hard.mean()


# 4.9 expected_calibration_error


def _bins(confidence, num_bins):
    edges = np.linspace(0, 1, num_bins + 1)
    return [(confidence > low) & (confidence <= high) for low, high in zip(edges[:-1], edges[1:], strict=True)]


@bank.wrong("4.9", "All bins with examples count the same")
def plain_mean_over_bins(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    gaps = [abs(confidence[b].mean() - hit[b].mean()) for b in _bins(confidence, num_bins) if b.any()]
    return np.mean(gaps)


@bank.wrong("4.9", "An empty bin gave nan")
def empty_bins_as_nan(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for b in _bins(confidence, num_bins):
        total += b.mean() * abs(confidence[b].mean() - hit[b].mean())
    return total


@bank.wrong("4.9", "kept their signs")
def signed_gaps(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    return sum(b.mean() * (confidence[b].mean() - hit[b].mean()) for b in _bins(confidence, num_bins) if b.any())


@bank.wrong("4.9", "probability of the true class")
def confidence_in_the_truth(probabilities, labels, *, num_bins):
    confidence = probabilities[np.arange(len(labels)), labels]
    hit = probabilities.argmax(1) == labels
    return sum(b.mean() * abs(confidence[b].mean() - hit[b].mean()) for b in _bins(confidence, num_bins) if b.any())


@bank.wrong("4.9", "confidence of 1 fell out")
def half_open_bins(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for k in range(num_bins):
        b = (confidence >= k / num_bins) & (confidence < (k + 1) / num_bins)
        if b.any():
            total += b.mean() * abs(confidence[b].mean() - hit[b].mean())
    return total


@bank.wrong("4.9", "put into the upper bin")
def floored_and_clipped(probabilities, labels, *, num_bins):
    confidence, prediction = probabilities.max(dim=1)
    number = (confidence * num_bins).long().clamp(max=num_bins - 1)
    gap = torch.zeros(num_bins).index_add(0, number, confidence - (prediction == labels).float())
    return gap.abs().sum() / len(labels)


@bank.wrong("4.9", "maximum calibration error")
def largest_gap(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    return max(abs(confidence[b].mean() - hit[b].mean()) for b in _bins(confidence, num_bins) if b.any())


@bank.wrong("4.9", "middle of the bin")
def bin_centres(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for k, b in enumerate(_bins(confidence, num_bins)):
        if b.any():
            total += b.mean() * abs((k + 0.5) / num_bins - hit[b].mean())
    return total


@bank.wrong("4.9", "one bin too few")
def edges_one_short(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, num_bins)
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        b = (confidence > low) & (confidence <= high)
        if b.any():
            total += b.mean() * abs(confidence[b].mean() - hit[b].mean())
    return total


@bank.wrong("4.9", "absolute value was taken of the sum")
def absolute_at_the_end(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    return abs((confidence - hit).mean())


@bank.wrong("4.9", "equally many examples")
def quantile_bins(probabilities, labels, *, num_bins):
    order = probabilities.max(1).argsort(kind="stable")
    confidence, hit = probabilities.max(1)[order], (probabilities.argmax(1) == labels)[order]
    parts = zip(np.array_split(confidence, num_bins), np.array_split(hit, num_bins), strict=True)
    return sum(len(c) * abs(c.mean() - h.mean()) for c, h in parts if len(c)) / len(order)


@bank.wrong("4.9", "not divided by the number of examples")
def counts_for_shares(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    return sum(b.sum() * abs(confidence[b].mean() - hit[b].mean()) for b in _bins(confidence, num_bins) if b.any())


@bank.wrong("4.9", "rounded to the nearest edge")
def rounds_to_a_bin(probabilities, labels, *, num_bins):
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.round(confidence * num_bins)
    return sum((bins == k).mean() * abs(confidence[bins == k].mean() - right[bins == k].mean()) for k in np.unique(bins))


@bank.right("4.9")
def ece_by_sums(probabilities, labels, *, num_bins):
    confidence, prediction = probabilities.max(dim=1)
    number = torch.ceil(confidence * num_bins).long() - 1
    gap = torch.zeros(num_bins).index_add(0, number, confidence - (prediction == labels).float())
    return gap.abs().sum() / len(labels)


@bank.right("4.9")
def ece_by_digitize(probabilities, labels, *, num_bins):
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    number = np.digitize(confidence, np.linspace(0, 1, num_bins + 1), right=True)
    total = 0.0
    for k in np.unique(number):
        b = number == k
        total += b.sum() / len(labels) * abs(hit[b].mean() - confidence[b].mean())
    return total


@bank.right("4.9")
@partial(jax.jit, static_argnames="num_bins")
def ece_by_one_hot_bins(probabilities, labels, *, num_bins):
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == labels
    edges = jnp.linspace(0, 1, num_bins + 1)
    member = (confidence[:, None] > edges[:-1]) & (confidence[:, None] <= edges[1:])
    return jnp.abs((member * (confidence - hit)[:, None]).sum(axis=0)).sum() / len(labels)


# 4.10 fit_temperature


def _score(logits, labels, T):
    log_p = scipy.special.log_softmax(logits.astype(float) / T, axis=1)
    return -log_p[np.arange(len(labels)), labels].mean()


@bank.wrong("4.10", "This is 1/T")
def factor_instead_of_divisor(logits, labels):
    return scipy.optimize.minimize_scalar(lambda b: _score(logits, labels, 1 / b), bounds=(1e-3, 20), method="bounded").x


@bank.wrong("4.10", "The search stopped at T = 1")
def only_too_sure_models(logits, labels):
    grid = np.geomspace(1, 100, 1000)
    return grid[np.argmin([_score(logits, labels, T) for T in grid])]


@bank.wrong("4.10", "The search stopped at T = 10")
def a_grid_up_to_ten(logits, labels):
    grid = np.linspace(0.1, 10, 1000)
    return grid[np.argmin([_score(logits, labels, T) for T in grid])]


@bank.wrong("4.10", "The search stopped at T = 5")
def a_grid_up_to_five(logits, labels):
    return scipy.optimize.minimize_scalar(lambda T: _score(logits, labels, T), bounds=(0.05, 5), method="bounded").x


@bank.wrong("4.10", "the Brier score")
def by_the_brier_score(logits, labels):
    def brier(t):
        p = scipy.special.softmax(logits.astype(float) / np.exp(t), axis=1)
        return ((p - np.eye(p.shape[1])[labels]) ** 2).mean()

    return np.exp(scipy.optimize.minimize_scalar(brier, bounds=(-5, 5), method="bounded").x)


@bank.wrong("4.10", "made equal to the accuracy")
def confidence_to_accuracy(logits, labels):
    accuracy = (logits.argmax(1) == labels).mean()

    def gap(t):
        return scipy.special.softmax(logits / np.exp(t), axis=1).max(1).mean() - accuracy

    return np.exp(scipy.optimize.brentq(gap, -5, 6))


@bank.wrong("4.10", "T stayed at 1")
def by_accuracy(logits, labels):
    best, best_accuracy = 1.0, 0.0
    for T in [1.0, 0.5, 2.0, 4.0, 8.0]:
        accuracy = ((logits / T).argmax(1) == labels).mean()
        if accuracy > best_accuracy:
            best, best_accuracy = T, accuracy
    return best


@bank.wrong("4.10", "predictions were used as labels")
def fits_its_own_guesses(logits, labels):
    guess = logits.argmax(axis=1)
    grid = np.geomspace(0.01, 100, 400)
    return grid[np.argmin([_score(logits, guess, T) for T in grid])]


@bank.wrong("4.10", "This is the cross-entropy at the best T")
def returns_the_loss(logits, labels):
    return scipy.optimize.minimize_scalar(lambda t: _score(logits, labels, np.exp(t)), bounds=(-5, 5), method="bounded").fun


@bank.wrong("4.10", "This is log T")
def returns_the_logarithm(logits, labels):
    return scipy.optimize.minimize_scalar(lambda t: _score(logits, labels, np.exp(t)), bounds=(-5, 5), method="bounded").x


@bank.wrong("4.10", "These are the scaled logits")
def returns_scaled_logits(logits, labels):
    t = scipy.optimize.minimize_scalar(lambda t: _score(logits, labels, np.exp(t)), bounds=(-5, 5), method="bounded").x
    return logits / np.exp(t)


@bank.wrong("4.10", "predictions were used as labels")
def expected_loss_under_itself(logits, labels):
    grid = np.geomspace(0.05, 50, 300)
    guess = np.argmax(logits, axis=-1)
    return grid[int(np.argmin([_score(logits, guess, T) for T in grid]))]


@bank.right("4.10")
def by_lbfgs(logits, labels):
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([t], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits.double() / t.exp(), labels.long())
        loss.backward()
        return loss

    optimizer.step(closure)
    return t.detach().exp()


@bank.right("4.10")
def by_a_fine_grid(logits, labels):
    grid = np.geomspace(0.05, 100, 800)
    return grid[np.argmin([_score(logits, labels, T) for T in grid])]


@bank.right("4.10")
def by_bisection_of_the_slope(logits, labels):
    z = logits.astype(float)
    low, high = 1e-3, 20.0  # of 1/T, in which the cross-entropy is convex
    for _ in range(60):
        middle = (low + high) / 2
        p = scipy.special.softmax(middle * z, axis=1)
        slope = (p * z).sum(axis=1).mean() - z[np.arange(len(labels)), labels].mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return 1 / low


# 4.11 losses


@bank.wrong("4.11", "Dropout is on in both losses")
def nothing_mended(apply, loss, params, train, validation, *, rate, seed):
    return tuple(loss(apply(params, x, rate=rate, seed=seed), y) for x, y in (train, validation))


@bank.wrong("4.11", "still on for the training loss")
def mended_for_validation(apply, loss, params, train, validation, *, rate, seed):
    train_loss = loss(apply(params, train[0], rate=rate, seed=seed), train[1])
    return train_loss, loss(apply(params, validation[0], rate=0.0, seed=seed), validation[1])


@bank.wrong("4.11", "still on for the validation loss")
def mended_for_training(apply, loss, params, train, validation, *, rate, seed):
    train_loss = loss(apply(params, train[0], rate=0.0, seed=seed), train[1])
    return train_loss, loss(apply(params, validation[0], rate=rate, seed=seed), validation[1])


@bank.wrong("4.11", "last layer's weights were")
def halves_the_last_layer(apply, loss, params, train, validation, *, rate, seed):
    params = {**params, "W2": (1 - rate) * params["W2"]}
    return [loss(apply(params, x, rate=0.0, seed=seed), y) for x, y in (train, validation)]


@bank.wrong("4.11", "all weights and biases were")
def scales_all_weights(apply, loss, params, train, validation, *, rate, seed):
    params = jax.tree.map(lambda p: (1 - rate) * p, params)
    return [loss(apply(params, x, rate=0.0, seed=seed), y) for x, y in (train, validation)]


@bank.wrong("4.11", "Another seed gives other damage")
def another_seed_for_validation(apply, loss, params, train, validation, *, rate, seed):
    (x, y), (u, v) = train, validation
    return loss(apply(params, x, rate=rate, seed=seed), y), loss(apply(params, u, rate=rate, seed=seed + 1), v)


@bank.wrong("4.11", "Ten damaged networks")
def monte_carlo_dropout(apply, loss, params, train, validation, *, rate, seed):
    def one(x, y):
        return loss(np.stack([apply(params, x, rate=rate, seed=seed + i) for i in range(10)]).mean(axis=0), y)

    return one(*train), one(*validation)


@bank.wrong("4.11", "rate 1 - rate")
def rate_turned_round(apply, loss, params, train, validation, *, rate, seed):
    return [loss(apply(params, x, rate=1 - rate, seed=seed), y) for x, y in (train, validation)]


@bank.wrong("4.11", "two losses are exchanged")
def validation_first(apply, loss, params, train, validation, *, rate, seed):
    return tuple(loss(apply(params, x, rate=0.0, seed=seed), y) for x, y in (validation, train))


@bank.wrong("4.11", "This is the gap")
def only_the_gap(apply, loss, params, train, validation, *, rate, seed):
    a, b = [loss(apply(params, x, rate=0.0, seed=seed), y) for x, y in (train, validation)]
    return b - a


@bank.right("4.11")
def with_the_rate_left_to_zero(apply, loss, params, train, validation, *, rate, seed):
    def evaluate(split):
        x, y = split
        return loss(apply(params, x, rate=0, seed=seed), y)

    return evaluate(train), evaluate(validation)


@bank.right("4.11")
def evaluated_in_torch(apply, loss, params, train, validation, *, rate, seed):
    with torch.no_grad():
        return tuple(loss(apply(params, x, rate=0.0, seed=0), y) for x, y in (train, validation))


@bank.right("4.11")
def all_rows_in_one_call(apply, loss, params, train, validation, *, rate, seed):
    logits = apply(params, jnp.concatenate([train[0], validation[0]]), rate=0.0, seed=seed)
    n = len(train[1])
    return loss(logits[:n], train[1]), loss(logits[n:], validation[1])


# 4.12 select


@bank.wrong("4.12", "its lowest value is reported")
def test_set_all_the_way(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited = np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "test")
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, best


@bank.wrong("4.12", "still chosen by the test loss. It makes no difference")
def tested_once_more(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited = np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "test")
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, evaluate(best_state, "test")


@bank.wrong("4.12", "that same validation loss is reported")
def reports_the_validation_loss(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited = np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "validation")
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, best


@bank.wrong("4.12", "The training loss chooses")
def chosen_by_the_training_loss(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited = np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "train")
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, evaluate(best_state, "test")


@bank.wrong("4.12", "The mean of validation and test loss")
def chosen_by_both(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited = np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = np.mean([evaluate(state, split) for split in ("validation", "test")])
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, evaluate(best_state, "test")


@bank.wrong("4.12", "looked at in every epoch")
def logs_the_test_loss(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited = np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "validation")
        print("validation", loss, "test", evaluate(state, "test"))
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, evaluate(best_state, "test")


@bank.wrong("4.12", "epoch is still the one with the lowest test loss")
def stops_by_one_keeps_by_the_other(train_epoch, evaluate, state, *, max_epochs, patience):
    best, lowest, best_state, waited = np.inf, np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss, test_loss = evaluate(state, "validation"), evaluate(state, "test")
        waited = 0 if loss < lowest else waited + 1
        lowest = min(loss, lowest)
        if test_loss < best:
            best, best_state = test_loss, state
        if waited == patience:
            break
    return best_state, best


@bank.wrong("4.12", "test loss still says when to stop")
def keeps_by_one_stops_by_the_other(train_epoch, evaluate, state, *, max_epochs, patience):
    best, lowest, best_state, waited = np.inf, np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss, test_loss = evaluate(state, "validation"), evaluate(state, "test")
        waited = 0 if test_loss < lowest else waited + 1
        lowest = min(test_loss, lowest)
        if loss < best:
            best, best_state = loss, state
        if waited == patience:
            break
    return best_state, evaluate(best_state, "test")


@bank.wrong("4.12", "last state was tested and returned")
def returns_the_last_state(train_epoch, evaluate, state, *, max_epochs, patience):
    best, waited = np.inf, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "validation")
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            break
    return state, evaluate(state, "test")


@bank.wrong("4.12", "test loss is that of the last one")
def tests_the_last_state(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited = np.inf, state, 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "validation")
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, evaluate(state, "test")


@bank.wrong("4.12", "The lowest test loss of all epochs")
def best_test_loss_of_all(train_epoch, evaluate, state, *, max_epochs, patience):
    best, best_state, waited, tested = np.inf, state, 0, []
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "validation")
        tested.append(evaluate(state, "test"))
        if loss < best:
            best, best_state, waited = loss, state, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, min(tested)


@bank.wrong("4.12", "at every new best")
def tests_each_new_best(train_epoch, evaluate, state, *, max_epochs, patience):
    lowest, waited = float("inf"), 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        loss = evaluate(state, "validation")
        if loss < lowest:
            lowest, best_state, test_loss, waited = loss, state, evaluate(state, "test"), 0
        else:
            waited += 1
        if waited == patience:
            break
    return best_state, test_loss


@bank.right("4.12")
def all_states_in_a_list(train_epoch, evaluate, state, *, max_epochs, patience):
    states, losses = [], []
    while len(states) < max_epochs and len(losses) - 1 - (np.argmin(losses) if losses else -1) < patience:
        state = train_epoch(state)
        states.append(state)
        losses.append(evaluate(state, "validation"))
    chosen = states[int(np.argmin(losses))]
    return chosen, evaluate(chosen, "test")


@bank.right("4.12")
def with_for_else(train_epoch, evaluate, state, *, max_epochs, patience):
    best = (float("inf"), None)
    bad = 0
    for _ in range(max_epochs):
        state = train_epoch(state)
        now = evaluate(state, "validation")
        bad = 0 if now < best[0] else bad + 1
        best = (now, state) if now < best[0] else best
        if bad >= patience:
            break
    return [best[1], evaluate(best[1], "test")]


# 4.13 prepare


@bank.wrong("4.13", "still those of all rows of x")
def scaled_before_the_split(x, train_rows, validation_rows):
    std = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(std > 0, std, 1)
    return x[train_rows], x[validation_rows]


@bank.wrong("4.13", "training and validation rows together")
def scaled_by_both_parts(x, train_rows, validation_rows):
    used = x[np.concatenate([train_rows, validation_rows])]
    mean, std = used.mean(axis=0), used.std(axis=0)
    std = np.where(std > 0, std, 1)
    return (x[train_rows] - mean) / std, (x[validation_rows] - mean) / std


@bank.wrong("4.13", "by its own statistics")
def each_part_by_itself(x, train_rows, validation_rows):
    def scale(part):
        std = part.std(axis=0)
        return (part - part.mean(axis=0)) / np.where(std > 0, std, 1)

    return scale(x[train_rows]), scale(x[validation_rows])


@bank.wrong("4.13", "divided by 0")
def divides_by_zero(x, train_rows, validation_rows):
    train = x[train_rows]
    mean, std = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / std, (x[validation_rows] - mean) / std


@bank.wrong("4.13", "A small number was added")
def plus_epsilon(x, train_rows, validation_rows):
    train = x[train_rows]
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-8
    return (train - mean) / std, (x[validation_rows] - mean) / std


@bank.wrong("4.13", "computed with n - 1")
def torch_std_as_it_comes(x, train_rows, validation_rows):
    train = x[train_rows]
    mean, std = train.mean(dim=0), train.std(dim=0)
    std = torch.where(std > 0, std, 1.0)
    return (train - mean) / std, (x[validation_rows] - mean) / std


@bank.wrong("4.13", "divided by the variance")
def by_the_variance(x, train_rows, validation_rows):
    train = x[train_rows]
    mean, variance = train.mean(axis=0), train.var(axis=0)
    variance = np.where(variance > 0, variance, 1)
    return (train - mean) / variance, (x[validation_rows] - mean) / variance


@bank.wrong("4.13", "One mean and one deviation for all features")
def one_scale_for_all(x, train_rows, validation_rows):
    train = x[train_rows]
    return (train - train.mean()) / train.std(), (x[validation_rows] - train.mean()) / train.std()


@bank.wrong("4.13", "validation rows were left as they were")
def validation_not_scaled(x, train_rows, validation_rows):
    train = x[train_rows]
    std = train.std(axis=0)
    return (train - train.mean(axis=0)) / np.where(std > 0, std, 1), x[validation_rows]


@bank.wrong("4.13", "the deviation from all of x")
def half_mended(x, train_rows, validation_rows):
    mean, std = x[train_rows].mean(axis=0), x.std(axis=0)
    std = np.where(std > 0, std, 1)
    return (x[train_rows] - mean) / std, (x[validation_rows] - mean) / std


@bank.wrong("4.13", "range from 0 to 1")
def min_max(x, train_rows, validation_rows):
    low, high = x[train_rows].min(axis=0), x[train_rows].max(axis=0)
    width = np.where(high > low, high - low, 1)
    return (x[train_rows] - low) / width, (x[validation_rows] - low) / width


@bank.wrong("4.13", "changed its input `x`")
def scales_in_place(x, train_rows, validation_rows):
    mean, std = x[train_rows].mean(axis=0), x[train_rows].std(axis=0)
    x -= mean
    x /= np.where(std > 0, std, 1)
    return x[train_rows], x[validation_rows]


@bank.right("4.13")
def all_rows_after_the_fit(x, train_rows, validation_rows):
    mean, std = x[train_rows].mean(axis=0), x[train_rows].std(axis=0)
    scaled = (x - mean) / np.where(std == 0, 1, std)
    return scaled[train_rows], scaled[validation_rows]


@bank.right("4.13")
def by_torch_var_mean(x, train_rows, validation_rows):
    variance, mean = torch.var_mean(x[train_rows].double(), dim=0, correction=0)
    std = variance.sqrt()
    std[std == 0] = 1
    return tuple((x[rows] - mean) / std for rows in (train_rows, validation_rows))


@bank.right("4.13")
def feature_by_feature(x, train_rows, validation_rows):
    columns = []
    for feature in x.T.astype(float):
        known = feature[train_rows]
        deviation = np.sqrt(np.mean((known - known.mean()) ** 2))
        columns.append((feature - known.mean()) / (deviation or 1.0))
    scaled = np.array(columns).T
    return scaled[train_rows], scaled[validation_rows]
