"""Headline numbers survive the way into an executed notebook and back."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from mlcourse.record import Record, read_records, record
from mlcourse.stats import Interval


def executed(tmp_path, *sources):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=60).execute()
    path = tmp_path / "executed.ipynb"
    nbformat.write(notebook, path)
    return path, notebook


def test_what_is_recorded_is_read_back_with_every_digit(tmp_path):
    path, notebook = executed(
        tmp_path,
        "from mlcourse.record import record\nfrom mlcourse.stats import Interval",
        "record('a', 1 / 3, unit='s')\nrecord('b', Interval(0.5, 0.25, 2 / 3, 5))",
    )
    assert read_records(path) == [Record("a", 1 / 3, unit="s"), Record("b", 0.5, 0.25, 2 / 3, 5)]
    texts = [output.data["text/plain"] for output in notebook.cells[1].outputs]
    assert texts == ["a = 0.333 s", "b = 0.5 [0.25, 0.667]"]


def test_outside_a_notebook_the_line_is_printed(capsys):
    record("test_error", 0.0312)
    assert capsys.readouterr().out == "test_error = 0.0312\n"


def test_a_name_recorded_twice_with_two_values_is_an_error(tmp_path):
    def output(value):
        return {"metadata": {"mlcourse": Record("a", value)._asdict()}}

    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [{"outputs": [output(1.0), output(1.0)]}, {}]}))
    assert read_records(path) == [Record("a", 1.0)]
    path.write_text(json.dumps({"cells": [{"outputs": [output(1.0), output(2.0)]}]}))
    with pytest.raises(ValueError, match="n.ipynb records 'a' twice: 1 and 2"):
        read_records(path)


def test_bad_names_values_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="name='test error' can't be a column"):
        record("test error", 1.0)
    for value in (float("nan"), Interval(0.1, float("-inf"), 1.0, 3)):
        with pytest.raises(ValueError, match="record finite numbers"):
            record("a", value)
    (tmp_path / "x.ipynb").write_text("not json")
    with pytest.raises(ValueError, match="x.ipynb is not a notebook"):
        read_records(tmp_path / "x.ipynb")
