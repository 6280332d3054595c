"""One repository address into the badges and the set-up cell of every notebook.

Moving the course to another address: change `REPOSITORY`, run `make site`.
"""

import json
import re
import sys
from pathlib import Path

from mlcourse.files import write_whole

REPOSITORY = "mlcourse-org/mlcourse"
BRANCH = "main"
FIRST_LESSON = "notebooks/01_training_loop.ipynb"

BADGE_LINE = re.compile(r"^\[!\[Open in Colab\].*$", re.MULTILINE)


def published(path: str | Path) -> str:
    """The address inside the repository of the notebook that readers open: of a solution, its exercise.

    >>> published("solutions/01_training_loop.ipynb")
    'exercises/01_training_loop.ipynb'
    """
    folder, name = Path(path).resolve().parts[-2:]
    return f"{'exercises' if folder == 'solutions' else folder}/{name}"


def badges(path: str | Path) -> str:
    """The line of Markdown that opens the notebook in Colab or in Binder.

    >>> "blob/main/notebooks/02_optimizers.ipynb" in badges("notebooks/02_optimizers.ipynb")
    True
    """
    notebook = published(path)
    colab = f"https://colab.research.google.com/github/{REPOSITORY}/blob/{BRANCH}/{notebook}"
    binder = f"https://mybinder.org/v2/gh/{REPOSITORY}/{BRANCH}?urlpath=lab/tree/{notebook}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def setup_cell() -> str:
    """The code of the set-up cell. It prints nothing where the course is installed, and may run any number of times.

    `--no-deps`: Colab has NumPy, JAX and PyTorch already, NumPy is imported before the first cell runs, and replacing
    one of them breaks the session. All that `import mlcourse` needs is among Colab's own packages.

    >>> compile(setup_cell().replace("%pip", "pip = 0 #"), "cell", "exec") is not None
    True
    """
    return f"""\
# Set-up: on Colab this installs the course's package, once; elsewhere it only looks whether it is there.
import importlib.util
import os

if importlib.util.find_spec("mlcourse") is None:
    if not any(name.startswith("COLAB_") for name in os.environ):
        raise ModuleNotFoundError("mlcourse is not installed in this kernel. Start Jupyter with `make lab`.")
    %pip install -q --no-deps "mlcourse @ git+https://github.com/{REPOSITORY}@{BRANCH}"
    importlib.invalidate_caches()"""


def renewed(notebook: dict, path: str | Path) -> dict:
    """The notebook with today's badges and set-up cell; cells that have neither stay as they are."""
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            source = BADGE_LINE.sub(lambda _: badges(path), source)
        elif "setup" in cell["metadata"].get("tags", []):
            source = setup_cell()
        cells.append({**cell, "source": source.splitlines(keepends=True)})
    return {**notebook, "cells": cells}


def main(argv: list[str]) -> int:
    """Rewrites the badges and set-up cells of the files named; prints those that changed."""
    if not argv:
        print("usage: python -m mlcourse site FILE.ipynb|FILE.md ...", file=sys.stderr)
        return 2
    for path in map(Path, argv):
        old = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            new = renewed(json.loads(old), path)
            new = json.dumps(new, ensure_ascii=False, indent=1, sort_keys=True) + "\n"  # as nbformat writes it
        else:
            new = BADGE_LINE.sub(lambda _: badges(FIRST_LESSON), old)
        if new != old:
            write_whole(path, new)
            print(f"{path}: badges and set-up cell renewed")
    return 0
