"""A training state into one safetensors file, written whole or not at all, and the file back into the state, bit for bit.

The file is what any safetensors reader opens: eight bytes with the length of the header, a header in JSON that names each
array with its type, shape and place, then the arrays' bytes. Nothing in it can run code, as a pickle can.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mlcourse.files import write_whole

FORMAT = "mlcourse checkpoint 1"
DTYPES = {  # NumPy's name: the name in the file
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
}  # fmt: skip


class Checkpoint(NamedTuple):
    """What a file holds. `sha256` is over all the rest, and `parent` that of the checkpoint this one went on from."""

    state: Any
    metadata: dict
    sha256: str
    parent: str | None


def save(path: str | os.PathLike, state: Any, metadata: dict | None = None, *, parent: str | None = None) -> str:
    """The SHA-256 of the checkpoint, after it was written to `path` in one move.

    A process that is killed while it writes leaves the file that was there before. Saving the same things again gives the
    same bytes.

    Args:
        state: a tree (dicts, lists, tuples, NamedTuples) of arrays of NumPy, JAX or PyTorch, random keys of JAX, and plain
            numbers. Everything the rest of the run depends on belongs here or in `metadata`: parameters, the optimizer's
            state, keys, and how far the run is in the order of the data.
        metadata: what JSON can hold, for example `{"step": 300, "seed": 0, "manifest": repro.manifest(...)}`, or the
            `bit_generator.state` of a NumPy generator.
        parent: the SHA-256 of the checkpoint that the run was resumed from.

    Raises:
        TypeError: a leaf that is no array or number, or metadata that JSON can't hold.
        OSError: the folder is missing or full; then nothing was changed.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     sha256 = save(f"{folder}/run.safetensors", {"step": 7, "w": np.arange(3.0)}, {"seed": 0})
    ...     load(f"{folder}/run.safetensors", {"step": 0, "w": np.zeros(3)}).state
    {'step': 7, 'w': array([0., 1., 2.])}

    Built in lesson 08.
    """
    arrays = {name: to_numpy(leaf, name) for name, leaf in named_leaves(state).items()}
    try:
        told = json.dumps(metadata or {}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the metadata can't be written as JSON ({error}). Put arrays into `state`; write NaN as None."
        ) from None
    table, start = {}, 0
    for name, array in arrays.items():
        table[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": [start, start + array.nbytes]}
        start += array.nbytes
    content = b"".join(array.tobytes() for array in arrays.values())
    facts = {"format": FORMAT, "metadata": told, "parent": parent or ""}
    sha256 = fingerprint(facts, table, content)
    header = json.dumps({"__metadata__": facts | {"sha256": sha256}} | table).encode()
    header += b" " * (-len(header) % 8)
    write_whole(path, len(header).to_bytes(8, "little") + header + content)
    return sha256


def load(path: str | os.PathLike, like: Any = None) -> Checkpoint:
    """The checkpoint in this file, checked against its SHA-256, with its state in the form of `like`.

    Args:
        like: a tree with the structure, shapes and types of what was saved, for example a fresh state; its values are not
            used. Arrays come back in the framework of its leaves, plain numbers as plain numbers. With None the state is
            a flat dict, name -> NumPy array, as for the state of an optimizer of PyTorch that has made no step yet.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, it is damaged, or its arrays are not those of `like`.
    """
    facts, arrays = read(Path(path))
    state = arrays if like is None else in_the_form_of(like, arrays, Path(path).name)
    return Checkpoint(state, json.loads(facts["metadata"]), facts["sha256"], facts["parent"] or None)


def named_leaves(tree: Any) -> dict[str, Any]:
    """Every leaf by its place in the tree.

    >>> named_leaves({"params": [1.0, {"W": 2.0}]})
    {'params/0': 1.0, 'params/1/W': 2.0}
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(place, simple=True, separator="/") or "state": leaf for place, leaf in leaves}


def is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_torch(leaf: Any) -> bool:
    return "torch" in sys.modules and isinstance(leaf, sys.modules["torch"].Tensor)


def to_numpy(leaf: Any, name: str) -> np.ndarray:
    """The leaf as a little-endian NumPy array with the same bits."""
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    elif is_torch(leaf):
        torch = sys.modules["torch"]
        leaf = leaf.detach().cpu().contiguous()  # waits for the device
        leaf = leaf.view(torch.int16).numpy().view(jax.numpy.bfloat16) if leaf.dtype == torch.bfloat16 else leaf.numpy()
    array = np.asarray(leaf)
    if array.dtype.name not in DTYPES:
        raise TypeError(
            f"{name!r} is a {type(leaf).__name__} of dtype {array.dtype}, which is no array of numbers. "
            "Put text and other settings into `metadata`."
        )
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)


def from_numpy(array: np.ndarray, leaf: Any) -> Any:
    """The array as what `leaf` is."""
    if is_key(leaf):
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))
    if is_torch(leaf):
        torch = sys.modules["torch"]
        bits = array.view(np.int16) if leaf.dtype == torch.bfloat16 else array
        tensor = torch.from_numpy(bits.copy())
        return (tensor.view(torch.bfloat16) if leaf.dtype == torch.bfloat16 else tensor).to(leaf.device)
    if isinstance(leaf, bool | int | float):
        return type(leaf)(array)
    if isinstance(leaf, np.ndarray | np.generic):
        return array.copy() if isinstance(leaf, np.ndarray) else array[()]
    return jax.numpy.asarray(array)


def in_the_form_of(like: Any, arrays: dict[str, np.ndarray], file: str) -> Any:
    wanted = named_leaves(like)
    if set(wanted) != set(arrays):
        missing, extra = sorted(set(wanted) - set(arrays)), sorted(set(arrays) - set(wanted))
        raise ValueError(
            f"{file} is the state of another model: it lacks {missing[:4]} and has {extra[:4]} more. "
            "Make `like` with the settings in the checkpoint's metadata."
        )
    for name, leaf in wanted.items():
        expected, found = description(leaf, name), (arrays[name].dtype.name, arrays[name].shape)
        if expected != found:
            raise ValueError(
                f"{file}: {name!r} is {found[0]} of shape {found[1]}, but `like` has {expected[0]} of shape {expected[1]}. "
                "Make `like` with the settings in the checkpoint's metadata."
            )
    leaves = [from_numpy(arrays[name], leaf) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def description(leaf: Any, name: str) -> tuple[str, tuple]:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return np.dtype(leaf.dtype).name, tuple(leaf.shape)
    array = to_numpy(leaf, name)
    return array.dtype.name, array.shape


def fingerprint(facts: dict[str, str], table: dict, content: bytes) -> str:
    told = json.dumps([{key: value for key, value in facts.items() if key != "sha256"}, table], sort_keys=True)
    return hashlib.sha256(told.encode() + content).hexdigest()


def read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The facts in the header and the arrays of a file that proved to be whole."""
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint at {path}. Give the file's name, or start without one.")
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    try:
        table = json.loads(content[8 : 8 + size])
        facts = table.pop("__metadata__")
        known = facts["format"] == FORMAT and len(content) >= 8 + size
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise ValueError(f"{path.name} is no checkpoint of this course, or its beginning is damaged. Take an earlier one.")
    content = content[8 + size :]
    found = fingerprint(facts, table, content)
    if found != facts.get("sha256"):
        raise ValueError(
            f"{path.name} is damaged: its SHA-256 is {found[:12]}..., but its header says {str(facts.get('sha256'))[:12]}... "
            "Take an earlier checkpoint."
        )
    names = {short: name for name, short in DTYPES.items()}
    arrays = {}
    for name, entry in table.items():
        start, stop = entry["data_offsets"]
        kind = jax.numpy.dtype(names[entry["dtype"]])
        arrays[name] = np.frombuffer(content[start:stop], kind.newbyteorder("<")).reshape(entry["shape"]).astype(kind)
    return facts, arrays
