"""The reader's answer into one line, or into a message that names the mistake.

In a notebook: `check("1.1", cross_entropy)`, `hint("1.1")` and, for the hint after it, the same again, `progress(1)`.

How to write the checks of another lesson (`lesson01.py` is the model):

1. Make `lessonNN.py` with `NOTEBOOK` (the notebook's name without `.ipynb`) and `EXERCISES`, a tuple of `Exercise`.
   It is found by its name.
2. `cases()` returns fresh inputs, `{"what is peculiar about them": {"argument": value}}`, as NumPy arrays; values
   that tell variants apart (a weight not 1, several steps, odd shapes, integers, `a[::2]`, huge numbers). First the
   plainest case.
3. `reference` and every `Mistake(words, function)` are NumPy programs of the same signature. `words` say what
   happened and the cure; they are shown when the reader's values are those of `function`. A test refuses a mistake
   that the cases can't tell from the reference.
4. A keyword argument, an iterator, a class or a whole loop: give `run(answer, **case) -> value`, which turns the
   answer into a value.
5. Values that can't be compared (random numbers): `compare="shapes"`, and `Property(words, holds)` with `holds(run,
   **case) -> bool`.
6. `hints` rise; the last one, where the solution stands, is added by itself. Title, minutes and difficulty are
   those of the heading in the notebook (`## Exercise N.1 · Title`, then `*10 minutes, \\*\\**`); a test compares them.
7. Fill `tests/wrong/NN.py` as a student would: `bank = Bank()` (from `mlcourse.checks.killrate`), then
   `@bank.wrong("N.1", "words of the message")` at least 6 times an exercise, and `@bank.right("N.1")` twice.
8. `make kill-rate` prints the table; every wrong answer must be killed by name.
"""

from typing import Any

from mlcourse.checks import progress as _progress
from mlcourse.checks.engine import WrongAnswer, examine, exercises, find, notebook_of

__all__ = ["WrongAnswer", "check", "hint", "progress"]

_hints_given: dict[str, int] = {}


def check(exercise_id: str, answer: Any = None) -> None:
    """Print that the answer is right, or that there is none yet; the progress file remembers it.

    Args:
        exercise_id: "lesson.number".
        answer: the function or class the exercise asks for, written for NumPy, JAX or PyTorch.

    Raises:
        WrongAnswer: with the first thing that is wrong, the input that shows it and, where it is known, the mistake.
        ValueError: there is no such exercise.

    >>> check("1.1", ...)
    Exercise 1.1 is not attempted yet: write `cross_entropy` and run its cell again. `hint("1.1")` helps.

    Built in lesson 01.
    """
    verdict = examine(find(exercise_id), answer)
    _progress.record(exercise_id, verdict)
    if verdict.state == "wrong":
        raise WrongAnswer(verdict.message) from None
    print(verdict.message)


def hint(exercise_id: str) -> None:
    """Print the next hint for this exercise; the last one says where the solution stands, and stays.

    >>> hint("1.10")        # doctest: +ELLIPSIS
    Hint 1 of 3 for exercise 1.10: ...
    """
    exercise = find(exercise_id)
    hints = [
        *exercise.hints,
        f"the solution stands under 'Exercise {exercise_id}' in solutions/{notebook_of(exercise_id)}.ipynb. "
        f"Read it, close it, and write your own.",
    ]
    turn = min(_hints_given.get(exercise_id, 0), len(hints) - 1)
    _hints_given[exercise_id] = turn + 1
    print(f"Hint {turn + 1} of {len(hints)} for exercise {exercise_id}: {hints[turn]}")


def progress(lesson: int | None = None) -> _progress.ProgressTable:
    """The table of one lesson's exercises, or of all: what is right, what was tried, what is left.

    >>> progress(1).rows[0].title
    'Cross-entropy that does not overflow'
    """
    chosen = exercises(lesson)
    if not chosen:
        known = sorted({int(exercise.id.split(".")[0]) for exercise in exercises()})
        raise ValueError(f"lesson={lesson!r}, but no such lesson has checks. Known: {', '.join(map(str, known))}.")
    return _progress.table(chosen)
