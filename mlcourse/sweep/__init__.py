"""A notebook and lists of parameters into one executed notebook and one row a trial.

    from mlcourse.sweep import Range, sweep

    outcome = sweep("notebooks/01_training_loop.ipynb", {"learning_rate": [0.01, 0.1], "seed": range(5)}, out="runs/lr")

The names are loaded when they are asked for, so that a worker process imports no more than it needs.
"""

import importlib
from typing import Any

NAMES = {
    "sweep": "run",
    "searched": "searched",
    "read": "run",
    "Outcome": "run",
    "Range": "parameters",
    "SweepError": "parameters",
    "SweepStopped": "workers",
}


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{NAMES[name]}"), name)
