"""Spaces: there and back, equal shares, parameters that exist only sometimes, and what is refused."""

import collections
import math

import numpy as np
import pytest

from mlcourse.search.space import Categorical, Integer, LogReal, Real, blocks, check_params, check_space, decode, encode, snap

SPACE = {
    "rate": LogReal(1e-4, 1.0),
    "width": Real(-1, 3),
    "layers": Integer(1, 4),
    "optimizer": Categorical(("sgd", "adam", None)),
    "momentum": Real(0, 1, when=("optimizer", "sgd")),
    "nesterov": Categorical((True, False), when=("optimizer", "sgd")),
}


def random_params(seed):
    return decode(np.random.default_rng(seed).random(blocks(SPACE)[-1].stop), SPACE)


@pytest.mark.parametrize("seed", range(20))
def test_parameters_come_back_from_the_cube(seed):
    params = random_params(seed)
    check_params(params, SPACE)
    back = decode(encode(params, SPACE), SPACE)
    assert back.keys() == params.keys()
    assert all(back[k] == pytest.approx(v, rel=1e-12) if isinstance(v, float) else back[k] == v for k, v in params.items())


def test_snapping_twice_is_snapping_once_and_leaves_encoded_points_alone():
    u = np.random.default_rng(0).random((50, blocks(SPACE)[-1].stop))
    once = snap(u, blocks(SPACE))
    np.testing.assert_array_equal(snap(once, blocks(SPACE)), once)
    encoded = np.array([encode(decode(row, SPACE), SPACE) for row in u])
    np.testing.assert_allclose(once, encoded, atol=1e-12)


def test_the_ends_of_the_cube_are_the_ends_of_the_ranges_exactly():
    space = {"a": Real(0.1, 0.3), "b": LogReal(1e-3, 0.7), "c": Integer(-2, 5)}
    assert decode(np.zeros(3), space) == {"a": 0.1, "b": 1e-3, "c": -2}
    assert decode(np.ones(3), space) == {"a": 0.3, "b": 0.7, "c": 5}


def test_half_way_along_a_log_range_is_its_geometric_mean():
    assert decode(np.array([0.5]), {"rate": LogReal(1e-4, 1.0)})["rate"] == pytest.approx(1e-2)


def test_every_whole_number_has_the_same_share():
    counts = collections.Counter(decode(np.array([u]), {"n": Integer(1, 4)})["n"] for u in (np.arange(400) + 0.5) / 400)
    assert counts == {1: 100, 2: 100, 3: 100, 4: 100}


def test_a_parameter_exists_only_with_the_choice_it_depends_on():
    seen = [random_params(seed) for seed in range(60)]
    assert {"momentum" in p for p in seen} == {True, False}
    assert all(("momentum" in p) == ("nesterov" in p) == (p["optimizer"] == "sgd") for p in seen)


def test_what_does_not_exist_makes_no_difference_to_the_model():
    u = encode({"rate": 0.1, "width": 0.0, "layers": 2, "optimizer": "adam"}, SPACE)
    other = u.copy()
    other[blocks(SPACE)[4].start] = 0.9  # the momentum of Adam
    np.testing.assert_allclose(snap(other[None], blocks(SPACE))[0], u, atol=1e-12)


@pytest.mark.parametrize(
    "space, error, message",
    [
        ({}, ValueError, "no parameters. Pass a dict"),
        ({"x": (0, 1)}, TypeError, r"'x' is \(0, 1\), which is no parameter. .* such as Real\(0, 1\)"),
        ({"x": Real(2, 1)}, ValueError, "low=2 not below high=1. Swap them"),
        ({"x": Real(1, 1)}, ValueError, "low=1 not below high=1. Leave a constant out"),
        ({"x": Real(0, math.inf)}, ValueError, "two finite numbers"),
        ({"x": Real(0, "1")}, ValueError, "two finite numbers"),
        ({"x": LogReal(0, 1)}, ValueError, "no logarithm at 0. Take a low above 0, for example 0.001"),
        ({"x": LogReal(-1, 1)}, ValueError, "no logarithm at -1"),
        ({"x": Integer(0, 1.5)}, ValueError, "whole numbers. Use Real"),
        ({"x": Integer(3, 2)}, ValueError, "Swap them"),
        ({"x": Categorical(())}, ValueError, "tuple of different choices"),
        ({"x": Categorical(("a", "a"))}, ValueError, "tuple of different choices"),
        ({"x": Categorical("ab")}, ValueError, "tuple of different choices"),
        ({"x": Real(0, 1, when=("o", "a"))}, ValueError, "no Categorical 'o' comes first. Put one"),
        ({"o": Categorical(("a", "b")), "x": Real(0, 1, when=("o", "c"))}, ValueError, "'c', which is none of its choices"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space, error, message):
    with pytest.raises(error, match=message):
        check_space(space)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lr": 0.1}, "unknown parameter 'lr'"),
        ({"layers": None}, "'layers' is missing"),
        ({"rate": 2.0}, "'rate' is 2.0, but must be a number from 0.0001 to 1.0"),
        ({"width": math.nan}, "'width' is nan, but must be a number"),
        ({"layers": 2.5}, "'layers' is 2.5, but must be a whole number from 1 to 4"),
        ({"layers": "two"}, "'layers' is 'two', but must be a whole number"),
        ({"optimizer": "lion"}, "'lion', which is none of its choices"),
        ({"momentum": 0.9}, "'momentum' exists only when 'optimizer' is 'sgd'"),
    ],
)
def test_parameters_that_are_no_point_of_the_space_are_refused(change, message):
    params = {"rate": 0.1, "width": 0.0, "layers": 2, "optimizer": "adam"} | change
    with pytest.raises(ValueError, match=message):
        check_params({k: v for k, v in params.items() if not (k == "layers" and v is None)}, SPACE)


def test_a_space_of_every_kind_is_accepted():
    check_space(SPACE)
