"""A notebook into the same notebook executed: in place and stripped (`execute`), or as a run beside it (`run`)."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets.config import Config

from mlcourse.files import write_whole
from mlcourse.record import read_records

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 600


class NotebookError(RuntimeError):
    """A notebook did not run to its end; the text names the file, the cell and the error."""


def strip(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what differs from run to run or from machine to machine.

    Kept: cells, their ids and tags, outputs with their recorded numbers, execution counts. Dropped: all other metadata,
    and the widgets' model ids, which are random (a widget's text stays, and is what is compared).
    """
    notebook = nbformat.from_dict(notebook)  # a copy
    notebook.metadata = NotebookNode(kernelspec=NotebookNode(KERNEL), language_info=NotebookNode(name="python"))
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = NotebookNode(tags=tags) if tags else NotebookNode()
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("data", True)]
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Write the file whole or not at all: a reader never meets half a notebook."""
    write_whole(path, nbformat.writes(notebook) + "\n")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A new file that takes the place of `path` when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def kernel_settings() -> Iterator[Config]:
    """Settings under which kernels talk through Unix sockets in a folder of their own.

    Two kernels that start at once over TCP now and then take the same port, and one dies; sockets can't collide, and no
    other user of the machine can reach them.
    """
    if os.name == "nt":
        yield Config()
        return
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        yield Config({"KernelManager": {"transport": "ipc", "ip": os.path.join(folder, "k")}})


def execute(path: Path) -> None:
    """Run the notebook from top to bottom in a fresh kernel and store what it gives, stripped, in its place.

    Raises:
        NotebookError: a cell failed; the file is as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    with kernel_settings() as config, tempfile.TemporaryDirectory() as fresh:
        # A progress table in the notebook shows a reader who begins, not what was solved on this machine.
        environment = os.environ | {"MLCOURSE_PROGRESS": os.path.join(fresh, "progress.json")}
        client = NotebookClient(
            notebook, config=config, kernel_name=KERNEL["name"], timeout=CELL_SECONDS, record_timing=False,
            coalesce_streams=True, store_widget_state=False, resources={"metadata": {"path": str(path.parent)}},
        )  # fmt: skip
        try:
            client.execute(env=environment)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise NotebookError(f"{path}{failure(notebook, error)}") from None
    write(strip(notebook), path)


def failure(notebook: NotebookNode, error: Exception) -> str:
    """Where and why an execution stopped, in a few lines."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                return stopped(number, output.ename, output.evalue, cell.source)
    if isinstance(error, DeadKernelError):
        return ": its kernel died. Was the memory used up? Close other notebooks and run it again."
    return f": {type(error).__name__}: {str(error).strip().splitlines()[0]}"


def stopped(number: int, name: str, message: str, source: str) -> str:
    reason = "\n".join(message.splitlines()[:8])
    code = "\n".join("    " + line for line in source.splitlines()[:6])
    return f", cell {number}: {name}: {reason}\nThe cell begins:\n{code}"


def run(path: Path, *, out: Path) -> Path:
    """Execute the notebook with papermill, with a progress bar, into `out`; the file itself stays as it is.

    Returns:
        The executed notebook.

    Raises:
        NotebookError: a cell failed; the notebook up to there is in `out` under the name `..._failed.ipynb`.
    """
    import papermill

    target = out / path.name
    with replaced(target) as new, kernel_settings() as config:
        try:
            papermill.execute_notebook(
                path, new, progress_bar=True, cwd=str(path.parent), kernel_name=KERNEL["name"],
                execution_timeout=CELL_SECONDS, config=config,
            )  # fmt: skip
        except papermill.PapermillExecutionError as error:
            kept = target.with_name(f"{path.stem}_failed.ipynb")
            os.replace(new, kept)
            where = stopped(error.cell_index + 1, error.ename, error.evalue, error.source)
            raise NotebookError(f"{path}{where}\nEverything up to there: {kept}") from None
        except (CellTimeoutError, DeadKernelError) as error:
            raise NotebookError(f"{path}{failure(nbformat.read(new, 4), error)}") from None
    return target


def table(path: Path) -> str:
    """The numbers recorded in an executed notebook, one a line."""
    records = read_records(path)
    width = max((len(record.name) for record in records), default=0)
    return "\n".join(f"  {record.name.replace('_', ' '):{width}}  {record}" for record in records)


def execute_command(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="mlcourse execute", description="Run notebooks and store their outputs in place.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args(argv).notebooks:
        try:
            execute(path)
        except NotebookError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{path}: executed")
    return 0


def strip_command(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="mlcourse strip", description="Drop what differs from run to run; outputs stay.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args(argv).notebooks:
        write(strip(nbformat.read(path, as_version=4)), path)
    return 0


def run_command(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="mlcourse run", description="Execute a lesson and show its headline numbers.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the executed notebook (default: runs)")
    arguments = parser.parse_args(argv)
    if not arguments.notebook.is_file():
        print(f"there is no notebook {arguments.notebook}; the lessons are in notebooks/.", file=sys.stderr)
        return 2
    try:
        executed = run(arguments.notebook, out=arguments.out)
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{arguments.notebook.stem}: headline numbers\n{table(executed)}\n\nThe executed notebook: {executed}")
    return 0
