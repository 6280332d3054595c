"""The widget is driven over its whole grid, and its static view holds the same content."""

import numpy as np
import pytest

from mlcourse.plots import describe
from mlcourse.widgets import explore, static_view

CHOICES = {"slope": [1, 2, 3], "start": [0.0, 10.0]}


def draw(ax, slope, start):
    ax.plot([0, 1], [start, start + slope], label="line")
    return ax


def test_every_position_of_the_sliders_draws_its_own_figure():
    widget = explore(draw, **CHOICES)
    seen = {}
    for slope in CHOICES["slope"]:
        for start in CHOICES["start"]:
            widget.sliders["slope"].value, widget.sliders["start"].value = slope, start
            seen[slope, start] = bytes(widget.image.value)
            assert widget.alternative == widget.text.value == f"line rises from {start:.3g} at 0 to {start + slope:.3g} at 1."
    assert len(set(seen.values())) == 6 and all(png.startswith(b"\x89PNG") for png in seen.values())


def test_the_static_view_shows_what_the_widget_shows_at_every_position():
    widget = explore(draw, **CHOICES)
    figure = static_view(draw, **CHOICES)
    assert len(figure.axes) == 6
    for ax in figure.axes:
        slope, start = (float(part.split()[-1]) for part in ax.get_title().split(", "))
        widget.sliders["slope"].value, widget.sliders["start"].value = int(slope), start
        assert describe(ax).endswith(widget.alternative)


def test_the_widget_prints_without_addresses_or_image_bytes():
    assert repr(explore(draw, **CHOICES)) == "Explorer with sliders for slope (3 values) and start (2 values)"


def test_one_choice_gives_one_row():
    figure = static_view(lambda ax, k: draw(ax, k, 0), k=np.arange(1, 4))
    assert [ax.get_title() for ax in figure.axes] == ["k 1", "k 2", "k 3"]


def test_nothing_to_choose_is_refused():
    with pytest.raises(ValueError, match="there is nothing to choose"):
        explore(draw)
    with pytest.raises(ValueError, match=r"slope=\[\] has no value to slide to"):
        static_view(draw, slope=[])
