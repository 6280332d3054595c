"""Badges and set-up cells come from one address."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mlcourse import site

PROJECT = Path(__file__).parent.parent
NOTEBOOKS = sorted(path for folder in ("notebooks", "solutions", "exercises") for path in (PROJECT / folder).glob("*.ipynb"))


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def badge_cell(text="[![Open in Colab](old)](old)"):
    return nbformat.v4.new_markdown_cell(f"# Title\n\n{text}\n\nWhat you will learn.")


def setup_cell(source="import mlcourse"):
    return nbformat.v4.new_code_cell(source, metadata={"tags": ["setup"]})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_notebook_has_the_badges_and_the_set_up_cell_of_the_address(path):
    content = json.loads(path.read_text())
    assert site.renewed(content, path)["cells"] == content["cells"], "run `make site`"
    assert site.badges(path) in "".join(content["cells"][0]["source"])


@pytest.mark.parametrize("path", [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *NOTEBOOKS], ids=lambda path: path.name)
def test_no_file_names_another_address_in_colab_binder_or_git(path):
    text = path.read_text()
    named = re.findall(r"(?:research\.google\.com/github|mybinder\.org/v2/gh|git\+https://github\.com)/([\w.-]+/[\w-]+)", text)
    assert set(named) <= {site.REPOSITORY}


def test_a_new_address_reaches_badges_and_set_up_cell(monkeypatch, tmp_path):
    monkeypatch.setattr(site, "REPOSITORY", "elsewhere/course")
    path = tmp_path / "notebooks" / "03_batch_norm.ipynb"
    path.parent.mkdir()
    nbformat.write(notebook(badge_cell(), setup_cell(), nbformat.v4.new_code_cell("1 + 1")), path)
    assert site.main([str(path)]) == 0
    title, setup, other = nbformat.read(path, 4).cells
    assert "colab.research.google.com/github/elsewhere/course/blob/main/notebooks/03_batch_norm.ipynb" in title.source
    assert "mybinder.org/v2/gh/elsewhere/course/main?urlpath=lab/tree/notebooks/03_batch_norm.ipynb" in title.source
    assert title.source.startswith("# Title\n\n[![Open in Colab]") and title.source.endswith("What you will learn.")
    assert "git+https://github.com/elsewhere/course@main" in setup.source
    assert other.source == "1 + 1"


def test_renewing_twice_changes_nothing_and_says_nothing(tmp_path, capsys):
    path = tmp_path / "notebooks" / "01.ipynb"
    path.parent.mkdir()
    nbformat.write(notebook(badge_cell(), setup_cell()), path)
    site.main([str(path)])
    first = path.read_bytes()
    assert "renewed" in capsys.readouterr().out
    site.main([str(path)])
    assert path.read_bytes() == first
    assert capsys.readouterr().out == ""


def test_a_renewed_file_is_written_as_nbformat_writes_it(tmp_path):
    path = tmp_path / "notebooks" / "01.ipynb"
    path.parent.mkdir()
    nbformat.write(notebook(badge_cell("[![Open in Colab](x)](y) größer"), setup_cell()), path)
    site.main([str(path)])
    renewed = path.read_text()
    nbformat.write(nbformat.read(path, 4), path)
    assert path.read_text() == renewed


def test_the_badges_of_a_readme_open_the_first_lesson(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Course\n\n[![Open in Colab](a)](b)\n\ntext\n")
    site.main([str(readme)])
    assert readme.read_text() == f"# Course\n\n{site.badges(site.FIRST_LESSON)}\n\ntext\n"


def test_the_badge_of_a_solution_opens_the_exercise():
    assert "/exercises/02_x.ipynb" in site.badges("solutions/02_x.ipynb")


def test_the_set_up_cell_leaves_an_installed_course_alone(monkeypatch):
    code = site.setup_cell().replace("%pip", "installed.append(1) #")
    namespace = {"installed": []}
    exec(code, namespace)
    exec(code, namespace)
    assert namespace["installed"] == []


def run_without_mlcourse(variables):
    """The set-up cell in a Python that can't see the package; `%pip` prints what it was asked for."""
    code = site.setup_cell().replace("%pip install", "print('pip install").replace('@main"', "@main')")
    return subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, env=variables)


def test_the_set_up_cell_installs_on_colab_without_dependencies():
    done = run_without_mlcourse({"COLAB_RELEASE_TAG": "release"})
    assert done.stdout == f'pip install -q --no-deps "mlcourse @ git+https://github.com/{site.REPOSITORY}@main\n'


def test_the_set_up_cell_says_what_to_do_where_the_course_is_missing_elsewhere():
    done = run_without_mlcourse({})
    assert "ModuleNotFoundError: mlcourse is not installed in this kernel. Start Jupyter with `make lab`." in done.stderr


def test_no_file_is_a_mistake_in_the_call(capsys):
    assert site.main([]) == 2
    assert "usage" in capsys.readouterr().err
