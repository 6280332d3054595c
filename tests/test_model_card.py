"""Model cards: facts come from the manifest, and the checker names what is missing or vague."""

import time

import pytest

from mlcourse.model_card import RULES, SECTIONS, TO_TELL, card, problems, sections
from mlcourse.record import Record
from mlcourse.repro import manifest

FACTS = {
    "python": "3.12.1",
    "packages": {"jax": "0.10.2", "numpy": "2.3.0"},
    "devices": ["jax cpu"],
    "git": {"commit": "0123456789abcdef", "dirty": True},
    "parameters": {"seed": 3, "learning_rate": 0.1},
    "data": {"digits": "ab" * 32},
    "seconds": 12.34,
}
TOLD = {
    "Model": "A network of two hidden layers that reads an image and names one of ten digits.",
    "Intended use": "For lessons on machine learning, and for trying tools.",
    "Not for": "Never for reading forms: 13 writers wrote all of its digits.",
    "Data": "Digits of the UCI repository, licence CC BY 4.0, split by a hash of the image.",
    "Evaluation": "The share of wrong answers on the test split; a linear model reaches 0.05.",
    "Limits": "Writers it has not seen: they were never tested, and are likely to do worse.",
}
RECORDS = [Record("test_error", 0.031, 0.028, 0.034, 5), Record("epochs", 20.0)]


def complete():
    return card("digits", manifest=FACTS, records=RECORDS, told=TOLD)


def test_a_complete_card_has_no_problems_and_says_what_the_manifest_says():
    text = complete()
    assert problems(text) == []
    assert list(sections(text)) == list(SECTIONS)
    for fact in (
        "3.12.1",
        "jax 0.10.2",
        "0123456789abcdef with changes on top",
        "seed 3",
        "ab" * 32,
        "12.3 seconds on jax cpu",
    ):
        assert fact in text
    assert "- test error: 0.031 [0.028, 0.034], 5 runs" in text and "- epochs: 20\n" in text


def test_a_real_manifest_makes_a_card_whose_facts_pass():
    entry = manifest({"seed": 0}, data={"digits": "ab" * 32}, started=time.time()) | {"devices": ["jax cpu"]}
    assert problems(card("digits", manifest=entry, records=RECORDS, told=TOLD)) == []
    outside = card("digits", manifest=entry | {"git": None}, records=RECORDS, told=TOLD)
    assert problems(outside) == [] and "commit: none: no version control" in outside


@pytest.mark.parametrize("section", TO_TELL)
def test_what_was_not_told_stands_as_a_question_and_is_found(section):
    told = {name: text for name, text in TOLD.items() if name != section}
    text = card("digits", manifest=FACTS, records=RECORDS, told=told)
    assert problems(text) == [f"{section}: a TODO is left. {TO_TELL[section]}"]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_is_missing_or_empty_is_named(section):
    text = complete()
    start = text.index(f"## {section}\n")
    stop = text.find("\n## ", start)
    rest = text[stop:] if stop > 0 else ""
    (missing,) = problems(text[:start] + rest)
    assert missing.startswith(f"{section}: the section is missing.")
    assert problems(text[:start] + f"## {section}\n" + rest) == [missing]


@pytest.mark.parametrize(
    "before, after, found",
    [
        ("For lessons on machine learning, and for trying tools.", "Digits.", "Intended use: Who should use it"),
        ("licence CC BY 4.0, ", "", "Data: no licence is named"),
        ("SHA-256 " + "ab" * 32, "on request", "Data: no digest"),
        ("split by a hash", "told apart by a hash", "Data: nothing is said about the split"),
        ("0.031 [0.028, 0.034], 5 runs", "0.031, 5 runs", "Evaluation: no interval"),
        (", 5 runs", "", "Evaluation: not said over how many runs"),
        ("on the test split", "on some images", "Evaluation: not said on which examples"),
        ("; a linear model reaches 0.05", "", "Evaluation: nothing to compare with"),
        ("- Python 3.12.1", "- a recent Python", "Reproduce: no Python version"),
        ("jax 0.10.2, numpy 2.3.0", "jax, numpy", "Reproduce: no package with its version"),
        ("seed 3, ", "", "Reproduce: no seed"),
        ("- commit: 0123456789abcdef with changes on top\n", "", "Reproduce: no commit"),
        ("12.3 seconds", "not long", "Compute: no time"),
        (" on jax cpu", " on a machine", "Compute: no device"),
    ],
)
def test_what_a_section_lacks_is_named(before, after, found):
    text = complete()
    assert before in text
    assert [words.startswith(found) for words in problems(text.replace(before, after))] == [True]


def test_words_that_can_mean_anything_are_named():
    text = complete().replace("to do worse", "to do worse, but it is robust")
    assert problems(text) == ["Limits: 'robust' can mean anything. Say what was measured, or leave it out."]
    assert problems(complete().replace("tools.", "tools, etc.")) == [
        "Intended use: 'etc' can mean anything. Say what was measured, or leave it out."
    ]


def test_a_number_is_asked_for_where_there_is_none():
    told = TOLD | {"Evaluation": "Errors on the test split are below those of a linear model."}
    found = problems(card("digits", manifest=FACTS, told=told))
    assert found[0] == "Evaluation: no number. Write down what was measured." and len(found) == 3


def test_every_rule_belongs_to_a_section():
    assert {rule.section for rule in RULES} == set(SECTIONS)


def test_an_unknown_section_is_refused():
    with pytest.raises(ValueError, match="unknown section 'Limit'. Did you mean 'Limits'?"):
        card("digits", manifest=FACTS, told={"Limit": "none"})
