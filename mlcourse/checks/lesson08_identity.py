"""Exercises of lesson 08 on what a thing is: a split by hash, a run's name from its settings, a manifest."""

import hashlib
import json
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy

# 8.1 hash_split(names, *, validation, test, salt) -> "train", "validation" or "test" for each name


def _split_cases() -> dict:
    def case(names: list[str], validation: float, test: float, salt: str = "digits") -> dict:
        return {"names": names, "validation": validation, "test": test, "salt": salt}

    names = [f"scan_{i:03}.png" for i in range(12)]
    return {
        "twelve names": case(names, 0.25, 0.25),
        "the same names in another order": case([names[i] for i in np.random.default_rng(81).permutation(12)], 0.25, 0.25),
        "a name that occurs three times": case(["b.png", "a.png", "b.png", "c.png", "b.png"], 0.4, 0.3),
        "another salt": case(names, 0.25, 0.25, "letters"),
        "no validation part": case(names[:6], 0.0, 0.5),
        "letters outside ASCII": case(["Zürich", "São Paulo", "北京", "Oslo", "Kraków", "Łódź", "Århus"], 0.3, 0.4),
        "most for the test": case(names, 0.3, 0.6),
    }


def _run_split(answer: Callable, names: list[str], validation: float, test: float, salt: str) -> Any:
    parts = answer(names, validation=validation, test=test, salt=salt)
    return [str(part) for part in parts] if isinstance(parts, Iterable) and not isinstance(parts, str) else parts


def _unit(name: str, salt: str) -> float:
    return int(hashlib.sha256(f"{salt}:{name}".encode()).hexdigest()[:16], 16) / 2**64


def _part(u: float, validation: float, test: float) -> str:
    return "test" if u < test else "validation" if u < test + validation else "train"


def _split(unit: Callable = _unit, part: Callable = _part) -> Callable:
    def hash_split(names: list[str], *, validation: float, test: float, salt: str) -> list[str]:
        return [part(unit(name, salt), validation, test) for name in names]

    return hash_split


def _by_position(shuffled: bool) -> Callable:
    def hash_split(names: list[str], *, validation: float, test: float, salt: str) -> list[str]:
        places = np.random.default_rng(0).permutation(len(names)) if shuffled else range(len(names))
        return [_part(place / len(names), validation, test) for place in places]

    return hash_split


def _by_quota(names: list[str], *, validation: float, test: float, salt: str) -> list[str]:
    order = sorted(range(len(names)), key=lambda i: _unit(names[i], salt))
    place = {i: rank for rank, i in enumerate(order)}
    return [_part(place[i] / len(names), validation, test) for i in range(len(names))]


def _named_hash(kind: str) -> Callable:
    return lambda name, salt: int(hashlib.new(kind, f"{salt}:{name}".encode()).hexdigest()[:16], 16) / 2**64


HASH_SPLIT = Exercise(
    id="8.1",
    name="hash_split",
    title="A split that survives everything",
    minutes=15,
    difficulty=1,
    cases=_split_cases,
    reference=_split(),
    run=_run_split,
    mistakes=(
        Mistake(
            "The part depends on the place in the list: sort the files, or add one, and test examples become training "
            "examples. Compute it from the name alone.",
            _by_position(shuffled=False),
        ),
        Mistake(
            "The part depends on the place in the list: sort the files, or add one, and test examples become training "
            "examples. A seed does not help. Compute it from the name alone.",
            _by_position(shuffled=True),
        ),
        Mistake(
            "Python's `hash` of a text is another one in every process. Use `hashlib.sha256`, which is the same for ever.",
            _split(lambda name, salt: (hash(f"{salt}:{name}") % 2**64) / 2**64),
        ),
        Mistake(
            "Python's `hash` of a text is another one in every process. Use `hashlib.sha256`, which is the same for ever.",
            _split(lambda name, salt: (hash(f"{salt}:{name}") % 1000) / 1000),
        ),
        Mistake(
            "The salt is not used, so every project that splits these names tests on the same ones. Hash `salt:name`.",
            _split(lambda name, salt: int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 2**64),
        ),
        Mistake(
            "Salt and name were joined without the colon, so ('a', 'bc') and ('ab', 'c') are the same text.",
            _split(lambda name, salt: int(hashlib.sha256(f"{salt}{name}".encode()).hexdigest()[:16], 16) / 2**64),
        ),
        Mistake("This is MD5. The exercise asks for SHA-256.", _split(_named_hash("md5"))),
        Mistake(
            "The *last* 16 digits of the digest were taken. They are as random as the first; but a split is only the same "
            "for all if all take the same.",
            _split(lambda name, salt: int(hashlib.sha256(f"{salt}:{name}".encode()).hexdigest()[-16:], 16) / 2**64),
        ),
        Mistake(
            "The whole digest modulo 100 was used, so a fraction of 0.125 can't be met. Use the first 16 digits / 2**64.",
            _split(lambda name, salt: int(hashlib.sha256(f"{salt}:{name}".encode()).hexdigest(), 16) % 100 / 100),
        ),
        Mistake(
            "The lowest numbers went to validation and the next ones to test. It is the other way round: test first.",
            _split(
                part=lambda u, validation, test: {"test": "validation", "validation": "test"}.get(
                    _part(u, test, validation), "train"
                )
            ),
        ),
        Mistake(
            "`u < validation` is tested where u is already above `test`: the validation part is too small, or empty. Compare "
            "with test + validation.",
            _split(part=lambda u, validation, test: "test" if u < test else "validation" if u < validation else "train"),
        ),
        Mistake(
            "`validation` was taken as a share of what the test part left over. It is a share of all examples.",
            _split(
                part=lambda u, validation, test: (
                    "test" if u < test else "validation" if (u - test) / (1 - test) < validation else "train"
                )
            ),
        ),
        Mistake(
            "The names were ranked by their hash, and the parts filled to an exact size. Then one new example can push "
            "another one across the border. Let each name decide for itself.",
            _by_quota,
        ),
        Mistake(
            "The highest numbers went to the test part. It is the lowest: u < test.",
            _split(part=lambda u, validation, test: _part(1 - u, validation, test)),
        ),
    ),
    hints=(
        "A name decides for itself, without looking at the others or at its place.",
        "`hashlib.sha256(text.encode()).hexdigest()` is a text of 64 digits; `int(digits[:16], 16) / 2**64` lies in [0, 1).",
        "`'test' if u < test else 'validation' if u < test + validation else 'train'`.",
    ),
)


# 8.3 run_name(config) -> eight hexadecimal digits


def _name_cases() -> dict:
    base = {"learning_rate": 0.1, "width": 64, "schedule": {"kind": "cosine", "warmup": 100}, "seed": 0}
    return {
        "four settings": {"config": base},
        "the same in another order": {
            "config": {"seed": 0, "schedule": {"warmup": 100, "kind": "cosine"}, "width": 64, "learning_rate": 0.1}
        },
        "another seed": {"config": base | {"seed": 1}},
        "two values exchanged": {"config": base | {"learning_rate": 64, "width": 0.1}},
        "None, a truth value and a list": {"config": {"decay": None, "nesterov": True, "widths": [64, 32]}},
        "nothing set": {"config": {}},
    }


def _name(text: Callable, finish: Callable = lambda text: hashlib.sha256(text.encode()).hexdigest()[:8]) -> Callable:
    return lambda config: finish(text(config))


def _sorted_json(config: dict) -> str:
    return json.dumps(config, sort_keys=True)


RUN_NAME = Exercise(
    id="8.3",
    name="run_name",
    title="A name for a run",
    minutes=10,
    difficulty=1,
    cases=_name_cases,
    reference=_name(_sorted_json),
    run=lambda answer, config: answer(config),
    mistakes=(
        Mistake(
            "The name depends on the order in which the settings were written down. Sort the keys, the inner ones too: "
            "`json.dumps(config, sort_keys=True)`.",
            _name(json.dumps),
        ),
        Mistake(
            "This is the text Python prints for a dict, in the order it was written. Use `json.dumps(config, sort_keys=True)`, "
            "which is the same for every order and can be made in every language.",
            _name(str),
        ),
        Mistake(
            "Only the outer keys were sorted; the order inside `schedule` still changes the name. `sort_keys=True` of "
            "`json.dumps` sorts at every depth.",
            _name(lambda config: json.dumps(dict(sorted(config.items())))),
        ),
        Mistake(
            "The pairs were sorted, but printed by Python, with the inner dicts as they were written. Use "
            "`json.dumps(config, sort_keys=True)`.",
            _name(lambda config: str(sorted(config.items()))),
        ),
        Mistake(
            "Only the names of the settings are in the name, not their values: all runs would be called the same.",
            _name(lambda config: json.dumps(sorted(config))),
        ),
        Mistake(
            "Only the values are in the name: a learning rate of 64 and a width of 0.1 looks like its opposite.",
            _name(lambda config: json.dumps([config[key] for key in sorted(config)], sort_keys=True)),
        ),
        Mistake(
            "The seed is left out, so two seeds of one setting overwrite each other.",
            _name(lambda config: _sorted_json({key: value for key, value in config.items() if key != "seed"})),
        ),
        Mistake(
            "This is MD5. The exercise asks for SHA-256.",
            _name(_sorted_json, lambda t: hashlib.md5(t.encode()).hexdigest()[:8]),
        ),
        Mistake(
            "This is SHA-1. The exercise asks for SHA-256.",
            _name(_sorted_json, lambda t: hashlib.sha1(t.encode()).hexdigest()[:8]),
        ),
        Mistake(
            "These are all 64 digits. The first eight will do.",
            _name(_sorted_json, lambda t: hashlib.sha256(t.encode()).hexdigest()),
        ),
        Mistake(
            "These are the last eight digits. Take the first.",
            _name(_sorted_json, lambda t: hashlib.sha256(t.encode()).hexdigest()[-8:]),
        ),
        Mistake(
            "Python's `hash` of a text is another one in every process. Use `hashlib.sha256`.",
            _name(_sorted_json, lambda t: f"{hash(t) & 0xFFFFFFFF:08x}"),
        ),
    ),
    hints=(
        "Two dicts with the same settings must become the same text, whatever the order in which they were written.",
        "`json.dumps(config, sort_keys=True)` sorts at every depth; `hashlib.sha256(text.encode()).hexdigest()[:8]`.",
    ),
)


# 8.7 manifest(parameters, arrays, *, packages) -> a dict that JSON can hold


def _manifest_cases() -> dict:
    rng = np.random.default_rng(87)
    wide = rng.normal(size=(4, 6)).astype(np.float32)
    large = np.arange(5000, dtype=np.float64)
    changed = large.copy()
    changed[2500] += 1e-9
    return {
        "two small arrays": {
            "parameters": {"seed": 3, "learning_rate": 0.1},
            "arrays": {"x": wide, "y": np.arange(4, dtype=np.int32)},
            "packages": ["numpy", "ipywidgets"],
        },
        "a large array": {"parameters": {"seed": 0}, "arrays": {"x": large}, "packages": ["numpy"]},
        "the large array with one value changed by 1e-9": {
            "parameters": {"seed": 0},
            "arrays": {"x": changed},
            "packages": ["numpy"],
        },
        "every second column, and a package that is not installed": {
            "parameters": {"hidden": [64, 32], "schedule": "cosine", "nesterov": False},
            "arrays": {"x": wide[:, ::2]},
            "packages": ["numpy", "a-package-nobody-wrote"],
        },
        "no data": {"parameters": {}, "arrays": {}, "packages": ["jax", "scipy"]},
    }


def _run_manifest(answer: Callable, parameters: dict, arrays: dict, packages: list[str]) -> Any:
    """The manifest as JSON gives it back, after the caller went on to change a parameter."""
    given = json.loads(json.dumps(parameters))
    found = answer(given, arrays, packages=packages)
    given["seed"] = "changed later"
    return json.loads(json.dumps(found))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _bytes_digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(as_numpy(array)).tobytes()).hexdigest()


def _manifest(
    *,
    digest: Callable = _bytes_digest,
    python: Callable = platform.python_version,
    versions: Callable = lambda names: {name: _version(name) for name in names if _version(name)},
    parameters: Callable = dict,
    finish: Callable = lambda entry: entry,
) -> Callable:
    def manifest(given: dict, arrays: dict, *, packages: list[str]) -> Any:
        return finish(
            {
                "python": python(),
                "packages": versions(packages),
                "parameters": parameters(given),
                "data": {name: digest(array) for name, array in arrays.items()},
            }
        )

    return manifest


_TEXT = (
    "The digest is that of the array's *text*, and NumPy prints a large array with `...` in the middle: most of its values "
    "could change unseen. Hash the bytes: `np.ascontiguousarray(array).tobytes()`."
)

MANIFEST = Exercise(
    id="8.7",
    name="manifest",
    title="What a result rests on",
    minutes=15,
    difficulty=2,
    cases=_manifest_cases,
    reference=_manifest(),
    run=_run_manifest,
    mistakes=(
        Mistake(_TEXT, _manifest(digest=lambda a: hashlib.sha256(str(as_numpy(a)).encode()).hexdigest())),
        Mistake(_TEXT, _manifest(digest=lambda a: hashlib.sha256(repr(as_numpy(a)).encode()).hexdigest())),
        Mistake(
            "The parameters are the caller's own dict: the manifest changed when the caller changed a setting later. Keep a "
            "copy, `dict(parameters)`.",
            _manifest(parameters=lambda given: given),
        ),
        Mistake(
            "This is the whole text of `sys.version`, with the compiler and the build date. `platform.python_version()` is the "
            "version alone.",
            _manifest(python=lambda: __import__("sys").version),
        ),
        Mistake(
            "The Python version lacks its last part. 3.12.1 and 3.12.9 differ; write down all of it.",
            _manifest(python=lambda: ".".join(platform.python_version_tuple()[:2])),
        ),
        Mistake(
            "A package that is not installed has an entry. Leave it out: what was not there, the result does not rest on.",
            _manifest(versions=lambda names: {name: _version(name) for name in names}),
        ),
        Mistake(
            "A package that is not installed has an entry. Leave it out: what was not there, the result does not rest on.",
            _manifest(versions=lambda names: {name: _version(name) or "not installed" for name in names}),
        ),
        Mistake(
            "A package that is not installed ended the run: `metadata.version` raises `PackageNotFoundError`. Catch it, and "
            "leave the package out.",
            _manifest(versions=lambda names: {name: metadata.version(name) for name in names}),
        ),
        Mistake(
            "The packages are a list of names. Their versions are what matters: a dict, name -> version.",
            _manifest(versions=list),
        ),
        Mistake(
            "The data are in the manifest themselves. Write their SHA-256: sixty-four digits instead of a million numbers.",
            _manifest(digest=lambda a: as_numpy(a).tolist()),
        ),
        Mistake(
            "Only the shapes of the data are kept. Other numbers of the same shape would go unseen.",
            _manifest(digest=lambda a: str(as_numpy(a).shape)),
        ),
        Mistake(
            "This is MD5. The exercise asks for SHA-256.",
            _manifest(digest=lambda a: hashlib.md5(np.ascontiguousarray(as_numpy(a)).tobytes()).hexdigest()),
        ),
        Mistake(
            "Python's `hash` of bytes is another one in every process. Use `hashlib.sha256`.",
            _manifest(digest=lambda a: str(hash(np.ascontiguousarray(as_numpy(a)).tobytes()))),
        ),
        Mistake(
            "The manifest is a text already. Return the dict; whoever saves it turns it into JSON.",
            _manifest(finish=json.dumps),
        ),
    ),
    hints=(
        "`platform.python_version()`, `importlib.metadata.version(name)`, `hashlib.sha256(bytes).hexdigest()`.",
        "`metadata.version` raises `metadata.PackageNotFoundError` where there is no such package.",
        "`np.ascontiguousarray(array).tobytes()` gives the values' bytes; a text such as `str(array)` leaves most of a large "
        "array out.",
    ),
)
