"""Exercise of lesson 08 on model cards: a function that writes one which leaves no question open."""

import re
from collections.abc import Callable

from mlcourse import model_card
from mlcourse.checks.engine import Exercise, Property
from mlcourse.record import Record

# 8.9 card(manifest, result) -> Markdown


def _card_cases() -> dict:
    def case(python: str, packages: dict, git: dict | None, seed: int, sha256: str, result: dict) -> dict:
        manifest = {
            "python": python,
            "packages": packages,
            "devices": ["jax cpu"],
            "git": git,
            "parameters": {"seed": seed, "learning_rate": 0.1},
            "data": {"digits": sha256},
            "seconds": 12.5 + seed,
        }
        return {"manifest": manifest, "result": result}

    return {
        "a run from a clean commit": case(
            "3.12.1",
            {"jax": "0.10.2", "numpy": "2.3.0"},
            {"commit": "4be1cafe99d0", "dirty": False},
            3,
            "ab12" * 16,
            {"test_error": 0.031, "low": 0.028, "high": 0.034, "seeds": 5, "baseline": 0.052},
        ),
        "another run, under no version control": case(
            "3.11.9",
            {"torch": "2.13.0"},
            None,
            8,
            "90fe" * 16,
            {"test_error": 0.2, "low": 0.15, "high": 0.25, "seeds": 12, "baseline": 0.9},
        ),
        "a run with uncommitted changes": case(
            "3.13.0",
            {"numpy": "2.1.3", "flax": "0.12.0"},
            {"commit": "77aa01b2c3d4", "dirty": True},
            0,
            "5c5c" * 16,
            {"test_error": 0.0456, "low": 0.0401, "high": 0.0511, "seeds": 7, "baseline": 0.061},
        ),
    }


TOLD = {
    "Model": "A network of two hidden layers that takes an image of 8 x 8 pixels and names one of ten digits.",
    "Intended use": "For lessons on machine learning, and for trying tools on a laptop.",
    "Not for": "Not for reading forms, cheques or anything else that matters to somebody.",
    "Data": "The digits of scikit-learn, licence CC BY 4.0, split by a hash of the image.",
    "Evaluation": "The share of wrong answers on the test split. A linear baseline reaches {baseline:.3g}.",
    "Limits": "The same writers are in all parts of the split; its error on other people was never measured.",
}


def _reference(manifest: dict, result: dict) -> str:
    """One right card; only its kind is compared, for the words are the reader's own."""
    number = Record("test_error", result["test_error"], result["low"], result["high"], result["seeds"])
    told = TOLD | {"Evaluation": TOLD["Evaluation"].format(**result)}
    return model_card.card("digits", manifest=manifest, records=[number], told=told)


def _said(facts: Callable[[dict, dict], list[str]]) -> Callable:
    """Whether the card holds all these texts, which are made from the manifest and the result."""

    def holds(run: Callable, manifest: dict, result: dict) -> bool:
        text = str(run(manifest=manifest, result=result))
        return all(words in text for words in facts(manifest, result))

    return holds


def _matches(pattern: Callable[[dict, dict], str]) -> Callable:
    def holds(run: Callable, manifest: dict, result: dict) -> bool:
        text = str(run(manifest=manifest, result=result))
        return re.search(pattern(manifest, result), text, re.IGNORECASE) is not None

    return holds


def _without(section: str, beginning: str) -> Callable:
    def holds(run: Callable, manifest: dict, result: dict) -> bool:
        found = model_card.problems(str(run(manifest=manifest, result=result)))
        return not any(words.startswith(f"{section}: {beginning}") for words in found)

    return holds


def _rules() -> tuple[Property, ...]:
    """One property for everything `mlcourse.model_card.problems` can say."""
    rules = []
    for section in model_card.SECTIONS:
        question = model_card.TO_TELL.get(section, "")
        rules += [
            Property(
                f"The section `## {section}` is missing or empty. {question}".strip(),
                _without(section, "the section is missing"),
            ),
            Property(f"`## {section}`: a TODO is left. {question}".strip(), _without(section, "a TODO is left")),
        ]
        rules += [
            Property(
                f"`## {section}`: {word!r} can mean anything. Say what was measured, or leave it out.",
                _without(section, repr(word)),
            )
            for word in model_card.VAGUE
        ]
        rules += [
            Property(f"`## {section}`: {rule.words}", _without(section, rule.words))
            for rule in model_card.RULES
            if rule.section == section
        ]
    return tuple(rules)


def _clean_is_not_called_dirty(run: Callable, manifest: dict, result: dict) -> bool:
    text = str(run(manifest=manifest, result=result)).lower()
    git = manifest["git"]
    told = any(word in text for word in ("changes", "changed", "dirty", "modified", "uncommitted"))
    return told if git and git["dirty"] else True


MODEL_CARD = Exercise(
    id="8.9",
    name="card",
    title="A card that goes with the model",
    minutes=25,
    difficulty=2,
    cases=_card_cases,
    reference=_reference,
    compare="shapes",
    properties=(
        *_rules(),
        Property(
            "The test error, or an end of its interval, is not the one in `result`. Don't type numbers into a card: write "
            '`{result["test_error"]:.3g}`, so that the next run has its own.',
            _said(lambda manifest, result: [f"{result[name]:.3g}" for name in ("test_error", "low", "high")]),
        ),
        Property(
            'The number of seeds is not the one in `result`. Write `{result["seeds"]} seeds`.',
            _matches(lambda manifest, result: rf"\b{result['seeds']} (seeds|runs)|n ?= ?{result['seeds']}\b"),
        ),
        Property(
            "The baseline's error is not on the card. Without it nobody knows whether the model learned anything.",
            _said(lambda manifest, result: [f"{result['baseline']:.3g}"]),
        ),
        Property(
            "The digest of the data is not the one in the manifest.",
            _said(lambda manifest, result: list(manifest["data"].values())),
        ),
        Property(
            "The Python version or a package's version is not the one in the manifest. Go through "
            '`manifest["packages"].items()`.',
            _said(lambda manifest, result: [manifest["python"], *manifest["packages"].values()]),
        ),
        Property(
            "The seed is not the one in the manifest's parameters.",
            _matches(lambda manifest, result: rf"seed\W+{manifest['parameters']['seed']}\b"),
        ),
        Property(
            "The commit is not the one in the manifest. `git` can be None, too: then say that there was no version control.",
            _said(lambda manifest, result: [manifest["git"]["commit"]] if manifest["git"] else []),
        ),
        Property(
            "The code had uncommitted changes (`dirty`), and the card does not say so: the commit alone won't give this "
            "result.",
            _clean_is_not_called_dirty,
        ),
        Property("The seconds are not those of the manifest.", _said(lambda manifest, result: [f"{manifest['seconds']:.3g}"])),
    ),
    hints=(
        "Eight headings of the second level, in this order: " + ", ".join(f"`## {name}`" for name in model_card.SECTIONS) + ".",
        "What a person knows, you write. What the machine knows comes from `manifest` and `result`, in an f-string.",
        "`model_card.problems(card(manifest, result))` lists what is missing; `model_card.card` of the package shows how the "
        "facts can be written.",
    ),
)
