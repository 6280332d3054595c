"""Headline numbers into an executed notebook, and back out of it.

`record("test_error", interval)` shows one line of text and stores the number beside it in the output's metadata:

    {"mlcourse": {"name": "test_error", "value": 0.031, "low": 0.028, "high": 0.034, "n": 5, "unit": ""}}

The text is what readers and `pytest --nbval` see; the metadata keep every digit and are what `read_records` collects.
`record_history(rows)` keeps the rows of a training run in the same way, as {"mlcourse": {"history": name, "rows": [...]}}.
"""

import json
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlcourse.stats import Interval  # SciPy takes a second; whoever only reads notebooks does not need it

KEY = "mlcourse"
ROWS = 200  # of a history, at most


class Record(NamedTuple):
    """One headline number; `low`, `high` and `n` are None unless it came with an interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""

    def __str__(self) -> str:
        from mlcourse.stats import Interval

        text = f"{self.value:.3g}" if self.low is None else str(Interval(self.value, self.low, self.high, self.n))
        return " ".join(filter(None, (text, self.unit)))


def record(name: str, value: "float | Interval", *, unit: str = "") -> None:
    """Shows the number and keeps it in the executed notebook. Outside a notebook it prints the line only.

    Args:
        name: a word for a column of a table, such as "test_error"; recorded once a notebook.
        value: a finite number, or an `Interval` of `mlcourse.stats`.
        unit: such as "%" or "s"; empty for a pure number.

    Raises:
        ValueError: a name that is no identifier, or a value that is not finite.

    >>> from mlcourse.stats import Interval
    >>> record("test_error", Interval(0.031, 0.028, 0.034, 5))
    test_error = 0.031 [0.028, 0.034]
    """
    from mlcourse.stats import Interval

    if not name.isidentifier():
        raise ValueError(f"name={name!r} can't be a column: use letters, digits and _, such as 'test_error'.")
    entry = Record(name, *map(float, value[:3]), int(value.n), unit) if isinstance(value, Interval) else None
    entry = entry or Record(name, float(value), unit=unit)
    numbers = [number for number in (entry.value, entry.low, entry.high) if number is not None]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} is {entry.value}; record finite numbers, and count diverged runs under a name of their own.")
    show(f"{name} = {entry}", entry._asdict())


def record_history(rows: list[dict], *, name: str = "history") -> None:
    """Keeps the rows of a training run in the executed notebook, for the curves of a tracked sweep.

    Of a long history 200 rows are kept: those with an evaluation where some have one, evenly spaced otherwise.

    Args:
        rows: as `train` gives them, each with a "step".
        name: a word; recorded once a notebook.

    >>> record_history([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}], name="training")
    training: 2 rows of loss
    """
    if not name.isidentifier():
        raise ValueError(f"name={name!r} can't stand before a metric: use letters, digits and _, such as 'training'.")
    full = max((len(row) for row in rows), default=0)
    most = [row for row in rows if len(row) == full] if len(rows) > ROWS else rows
    kept = [most[i * (len(most) - 1) // (ROWS - 1)] for i in range(ROWS)] if len(most) > ROWS else most
    names = dict.fromkeys(key for row in kept for key in row if key != "step")
    show(f"{name}: {len(kept)} rows of {', '.join(names)}", {"history": name, "rows": kept})


def show(line: str, fields: dict) -> None:
    if not in_notebook():
        print(line)
        return
    from IPython.display import display

    display({"text/plain": line}, raw=True, metadata={KEY: fields})


def read_records(path: str | os.PathLike) -> list[Record]:
    """Every number recorded in an executed notebook, in order.

    Raises:
        ValueError: the file is no notebook, or a name was recorded twice with different values.
    """
    found: dict[str, Record] = {}
    for fields in recorded(path):
        if "history" in fields:
            continue
        entry = Record(**fields)
        if found.get(entry.name, entry) != entry:
            raise ValueError(f"{os.fspath(path)} records {entry.name!r} twice: {found[entry.name]} and {entry}.")
        found[entry.name] = entry
    return list(found.values())


def read_histories(path: str | os.PathLike) -> dict[str, list[dict]]:
    """The rows of every history recorded in an executed notebook, by name.

    Raises:
        ValueError: the file is no notebook.
    """
    return {fields["history"]: fields["rows"] for fields in recorded(path) if "history" in fields}


def recorded(path: str | os.PathLike) -> list[dict[str, Any]]:
    """What `record` and `record_history` left in the outputs of a notebook, in order."""
    with open(path, encoding="utf-8") as file:
        try:
            cells = json.load(file)["cells"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{os.fspath(path)} is not a notebook: no JSON object with 'cells'.") from None
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [output["metadata"][KEY] for output in outputs if KEY in output.get("metadata", {})]


def in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None and "IPKernelApp" in get_ipython().config
