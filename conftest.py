"""Settings for pytest in the whole repository: strict nbval made to run cells as Jupyter does, with a numeric tolerance.

nbval is pinned to 0.11.0 because some of its internals are replaced here; everything else is as it ships:

1. Cells run with `store_history=True`, as in Jupyter. Without it IPython ignores a trailing `;` and has no `Out[n]`, so
   a notebook that is right in JupyterLab would fail.
2. Outputs are equal when their words are equal and their decimal numbers agree to a relative 1e-3, or to one unit of the
   third printed digit (or a later one). Another processor moves a float32 loss by 1e-6 and more, which now and then turns
   the last printed digit: 0.1595 becomes 0.159 here and 0.160 there. Integers must be the same.
3. Kernels talk through Unix sockets, and a kernel that dies at its start gets a second chance: over TCP about 1 in 300
   concurrent starts lost a race for its port. This also spares ipykernel's warning about unencrypted TCP.
4. A notebook that computes longer than its budget fails. The budget is seconds on two cores; what is held against it is
   twice as many seconds of processor time, which a busy machine hardly stretches.
"""

import functools
import json
import os
import re
import signal
import tempfile
import uuid
from pathlib import Path

import pytest

try:
    import nbval.kernel
    import nbval.plugin
except ModuleNotFoundError:  # an environment that only runs the package's own tests, such as Colab's packages
    nbval = None

RELATIVE, ABSOLUTE = 1e-3, 1e-6  # the absolute one is for differences that are zero up to rounding
BUDGETS = {"notebooks/01_training_loop.ipynb": 60, "notebooks/06_transformer.ipynb": 120}  # seconds on two cores; all others:
BUDGET = 90
DECIMAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?")


def last_digit(number: str) -> tuple[float, int]:
    """The value of one unit in the last printed digit, and how many significant digits are printed.

    >>> last_digit("-0.160"), last_digit("2.50e-05")
    ((0.001, 3), (1e-07, 3))
    """
    mantissa, _, exponent = number.lower().partition("e")
    digits = mantissa.lstrip("+-").replace(".", "").lstrip("0")
    return float(f"1e{int(exponent or 0) - len(mantissa.partition('.')[2])}"), len(digits)


def close(a: str, b: str, within: float = 0.0) -> bool:
    """Whether two printed decimal numbers are one result, up to rounding (see point 2 above) or `within` of each other."""
    difference = abs(float(a) - float(b))
    unit, digits = min(last_digit(a), last_digit(b))
    rounded = digits >= 3 and difference < 1.01 * unit
    return rounded or difference <= max(RELATIVE * max(abs(float(a)), abs(float(b))), ABSOLUTE, 1.01 * within)


class Output(str):
    """An output's text, equal to another when words are the same and decimal numbers close."""

    within = 0.0
    __hash__ = str.__hash__

    def __eq__(self, other):
        if str.__eq__(self, other):
            return True
        pairs = zip(DECIMAL.findall(self), DECIMAL.findall(other), strict=False)
        return DECIMAL.split(self) == DECIMAL.split(other) and all(close(a, b, self.within) for a, b in pairs)

    def __ne__(self, other):
        return not self == other


def as_jupyter(kernel, source, allow_stdin=None):
    """Run one cell as a notebook front end does (replaces `RunningKernel.execute_cell_input`)."""
    return kernel.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


def with_tolerance(sanitize):
    """nbval's `sanitize`, whose result is compared with a tolerance; structured outputs are compared as JSON text."""

    @functools.wraps(sanitize)
    def tolerant(cell, value):
        output = Output(sanitize(cell, value if isinstance(value, str) else json.dumps(value, sort_keys=True)))
        tags = cell.cell.metadata.get("tags", [])
        output.within = max((float(tag.partition(":")[2]) for tag in tags if tag.startswith("within:")), default=0.0)
        return output

    return tolerant


def with_second_chance(start, folder, *, attempts=3):
    """nbval's `start_new_kernel`, tried again when the kernel dies before it answers.

    The kernel keeps its history in memory and the progress of exercises in `folder`: never in the reader's own files.
    """

    @functools.wraps(start)
    def patient(*args, **kwargs):
        progress = os.path.join(folder, f"progress-{uuid.uuid4().hex}.json")
        kwargs |= {
            "extra_arguments": ["--HistoryManager.hist_file=:memory:"],
            "env": os.environ | {"MLCOURSE_PROGRESS": progress},
        }
        for attempt in range(1, attempts + 1):
            try:
                return start(*args, **kwargs)
            except RuntimeError:
                if attempt == attempts:
                    raise

    return patient


def over_sockets(manager, folder):
    """A kernel manager class whose kernels use Unix sockets in `folder` (a short path: 104 characters are allowed)."""

    def start(**kwargs):
        return manager(transport="ipc", ip=os.path.join(folder, uuid.uuid4().hex[:12]), **kwargs)

    return start


def over_budget(path: Path, cpu_seconds: float) -> str | None:
    """The sentence for a notebook that computed too long, or None."""
    budget = BUDGETS.get("/".join(path.parts[-2:]), BUDGET)
    if cpu_seconds <= 2 * budget:
        return None
    return (
        f"{path.name} took {cpu_seconds:.0f} s of processor time; its budget of {budget} s on two cores is {2 * budget}. "
        "Make its laptop profile smaller (fewer steps, fewer programs to compile)."
    )


def with_budget(teardown):
    """nbval's `IPyNbFile.teardown`, which ends the kernel: only then does the system tell what the kernel used."""

    @functools.wraps(teardown)
    def measured(file):
        before = children_seconds()
        teardown(file)
        complaint = over_budget(Path(file.path), children_seconds() - before)
        if complaint:
            pytest.fail(complaint, pytrace=False)

    return measured


def children_seconds() -> float:
    """Processor time of all child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    folder = tempfile.TemporaryDirectory(prefix="mlcourse-")
    config.add_cleanup(folder.cleanup)
    os.environ["MLCOURSE_PROGRESS"] = os.path.join(folder.name, "progress.json")  # tests never write the reader's own
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background: Ctrl-C, which is tested, is ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if nbval is None or getattr(nbval.kernel, "patched_by_mlcourse", False):
        return
    nbval.kernel.patched_by_mlcourse = True
    nbval.kernel.RunningKernel.execute_cell_input = as_jupyter
    nbval.plugin.IPyNbCell.sanitize = with_tolerance(nbval.plugin.IPyNbCell.sanitize)
    nbval.kernel.start_new_kernel = with_second_chance(nbval.kernel.start_new_kernel, folder.name)
    nbval.plugin.IPyNbFile.teardown = with_budget(nbval.plugin.IPyNbFile.teardown)
    if os.name != "nt":
        nbval.kernel.KernelManager = over_sockets(nbval.kernel.KernelManager, folder.name)
