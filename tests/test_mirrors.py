"""A function that a lesson shows and the package holds is the same function in both places.

A cell tagged `mirrors:mlcourse.search.acquisition:expected_improvement` defines `expected_improvement`, and so does that
module. Their syntax trees must agree once docstrings and annotations are gone (comments are in no tree).
"""

import ast
import importlib
import inspect
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted(Path(__file__).parent.parent.joinpath("notebooks").glob("*.ipynb"))


def mirrors() -> list[tuple[str, str, str, str]]:
    """(notebook, source of the cell, module, name) of every tag."""
    found = []
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("mirrors:"):
                    _, module, name = tag.split(":")
                    found.append((path.stem, cell.source, module, name))
    return found


def bare_tree(source: str, name: str) -> str:
    """The definition of `name` without docstrings, annotations and type parameters, as text."""
    (definition,) = [node for node in ast.parse(source).body if getattr(node, "name", None) == name]
    for node in ast.walk(definition):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(definition)


@pytest.mark.parametrize(("notebook", "source", "module", "name"), mirrors(), ids=lambda text: text if len(text) < 60 else "")
def test_the_lesson_shows_what_the_package_runs(notebook, source, module, name):
    package = inspect.getsource(importlib.import_module(module))
    assert bare_tree(source, name) == bare_tree(package, name)


def test_words_are_free_and_code_is_not():
    shown = "def f(x, *, a=1.0):\n    # why\n    return a * x"
    packaged = 'def f(x: float, *, a: float = 1.0) -> float:\n    """Twice."""\n    return a * x'
    assert bare_tree(shown, "f") == bare_tree(packaged, "f")
    assert bare_tree(shown, "f") != bare_tree(packaged.replace("a * x", "a + x"), "f")
    assert bare_tree(shown, "f") != bare_tree(packaged.replace("= 1.0", "= 2.0"), "f")
