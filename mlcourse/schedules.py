"""The number of updates made so far into a learning rate: the schedules of lesson 02.

A schedule is a function `rate(step)` with `step` counted from 0, a number or an array. It stands where an optimizer of
`mlcourse.optimizers` or of Optax takes a learning rate. For PyTorch, give the optimizer `lr=1.0` and drive it with
`torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(rate(step)))`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mlcourse.optimizer_settings import check

Schedule = Callable[[Any], Any]


def constant(rate: float) -> Schedule:
    """The same rate at every step.

    >>> constant(0.1)(1000)
    0.1

    Built in lesson 02.
    """
    check(learning_rate=rate)
    return lambda step: rate


def cosine(peak: float, num_steps: int, *, end: float = 0.0) -> Schedule:
    """From peak to end along half a cosine (Loshchilov and Hutter 2017, equation 5), and end after that.

    As `optax.cosine_decay_schedule(peak, num_steps, alpha=end / peak)`.

    Args:
        peak, end: at least 0.
        num_steps: length of the fall in updates, at least 1.

    Raises:
        ValueError: a setting out of its range.

    >>> [round(float(cosine(1.0, 4)(step)), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Built in lesson 02.
    """
    check(peak=peak, num_steps=num_steps, end=end)

    def rate(step):
        return end + (peak - end) * (1 + jnp.cos(jnp.pi * done(step, num_steps))) / 2

    return rate


def cosine_restarts(peak: float, lengths: Sequence[int], *, end: float = 0.0) -> Schedule:
    """Half a cosine from peak to end, again and again: SGDR (Loshchilov and Hutter 2017). After the last, end.

    As `optax.sgdr_schedule`. PyTorch's `CosineAnnealingWarmRestarts(T_0, T_mult)` has the lengths T_0, T_0 T_mult, ...

    Args:
        peak, end: at least 0.
        lengths: of the cosines, in updates, each at least 1.

    Raises:
        ValueError: a setting out of its range, or no lengths.

    >>> [round(float(cosine_restarts(1.0, [2, 4])(step)), 3) for step in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]

    Built in lesson 02.
    """
    check(peak=peak, end=end)
    for length in lengths:
        check(length=length)
    if len(lengths) == 0:
        raise ValueError("lengths=[] leaves no cosine to follow. Pass the updates of each, for example [100, 200].")
    starts = np.cumsum([0, *lengths])[:-1]

    def rate(step):
        cycle = jnp.searchsorted(starts, step, side="right") - 1
        fraction = jnp.minimum((step - jnp.array(starts)[cycle]) / jnp.array(lengths)[cycle], 1)
        return end + (peak - end) * (1 + jnp.cos(jnp.pi * fraction)) / 2

    return rate


def trapezoidal(peak: float, num_steps: int, *, warmup: int, cooldown: int) -> Schedule:
    """A ramp up from 0 over `warmup` updates, peak, and a ramp down to 0 over the last `cooldown` of `num_steps`.

    Also called warm-up, stable, decay. As Optax's `join_schedules` of two `linear_schedule`s and a constant.

    Args:
        peak: at least 0.
        num_steps: of the whole, at least 1.
        warmup, cooldown: at least 0, together at most num_steps.

    Raises:
        ValueError: a setting out of its range, or ramps longer than the whole.

    >>> [round(float(trapezoidal(1.0, 8, warmup=2, cooldown=4)(step)), 3) for step in range(9)]
    [0.0, 0.5, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]

    Built in lesson 02.
    """
    check(peak=peak, num_steps=num_steps, warmup=warmup, cooldown=cooldown)
    check_fits(num_steps, warmup, cooldown)

    def rate(step):
        return peak * jnp.minimum(done(step, warmup), 1 - done(step - (num_steps - cooldown), cooldown))

    return rate


def warmup_cosine(peak: float, num_steps: int, *, warmup: int, start: float = 0.0, end: float = 0.0) -> Schedule:
    """A straight line from start to peak over `warmup` updates, then `cosine` down to end at `num_steps`.

    As `optax.warmup_cosine_decay_schedule(start, peak, warmup, num_steps, end)`.

    Args:
        peak, start, end: at least 0.
        num_steps: of the whole, warm-up included, at least 1.
        warmup: at least 0, below num_steps.

    Raises:
        ValueError: a setting out of its range, or a warm-up as long as the whole.

    >>> [round(float(warmup_cosine(1.0, 6, warmup=2)(step)), 3) for step in range(7)]
    [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]

    Built in lesson 02.
    """
    check(peak=peak, num_steps=num_steps, warmup=warmup, start=start)
    check_fits(num_steps, warmup, 1)
    fall = cosine(peak, num_steps - warmup, end=end)

    def rate(step):
        rise = start + (peak - start) * done(step, warmup)
        return jnp.where(step < warmup, rise, fall(step - warmup))

    return rate


def done(step: Any, length: int) -> Any:
    """The fraction of a ramp of so many updates that lies behind, from 0 to 1; a ramp of length 0 is a jump at 0.

    >>> [float(done(step, 4)) for step in (-1, 1, 9)], [float(done(step, 0)) for step in (-1, 0)]
    ([0.0, 0.25, 1.0], [0.0, 1.0])
    """
    return jnp.clip(step / length, 0, 1) if length else jnp.where(step < 0, 0.0, 1.0)


def check_fits(num_steps: int, warmup: int, cooldown: int) -> None:
    if warmup + cooldown > num_steps:
        raise ValueError(
            f"a warm-up of {warmup} and a fall of {cooldown} updates do not fit into num_steps={num_steps}. "
            "Shorten them, or count them in num_steps."
        )
