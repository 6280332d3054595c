"""A stored notebook into a list of what would make it fail, drift or exclude a reader, each with its cure.

`pytest --nbval` compares stored outputs with new ones, and has blind spots: a cell stored without an execution count
is run but never compared, images are not looked at, and some harmless habits (a trailing `;`, `clear_output`) fail only
there. The rules below close them. They read the file and run nothing.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from mlcourse import site
from mlcourse.notebooks import WIDGET

MAX_LINES = 30
TAGS = re.compile(
    r"parameters|setup|hide-input|raises-exception|nbval-ignore-output|nbval-skip|within:\d+(\.\d+)?"
    r"|mirrors:[\w.]+:\w+|(exercise|solution)([-:.]\S+)?"
)
KEPT_METADATA = {"kernelspec", "language_info"}
# The folders where systems keep what belongs to one person or one machine.
MACHINE_PATH = re.compile(
    r"(?<![\w.~])/(home|root|tmp|Users|work|content|private/var|var/folders)/\S*|\b[A-Za-z]:\\+Users\b\S*"
)
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,}|\b0x7f[0-9a-fA-F]{6,}")
RANDOM_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # a UUID: pandas in Colab, treescope, widgets
    r"|treescope_out_|\bid=[\"']?(T_[0-9a-f]+|[\w-]*[0-9a-f]{8,})"  # pandas' styled tables and the like
)
FIGURE_REPR = re.compile(r"<Figure size [^>]*>")

# In the source of a cell: what, its pattern, its cure.
SOURCE_RULES = (
    ("Out[...] is read", re.compile(r"\bOut\["), "give the value a name"),
    ("output is cleared or updated", re.compile(r"\bclear_output\b|\bdisplay_id\b|\bupdate_display\b"),
     "nbval keeps what was shown before: show the final state only"),
    ("a machine's path is in the code", MACHINE_PATH, "take paths from a parameter, relative to the notebook"),
)  # fmt: skip
TIMED = re.compile(r"^\s*%%?(time|timeit|prun)\b|\b(tqdm|trange)\(", re.MULTILINE)


class Finding(NamedTuple):
    path: Path
    cell: int | None  # from 1, counting every cell; None for the whole notebook
    what: str
    cure: str

    def __str__(self) -> str:
        place = str(self.path) if self.cell is None else f"{self.path}:cell {self.cell}"
        return f"{place}: {self.what}: {self.cure}."


Problem = tuple[str, str]  # what, cure


def lint(path: Path) -> list[Finding]:
    """Every finding in one notebook; rules on outputs apply where outputs are stored, so not in exercises/."""
    notebook = nbformat.read(path, as_version=4)
    stored = path.resolve().parent.name != "exercises"
    found = [Finding(path, None, *problem) for problem in notebook_problems(notebook, path)]
    last_count = 0
    for number, cell in enumerate(notebook.cells, 1):
        problems = list(cell_problems(cell))
        if cell.cell_type == "code":
            problems += source_problems(cell)
            if stored:
                problems += count_problems(cell, last_count + 1)
                problems += output_problems(cell)
                last_count = cell.execution_count or last_count
            elif cell.outputs or cell.execution_count is not None:
                problems.append(("an exercise is stored with outputs", "make it again with `make exercises`"))
        found += [Finding(path, number, *problem) for problem in problems]
    return found


def notebook_problems(notebook: NotebookNode, path: Path) -> Iterator[Problem]:
    extra = sorted(set(notebook.metadata) - KEPT_METADATA)
    extra += [f"language_info.{name}" for name in notebook.metadata.get("language_info", {}) if name != "name"]
    if extra:
        yield f"metadata {', '.join(extra)}", f"drop it with `python -m mlcourse strip {path}`"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = {tag: [cell for cell in code if tag in tags(cell)] for tag in ("parameters", "setup")}
    if len(tagged["parameters"]) != 1 and path.resolve().parent.name == "notebooks":
        yield f"{len(tagged['parameters'])} cells are tagged `parameters`", "tag exactly one, with typed defaults"
    if [cell.source for cell in tagged["setup"]] != [site.setup_cell()]:
        yield "the set-up cell is not the one of mlcourse.site", "tag one code cell `setup`, then run `make site`"
    top = notebook.cells[0] if notebook.cells else None
    if top is None or top.cell_type != "markdown" or site.badges(path) not in top.source:
        yield (
            "the badges in the first cell are not those of mlcourse.site",
            "begin a line with `[![Open in Colab]`, then run `make site`",
        )


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def cell_problems(cell: NotebookNode) -> Iterator[Problem]:
    for tag in tags(cell):
        if not TAGS.fullmatch(tag):
            yield f"unknown tag {tag!r}", "correct it, or add it to mlcourse.lint.TAGS"
    extra = sorted(set(cell.metadata) - {"tags"})
    if extra:
        yield f"metadata {', '.join(extra)}", "drop it with `python -m mlcourse strip`"


def source_problems(cell: NotebookNode) -> Iterator[Problem]:
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        yield "a code cell without code", "delete it"
    elif re.search(r";\s*(#.*)?$", lines[-1]):
        yield "a trailing `;`", "assign the value, or end with `plt.show()`"
    if len(cell.source.splitlines()) > MAX_LINES:
        yield f"{len(cell.source.splitlines())} lines of code, and {MAX_LINES} is the limit", "split the cell by idea"
    for what, pattern, cure in SOURCE_RULES:
        if match := pattern.search(cell.source):
            yield f"{what} ({match[0]})", cure
    if (match := TIMED.search(cell.source)) and "nbval-ignore-output" not in tags(cell):
        yield f"a progress bar or a time in a compared cell ({match[0].strip()})", "tag the cell `nbval-ignore-output`"


def count_problems(cell: NotebookNode, expected: int) -> Iterator[Problem]:
    cure = "run the notebook from top to bottom with `python -m mlcourse execute`"
    if cell.execution_count is None:
        if cell.source.strip():
            yield "no execution count, so nbval runs the cell and never compares it", cure
    elif cell.execution_count != expected:
        yield f"execution count {cell.execution_count} where {expected} follows", cure


def output_problems(cell: NotebookNode) -> Iterator[Problem]:
    images, text = False, ""
    for output in cell.outputs:
        if output.output_type == "error":
            if "raises-exception" not in tags(cell):
                yield f"a stored error ({output.ename})", "mend the cell and execute the notebook again"
            continue
        if output.output_type == "stream":
            shown = {"text/plain": output.text}
            if output.name == "stderr":
                yield (
                    f"text on stderr ({output.text.strip()[:60]})",
                    "mend what warns; nbval compares warnings and they differ",
                )
        else:
            shown = {kind: as_text(value) for kind, value in output.data.items()}
        if WIDGET in shown:
            yield "a widget's model id, which is random", "drop it with `python -m mlcourse strip`"
        if RANDOM_ID.search(shown.get("text/html", "")):
            yield "HTML with ids that change with every run", "show plain text or Markdown"
        for kind, value in shown.items():
            if kind.startswith("image/"):
                images = True
            elif match := ADDRESS.search(value):
                yield (
                    f"an object's address in the output ({match[0]})",
                    "assign the last value, or print what matters of it",
                )
            elif match := MACHINE_PATH.search(value):
                yield f"a machine's path in the output ({match[0]})", "print a path relative to the notebook, or none"
        text += "".join(shown.get(kind, "") for kind in ("text/plain", "text/markdown", "text/html"))
    if images and not FIGURE_REPR.sub("", text).strip():
        yield "a figure without words", "print its text alternative beside it: `print(plots.describe(ax))`"


def as_text(value: object) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def notebooks_in(places: list[Path]) -> list[Path]:
    """The notebooks named, and those in the folders named."""
    files = [sorted(place.glob("*.ipynb")) if place.is_dir() else [place] for place in places]
    return [file for group in files for file in group]


def main(argv: list[str]) -> int:
    """Prints the findings; the exit status is 1 when there are any."""
    if not argv:
        print("usage: python -m mlcourse lint NOTEBOOK|FOLDER ...", file=sys.stderr)
        return 2
    missing = [place for place in argv if not Path(place).exists()]
    if missing:
        print(f"there is no {', '.join(missing)} here; run this from the folder of the repository.", file=sys.stderr)
        return 2
    files = notebooks_in([Path(place) for place in argv])
    findings = [finding for path in files for finding in lint(path)]
    print("\n".join([*map(str, findings), f"{len(files)} notebooks, {len(findings)} findings"]))
    return 1 if findings else 0
