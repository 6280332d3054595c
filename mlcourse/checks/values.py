"""The reader's values, in any framework, into NumPy; two values into the first difference, said in a sentence.

A value is a tree: dicts, lists and tuples whose leaves are arrays, numbers, strings or anything else. Inputs go out
to the reader's framework with `to_framework`, results come back with `as_numpy`, and `difference` finds what is wrong
first.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np


class Difference(NamedTuple):
    """What is wrong first: `stage` is "type", "shape" or "value", `words` the sentence."""

    stage: str
    words: str


def tree_map(function: Callable, tree: Any) -> Any:
    """The same tree with `function` applied to every leaf; NamedTuples become tuples."""
    if isinstance(tree, Mapping):
        return {key: tree_map(function, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [tree_map(function, value) for value in tree]
    if isinstance(tree, tuple):
        return tuple(tree_map(function, value) for value in tree)
    return function(tree)


def to_framework(tree: Any, framework: str) -> Any:
    """The tree with every NumPy array as an array of "numpy", "jax" or "torch"; other leaves stay as they are."""
    if framework == "jax":
        import jax.numpy as jnp

        convert = jnp.asarray
    elif framework == "torch":
        import torch

        def convert(leaf: np.ndarray) -> Any:
            # PyTorch has no arrays that run backwards, such as a[::-1]
            return torch.from_numpy(leaf if min(leaf.strides, default=0) >= 0 else leaf.copy())

    else:
        return tree
    return tree_map(lambda leaf: convert(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


def like(given: Any, value: np.ndarray) -> Any:
    """The NumPy value as an array of the framework of `given`."""
    root = type(given).__module__.split(".")[0]
    if root == "torch":
        import torch

        return torch.as_tensor(value, dtype=given.dtype if given.is_floating_point() else None)
    if root in ("jax", "jaxlib"):
        import jax.numpy as jnp

        return jnp.asarray(value)
    return value


def as_numpy(tree: Any) -> Any:
    """The tree with every array and number, of any framework, as a NumPy array; other leaves stay as they are.

    >>> as_numpy({"loss": 2, "name": "a"})
    {'loss': array(2), 'name': 'a'}
    """
    torch = sys.modules.get("torch")

    def convert(leaf: Any) -> Any:
        if torch is not None and isinstance(leaf, torch.Tensor):
            leaf = leaf.detach().cpu()
            return (leaf.float() if leaf.dtype is torch.bfloat16 else leaf).numpy()  # NumPy has no bfloat16
        if isinstance(leaf, (bool, int, float, complex, np.ndarray, np.generic)) or _root(type(leaf)) in (
            "jax",
            "jaxlib",
        ):
            try:
                return np.asarray(leaf)
            except (TypeError, RuntimeError):  # a tracer that escaped, a random key: not numbers
                return leaf
        return leaf

    return tree_map(convert, tree)


def arrays_of(tree: Any) -> Any:
    """The tree as NumPy, with None in the place of everything that is no array or number."""
    return tree_map(lambda leaf: leaf if isinstance(leaf, np.ndarray) else None, as_numpy(tree))


def copy(tree: Any) -> Any:
    """The tree with every NumPy array copied, strides and all."""

    def copy_leaf(leaf: Any) -> Any:
        return leaf.copy(order="K") if isinstance(leaf, np.ndarray) else leaf

    return tree_map(copy_leaf, tree)


def difference(got: Any, expected: Any, *, what: str, rtol: float, atol: float, values: bool = True) -> Difference | None:
    """The first thing in which `got` is not `expected`: type before shape before value; None where they agree.

    Both are trees as `as_numpy` gives them. With `values=False` only types and shapes are compared.

    >>> difference(np.zeros((2, 3)), np.zeros(2), what="f(x)", rtol=0, atol=0).words
    'f(x) has the shape (2, 3), expected (2,).'
    """
    words = _type_difference(got, expected, what)
    if words:
        return Difference("type", words)
    words = _shape_difference(got, expected, what)
    if words:
        return Difference("shape", words)
    words = _value_difference(got, expected, what, rtol, atol) if values else None
    return Difference("value", words) if words else None


def same(a: Any, b: Any, *, rtol: float = 1e-3, atol: float = 1e-5) -> bool:
    """Whether two trees hold the same values. NaN equals NaN here: the question is if two programs did the same."""
    if isinstance(a, dict) and isinstance(b, dict):
        return set(a) == set(b) and all(same(a[key], b[key], rtol=rtol, atol=atol) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, rtol=rtol, atol=atol) for x, y in zip(a, b, strict=True))
    if _is_numbers(a) and _is_numbers(b):
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True))
    return a is b or (isinstance(a, str) and isinstance(b, str) and a == b)


def show(value: Any) -> str:
    """One short line that shows an input: small arrays whole, large ones by their corners, with shape and dtype.

    >>> show(np.array([[1.5, 2.0]]))
    '[[1.5, 2.0]], float64 of shape (1, 2)'
    >>> show((True,)), show([1, 2])
    ('(True,)', '[1, 2]')
    """
    if isinstance(value, np.ndarray):
        numbers = np.array2string(
            value, separator=", ", threshold=24, edgeitems=2, max_line_width=10**6, formatter={"float_kind": _number}
        )
        return f"{' '.join(numbers.split())}, {value.dtype} of shape {value.shape}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show, value)) + (",)" if len(value) == 1 else ")")
    if isinstance(value, FunctionType):
        return (value.__doc__ or value.__name__).splitlines()[0]
    return repr(value)


def functions(answer: Any) -> list[FunctionType]:
    """The plain functions behind the reader's object: itself unwrapped, its methods, the reader's own that it calls."""
    found: list[FunctionType] = []
    waiting, seen = [answer], set()
    while waiting:
        item = waiting.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, FunctionType):
            found.append(item)
            waiting.extend(cell.cell_contents for cell in item.__closure__ or () if _filled(cell))
            called = [item.__globals__.get(name) for name in _names(item.__code__)]
            waiting.extend(other for other in called if getattr(other, "__module__", "") == item.__module__)
        members = vars(item).values() if isinstance(item, type) else ()
        inner = [getattr(item, name, None) for name in ("__wrapped__", "__func__", "func")]  # jit, method, partial
        waiting.extend(other for other in [*members, *inner] if other is not None)
    return found


def frameworks(answer: Any) -> list[str]:
    """The frameworks to try on the reader's object, the one its code names first; only ones already imported.

    >>> frameworks(lambda x: np.exp(x))[0]
    'numpy'
    """
    named = []
    for function in functions(answer):
        for name in _names(function.__code__):
            root = _root(function.__globals__.get(name)) or name.split(".")[0]
            if root in ("jax", "flax", "optax", "torch"):
                named.append("torch" if root == "torch" else "jax")
    order = dict.fromkeys([*named, "numpy", "jax", "torch"])
    return [name for name in order if name == "numpy" or name in sys.modules]


def _type_difference(got: Any, expected: Any, what: str) -> str | None:
    if got is None:
        return f"{what} returned None. A function must end with `return` and the result."
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return f"{what} is {_kind(got)}, expected a dict with the keys {_keys(expected)}."
        if set(got) != set(expected):
            return f"{what} has the keys {_keys(got)}, expected {_keys(expected)}."
        return _first(_type_difference(got[key], expected[key], f"{what}[{key!r}]") for key in expected)
    if isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)):
            return f"{what} is {_kind(got)}, expected a {type(expected).__name__} of {len(expected)}."
        return _first(_type_difference(a, b, f"{what}[{i}]") for i, (a, b) in enumerate(zip(got, expected, strict=False)))
    if isinstance(expected, np.ndarray) and not _is_numbers(got):
        wanted = f"an array of shape {expected.shape}" if expected.shape else "one number"
        return f"{what} is {_kind(got)}, expected {wanted}."
    if not isinstance(expected, np.ndarray) and type(got) is not type(expected):
        return f"{what} is {_kind(got)}, expected a {type(expected).__name__}."
    return None


def _shape_difference(got: Any, expected: Any, what: str) -> str | None:
    if isinstance(expected, dict):
        return _first(_shape_difference(got[key], expected[key], f"{what}[{key!r}]") for key in expected)
    if isinstance(expected, (list, tuple)):
        if len(got) != len(expected):
            return f"{what} has {len(got)} parts, expected {len(expected)}."
        return _first(_shape_difference(a, b, f"{what}[{i}]") for i, (a, b) in enumerate(zip(got, expected, strict=True)))
    if isinstance(expected, np.ndarray) and got.shape != expected.shape:
        if not expected.shape:
            return f"{what} has the shape {got.shape}, expected one number (shape ())."
        return f"{what} has the shape {got.shape}, expected {expected.shape}."
    return None


def _value_difference(got: Any, expected: Any, what: str, rtol: float, atol: float) -> str | None:
    if isinstance(expected, dict):
        return _first(_value_difference(got[k], expected[k], f"{what}[{k!r}]", rtol, atol) for k in expected)
    if isinstance(expected, (list, tuple)):
        return _first(
            _value_difference(a, b, f"{what}[{i}]", rtol, atol) for i, (a, b) in enumerate(zip(got, expected, strict=True))
        )
    if not isinstance(expected, np.ndarray):
        return None if got == expected else f"{what} is {got!r}, expected {expected!r}."
    wrong = ~np.isclose(got, expected, rtol=rtol, atol=atol)
    if not wrong.any():
        return None
    if not expected.shape:
        return f"{what} is one number, as it should be, but got {_number(got)}, expected {_number(expected)}."
    first = np.argwhere(wrong)[0]
    index = ", ".join(map(str, first))
    return (
        f"{what} has the right shape {expected.shape}, but {wrong.sum()} of {wrong.size} values "
        f"{'is' if wrong.sum() == 1 else 'are'} wrong. The first is at [{index}]: "
        f"got {_number(got[tuple(first)])}, expected {_number(expected[tuple(first)])}."
    )


def _first(sentences: Any) -> str | None:
    return next((words for words in sentences if words), None)


def _number(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value[()]
    return str(value) if isinstance(value, (bool, np.bool_, int, np.integer)) else _float(value)


def _float(value: float) -> str:
    text = f"{value:.6g}"
    return f"{text}.0" if text.lstrip("-").isdigit() else text


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        return f"an array of dtype {value.dtype}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}" if value.shape else f"one number ({_number(value)})"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    article = "an" if type(value).__name__[0] in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def _keys(mapping: Mapping) -> str:
    return ", ".join(map(repr, mapping)) or "(none)"


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and (value.dtype.kind in "biuf" or value.dtype.name == "bfloat16")


def _root(item: Any) -> str:
    """The top package of a module, or of what was imported from one; "" where there is none."""
    name = item.__name__ if isinstance(item, ModuleType) else getattr(item, "__module__", None)
    return name.split(".")[0] if isinstance(name, str) else ""


def _names(code: CodeType) -> Sequence[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is bound later
        return False
