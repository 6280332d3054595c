"""The exercise builder: stubs for answers, mistakes in markers named, the same bytes every time, nothing leaked."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mlcourse.checks.engine import exercises, notebook_of
from mlcourse.exercises import MarkerError, build, main, render, solution_lines

PROJECT = Path(__file__).parent.parent
SOLUTIONS = sorted((PROJECT / "solutions").glob("*.ipynb"))
NAMES = [path.stem for path in SOLUTIONS]
text = nbformat.v4.new_markdown_cell
code = nbformat.v4.new_code_cell

ANSWER = '''\
class Adam:
    def step(self, x):
        """Docstring."""
        ### BEGIN SOLUTION
        secret = x + 1
        return secret
        ### END SOLUTION


check("2.3", Adam)'''


def notebook(*cells, **metadata):
    return nbformat.v4.new_notebook(cells=list(cells), metadata=metadata)


def source(answer=ANSWER, heading="## Exercise 2.3 · Adam, by hand"):
    return notebook(text(heading), code(answer, id="keepme", execution_count=3, metadata={"tags": ["exercise"]}))


def test_the_answer_becomes_a_stub_that_says_which_exercise_it_is():
    built = build(source(), "a.ipynb").cells[1]
    assert built.source.splitlines() == [
        "class Adam:",
        "    def step(self, x):",
        '        """Docstring."""',
        '        raise NotImplementedError("exercise 2.3: Adam, by hand")',
        "",
        "",
        'check("2.3", Adam)',
    ]


def test_ids_and_tags_stay_and_outputs_counts_and_other_metadata_go():
    output = nbformat.v4.new_output("stream", text="secret")
    cell = code(ANSWER, id="abc", execution_count=7, outputs=[output], metadata={"tags": ["t"], "papermill": {"x": 1}})
    given = notebook(
        text("## Exercise 2.3: Adam", id="title"),
        cell,
        kernelspec={"name": "python3", "display_name": "P", "language": "python"},
        language_info={"name": "python", "version": "3.11.7"},
        papermill={},
    )
    before = nbformat.from_dict(given).copy()
    built = build(given, "a.ipynb")
    assert [each.id for each in built.cells] == ["title", "abc"]
    assert (built.cells[1].outputs, built.cells[1].execution_count) == ([], None)
    assert built.cells[1].metadata == {"tags": ["t"]}
    assert built.metadata == {"kernelspec": given.metadata.kernelspec, "language_info": {"name": "python"}}
    assert given == before and given.cells[1].outputs == [output]
    nbformat.validate(built)


def test_two_answers_in_one_cell_become_two_stubs():
    two = ANSWER.replace(
        "\n\n\ncheck", "\n\n    def other(self):\n        ### BEGIN SOLUTION\n        pass\n        ### END SOLUTION\n\n\ncheck"
    )
    assert build(source(two), "a.ipynb").cells[1].source.count("raise NotImplementedError") == 2


def test_a_title_with_quotes_gives_a_valid_stub():
    built = build(source(heading='## Exercise 2.3 · The "good" one'), "a.ipynb").cells[1].source
    compile(built, "cell", "exec")
    assert r'raise NotImplementedError("exercise 2.3: The \"good\" one")' in built


def test_a_cell_without_an_answer_stays():
    plain = notebook(code("x = 1  # the solution of 2 x = 2"), text("text"))
    assert [cell.source for cell in build(plain, "a.ipynb").cells] == ["x = 1  # the solution of 2 x = 2", "text"]


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("### BEGIN SOLUTION", "### BEGIN SOLUTON", "cell 2, line 4: `### BEGIN SOLUTON` looks like a marker, but is none"),
        ("### BEGIN SOLUTION", "## BEGIN SOLUTION", "cell 2, line 4: `## BEGIN SOLUTION` looks like a marker"),
        ("### BEGIN SOLUTION", "### Begin Solution", "cell 2, line 4: `### Begin Solution` looks like a marker"),
        ("### BEGIN SOLUTION", "### BEGIN_SOLUTION", "cell 2, line 4: `### BEGIN_SOLUTION` looks like a marker"),
        ("### BEGIN SOLUTION", "x = 1  ### BEGIN SOLUTION", "cell 2, line 4: .* looks like a marker"),
        ("### END SOLUTION", "### END SOLUTION.", "cell 2, line 7: `### END SOLUTION.` looks like a marker"),
        ("### END SOLUTION", "### ENDSOLUTON", "cell 2, line 7: `### ENDSOLUTON` looks like a marker"),
        ("        ### BEGIN SOLUTION\n", "", "cell 2, line 6: `### END SOLUTION`, but no solution has begun"),
        ("        ### END SOLUTION\n", "", "cell 2, line 4: `### BEGIN SOLUTION`, but no `### END SOLUTION` follows"),
        (
            "        secret",
            "        ### BEGIN SOLUTION\n        secret",
            "cell 2, line 5: .* inside the solution that began in line 4",
        ),
        ("        ### END", "    ### END", "cell 2, line 7: `### END SOLUTION` is not indented like"),
        ("        secret = x + 1\n        return secret\n", "", "cell 2, line 5: nothing stands between"),
        ('check("2.3", Adam)', "", "cell 2: it has a solution, but no line that checks it"),
        ('check("2.3"', 'check("2.4"', "cell 2: it checks exercise 2.4, but the heading above is that of exercise 2.3"),
    ],
)
def test_a_mistake_in_the_markers_is_named_with_file_cell_and_line(old, new, words):
    assert old in ANSWER
    with pytest.raises(MarkerError, match=rf"solutions/a\.ipynb, {words}"):
        build(source(ANSWER.replace(old, new, 1)), "solutions/a.ipynb")


def test_an_answer_without_a_heading_and_a_marker_in_text_are_refused():
    with pytest.raises(MarkerError, match="cell 2: it checks exercise 2.3, but there is no such heading above"):
        build(source(heading="## Something"), "a.ipynb")
    with pytest.raises(MarkerError, match="cell 1, line 2: `### BEGIN SOLUTION` in a text cell"):
        build(notebook(text("Answer:\n### BEGIN SOLUTION\n42")), "a.ipynb")


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "solutions").mkdir()
    nbformat.write(source(), tmp_path / "solutions" / "02_a.ipynb")
    return tmp_path


def test_making_twice_gives_the_same_bytes_and_says_nothing(course, capsys):
    assert main([]) == 0
    first = (course / "exercises" / "02_a.ipynb").read_bytes()
    assert capsys.readouterr().out == "exercises/02_a.ipynb made from solutions/02_a.ipynb\n"
    assert main([]) == 0
    assert capsys.readouterr().out == ""
    assert (course / "exercises" / "02_a.ipynb").read_bytes() == first
    assert os.listdir(course / "exercises") == ["02_a.ipynb"]


def test_check_names_the_file_that_differs_and_the_cure_and_writes_nothing(course, capsys):
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == (
        "exercises/02_a.ipynb is missing from what solutions/02_a.ipynb gives. Run `make exercises`; edit only solutions/.\n"
    )
    main([])
    assert main(["--check"]) == 0
    made = course / "exercises" / "02_a.ipynb"
    made.write_text(made.read_text().replace("Docstring", "Changed by hand"))
    capsys.readouterr()
    assert main(["--check"]) == 1
    assert "exercises/02_a.ipynb differs from what solutions/02_a.ipynb gives. Run `make exercises`" in capsys.readouterr().out
    assert "Changed by hand" in made.read_text()


def test_an_exercise_without_its_source_is_said(course, capsys):
    main([])
    (course / "exercises" / "03_b.ipynb").write_text("{}")
    assert main(["--check"]) == 1
    assert "exercises/03_b.ipynb has no solutions/03_b.ipynb. Delete it" in capsys.readouterr().err


def test_an_unknown_name_an_empty_folder_and_a_wrong_marker_end_the_command(course, capsys):
    assert main(["02_b"]) == 2
    assert "unknown notebook '02_b'. Did you mean '02_a'?" in capsys.readouterr().err
    nbformat.write(source(ANSWER.replace("END", "STOP")), course / "solutions" / "02_a.ipynb")
    assert main([]) == 1
    assert "solutions/02_a.ipynb, cell 2, line 4" in capsys.readouterr().err
    assert not (course / "exercises").exists()
    (course / "solutions" / "02_a.ipynb").unlink()
    assert main([]) == 2
    assert "there is no solutions/*.ipynb here" in capsys.readouterr().err


# The notebooks of the course


def read(folder, name):
    return nbformat.read(PROJECT / folder / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_exercises_are_what_the_solutions_give(name):
    made = render(build(read("solutions", name), f"solutions/{name}.ipynb"))
    assert (PROJECT / "exercises" / f"{name}.ipynb").read_text() == made, "run `make exercises`"


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_an_answer_is_in_the_exercises(name):
    solved = read("solutions", name)
    # The code of a bug hunt is given, in cells that define `broken_...`; its right lines come again in the answer.
    given = {line.strip() for cell in solved.cells if "def broken_" in cell.source for line in cell.source.splitlines()}
    secret = {line for line in solution_lines(solved) if len(line) > 12} - given
    assert len(secret) >= 10
    released = read("exercises", name)
    shown = {line.strip() for cell in released.cells for line in cell.source.splitlines()}
    assert secret & shown == set()
    whole = json.dumps(released, ensure_ascii=False)
    assert [line for line in secret if json.dumps(line, ensure_ascii=False)[1:-1] in whole] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_exercises_run_from_top_to_bottom_when_nothing_is_attempted(name, tmp_path):
    released = read("exercises", name)
    environment = os.environ | {"MLCOURSE_PROGRESS": str(tmp_path / "progress.json")}
    NotebookClient(released, timeout=120).execute(cwd=str(tmp_path), env=environment)
    said = "".join(output.get("text", "") for cell in released.cells for output in cell.get("outputs", []))
    asked = [exercise for exercise in exercises() if notebook_of(exercise.id) == name]
    assert said.count("is not attempted yet") == len(asked) > 0
    assert not (tmp_path / "progress.json").exists()


@pytest.mark.parametrize("name", NAMES)
def test_headings_minutes_and_difficulty_in_the_notebook_are_those_of_the_checks(name):
    stated = []
    for cell in read("solutions", name).cells:
        for found in re.finditer(r"^## Exercise (\S+) · (.+)\n\n\*(\d+) minutes, ((?:\\\*)+)\*$", cell.source, re.MULTILINE):
            number, title, minutes, stars = found.groups()
            stated.append((number, title, int(minutes), stars.count("*")))
    asked = [exercise for exercise in exercises() if notebook_of(exercise.id) == name]
    assert stated == [(each.id, each.title, each.minutes, each.difficulty) for each in asked]
