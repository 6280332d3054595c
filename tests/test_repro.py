"""Seeding, manifests and digests."""

import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mlcourse import data
from mlcourse.repro import digest, digests_of, manifest, seed_everything


@pytest.fixture(autouse=True)
def restore_torch():
    yield
    torch.use_deterministic_algorithms(False)


def draws():
    return random.random(), np.random.rand(), torch.rand(2).tolist()  # noqa: NPY002 - the global generator is the subject


def test_the_same_seed_gives_the_same_draws_in_all_three_libraries():
    seed_everything(5)
    first = draws()
    seed_everything(5)
    assert draws() == first
    seed_everything(6)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_pytorch_is_asked_for_deterministic_algorithms_and_threads():
    before = torch.get_num_threads()
    seed_everything(0, threads=1)
    assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_what_could_not_be_set_is_said():
    code = "from mlcourse.repro import seed_everything; print(*seed_everything(0), sep='\\n')"
    free = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": ""}).stdout
    fixed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "0"}).stdout
    assert "PYTHONHASHSEED" in free and "PyTorch: it is not imported" in free
    assert "PYTHONHASHSEED" not in fixed and "PyTorch" in fixed


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "7", None])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="is not an integer from 0 to 4294967295"):
        seed_everything(seed)


def test_a_manifest_is_json_and_says_what_ran():
    entry = manifest({"seed": 3, "learning_rate": 0.1}, data={"digits": "abc"}, started=time.time() - 2)
    assert json.loads(json.dumps(entry)) == entry
    assert entry["parameters"] == {"seed": 3, "learning_rate": 0.1} and entry["data"] == {"digits": "abc"}
    assert entry["packages"]["numpy"] == np.__version__ and 2 <= entry["seconds"] < 10
    assert entry["python"] == sys.version.split()[0] and any("torch" in device for device in entry["devices"])


def test_git_is_the_commit_and_whether_it_is_dirty(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True, capture_output=True
        )

    monkeypatch.chdir(tmp_path)
    assert manifest({})["git"] is None
    git("init")
    git("commit", "--allow-empty", "-m", "one")
    clean = manifest({})["git"]
    (tmp_path / "new").touch()
    assert len(clean["commit"]) == 40 and not clean["dirty"] and manifest({})["git"]["dirty"]


def test_a_digest_depends_on_values_shape_and_type_but_not_on_layout():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest(x) == digest(x.copy(order="F")) == digest(x.astype(">f4"))
    others = [x.T, x.reshape(3, 2), x.astype(np.float64), x + 1]
    assert len({digest(x), *map(digest, others)}) == 5


def test_the_data_sets_among_variables_are_known_by_their_content():
    dots, text = data.load("two_moons"), data.Text("hello", "hello", None)
    found = digests_of({"dots": dots, "again": dots, "text": text, "x": dots.x, "name": "two_moons"})
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello", as sha256sum says
    assert found == {"two_moons": digest(dots.x, dots.y), "hello": sha256}
