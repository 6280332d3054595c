"""The widget is driven over its whole grid, and its static view holds the same content."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlcourse.errors import DataError
from mlcourse.plots import describe
from mlcourse.widgets import MARGINS, DrillByHand, explore, static_view

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


def draw_word(ax, word, power):
    if not word.isalpha():
        raise DataError(f"{word!r} holds more than letters <a> to <z>. Leave them out.")
    return draw(ax, len(word) ** power, 0)


def test_a_typed_text_is_drawn_with_every_position_of_the_sliders():
    widget = explore(draw_word, word="four", power=[1, 2])
    assert repr(widget) == "Explorer with sliders for power (2 values) and a text box for word"
    assert list(widget.children[:2]) == [widget.boxes["word"], widget.sliders["power"]]
    for word, power in [("six", 1), ("three", 1), ("three", 2)]:
        widget.boxes["word"].value, widget.sliders["power"].value = word, power
        assert widget.alternative == widget.text.value == f"line rises from 0 at 0 to {len(word) ** power} at 1."
    panels = static_view(draw_word, word="four", power=[1, 2]).axes
    assert [ax.get_title() for ax in panels] == ["power 1", "power 2"]
    assert describe(panels[1]).endswith("to 16 at 1.")


def test_a_text_that_cannot_be_drawn_is_answered_and_the_figure_stays():
    widget = explore(draw_word, word="four", power=[1])
    before = widget.image.value
    widget.boxes["word"].value = "4"
    assert widget.text.value == "<b>&#x27;4&#x27; holds more than letters &lt;a&gt; to &lt;z&gt;. Leave them out.</b>"
    assert widget.image.value == before
    widget.boxes["word"].value = "five"
    assert widget.text.value == "line rises from 0 at 0 to 4 at 1." and widget.image.value != b""
    with pytest.raises(DataError, match="holds more than letters"):  # without a box it is the caller's mistake
        explore(lambda ax, word: draw_word(ax, word, 1), word=["4"])


def test_a_stacked_choice_has_no_slider_and_all_its_values_stand_one_below_the_other():
    widget = explore(draw, stack="start", **CHOICES)
    assert list(widget.sliders) == ["slope"]
    assert repr(widget) == "Explorer with sliders for slope (3 values), all of start (2 values) one below the other"
    for slope in CHOICES["slope"]:
        widget.sliders["slope"].value = slope
        assert widget.alternative.splitlines() == [
            f"start {start:.3g}. line rises from {start:.3g} at 0 to {start + slope:.3g} at 1." for start in CHOICES["start"]
        ]


def test_a_stack_that_is_no_choice_is_refused():
    with pytest.raises(ValueError, match="unknown stack 'strat'. Did you mean 'start'"):
        explore(draw, stack="strat", **CHOICES)


def test_one_choice_gives_one_row():
    figure = static_view(lambda ax, k: draw(ax, k, 0), k=np.arange(1, 4))
    assert [ax.get_title() for ax in figure.axes] == ["k 1", "k 2", "k 3"]


def test_nothing_to_choose_is_refused():
    with pytest.raises(ValueError, match="there is nothing to choose"):
        explore(draw)
    with pytest.raises(ValueError, match=r"slope=\[\] has no value to slide to"):
        static_view(draw, slope=[])


def test_a_wrapped_static_view_keeps_the_order_of_the_choices_and_puts_groups_one_below_the_other():
    figure = static_view(draw, wrap=2, start=[0.0, 10.0], slope=[1, 2, 3])
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [f"start {start}, slope {slope}" for start in (0, 10) for slope in (1, 2, 3)]
    cells = [ax.get_subplotspec() for ax in figure.axes]
    places = [(cell.rowspan.start, cell.colspan.start) for cell in cells]
    assert places == [(0, 0), (0, 1), (2, 0), (1, 0), (1, 1), (3, 0)]


@pytest.fixture
def game():
    positions = np.linspace(0, 1, 11)
    return DrillByHand(positions, 10 * positions, lambda holes, readings: (0 * positions, 1 + 0 * positions), [2.0, 7.0])


def test_the_button_drills_where_the_slider_is_and_the_message_says_who_is_ahead(game):
    assert game.message.value == "You have 2 holes. Click on the strip to drill, or choose a position below it."
    game.place.value = game.positions[3]
    game.button.click()
    assert game.drilled == [3]
    assert game.message.value == "Holes: 1 of 2. Your best is 3.00 g/t; with as many holes the machine had 2.00 g/t."
    assert "your holes: 1 points, x from 0.3 to 0.3, y from 3 to 3" in game.alternative


def test_a_click_on_the_strip_drills_at_the_nearest_position(game):
    assert len(game.columns) == 101
    game.columns[0].click()
    assert game.drilled == [0] and game.place.value == 0.0
    game.columns[68].click()
    assert game.drilled == [0, 7]
    assert game.message.value.startswith("Holes: 2 of 2. Your best is 7.00 g/t; with as many holes the machine had 7.00 g/t.")
    game.columns[3].click()
    assert len(game.drilled) == 2, "no hole follows the last"


def test_the_columns_lie_above_the_places_at_which_they_drill(game):
    figure = Figure(figsize=game.figsize)
    figure.subplots_adjust(**MARGINS)
    ax = game.draw(figure.add_subplot())
    _, right, _, left = (float(side.rstrip("%")) / 100 for side in game.strip.layout.padding.split())
    width = (1 - left - right) / len(game.columns)
    for i in (0, 30, 100):
        share = left + (i + 0.5) * width  # the middle of column i, as a share of the figure
        pixel = ax.transData.transform((i / 100, 0))[0] / figure.bbox.width
        assert share == pytest.approx(pixel, abs=1e-4)


def test_the_ground_is_laid_open_after_the_last_hole_only_and_no_hole_follows(game):
    game.button.click()
    assert "gold rises" not in game.alternative
    game.button.click()
    assert "gold rises from 0 at 0 to 10 at 1" in game.alternative and game.button.disabled
    assert game.message.value.endswith("The richest place has 10.00 g/t.")
    game.drill()
    assert len(game.drilled) == 2


def test_start_again_takes_all_holes_back(game):
    game.button.click()
    game.button.click()
    game.again.click()
    assert game.drilled == [] and not game.button.disabled
    game.button.click()
    assert len(game.drilled) == 1


def test_every_place_of_the_slider_draws_its_own_figure(game):
    seen = set()
    for x in game.positions:
        game.place.value = x
        seen.add(bytes(game.image.value))
    assert len(seen) == len(game.positions)


def test_the_game_prints_without_addresses(game):
    assert repr(game) == "DrillByHand with 11 positions and 2 holes"
