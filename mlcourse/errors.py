"""Conditions and values into sentences that name the cure.

Every error the package raises is one of Python's own kinds or a subclass below, so `except ValueError` keeps working.
A message has three parts: what was found, with its values; what was expected; what to do.
"""

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """The data can't be used as they are (shape, range, NaN, empty)."""


class DownloadError(OSError):
    """A file could not be fetched or is not the file that was published."""


class StepError(TypeError):
    """`step` does not keep its contract `step(state, batch) -> (state, metrics)`."""


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number. `history` holds the rows up to and with that step."""

    def __init__(self, message: str, history: list[dict] | None = None):
        super().__init__(message)
        self.history = history or []


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """The sentence for a name that is not known, with the nearest known one first.

    >>> unknown_name("data set", "minst", ["digits", "mnist"])
    "unknown data set 'minst'. Did you mean 'mnist'? Known: 'digits', 'mnist'."
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{guess} Known: {', '.join(map(repr, known))}."
