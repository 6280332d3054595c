"""The architecture, executable: which module may import what.

One row a module: other modules of the package, outside packages when the module is imported, and outside packages
imported inside functions only. The standard library, `mlcourse.errors` and `mlcourse.files` are free to all. What a row
allows and the module does not use is an error too, so the table stays the truth.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mlcourse"

TABLE = {  # module: (inside the package, outside, outside but lazily)
    "__init__": ("", "", ""),
    "errors": ("", "", ""),
    "files": ("", "", ""),
    "site": ("", "", ""),
    "stats": ("", "numpy scipy", ""),
    "cards": ("", "", ""),
    "download": ("", "platformdirs tqdm", ""),
    "data": ("cards download", "numpy", "sklearn"),
    "train": ("", "tqdm", ""),
    "train_jax": ("train", "jax numpy tqdm", ""),
    "optimizer_settings": ("", "", ""),
    "optimizers": ("optimizer_settings", "jax", ""),
    "schedules": ("optimizer_settings", "jax numpy", ""),
    "optimizers_torch": ("optimizer_settings", "torch", ""),
    "normalisation": ("", "", ""),
    "curvature": ("", "jax numpy", ""),
    "transformer": ("", "flax jax numpy", ""),
    "transformer_torch": ("transformer", "numpy torch", ""),
    "text": ("data", "numpy", ""),
    "repro": ("", "numpy", ""),
    "checkpoint": ("", "jax numpy", ""),
    "record": ("stats", "", "IPython"),
    "model_card": ("record", "", ""),
    "plots": ("stats", "matplotlib numpy", ""),
    "widgets": ("plots", "ipywidgets matplotlib numpy", ""),
    "tracking": ("repro", "", "huggingface_hub tensorboardX torch trackio wandb"),
    "train_command": ("checkpoint data repro sweep tracking train", "flax jax optax tqdm yaml", ""),
    "notebooks": ("record", "nbclient nbformat traitlets", "papermill"),
    "lint": ("notebooks site", "nbformat", ""),
    "exercises": ("", "nbformat nbgrader", ""),
    "__main__": ("", "", ""),
}
GROUPS = {  # every module of a folder, at most
    "sweep": (
        "sweep plots record repro search stats tracking",
        "IPython ipykernel jupyter_client nbclient papermill psutil tqdm traitlets yaml",
        "distributed matplotlib",
    ),
    "report": ("report checks", "psutil tqdm", "IPython traitlets"),
    "checks": ("checks model_card record", "numpy", "jax torch IPython"),
    "search": ("search", "jax numpy scipy threadpoolctl", ""),
    "sizing": ("sizing transformer", "flax jax optax torch", ""),
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts)] = path
    return found


def allowed(name: str) -> tuple[set, set, set]:
    row = GROUPS.get(name.split(".")[0]) or TABLE[name]
    return tuple(set(part.split()) for part in row)


def imports(source: str) -> tuple[set, set, set]:
    """(inside, outside, lazily outside) as the syntax tree has them."""
    inside, outside, lazily = set(), set(), set()
    tree = ast.parse(source)
    in_functions = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports in full: `from mlcourse.errors import ...`"
            names = [f"{node.module}.{alias.name}" if node.module == "mlcourse" else node.module for alias in node.names]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            if top == "mlcourse":
                inside |= {*rest[:1]} - {"errors", "files"}
            elif top not in sys.stdlib_module_names:
                (lazily if node in in_functions else outside).add(top)
    return inside, outside, lazily - outside


def test_every_module_has_a_row_and_every_row_a_module():
    assert {name for name in modules() if name.split(".")[0] not in GROUPS} == set(TABLE)


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_only_what_its_row_allows(name):
    inside, outside, lazily = imports(modules()[name].read_text())
    may_inside, may_outside, may_lazily = allowed(name)
    assert inside - may_inside == set(), f"{name} must not import these modules of the package"
    assert outside - may_outside == set(), f"{name} must not import these packages"
    assert lazily - may_lazily - may_outside == set(), f"{name} must not import these packages, not even in a function"


@pytest.mark.parametrize("name", TABLE)
def test_a_row_allows_only_what_its_module_imports(name):
    inside, outside, lazily = imports(modules()[name].read_text())
    may_inside, may_outside, may_lazily = allowed(name)
    assert (may_inside - inside, may_outside - outside, may_lazily - lazily) == (set(), set(), set())


@pytest.mark.parametrize(
    "source, found",
    [
        ("import os, numpy.linalg", (set(), {"numpy"}, set())),
        ("from mlcourse import data, plots\nimport mlcourse.stats", ({"data", "plots", "stats"}, set(), set())),
        ("def f():\n    import torch\n    from jax import numpy", (set(), set(), {"torch", "jax"})),
        ("class A:\n    import torch", (set(), {"torch"}, set())),
        ("try:\n    import torch\nexcept ImportError:\n    pass", (set(), {"torch"}, set())),
        ("import torch\ndef f():\n    import torch", (set(), {"torch"}, set())),
    ],
)
def test_imports_are_found_wherever_they_stand(source, found):
    assert imports(source) == found


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, mlcourse; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "numpy",
        "scipy",
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "torch",
        "matplotlib",
        "sklearn",
        "ipywidgets",
        "nbformat",
    }
    assert heavy & set(loaded) == set()
    assert "mlcourse" in loaded


def test_importing_the_package_takes_less_than_50_ms():
    # The best of five, because whatever else the machine does only adds time.
    def microseconds() -> int:
        command = [sys.executable, "-X", "importtime", "-c", "import mlcourse"]
        log = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": ""}).stderr
        line = next(line for line in log.splitlines() if line.split("|")[-1].strip() == "mlcourse")
        return int(line.split("|")[1])

    assert min(microseconds() for _ in range(5)) < 50_000
