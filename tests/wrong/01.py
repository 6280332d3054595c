"""Answers to the exercises of lesson 01 as students write them, wrong and right, with the words that must be said."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from mlcourse.checks.killrate import Bank

bank = Bank()

# 1.1 cross_entropy


@bank.wrong("1.1", "Subtract the largest logit of each row")
def softmax_from_the_formula(logits, labels):
    exps = jnp.exp(logits)
    probs = exps / jnp.sum(exps, axis=-1, keepdims=True)
    return -jnp.mean(jnp.log(probs[jnp.arange(labels.shape[0]), labels]))


@bank.wrong("1.1", "Subtract the largest logit of each row")
def log_of_the_sum_in_torch(logits, labels):
    logits = logits.float()
    partition = torch.log(torch.exp(logits).sum(dim=1))
    return (partition - logits[torch.arange(len(labels)), labels.long()]).mean()


@bank.wrong("1.1", "as one formula")
def log_of_a_library_softmax(logits, labels):
    probs = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1])
    return -jnp.log((probs * one_hot).sum(-1)).mean()


@bank.wrong("1.1", "A small number was put inside the logarithm")
def with_a_small_epsilon(logits, labels):
    z = logits.astype(np.float32)
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels] + 1e-8).mean()


@bank.wrong("1.1", "whole batch")
def maximum_of_everything(logits, labels):
    z = (logits - logits.max()).astype(np.float32)
    return np.mean(np.log(np.exp(z).sum(1)) - z[range(len(labels)), labels])


@bank.wrong("1.1", "The sign is missing")
def without_the_minus(logits, labels):
    log_probs = torch.log_softmax(logits.float(), dim=1)
    return log_probs.gather(1, labels.long()[:, None]).mean()


@bank.wrong("1.1", "Return their mean")
def summed_over_the_batch(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels).sum()


@bank.wrong("1.1", "one loss for each example")
def one_loss_each(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)


@bank.wrong("1.1", "use axis=1")
def softmax_down_the_columns(logits, labels):
    z = logits - logits.max(axis=0)
    log_probs = z - np.log(np.exp(z).sum(axis=0))
    total = 0.0
    for row, label in zip(log_probs, labels, strict=True):
        total -= row[label]
    return total / len(labels)


@bank.wrong("1.1", "only the label's log-probability counts")
def mean_over_the_one_hot_table(logits, labels):
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -(log_probs * jax.nn.one_hot(labels, logits.shape[1])).mean()


@bank.wrong("1.1", "give the row too")
def columns_instead_of_entries(logits, labels):
    z = logits - np.max(logits, axis=1, keepdims=True)
    return -(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))[:, labels].mean()


@bank.wrong("1.1", "The logarithm is missing")
def minus_the_probability(logits, labels):
    return -torch.softmax(logits.float(), 1)[torch.arange(len(labels)), labels.long()].mean()


@bank.wrong("1.1", "must end with `return`")
def printed_but_not_returned(logits, labels):
    loss = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels).mean()
    print(loss)


@bank.wrong("1.1", "shape (1,)")
def in_a_list_of_one(logits, labels):
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jnp.array([-log_probs[jnp.arange(len(labels)), labels].mean()])


@bank.wrong("1.1", "changed its input `logits`")
def subtracts_in_place(logits, labels):
    if logits.dtype.kind == "f":
        logits -= logits.max(axis=1, keepdims=True)
    z = logits - logits.max(axis=1, keepdims=True)
    return (np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels]).mean()


@bank.right("1.1")
def log_sum_exp_in_jax(logits, labels):
    logits = logits.astype(jnp.float32)
    return jnp.mean(jax.scipy.special.logsumexp(logits, axis=1) - logits[jnp.arange(len(labels)), labels])


@bank.right("1.1")
def torch_does_it(logits, labels):
    return torch.nn.functional.cross_entropy(logits.double(), labels.long())


@bank.right("1.1")
def row_by_row_in_numpy(logits, labels):
    losses = []
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        losses.append(np.log(sum(np.exp(value - top) for value in row)) - (row[label] - top))
    return sum(losses) / len(losses)


# 1.2 minibatches


@bank.wrong("1.2", "nothing was shuffled")
def in_the_order_of_the_data(x, y, *, batch_size, seed, last):
    n = len(x)
    stop = n if last == "keep" else n - n % batch_size
    for i in range(0, stop, batch_size):
        yield x[i : min(i + batch_size, stop)], y[i : min(i + batch_size, stop)]


@bank.wrong("1.2", "shuffled apart")
def two_permutations(x, y, *, batch_size, seed, last):
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(x), rng.permutation(y)
    for i in range(0, len(x), batch_size):
        if last == "keep" or i + batch_size <= len(x):
            yield x[i : i + batch_size], y[i : i + batch_size]


@bank.wrong("1.2", "shuffled apart")
def only_x_is_shuffled(x, y, *, batch_size, seed, last):
    x = x[np.random.default_rng(seed).permutation(len(x))]
    for i in range(0, len(x), batch_size):
        if last == "keep" or i + batch_size <= len(x):
            yield x[i : i + batch_size], y[i : i + batch_size]


@bank.wrong("1.2", "samples with replacement")
def random_integers(x, y, *, batch_size, seed, last):
    rng = np.random.default_rng(seed)
    sizes = [batch_size] * (len(x) // batch_size)
    if last == "keep" and len(x) % batch_size:
        sizes.append(len(x) % batch_size)
    for size in sizes:
        idx = rng.integers(0, len(x), size)
        yield x[idx], y[idx]


@bank.wrong("1.2", "last, smaller batch is always dropped")
def never_the_partial_one(x, y, *, batch_size, seed, last):
    order = np.random.default_rng(seed).permutation(len(x))
    for i in range(len(x) // batch_size):
        idx = order[i * batch_size : (i + 1) * batch_size]
        yield x[idx], y[idx]


@bank.wrong("1.2", "last, smaller batch is always kept")
def always_the_partial_one(x, y, *, batch_size, seed, last="keep"):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    for idx in order.split(batch_size):
        yield x[idx], y[idx]


@bank.wrong("1.2", "One full batch is missing")
def stops_one_too_early(x, y, *, batch_size, seed, last):
    order = np.random.default_rng(seed).permutation(len(x))
    for i in range(0, len(x) - batch_size, batch_size):
        yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.wrong("1.2", "It never ends")
def goes_on_for_ever(x, y, *, batch_size, seed, last):
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for i in range(0, len(x), batch_size):
            yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.wrong("1.2", "`return` inside the loop")
def returns_at_once(x, y, *, batch_size, seed, last):
    order = np.random.default_rng(seed).permutation(len(x))
    for i in range(0, len(x), batch_size):
        return x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.wrong("1.2", "Two calls with the same seed")
def without_the_seed(x, y, *, batch_size, seed, last):
    order = np.random.default_rng().permutation(len(x))
    for i in range(0, len(x), batch_size):
        if last == "keep" or i + batch_size <= len(x):
            yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.wrong("1.2", "`seed` is not used")
def a_seed_of_its_own(x, y, *, batch_size, seed, last):
    order = np.random.default_rng(42).permutation(len(x))
    for i in range(0, len(x), batch_size):
        if last == "keep" or i + batch_size <= len(x):
            yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.wrong("1.2", "global random generator")
def seeds_the_whole_program(x, y, *, batch_size, seed, last):
    np.random.seed(seed)  # noqa: NPY002 - the mistake
    order = np.random.permutation(len(x))  # noqa: NPY002
    for i in range(0, len(x), batch_size):
        if last == "keep" or i + batch_size <= len(x):
            yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.wrong("1.2", "each batch holds neighbours")
def shuffles_the_batches(x, y, *, batch_size, seed, last):
    starts = np.arange(0, len(x), batch_size)
    if last == "drop" and len(x) % batch_size:
        starts = starts[:-1]
    np.random.default_rng(seed).shuffle(starts)
    starts = sorted(starts, key=lambda i: i + batch_size > len(x))
    for i in starts:
        yield x[i : i + batch_size], y[i : i + batch_size]


@bank.wrong("1.2", "the same examples are left out")
def drops_before_it_shuffles(x, y, *, batch_size, seed, last):
    n = len(x) // batch_size * batch_size if last == "drop" else len(x)
    order = np.random.default_rng(seed).permutation(n)
    for i in range(0, n, batch_size):
        yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.wrong("1.2", "changed its input `x`")
def shuffles_in_place(x, y, *, batch_size, seed, last):
    order = np.random.default_rng(seed).permutation(len(x))
    x[:], y[:] = x[order], y[order]
    for i in range(0, len(x), batch_size):
        if last == "keep" or i + batch_size <= len(x):
            yield x[i : i + batch_size].copy(), y[i : i + batch_size].copy()


@bank.wrong("1.2", "must end with `return`")
def forgets_to_return_the_list(x, y, *, batch_size, seed, last):
    batches = []
    order = np.random.default_rng(seed).permutation(len(x))
    for i in range(0, len(x), batch_size):
        batches.append((x[order[i : i + batch_size]], y[order[i : i + batch_size]]))


@bank.right("1.2")
def split_of_a_torch_permutation(x, y, *, batch_size, seed, last):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    for idx in order.split(batch_size):
        if len(idx) == batch_size or last == "keep":
            yield x[idx], y[idx]


@bank.right("1.2")
def with_a_jax_key(x, y, *, batch_size, seed, last):
    order = jax.random.permutation(jax.random.key(seed), x.shape[0])
    stop = x.shape[0] if last == "keep" else x.shape[0] - x.shape[0] % batch_size
    for i in range(0, stop, batch_size):
        yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


@bank.right("1.2")
def a_list_from_the_end_of_the_order(x, y, *, batch_size, seed, last):
    order = list(np.random.default_rng(seed).permutation(len(x)))
    batches = []
    while order:
        idx, order = order[:batch_size], order[batch_size:]
        if len(idx) == batch_size or last == "keep":
            batches.append((x[idx], y[idx]))
    return batches


# 1.3 sgd_step


@bank.wrong("1.3", "goes uphill")
def adds_the_gradient(params, grads, learning_rate):
    return jax.tree.map(lambda p, g: p + learning_rate * g, params, grads)


@bank.wrong("1.3", "The learning rate is not used")
def forgets_the_rate(params, grads, learning_rate):
    return jax.tree.map(lambda p, g: p - g, params, grads)


@bank.wrong("1.3", "These are the steps")
def only_the_steps(params, grads, learning_rate):
    return jax.tree.map(lambda g: -learning_rate * g, grads)


@bank.wrong("1.3", "An inner dict was treated as an array")
def one_level_deep(params, grads, learning_rate):
    return {k: params[k] - learning_rate * grads[k] for k in params}


@bank.wrong("1.3", "changed its input `params`")
def updates_in_place(params, grads, learning_rate):
    for name, value in params.items():
        if isinstance(value, dict):
            updates_in_place(value, grads[name], learning_rate)
        else:
            value -= learning_rate * grads[name]
    return params


@bank.wrong("1.3", "must end with `return`")
def updates_in_place_and_returns_nothing(params, grads, learning_rate):
    with torch.no_grad():
        for name in params:
            if isinstance(params[name], dict):
                updates_in_place_and_returns_nothing(params[name], grads[name], learning_rate)
            else:
                params[name].sub_(learning_rate * grads[name])


@bank.wrong("1.3", "changed its input `params`")
def puts_new_arrays_into_the_old_dict(params, grads, learning_rate):
    for name in params:
        if isinstance(params[name], dict):
            params[name] = puts_new_arrays_into_the_old_dict(params[name], grads[name], learning_rate)
        else:
            params[name] = params[name] - learning_rate * grads[name]
    return params


@bank.wrong("1.3", "paired by their position")
def zips_the_values(params, grads, learning_rate):
    new = {}
    for (name, p), g in zip(params.items(), grads.values(), strict=True):
        new[name] = zips_the_values(p, g, learning_rate) if isinstance(p, dict) else p - learning_rate * g
    return new


@bank.wrong("1.3", "The biases learn as well")
def leaves_the_biases(params, grads, learning_rate):
    def update(path, p, g):
        return p if "'b'" in jax.tree_util.keystr(path) else p - learning_rate * g

    return jax.tree_util.tree_map_with_path(update, params, grads)


@bank.wrong("1.3", "divided by the learning rate")
def divides_by_the_rate(params, grads, learning_rate):
    return jax.tree.map(lambda p, g: p - g / learning_rate, params, grads)


@bank.wrong("1.3", "Only the sign of the gradient")
def sign_descent(params, grads, learning_rate):
    return jax.tree.map(lambda p, g: p - learning_rate * jnp.sign(g), params, grads)


@bank.wrong("1.3", "expected a dict")
def a_list_of_arrays(params, grads, learning_rate):
    return [p - learning_rate * g for p, g in zip(jax.tree.leaves(params), jax.tree.leaves(grads), strict=True)]


@bank.right("1.3")
def by_tree_map(params, grads, learning_rate):
    return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads)


@bank.right("1.3")
def with_optax(params, grads, learning_rate):
    optimizer = optax.sgd(learning_rate)
    updates, _ = optimizer.update(grads, optimizer.init(params))
    return optax.apply_updates(params, updates)


@bank.right("1.3")
def recursively_in_torch(params, grads, learning_rate):
    if isinstance(params, torch.Tensor):
        return torch.sub(params, grads, alpha=learning_rate)
    return {name: recursively_in_torch(params[name], grads[name], learning_rate) for name in params}


# 1.4 accuracy


def _logits(model, x, batch_size):
    return np.concatenate([np.asarray(model(x[i : i + batch_size])) for i in range(0, len(x), batch_size)])


@bank.wrong("1.4", "left in training mode")
def never_says_eval(model, x, y, *, batch_size):
    return float((_logits(model, x, batch_size).argmax(axis=1) == np.asarray(y)).mean())


@bank.wrong("1.4", "left in training mode")
def no_grad_is_not_eval(model, x, y, *, batch_size):
    hits = 0
    with torch.no_grad():
        for i in range(0, len(x), batch_size):
            hits += (model(x[i : i + batch_size]).argmax(dim=1) == y[i : i + batch_size]).sum()
    return hits / len(x)


@bank.wrong("1.4", "another mode than before")
def leaves_it_in_evaluation_mode(model, x, y, *, batch_size):
    model.eval()
    return float((_logits(model, x, batch_size).argmax(axis=1) == np.asarray(y)).mean())


@bank.wrong("1.4", "another mode than before")
def always_ends_in_training_mode(model, x, y, *, batch_size):
    model.eval()
    hits = 0
    with torch.no_grad():
        for i in range(0, len(x), batch_size):
            hits += (model(x[i : i + batch_size]).argmax(dim=1) == y[i : i + batch_size]).sum().item()
    model.train()
    return hits / len(x)


@bank.wrong("1.4", "mean of the batches' accuracies")
def averages_the_averages(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    accuracies = []
    for i in range(0, len(x), batch_size):
        predicted = jnp.argmax(model(x[i : i + batch_size]), axis=-1)
        accuracies.append(jnp.mean(predicted == y[i : i + batch_size]))
    model.train(was_training)
    return jnp.stack(accuracies).mean()


@bank.wrong("1.4", "This is the error rate")
def counts_the_wrong_ones(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    wrong = (_logits(model, x, batch_size).argmax(axis=1) != np.asarray(y)).sum()
    model.train(was_training)
    return wrong / len(x)


@bank.wrong("1.4", "in per cent")
def per_cent(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    right = (_logits(model, x, batch_size).argmax(axis=1) == np.asarray(y)).sum()
    model.train(was_training)
    return 100.0 * right / len(x)


@bank.wrong("1.4", "through the model at once")
def the_whole_split_in_one_go(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    right = (model(x).argmax(1) == y).mean()
    model.train(was_training)
    return right


@bank.wrong("1.4", "argmax` ran over the examples")
def argmax_over_axis_0(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    right = (_logits(model, x, batch_size).argmax(0) == np.asarray(y)).mean()
    model.train(was_training)
    return right


@bank.wrong("1.4", "last, smaller batch was left out")
def drops_the_rest(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    right = seen = 0
    for i in range(0, max(len(x) - batch_size, 0) + 1, batch_size):
        batch = y[i : i + batch_size]
        right += (model(x[i : i + batch_size]).argmax(1) == batch).sum()
        seen += len(batch)
    model.train(was_training)
    return right / seen


@bank.wrong("1.4", "one value for each row")
def a_value_for_each_row(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    right = _logits(model, x, batch_size).argmax(1) == np.asarray(y)
    model.train(was_training)
    return right


@bank.wrong("1.4", "Only the first batch was counted")
def returns_inside_the_loop(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    for i in range(0, len(x), batch_size):
        right = (model(x[i : i + batch_size]).argmax(1) == y[i : i + batch_size]).mean()
        model.train(was_training)
        return right


@bank.right("1.4")
def the_pytorch_way(model, x, y, *, batch_size):
    was_training = model.training
    model.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in zip(x.split(batch_size), y.split(batch_size), strict=True):
            correct += (model(xb).argmax(dim=1) == yb).sum().item()
    model.train(was_training)
    return correct / len(x)


@bank.right("1.4")
def the_jax_way(model, x, y, *, batch_size):
    mode, hits = model.training, []
    model.eval()
    for i in range(0, x.shape[0], batch_size):
        hits.append(jnp.argmax(model(x[i : i + batch_size]), -1) == y[i : i + batch_size])
    if mode:
        model.train()
    return jnp.concatenate(hits).mean()


@bank.right("1.4")
def with_finally(model, x, y, *, batch_size):
    was_training = model.training
    try:
        model.eval()
        return np.mean(_logits(model, x, batch_size).argmax(axis=1) == np.asarray(y))
    finally:
        model.training = was_training


# 1.5 dependency_chart


@bank.wrong("1.5", "Rows and columns are exchanged")
def inputs_along_the_rows(losses, x):
    jacobian = jax.jacobian(losses)(x)
    return (jacobian != 0).any(axis=2).T


@bank.wrong("1.5", "slopes of both signs cancel")
def sums_the_slopes(losses, x):
    return torch.autograd.functional.jacobian(losses, x).sum(-1).abs() > 1e-9


@bank.wrong("1.5", "Only positive slopes were counted")
def positive_slopes(losses, x):
    return (jax.jacrev(losses)(x) > 0).any(-1)


@bank.wrong("1.5", "A small slope was taken for none")
def a_threshold(losses, x):
    return torch.autograd.functional.jacobian(losses, x).abs().amax(dim=-1) > 0.01


@bank.wrong("1.5", "the whole Jacobian")
def all_the_slopes(losses, x):
    return jax.jacobian(losses)(x)


@bank.wrong("1.5", "gradient of the sum of all the losses")
def gradient_of_the_sum(losses, x):
    return jax.grad(lambda inputs: losses(inputs).sum())(x)


@bank.wrong("1.5", "gradient of the sum of all the losses")
def backward_of_the_sum(losses, x):
    x = x.clone().requires_grad_()
    losses(x).sum().backward()
    return x.grad


@bank.wrong("1.5", "that a correct model should have")
def the_chart_one_hopes_for(losses, x):
    return np.eye(x.shape[0]) == 1


@bank.wrong("1.5", "Every feature had to have a slope")
def all_instead_of_any(losses, x):
    return jnp.all(jax.jacobian(losses)(x) != 0, axis=-1)


@bank.wrong("1.5", "The chart is reversed")
def where_it_is_zero(losses, x):
    return (jax.jacobian(losses)(x) == 0).all(axis=-1)


@bank.wrong("1.5", "Each example was passed to `losses` alone")
def one_example_at_a_time(losses, x):
    slopes = [jax.grad(lambda row: losses(row[None])[0])(row) for row in x]
    return jnp.diag(jnp.array([bool(jnp.any(slope != 0)) for slope in slopes]))


@bank.wrong("1.5", "size of the slopes")
def sizes_of_the_slopes(losses, x):
    return jnp.abs(jax.jacobian(losses)(x)).sum(-1)


@bank.right("1.5")
def jacobian_in_jax(losses, x):
    return jnp.any(jax.jacobian(losses)(x) != 0, axis=-1)


@bank.right("1.5")
def loss_by_loss_in_torch(losses, x):
    rows = []
    for i in range(len(x)):
        inputs = x.clone().requires_grad_()
        losses(inputs)[i].backward()
        rows.append((inputs.grad != 0).any(dim=1))
    return torch.stack(rows)


@bank.right("1.5")
def by_changing_each_input(losses, x):
    before = losses(x)
    chart = np.zeros((len(x), len(x)), dtype=bool)
    rng = np.random.default_rng(0)
    for j in range(len(x)):
        changed = x.copy()
        changed[j] += rng.normal(size=x.shape[1])
        chart[:, j] = losses(changed) != before
    return chart


# 1.6 fit


def _batches(split, batch_size):
    x, y = split
    return [(x[i : i + batch_size], y[i : i + batch_size]) for i in range(0, len(x), batch_size)]


@bank.wrong("1.6", "measured on the last training batch")
def the_loop_as_it_was(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    x, y = validation
    history = []
    for epoch in range(num_epochs):
        for x, y in _batches(train, batch_size):
            state, metrics = step(state, (x, y))
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": evaluate(state, (x, y))})
    return state, history


@bank.wrong("1.6", "measured on the whole training split")
def evaluates_on_train(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": evaluate(state, train)})
    return state, history


@bank.wrong("1.6", "Only the first examples of the validation split")
def one_validation_batch(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        first = next(iter(_batches(validation, batch_size)))
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": evaluate(state, first)})
    return state, history


@bank.wrong("1.6", "learns from the validation split")
def trains_on_validation(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(validation, batch_size):
            state, metrics = step(state, batch)
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": evaluate(state, validation)})
    return state, history


@bank.wrong("1.6", "The splits are exchanged")
def splits_exchanged(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    train, validation = validation, train
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": evaluate(state, validation)})
    return state, history


@bank.wrong("1.6", "`step` was called on the validation split")
def steps_to_evaluate(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        state, validation_metrics = step(state, validation)
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": validation_metrics["loss"]})
    return state, history


@bank.wrong("1.6", "measured before the epoch's updates")
def evaluates_first(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        validation_loss = evaluate(state, validation)
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": validation_loss})
    return state, history


@bank.wrong("1.6", "training and validation together")
def evaluates_on_everything(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    everything = tuple(np.concatenate(pair) for pair in zip(train, validation, strict=True))
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": evaluate(state, everything)})
    return state, history


@bank.wrong("1.6", "return `state, history`")
def returns_only_the_history(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        history.append({"epoch": epoch, "train_loss": metrics["loss"], "validation_loss": evaluate(state, validation)})
    return history


@bank.wrong("1.6", "has the keys 'epoch', 'validation_loss'")
def forgets_the_training_loss(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, _ = step(state, batch)
        history.append({"epoch": epoch, "validation_loss": evaluate(state, validation)})
    return state, history


@bank.right("1.6")
def with_its_own_names(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    history = []
    for epoch in range(num_epochs):
        for batch in _batches(train, batch_size):
            state, metrics = step(state, batch)
        row = {"epoch": epoch}
        row["train_loss"] = metrics["loss"]
        row["validation_loss"] = evaluate(state, validation)
        history.append(row)
    return state, history


@bank.right("1.6")
def batches_as_jax_arrays(step, evaluate, state, train, validation, *, num_epochs, batch_size):
    x, y = map(jnp.asarray, train)
    history = []
    for epoch in range(num_epochs):
        for start in range(0, len(x), batch_size):
            state, metrics = step(state, (x[start : start + batch_size], y[start : start + batch_size]))
        history += [{"epoch": epoch, "validation_loss": evaluate(state, validation), "train_loss": metrics["loss"]}]
    return state, history


# 1.7 epochs


@bank.wrong("1.7", "`order` is drawn, but not used")
def the_iterator_as_it_was(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(order), batch_size):
            yield x[start : start + batch_size], y[start : start + batch_size]


@bank.wrong("1.7", "Every epoch has the same order")
def one_order_for_all(x, y, *, batch_size, num_epochs, seed):
    order = np.random.default_rng(seed).permutation(len(x))
    for _ in range(num_epochs):
        for start in range(0, len(x), batch_size):
            yield x[order[start : start + batch_size]], y[order[start : start + batch_size]]


@bank.wrong("1.7", "Every epoch has the same order")
def a_new_generator_each_epoch(x, y, *, batch_size, num_epochs, seed):
    for _ in range(num_epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        for idx in order.split(batch_size):
            yield x[idx], y[idx]


@bank.wrong("1.7", "shuffled apart")
def labels_stay_where_they_are(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            yield x[order[start : start + batch_size]], y[start : start + batch_size]


@bank.wrong("1.7", "samples with replacement")
def choices(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        for start in range(0, len(x), batch_size):
            idx = rng.choice(len(x), size=min(batch_size, len(x) - start))
            yield x[idx], y[idx]


@bank.wrong("1.7", "independent. Make one generator")
def seed_plus_epoch(x, y, *, batch_size, num_epochs, seed):
    for epoch in range(num_epochs):
        order = np.random.default_rng(seed + epoch).permutation(len(x))
        for start in range(0, len(x), batch_size):
            yield x[order[start : start + batch_size]], y[order[start : start + batch_size]]


@bank.wrong("1.7", "Two calls with the same seed")
def an_order_nobody_can_repeat(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng()
    for _ in range(num_epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            yield x[order[start : start + batch_size]], y[order[start : start + batch_size]]


@bank.wrong("1.7", "`seed` is not used")
def always_seed_zero(x, y, *, batch_size, num_epochs, seed):
    generator = torch.Generator().manual_seed(0)
    for _ in range(num_epochs):
        for idx in torch.randperm(len(x), generator=generator).split(batch_size):
            yield x[idx], y[idx]


@bank.wrong("1.7", "each batch holds neighbours")
def order_of_the_batches(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        starts = list(rng.permutation(range(0, len(x), batch_size)))
        for start in sorted(starts, key=lambda i: i + batch_size > len(x)):
            yield x[start : start + batch_size], y[start : start + batch_size]


@bank.wrong("1.7", "only one epoch")
def one_epoch_only(x, y, *, batch_size, num_epochs, seed):
    order = np.random.default_rng(seed).permutation(len(x))
    for start in range(0, len(x), batch_size):
        yield x[order[start : start + batch_size]], y[order[start : start + batch_size]]


@bank.wrong("1.7", "last, smaller batch of an epoch is missing")
def without_the_rest(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch_size + 1, batch_size):
            yield x[order[start : start + batch_size]], y[order[start : start + batch_size]]


@bank.wrong("1.7", "changed its input `x`")
def shuffles_the_callers_arrays(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        order = rng.permutation(len(x))
        x[:], y[:] = x[order], y[order]
        for start in range(0, len(x), batch_size):
            yield x[start : start + batch_size].copy(), y[start : start + batch_size].copy()


@bank.right("1.7")
def order_used(x, y, *, batch_size, num_epochs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(num_epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(order), batch_size):
            idx = order[start : start + batch_size]
            yield x[idx], y[idx]


@bank.right("1.7")
def one_torch_generator(x, y, *, batch_size, num_epochs, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(num_epochs):
        for idx in torch.randperm(len(x), generator=generator).split(batch_size):
            yield x[idx], y[idx]


@bank.right("1.7")
def a_key_for_each_epoch(x, y, *, batch_size, num_epochs, seed):
    for key in jax.random.split(jax.random.key(seed), num_epochs):
        order = jax.random.permutation(key, x.shape[0])
        for start in range(0, x.shape[0], batch_size):
            yield x[order[start : start + batch_size]], y[order[start : start + batch_size]]


# 1.8 noisy_copies


@bank.wrong("1.8", "a random key was used twice")
def the_key_as_it_was(x, *, num_copies, scale, seed):
    key = jax.random.key(seed)
    copies = []
    for _ in range(num_copies):
        copies.append(x + scale * jax.random.normal(key, x.shape))
    return jnp.stack(copies)


@bank.wrong("1.8", "a random key was used twice")
def splits_only_once(x, *, num_copies, scale, seed):
    key, subkey = jax.random.split(jax.random.key(seed))
    return jnp.stack([x + scale * jax.random.normal(subkey, x.shape) for _ in range(num_copies)])


@bank.wrong("1.8", "a random key was used twice")
def a_new_numpy_generator_each_time(x, *, num_copies, scale, seed):
    return np.stack([x + scale * np.random.default_rng(seed).standard_normal(x.shape) for _ in range(num_copies)])


@bank.wrong("1.8", "All rows of a copy have the same noise")
def noise_of_one_row(x, *, num_copies, scale, seed):
    keys = jax.random.split(jax.random.key(seed), num_copies)
    return jnp.stack([x + scale * jax.random.normal(key, (x.shape[-1],)) for key in keys])


@bank.wrong("1.8", "All features of a row have the same noise")
def noise_of_one_column(x, *, num_copies, scale, seed):
    rng = np.random.default_rng(seed)
    return np.stack([x + rng.normal(0, scale, size=(len(x), 1)) for _ in range(num_copies)])


@bank.wrong("1.8", "it piles up")
def noise_on_top_of_noise(x, *, num_copies, scale, seed):
    rng = np.random.default_rng(seed)
    copies = []
    for _ in range(num_copies):
        x = x + scale * rng.standard_normal(x.shape)
        copies.append(x)
    return np.stack(copies)


@bank.wrong("1.8", "standard deviation `scale`")
def scale_squared(x, *, num_copies, scale, seed):
    noise = torch.randn(num_copies, *x.shape, generator=torch.Generator().manual_seed(seed))
    return x + scale**2 * noise


@bank.wrong("1.8", "standard deviation `scale`")
def scale_forgotten(x, *, num_copies, scale, seed):
    return x + np.random.default_rng(seed).standard_normal((num_copies, *x.shape))


@bank.wrong("1.8", "not centred on 0")
def uniform_noise(x, *, num_copies, scale, seed):
    return x + scale * jax.random.uniform(jax.random.key(seed), (num_copies, *x.shape))


@bank.wrong("1.8", "The noise is not Gaussian")
def centred_uniform_noise(x, *, num_copies, scale, seed):
    root = 3**0.5
    return x + scale * jax.random.uniform(jax.random.key(seed), (num_copies, *x.shape), minval=-root, maxval=root)


@bank.wrong("1.8", "`seed` is not used")
def always_key_zero(x, *, num_copies, scale, seed):
    return x + scale * jax.random.normal(jax.random.key(0), (num_copies, *x.shape))


@bank.wrong("1.8", "Two calls with the same seed")
def the_global_generator_of_torch(x, *, num_copies, scale, seed):
    return x + scale * torch.randn(num_copies, *x.shape)


@bank.wrong("1.8", "instead of `key(seed + i)`")
def seed_plus_copy(x, *, num_copies, scale, seed):
    return jnp.stack([x + scale * jax.random.normal(jax.random.key(seed + i), x.shape) for i in range(num_copies)])


@bank.wrong("1.8", "Stack `num_copies` of them")
def only_one_copy(x, *, num_copies, scale, seed):
    return x + scale * jax.random.normal(jax.random.key(seed), x.shape)


@bank.wrong("1.8", "joined along the rows")
def concatenated(x, *, num_copies, scale, seed):
    keys = jax.random.split(jax.random.key(seed), num_copies)
    return jnp.concatenate([x + scale * jax.random.normal(key, x.shape) for key in keys])


@bank.wrong("1.8", "expected an array of shape")
def a_list_of_copies(x, *, num_copies, scale, seed):
    rng = np.random.default_rng(seed)
    return [x + scale * rng.standard_normal(x.shape) for _ in range(num_copies)]


@bank.right("1.8")
def split_in_every_turn(x, *, num_copies, scale, seed):
    key = jax.random.key(seed)
    copies = []
    for _ in range(num_copies):
        key, subkey = jax.random.split(key)
        copies.append(x + scale * jax.random.normal(subkey, x.shape))
    return jnp.stack(copies)


@bank.right("1.8")
def one_draw_for_all(x, *, num_copies, scale, seed):
    return x[None] + scale * jax.random.normal(jax.random.key(seed), (num_copies, *x.shape))


@bank.right("1.8")
def a_generator_in_torch(x, *, num_copies, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([x + scale * torch.randn(x.shape, generator=generator) for _ in range(num_copies)])


@bank.right("1.8")
def one_numpy_generator(x, *, num_copies, scale, seed):
    rng = np.random.default_rng(seed)
    return np.array([rng.normal(x, scale) for _ in range(num_copies)])


# 1.9 numerical_gradient


@bank.wrong("1.9", "one-sided difference, f(x + epsilon) - f(x)")
def forward_difference(f, x, epsilon):
    grad = np.zeros(x.shape)
    for idx in np.ndindex(*x.shape):
        bumped = x.astype(float)
        bumped[idx] += epsilon
        grad[idx] = (f(bumped) - f(x)) / epsilon
    return grad


@bank.wrong("1.9", "twice too large")
def divided_by_epsilon(f, x, epsilon):
    grad = np.zeros(x.shape)
    for idx in np.ndindex(*x.shape):
        up, down = x.astype(float), x.astype(float)
        up[idx] += epsilon
        down[idx] -= epsilon
        grad[idx] = (f(up) - f(down)) / epsilon
    return grad


@bank.wrong("1.9", "Write `/ (2 * epsilon)`")
def brackets_missing(f, x, epsilon):
    grad = jnp.zeros(x.shape)
    x = x.astype(jnp.float32)
    for idx in np.ndindex(*x.shape):
        grad = grad.at[idx].set((f(x.at[idx].add(epsilon)) - f(x.at[idx].add(-epsilon))) / 2 * epsilon)
    return grad


@bank.wrong("1.9", "All entries were moved at once")
def everything_at_once(f, x, epsilon):
    return (f(x + epsilon) - f(x - epsilon)) / (2 * epsilon)


@bank.wrong("1.9", "whole numbers can't hold")
def keeps_the_dtype(f, x, epsilon):
    grad = np.zeros(x.shape)
    for idx in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[idx] += epsilon
        down[idx] -= epsilon
        grad[idx] = (f(up) - f(down)) / (2 * epsilon)
    return grad


@bank.wrong("1.9", "was not put back")
def forgets_to_put_back(f, x, epsilon):
    x = np.array(x, dtype=float)
    grad = np.zeros(x.shape)
    for idx in np.ndindex(*x.shape):
        x[idx] += epsilon
        up = f(x)
        x[idx] -= 2 * epsilon
        grad[idx] = (up - f(x)) / (2 * epsilon)
    return grad


@bank.wrong("1.9", "must have the shape of x")
def a_flat_list_of_slopes(f, x, epsilon):
    slopes = []
    for idx in np.ndindex(*x.shape):
        nudge = np.zeros(x.shape)
        nudge[idx] = epsilon
        slopes.append((f(x + nudge) - f(x - nudge)) / (2 * epsilon))
    return np.array(slopes)


@bank.wrong("1.9", "f(x + epsilon) comes first")
def the_wrong_way_round(f, x, epsilon):
    grad = torch.zeros(x.shape)
    for idx in np.ndindex(*x.shape):
        nudge = torch.zeros(x.shape, dtype=torch.float64)
        nudge[idx] = epsilon
        grad[idx] = (f(x - nudge) - f(x + nudge)) / (2 * epsilon)
    return grad


@bank.wrong("1.9", "this is a difference, not a slope")
def never_divided(f, x, epsilon):
    grad = np.zeros(x.shape)
    for idx in np.ndindex(*x.shape):
        nudge = np.zeros(x.shape)
        nudge[idx] = epsilon
        grad[idx] = f(x + nudge) - f(x - nudge)
    return grad


@bank.wrong("1.9", "where x holds whole numbers it rounds")
def zeros_like_x(f, x, epsilon):
    grad = np.zeros_like(x)
    for idx in np.ndindex(*x.shape):
        nudge = np.zeros(x.shape)
        nudge[idx] = epsilon
        grad[idx] = (f(x + nudge) - f(x - nudge)) / (2 * epsilon)
    return grad


@bank.wrong("1.9", "f never saw the nudge")
def flat_view(f, x, epsilon):
    x = x + 0.0 if x.dtype.kind == "i" else x
    flat = x.reshape(-1)
    grad = np.zeros(flat.shape)
    for i in range(len(flat)):
        old = flat[i]
        flat[i] = old + epsilon
        up = f(x)
        flat[i] = old - epsilon
        grad[i] = (up - f(x)) / (2 * epsilon)
        flat[i] = old
    return grad.reshape(x.shape)


@bank.wrong("1.9", "`epsilon` was not used")
def automatic_differentiation(f, x, epsilon):
    return jax.grad(f)(x.astype(jnp.float32))


@bank.wrong("1.9", "`epsilon` was not used")
def an_epsilon_of_its_own(f, x, epsilon):
    grad = np.zeros(x.shape)
    for idx in np.ndindex(*x.shape):
        nudge = np.zeros(x.shape)
        nudge[idx] = 1e-5
        grad[idx] = (f(x + nudge) - f(x - nudge)) / 2e-5
    return grad


@bank.right("1.9")
def nudges_in_jax(f, x, epsilon):
    x = x.astype(jnp.float32)
    slopes = [(f(x.at[idx].add(epsilon)) - f(x.at[idx].add(-epsilon))) / (2 * epsilon) for idx in np.ndindex(*x.shape)]
    return jnp.array(slopes).reshape(x.shape)


@bank.right("1.9")
def put_back_in_numpy(f, x, epsilon):
    x = np.array(x, dtype=float)
    grad = np.empty(x.shape)
    for idx in np.ndindex(*x.shape):
        old = x[idx]
        x[idx] = old + epsilon
        up = f(x)
        x[idx] = old - epsilon
        down = f(x)
        x[idx] = old
        grad[idx] = (up - down) / (2 * epsilon)
    return grad


@bank.right("1.9")
def rows_of_the_identity_in_torch(f, x, epsilon):
    nudges = epsilon * torch.eye(x.numel(), dtype=torch.float64)
    return torch.stack([(f(x + e.view(x.shape)) - f(x - e.view(x.shape))) / (2 * epsilon) for e in nudges]).view(x.shape)


# 1.10 constant_baseline


@bank.wrong("1.10", "the loss of an equal guess")
def log_of_the_classes(train_labels, validation_labels, num_classes):
    return jnp.log(num_classes)


@bank.wrong("1.10", "frequencies come from the validation labels")
def peeks_at_validation(train_labels, validation_labels, num_classes):
    freq = np.bincount(validation_labels, minlength=num_classes) / len(validation_labels)
    return -np.mean(np.log(freq[validation_labels]))


@bank.wrong("1.10", "their loss on themselves")
def measured_on_training(train_labels, validation_labels, num_classes):
    freq = jnp.bincount(train_labels, length=num_classes) / len(train_labels)
    return -jnp.log(freq)[train_labels].mean()


@bank.wrong("1.10", "The losses were added up")
def sum_of_the_losses(train_labels, validation_labels, num_classes):
    freq = np.bincount(train_labels, minlength=num_classes) / len(train_labels)
    return -np.log(freq[validation_labels]).sum()


@bank.wrong("1.10", "error rate of the most frequent class")
def majority_error(train_labels, validation_labels, num_classes):
    majority = torch.bincount(train_labels, minlength=num_classes).argmax()
    return (validation_labels != majority).float().mean()


@bank.wrong("1.10", "has base 2")
def in_bits(train_labels, validation_labels, num_classes):
    freq = np.bincount(train_labels, minlength=num_classes) / len(train_labels)
    return -np.log2(freq[validation_labels]).mean()


@bank.wrong("1.10", "The sign is missing")
def log_likelihood(train_labels, validation_labels, num_classes):
    freq = np.bincount(train_labels, minlength=num_classes) / len(train_labels)
    return np.log(freq[validation_labels]).mean()


@bank.wrong("1.10", "went through a softmax")
def probabilities_as_logits(train_labels, validation_labels, num_classes):
    freq = torch.bincount(train_labels, minlength=num_classes) / len(train_labels)
    logits = freq.expand(len(validation_labels), num_classes)
    return torch.nn.functional.cross_entropy(logits, validation_labels.long())


@bank.wrong("1.10", "The logarithm was taken of the mean probability")
def log_of_the_mean(train_labels, validation_labels, num_classes):
    freq = np.bincount(train_labels, minlength=num_classes) / len(train_labels)
    return -np.log(freq[validation_labels].mean())


@bank.wrong("1.10", "not divided by the number of training labels")
def counts_instead_of_shares(train_labels, validation_labels, num_classes):
    counts = np.bincount(train_labels, minlength=num_classes)
    return -np.log(counts[validation_labels]).mean()


@bank.wrong("1.10", "from training and validation together")
def all_labels(train_labels, validation_labels, num_classes):
    labels = np.concatenate([train_labels, validation_labels])
    freq = np.bincount(labels, minlength=num_classes) / len(labels)
    return -np.log(freq[validation_labels]).mean()


@bank.right("1.10")
def with_log_counts_as_logits(train_labels, validation_labels, num_classes):
    logits = jnp.log(jnp.bincount(train_labels, length=num_classes))
    logits = jnp.broadcast_to(logits, (len(validation_labels), num_classes))
    return optax.softmax_cross_entropy_with_integer_labels(logits, validation_labels).mean()


@bank.right("1.10")
def torch_counts(train_labels, validation_labels, num_classes):
    freq = torch.bincount(train_labels, minlength=num_classes) / len(train_labels)
    return -freq[validation_labels].log().mean()


@bank.right("1.10")
def label_by_label(train_labels, validation_labels, num_classes):
    shares = [sum(train_labels == c) / len(train_labels) for c in range(num_classes)]
    return sum(-np.log(shares[label]) for label in validation_labels) / len(validation_labels)
