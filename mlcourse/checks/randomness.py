"""Properties of every answer that takes a `seed`, for `Exercise.properties`: `run(**case)` calls the answer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Property
from mlcourse.checks.values import same


def repeats(run: Callable, **case: Any) -> bool:
    """Two calls with one seed give the same."""
    return same(run(**case), run(**case))


def seed_matters(run: Callable, **case: Any) -> bool:
    """Another seed gives something else."""
    return not same(run(**case), run(**{**case, "seed": case["seed"] + 1}))


def _leaves_global_generator(run: Callable, **case: Any) -> bool:
    kept = np.random.get_state()  # noqa: NPY002 - the question is whether the answer touches it
    try:
        run(**case)
        return all(np.array_equal(a, b) for a, b in zip(kept, np.random.get_state(), strict=True))  # noqa: NPY002
    finally:
        np.random.set_state(kept)  # noqa: NPY002


GLOBAL_GENERATOR = Property(
    "NumPy's global random generator was changed, and with it every later random number of the program. Make one of your "
    "own: `rng = np.random.default_rng(seed)`.",
    _leaves_global_generator,
)
