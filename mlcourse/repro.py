"""A seed and parameters into a run that can be repeated, and the manifest that says what it was."""

import hashlib
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

PACKAGES = ("mlcourse", "numpy", "scipy", "scikit-learn", "jax", "jaxlib", "flax", "optax", "torch", "matplotlib")


def seed_everything(seed: int, *, threads: int | None = None) -> list[str]:
    """Seeds Python, NumPy and PyTorch, asks for deterministic algorithms, and returns what could not be settled.

    JAX has no global seed: its randomness is in the keys you pass. PyTorch is seeded only if it is already imported,
    so import it first.

    Args:
        seed: from 0 to 2**32 - 1, the range NumPy accepts.
        threads: PyTorch's number of threads; a sum over another number of threads may round differently.

    Returns:
        Sentences, one for each thing this call could not make repeatable; an empty list when there is none.

    >>> left_open = seed_everything(3)
    >>> first = random.random(), np.random.rand()
    >>> left_open = seed_everything(3)
    >>> first == (random.random(), np.random.rand())
    True
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed!r} is not an integer from 0 to 4294967295.")
    seed = int(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that draw from the global generator
    left_open = []
    if os.environ.get("PYTHONHASHSEED") in (None, "random"):
        left_open.append("The order of a set of strings: it is fixed when Python starts. Set PYTHONHASHSEED=0 before, or sort.")
    torch = sys.modules.get("torch")
    if torch is None:
        left_open.append("PyTorch: it is not imported. Import it and call this again.")
    else:
        left_open += seed_torch(torch, seed, threads)
    jax = sys.modules.get("jax")
    if jax is not None and any(device.platform == "gpu" for device in jax.devices()):
        if "--xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", ""):
            left_open.append(
                "JAX on a GPU: some sums run in any order. Set XLA_FLAGS=--xla_gpu_deterministic_ops=true before Python starts."
            )
    return left_open


def seed_torch(torch: Any, seed: int, threads: int | None) -> list[str]:
    torch.manual_seed(seed)  # CPU and every GPU
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    if not torch.cuda.is_available():
        return []
    torch.backends.cudnn.benchmark = False
    if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in (":4096:8", ":16:8"):
        return ["cuBLAS: set CUBLAS_WORKSPACE_CONFIG=:4096:8 before Python starts; until then some operations raise."]
    return []


def manifest(parameters: dict, *, data: dict[str, str] | None = None, started: float | None = None) -> dict:
    """What a result rests on, as plain JSON values.

    Args:
        parameters: every setting of the run, the seed among them.
        data: name -> digest of each data set (see `digest`).
        started: `time.time()` at the start; gives "seconds".

    Returns:
        {"python", "platform", "packages", "devices", "threads", "git", "parameters", "data", "seconds"}. "git" is
        `{"commit": ..., "dirty": ...}`, or None outside a repository.

    >>> manifest({"seed": 1})["parameters"]
    {'seed': 1}
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := installed_version(name))},
        "devices": devices(),
        "threads": os.cpu_count(),
        "git": git_state(),
        "parameters": dict(parameters),
        "data": dict(data or {}),
        "seconds": None if started is None else round(time.time() - started, 3),
    }


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the arrays' values, shapes and types: the same data give the same digest on every machine.

    >>> digest(np.arange(3, dtype="int32")) == digest(np.array([0, 1, 2], dtype="int32"))
    True
    >>> digest(np.arange(3, dtype="int32")) == digest(np.arange(3, dtype="int64"))
    False
    """
    sha = hashlib.sha256()
    for array in map(np.asarray, arrays):
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        sha.update(f"{little.dtype.str}{little.shape}".encode())
        sha.update(little.tobytes())
    return sha.hexdigest()


def digests_of(variables: Mapping[str, Any]) -> dict[str, str]:
    """Name -> digest of each data set of `mlcourse.data` among these variables, for the manifest of a notebook.

    Args:
        variables: such as `globals()`; a set under two names is there once.

    >>> digests_of({"x": 1})
    {}
    """
    data = sys.modules.get("mlcourse.data")
    if data is None:
        return {}
    found = {}
    for value in list(variables.values()):
        if isinstance(value, data.Dataset):
            found[value.name] = digest(value.x, value.y)
        elif isinstance(value, data.Text):
            found[value.name] = hashlib.sha256(value.text.encode()).hexdigest()
    return found


def installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def devices() -> list[str]:
    """The devices of the frameworks that are imported; asking for more would start them."""
    found = []
    if "jax" in sys.modules:
        found += [f"jax {device.device_kind}" for device in sys.modules["jax"].devices()]
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found += [f"torch {name}" for name in names or ["cpu"]]
    return found


def git_state() -> dict | None:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
