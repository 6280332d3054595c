"""Each lesson in its quick profile: it runs, it records, and its widgets show what their static views show."""

import itertools
import re
from pathlib import Path

import jax
import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest

from mlcourse import widgets
from mlcourse.plots import describe

LESSONS = sorted(Path(__file__).parent.parent.joinpath("notebooks").glob("*.ipynb"))


class QuickRun:
    """A lesson's code cells run in this process with `profile = "quick"`; keeps its widgets and what it records."""

    def __init__(self, path: Path, monkeypatch):
        self.explorers, self.views, self.records = [], [], {}
        explore, static_view = widgets.explore, widgets.static_view

        def kept(makers, make):
            def wrapper(*args, **kwargs):
                makers.append(make(*args, **kwargs))
                return makers[-1]

            return wrapper

        monkeypatch.setattr(widgets, "explore", kept(self.explorers, explore))
        monkeypatch.setattr(widgets, "static_view", kept(self.views, static_view))
        monkeypatch.setattr("mlcourse.record.record", lambda name, value, **_: self.records.update({name: value}))
        self.namespace = {"__name__": "lesson", "display": lambda *_: None}
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            tags = cell.metadata.get("tags", [])
            if cell.cell_type == "code" and "setup" not in tags:
                exec(compile(cell.source, f"{path.name}, cell {number}", "exec"), self.namespace)
            if "parameters" in tags:
                self.namespace["profile"] = "quick"


@pytest.fixture(scope="module", params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    matplotlib.use("agg")
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield QuickRun(request.param, monkeypatch)
    plt.close("all")
    jax.clear_caches()  # a megabyte for each of some hundred programs


def test_the_quick_profile_runs_to_the_end_and_records_numbers(lesson):
    assert lesson.records and all(re.fullmatch(r"[a-z0-9_]+", name) for name in lesson.records)


def test_every_widget_shows_at_every_position_what_its_static_view_shows(lesson):
    assert len(lesson.explorers) == len(lesson.views) >= 1
    for explorer, view in zip(lesson.explorers, lesson.views, strict=True):
        positions = list(itertools.product(*explorer.choices.values()))
        panels = [ax for ax in view.axes if ax.get_visible()]
        assert len(panels) == len(positions)
        for position, panel in zip(positions, panels, strict=True):
            chosen = dict(zip(explorer.choices, position, strict=True))
            for name, slider in explorer.sliders.items():
                slider.value = chosen[name]
            text = explorer.alternative
            if explorer.stack:  # one line a panel of the stack
                text = text.splitlines()[explorer.choices[explorer.stack].index(chosen[explorer.stack])]
            shown, printed = (re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", words) for words in (text, describe(panel)))
            assert shown and shown == printed[len(printed) - len(shown) :], position


def test_what_is_typed_into_a_widget_is_drawn_or_answered(lesson):
    for explorer in lesson.explorers:
        for box in explorer.boxes.values():
            before, start = explorer.image.value, box.value
            box.value = start[::-1]
            assert explorer.image.value != before and explorer.text.value == explorer.alternative
            box.value = "\N{SNOWMAN}"
            assert explorer.text.value.startswith("<b>") and "\N{SNOWMAN}" in explorer.text.value
            box.value = start
            assert explorer.image.value == before
