"""An exercise and the reader's object into a verdict: right, not attempted, or wrong with the first thing that is
wrong.

The reader's function is run on every case (inputs made of NumPy arrays, handed over in the framework its code names)
and its values are compared with those of the reference. When one is wrong, the known mistakes, which are programs
too, are run on the same inputs; the one that gives the reader's values is named.
"""

import dis
import functools
import importlib
import linecache
import pkgutil
import re
import traceback
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from mlcourse.checks import values
from mlcourse.checks.timelimit import TimeLimit, limited
from mlcourse.errors import unknown_name

Case = dict[str, Any]  # the arguments by name, in order


class WrongAnswer(AssertionError):
    """An answer was checked and is wrong. In a notebook only the message is shown, not our own lines."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this name
        return str(self).splitlines()


class Mistake(NamedTuple):
    """A mistake people make: `words` say what went wrong and the cure, `function` makes it."""

    words: str
    function: Callable


class Property(NamedTuple):
    """What must hold where the value alone does not decide. `words` are said when it does not.

    `holds(run, **case)` is given the case and `run(**case)`, which runs the reader's object and returns NumPy values.
    """

    words: str
    holds: Callable[..., bool]


def call(answer: Callable, **case: Any) -> Any:
    """The usual way to run an answer: a function of the case's values, in their order."""
    return answer(*case.values())


class Exercise(NamedTuple):
    """One exercise and everything its check needs.

    `cases()` makes fresh inputs: what is peculiar about the case -> arguments by name. `run(answer, **case)` turns an
    answer into a value; the reference and the mistakes go the same way. With `compare="shapes"` the values are left
    to the properties, as where the reader draws random numbers. `seconds` limits each single run.
    """

    id: str
    name: str
    title: str
    minutes: int
    difficulty: int
    cases: Callable[[], dict[str, Case]]
    reference: Callable
    hints: tuple[str, ...]
    mistakes: tuple[Mistake, ...] = ()
    properties: tuple[Property, ...] = ()
    run: Callable = call
    compare: str = "values"
    rtol: float = 1e-4
    atol: float = 1e-6
    seconds: float = 5.0


class Verdict(NamedTuple):
    """`state` is "right", "wrong" or "not attempted"; `mistake` the words of a mistake that was recognised."""

    state: str
    message: str
    mistake: str | None = None


class Raised(NamedTuple):
    """The outcome of a run that ended with an exception."""

    error: BaseException


class _NotAttempted(Exception):
    """The stub was reached, or there is nothing to run."""


class _Problem(NamedTuple):
    words: str
    case: str | None = None  # the case that shows it
    mistake: str | None = None


_STUCK = (
    "Exercise {exercise.id} is not right yet.\n`{exercise.name}` works for more than {exercise.seconds:g} seconds inside "
    "compiled code and can't be stopped from here: it looks like a `jax.lax.while_loop` (or a `fori_loop`) that runs for "
    "ever. Restart the kernel (menu Kernel, Restart Kernel; what you passed is kept), then check that the condition of the "
    "loop becomes False."
)


class Endless(Exception):
    """An iterator went on where an end was expected."""


def listed(items: Any, *, limit: int = 100) -> Any:
    """An iterator as a list, for use in an adapter; anything else as it is.

    Raises:
        Endless: there are more than `limit` items.
    """
    if not isinstance(items, Iterable):
        return items
    found = list(islice(items, limit + 1))
    if len(found) > limit:
        raise Endless(f"it still went on after {limit} items")
    return found


def lesson_modules() -> list[str]:
    """The names of the modules that hold a lesson's exercises, in order."""
    folder = str(Path(__file__).parent)
    return sorted(
        f"mlcourse.checks.{module.name}"
        for module in pkgutil.iter_modules([folder])
        if re.fullmatch(r"lesson\d\d", module.name)
    )


def exercises(lesson: int | None = None) -> list[Exercise]:
    """The exercises of one lesson, or of all that have checks, in order.

    >>> [exercise.id for exercise in exercises(1)][:2]
    ['1.1', '1.2']
    """
    names = [name for name in lesson_modules() if lesson is None or name.endswith(f"lesson{lesson:02d}")]
    return [exercise for name in names for exercise in importlib.import_module(name).EXERCISES]


def find(exercise_id: str) -> Exercise:
    """The exercise with this id.

    Raises:
        ValueError: there is none.
    """
    known = {exercise.id: exercise for exercise in exercises()}
    if exercise_id not in known:
        raise ValueError(unknown_name("exercise", exercise_id, known))
    return known[exercise_id]


def notebook_of(exercise_id: str) -> str:
    """The name of the notebook, without `.ipynb`, in which this exercise stands."""
    lesson = int(find(exercise_id).id.split(".")[0])
    return importlib.import_module(f"mlcourse.checks.lesson{lesson:02d}").NOTEBOOK


def examine(exercise: Exercise, answer: Any) -> Verdict:
    """The verdict on the reader's object. Nothing is printed, recorded or raised."""
    what = f"{exercise.name}({', '.join(next(iter(exercise.cases().values())))})"
    try:
        if answer is None or answer is Ellipsis or _is_empty(answer):
            raise _NotAttempted
        if not callable(answer):
            problem = _Problem(
                f"check was given {values.show(answer)[:80]}, but it needs the function itself. Write "
                f'`check("{exercise.id}", {exercise.name})`, without brackets after the name.'
            )
        else:
            problem = _first_problem(exercise, answer, what)
    except _NotAttempted:
        return Verdict(
            "not attempted",
            f"Exercise {exercise.id} is not attempted yet: write `{exercise.name}` "
            f'and run its cell again. `hint("{exercise.id}")` helps.',
        )
    if problem is None:
        return Verdict("right", f"Exercise {exercise.id} is right.")
    lines = [f"Exercise {exercise.id} is not right yet.", problem.words]
    if problem.case is not None:
        lines.append(f"The input that shows it ({problem.case}):")
        lines += [f"    {name} = {values.show(value)}" for name, value in exercise.cases()[problem.case].items()]
    lines.append(f'Stuck? `hint("{exercise.id}")` helps.')
    return Verdict("wrong", "\n".join(lines), problem.mistake)


def _first_problem(exercise: Exercise, answer: Any, what: str) -> _Problem | None:
    expected = outcomes(exercise, exercise.reference)
    framework, got = _run_all(exercise, answer)
    for case in got:
        problem = _problem_of(exercise, answer, got[case], expected[case], what, case)
        if problem is not None:
            return _named(exercise, problem, got)
    broken = (_broken_rule(exercise, answer, case, framework) for case in got)
    return next((problem for problem in broken if problem is not None), None)


def outcomes(exercise: Exercise, function: Callable) -> dict[str, Any]:
    """What one of our own functions gives for every case, quietly: a NumPy value or `Raised`."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {case: _run(exercise, function, exercise.cases()[case], "numpy") for case in exercise.cases()}


def _run(exercise: Exercise, answer: Callable, arguments: Case, framework: str) -> Any:
    """One run's value as NumPy, or Raised. The time limit holds for our own functions too. `arguments` are used up."""

    def stuck() -> None:  # the verdict can't be given while the answer holds the thread, so this is printed
        print(_STUCK.format(exercise=exercise), flush=True)

    try:
        given = values.to_framework(arguments, framework)
        run = functools.partial(exercise.run, answer, **given)
        return limited(lambda: values.as_numpy(run()), seconds=exercise.seconds, stuck=stuck)
    except (Exception, SystemExit, TimeLimit) as error:
        return Raised(error)


def _run_all(exercise: Exercise, answer: Callable) -> tuple[str, dict[str, Any]]:
    """The framework that suits the answer, and the outcome of every case up to one that hangs."""
    first, *others = exercise.cases()
    tried = {}
    for framework in values.frameworks(answer):
        outcome = _run(exercise, answer, exercise.cases()[first], framework)
        if isinstance(outcome, Raised) and _from_stub(outcome.error, answer):
            raise _NotAttempted
        tried[framework] = outcome
        if not (isinstance(outcome, Raised) and isinstance(outcome.error, (TypeError, AttributeError))):
            break
    else:
        framework = next(iter(tried))  # none of them took it: report the error of the likeliest
    got = {first: tried[framework]}
    for case in others:
        if isinstance(got[first], Raised) and isinstance(got[first].error, TimeLimit):
            break
        got[case] = _run(exercise, answer, exercise.cases()[case], framework)
        if isinstance(got[case], Raised) and _from_stub(got[case].error, answer):
            raise _NotAttempted
    return framework, got


def _problem_of(exercise: Exercise, answer: Any, got: Any, expected: Any, what: str, case: str) -> _Problem | None:
    if isinstance(got, Raised):
        return _Problem(_what_was_raised(exercise, answer, got.error), case)
    found = values.difference(
        got, expected, what=what, rtol=exercise.rtol, atol=exercise.atol, values=exercise.compare == "values"
    )
    return _Problem(found.words, case) if found else None


def _named(exercise: Exercise, problem: _Problem, got: dict[str, Any]) -> _Problem:
    """The problem with the mistake that gives what the reader's object gives, where there is one."""
    best, most = None, 0
    for mistake in exercise.mistakes:
        theirs = outcomes(exercise, mistake.function)
        agreeing = [case for case in got if _same_outcome(got[case], theirs[case], exercise)]
        if problem.case in agreeing and len(agreeing) > most:
            best, most = mistake.words, len(agreeing)
        if most == len(got):
            break  # no other can agree on more
    if best is None:
        return problem
    certainty = "The mistake" if most == len(got) else "Perhaps"  # the same on every case, or on the one shown
    return problem._replace(words=f"{problem.words}\n{certainty}: {best}", mistake=best)


def _same_outcome(a: Any, b: Any, exercise: Exercise) -> bool:
    if isinstance(a, Raised) or isinstance(b, Raised):
        return isinstance(a, Raised) and isinstance(b, Raised) and type(a.error) is type(b.error)
    if exercise.compare == "shapes":
        return values.difference(a, b, what="", rtol=0, atol=0, values=False) is None
    return values.same(a, b, rtol=10 * exercise.rtol, atol=10 * exercise.atol)


def _broken_rule(exercise: Exercise, answer: Callable, case: str, framework: str) -> _Problem | None:
    """The property that does not hold, the input that was changed, or the exception on the way."""
    given = values.to_framework(exercise.cases()[case], framework)

    def run(**arguments: Any) -> Any:
        outcome = _run(exercise, answer, values.copy(arguments), framework)
        if isinstance(outcome, Raised):
            raise outcome.error
        return outcome

    try:
        for rule in exercise.properties:
            if not rule.holds(run, **exercise.cases()[case]):
                return _Problem(rule.words, case, rule.words)
        limited(lambda: exercise.run(answer, **given), seconds=exercise.seconds)
    except (Exception, SystemExit, TimeLimit) as error:
        return _Problem(_what_was_raised(exercise, answer, error), case)
    for name, before in exercise.cases()[case].items():
        unchanged = values.to_framework(before, framework)
        if not values.same(values.arrays_of(given[name]), values.arrays_of(unchanged), rtol=0, atol=0):
            words = (
                f"`{exercise.name}` changed its input `{name}`: after the call the caller's array is another. "
                f"Make a new array (`a = a - b` instead of `a -= b`), or work on a copy."
            )
            return _Problem(words, case, words)
    return None


def _what_was_raised(exercise: Exercise, answer: Callable, error: BaseException) -> str:
    if isinstance(error, TimeLimit):
        return (
            f"`{exercise.name}` was stopped after {exercise.seconds:g} seconds of work without an end in sight: it looks "
            f"like a loop that runs for ever. Check that every turn of the loop brings its end nearer."
        )
    if isinstance(error, Endless):
        return f"`{exercise.name}` does not end: {error}."
    lines = _reader_lines(error, answer)
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if not lines and isinstance(error, TypeError):
        return f"`{exercise.name}` can't be called as the exercise asks ({message}). Keep its first line as it was given."
    if not lines:
        return f"Running `{exercise.name}` ended with {message}."
    number, text = lines[-1]
    quoted = f": `{text}`" if text else ""
    return f"`{exercise.name}` stopped with {message}. It happened in line {number} of the cell{quoted}."


def _reader_lines(error: BaseException, answer: Any) -> list[tuple[int, str]]:
    """Line number and text of every traceback entry that lies in the reader's own code."""
    files = {function.__code__.co_filename for function in values.functions(answer)}
    return [
        (frame.lineno, linecache.getline(frame.filename, frame.lineno).strip())
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in files
    ]


def _from_stub(error: BaseException, answer: Any) -> bool:
    """Whether this is the stub's `raise NotImplementedError`, and not a library that lacks something."""
    frames = traceback.extract_tb(error.__traceback__)
    files = {function.__code__.co_filename for function in values.functions(answer)}
    if not isinstance(error, NotImplementedError) or not frames:
        return False
    where = frames[-1].filename  # a library's own function may be the answer: it lies in site-packages or dist-packages
    return where in files and "-packages" not in where


def _is_empty(answer: Any) -> bool:
    """Whether it is a `def` with nothing in it but a docstring, `pass` or `...`."""
    if not isinstance(answer, FunctionType) or answer.__name__ == "<lambda>":
        return False
    steps = [step for step in dis.get_instructions(answer) if step.opname not in ("RESUME", "NOP")]
    names = [step.opname for step in steps]
    return names in (["LOAD_CONST", "RETURN_VALUE"], ["RETURN_CONST"]) and steps[0].argval in (None, Ellipsis)
