"""The trials so far into the next ones: a sweep whose parameters `mlcourse.search` chooses.

    python -m mlcourse sweep NOTEBOOK -p learning_rate log:1e-4:1 --search bayes --metric loss --samples 20 --out runs/best

Each round asks for as many trials as there are workers, and is a sweep in a folder of its own (`round-000`, ...), so what
holds for sweeps holds here. The search keeps no file: when the same command comes again, it is told the rows that are there,
in their order, and asks what it would have asked had nobody stopped it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from mlcourse.errors import unknown_name
from mlcourse.files import write_whole
from mlcourse.sweep.parameters import Parameter, Range, SweepError, checked, checked_range, declared, find, names_of
from mlcourse.sweep.report import SEED, write_report
from mlcourse.sweep.run import Outcome, read_notebook, sweep
from mlcourse.sweep.store import table
from mlcourse.sweep.trials import listed
from mlcourse.sweep.workers import SweepStopped


def searched(
    notebook: str | os.PathLike,
    given: Mapping[str, Any],
    *,
    out: str | os.PathLike,
    strategy: str,
    metric: str,
    samples: int,
    maximize: bool = False,
    sample_seed: int = 0,
    workers: int = 1,
    progress: bool = True,
    **options: Any,
) -> Outcome:
    """Every trial of a search executed, or what is missing of them if `out` holds a part already.

    Args:
        given: name -> a `Range` or several values, among which is searched, or one value for all trials.
        strategy: "random", "sobol", "bayes", "active" or "grid" (see `mlcourse.search.Search`).
        metric: the recorded number that decides; small is good, unless `maximize`.
        samples: how many trials.
        sample_seed: of the search.
        workers: trials at a time. They are chosen together, so a search with one worker knows a little more at each, and
            one that was stopped goes on with the same number only.
        options: further ones of `sweep`, such as `seconds`.

    Raises:
        SweepError: what was asked for can't be run.
        SweepStopped: a trial recorded no such metric, the disk is full or the cluster gone; what is done is kept.
    """
    from mlcourse.search import Search  # JAX: a plain sweep must not wait for it

    path, folder = Path(notebook), Path(out)
    found = read_notebook(path)
    space, fixed = space_of(declared(found), given)
    refuse_unknown_metric(path, metric)
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise SweepError(f"samples={samples!r}: say how many trials the search has (--samples 20).")
    if workers < 1:
        raise SweepError(f"workers={workers}: at least one has to do the work.")
    try:
        search = Search(space, strategy=strategy, maximize=maximize, seed=sample_seed)
    except (ValueError, TypeError) as error:
        raise SweepError(str(error)) from None
    if (folder / "sweep.json").exists():
        raise SweepError(f"{folder} holds a sweep without a search; choose another folder (--out).")
    rows: list[dict] = []
    try:
        with tqdm(total=samples, unit="trial", disable=not progress) as bar:
            while len(rows) < samples:
                count = min(workers, samples - len(rows))
                try:
                    asked = [{name: plain_number(value) for name, value in search.ask().items()} for _ in range(count)]
                except ValueError as error:  # a grid that is used up
                    raise SweepStopped(str(error)) from None
                trials = [trial for k, trial in enumerate(asked) if trial not in asked[:k]]  # whole numbers can come twice
                part = f"round-{len(rows) // workers:03}"
                outcome = sweep(path, fixed, trials=trials, out=folder / part, workers=workers, progress=False, **options)
                for trial in asked:
                    row = outcome.rows[trials.index(trial)]
                    rows.append(row | {"trial": len(rows), "notebook": f"{part}/{row['notebook']}"})
                    tell(search, trial, row, metric)
                bar.update(count)
    finally:
        if rows:
            write_whole(folder / "results.csv", table(rows))
            write_report(folder, path.name, [{}] * samples, rows)
    return Outcome(folder, rows, sum(row["status"] != "ok" for row in rows))


def space_of(known: dict[str, Parameter], given: Mapping[str, Any]) -> tuple[dict, dict[str, Any]]:
    """The space that is searched, and the values that all trials share."""
    from mlcourse.search import space as spaces

    space, fixed = {}, {}
    for name, values in given.items():
        parameter = find(known, name)
        values = listed(parameter, values)
        if isinstance(values, Range):
            low, high, log = checked_range(parameter, values)
            whole = "int" in names_of(parameter) and "float" not in names_of(parameter)
            if whole and log:
                raise SweepError(f"{name}: a search has no log scale for whole numbers. Write uniform:{low:g}:{high:g}.")
            kind = spaces.Integer if whole else spaces.LogReal if log else spaces.Real
            space[name] = kind(int(low), int(high)) if whole else kind(low, high)
            continue
        values = [checked(parameter, value) for value in values]
        if len(values) == 1:
            fixed[name] = values[0]
        elif name == SEED:
            raise SweepError(f"{name} has {len(values)} values; a search would look for the luckiest. Give it one.")
        elif not all(isinstance(value, str | int | float | None) for value in values):
            raise SweepError(f"{name}: only numbers, text and None can be searched, not {values[0]!r}. Give it one value.")
        else:
            space[name] = spaces.Categorical(tuple(values))
    if not space:
        raise SweepError("nothing to search: give at least one parameter as a range, such as log:1e-4:1e-1, or several values.")
    return space, fixed


def refuse_unknown_metric(path: Path, metric: str) -> None:
    """Where the stored outputs of the notebook hold recorded numbers, the metric must be one of them."""
    from mlcourse.record import read_records

    names = [entry.name for entry in read_records(path)]
    if names and metric not in names:
        raise SweepError(unknown_name("metric", metric, names))


def tell(search: Any, trial: dict, row: dict, metric: str) -> None:
    if row["status"] != "ok":
        search.fail(trial)
    elif metric in row["metrics"]:
        search.tell(trial, row["metrics"][metric]["value"])
    else:
        known = ", ".join(map(repr, row["metrics"])) or "nothing"
        raise SweepStopped(f"{row['notebook']} records no {metric!r}, but {known}. Search by another --metric.")


def plain_number(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    return value.item() if hasattr(value, "item") else value


def best(rows: list[dict], metric: str, *, maximize: bool = False) -> dict | None:
    """The row with the best metric, if there is one."""
    done = [row for row in rows if row["status"] == "ok"]
    return (max if maximize else min)(done, key=lambda row: row["metrics"][metric]["value"], default=None)
