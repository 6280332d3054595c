"""Submissions into a page for reading (HTML, one file) and a table for counting (CSV)."""

import csv
import html
import io
from collections import Counter
from collections.abc import Iterable

from mlcourse.report.submission import Submission, number

MARKS = {"right": "✓", "wrong": "✗", "not attempted": "–", "not reached": "?"}
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #d8d8d8; text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: #f3f3f3; }
.scroll { overflow-x: auto; } .right { background: #e6f4ea; } .wrong { background: #fdeeea; } .problem { background: #fff4d6; }
details { margin: .4rem 0; } pre { white-space: pre-wrap; background: #f7f7f7; padding: .5rem; }
"""


def mistakes(submissions: Iterable[Submission]) -> list[tuple[str, str, list[str]]]:
    """(exercise, the words of a mistake, who made it), the most frequent first; a wrong answer without a name has ""."""
    made: dict[tuple[str, str], dict[str, None]] = {}
    for one in submissions:
        for exercise, answer in one.answers.items():
            unknown = [""] if answer.state == "wrong" and not answer.mistakes else []
            for words in (*answer.mistakes, *unknown):
                made.setdefault((exercise, words), {})[one.student] = None
    order = sorted(made, key=lambda key: (-len(made[key]), number(key[0]), key[1]))
    return [(exercise, words, [*made[exercise, words]]) for exercise, words in order]


def as_csv(submissions: Iterable[Submission]) -> str:
    """One line a student and exercise, and one a student whose notebook came to nothing.

    Columns: student, lesson, exercise, title, state, mistakes (joined by " | "), message (its first two lines), problem,
    errors, seconds.
    """
    text = io.StringIO()
    columns = ["student", "lesson", "exercise", "title", "state", "mistakes", "message", "problem", "errors", "seconds"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for one in submissions:
        known = titles(one.answers)
        for exercise, answer in one.answers.items() or [("", None)]:
            mine = [known.get(exercise, ""), answer.state, " | ".join(answer.mistakes)] if answer else ["", "", ""]
            message = " ".join(answer.message.splitlines()[1:3]) if answer and answer.state == "wrong" else ""
            rest = [message, one.problem or "", " | ".join(one.errors), one.seconds]
            writer.writerow(map(harmless, [one.student, one.lesson or "", exercise, *mine, *rest]))
    return text.getvalue()


def harmless(value: object) -> object:
    """The value so that a spreadsheet does not take it for a formula.

    >>> harmless("=1+1"), harmless(0.5)
    ("'=1+1", 0.5)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def titles(exercises: Iterable[str]) -> dict[str, str]:
    """The titles of those exercises that the course has."""
    from mlcourse.checks import engine

    lessons = {number(exercise)[0] for exercise in exercises}
    return {exercise.id: exercise.title for lesson in lessons for exercise in engine.exercises(lesson)}


def as_html(submissions: list[Submission], *, held_back: str, made: str) -> str:
    """The page: who solved what, a table of mistakes, and what to read for each student.

    Args:
        held_back: what the notebooks could not do, in words.
        made: when the report was made.
    """
    parts = ["<h1>Class report</h1>", f"<p>{len(submissions)} notebooks, {made}. Each ran with: {html.escape(held_back)}.</p>"]
    for lesson in sorted({one.lesson for one in submissions if one.lesson}):
        parts += lesson_parts(lesson, [one for one in submissions if one.lesson == lesson])
    broken = [one for one in submissions if one.lesson is None]
    if broken:
        rows = [[("", escaped(one.student)), ("problem", escaped(one.problem))] for one in broken]
        parts += ["<h2>Notebooks that say nothing</h2>", table(["student", "problem"], rows)]
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>Class report</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"


def lesson_parts(lesson: int, ones: list[Submission]) -> list[str]:
    exercises = sorted({exercise for one in ones for exercise in one.answers}, key=number)
    known = titles(exercises)
    parts = [f"<h2>Lesson {lesson:02}</h2>", "<p>✓ right, ✗ wrong, – not attempted, ? not reached</p>"]
    rows = []
    for one in ones:
        states = [one.answers[exercise].state if exercise in one.answers else "not attempted" for exercise in exercises]
        cells = [
            (state if state in ("right", "wrong") else "", f"<span title='{state}'>{MARKS[state]}</span>") for state in states
        ]
        problem = ("problem" if one.problem else "", escaped(one.problem or ""))
        rows.append([("", escaped(one.student)), *cells, ("", f"{states.count('right')}/{len(states)}"), problem])
    counts = Counter(exercise for one in ones for exercise, answer in one.answers.items() if answer.state == "right")
    rows.append(
        [("", "<b>right</b>"), *(("", f"{counts[exercise]}/{len(ones)}") for exercise in exercises), ("", ""), ("", "")]
    )
    parts.append(table(["student", *exercises, "right", "problem"], rows))
    found = mistakes(ones)
    if found:
        lines = []
        for exercise, words, who in found:
            shown = escaped(words) or "<i>wrong in a way without a name</i>"
            cells = [exercise, escaped(known.get(exercise, "")), shown, str(len(who)), escaped(", ".join(who))]
            lines.append([("", cell) for cell in cells])
        parts += ["<h3>Mistakes</h3>", table(["exercise", "title", "mistake", "students", "who"], lines)]
    for one in ones:
        messages = [answer.message for answer in one.answers.values() if answer.state == "wrong"]
        if messages or one.errors:
            texts = "".join(f"<pre>{escaped(text)}</pre>" for text in [*messages, *one.errors])
            parts.append(f"<details><summary>{escaped(one.student)}</summary>{texts}</details>")
    return parts


def escaped(text: object) -> str:
    return html.escape(str(text))


def table(head: list[str], rows: list[list[tuple[str, str]]]) -> str:
    """HTML of a table from (class, HTML) of each cell."""
    header = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in head)
    lines = ["<tr>" + "".join(f"<td class='{kind}'>{cell}</td>" for kind, cell in row) + "</tr>" for row in rows]
    return f"<div class='scroll'><table><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
