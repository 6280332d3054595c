"""Code and notebooks are in the one style, and the README shows what the lesson shows."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_has_nothing_to_say_about_code_and_notebooks(command):
    done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nCure: make format"


def test_the_picture_in_the_readme_is_the_figure_of_the_lesson(monkeypatch):
    monkeypatch.syspath_prepend(PROJECT / "tools")
    import picture

    assert (PROJECT / picture.PICTURE).read_bytes() == picture.picture(PROJECT / picture.NOTEBOOK), "run tools/picture.py"
    assert f"({picture.PICTURE.as_posix()})" in (PROJECT / "README.md").read_text(encoding="utf-8")
