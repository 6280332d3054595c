"""The schedules against Optax's and PyTorch's, and by hand at their corners."""

import jax
import numpy as np
import optax
import pytest
import torch

from mlcourse import schedules
from mlcourse.search.precision import float64

STEPS = np.arange(130)  # beyond the end of every schedule below
PAIRS = {
    "cosine": (schedules.cosine(0.3, 100), optax.cosine_decay_schedule(0.3, 100)),
    "cosine with an end": (schedules.cosine(0.3, 100, end=0.03), optax.cosine_decay_schedule(0.3, 100, alpha=0.1)),
    "cosine of one step": (schedules.cosine(0.3, 1), optax.cosine_decay_schedule(0.3, 1)),
    "warm-up": (
        schedules.warmup_cosine(0.3, 100, warmup=20, start=0.1, end=0.05),
        optax.warmup_cosine_decay_schedule(0.1, 0.3, 20, 100, 0.05),
    ),
    "no warm-up": (schedules.warmup_cosine(0.3, 100, warmup=0), optax.warmup_cosine_decay_schedule(0.0, 0.3, 0, 100)),
    "restarts": (
        schedules.cosine_restarts(0.3, [20, 40, 50], end=0.01),
        optax.sgdr_schedule(
            [
                {"init_value": 0.3, "peak_value": 0.3, "warmup_steps": 0, "decay_steps": n, "end_value": 0.01}
                for n in (20, 40, 50)
            ]
        ),
    ),
    "trapezoid": (
        schedules.trapezoidal(0.3, 100, warmup=10, cooldown=30),
        optax.join_schedules(
            [optax.linear_schedule(0, 0.3, 10), optax.constant_schedule(0.3), optax.linear_schedule(0.3, 0, 30)], [10, 70]
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_rates_are_those_of_optax_at_every_step(name):
    ours, theirs = PAIRS[name]
    with float64():
        expected, one_by_one = jax.jit(lambda steps: (jax.vmap(theirs)(steps), jax.vmap(ours)(steps)))(STEPS)
        np.testing.assert_allclose(one_by_one, expected, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(ours(STEPS), expected, rtol=1e-9, atol=1e-15)  # all at once, as for a figure


def rates_of_torch(make, num_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(optimizer)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_rates_are_those_of_pytorch():
    scheduler = torch.optim.lr_scheduler
    cosine = rates_of_torch(lambda o: scheduler.CosineAnnealingLR(o, T_max=100, eta_min=0.03), 100)
    np.testing.assert_allclose(schedules.cosine(0.3, 100, end=0.03)(np.arange(100)), cosine, rtol=1e-5)  # float32
    restarts = rates_of_torch(lambda o: scheduler.CosineAnnealingWarmRestarts(o, T_0=20, T_mult=2), 60)
    np.testing.assert_allclose(schedules.cosine_restarts(0.3, [20, 40])(np.arange(60)), restarts, rtol=1e-4, atol=1e-7)


def test_a_schedule_drives_a_pytorch_optimizer_through_lambda_lr():
    rate = schedules.trapezoidal(1.0, 40, warmup=5, cooldown=20)
    driven = rates_of_torch(lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: float(rate(step))), 40)
    np.testing.assert_allclose(driven, 0.3 * np.asarray(rate(np.arange(40))), rtol=1e-6)


def test_corners_by_hand():
    trapezoid = schedules.trapezoidal(2.0, 10, warmup=4, cooldown=2)
    np.testing.assert_allclose(trapezoid(np.array([0, 2, 4, 8, 9, 10, 11])), [0, 1, 2, 2, 1, 0, 0], rtol=1e-6)
    only_falls = schedules.trapezoidal(2.0, 4, warmup=0, cooldown=4)
    np.testing.assert_allclose(only_falls(np.array([0, 2, 4])), [2, 1, 0], rtol=1e-6)
    only_rises = schedules.trapezoidal(2.0, 4, warmup=4, cooldown=0)
    np.testing.assert_allclose(only_rises(np.array([0, 2, 3, 4])), [0, 1, 1.5, 0], rtol=1e-6)
    assert schedules.constant(0.2)(0) == schedules.constant(0.2)(10**9) == 0.2


def test_every_cosine_of_the_restarts_is_a_cosine_and_the_rate_never_leaves_its_range():
    restarts = schedules.cosine_restarts(0.3, [20, 40, 50], end=0.01)
    rates = np.asarray(restarts(STEPS))
    alone = np.asarray(schedules.cosine(0.3, 40, end=0.01)(STEPS))
    np.testing.assert_allclose(rates[20:60], alone[:40], rtol=1e-5)
    assert rates.min() >= 0.01 - 1e-8 and rates.max() <= 0.3 + 1e-8


def test_a_peak_may_be_traced():
    rates = jax.vmap(lambda peak: schedules.warmup_cosine(peak, 10, warmup=2)(2))(np.array([0.1, 0.2]))
    np.testing.assert_allclose(rates, [0.1, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-1.0), "learning_rate=-1.0 is not a step size"),
        (lambda: schedules.cosine(-0.1, 10), "peak=-0.1 is not a step size"),
        (lambda: schedules.cosine(0.1, 10, end=-0.1), "end=-0.1 is not a step size"),
        (lambda: schedules.cosine(0.1, 0), "num_steps=0 is not a number of updates. Pass a whole number of at least 1"),
        (lambda: schedules.cosine(0.1, 1.5), "num_steps=1.5 is not a number of updates"),
        (lambda: schedules.cosine_restarts(0.1, []), r"lengths=\[\] leaves no cosine.*\[100, 200\]"),
        (lambda: schedules.cosine_restarts(0.1, [10, 0]), "length=0 is not a number of updates"),
        (lambda: schedules.trapezoidal(0.1, 10, warmup=-1, cooldown=0), "warmup=-1 is not a number.*0 leaves that part out"),
        (
            lambda: schedules.trapezoidal(0.1, 10, warmup=6, cooldown=5),
            "a warm-up of 6 and a fall of 5 .* num_steps=10. Shorten",
        ),
        (lambda: schedules.warmup_cosine(0.1, 10, warmup=10), "a warm-up of 10 and a fall of 1 updates do not fit"),
        (lambda: schedules.warmup_cosine(0.1, 10, warmup=2, start=-1.0), "start=-1.0 is not a step size"),
    ],
)
def test_a_schedule_that_can_not_be_is_refused_with_the_cure(make, message):
    with pytest.raises(ValueError, match=message):
        make()
