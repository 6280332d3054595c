"""Notebooks with answers (solutions/) into the same notebooks with stubs (exercises/).

An answer stands between `### BEGIN SOLUTION` and `### END SOLUTION`. nbgrader's preprocessor puts the stub in its place;
what is ours is that every mistake in the markers is found first and named, and that the same source gives the same bytes.
"""

import argparse
import difflib
import json
import logging
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearSolutions

from mlcourse.errors import unknown_name
from mlcourse.files import write_whole

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HEADING = re.compile(r"^#+ Exercise (?P<id>\d+\.\d+)\W+(?P<title>.+)$", re.MULTILINE)
CHECK = re.compile(r"""^check\(["'](?P<id>\d+\.\d+)["']""", re.MULTILINE)


class MarkerError(ValueError):
    """A solution marker is misspelt, missing, nested or without its exercise."""


def build(notebook: NotebookNode, name: str) -> NotebookNode:
    """The reader's notebook: the same cells and ids, stubs for answers, no outputs. `notebook` stays as it is.

    Args:
        name: the file, for messages.

    Raises:
        MarkerError: with file, cell (from 1, counting every cell) and line.
    """
    clear = ClearSolutions(enforce_metadata=False, log=logging.getLogger("nbgrader"))
    heading = None
    cells = []
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            heading = _last_heading(cell.source) or heading
            check_no_markers(cell.source, f"{name}, cell {number}")
            cells.append(nbformat.from_dict({**cell, "metadata": _kept(cell)}))
            continue
        new = nbformat.from_dict({**cell, "metadata": _kept(cell), "outputs": [], "execution_count": None})
        if check_markers(cell.source, f"{name}, cell {number}"):
            clear.code_stub = {"python": stub(cell.source, heading, f"{name}, cell {number}")}
            new, _ = clear.preprocess_cell(new, {"language": "python"}, number - 1)
        cells.append(new)
    metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info") if key in notebook.metadata}
    if "language_info" in metadata:
        metadata["language_info"] = {"name": metadata["language_info"]["name"]}  # the rest is the machine's Python
    return nbformat.from_dict({**notebook, "cells": cells, "metadata": metadata})


def stub(source: str, heading: tuple[str, str] | None, place: str) -> str:
    """The line that stands where the answer was.

    >>> stub('check("2.3", adam)', ("2.3", "Adam"), "a.ipynb, cell 4")
    'raise NotImplementedError("exercise 2.3: Adam")'
    """
    check = CHECK.search(source)
    if check is None:
        raise MarkerError(f'{place}: it has a solution, but no line that checks it. Add `check("...", ...)`.')
    if heading is None or heading[0] != check["id"]:
        found = f"the heading above is that of exercise {heading[0]}" if heading else "there is no such heading above"
        raise MarkerError(
            f"{place}: it checks exercise {check['id']}, but {found}. "
            f"Write `## Exercise {check['id']} · Title` in the text before it."
        )
    return f"raise NotImplementedError({json.dumps(f'exercise {heading[0]}: {heading[1]}', ensure_ascii=False)})"


def check_markers(source: str, place: str) -> bool:
    """Whether the code has a solution; its markers are right.

    Raises:
        MarkerError: a marker is misspelt, unbalanced or nested, its indentation changes, or nothing stands between.
    """
    opened, seen = None, False
    lines = source.splitlines()
    for number, line in enumerate(lines, start=1):
        here, text = f"{place}, line {number}", line.strip()
        if text not in (BEGIN, END):
            if looks_like_a_marker(line):
                raise MarkerError(f"{here}: `{text}` looks like a marker, but is none. Write `{BEGIN}` or `{END}`.")
        elif text == BEGIN and opened is not None:
            raise MarkerError(f"{here}: `{BEGIN}` inside the solution that began in line {opened}. End that one first.")
        elif text == BEGIN:
            opened, seen = number, True
        elif opened is None:
            raise MarkerError(f"{here}: `{END}`, but no solution has begun. Write `{BEGIN}` before the answer.")
        elif _indent(line) != _indent(lines[opened - 1]):
            raise MarkerError(f"{here}: `{END}` is not indented like its `{BEGIN}` in line {opened}. Put it below that.")
        elif not any(inner.strip() for inner in lines[opened : number - 1]):
            raise MarkerError(f"{here}: nothing stands between `{BEGIN}` and `{END}`. Write the answer there.")
        else:
            opened = None
    if opened is not None:
        raise MarkerError(f"{place}, line {opened}: `{BEGIN}`, but no `{END}` follows in this cell. Add it after the answer.")
    return seen


def check_no_markers(source: str, place: str) -> None:
    """Raises MarkerError where a text cell holds a marker: only answers in code are replaced."""
    for number, line in enumerate(source.splitlines(), start=1):
        if "BEGIN SOLUTION" in line or "END SOLUTION" in line:
            raise MarkerError(f"{place}, line {number}: `{line.strip()}` in a text cell. Markers belong in code cells.")


def looks_like_a_marker(line: str) -> bool:
    """Whether someone who wrote this line, or nbgrader, may take it for a marker.

    >>> [looks_like_a_marker(line) for line in ("## Begin Soluton", "### BEGIN SOLUTION:", "# the solution of y = 1")]
    [True, True, False]
    """
    if "BEGIN SOLUTION" in line or "END SOLUTION" in line:
        return True
    letters = re.sub(r"[^A-Z]", "", line.upper())
    near = difflib.get_close_matches(letters, ["BEGINSOLUTION", "ENDSOLUTION"], n=1, cutoff=0.8)
    return line.strip().startswith("#") and bool(near)


def render(notebook: NotebookNode) -> str:
    """The file's text; the same notebook always gives the same."""
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def solution_lines(notebook: NotebookNode) -> set[str]:
    """The lines of all answers, without indentation, for the search for leaks."""
    found: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "code" and BEGIN in cell.source:
            for part in cell.source.split(BEGIN)[1:]:
                found |= {line.strip() for line in part.split(END)[0].splitlines() if line.strip()}
    return found


def _last_heading(source: str) -> tuple[str, str] | None:
    found = list(HEADING.finditer(source))
    return (found[-1]["id"], found[-1]["title"].strip()) if found else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _kept(cell: NotebookNode) -> dict:
    return {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}


def main(argv: list[str]) -> int:
    """Makes exercises/ from solutions/, or with --check only says which files differ. Run in the repository's folder."""
    parser = argparse.ArgumentParser(prog="python -m mlcourse exercises", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks, as 01_training_loop (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a file differs")
    options = parser.parse_args(argv)
    known = sorted(path.stem for path in Path("solutions").glob("*.ipynb"))
    wrong = [unknown_name("notebook", name, known) for name in options.names if name not in known]
    if wrong or not known:
        print("\n".join(wrong) or "there is no solutions/*.ipynb here: run this in the repository.", file=sys.stderr)
        return 2
    different = 0
    for name in options.names or known:
        source, target = Path("solutions", f"{name}.ipynb"), Path("exercises", f"{name}.ipynb")
        try:
            text = render(build(nbformat.read(source, as_version=4), source.as_posix()))
        except MarkerError as error:
            print(error, file=sys.stderr)
            return 1
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        different += 1
        if options.check:
            state = "differs from" if target.exists() else "is missing from"
            print(f"{target.as_posix()} {state} what {source.as_posix()} gives. Run `make exercises`; edit only solutions/.")
        else:
            target.parent.mkdir(exist_ok=True)
            write_whole(target, text)
            print(f"{target.as_posix()} made from {source.as_posix()}")
    if not options.names and (left := sorted({path.stem for path in Path("exercises").glob("*.ipynb")} - set(known))):
        print(f"exercises/{left[0]}.ipynb has no solutions/{left[0]}.ipynb. Delete it, or add its source.", file=sys.stderr)
        return 1
    return 1 if options.check and different else 0
