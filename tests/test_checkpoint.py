"""Checkpoints: what goes in comes out bit for bit, files are whole or not there, and bad ones are named."""

import json
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from mlcourse.checkpoint import load, named_leaves, save


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def jax_state(seed=0):
    params = {"W": jax.random.normal(jax.random.key(seed), (3, 2)), "b": jnp.zeros(2, jnp.bfloat16)}
    return {"params": params, "optimizer": optax.adam(1e-3).init(params), "key": jax.random.key(seed), "step": 5, "rate": 0.1}


def bits(tree):
    leaves = named_leaves(jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree))
    return {name: (np.asarray(leaf).dtype, np.shape(leaf), np.asarray(leaf).tobytes()) for name, leaf in leaves.items()}


def is_key(leaf):
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def test_a_jax_state_with_keys_and_an_optimizer_comes_back_bit_for_bit_and_in_its_own_types(path):
    state = jax_state(seed=3)
    sha256 = save(path, state, {"step": 5})
    back = load(path, jax_state(seed=0))
    assert bits(back.state) == bits(state)
    assert jax.tree.structure(back.state) == jax.tree.structure(state)
    assert jax.random.normal(back.state["key"]) == jax.random.normal(state["key"])
    assert (back.metadata, back.sha256, back.parent) == ({"step": 5}, sha256, None)
    assert type(back.state["step"]) is int and type(back.state["rate"]) is float


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.nan, np.inf, -0.0, 5e-324, 1e308]),
        np.float32(1.5),
        np.zeros((0, 3), np.int8),
        np.array(True),
        np.arange(24, dtype=">i4").reshape(2, 3, 4)[::2, :, ::-1],
        np.array([2**63], np.uint64),
        np.float16([1e-7]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_unusual_arrays_come_back_with_the_same_values_shape_and_type(path, array):
    save(path, array)
    back = load(path, array).state
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("=")
    assert back.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def test_pytorch_models_and_optimizers_come_back(path):
    def fresh(seed):
        torch.manual_seed(seed)
        model = torch.nn.Linear(3, 2)
        model.scale = torch.nn.Parameter(torch.randn(4).bfloat16())
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    model, optimizer = fresh(0)
    model(torch.ones(1, 3)).sum().backward()
    model.scale.grad = torch.ones_like(model.scale)
    optimizer.step()
    buffers = [optimizer.state[p]["momentum_buffer"] for p in model.parameters()]
    save(path, {"model": model.state_dict(), "momentum": buffers})
    other, _ = fresh(1)
    back = load(path, {"model": other.state_dict(), "momentum": [torch.zeros_like(p) for p in other.parameters()]}).state
    other.load_state_dict(back["model"])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(buffers, back["momentum"], strict=True))


def test_a_state_that_was_only_described_can_be_loaded(path):
    state = {"W": jnp.arange(6.0).reshape(2, 3)}
    save(path, state)
    back = load(path, jax.eval_shape(lambda: state)).state
    assert isinstance(back["W"], jax.Array) and (back["W"] == state["W"]).all()


def test_without_like_the_arrays_come_by_name(path):
    save(path, {"params": [np.ones(2), {"W": np.zeros((1, 2))}]})
    assert {name: array.shape for name, array in load(path).state.items()} == {"params/0": (2,), "params/1/W": (1, 2)}


def test_the_state_of_a_numpy_generator_fits_into_the_metadata(path):
    rng = np.random.default_rng(0)
    rng.random(7)
    save(path, {}, {"rng": rng.bit_generator.state})
    again = np.random.default_rng(1)
    again.bit_generator.state = load(path, {}).metadata["rng"]
    assert (again.random(5) == rng.random(5)).all()


def test_the_same_things_give_the_same_bytes_and_other_things_another_sha256(path, tmp_path):
    state = {"w": np.arange(3.0)}
    first = save(path, state, {"b": 1, "a": 2})
    assert save(tmp_path / "again", state, {"a": 2, "b": 1}) == first
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    others = [
        save(tmp_path / "x", {"w": np.array([0.0, 1.0, np.nextafter(2, 3)])}, {"b": 1, "a": 2}),
        save(tmp_path / "x", {"v": np.arange(3.0)}, {"b": 1, "a": 2}),
        save(tmp_path / "x", state, {"b": 1, "a": 3}),
        save(tmp_path / "x", state, {"b": 1, "a": 2}, parent=first),
    ]
    assert len({first, *others}) == 5
    assert load(tmp_path / "x").parent == first


def test_the_file_is_laid_out_as_the_safetensors_format_says(path):
    save(path, {"b": np.arange(2, dtype=np.int16), "a": np.float32([[1.5]])}, {"step": 1})
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    told = header.pop("__metadata__")
    assert all(isinstance(value, str) for value in told.values()) and size % 8 == 0
    assert header == {
        "a": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]},
        "b": {"dtype": "I16", "shape": [2], "data_offsets": [4, 8]},
    }
    assert content[8 + size :] == np.float32(1.5).tobytes() + np.arange(2, dtype="<i2").tobytes()


def test_a_changed_byte_anywhere_is_noticed(path):
    save(path, {"w": np.arange(3.0)}, {"step": 1})
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(ValueError, match="run.safetensors is (damaged|no checkpoint)"):
            load(path)


@pytest.mark.parametrize("kept", [0, 4, 100, -8, -1])
def test_a_file_that_was_cut_short_is_refused(path, kept):
    save(path, {"w": np.arange(3.0)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="Take an earlier"):
        load(path)


def test_a_missing_file_and_a_file_of_another_kind_are_named(path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at .*run.safetensors"):
        load(path)
    path.write_bytes(b"\x80\x04\x95 this could be a pickle")
    with pytest.raises(ValueError, match="run.safetensors is no checkpoint of this course"):
        load(path)


def test_the_state_of_another_model_is_refused_by_name(path):
    save(path, {"W": np.zeros((3, 2)), "b": np.zeros(2)})
    with pytest.raises(ValueError, match=r"it lacks \['c'\] and has \['b'\] more. Make `like` with"):
        load(path, {"W": np.zeros((3, 2)), "c": np.zeros(2)})
    with pytest.raises(ValueError, match=r"'W' is float64 of shape \(3, 2\), but `like` has float64 of shape \(2, 3\)"):
        load(path, {"W": np.zeros((2, 3)), "b": np.zeros(2)})
    with pytest.raises(ValueError, match=r"'b' is float64 of shape \(2,\), but `like` has float32"):
        load(path, {"W": np.zeros((3, 2)), "b": np.zeros(2, np.float32)})


def test_what_is_no_number_is_refused(path):
    with pytest.raises(TypeError, match="'name' is a str of dtype <U4, which is no array of numbers. Put text"):
        save(path, {"name": "adam"})
    with pytest.raises(TypeError, match="the metadata can't be written as JSON .*Put arrays into `state`"):
        save(path, {}, {"w": np.zeros(2)})
    with pytest.raises(TypeError, match="write NaN as None"):
        save(path, {}, {"loss": float("nan")})
    assert not path.exists()


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(path, monkeypatch):
    save(path, {"w": np.zeros(2)})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, {"w": np.ones(2)})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


WRITER = """
import sys, numpy as np
from mlcourse.checkpoint import save
print("ready", flush=True)
for step in range(10**6):
    save(sys.argv[1], {"w": np.full(200_000, float(step))}, {"step": step})
"""


def test_a_process_killed_while_it_writes_leaves_a_whole_file(path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    writer.stdout.readline()
    while not path.exists():
        time.sleep(0.01)
    time.sleep(0.3)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    found = load(path, {"w": np.zeros(200_000)})
    assert (found.state["w"] == found.metadata["step"]).all()
