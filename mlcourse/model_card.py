"""A manifest and recorded numbers into a model card, and a card into what it still lacks.

The sections follow Mitchell et al. (2019), "Model Cards for Model Reporting". What a machine knows (versions, seeds, digests,
numbers) is filled in from the manifest and the records; what only a person knows must be told.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mlcourse.errors import unknown_name
from mlcourse.record import Record

TO_TELL = {  # section: the question that only a person can answer
    "Model": "What goes in, what comes out, and what kind of model is between? Who made it, and when?",
    "Intended use": "Who should use it, and for what?",
    "Not for": "For what must it not be used, though somebody might?",
    "Data": "Where do the data come from, under which licence, and how were they split?",
    "Evaluation": "What was measured, on which examples, and what does doing nothing clever reach?",
    "Limits": "Where does it fail, for whom, and what was never tested?",
}
SECTIONS = (*TO_TELL, "Reproduce", "Compute")
VAGUE = (
    "state of the art",
    "state-of-the-art",
    "very good",
    "high accuracy",
    "excellent",
    "robust",
    "various",
    "etc",
    "some data",
)


class Rule(NamedTuple):
    """What a section must say. `holds(text)` is given the section's text; `words` say what is missing and the cure."""

    section: str
    words: str
    holds: Callable[[str], bool]


def card(name: str, *, manifest: dict, records: Iterable[Record] = (), told: dict[str, str] | None = None) -> str:
    """A model card in Markdown. A section that was not told keeps its question as a TODO, which `problems` finds.

    Args:
        name: of the model.
        manifest: what `mlcourse.repro.manifest` gives.
        records: headline numbers, with their intervals where they have one.
        told: section -> text, for the sections of `TO_TELL`.

    Raises:
        ValueError: a section that is not known.

    >>> text = card("digits", manifest={"python": "3.12.1", "seconds": 3.0}, told={"Intended use": "Teaching, nothing else."})
    >>> text.splitlines()[0], "TODO: For what must it not be used" in text
    ('# Model card: digits', True)

    Built in lesson 08.
    """
    told = dict(told or {})
    for section in told:
        if section not in TO_TELL:
            raise ValueError(unknown_name("section", section, TO_TELL))
    facts = {
        "Data": [f"- {data}: SHA-256 {sha256}" for data, sha256 in manifest.get("data", {}).items()],
        "Evaluation": [describe(record) for record in records],
        "Reproduce": reproduce(manifest),
        "Compute": compute(manifest),
    }
    parts = [f"# Model card: {name}"]
    for section in SECTIONS:
        words = [told.get(section, f"TODO: {TO_TELL[section]}")] if section in TO_TELL else []
        listed = "\n".join(facts.get(section, []))
        parts.append("\n\n".join([f"## {section}", *words, *([listed] if listed else [])]))
    return "\n\n".join(parts) + "\n"


def problems(text: str) -> list[str]:
    """What the card lacks or leaves vague, one sentence each; an empty list when a stranger could work with it.

    A rule finds what is not there. Whether what is there is true, only a reader can say.

    >>> problems("# Model card: digits")[0]
    'Model: the section is missing. What goes in, what comes out, and what kind of model is between? Who made it, and when?'
    """
    found, written = [], sections(text)
    for section in SECTIONS:
        body = written.get(section, "")
        if not body:
            found.append(f"{section}: the section is missing. {TO_TELL.get(section, 'Take it from the manifest.')}")
        elif re.search(r"\bTODO\b|\bTBD\b|\?\?\?", body):
            found.append(f"{section}: a TODO is left. {TO_TELL.get(section, 'Take it from the manifest.')}")
        else:
            vague = [word for word in VAGUE if re.search(rf"\b{re.escape(word)}\b", body, re.IGNORECASE)]
            found += [f"{section}: {word!r} can mean anything. Say what was measured, or leave it out." for word in vague]
            found += [f"{section}: {rule.words}" for rule in RULES if rule.section == section and not rule.holds(body)]
    return found


def sections(text: str) -> dict[str, str]:
    """The text below each heading of the second level.

    >>> sections("# A\\n## Limits\\nNone known.\\n## Data\\n")
    {'Limits': 'None known.', 'Data': ''}
    """
    parts = re.split(r"^## +(.+?) *$", text, flags=re.MULTILINE)[1:]
    return {heading: body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def has(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.search(pattern, text, re.IGNORECASE) is not None


def long_enough(text: str) -> bool:
    return len(text.split()) >= 6


RULES = (
    *(
        Rule(section, f"{TO_TELL[section]} Fewer than six words can't answer that.", long_enough)
        for section in ("Model", "Intended use", "Not for", "Limits")
    ),
    Rule("Data", "no licence is named. Say under which licence the data may be used.", has(r"licen[cs]e|public domain|CC BY")),
    Rule("Data", "no digest. Give the SHA-256 of the data, so that others can compare.", has(r"\b[0-9a-f]{12,}\b")),
    Rule(
        "Data",
        "nothing is said about the split. Say how training, validation and test examples were told apart.",
        has(r"\bsplit"),
    ),
    Rule("Evaluation", "no number. Write down what was measured.", has(r"\d\.\d|\d ?%")),
    Rule(
        "Evaluation",
        "no interval. A number without one can't be compared: give it as [low, high].",
        has(r"\[ ?-?[\d.]+ ?%?, ?-?[\d.]+ ?%? ?\]"),
    ),
    Rule("Evaluation", "not said over how many runs. Give the number of seeds.", has(r"\d+ (seeds|runs)|n ?= ?\d+")),
    Rule(
        "Evaluation",
        "not said on which examples. Name them: the test split, touched once.",
        has(r"\btest (set|split|part|examples|images)"),
    ),
    Rule(
        "Evaluation",
        "nothing to compare with. Say what a baseline reaches: chance, a linear model, the method before.",
        has(r"baseline|chance|guess|majority|linear"),
    ),
    Rule("Reproduce", "no Python version, such as 3.12.1.", has(r"python\W+\d+\.\d+")),
    Rule("Reproduce", "no package with its version, such as jax 0.10.2.", has(r"\b(?!python)[a-z][a-z-]+ \d+\.\d+")),
    Rule("Reproduce", "no seed.", has(r"\bseeds?\b\W+\d+")),
    Rule(
        "Reproduce",
        "no commit. Give the commit of the code, or say that it was under no version control.",
        has(r"commit|version control"),
    ),
    Rule("Compute", "no time. Say how many seconds or hours training took.", has(r"\d+(\.\d+)? ?(s|seconds|minutes|hours)\b")),
    Rule("Compute", "no device. Say on what it was trained.", has(r"cpu|gpu|tpu|nvidia|apple|intel|amd|processor")),
)


def describe(record: Record) -> str:
    runs = f", {record.n} runs" if record.n else ""
    return f"- {record.name.replace('_', ' ')}: {record}{runs}"


def reproduce(manifest: dict) -> list[str]:
    packages = [f"{name} {version}" for name, version in manifest.get("packages", {}).items()]
    git = manifest.get("git")
    commit = f"{git['commit']}{' with changes on top' if git['dirty'] else ''}" if git else "none: no version control"
    settings = [f"{name} {value}" for name, value in manifest.get("parameters", {}).items()]
    return [
        f"- Python {manifest['python']}",
        f"- packages: {', '.join(packages)}",
        f"- commit: {commit}",
        f"- settings: {', '.join(settings)}",
    ]


def compute(manifest: dict) -> list[str]:
    seconds = manifest.get("seconds")
    device = ", ".join(manifest.get("devices", [])) or "device not recorded"
    took = f"{seconds:.3g} seconds" if seconds is not None else "a time that was not recorded"
    return [f"- training took {took} on {device}"]
