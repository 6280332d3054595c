"""A notebook's `parameters` cell into declared types, and values that somebody typed into values of those types.

papermill injects whatever it is given: an unknown name, text for a number. Here the cell is parsed with `ast`, so that
`steps: int | None = None` and `Literal["a", "b"]` are understood, and everything is refused before anything runs.
"""

import ast
import json
import math
import re
from typing import Any, NamedTuple

from mlcourse.errors import unknown_name


class SweepError(ValueError):
    """What was asked for can't be run; nothing was started."""


class Kind(NamedTuple):
    """A type: "any", "int", "float", "bool", "str", "none", "union", "literal", "list", "tuple" or "dict"."""

    name: str
    inner: tuple = ()  # the kinds of a union or of a list's values; the values of a literal


class Parameter(NamedTuple):
    """One name of the parameters cell."""

    name: str
    kind: Kind
    words: str  # the type as the notebook has it
    default: Any = None
    has_default: bool = True  # False where the default is no literal, as in `np.pi`

    def __str__(self) -> str:
        return f"{self.name}: {self.words}" + (f" = {self.default!r}" if self.has_default else "")


class Range(NamedTuple):
    """Values to be drawn: uniform between two bounds, or uniform in the logarithm."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{'log' if self.log else 'uniform'}:{self.low:g}:{self.high:g}"


ANY = Kind("any")
SIMPLE = {"int": "int", "float": "float", "bool": "bool", "str": "str", "None": "none", "list": "list", "List": "list",
          "tuple": "tuple", "Tuple": "tuple", "dict": "dict", "Dict": "dict", "Sequence": "list"}  # fmt: skip


def declared(notebook: dict) -> dict[str, Parameter]:
    """The parameters of a notebook by name.

    Args:
        notebook: the JSON of an .ipynb file.

    Raises:
        SweepError: no cell or more than one is tagged `parameters`, or that cell is not Python.

    >>> cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}}
    >>> cell["source"] = "rate: float = 0.1\\nsteps: int | None = None"
    >>> for parameter in declared({"cells": [cell]}).values():
    ...     print(parameter)
    rate: float = 0.1
    steps: int | None = None
    """
    source = "".join(notebook["cells"][place(notebook)]["source"])
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise SweepError(f"the parameters cell is not Python: line {error.lineno}: {error.msg}.") from None
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names, kind, words = [node.target.id], kind_of(node.annotation), ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            names, kind, words = [target.id for target in node.targets], None, ""
        else:
            continue
        default, known = literal(node.value)
        kind = kind or (kind_of_value(default) if known else ANY)
        for name in names:
            found[name] = Parameter(name, kind, words or shown(kind), default, known)
    return found


def place(notebook: dict) -> int:
    """The index of the parameters cell."""
    found = [
        index
        for index, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and "parameters" in cell.get("metadata", {}).get("tags", [])
    ]
    if len(found) != 1:
        raise SweepError(
            f"{len(found)} code cells are tagged `parameters`; a sweep needs exactly one. In JupyterLab: select the cell "
            "with the settings, open the property inspector (the gears), add the tag `parameters`."
        )
    return found[0]


def literal(node: ast.expr | None) -> tuple[Any, bool]:
    try:
        return ast.literal_eval(node), node is not None
    except ValueError:
        return None, False


def kind_of(annotation: ast.expr) -> Kind:
    """The kind that an annotation names; an annotation of another sort, such as `Path`, takes any value."""
    match annotation:
        case ast.Constant(value=None):
            return Kind("none")
        case ast.Constant(value=str(text)):  # "int | None" in quotes
            try:
                return kind_of(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return ANY
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Kind("union", (kind_of(left), kind_of(right)))
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return Kind(SIMPLE.get(name, "any"))
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inside):
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            if name == "Literal":
                values = [literal(part) for part in parts]
                return Kind("literal", tuple(value for value, _ in values)) if all(known for _, known in values) else ANY
            if name == "Optional":
                return Kind("union", (kind_of(inside), Kind("none")))
            if name == "Union":
                return Kind("union", tuple(map(kind_of, parts)))
            if name in ("Final", "Annotated"):
                return kind_of(parts[0])
            if SIMPLE.get(name) == "list":
                return Kind("list", (kind_of(inside),))
            if SIMPLE.get(name) == "tuple" and isinstance(parts[-1], ast.Constant) and parts[-1].value is ...:
                return Kind("tuple", (kind_of(parts[0]),))
            return Kind(SIMPLE.get(name, "any"))
    return ANY


def kind_of_value(value: Any) -> Kind:
    """The kind of a default without an annotation. A default of None says nothing about the type."""
    name = type(value).__name__
    return Kind(name) if name in ("bool", "int", "float", "str", "list", "tuple", "dict") else ANY


def shown(kind: Kind) -> str:
    return {"any": "any value", "none": "None"}.get(kind.name, kind.name)


def alternatives(kind: Kind) -> tuple[Kind, ...]:
    return tuple(part for inner in kind.inner for part in alternatives(inner)) if kind.name == "union" else (kind,)


def names_of(parameter: Parameter) -> set[str]:
    return {part.name for part in alternatives(parameter.kind)}


class Mismatch(Exception):
    """A value is not of a kind."""


def converted(kind: Kind, value: Any) -> Any:
    """The value as that kind: 1 becomes 1.0 where a float is wanted, a list becomes a tuple; raises Mismatch."""
    if kind.name == "any":
        return plain(value)
    if kind.name == "literal":
        for option in kind.inner:
            if type(option) is type(value) and option == value:
                return value
        raise Mismatch
    if kind.name == "union":
        exact = [part for part in alternatives(kind) if part.name == type(value).__name__]
        for part in (*exact, *alternatives(kind)):
            try:
                return converted(part, value)
            except Mismatch:
                continue
        raise Mismatch
    if kind.name == "none" and value is None:
        return None
    if kind.name == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return plain(float(value))
    if kind.name in ("list", "tuple") and isinstance(value, list | tuple):
        values = [converted(kind.inner[0] if kind.inner else ANY, part) for part in value]
        return tuple(values) if kind.name == "tuple" else values
    if type(value).__name__ == kind.name:
        return plain(value)
    raise Mismatch


def plain(value: Any) -> Any:
    """The value if it is one that a notebook can be given: numbers, text, None, and lists and dictionaries of them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Mismatch
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(inner) for key, inner in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Mismatch


def checked(parameter: Parameter, value: Any) -> Any:
    """The value, converted to the parameter's type.

    Raises:
        SweepError: it has another type.

    >>> checked(Parameter("rate", Kind("float"), "float"), 1)
    1.0
    """
    try:
        return converted(parameter.kind, value)
    except Mismatch:
        raise SweepError(f"{parameter.name} can't be {value!r}; the notebook says {parameter}.") from None


def find(parameters: dict[str, Parameter], name: str) -> Parameter:
    """The declared parameter of that name.

    Raises:
        SweepError: there is none; the message lists those there are.
    """
    if name not in parameters:
        raise SweepError(unknown_name("parameter", name, parameters))
    return parameters[name]


# What is typed on a command line


def values_of_text(parameter: Parameter, text: str) -> list | Range:
    """A word of the command line as a list of values, or as a range to draw from.

    `0.01,0.1` is a list, `0:5` the integers 0 to 4 (`0:10:2` every other one), `log:1e-4:1e-1` and `uniform:0:1` are ranges.

    Raises:
        SweepError: a value of another type, or a bad range.

    >>> values_of_text(Parameter("seed", Kind("int"), "int"), "0:3")
    [0, 1, 2]
    >>> print(values_of_text(Parameter("rate", Kind("float"), "float"), "log:1e-4:0.1"))
    log:0.0001:0.1
    """
    found = range_of_text(parameter, text)
    if found is not None:
        return found
    return [value_of_text(parameter, part) for part in split_at_commas(text)]


def range_of_text(parameter: Parameter, text: str) -> list | Range | None:
    """The integers or the range that `A:B`, `log:A:B` or `uniform:A:B` stands for; None for any other text."""
    names = names_of(parameter)
    if names & {"int", "float"} and (found := re.fullmatch(r"\s*(log|uniform):([^:]*):([^:]*)", text)):
        scale, *bounds = found.groups()
        try:
            low, high = map(float, bounds)
        except ValueError:
            raise SweepError(f"{parameter.name}: {text!r} is no range; write {scale}:LOW:HIGH with two numbers.") from None
        return checked_range(parameter, Range(low, high, scale == "log"))
    if not names & {"int", "any"} or not re.fullmatch(r"\s*-?\d+:-?\d+(:-?\d+)?\s*", text):
        if ":" in text and "str" not in names and not re.search(r"[\[{\"']", text) and names != {"literal"}:
            raise SweepError(
                f"{parameter.name}: {text!r} is no range for {parameter.words}; write START:STOP or START:STOP:STEP with "
                "integers, log:LOW:HIGH, or uniform:LOW:HIGH."
            )
        return None
    start, stop, *step = map(int, text.split(":"))
    if step == [0] or not (length := len(range(start, stop, *step))):
        raise SweepError(f"{parameter.name}: the range {text} is empty; 0:5 stands for 0, 1, 2, 3, 4.")
    if length > MANY:
        raise SweepError(f"{parameter.name}: the range {text} has {length:,} values; {MANY:,} trials are the limit.")
    return list(range(start, stop, *step))


MANY = 100_000


def checked_range(parameter: Parameter, given: Range) -> Range:
    """The range, if numbers can be drawn from it for this parameter."""
    low, high, log = given
    if not names_of(parameter) & {"int", "float", "any"}:
        raise SweepError(f"{parameter.name} is {parameter.words}; only numbers can be drawn from a range. List the values.")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SweepError(f"{parameter.name}: the range from {low:g} to {high:g} is empty; the lower bound comes first.")
    if log and low <= 0:
        raise SweepError(f"{parameter.name}: a log range can't start at {low:g}; take a small positive number.")
    if "float" not in names_of(parameter) and "int" in names_of(parameter) and (low % 1 or high % 1):
        raise SweepError(f"{parameter.name} is {parameter.words}; its range {low:g} to {high:g} needs whole bounds.")
    return given


def value_of_text(parameter: Parameter, text: str) -> Any:
    """One value as it was typed, for example `1e-3`, `none`, `[128, 64]` or a word."""
    text = text.strip()
    for kind in sorted(alternatives(parameter.kind), key=lambda kind: ORDER.index(kind.name)):
        for reading in READINGS[kind.name]:
            try:
                return converted(kind, reading(text))
            except (ValueError, SyntaxError, KeyError, Mismatch):
                continue
    for option in (option for kind in alternatives(parameter.kind) if kind.name == "literal" for option in kind.inner):
        if text in (str(option), repr(option)):
            return option
    raise SweepError(f"{parameter.name} can't be {text!r}; the notebook says {parameter}.")


def word(text: str) -> str:
    """The text, without the quotes around it where there are any."""
    return ast.literal_eval(text) if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def number(text: str) -> float:
    if not re.fullmatch(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?", text):
        raise ValueError
    return float(text)


def whole(text: str) -> int:
    if not re.fullmatch(r"[-+]?\d[\d_]*", text):
        raise ValueError
    return int(text)


TRUTH = {"true": True, "True": True, "false": False, "False": False}
NOTHING = {"none": None, "None": None, "null": None}
STRUCTURES = (json.loads, ast.literal_eval)
READINGS = {
    "none": (NOTHING.__getitem__,), "bool": (TRUTH.__getitem__,), "int": (whole,), "float": (number,), "literal": (),
    "list": STRUCTURES, "tuple": STRUCTURES, "dict": STRUCTURES, "str": (word,),
    "any": (NOTHING.__getitem__, TRUTH.__getitem__, whole, number, *STRUCTURES, word),
}  # fmt: skip
ORDER = ("literal", "none", "bool", "int", "float", "list", "tuple", "dict", "str", "any")


def split_at_commas(text: str) -> list[str]:
    """The parts between commas that stand in no bracket and no quotes.

    >>> split_at_commas("[1, 2],[3],'a,b'")
    ['[1, 2]', '[3]', "'a,b'"]
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (letter in "[({") - (letter in "])}") if not quote else 0
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
