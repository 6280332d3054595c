"""Answers to the exercises of lesson 02 as students write them, wrong and right, with the words that must be said."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from mlcourse.checks.killrate import Bank

bank = Bank()
tree = jax.tree.map


# 2.1 momentum


@bank.wrong("2.1", "This is the average form")
def average_instead_of_sum(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        state = tree(lambda v, g: beta * v + (1 - beta) * g, state, grads)
        return tree(lambda v: -learning_rate * v, state), state

    return init, update


@bank.wrong("2.1", "The sign is missing")
def added_like_a_gradient(learning_rate, *, beta):
    def init(params):
        return tree(np.zeros_like, params)

    def update(grads, state, params=None):
        v = tree(lambda v, g: v * beta + g, state, grads)
        return tree(lambda v: learning_rate * v, v), v

    return init, update


@bank.wrong("2.1", "plain gradient descent")
def the_old_state_goes_out(learning_rate, *, beta):
    def init(params):
        return {"velocity": tree(torch.zeros_like, params)}

    def update(grads, state, params=None):
        v = tree(lambda v, g: beta * v + g, state["velocity"], grads)
        return tree(lambda v: -learning_rate * v, v), state

    return init, update


@bank.wrong("2.1", "plain gradient descent")
def no_velocity_at_all(learning_rate, *, beta):
    return optax.sgd(learning_rate)


@bank.wrong("2.1", "These are the new parameters")
def the_new_parameters(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        v = tree(lambda v, g: beta * v + g, state, grads)
        return tree(lambda p, v: p - learning_rate * v, params, v), v

    return init, update


@bank.wrong("2.1", "something is remembered outside of `state`")
def velocity_in_a_closure(learning_rate, *, beta):
    velocity = None

    def init(params):
        return ()

    def update(grads, state, params=None):
        nonlocal velocity
        velocity = grads if velocity is None else tree(lambda v, g: beta * v + g, velocity, grads)
        return tree(lambda v: -learning_rate * v, velocity), state

    return init, update


@bank.wrong("2.1", "nothing in variables outside it")
def closure_that_init_clears(learning_rate, *, beta):
    memory = {}

    def init(params):
        memory["v"] = tree(np.zeros_like, params)
        return ()

    def update(grads, state, params=None):
        memory["v"] = tree(lambda v, g: beta * v + g, memory["v"], grads)
        return tree(lambda v: -learning_rate * v, memory["v"]), state

    return init, update


@bank.wrong("2.1", "wrote into the state that came in")
def velocity_in_place(learning_rate, *, beta):
    def flat(params):
        return [a for p in params.values() for a in (flat(p) if isinstance(p, dict) else [p])]

    def init(params):
        return {k: init(p) if isinstance(p, dict) else torch.zeros_like(p) for k, p in params.items()}

    def update(grads, state, params=None):
        updates = {}
        for name, g in grads.items():
            if isinstance(g, dict):
                updates[name], _ = update(g, state[name])
            else:
                state[name].mul_(beta).add_(g)
                updates[name] = -learning_rate * state[name]
        return updates, state

    return init, update


@bank.wrong("2.1", "changed its input `grads`")
def gradient_in_place(learning_rate, *, beta):
    def init(params):
        return {k: init(p) if isinstance(p, dict) else np.zeros_like(p) for k, p in params.items()}

    def update(grads, state, params=None):
        updates, new = {}, {}
        for name, g in grads.items():
            if isinstance(g, dict):
                updates[name], new[name] = update(g, state[name])
            else:
                g += beta * state[name]
                new[name] = g.copy()
                updates[name] = -learning_rate * g
        return updates, new

    return init, update


@bank.wrong("2.1", "Return the updates, what is to be added")
def parameters_from_a_loop(learning_rate, *, beta):
    def init(params):
        return {k: init(p) if isinstance(p, dict) else np.zeros_like(p) for k, p in params.items()}

    def update(grads, state, params):
        new, v = {}, {}
        for k in params:
            if isinstance(params[k], dict):
                new[k], v[k] = update(grads[k], state[k], params[k])
            else:
                v[k] = beta * state[k] + grads[k]
                new[k] = params[k] - learning_rate * v[k]
        return new, v

    return init, update


@bank.wrong("2.1", "beta and 1 - beta are exchanged")
def beta_for_the_gradient(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        v = tree(lambda v, g: (1 - beta) * v + beta * g, state, grads)
        return tree(lambda v: -learning_rate * v, v), v

    return init, update


@bank.wrong("2.1", "one gradient late")
def step_with_the_old_velocity(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, velocity, params=None):
        updates = tree(lambda v: -learning_rate * v, velocity)
        velocity = tree(lambda v, g: beta * v + g, velocity, grads)
        return updates, velocity

    return init, update


@bank.wrong("2.1", "State and updates are exchanged")
def state_first(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        v = tree(lambda v, g: beta * v + g, state, grads)
        return v, tree(lambda v: -learning_rate * v, v)

    return init, update


@bank.wrong("2.1", "This is Nesterov's form")
def library_with_nesterov(learning_rate, *, beta):
    return optax.sgd(learning_rate, momentum=beta, nesterov=True)


@bank.wrong("2.1", "An inner dict was treated as an array")
def only_the_top_level(learning_rate, *, beta):
    def init(params):
        return {name: 0.0 for name in params}

    def update(grads, state, params=None):
        v = {name: beta * state[name] + grads[name] for name in grads}
        return {name: -learning_rate * v[name] for name in v}, v

    return init, update


@bank.wrong("2.1", "`return init, update`")
def only_update_comes_back(learning_rate, *, beta):
    def update(grads, state, params=None):
        return grads, state

    return update


@bank.wrong("2.1", "`return updates, state`")
def updates_alone(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        return tree(lambda v, g: -learning_rate * (beta * v + g), state, grads)

    return init, update


@bank.wrong("2.1", "pair them by name")
def values_in_their_order(learning_rate, *, beta):
    def walk(f, *trees):
        if isinstance(trees[0], dict):
            branches = zip(*(t.values() for t in trees), strict=True)
            return {k: walk(f, *b) for k, b in zip(trees[0], branches, strict=True)}
        return f(*trees)

    def init(params):
        return walk(np.zeros_like, params)

    def update(grads, state, params=None):
        v = walk(lambda v, g: beta * v + g, state, grads)
        return walk(lambda v: -learning_rate * v, v), v

    return init, update


@bank.wrong("2.1", "must end with `return`")
def pair_not_returned(learning_rate, *, beta):
    def init(params):
        return params

    def update(grads, state, params=None):
        return grads, state

    print(init, update)


@bank.right("2.1")
def momentum_by_optax(learning_rate, *, beta):
    return optax.sgd(learning_rate, momentum=beta)


@bank.right("2.1")
def no_velocity_before_the_first_step(learning_rate, *, beta):
    def init(params):
        return None

    def update(grads, state, params=None):
        v = grads if state is None else tree(lambda v, g: beta * v + g, state, grads)
        return tree(lambda v: -learning_rate * v, v), v

    return init, update


@bank.right("2.1")
def rate_inside_the_velocity(learning_rate, *, beta):
    """As in Sutskever's paper and in TensorFlow: the state is the step itself."""

    def init(params):
        return tree(torch.zeros_like, params)

    def update(grads, state, params=None):
        state = tree(lambda v, g: beta * v - learning_rate * g, state, grads)
        return state, state

    return init, update


@bank.right("2.1")
def momentum_by_recursion(learning_rate, *, beta):
    def init(params):
        return {k: init(p) for k, p in params.items()} if isinstance(params, dict) else np.zeros(params.shape)

    def velocity(v, g):
        return {k: velocity(v[k], g[k]) for k in v} if isinstance(g, dict) else beta * v + g

    def step(v):
        return {k: step(v[k]) for k in v} if isinstance(v, dict) else -learning_rate * v

    def update(grads, state, params=None):
        new = velocity(state, grads)
        return step(new), new

    return init, update


# 2.2 same_pace


@bank.wrong("2.2", "The first rate is the wrong way round")
def inverse_ratio(learning_rate, beta, new_beta):
    return learning_rate * (1 - beta) / (1 - new_beta), learning_rate / (1 - beta)


@bank.wrong("2.2", "The first rate was left as it is")
def heavy_rate_unchanged(learning_rate, beta, new_beta):
    return learning_rate, learning_rate / (1 - beta)


@bank.wrong("2.2", "It is 1 - beta that counts")
def ratio_of_the_betas(learning_rate, beta, new_beta):
    return np.float64(learning_rate) * beta / new_beta, learning_rate / (1 - beta)


@bank.wrong("2.2", "The second rate was left as it is")
def average_rate_unchanged(learning_rate, beta, new_beta):
    return learning_rate * (1 - new_beta) / (1 - beta), learning_rate


@bank.wrong("2.2", "The second rate was made with the new beta.")
def average_from_the_new_beta(learning_rate, beta, new_beta):
    heavy = learning_rate * (1 - new_beta) / (1 - beta)
    return heavy, learning_rate / (1 - new_beta)


@bank.wrong("2.2", "The second rate is the wrong way round")
def average_multiplied(learning_rate, beta, new_beta):
    return jnp.array(learning_rate * (1 - new_beta) / (1 - beta)), jnp.array(learning_rate * (1 - beta))


@bank.wrong("2.2", "The two rates are exchanged")
def average_first(learning_rate, beta, new_beta):
    effective = learning_rate / (1 - beta)
    return effective, effective * (1 - new_beta)


@bank.wrong("2.2", "one of two numbers")
def heavy_only(learning_rate, beta, new_beta):
    return learning_rate * (1 - new_beta) / (1 - beta)


@bank.wrong("2.2", "The first number is the pace itself")
def pace_for_both(learning_rate, beta, new_beta):
    return learning_rate / (1 - beta), learning_rate / (1 - beta)


@bank.right("2.2")
def by_summing_the_series(learning_rate, beta, new_beta):
    old = learning_rate * sum(beta**k for k in range(2000))
    return old / sum(new_beta**k for k in range(3000)), old


@bank.right("2.2")
def in_torch(learning_rate, beta, new_beta):
    rates = torch.tensor([1 - new_beta, 1.0]) * learning_rate / (1 - beta)
    return rates[0], rates[1]


# 2.3 nesterov


@bank.wrong("2.3", "This is the heavy ball")
def heavy_ball_again(learning_rate, *, beta):
    return optax.sgd(learning_rate, momentum=beta)


@bank.wrong("2.3", "This is the heavy ball")
def ahead_with_the_old_velocity(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        updates = tree(lambda v, g: -learning_rate * (g + beta * v), state, grads)
        return updates, tree(lambda v, g: beta * v + g, state, grads)

    return init, update


def nesterov_like(step, velocity=lambda v, g, beta: beta * v + g):
    def optimizer(learning_rate, *, beta):
        def init(params):
            return tree(np.zeros_like, params)

        def update(grads, state, params=None):
            v = tree(lambda v, g: velocity(v, g, beta), state, grads)
            return tree(lambda v, g: -learning_rate * step(v, g, beta), v, grads), v

        return init, update

    return optimizer


@bank.wrong("2.3", "The gradient is missing in the step")
def only_the_look_ahead(learning_rate, *, beta):
    return nesterov_like(lambda v, g, beta: beta * v)(learning_rate, beta=beta)


@bank.wrong("2.3", "changed places")
def beta_on_the_gradient(learning_rate, *, beta):
    return nesterov_like(lambda v, g, beta: v + beta * g)(learning_rate, beta=beta)


@bank.wrong("2.3", "It is slowed down by beta once more")
def velocity_in_full(learning_rate, *, beta):
    return nesterov_like(lambda v, g, beta: g + v)(learning_rate, beta=beta)


@bank.wrong("2.3", "The sign is missing")
def nesterov_uphill(learning_rate, *, beta):
    return nesterov_like(lambda v, g, beta: -(g + beta * v))(learning_rate, beta=beta)


@bank.wrong("2.3", "This is the average form")
def nesterov_of_an_average(learning_rate, *, beta):
    return nesterov_like(lambda v, g, beta: g + beta * v, lambda v, g, beta: beta * v + (1 - beta) * g)(
        learning_rate, beta=beta
    )


@bank.wrong("2.3", "The learning rate is not used")
def nesterov_without_rate(learning_rate, *, beta):
    def init(params):
        return tree(torch.zeros_like, params)

    def update(grads, state, params=None):
        state = tree(lambda v, g: beta * v + g, state, grads)
        return tree(lambda v, g: -(g + beta * v), state, grads), state

    return init, update


@bank.wrong("2.3", "What was kept is the look ahead")
def look_ahead_as_the_state(learning_rate, *, beta):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        state = tree(lambda v, g: beta * v + g, state, grads)
        state = tree(lambda v, g: g + beta * v, state, grads)
        return tree(lambda v: -learning_rate * v, state), state

    return init, update


@bank.right("2.3")
def nesterov_by_optax(learning_rate, *, beta):
    return optax.sgd(learning_rate, momentum=beta, nesterov=True)


@bank.right("2.3")
def nesterov_written_out(learning_rate, *, beta):
    return nesterov_like(lambda v, g, beta: v * beta + g)(learning_rate, beta=beta)


# 2.4 rmsprop


def rms_like(square, step):
    """The step of one array in NumPy, as the cell of a student with the two lines exchanged."""

    def optimizer(learning_rate, *, beta, epsilon):
        def init(params):
            return tree(np.zeros_like, params)

        def update(grads, state, params=None):
            s = tree(lambda s, g: square(s, g, beta), state, grads)
            return tree(lambda g, s: -learning_rate * step(g, s, epsilon), grads, s), s

        return init, update

    return optimizer


def averaged(s, g, beta):
    return beta * s + (1 - beta) * g**2


@bank.wrong("2.4", "Epsilon is inside the root")
def optax_as_it_comes(learning_rate, *, beta, epsilon):
    return optax.rmsprop(learning_rate, decay=beta, eps=epsilon)


@bank.wrong("2.4", "The gradient was not squared")
def without_the_square(learning_rate, *, beta, epsilon):
    return rms_like(lambda s, g, b: b * s + (1 - b) * g, lambda g, s, e: g / (np.sqrt(s) + e))(
        learning_rate, beta=beta, epsilon=epsilon
    )


@bank.wrong("2.4", "The root is missing")
def without_the_root(learning_rate, *, beta, epsilon):
    return rms_like(averaged, lambda g, s, e: g / (s + e))(learning_rate, beta=beta, epsilon=epsilon)


@bank.wrong("2.4", "Epsilon is missing")
def without_epsilon(learning_rate, *, beta, epsilon):
    return rms_like(averaged, lambda g, s, e: g / np.sqrt(s))(learning_rate, beta=beta, epsilon=epsilon)


@bank.wrong("2.4", "that is AdaGrad")
def adagrad(learning_rate, *, beta, epsilon):
    return rms_like(lambda s, g, b: s + g**2, lambda g, s, e: g / (np.sqrt(s) + e))(learning_rate, beta=beta, epsilon=epsilon)


@bank.wrong("2.4", "beta and 1 - beta are exchanged")
def beta_on_the_square(learning_rate, *, beta, epsilon):
    def init(params):
        return tree(torch.zeros_like, params)

    def update(grads, state, params=None):
        state = tree(lambda s, g: (1 - beta) * s + beta * g.square(), state, grads)
        return tree(lambda g, s: -learning_rate * g / (s.sqrt() + epsilon), grads, state), state

    return init, update


@bank.wrong("2.4", "RMSProp has none")
def adam_without_momentum(learning_rate, *, beta, epsilon):
    return optax.adam(learning_rate, b1=0.0, b2=beta, eps=epsilon)


@bank.wrong("2.4", "1 - beta is missing")
def sum_that_fades(learning_rate, *, beta, epsilon):
    return rms_like(lambda s, g, b: b * s + g * g, lambda g, s, e: g / (np.sqrt(s) + e))(
        learning_rate, beta=beta, epsilon=epsilon
    )


@bank.wrong("2.4", "mind the brackets")
def epsilon_after_the_division(learning_rate, *, beta, epsilon):
    return rms_like(averaged, lambda g, s, e: g / np.sqrt(s) + e)(learning_rate, beta=beta, epsilon=epsilon)


@bank.wrong("2.4", "starts again at zero in every step")
def squares_forgotten(learning_rate, *, beta, epsilon):
    def init(params):
        return tree(jnp.zeros_like, params)

    def update(grads, state, params=None):
        square = tree(lambda s, g: beta * s + (1 - beta) * g**2, state, grads)
        return tree(lambda g, s: -learning_rate * g / (jnp.sqrt(s) + epsilon), grads, square), state

    return init, update


@bank.wrong("2.4", "wrote into the state that came in")
def squares_in_place(learning_rate, *, beta, epsilon):
    def one(g, s):
        s *= beta
        s += (1 - beta) * g**2
        return -learning_rate * g / (np.sqrt(s) + epsilon)

    def walk(g, s):
        return {k: walk(g[k], s[k]) for k in g} if isinstance(g, dict) else one(g, s)

    def init(params):
        return {k: init(p) for k, p in params.items()} if isinstance(params, dict) else np.zeros_like(params)

    return init, lambda grads, state, params=None: (walk(grads, state), state)


@bank.wrong("2.4", "One number was made for a whole array")
def one_square_for_an_array(learning_rate, *, beta, epsilon):
    return rms_like(lambda s, g, b: b * s + (1 - b) * np.mean(g**2), lambda g, s, e: g / (np.sqrt(s) + e))(
        learning_rate, beta=beta, epsilon=epsilon
    )


@bank.right("2.4")
def rmsprop_by_optax(learning_rate, *, beta, epsilon):
    return optax.rmsprop(learning_rate, decay=beta, eps=epsilon, eps_in_sqrt=False)


@bank.right("2.4")
def rmsprop_by_torch_lerp(learning_rate, *, beta, epsilon):
    def init(params):
        return {"square": tree(torch.zeros_like, params)}

    def update(grads, state, params=None):
        square = tree(lambda s, g: torch.lerp(s, g * g, 1 - beta), state["square"], grads)
        return tree(lambda g, s: -learning_rate * g / (s.sqrt() + epsilon), grads, square), {"square": square}

    return init, update


# 2.5 adam


def adam_like(
    *,
    mean=lambda m, g, b: b * m + (1 - b) * g,
    square=lambda v, g, b: b * v + (1 - b) * g**2,
    correct=lambda m, v, k, b1, b2: (m / (1 - b1**k), v / (1 - b2**k)),
    step=lambda m, v, e: m / (np.sqrt(v) + e),
    first=1,
):
    """Adam in NumPy as a student writes it, with its lines exchangeable."""

    def optimizer(learning_rate, *, beta1, beta2, epsilon):
        def init(params):
            zeros = tree(np.zeros_like, params)
            return {"k": first - 1, "m": zeros, "v": zeros}

        def update(grads, state, params=None):
            k = state["k"] + 1
            m = tree(lambda m, g: mean(m, g, beta1), state["m"], grads)
            v = tree(lambda v, g: square(v, g, beta2), state["v"], grads)
            updates = tree(lambda m, v: -learning_rate * step(*correct(m, v, k, beta1, beta2), epsilon), m, v)
            return updates, {"k": k, "m": m, "v": v}

        return init, update

    return optimizer


@bank.wrong("2.5", "The bias correction is missing")
def without_bias_correction(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(correct=lambda m, v, k, b1, b2: (m, v))(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@bank.wrong("2.5", "The second average has no bias correction")
def only_the_mean_corrected(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(correct=lambda m, v, k, b1, b2: (m / (1 - b1**k), v))(
        learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )


@bank.wrong("2.5", "wrong count of steps: it is 0 in the first step")
def counts_after_the_correction(learning_rate, *, beta1, beta2, epsilon):
    def init(params):
        zeros = tree(jnp.zeros_like, params)
        return jnp.array(0), zeros, zeros

    def update(grads, state, params=None):
        k, m, v = state
        m = tree(lambda m, g: beta1 * m + (1 - beta1) * g, m, grads)
        v = tree(lambda v, g: beta2 * v + (1 - beta2) * g**2, v, grads)
        m_hat = tree(lambda m: m / (1 - beta1**k), m)
        v_hat = tree(lambda v: v / (1 - beta2**k), v)
        updates = tree(lambda m, v: -learning_rate * m / (jnp.sqrt(v) + epsilon), m_hat, v_hat)
        return updates, (k + 1, m, v)

    return init, update


@bank.wrong("2.5", "wrong count of steps: it is one too large")
def counts_from_two(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(first=2)(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@bank.wrong("2.5", "wrong count of steps: it is always that of the first step")
def no_power(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(correct=lambda m, v, k, b1, b2: (m / (1 - b1), v / (1 - b2)))(
        learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )


@bank.wrong("2.5", "Epsilon is inside the root")
def epsilon_in_the_root(learning_rate, *, beta1, beta2, epsilon):
    return optax.adam(learning_rate, b1=beta1, b2=beta2, eps=0.0, eps_root=epsilon)


@bank.wrong("2.5", "Epsilon was added before the bias correction of the root")
def short_form_of_the_paper(learning_rate, *, beta1, beta2, epsilon):
    def init(params):
        zeros = tree(np.zeros_like, params)
        return 0, zeros, zeros

    def update(grads, state, params=None):
        t, m, v = state
        t = t + 1
        alpha = learning_rate * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        m = tree(lambda m, g: beta1 * m + (1 - beta1) * g, m, grads)
        v = tree(lambda v, g: beta2 * v + (1 - beta2) * g**2, v, grads)
        return tree(lambda m, v: -alpha * m / (np.sqrt(v) + epsilon), m, v), (t, m, v)

    return init, update


@bank.wrong("2.5", "beta1 and beta2 are exchanged")
def betas_swapped(learning_rate, *, beta1, beta2, epsilon):
    return optax.adam(learning_rate, b1=beta2, b2=beta1, eps=epsilon)


@bank.wrong("2.5", "The gradient was not squared")
def squares_forgotten_in_v(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(square=lambda v, g, b: b * v + (1 - b) * g)(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@bank.wrong("2.5", "The sign is missing")
def adam_uphill(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(step=lambda m, v, e: -m / (np.sqrt(v) + e))(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@bank.wrong("2.5", "The root is missing")
def variance_instead_of_root(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(step=lambda m, v, e: m / (v + e))(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@bank.wrong("2.5", "Epsilon is missing")
def adam_without_epsilon(learning_rate, *, beta1, beta2, epsilon):
    return adam_like(step=lambda m, v, e: m / np.sqrt(v))(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@bank.wrong("2.5", "The corrected averages went into the state")
def corrected_in_the_state(learning_rate, *, beta1, beta2, epsilon):
    def init(params):
        zeros = tree(torch.zeros_like, params)
        return 0, zeros, zeros

    def update(grads, state, params=None):
        k, m, v = state
        k += 1
        m = tree(lambda m, g: (beta1 * m + (1 - beta1) * g) / (1 - beta1**k), m, grads)
        v = tree(lambda v, g: (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**k), v, grads)
        return tree(lambda m, v: -learning_rate * m / (v.sqrt() + epsilon), m, v), (k, m, v)

    return init, update


@bank.wrong("2.5", "The count of steps goes on in a second run")
def count_in_a_closure(learning_rate, *, beta1, beta2, epsilon):
    k = 0

    def init(params):
        return tree(np.zeros_like, params), tree(np.zeros_like, params)

    def update(grads, state, params=None):
        nonlocal k
        k += 1
        m = tree(lambda m, g: beta1 * m + (1 - beta1) * g, state[0], grads)
        v = tree(lambda v, g: beta2 * v + (1 - beta2) * g**2, state[1], grads)
        c1, c2 = 1 - beta1**k, 1 - beta2**k
        return tree(lambda m, v: -learning_rate * (m / c1) / (np.sqrt(v / c2) + epsilon), m, v), (m, v)

    return init, update


@bank.wrong("2.5", "something is remembered outside of `state`")
def adam_with_a_memory_of_its_own(learning_rate, *, beta1, beta2, epsilon):
    inner = optax.adam(learning_rate, b1=beta1, b2=beta2, eps=epsilon)
    memory = []

    def init(params):
        return inner.init(params)

    def update(grads, state, params=None):
        updates, new = inner.update(grads, memory[-1] if memory else state)
        memory.append(new)
        return updates, state

    return init, update


@bank.wrong("2.5", "The average m was squared")
def squares_the_mean(learning_rate, *, beta1, beta2, epsilon):
    def init(params):
        zeros = tree(np.zeros_like, params)
        return 0, zeros, zeros

    def update(grads, state, params=None):
        k, m, v = state
        m = tree(lambda m, g: beta1 * m + (1 - beta1) * g, m, grads)
        v = tree(lambda v, m: beta2 * v + (1 - beta2) * m**2, v, m)
        c1, c2 = 1 - beta1 ** (k + 1), 1 - beta2 ** (k + 1)
        return tree(lambda m, v: -learning_rate * m / c1 / (np.sqrt(v / c2) + epsilon), m, v), (k + 1, m, v)

    return init, update


@bank.wrong("2.5", "wrote into the state that came in")
def state_is_one_dict_for_ever(learning_rate, *, beta1, beta2, epsilon):
    def init(params):
        return {"k": 0, "m": tree(np.zeros_like, params), "v": tree(np.zeros_like, params)}

    def update(grads, state, params=None):
        state["k"] += 1
        state["m"] = tree(lambda m, g: beta1 * m + (1 - beta1) * g, state["m"], grads)
        state["v"] = tree(lambda v, g: beta2 * v + (1 - beta2) * g**2, state["v"], grads)
        c1, c2 = 1 - beta1 ** state["k"], 1 - beta2 ** state["k"]
        return tree(lambda m, v: -learning_rate * (m / c1) / (np.sqrt(v / c2) + epsilon), state["m"], state["v"]), state

    return init, update


@bank.right("2.5")
def adam_by_optax(learning_rate, *, beta1, beta2, epsilon):
    return optax.adam(learning_rate, b1=beta1, b2=beta2, eps=epsilon)


@bank.right("2.5")
def adam_array_by_array(learning_rate, *, beta1, beta2, epsilon):
    return adam_like()(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@bank.right("2.5")
def short_form_with_its_own_epsilon(learning_rate, *, beta1, beta2, epsilon):
    def init(params):
        zeros = tree(torch.zeros_like, params)
        return torch.tensor(0), zeros, zeros

    def update(grads, state, params=None):
        k = int(state[0]) + 1
        root = (1 - beta2**k) ** 0.5
        m = tree(lambda m, g: m + (1 - beta1) * (g - m), state[1], grads)
        v = tree(lambda v, g: v + (1 - beta2) * (g * g - v), state[2], grads)
        rate = learning_rate * root / (1 - beta1**k)
        return tree(lambda m, v: -rate * m / (torch.sqrt(v) + epsilon * root), m, v), (torch.tensor(k), m, v)

    return init, update


# 2.6 adamw


def with_decay(decay, before=lambda g, p, wd: g):
    """Adam by Optax with `decay(update, p, rate, weight_decay)` afterwards and `before` on the gradient."""

    def optimizer(learning_rate, *, beta1, beta2, epsilon, weight_decay):
        inner = optax.adam(learning_rate, b1=beta1, b2=beta2, eps=epsilon)

        def update(grads, state, params):
            updates, state = inner.update(tree(lambda g, p: before(g, p, weight_decay), grads, params), state)
            return tree(lambda u, p: decay(u, p, learning_rate, weight_decay), updates, params), state

        return inner.init, update

    return optimizer


@bank.wrong("2.6", "The decay went through the gradient")
def l2_in_the_gradient(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate, beta1, beta2, epsilon))


@bank.wrong("2.6", "The decay was not multiplied by the learning rate")
def decay_without_rate(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return with_decay(lambda u, p, rate, wd: u - wd * p)(
        learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay
    )


@bank.wrong("2.6", "The decay has the wrong sign")
def weights_grow(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return with_decay(lambda u, p, rate, wd: u + rate * wd * p)(
        learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay
    )


@bank.wrong("2.6", "There is no decay")
def plain_adam(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return optax.adam(learning_rate, b1=beta1, b2=beta2, eps=epsilon)


@bank.wrong("2.6", "multiplied by the learning rate twice")
def rate_twice(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return with_decay(lambda u, p, rate, wd: u - rate * (rate * wd) * p)(
        learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay
    )


@bank.wrong("2.6", "*after* Adam's step")
def decays_the_new_parameters(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return with_decay(lambda u, p, rate, wd: u - rate * wd * (p + u))(
        learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay
    )


@bank.wrong("2.6", "The decay was divided by the root with the step")
def decay_over_the_root(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    def init(params):
        zeros = tree(np.zeros_like, params)
        return 0, zeros, zeros

    def update(grads, state, params):
        k, m, v = state
        k = k + 1
        m = tree(lambda m, g: beta1 * m + (1 - beta1) * g, m, grads)
        v = tree(lambda v, g: beta2 * v + (1 - beta2) * g**2, v, grads)

        def step(m, v, p):
            return -learning_rate * (m / (1 - beta1**k) + weight_decay * p) / (np.sqrt(v / (1 - beta2**k)) + epsilon)

        return tree(step, m, v, params), (k, m, v)

    return init, update


@bank.wrong("2.6", "Only arrays with two axes decay")
def matrices_only(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return optax.adamw(
        learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay, mask=lambda p: tree(lambda x: x.ndim == 2, p)
    )


@bank.wrong("2.6", "These are the new parameters")
def decayed_parameters_come_back(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return with_decay(lambda u, p, rate, wd: p * (1 - rate * wd) + u)(
        learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay
    )


@bank.wrong("2.6", "Epsilon is inside the root")
def adamw_with_epsilon_inside(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return optax.adamw(learning_rate, beta1, beta2, 0.0, epsilon, weight_decay=weight_decay)


@bank.wrong("2.6", "Take it from `params`, those of today")
def decays_the_first_parameters(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    inner = optax.adam(learning_rate, b1=beta1, b2=beta2, eps=epsilon)

    def init(params):
        return inner.init(params), params

    def update(grads, state, params=None):
        updates, new = inner.update(grads, state[0])
        return tree(lambda u, p: u - learning_rate * weight_decay * p, updates, state[1]), (new, state[1])

    return init, update


@bank.right("2.6")
def adamw_by_optax(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    return optax.adamw(learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay)


@bank.right("2.6")
def adamw_around_adam(learning_rate, *, beta1, beta2, epsilon, weight_decay):
    init, inner = adam_like()(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def update(grads, state, params):
        updates, state = inner(grads, state)
        shrunk = tree(lambda p: p * (1 - learning_rate * weight_decay), params)  # as PyTorch does it
        return tree(lambda s, u, p: s + u - p, shrunk, updates, params), state

    return init, update


# 2.7 clip_by_global_norm


@bank.wrong("2.7", "The squares are too large for float32")
def clip_as_optax_does(grads, max_norm):
    clip = optax.clip_by_global_norm(max_norm)
    return clip.update(grads, clip.init(grads))[0]


@bank.wrong("2.7", "The squares are too large for float32")
def clip_in_torch_float32(grads, max_norm):
    norm = torch.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    return tree(lambda g: g * min(1.0, float(max_norm / norm)) if norm > 0 else g, grads)


@bank.wrong("2.7", "Each array was clipped by itself")
def clip_each_tensor(grads, max_norm):
    return tree(lambda g: g * jnp.minimum(1.0, max_norm / jnp.linalg.norm(g)), grads)


@bank.wrong("2.7", "scaled *up* to it")
def always_scaled(grads, max_norm):
    norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(grads)))
    return tree(lambda g: g * (max_norm / norm), grads)


@bank.wrong("2.7", "clipping by value")
def clip_by_value(grads, max_norm):
    return tree(lambda g: g.clip(-max_norm, max_norm), grads)


@bank.wrong("2.7", "The root is missing")
def squared_norm(grads, max_norm):
    norm = sum(jnp.sum(g**2) for g in jax.tree.leaves(grads))
    return tree(lambda g: jnp.where(norm > max_norm, g * max_norm / norm, g), grads)


@bank.wrong("2.7", "The norms of the arrays were added up")
def sum_of_norms(grads, max_norm):
    norm = sum(np.linalg.norm(g) for g in jax.tree.leaves(grads))
    return tree(lambda g: g * min(1.0, max_norm / norm), grads)


@bank.wrong("2.7", "The gradient was scaled to norm 1")
def unit_norm(grads, max_norm):
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    return tree(lambda g: jnp.where(norm > max_norm, g / norm, g), grads)


@bank.wrong("2.7", "divides by zero where all gradients are 0")
def largest_taken_out_of_nothing(grads, max_norm):
    largest = max(np.abs(g).max() for g in jax.tree.leaves(grads))
    norm = largest * np.sqrt(sum(((g / largest) ** 2).sum() for g in jax.tree.leaves(grads)))
    return tree(lambda g: g * np.minimum(1.0, max_norm / norm), grads)


@bank.wrong("2.7", "changed its input `grads`")
def clip_in_place(grads, max_norm):
    def leaves(part):
        return [a for p in part.values() for a in (leaves(p) if isinstance(p, dict) else [p])]

    norm = np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in leaves(grads)))
    if norm > max_norm:
        for a in leaves(grads):
            a *= max_norm / norm
    return grads


@bank.wrong("2.7", "without the norm")
def norm_beside_it(grads, max_norm):
    norm = np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in jax.tree.leaves(grads)))
    return tree(lambda g: np.asarray(g) * (max_norm / norm if norm > max_norm else 1.0), grads), norm


@bank.wrong("2.7", "It must be the other way round")
def scaled_when_small(grads, max_norm):
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    return tree(lambda g: jnp.where(norm < max_norm, g * max_norm / norm, g), grads)


@bank.right("2.7")
def clip_in_double_precision(grads, max_norm):
    norm = torch.linalg.vector_norm(torch.cat([g.double().reshape(-1) for g in jax.tree.leaves(grads)]))
    return tree(lambda g: g * torch.clamp(max_norm / norm, max=1.0), grads)


@bank.right("2.7")
def clip_with_hypot(grads, max_norm):
    norm = 0.0
    for g in jax.tree.leaves(grads):
        for value in np.asarray(g).ravel():
            norm = np.hypot(norm, float(value))
    return tree(lambda g: g * (max_norm / norm) if norm > max_norm else g, grads)


# 2.8 warmup_cosine


def half_cosine(t):
    return 0.5 * (1 + np.cos(np.pi * t))


@bank.wrong("2.8", "it runs ahead by a step")
def warm_up_plus_one(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * (step + 1) / num_warmup
    return end + (peak - end) * half_cosine(min(1, (step - num_warmup) / (num_steps - num_warmup)))


@bank.wrong("2.8", "The cosine began at step 0")
def cosine_from_the_start(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * step / num_warmup
    return end + (peak - end) * half_cosine(min(1, step / num_steps))


@bank.wrong("2.8", "The cosine takes num_steps from the end of the warm-up on")
def cosine_too_long(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * step / num_warmup
    return end + (peak - end) * half_cosine(min(1, (step - num_warmup) / num_steps))


@bank.wrong("2.8", "After num_steps the rate rises again")
def rises_after_the_end(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * step / num_warmup
    return end + (peak - end) * half_cosine((step - num_warmup) / (num_steps - num_warmup))


@bank.wrong("2.8", "Without a warm-up this divides by zero")
def both_pieces_computed(step, *, start, peak, end, num_warmup, num_steps):
    up = start + (peak - start) * step / num_warmup
    t = min(1.0, (step - num_warmup) / (num_steps - num_warmup))
    return jnp.where(step < num_warmup, up, end + (peak - end) * (1 + jnp.cos(jnp.pi * t)) / 2)


@bank.wrong("2.8", "`start` is not used")
def warm_up_from_zero(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return peak * step / num_warmup
    return end + (peak - end) * half_cosine(min(1, (step - num_warmup) / (num_steps - num_warmup)))


@bank.wrong("2.8", "`end` is not used")
def cosine_to_zero(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * step / num_warmup
    return peak * half_cosine(min(1, (step - num_warmup) / (num_steps - num_warmup)))


@bank.wrong("2.8", "It must come to rest there")
def cosine_with_a_floor(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * step / num_warmup
    return max(end, peak * half_cosine(min(1, (step - num_warmup) / (num_steps - num_warmup))))


@bank.wrong("2.8", "The half is missing")
def cosine_without_half(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * step / num_warmup
    t = min(1, (step - num_warmup) / (num_steps - num_warmup))
    return end + (peak - end) * (1 + np.cos(np.pi * t))


@bank.wrong("2.8", "in a straight line")
def linear_decay(step, *, start, peak, end, num_warmup, num_steps):
    if step < num_warmup:
        return start + (peak - start) * step / num_warmup
    t = min(1, (step - num_warmup) / (num_steps - num_warmup))
    return (1 - t) * peak + t * end


@bank.wrong("2.8", "There is no warm-up")
def cosine_alone(step, *, start, peak, end, num_warmup, num_steps):
    t = torch.tensor((step - num_warmup) / (num_steps - num_warmup)).clamp(0, 1)
    return end + (peak - end) * (1 + torch.cos(torch.pi * t)) / 2


@bank.right("2.8")
def schedule_by_optax(step, *, start, peak, end, num_warmup, num_steps):
    return optax.warmup_cosine_decay_schedule(start, peak, num_warmup, num_steps, end)(step)


@bank.right("2.8")
def schedule_without_branches(step, *, start, peak, end, num_warmup, num_steps):
    t = jnp.clip((step - num_warmup) / (num_steps - num_warmup), 0, 1)
    rise = start + (peak - start) * step / max(num_warmup, 1)
    return jnp.where(step < num_warmup, rise, end + (peak - end) * jnp.cos(jnp.pi * t / 2) ** 2)


# 2.9 quadratic_rates


@bank.wrong("2.9", "read off the diagonal")
def from_the_diagonal(H):
    low, high = H.diagonal().min(), H.diagonal().max()
    return 2 / high, 2 / (high + low), (high - low) / (high + low)


@bank.wrong("2.9", "The eigenvalues were not in order")
def unsorted_eigenvalues(H):
    values = np.linalg.eigvals(H).real
    low, high = values[0], values[-1]
    return 2 / high, 2 / (high + low), (high - low) / (high + low)


@bank.wrong("2.9", "half of what is possible")
def one_over_the_largest(H):
    values = np.linalg.eigvalsh(H)
    low, high = values[0], values[-1]
    return 1 / high, 2 / (high + low), (high - low) / (high + low)


@bank.wrong("2.9", "that of the flattest direction")
def two_over_the_smallest(H):
    values = torch.linalg.eigvalsh(H)
    low, high = values[0], values[-1]
    return 2 / low, 2 / (high + low), (high - low) / (high + low)


@bank.wrong("2.9", "The best rate is not 1 / largest")
def newton_rate_of_the_steepest(H):
    values = np.linalg.eigvalsh(H)
    low, high = values[0], values[-1]
    return 2 / high, 1 / high, (high - low) / (high + low)


@bank.wrong("2.9", "The contraction is that of momentum")
def roots_of_the_curvatures(H):
    values = np.linalg.eigvalsh(H)
    k = values[-1] / values[0]
    return 2 / values[-1], 2 / (values[0] + values[-1]), (k**0.5 - 1) / (k**0.5 + 1)


@bank.wrong("2.9", "The contraction is that of the loss")
def contraction_of_the_loss(H):
    values = np.linalg.eigvalsh(H)
    best = 2 / (values[0] + values[-1])
    return 2 / values[-1], best, (1 - best * values[0]) ** 2


@bank.wrong("2.9", "upside down")
def grows(H):
    values = np.linalg.eigvalsh(H)
    k = values[-1] / values[0]
    return 2 / values[-1], 2 / (values[0] + values[-1]), (k + 1) / (k - 1)


@bank.wrong("2.9", "The contraction has the wrong sign")
def signed_contraction(H):
    values = np.linalg.eigvalsh(H)
    best = 2 / (values[0] + values[-1])
    return 2 / values[-1], best, 1 - best * values[-1]


@bank.wrong("2.9", "the contraction is missing")
def two_of_three(H):
    values = np.linalg.eigvalsh(H)
    return 2 / values[-1], 2 / (values[0] + values[-1])


@bank.right("2.9")
def rates_by_singular_values(H):
    sizes = torch.linalg.svdvals(H)
    best = 2 / (sizes[0] + sizes[-1])
    return 2 / sizes[0], best, abs(1 - best * sizes[-1])


@bank.right("2.9")
def rates_by_the_spectral_norm(H):
    high, low = np.linalg.norm(H, 2), 1 / np.linalg.norm(np.linalg.inv(H), 2)
    k = high / low
    return [2 / high, 2 / (high + low), (k - 1) / (k + 1)]


# 2.10 newton_step


@bank.wrong("2.10", "Take the absolute value of every eigenvalue")
def damped_newton(H, g, *, damping):
    return -torch.linalg.solve(H + damping * torch.eye(len(g)), g)


@bank.wrong("2.10", "added before the absolute value")
def absolute_of_the_sum(H, g, *, damping):
    values, Q = torch.linalg.eigh(H)
    return -Q @ ((Q.T @ g) / (values + damping).abs())


@bank.wrong("2.10", "The absolute values of H's *entries*")
def absolute_entries(H, g, *, damping):
    return -np.linalg.solve(np.abs(H) + damping * np.eye(len(g)), g)


@bank.wrong("2.10", "The sign is missing")
def newton_uphill(H, g, *, damping):
    values, Q = np.linalg.eigh(H)
    return Q @ ((Q.T @ g) / (np.abs(values) + damping))


@bank.wrong("2.10", "eigenvectors as *columns*")
def eigenvectors_as_rows(H, g, *, damping):
    values, Q = np.linalg.eigh(H)
    return -Q.T @ ((Q @ g) / (np.abs(values) + damping))


@bank.wrong("2.10", "There is no damping")
def damping_forgotten(H, g, *, damping):
    values, Q = np.linalg.eigh(H)
    return -Q @ ((Q.T @ g) / np.abs(values))


@bank.wrong("2.10", "This is the larger of |eigenvalue| and damping")
def floor_on_the_curvature(H, g, *, damping):
    values, Q = np.linalg.eigh(H)
    return -Q @ ((Q.T @ g) / np.maximum(np.abs(values), damping))


@bank.wrong("2.10", "Negative curvatures were set to 0")
def relu_of_the_curvature(H, g, *, damping):
    values, Q = np.linalg.eigh(H)
    return -Q @ ((Q.T @ g) / (np.clip(values, 0, None) + damping))


@bank.wrong("2.10", "The damping was added to every entry of H")
def damping_everywhere(H, g, *, damping):
    return -np.linalg.solve(H + damping, g)


@bank.wrong("2.10", "This is a gradient step")
def just_the_gradient(H, g, *, damping):
    return -g


@bank.wrong("2.10", "lifted by its lowest eigenvalue")
def lifted_hessian(H, g, *, damping):
    lowest = np.linalg.eigvalsh(H).min()
    return -np.linalg.solve(H + (damping + max(0.0, -lowest)) * np.eye(len(H)), g)


@bank.right("2.10")
def newton_direction_by_direction(H, g, *, damping):
    values, vectors = np.linalg.eigh(H)
    step = np.zeros(len(g))
    for value, q in zip(values, vectors.T, strict=True):
        step -= q * (q @ g) / (abs(value) + damping)
    return step


@bank.right("2.10")
def newton_by_svd(H, g, *, damping):
    U, sizes, _ = torch.linalg.svd(H)  # U diag(|eigenvalues|) U^T is |H|, since H is symmetric
    return -U @ ((U.T @ g) / (sizes + damping))


# 2.11 adam_path


def path_like(correct, collect=lambda path: np.stack(path), step=lambda m, v, e: m / (np.sqrt(v) + e), first=1):
    def adam_path(gradient, start, *, learning_rate, beta1, beta2, epsilon, num_steps):
        x, m, v = np.array(start), np.zeros(len(start)), np.zeros(len(start))
        path = [x]
        for k in range(first, first + num_steps):
            g = gradient(x)
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            x = x - learning_rate * step(*correct(m, v, k, beta1, beta2), epsilon)
            path.append(x)
        return collect(path)

    return adam_path


def corrected(m, v, k, b1, b2):
    return m / np.float64(1 - b1**k), v / np.float64(1 - b2**k)


@bank.wrong("2.11", "The bias correction is still missing")
def smaller_rate_in_the_first_step(gradient, start, **settings):
    return path_like(lambda m, v, k, b1, b2: (m, v))(gradient, start, **settings)


@bank.wrong("2.11", "v is still too small at the start")
def only_m_mended(gradient, start, **settings):
    return path_like(lambda m, v, k, b1, b2: (m / (1 - b1**k), v))(gradient, start, **settings)


@bank.wrong("2.11", "m is still too small at the start")
def only_v_mended(gradient, start, **settings):
    return path_like(lambda m, v, k, b1, b2: (m, v / (1 - b2**k)))(gradient, start, **settings)


@bank.wrong("2.11", "The loop counts from 0")
def range_from_zero(gradient, start, **settings):
    return path_like(corrected, first=0)(gradient, start, **settings)


@bank.wrong("2.11", "Give them names of their own")
def corrected_in_place(gradient, start, *, learning_rate, beta1, beta2, epsilon, num_steps):
    x, m, v = start, 0 * start, 0 * start
    path = [x]
    for k in range(1, num_steps + 1):
        g = gradient(x)
        m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**k)
        v = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**k)
        x = x - learning_rate * m / (jnp.sqrt(v) + epsilon)
        path.append(x)
    return jnp.stack(path)


@bank.wrong("2.11", "the same in every step")
def correction_without_power(gradient, start, **settings):
    return path_like(lambda m, v, k, b1, b2: (m / (1 - b1), v / (1 - b2)))(gradient, start, **settings)


@bank.wrong("2.11", "Correct v first")
def root_corrected(gradient, start, **settings):
    return path_like(lambda m, v, k, b1, b2: (m / (1 - b1**k), v / (1 - b2**k) ** 2))(gradient, start, **settings)


@bank.wrong("2.11", "Epsilon was added before the bias correction")
def rate_folded(gradient, start, *, learning_rate, beta1, beta2, epsilon, num_steps):
    x, m, v = start, 0 * start, 0 * start
    path = [x]
    for k in range(num_steps):
        g = gradient(x)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        rate = learning_rate * (1 - beta2 ** (k + 1)) ** 0.5 / (1 - beta1 ** (k + 1))
        x = x - rate * m / (torch.sqrt(v) + epsilon)
        path.append(x)
    return torch.stack(path)


@bank.wrong("2.11", "The start is missing")
def path_without_the_start(gradient, start, **settings):
    return path_like(corrected, lambda path: np.array(path[1:]).reshape(-1, len(start)))(gradient, start, **settings)


@bank.wrong("2.11", "This is the last point only")
def last_point(gradient, start, **settings):
    return path_like(corrected, lambda path: path[-1])(gradient, start, **settings)


@bank.right("2.11")
def path_by_optax(gradient, start, *, learning_rate, beta1, beta2, epsilon, num_steps):
    optimizer = optax.adam(learning_rate, b1=beta1, b2=beta2, eps=epsilon)
    path, state = [start], optimizer.init(start)
    for _ in range(num_steps):
        updates, state = optimizer.update(gradient(path[-1]), state)
        path.append(path[-1] + updates)
    return jnp.stack(path)


@bank.right("2.11")
def path_by_torch(gradient, start, *, learning_rate, beta1, beta2, epsilon, num_steps):
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=learning_rate, betas=(beta1, beta2), eps=epsilon)
    path = [start]
    for _ in range(num_steps):
        x.grad = gradient(x.detach())
        optimizer.step()
        path.append(x.detach().clone())
    return torch.stack(path)


# 2.12 adam_update


def update_like(step, correct=corrected, returned=lambda u, m, v: (u, m, v)):
    def adam_update(g, m, v, k, *, learning_rate, beta1, beta2, epsilon):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        return returned(-learning_rate * step(*correct(m, v, k, beta1, beta2), epsilon), m, v)

    return adam_update


@bank.wrong("2.12", "Epsilon is still inside the root")
def still_inside(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / (v + e) ** 0.5)(g, m, v, k, **settings)


@bank.wrong("2.12", "Epsilon was taken out altogether")
def no_epsilon(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / np.sqrt(v))(g, m, v, k, **settings)


@bank.wrong("2.12", "Epsilon was squared inside the root")
def squared_inside(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / np.sqrt(v + e**2))(g, m, v, k, **settings)


@bank.wrong("2.12", "Epsilon stands in both places")
def in_both_places(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / (torch.sqrt(v + e) + e))(g, m, v, k, **settings)


@bank.wrong("2.12", "mind the brackets")
def brackets_forgotten(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / np.sqrt(v) + e)(g, m, v, k, **settings)


@bank.wrong("2.12", "This is the larger of root and epsilon")
def maximum_with_epsilon(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / jnp.maximum(jnp.sqrt(v), e))(g, m, v, k, **settings)


@bank.wrong("2.12", "The root of epsilon was added")
def root_of_epsilon(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / (v**0.5 + e**0.5))(g, m, v, k, **settings)


@bank.wrong("2.12", "The root is gone with it")
def root_lost(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / (v + e))(g, m, v, k, **settings)


@bank.wrong("2.12", "The bias correction was lost")
def correction_lost(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / (np.sqrt(v) + e), lambda m, v, k, b1, b2: (m, v))(g, m, v, k, **settings)


@bank.wrong("2.12", "Return the update with m and v")
def update_only(g, m, v, k, **settings):
    return update_like(lambda m, v, e: m / (np.sqrt(v) + e), returned=lambda u, m, v: u)(g, m, v, k, **settings)


@bank.wrong("2.12", "changed its input `m`")
def averages_in_place(g, m, v, k, *, learning_rate, beta1, beta2, epsilon):
    m.mul_(beta1).add_((1 - beta1) * g)
    v.mul_(beta2).add_((1 - beta2) * g**2)
    return -learning_rate * (m / (1 - beta1**k)) / (torch.sqrt(v / (1 - beta2**k)) + epsilon), m, v


@bank.right("2.12")
def outside_in_jax(g, m, v, k, *, learning_rate, beta1, beta2, epsilon):
    m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (g**2 - v)
    root = jnp.sqrt(v / (1 - beta2**k))
    return -learning_rate / (1 - beta1**k) * m / (root + epsilon), m, v


@bank.right("2.12")
def outside_in_torch(g, m, v, k, *, learning_rate, beta1, beta2, epsilon):
    m, v = torch.lerp(m, g, 1 - beta1), torch.lerp(v, g * g, 1 - beta2)
    denominator = (v / (1 - beta2**k)).sqrt().add(epsilon)
    return torch.addcdiv(torch.zeros_like(m), m / (1 - beta1**k), denominator, value=-learning_rate), m, v


# 2.13 decayed


def decay_like(after, before=lambda g, p, rate, wd: g, keeps=False):
    def decayed(optimizer, *, learning_rate, weight_decay):
        init, inner = optimizer

        def update(grads, state, params):
            given = tree(lambda g, p: before(g, p, learning_rate, weight_decay), grads, params)
            updates, new = inner(given, state, params)
            updates = tree(lambda u, p: after(u, p, learning_rate, weight_decay), updates, params)
            return updates, state if keeps else new

        return init, update

    return decayed


@bank.wrong("2.13", "The decay still goes through the gradient")
def still_through_the_gradient(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: u, lambda g, p, rate, wd: g + wd * p)(optimizer, **settings)


@bank.wrong("2.13", "The decay is in both places")
def decay_in_both_places(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: u - rate * wd * p, lambda g, p, rate, wd: g + wd * p)(optimizer, **settings)


@bank.wrong("2.13", "The learning rate is missing")
def decay_at_full_strength(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: u - wd * p)(optimizer, **settings)


@bank.wrong("2.13", "The sign is wrong")
def decay_uphill(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: u + rate * wd * p)(optimizer, **settings)


@bank.wrong("2.13", "Sign and learning rate are missing")
def as_add_decayed_weights_does(optimizer, *, learning_rate, weight_decay):
    init, inner = optimizer

    def update(grads, state, params):
        updates, state = inner(grads, state, params)
        return optax.add_decayed_weights(weight_decay).update(updates, optax.EmptyState(), params)[0], state

    return init, update


@bank.wrong("2.13", "The whole update was multiplied by -learning_rate")
def rate_around_everything(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: -rate * (u + wd * p))(optimizer, **settings)


@bank.wrong("2.13", "There is no decay any more")
def decay_taken_out(optimizer, *, learning_rate, weight_decay):
    return optimizer


@bank.wrong("2.13", "p does not occur in the decay")
def shrinks_the_update(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: (1 - rate * wd) * u)(optimizer, **settings)


@bank.wrong("2.13", "These are the new parameters")
def gives_parameters(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: (1 - rate * wd) * p + u)(optimizer, **settings)


@bank.wrong("2.13", "The state that came in was returned")
def inner_state_lost(optimizer, **settings):
    return decay_like(lambda u, p, rate, wd: u - rate * wd * p, keeps=True)(optimizer, **settings)


@bank.wrong("2.13", "`return init, update`")
def calls_it_right_away(optimizer, *, learning_rate, weight_decay):
    return lambda grads, state, params: optimizer[1](grads, state, params)


@bank.right("2.13")
def decay_by_an_optax_chain(optimizer, *, learning_rate, weight_decay):
    shrink = optax.GradientTransformation(
        lambda params: (), lambda u, s, p: (tree(lambda a, b: a - learning_rate * weight_decay * b, u, p), s)
    )
    return optax.chain(optax.GradientTransformation(*optimizer), shrink)


@bank.right("2.13")
def decay_in_torch(optimizer, *, learning_rate, weight_decay):
    init, inner = optimizer

    def add(u, p):
        if isinstance(u, dict):
            return {name: add(u[name], p[name]) for name in u}
        return torch.add(u, p, alpha=-learning_rate * weight_decay)

    def update(grads, state, params):
        updates, state = inner(grads, state, params)
        return add(updates, params), state

    return init, update


# 2.14 rates_of_run


def counted(count):
    def rates_of_run(schedule, *, num_epochs, num_batches):
        return [
            schedule(count(epoch, batch, num_epochs, num_batches))
            for epoch in range(num_epochs)
            for batch in range(num_batches)
        ]

    return rates_of_run


@bank.wrong("2.14", "The schedule still counts epochs")
def once_an_epoch(schedule, *, num_epochs, num_batches):
    rates = []
    for epoch in range(num_epochs):
        rates += [schedule(epoch)] * num_batches
    return rates


@bank.wrong("2.14", "The schedule begins again in every epoch")
def again_in_every_epoch(schedule, *, num_epochs, num_batches):
    return np.array([schedule(batch) for _ in range(num_epochs) for batch in range(num_batches)])


@bank.wrong("2.14", "the first update gets the rate of the second")
def counted_before_asked(schedule, *, num_epochs, num_batches):
    step, rates = 0, []
    for _ in range(num_epochs):
        for _ in range(num_batches):
            step += 1
            rates.append(schedule(step))
    return rates


@bank.wrong("2.14", "An epoch has num_batches updates")
def times_the_epochs(schedule, **sizes):
    return counted(lambda epoch, batch, E, B: epoch * E + batch)(schedule, **sizes)


@bank.wrong("2.14", "The count moves only between epochs")
def counted_once_an_epoch(schedule, **sizes):
    return counted(lambda epoch, batch, E, B: epoch * B)(schedule, **sizes)


@bank.wrong("2.14", "epoch + batch is no count")
def epoch_plus_batch(schedule, **sizes):
    return counted(lambda epoch, batch, E, B: epoch + batch)(schedule, **sizes)


@bank.wrong("2.14", "parts of epochs")
def fractional_epochs(schedule, **sizes):
    return counted(lambda epoch, batch, E, B: epoch + batch / B)(schedule, **sizes)


@bank.wrong("2.14", "one rate for each epoch")
def a_rate_an_epoch(schedule, *, num_epochs, num_batches):
    return [schedule(epoch) for epoch in range(num_epochs)]


@bank.wrong("2.14", "one step late")
def the_rate_before(schedule, **sizes):
    return counted(lambda epoch, batch, E, B: max(epoch * B + batch - 1, 0))(schedule, **sizes)


@bank.right("2.14")
def one_range(schedule, *, num_epochs, num_batches):
    return jnp.array([schedule(step) for step in range(num_epochs * num_batches)])


@bank.right("2.14")
def a_counter(schedule, *, num_epochs, num_batches):
    step, rates = 0, torch.zeros(num_epochs * num_batches)
    for _ in range(num_epochs):
        for _ in range(num_batches):
            rates[step] = schedule(step)
            step += 1
    return rates
