"""A bank of wrong and right answers into the kill rate: how many of the wrong ones a check refuses, by name.

A bank is a file `tests/wrong/NN.py` with `bank = Bank()` and answers as students write them:

    @bank.wrong("1.1", "Subtract the largest logit")
    def without_the_maximum(logits, labels): ...

    @bank.right("1.1")
    def in_pytorch(logits, labels): ...
"""

import contextlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mlcourse.checks.engine import Verdict, examine, find


class WrongOne(NamedTuple):
    """An answer that must be refused with a message that contains `words`."""

    exercise_id: str
    words: str
    function: Callable


class RightOne(NamedTuple):
    """An answer that must be accepted."""

    exercise_id: str
    function: Callable


class Bank:
    """The answers of one file, in the order in which they were added."""

    def __init__(self) -> None:
        self.wrong_ones: list[WrongOne] = []
        self.right_ones: list[RightOne] = []

    def wrong(self, exercise_id: str, words: str) -> Callable[[Callable], Callable]:
        """Add the decorated function as a wrong answer whose message must contain `words`."""

        def add(function: Callable) -> Callable:
            self.wrong_ones.append(WrongOne(exercise_id, words, function))
            return function

        return add

    def right(self, exercise_id: str) -> Callable[[Callable], Callable]:
        """Add the decorated function as a right answer."""

        def add(function: Callable) -> Callable:
            self.right_ones.append(RightOne(exercise_id, function))
            return function

        return add


class Row(NamedTuple):
    """The figures of one exercise; `survivors` names what the check got wrong."""

    exercise_id: str
    wrong: int
    killed: int
    by_name: int
    right: int
    accepted: int
    survivors: tuple[str, ...]


def load(path: Path) -> Bank:
    """The bank in this file.

    Raises:
        ValueError: the file has no `bank`.
    """
    spec = importlib.util.spec_from_file_location(f"bank_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not isinstance(getattr(module, "bank", None), Bank):
        raise ValueError(f"{path.name} has no `bank`. Begin it with `bank = Bank()` and add answers with `@bank.wrong(...)`.")
    return module.bank


def verdict(exercise_id: str, function: Callable) -> Verdict:
    """The verdict on one answer, without what the answer prints or warns of."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return examine(find(exercise_id), function)


def kill_rate(bank: Bank) -> list[Row]:
    """One row for each exercise of the bank, in the order of its first answer."""
    rows = []
    for exercise_id in dict.fromkeys(one.exercise_id for one in [*bank.wrong_ones, *bank.right_ones]):
        wrong = [one for one in bank.wrong_ones if one.exercise_id == exercise_id]
        right = [one for one in bank.right_ones if one.exercise_id == exercise_id]
        refused = [verdict(exercise_id, one.function) for one in wrong]
        accepted = [verdict(exercise_id, one.function).state == "right" for one in right]
        killed = [answer.state == "wrong" for answer in refused]
        named = [done and one.words in answer.message for one, answer, done in zip(wrong, refused, killed, strict=True)]
        survivors = [one.function.__name__ for one, done in zip([*wrong, *right], [*named, *accepted], strict=True) if not done]
        rows.append(Row(exercise_id, len(wrong), sum(killed), sum(named), len(right), sum(accepted), tuple(survivors)))
    return rows


def table(rows: list[Row]) -> str:
    """The rows as text, with their sum.

    >>> print(table([Row("1.1", 8, 8, 7, 2, 2, ("in_per_cent",))]))
    exercise  wrong answers  killed  by name  right answers  accepted
    1.1                   8       8        7              2         2  not as it should be: in_per_cent
    all                   8       8        7              2         2
    """
    lines = ["exercise  wrong answers  killed  by name  right answers  accepted"]
    total = Row("all", *(sum(column) for column in zip(*(row[1:6] for row in rows), strict=True)), ())
    for row in [*rows, total]:
        failed = f"  not as it should be: {', '.join(row.survivors)}" if row.survivors else ""
        lines.append(f"{row.exercise_id:8}{row.wrong:15}{row.killed:8}{row.by_name:9}{row.right:15}{row.accepted:10}{failed}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Prints the table of the lessons named ("01"), or of all banks in `tests/wrong`; 1 when an answer got through."""
    folder = Path("tests/wrong")
    paths = [folder / f"{lesson}.py" for lesson in argv] or sorted(folder.glob("[0-9][0-9].py"))
    missing = [str(path) for path in paths if not path.exists()]
    if missing or not paths:
        print(f"there is no {', '.join(missing) or folder} here; run this from the repository's folder.", file=sys.stderr)
        return 2
    rows = [row for path in paths for row in kill_rate(load(path))]
    print(table(rows))
    return 1 if any(row.survivors for row in rows) else 0
