"""What a sweep runs is known, and checked, before anything runs: the parameters cell, typed values, YAML, ranges, samples."""

import math
from typing import Any

import numpy as np
import pytest

from mlcourse.sweep.parameters import Range, SweepError, checked, declared, values_of_text
from mlcourse.sweep.trials import expand, read_yaml

CELL = """
# what you may change
rate: float = 0.1
seed: int = 0
name: str = "digits"
flag: bool = False
steps: int | None = None
maybe: Optional[float] = 0.5
either: "typing.Union[int, str]" = 3
kind: Literal["adam", "sgd"] = "adam"
sizes: list[int] = [128, 64]
shape: tuple[int, ...] = (8, 8)
options: dict = {}
anything = None
plain = 4
half = 0.5
circle = np.pi
path: Path = Path("here")
"""


def notebook(source: str = CELL, tags: tuple[str, ...] = ("parameters",)) -> dict[str, Any]:
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "# Title"}]
    cells += [{"cell_type": "code", "metadata": {"tags": [tag]}, "source": source} for tag in tags]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


KNOWN = declared(notebook())


# The cell


def test_every_assignment_of_the_cell_is_a_parameter_with_its_type_and_default():
    found = {name: (parameter.kind.name, parameter.default) for name, parameter in KNOWN.items()}
    assert found == {
        "rate": ("float", 0.1), "seed": ("int", 0), "name": ("str", "digits"), "flag": ("bool", False),
        "steps": ("union", None), "maybe": ("union", 0.5), "either": ("union", 3), "kind": ("literal", "adam"),
        "sizes": ("list", [128, 64]), "shape": ("tuple", (8, 8)), "options": ("dict", {}), "anything": ("any", None),
        "plain": ("int", 4), "half": ("float", 0.5), "circle": ("any", None), "path": ("any", None),
    }  # fmt: skip
    assert not KNOWN["circle"].has_default


def test_the_source_may_be_a_list_of_lines():
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["a = 1\n", "b = 2"]}
    assert list(declared({"cells": [cell]})) == ["a", "b"]


@pytest.mark.parametrize("tags, count", [((), 0), (("parameters", "parameters"), 2), (("setup",), 0)])
def test_a_notebook_without_one_parameters_cell_is_refused(tags, count):
    with pytest.raises(SweepError, match=f"{count} code cells are tagged `parameters`; a sweep needs exactly one"):
        declared(notebook(tags=tags))


def test_a_parameters_cell_that_is_not_python_is_refused():
    with pytest.raises(SweepError, match="the parameters cell is not Python: line 2"):
        declared(notebook("rate = 1\nrate: float ="))


# Types

ACCEPTED = [
    ("rate", 0.1, 0.1), ("rate", 1, 1.0), ("seed", 3, 3), ("name", "mnist", "mnist"), ("flag", True, True),
    ("steps", None, None), ("steps", 10, 10), ("maybe", 2, 2.0), ("maybe", None, None), ("either", "x", "x"),
    ("kind", "sgd", "sgd"), ("sizes", [1], [1]),
    ("sizes", (1, 2), [1, 2]), ("shape", [2, 3], (2, 3)), ("options", {"a": [1]}, {"a": [1]}),
    ("anything", "x", "x"), ("anything", [1, "a"], [1, "a"]), ("plain", 5, 5), ("half", 2, 2.0), ("circle", 3, 3),
]  # fmt: skip
REFUSED = [
    ("rate", "0.1"), ("rate", True), ("rate", None), ("rate", math.nan), ("rate", math.inf), ("seed", 1.0), ("seed", True),
    ("seed", "1"), ("name", 1), ("name", None), ("flag", 1), ("flag", "no"), ("steps", 1.5), ("steps", "none"), ("kind", "adm"),
    ("kind", 1), ("sizes", [1.5]), ("sizes", 3), ("shape", ["a"]), ("options", []), ("options", {1: 2}), ("plain", 0.5),
    ("anything", object()), ("anything", {"a": math.nan}), ("either", 1.5),
]  # fmt: skip


@pytest.mark.parametrize("name, value, given", ACCEPTED)
def test_a_value_of_the_declared_type_is_taken(name, value, given):
    found = checked(KNOWN[name], value)
    assert (found, type(found)) == (given, type(given))


@pytest.mark.parametrize("name, value", REFUSED)
def test_a_value_of_another_type_is_refused_with_the_declaration(name, value):
    with pytest.raises(SweepError, match=rf"{name} can't be .*; the notebook says {name}: "):
        checked(KNOWN[name], value)


def test_an_unknown_parameter_is_refused_with_the_known_names():
    with pytest.raises(SweepError, match="unknown parameter 'raet'. Did you mean 'rate'\\? Known: 'anything', .*'seed'"):
        expand(KNOWN, {"raet": 0.1})
    with pytest.raises(SweepError, match="unknown parameter 'sede'"):
        expand(KNOWN, trials=[{"seed": 1}, {"sede": 2}])


# Words of a command line

TEXTS = [
    ("rate", "0.01,1e-3, 1_0", [0.01, 0.001, 10.0]), ("rate", "1", [1.0]), ("rate", "-.5", [-0.5]),
    ("seed", "1_000,010", [1000, 10]),
    ("seed", "0:3", [0, 1, 2]), ("seed", "10:0:-5", [10, 5]), ("seed", "-2:1", [-2, -1, 0]), ("name", "a,b c", ["a", "b c"]),
    ("name", "'a,b'", ["a,b"]), ("name", "0:5", ["0:5"]), ("name", "", [""]), ("flag", "true,False", [True, False]),
    ("steps", "none,5", [None, 5]), ("steps", "0:2", [0, 1]),
    ("maybe", "null,1e-3", [None, 0.001]),
    ("either", "1,a", [1, "a"]), ("kind", "sgd,'adam'", ["sgd", "adam"]), ("sizes", "[1, 2],[3]", [[1, 2], [3]]),
    ("shape", "[2,3]", [(2, 3)]), ("options", '{"a": 1}', [{"a": 1}]),
    ("anything", "1,1e-3,true,x,[1]", [1, 0.001, True, "x", [1]]),
]  # fmt: skip


@pytest.mark.parametrize("name, text, values", TEXTS)
def test_words_become_values_of_the_declared_type(name, text, values):
    found = values_of_text(KNOWN[name], text)
    assert [(value, type(value)) for value in found] == [(value, type(value)) for value in values]


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("rate", "fast", "rate can't be 'fast'; the notebook says rate: float = 0.1"),
        ("rate", "0.1,,0.2", "rate can't be ''"),
        ("rate", "nan", "rate can't be 'nan'"),
        ("seed", "0.5", "seed can't be '0.5'; the notebook says seed: int = 0"),
        ("flag", "yes", "flag can't be 'yes'"),
        ("kind", "adm", "kind can't be 'adm'; the notebook says kind: Literal"),
        ("sizes", "[1,", "sizes can't be"),
        ("seed", "5:0", "the range 5:0 is empty; 0:5 stands for"),
        ("seed", "0:5:0", "the range 0:5:0 is empty"),
        ("seed", "0:1000000000", "the range 0:1000000000 has 1,000,000,000 values; 100,000 trials are the limit"),
        ("seed", "0:", "'0:' is no range for int"),
        ("rate", "0:5", "'0:5' is no range for float; write START:STOP"),
        ("rate", "log:0:1", "a log range can't start at 0; take a small positive number"),
        ("rate", "log:1:0.1", "the range from 1 to 0.1 is empty; the lower bound comes first"),
        ("rate", "log:a:b", "'log:a:b' is no range; write log:LOW:HIGH"),
        ("rate", "uniform:0:inf", "the range from 0 to inf is empty"),
        ("seed", "uniform:0.5:3", "seed is int; its range 0.5 to 3 needs whole bounds"),
    ],
)
def test_a_bad_word_is_refused_with_what_is_wrong(name, text, message):
    with pytest.raises(SweepError, match=message):
        values_of_text(KNOWN[name], text)


# Trials


def test_a_grid_is_every_combination_and_the_last_parameter_changes_fastest():
    found = expand(KNOWN, {"rate": [0.1, 1], "seed": range(3)})
    assert [(trial["rate"], trial["seed"]) for trial in found] == [(r, s) for r in (0.1, 1.0) for s in (0, 1, 2)]
    assert expand(KNOWN) == [{}]
    assert expand(KNOWN, {"rate": np.array([0.5, 1.0]), "seed": np.int64(3)}) == [
        {"rate": 0.5, "seed": 3},
        {"rate": 1.0, "seed": 3},
    ]


def test_a_list_of_trials_is_run_as_it_is_with_every_seed():
    found = expand(KNOWN, {"seed": [0, 1]}, trials=[{"rate": 0.1, "steps": 5}, {"rate": 1}])
    assert found == [
        {"rate": 0.1, "steps": 5, "seed": 0}, {"rate": 0.1, "steps": 5, "seed": 1},
        {"rate": 1.0, "seed": 0}, {"rate": 1.0, "seed": 1},
    ]  # fmt: skip


def test_samples_are_drawn_in_their_range_and_each_is_run_with_every_seed():
    found = expand(KNOWN, {"rate": Range(1e-4, 1e-1, log=True), "plain": Range(1, 3), "seed": [0, 1]}, samples=400)
    rates, wholes = [t["rate"] for t in found[::2]], [t["plain"] for t in found[::2]]
    assert [(t["rate"], t["plain"]) for t in found[1::2]] == list(zip(rates, wholes, strict=True))
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    # A third of a log-uniform draw lies in each decade; the standard deviation of a count of 400 is 9.4.
    assert all(abs(sum(low <= rate < 10 * low for rate in rates) - 133) < 40 for low in (1e-4, 1e-3, 1e-2))
    assert {type(value) for value in wholes} == {int}
    assert all(abs(wholes.count(value) - 133) < 40 for value in (1, 2, 3)), "both bounds, with their fair share"


def test_samples_follow_from_their_seed_and_not_from_other_parameters():
    def rates(seed: int, **given) -> list[float]:
        return [trial["rate"] for trial in expand(KNOWN, {"rate": Range(0, 1), **given}, samples=3, sample_seed=seed)]

    assert rates(7) == rates(7, half=Range(0, 1)) == [0.510828, 0.255048, 0.484513], "the same on every machine"
    assert not set(rates(7)) & set(rates(8))


def test_samples_are_all_different():
    found = expand(KNOWN, {"plain": Range(1, 10)}, samples=10)
    assert sorted(trial["plain"] for trial in found) == list(range(1, 11))
    with pytest.raises(SweepError, match="the ranges of plain have only 10 different values for 11 samples; list them"):
        expand(KNOWN, {"plain": Range(1, 10)}, samples=11)


@pytest.mark.parametrize(
    "given, options, message",
    [
        ({"rate": []}, {}, "rate has no values"),
        ({"rate": "0.1"}, {}, "rate can't be '0.1'"),
        ({"sizes": [1, 2]}, {}, "sizes can't be 1"),
        ({"seed": [1, 1]}, {}, "trials 0 and 1 are the same, {'seed': 1}. Give each value once"),
        ({"rate": Range(0, 1)}, {}, "rate is a range: say how many samples to draw"),
        ({"rate": 0.1}, {"samples": 3}, "3 samples of nothing"),
        ({"rate": Range(0, 1)}, {"samples": -1}, "samples=-1 is not a whole number"),
        ({"rate": Range(1, 1)}, {"samples": 3}, "the range from 1 to 1 is empty"),
        ({"name": Range(0, 1)}, {"samples": 3}, "name is str; only numbers can be drawn"),
        ({"rate": {"low": 1}}, {"samples": 3}, "a range is {low: NUMBER, high: NUMBER}"),
        ({"rate": {"low": 1, "high": 2, "loog": True}}, {"samples": 3}, "unknown key of a range 'loog'. Did you mean 'log'"),
        ({"seed": range(400), "plain": range(400)}, {}, "these lists make 160,000 trials; 100,000 are the limit"),
        ({"seed": range(10**9)}, {}, "seed has 1,000,000,000 values"),
        ({"seed": 0}, {"trials": [{"seed": 1}]}, "seed stands both in the list of trials and beside it"),
        ({}, {"trials": {"seed": 1}}, "is no list of dictionaries"),
        ({}, {"trials": []}, "is no list of dictionaries"),
    ],
)
def test_a_bad_sweep_is_refused_with_what_is_wrong(given, options, message):
    with pytest.raises(SweepError, match=message):
        expand(KNOWN, given, **options)


# YAML


def written(tmp_path, text: str) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return str(path)


def test_a_yaml_file_says_numbers_words_and_ranges_as_they_look(tmp_path):
    found = read_yaml(
        written(
            tmp_path,
            """
parameters:
  rate: [1e-3, 1E-4, 0.01, 1., .5]
  seed: 0:3
  name: [no, on, 'true', 1:30]
  steps: [null, ~, 010]
  flag: true
  maybe: {low: 1e-4, high: 1, log: true}
samples: 2
""",
        )
    )
    given = found["parameters"]
    assert given["rate"] == [0.001, 0.0001, 0.01, 1.0, 0.5]
    assert given["name"] == ["no", "on", "true", "1:30"]
    assert (given["seed"], given["steps"], given["flag"]) == ("0:3", [None, None, 10], True)
    given["steps"] = [None]
    trials = expand(KNOWN, given, samples=found["samples"])
    assert len(trials) == 2 * 5 * 3 * 4
    assert {trial["seed"] for trial in trials} == {0, 1, 2}
    assert all(1e-4 <= trial["maybe"] <= 1 for trial in trials)


@pytest.mark.parametrize(
    "text, message",
    [
        ("parameters:\n  seed: 1\n  seed: 2\n", "line 2: 'seed' stands there twice"),
        ("paramters: {}\n", "unknown key 'paramters'. Did you mean 'parameters'"),
        ("just words\n", "has no keys; write `parameters:`"),
        ("parameters: [1]\n", "`parameters` holds one line"),
        ("a: [1\n", "is not YAML"),
        ("a: !!python/object:os.system {}\n", "is not YAML"),
    ],
)
def test_a_bad_yaml_file_is_refused(tmp_path, text, message):
    with pytest.raises(SweepError, match=message):
        read_yaml(written(tmp_path, text))


def test_a_missing_yaml_file_is_refused(tmp_path):
    with pytest.raises(SweepError, match=r"none.yaml can't be read: No such file"):
        read_yaml(str(tmp_path / "none.yaml"))


def test_text_for_a_number_in_yaml_is_refused(tmp_path):
    given = read_yaml(written(tmp_path, "parameters:\n  rate: ['1e-3']\n"))["parameters"]
    with pytest.raises(SweepError, match="rate can't be '1e-3'"):
        expand(KNOWN, given)
