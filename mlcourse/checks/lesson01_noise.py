"""The exercise of lesson 01 that adds noise: fresh, independent, Gaussian, of the right size."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property
from mlcourse.checks.randomness import GLOBAL_GENERATOR, repeats, seed_matters

# 1.8 noisy_copies(x, *, num_copies, scale, seed) -> (num_copies, n, d): fresh Gaussian noise in every copy


def _noise_cases() -> dict:
    wide = np.random.default_rng(18).normal(size=(40, 50)).astype(np.float32)
    return {
        "4 copies of 40 examples, noise of 0.5": {"x": wide[:, :25].copy(), "num_copies": 4, "scale": 0.5, "seed": 0},
        "3 copies of one example, noise of 2": {
            "x": np.ones((1, 600), dtype=np.float32),
            "num_copies": 3,
            "scale": 2.0,
            "seed": 7,
        },
        "no noise, every second column": {"x": wide[:, ::2], "num_copies": 4, "scale": 0.0, "seed": 1},
    }


def _run_noise(answer: Callable, x: Any, num_copies: int, scale: float, seed: int) -> Any:
    return answer(x, num_copies=num_copies, scale=scale, seed=seed)


def _noisy_copies(x: np.ndarray, *, num_copies: int, scale: float, seed: int) -> np.ndarray:
    return x + scale * np.random.default_rng(seed).standard_normal((num_copies, *x.shape)).astype(np.float32)


def _noise(run: Callable, **case: Any) -> np.ndarray:
    return (run(**case) - case["x"]) / (case["scale"] or 1.0)


def _copies_differ(run: Callable, **case: Any) -> bool:
    noise = _noise(run, **case)
    return case["scale"] == 0 or not any(
        np.allclose(noise[i], noise[j], atol=1e-3) for j in range(len(noise)) for i in range(j)
    )


def _copies_are_independent(run: Callable, **case: Any) -> bool:
    """Correlations of 600 or more numbers: independent ones stay below 0.25 (6 standard deviations)."""
    noise = _noise(run, **case).reshape(case["num_copies"], -1)
    return case["scale"] == 0 or bool((abs(np.corrcoef(noise) - np.eye(len(noise))) < 0.25).all())


def _rows_are_independent(run: Callable, **case: Any) -> bool:
    noise = _noise(run, **case)[0]
    if case["scale"] == 0 or len(noise) == 1:
        return True
    return not np.allclose(noise[0], noise[1], atol=1e-3)


def _columns_are_independent(run: Callable, **case: Any) -> bool:
    noise = _noise(run, **case)[0]
    return case["scale"] == 0 or not np.allclose(noise[:, 0], noise[:, 1], atol=1e-3)


def _around_x(run: Callable, **case: Any) -> bool:
    """The mean of 600 or more numbers of deviation 1 lies within 0.25 of 0 (6 standard errors)."""
    return bool((abs(_noise(run, **case).reshape(case["num_copies"], -1).mean(axis=1)) < 0.25).all())


def _scale_is_deviation(run: Callable, **case: Any) -> bool:
    """Measured on 600 or more numbers, a deviation of 1 comes out between 0.8 and 1.2 (6 standard errors)."""
    deviation = _noise(run, **case).reshape(case["num_copies"], -1).std(axis=1)
    return bool((abs(deviation - (case["scale"] > 0)) < 0.2).all())


def _is_gaussian(run: Callable, **case: Any) -> bool:
    """A Gaussian has 4.6 % beyond two deviations, a uniform of the same deviation none."""
    noise = _noise(run, **case)
    return case["scale"] == 0 or bool(0.01 < (abs(noise) > 2).mean() < 0.1)


def _copies_of_seeds_do_not_overlap(run: Callable, **case: Any) -> bool:
    here, there = _noise(run, **case), _noise(run, **{**case, "seed": case["seed"] + 1})
    return case["scale"] == 0 or not np.allclose(here[1], there[0], atol=1e-3)


def _another_seed_gives_other_noise(run: Callable, **case: Any) -> bool:
    return case["scale"] == 0 or seed_matters(run, **case)


NOISY_COPIES = Exercise(
    id="1.8",
    name="noisy_copies",
    title="Find the bug: a key used twice",
    minutes=10,
    difficulty=2,
    cases=_noise_cases,
    reference=_noisy_copies,
    run=_run_noise,
    compare="shapes",
    mistakes=(
        Mistake(
            "This is one noisy copy. Stack `num_copies` of them along a new first axis.",
            lambda x, *, num_copies, scale, seed: _noisy_copies(x, num_copies=1, scale=scale, seed=seed)[0],
        ),
        Mistake(
            "The copies were joined along the rows. Stack them along a new first axis: `jnp.stack`, not `jnp.concatenate`.",
            lambda x, *, num_copies, scale, seed: np.concatenate(
                _noisy_copies(x, num_copies=num_copies, scale=scale, seed=seed)
            ),
        ),
        Mistake(
            "The copies were stacked along the second axis. The shape must be (num_copies, n, d).",
            lambda x, *, num_copies, scale, seed: np.stack(
                _noisy_copies(x, num_copies=num_copies, scale=scale, seed=seed), axis=1
            ),
        ),
        Mistake(
            "There is one copy too many: the original does not belong to them.",
            lambda x, *, num_copies, scale, seed: _noisy_copies(x, num_copies=num_copies + 1, scale=scale, seed=seed),
        ),
    ),
    properties=(
        Property(
            "Two copies have the very same noise: a random key was used twice. Split it, and use each part once: "
            "`key, subkey = jax.random.split(key)` in every turn.",
            _copies_differ,
        ),
        Property(
            "All rows of a copy have the same noise. Draw it with the shape of the whole x, `x.shape`.",
            _rows_are_independent,
        ),
        Property(
            "All features of a row have the same noise. Draw it with the shape of the whole x, `x.shape`.",
            _columns_are_independent,
        ),
        Property(
            "Noise of one copy is also in the next: it piles up. Add fresh noise to the original x each time, not "
            "to the last copy.",
            _copies_are_independent,
        ),
        Property(
            "Two calls with the same seed give different noise. Make the key from the seed: `key = jax.random.key(seed)`.",
            repeats,
        ),
        Property(
            "Another seed gives the same noise, so `seed` is not used. Make the key from it: `key = jax.random.key(seed)`.",
            _another_seed_gives_other_noise,
        ),
        Property(
            "Copy 1 of one seed has the noise of copy 0 of the next seed, so runs with neighbouring seeds are not "
            "independent. Make one key from `seed` and split it, instead of `key(seed + i)`.",
            _copies_of_seeds_do_not_overlap,
        ),
        Property(
            "The noise is not centred on 0, so the copies are shifted. Gaussian noise is `jax.random.normal`.",
            _around_x,
        ),
        Property(
            "The noise does not have the standard deviation `scale`. Multiply standard normal numbers by `scale`, "
            "not by its square or its root.",
            _scale_is_deviation,
        ),
        Property("The noise is not Gaussian. Draw it with `jax.random.normal`.", _is_gaussian),
        GLOBAL_GENERATOR,
    ),
    hints=(
        "Print `noise[0, :3]` in every turn of the loop.",
        "`jax.random.normal` has no memory: the same key gives the same numbers, however often it is called.",
        "`key, subkey = jax.random.split(key)` inside the loop; draw with `subkey`, and keep `key` for the next split.",
    ),
)
