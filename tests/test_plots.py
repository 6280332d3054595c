"""Figures are described from what was drawn, so a test can read them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlcourse import plots
from mlcourse.plots import describe


@pytest.fixture
def ax():
    return Figure().add_subplot()


HISTORY = [{"step": 0, "validation_loss": 2.3}, *({"step": k, "loss": 2 / k} for k in range(1, 101))]


def test_curves_are_drawn_from_the_history_and_described(ax):
    plots.curves(ax, HISTORY, {"loss": "train", "validation_loss": "validation"})
    ax.set_ylabel("loss")
    assert describe(ax) == "loss against update. train falls from 2 at 1 to 0.02 at 100. validation: 2.3 at 0."
    assert ax.get_lines()[0].get_color() == plots.COLORS["train"]


def test_smoothing_is_a_running_mean_at_the_last_step_of_its_window(ax):
    plots.curves(ax, HISTORY, {"loss": "train"}, smooth=5)
    x, y = ax.get_lines()[0].get_data()
    assert x[0] == 5 and y[0] == pytest.approx(np.mean([2 / k for k in range(1, 6)]))


def test_the_description_changes_with_the_data(ax):
    ax.plot([0, 1, 2], [1.0, 5.0, 2.0], label="a")
    assert describe(ax) == "a rises from 1 at 0 to 2 at 2, highest 5 at 1."
    ax.get_lines()[0].set_ydata([1.0, 1.0, 1.0])
    assert describe(ax) == "a stays at 1 from 0 to 2."
    ax.get_lines()[0].set_ydata([1.0, np.nan, 0.5])
    assert describe(ax) == "a falls from 1 at 0 to 0.5 at 2, 1 of 3 points not finite."
    ax.get_lines()[0].set_ydata([np.nan] * 3)
    assert describe(ax) == "a has no finite point."


def test_an_unstable_line_is_named_without_numbers(ax):
    ax.plot([0, 1], [1.0, 5.0], label="wild", gid=plots.UNSTABLE)
    assert describe(ax) == "wild is unstable: its numbers differ between machines."


def test_bands_bars_clouds_images_and_levels_are_described(ax):
    plots.curves_with_band(ax, [0, 10], np.array([[1.0, 2.0], [3.0, 2.0]]), label="runs")
    plots.reference_line(ax, 2.303, "chance")
    assert describe(ax) == "runs stays at 2 from 0 to 10. chance: 2.3."
    figure = Figure()
    bars, cloud, image = figure.subplots(1, 3)
    bars.bar(["a", "b"], [1, 2.5], label="heights")
    cloud.scatter([0, 1], [2, 4], label="points")
    image.imshow(np.arange(6).reshape(2, 3))
    assert describe(figure).splitlines() == [
        "heights: a 1, b 2.5.",
        "points: 2 points, x from 0 to 1, y from 2 to 4.",
        "image of 2 by 3, values from 0 to 5.",
    ]


def test_the_band_is_the_interval(ax):
    plots.curves_with_band(ax, [0, 1], np.array([[1.0, 2.0], [3.0, 2.0]]), label="runs")
    low, high = ax.collections[0].get_paths()[0].vertices[:, 1].min(), ax.collections[0].get_paths()[0].vertices[:, 1].max()
    assert (low, high) == pytest.approx((2 - 12.706, 2 + 12.706), abs=0.01)  # t(0.975, 1) = 12.706, s / sqrt(2) = 1


def test_colours_differ_in_grey_and_within_the_palette():
    assert len(set(plots.PALETTE)) == len(plots.PALETTE) and set(plots.COLORS.values()) <= set(plots.PALETTE)


def test_what_is_not_there_is_named(ax):
    with pytest.raises(ValueError, match=r"no row of the history has 'accuracy'; it has \['loss', 'validation_loss'\]"):
        plots.curves(ax, HISTORY, {"accuracy": "train"})
    with pytest.raises(ValueError, match="nothing to describe"):
        describe(ax)
