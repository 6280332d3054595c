"""A drawing function and its choices into a widget for the screen, and into a figure for print.

`explore(draw, rate=[...], batch=[...])` gives sliders; `static_view(draw, ...)` draws the same grid as small multiples.
The figure is sent as an image, not through an Output widget, so the widget is the same in JupyterLab, Colab and under nbval.
"""

import io
import itertools
from collections.abc import Callable, Iterable

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlcourse.plots import describe

Draw = Callable[..., Axes]


class Explorer(ipywidgets.VBox):
    """One slider a choice, the figure they choose, and its text alternative below it."""

    def __init__(self, draw: Draw, choices: dict[str, list], *, figsize: tuple[float, float] = (6.4, 3.6)):
        check_choices(choices)
        self.draw, self.figsize, self.choices = draw, figsize, choices
        self.sliders = {
            name: ipywidgets.SelectionSlider(
                options=[(show(value), value) for value in values],
                value=values[len(values) // 2],
                description=name.replace("_", " "),
                continuous_update=False,
                style={"description_width": "initial"},
            )
            for name, values in choices.items()
        }
        self.image = ipywidgets.Image(format="png")
        self.text = ipywidgets.HTML()
        super().__init__([*self.sliders.values(), self.image, self.text])
        for slider in self.sliders.values():
            slider.observe(self.refresh, names="value")
        self.refresh()

    def refresh(self, _change=None) -> None:
        """Draws what the sliders say now."""
        figure = Figure(figsize=self.figsize, layout="constrained")
        ax = self.draw(figure.add_subplot(), **{name: slider.value for name, slider in self.sliders.items()})
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=100)
        self.image.value = png.getvalue()
        self.alternative = describe(ax)
        self.text.value = self.alternative

    def __repr__(self) -> str:  # what nbval compares: no addresses, no image bytes
        sizes = " and ".join(f"{name} ({len(values)} values)" for name, values in self.choices.items())
        return f"Explorer with sliders for {sizes}"


def explore(draw: Draw, *, figsize: tuple[float, float] = (6.4, 3.6), **choices: Iterable) -> Explorer:
    """A widget with one slider a choice, starting in the middle of each.

    Args:
        draw: `draw(ax, **choice) -> ax`; called with one value of each choice.
        choices: name -> the values to slide through, at least one.

    >>> def line(ax, slope):
    ...     ax.plot([0, 1], [0, slope], label="line")
    ...     return ax
    >>> widget = explore(line, slope=[1, 2, 3])
    >>> widget.sliders["slope"].value = 3
    >>> widget.alternative
    'line rises from 0 at 0 to 3 at 1.'
    """
    return Explorer(draw, {name: list(values) for name, values in choices.items()}, figsize=figsize)


def static_view(draw: Draw, *, size: tuple[float, float] = (2.6, 2.1), **choices: Iterable) -> Figure:
    """The whole grid of the widget as small multiples: the last choice runs along the rows, one panel a combination.

    The figure belongs to the caller: `display(static_view(...))`, then `print(describe(figure))`.
    """
    choices = {name: list(values) for name, values in choices.items()}
    check_choices(choices)
    columns = len(list(choices.values())[-1])
    combinations = list(itertools.product(*choices.values()))
    rows = len(combinations) // columns
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, values in zip(np.ravel(axes), combinations, strict=True):
        chosen = dict(zip(choices, values, strict=True))
        draw(ax, **chosen)
        ax.set_title(", ".join(f"{name.replace('_', ' ')} {show(value)}" for name, value in chosen.items()), fontsize=8)
        if ax is not axes[0, 0] and ax.get_legend():
            ax.get_legend().remove()
    for ax in np.ravel(axes):
        ax.label_outer()
    return figure


def show(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def check_choices(choices: dict[str, list]) -> None:
    if not choices:
        raise ValueError("there is nothing to choose: pass at least one list of values, such as learning_rate=[0.01, 0.1].")
    for name, values in choices.items():
        if not values:
            raise ValueError(f"{name}={values} has no value to slide to; pass at least one.")
