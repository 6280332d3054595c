"""Exercise of lesson 08 on seeds: one call after which everything that draws, draws the same."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy

# 8.2 seed_everything(seed) -> a JAX key; Python, NumPy and PyTorch are seeded


def _run_seeds(answer: Callable, seed: int) -> Any:
    """What each library draws after the answer ran; before it, all stood at a seed of our own."""
    import torch

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - global generators are the subject
    try:
        random.seed(99)
        np.random.seed(99)  # noqa: NPY002
        torch.manual_seed(99)
        key = answer(seed)
        drawn = {
            "Python draws": random.random(),
            "NumPy draws": np.random.random(),  # noqa: NPY002
            "PyTorch draws": torch.rand(2, dtype=torch.float64).numpy(),
        }
        return drawn | {"the key": None if key is None else _key_bits(key)}
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def _key_bits(key: Any) -> Any:
    """The numbers in a JAX key, of the new kind or the old; other things as they are."""
    import jax

    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return as_numpy(key).astype(float) if isinstance(key, jax.Array) else key


def _seeding(
    *,
    python: Callable = random.seed,
    numpy: Callable = lambda seed: np.random.seed(seed),  # noqa: NPY002
    torch: Callable = lambda seed: __import__("torch").manual_seed(seed),
    key: Callable = lambda seed: __import__("jax").random.key(seed),
) -> Callable:
    def seed_everything(seed: int) -> Any:
        for each in (python, numpy, torch):
            each(seed)
        return key(seed)

    return seed_everything


def _nothing(seed: int) -> None:
    return None


def _jax(seed: int) -> Any:
    return __import__("jax").random.key(seed)


SEED_EVERYTHING = Exercise(
    id="8.2",
    name="seed_everything",
    title="Seed everything",
    minutes=10,
    difficulty=1,
    cases=lambda: {"a seed": {"seed": 3}, "the seed 0": {"seed": 0}, "a large seed": {"seed": 2**31 + 7}},
    reference=_seeding(),
    run=_run_seeds,
    mistakes=(
        Mistake(
            "Python's own `random` is not seeded. Augmentation code likes to use it: `random.seed(seed)`.",
            _seeding(python=_nothing),
        ),
        Mistake(
            "NumPy's global generator is not seeded. scikit-learn and pandas draw from it: `np.random.seed(seed)`. (A "
            "`default_rng(seed)` that nobody keeps changes nothing.)",
            _seeding(numpy=_nothing),
        ),
        Mistake("PyTorch is not seeded: `torch.manual_seed(seed)`.", _seeding(torch=_nothing)),
        Mistake(
            "Only NumPy is seeded. Python's `random` and PyTorch go on as they were.", _seeding(python=_nothing, torch=_nothing)
        ),
        Mistake(
            "Only PyTorch is seeded. Python's `random` and NumPy go on as they were.", _seeding(python=_nothing, numpy=_nothing)
        ),
        Mistake(
            "Only Python's `random` is seeded. NumPy and PyTorch go on as they were.", _seeding(numpy=_nothing, torch=_nothing)
        ),
        Mistake(
            "Nothing but the key is made from the seed: the three global generators go on as they were.",
            _seeding(python=_nothing, numpy=_nothing, torch=_nothing),
        ),
        Mistake(
            "The key does not depend on the seed: every run of JAX would be the same one.", _seeding(key=lambda seed: _jax(0))
        ),
        Mistake(
            "Everything is seeded with 0 instead of the seed.",
            lambda seed: _seeding()(0),
        ),
        Mistake(
            "A number was drawn after seeding, so all that is drawn later is shifted by one. Seed, and draw nothing.",
            lambda seed: (_seeding()(seed), random.random(), np.random.random(), __import__("torch").rand(()))[0],  # noqa: NPY002
        ),
        Mistake(
            "The global generators are seeded, but JAX has none: return `jax.random.key(seed)`, for the caller to split.",
            _seeding(key=_nothing),
        ),
        Mistake(
            "The key was split before it was returned. That is allowed, but then it is not the key of this seed: return "
            "`jax.random.key(seed)`.",
            _seeding(key=lambda seed: __import__("jax").random.split(_jax(seed))[0]),
        ),
    ),
    hints=(
        "Three global generators, and one library that has none.",
        "`random.seed`, `np.random.seed`, `torch.manual_seed`; and `jax.random.key(seed)` to return.",
    ),
)
