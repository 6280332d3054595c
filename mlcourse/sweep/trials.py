"""Grids, lists, seeds and random samples into the list of trials: one dictionary of parameters each."""

import itertools
import json
import math
import random
import re
from collections.abc import Mapping
from typing import Any

import yaml

from mlcourse.errors import unknown_name
from mlcourse.sweep.parameters import (
    MANY,
    Parameter,
    Range,
    SweepError,
    checked,
    checked_range,
    find,
    names_of,
    range_of_text,
)

KEYS = ("parameters", "trials", "samples", "sample_seed")  # of a YAML file


def expand(
    parameters: dict[str, Parameter],
    given: Mapping[str, Any] | None = None,
    *,
    trials: list[Mapping[str, Any]] | None = None,
    samples: int = 0,
    sample_seed: int = 0,
) -> list[dict[str, Any]]:
    """Every trial as the parameters it is given; the last parameter changes fastest.

    Args:
        parameters: what the notebook declares (see `parameters.declared`).
        given: name -> a value, a list of values, or a `Range` to draw from. All combinations are taken; each random
            sample is combined with every combination of the lists, so that it can be run with several seeds.
        trials: dictionaries to be run as they are, combined with every combination of `given`.
        samples: how many samples are drawn when `given` has ranges.
        sample_seed: of the draws. Each parameter has a stream of its own: another parameter changes nothing in it.

    Raises:
        SweepError: an unknown parameter, a wrong type, a bad range, two equal trials, or more than 100,000.

    >>> from mlcourse.sweep.parameters import Kind
    >>> rate = {"rate": Parameter("rate", Kind("float"), "float"), "seed": Parameter("seed", Kind("int"), "int")}
    >>> expand(rate, {"rate": [0.1, 1], "seed": range(2)})
    [{'rate': 0.1, 'seed': 0}, {'rate': 0.1, 'seed': 1}, {'rate': 1.0, 'seed': 0}, {'rate': 1.0, 'seed': 1}]
    """
    lists, ranges = {}, {}
    for name, values in (given or {}).items():
        parameter = find(parameters, name)
        values = listed(parameter, values)
        if isinstance(values, Range):
            ranges[name] = checked_range(parameter, values)
        elif not values:
            raise SweepError(f"{name} has no values; give at least one.")
        else:
            lists[name] = [checked(parameter, value) for value in values]
    drawn = samples_of(parameters, ranges, samples, sample_seed)
    rows = [{name: checked(find(parameters, name), value) for name, value in row.items()} for row in named_rows(trials)]
    size = math.prod(map(len, lists.values())) * len(rows) * len(drawn)
    if size > MANY:
        raise SweepError(f"these lists make {size:,} trials; {MANY:,} are the limit. Take fewer values, or random samples.")
    taken = set(lists) | set(ranges)
    if clash := sorted(taken & {name for row in rows for name in row}):
        raise SweepError(f"{', '.join(clash)} stands both in the list of trials and beside it; give it in one place.")
    grid = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    order = [*(given or {})]
    every = [row | sorted_as(order, sample | point) for row in rows for sample in drawn for point in grid]
    refuse_twins(every)
    return every


def sorted_as(order: list[str], row: dict) -> dict:
    return {name: row[name] for name in order}


def named_rows(trials: Any) -> list[Mapping[str, Any]]:
    if trials is None:
        return [{}]
    if not isinstance(trials, list | tuple) or not trials or not all(isinstance(row, Mapping) for row in trials):
        raise SweepError(f"trials={trials!r} is no list of dictionaries, such as [{{'rate': 0.1}}, {{'rate': 0.2}}].")
    return list(trials)


def listed(parameter: Parameter, values: Any) -> list | Range:
    """What Python or YAML gave, as a list of values or a Range."""
    if isinstance(values, Range):
        return values
    if isinstance(values, Mapping) and "low" in values and names_of(parameter) & {"int", "float"}:
        if unknown := sorted(set(values) - {"low", "high", "log"}):
            raise SweepError(f"{parameter.name}: {unknown_name('key of a range', unknown[0], ('low', 'high', 'log'))}")
        try:
            return Range(float(values["low"]), float(values["high"]), bool(values.get("log", False)))
        except (KeyError, TypeError, ValueError):
            raise SweepError(f"{parameter.name}: a range is {{low: NUMBER, high: NUMBER}}, not {dict(values)}.") from None
    if isinstance(values, str) and "str" not in names_of(parameter):
        found = range_of_text(parameter, values)
        return [values] if found is None else found
    if hasattr(values, "tolist"):  # a NumPy array or number
        values = values.tolist()
    if isinstance(values, range) and len(values) > MANY:
        raise SweepError(f"{parameter.name} has {len(values):,} values; {MANY:,} trials are the limit.")
    if isinstance(values, list | tuple | range):
        return [value.item() if hasattr(value, "item") else value for value in values]
    return [values]


def samples_of(parameters: dict[str, Parameter], ranges: dict[str, Range], samples: int, seed: int) -> list[dict]:
    if not isinstance(samples, int) or isinstance(samples, bool) or not 0 <= samples <= MANY:
        raise SweepError(f"samples={samples!r} is not a whole number from 0 to {MANY:,}.")
    if bool(samples) != bool(ranges):
        raise SweepError(
            f"{', '.join(ranges)} is a range: say how many samples to draw (--samples 20)."
            if ranges
            else f"{samples} samples of nothing: give at least one parameter as a range, such as log:1e-4:1e-1."
        )
    if not ranges:
        return [{}]
    streams = {name: random.Random(f"{seed}:{name}") for name in ranges}  # the same numbers with every Python
    found: dict[tuple, dict] = {}
    for _ in range(100 * samples):  # integers may repeat; every sample is to be a new one
        sample = {name: draw(parameters[name], ranges[name], streams[name]) for name in ranges}
        found.setdefault(tuple(sample.values()), sample)
        if len(found) == samples:
            return list(found.values())
    raise SweepError(
        f"the ranges of {', '.join(ranges)} have only {len(found)} different values for {samples} samples; list them."
    )


def draw(parameter: Parameter, given: Range, stream: random.Random) -> int | float:
    """One number; for an integer parameter both bounds are possible, and each integer has the share of its neighbourhood."""
    whole = "int" in names_of(parameter) and "float" not in names_of(parameter)
    low, high = (given.low - 0.5, given.high + 0.5) if whole else (given.low, given.high)
    share = stream.random()
    value = low * (high / low) ** share if given.log else low + (high - low) * share
    if whole:
        return int(min(max(round(value), given.low), given.high))
    return float(f"{value:.6g}")  # six digits are enough to choose by, and can be read and typed again


def refuse_twins(trials: list[dict]) -> None:
    seen: dict[str, int] = {}
    for number, trial in enumerate(trials):
        key = json.dumps(trial, sort_keys=True)
        if key in seen:
            raise SweepError(f"trials {seen[key]} and {number} are the same, {trial}. Give each value once.")
        seen[key] = number


# YAML


class Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: `1e-3` is a number, `no` and `0:5` are text; a key that stands twice is refused."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise SweepError(f"line {node.start_mark.line + 1}: {key!r} stands there twice; keep one.")
        return super().construct_mapping(node, deep)


INTEGER, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
Loader.add_implicit_resolver(INTEGER, re.compile(r"^[-+]?\d+$"), list("-+0123456789"))
Loader.add_implicit_resolver(
    FLOAT, re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"), list("-+.0123456789")
)
Loader.add_constructor(INTEGER, lambda loader, node: int(loader.construct_scalar(node)))
Loader.add_constructor(FLOAT, lambda loader, node: float(loader.construct_scalar(node)))


def read_yaml(path: str) -> dict[str, Any]:
    """The arguments of `expand` in a YAML file with the keys parameters, trials, samples and sample_seed.

    Raises:
        SweepError: the file is missing, no YAML, or has other keys.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.load(file, Loader)  # a SafeLoader
    except OSError as error:
        raise SweepError(f"{path} can't be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SweepError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except SweepError as error:
        raise SweepError(f"{path}, {error}") from None
    if not isinstance(found, dict):
        raise SweepError(f"{path} has no keys; write `parameters:` and below it one line a parameter.")
    for key in found:
        if key not in KEYS:
            raise SweepError(f"{path}: {unknown_name('key', key, KEYS)}")
    if not isinstance(found.get("parameters") or {}, dict):
        raise SweepError(f"{path}: `parameters` holds one line `name: values` for each parameter.")
    return found
