"""What has been tried -> the next point: of a grid, at random, of a Sobol sequence, or where a model finds it worth most."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import qmc

from mlcourse.search import acquisition as worth
from mlcourse.search.ascent import maximise
from mlcourse.search.gp import Hyperparameters, Posterior, condition, fit, matern32, matern52, predict_std, rbf
from mlcourse.search.space import Categorical, Integer, Params, Space, blocks, decode, snap

KERNELS = {"rbf": rbf, "matern32": matern32, "matern52": matern52}
ACQUISITIONS = ("log_ei", "ei", "pi", "ucb", "thompson", "variance")
NUM_CANDIDATES, NUM_NEAR, NUM_CLIMBS, NUM_STEPS = 512, 128, 4, 12


def grid(space: Space, *, points_per_axis: int) -> list[Params]:
    """Every combination, the last parameter fastest: `points_per_axis` values of a number, all choices of a categorical.

    >>> from mlcourse.search.space import LogReal
    >>> [round(p["rate"], 9) for p in grid({"rate": LogReal(0.01, 1.0)}, points_per_axis=3)]
    [0.01, 0.1, 1.0]
    """
    axes = []
    for p, b in zip(space.values(), blocks(space), strict=True):
        if isinstance(p, Categorical):
            axes.append(np.eye(b.levels))
        elif isinstance(p, Integer):
            cells = np.unique(np.linspace(0, b.levels - 1, min(points_per_axis, b.levels)).round())
            axes.append((cells[:, None] + 0.5) / b.levels)
        else:
            axes.append(np.linspace(0, 1, points_per_axis)[:, None])
    made = [decode(np.concatenate(point), space) for point in itertools.product(*axes)]
    return [params for i, params in enumerate(made) if params not in made[:i]]  # conditional ones come more than once


def random_point(space: Space, *, seed: int, index: int) -> np.ndarray:
    """The point number `index` (d,) of an even random stream."""
    return np.random.default_rng([seed, index]).random(blocks(space)[-1].stop)


@functools.lru_cache
def _sobol(d: int, power: int) -> np.ndarray:
    return qmc.Sobol(d, scramble=False).random_base2(power)


def sobol_point(space: Space, *, seed: int, index: int) -> np.ndarray:
    """The point number `index` (d,) of Sobol's sequence, all shifted by one random vector (Cranley and Patterson 1976)."""
    d = blocks(space)[-1].stop
    shift = np.random.default_rng(seed).random(d)
    return (_sobol(d, max(6, index.bit_length()))[index] + shift) % 1


def padded_size(n: int) -> int:
    """Rows to pad n points to, so that compiled code is met again: 32, and from there on powers of two."""
    return 2 ** max(5, math.ceil(math.log2(n)))


def _posterior(X, y, observed, pending, kernel) -> tuple[Hyperparameters, Posterior, jax.Array]:
    """The model, in which a pending point reads what the model expects there, and the readings (n,) it was given."""
    hyper = fit(kernel, X, y, observed)
    expected, _ = predict_std(condition(kernel, hyper, X, y, observed), X)
    y = jnp.where(pending, expected, y)
    return hyper, condition(kernel, hyper, X, y, observed | pending), y


@functools.partial(jax.jit, static_argnames=("kernel", "acquisition", "columns"))
def _suggest(X, y, observed, pending, spread, nudges, seed, margin, width, *, kernel, acquisition, columns):
    hyper, posterior, y = _posterior(X, y, observed, pending, kernel)
    used = observed | pending
    best = jnp.max(jnp.where(used, y, -jnp.inf))
    draw = worth.thompson_sample(jax.random.key(seed), posterior) if acquisition == "thompson" else None

    def value(points):  # (m, d) -> (m,)
        if draw is not None:
            return draw(points)
        mean, std = predict_std(posterior, points)
        return {"log_ei": lambda: worth.log_expected_improvement(mean, std, best, margin=margin),
                "ei": lambda: worth.expected_improvement(mean, std, best, margin=margin),
                "pi": lambda: worth.probability_of_improvement(mean, std, best, margin=margin),
                "ucb": lambda: worth.upper_confidence_bound(mean, std, width=width),
                "variance": lambda: worth.posterior_variance(mean, std)}[acquisition]()  # fmt: skip

    def on_grid(points):
        return snap(points, columns, jnp) if any(b.levels for b in columns) else points

    def new(points, values):  # what was read before teaches least
        seen = jnp.any(jnp.all(jnp.abs(points[:, None] - X) < 1e-9, axis=2) & used, axis=1)
        return jnp.where(seen | jnp.isnan(values), -jnp.inf, values)

    # Half of the climbs start far and wide, half near the best point, at distances from a length scale to a thousandth of it.
    mean = y - hyper.noise * posterior.alpha  # what the model expects at X: K alpha = y
    top = X[jnp.argmax(jnp.where(used, mean, -jnp.inf))]
    distances = 10.0 ** -jnp.linspace(0, 3, NUM_NEAR)[:, None] * jnp.minimum(hyper.lengths, 1.0)
    points = on_grid(jnp.concatenate([spread, jnp.clip(top + distances * nudges, 0, 1)]))
    values = new(points, value(points))
    far, near = (jax.lax.top_k(part, NUM_CLIMBS // 2)[1] for part in jnp.split(values, [NUM_CANDIDATES]))
    starts = points[jnp.concatenate([far, near + NUM_CANDIDATES])]
    tops, _ = maximise(lambda x: value(x[None])[0], starts, 0.0, 1.0, steps=NUM_STEPS, reach=0.1)
    tops = on_grid(tops)  # which may cost them their height
    return jnp.concatenate([tops, points])[jnp.argmax(jnp.concatenate([new(tops, value(tops)), values]))]


def model_point(
    space: Space, X, y, observed, pending, *, seed: int, kernel: str, acquisition: str, margin: float, width: float
):
    """The point (d,) where a reading is worth most to the model of what is known; the largest value is sought.

    Args:
        X: (n, d) points; y: (n,) readings, any number where nothing was read.
        observed, pending: (n,) True where a reading is there, and where it is on its way.
        margin: improvement that counts, in standard deviations of the readings (for "log_ei", "ei" and "pi").
        width: number of standard deviations of optimism (for "ucb").
    """
    columns = blocks(space)
    d = columns[-1].stop
    rng = np.random.default_rng([seed, len(X)])
    spread = (_sobol(d, NUM_CANDIDATES.bit_length() - 1) + rng.random(d)) % 1
    nudges = rng.standard_normal((NUM_NEAR, d))
    u = _suggest(*_padded(X, y, observed, pending), spread, nudges, int(rng.integers(2**31)), margin, width,
                 kernel=KERNELS[kernel], acquisition=acquisition, columns=columns)  # fmt: skip
    return np.asarray(u)


@functools.partial(jax.jit, static_argnames="kernel")
def _predict(X, y, observed, pending, points, *, kernel):
    return predict_std(_posterior(X, y, observed, pending, kernel)[1], points)


def model_map(X, y, observed, pending, points, *, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, both (m,), of the model at points (m, d)."""
    mean, std = _predict(*_padded(X, y, observed, pending), points, kernel=KERNELS[kernel])
    return np.asarray(mean), np.asarray(std)


def _padded(X, y, observed, pending):
    extra = padded_size(len(X)) - len(X)
    return tuple(np.pad(a, ((0, extra),) + ((0, 0),) * (a.ndim - 1)) for a in (X, y, observed, pending))
