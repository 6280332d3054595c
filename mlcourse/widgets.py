"""A drawing function and its choices into a widget for the screen, and into a figure for print.

`explore(draw, rate=[...], batch=[...])` gives sliders, and a box to type into for a choice that is a string;
`static_view(draw, ...)` draws the same grid as small multiples.
The figure is sent as an image, not through an Output widget, so the widget is the same in JupyterLab, Colab and under nbval.
"""

import functools
import html
import io
import itertools
from collections.abc import Callable, Iterable

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlcourse.errors import DataError
from mlcourse.plots import BLUE, GREY, ORANGE, describe, finish

Draw = Callable[..., Axes]


class Explorer(ipywidgets.VBox):
    """One slider or text box a choice, the figure they choose, and its text alternative below it."""

    def __init__(self, draw: Draw, choices: dict[str, list | str], *, figsize: tuple[float, float] = (6.4, 3.6)):
        typed, choices = split_choices(choices)
        self.draw, self.figsize, self.choices = draw, figsize, choices
        self.boxes = {
            name: ipywidgets.Text(
                value=value,
                description=name.replace("_", " "),
                continuous_update=False,  # drawn when the reader presses Enter
                style={"description_width": "initial"},
                layout={"width": "90%"},
            )
            for name, value in typed.items()
        }
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
        controls = self.boxes | self.sliders
        super().__init__([*controls.values(), self.image, self.text])
        for control in controls.values():
            control.observe(self.refresh, names="value")
        self.refresh()

    def refresh(self, _change=None) -> None:
        """Draws what the controls say now; a text that can't be drawn is answered below the figure, which stays."""
        chosen = {name: control.value for name, control in (self.boxes | self.sliders).items()}
        figure = Figure(figsize=self.figsize, layout="constrained")
        try:
            ax = self.draw(figure.add_subplot(), **chosen)
        except DataError as error:
            if not self.boxes:
                raise
            self.text.value = f"<b>{html.escape(str(error))}</b>"
            return
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=100)
        self.image.value = png.getvalue()
        self.alternative = describe(ax)
        self.text.value = self.alternative

    def __repr__(self) -> str:  # what nbval compares: no addresses, no image bytes
        sizes = " and ".join(f"{name} ({len(values)} values)" for name, values in self.choices.items())
        typed = f" and a text box for {' and '.join(self.boxes)}" if self.boxes else ""
        return f"Explorer with sliders for {sizes}{typed}"


def explore(draw: Draw, *, figsize: tuple[float, float] = (6.4, 3.6), **choices: Iterable | str) -> Explorer:
    """A widget with one slider a choice, starting in the middle of each.

    Args:
        draw: `draw(ax, **choice) -> ax`; called with one value of each choice. A `DataError` about a typed text is shown.
        choices: name -> the values to slide through, at least one; or the string a text box starts with.

    >>> def line(ax, slope):
    ...     ax.plot([0, 1], [0, slope], label="line")
    ...     return ax
    >>> widget = explore(line, slope=[1, 2, 3])
    >>> widget.sliders["slope"].value = 3
    >>> widget.alternative
    'line rises from 0 at 0 to 3 at 1.'
    """
    return Explorer(draw, choices, figsize=figsize)


def static_view(draw: Draw, *, size: tuple[float, float] = (2.6, 2.1), wrap: int | None = None, **choices) -> Figure:
    """The whole grid of the widget as small multiples: the last choice runs along the rows, one panel a combination.

    With `wrap`, at most so many panels stand in a row: the first `wrap` values of the last choice for every combination
    of the others, one row below the other, then the next values. A choice that is a string is the same in all panels.
    The figure belongs to the caller: `display(static_view(...))`, then `print(describe(figure))`.
    """
    typed, choices = split_choices(choices)
    draw = functools.partial(draw, **typed)
    across = len(list(choices.values())[-1])
    combinations = list(itertools.product(*choices.values()))
    groups = len(combinations) // across
    columns = min(wrap or across, across)
    rows = groups * -(-across // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    cells = figure.add_gridspec(rows, columns)
    first = None
    for i, values in enumerate(combinations):
        group, place = divmod(i, across)
        row, column = groups * (place // columns) + group, place % columns
        ax = figure.add_subplot(cells[row, column], sharex=first, sharey=first)
        chosen = dict(zip(choices, values, strict=True))
        draw(ax, **chosen)
        ax.set_title(", ".join(f"{name.replace('_', ' ')} {show(value)}" for name, value in chosen.items()), fontsize=8)
        if first is not None and ax.get_legend():
            ax.get_legend().remove()
        first = first or ax
    for ax in figure.axes:
        ax.label_outer()
    return figure


class DrillByHand(ipywidgets.VBox):
    """A strip to be drilled by hand: a slider says where, a button drills, and the map of the readings appears.

    Below it stands what the machine had found with as many holes. After the last hole the ground is laid open.

    Args:
        positions: (m,) the places that can be drilled.
        gold: (m,) what a hole finds at each of them.
        survey: `survey(holes, readings) -> (mean, std)`, the map (m,) of readings (n,) at positions (n,).
        machine: (k,) the best reading of the machine after 1, 2, ... k holes; k holes end the game.
        unit: of the gold.

    >>> game = DrillByHand([0.0, 0.5, 1.0], [1.0, 3.0, 2.0], lambda holes, readings: ([2.0] * 3, [1.0] * 3), [1.0, 3.0])
    >>> game.place.value = 1.0
    >>> game.button.click()
    >>> game.message.value
    'Holes: 1 of 2. Your best is 2.00 g/t; with as many holes the machine had 1.00 g/t.'

    Built in lesson 05.
    """

    def __init__(
        self, positions, gold, survey: Callable, machine, *, unit: str = "g/t", figsize: tuple[float, float] = (7, 3.2)
    ):
        self.positions, self.gold = np.asarray(positions, dtype=float), np.asarray(gold, dtype=float)
        self.survey, self.machine, self.unit, self.figsize = survey, np.asarray(machine, dtype=float), unit, figsize
        self.place = ipywidgets.SelectionSlider(
            options=[(f"{x:.3g}", float(x)) for x in self.positions],
            value=float(self.positions[len(self.positions) // 2]),
            description="position",
            layout={"width": "90%"},
        )
        self.button = ipywidgets.Button(description="Drill here", button_style="primary")
        self.again = ipywidgets.Button(description="Start again")
        self.image, self.message, self.text = ipywidgets.Image(format="png"), ipywidgets.HTML(), ipywidgets.HTML()
        super().__init__([self.place, ipywidgets.HBox([self.button, self.again]), self.message, self.image, self.text])
        self.place.observe(self.refresh, names="value")
        self.button.on_click(lambda _: self.drill())
        self.again.on_click(lambda _: self.start())
        self.start()

    def start(self) -> None:
        """Begins again, with no hole."""
        self.drilled: list[int] = []  # indices of positions
        self.refresh()

    def drill(self) -> None:
        """One hole at the slider; nothing once the holes are used up."""
        if len(self.drilled) < len(self.machine):
            self.drilled.append(int(np.argmin(np.abs(self.positions - self.place.value))))
            self.refresh()

    def refresh(self, _change=None) -> None:
        """Draws the holes, their map and the slider's place, and says who is ahead."""
        n, total = len(self.drilled), len(self.machine)
        self.button.disabled = n == total
        figure = Figure(figsize=self.figsize, layout="constrained")
        ax = self.draw(figure.add_subplot())
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=100)
        self.image.value = png.getvalue()
        self.alternative = self.text.value = describe(ax)
        if n == 0:
            self.message.value = f"You have {total} holes. Choose a position and drill."
            return
        best, rival = (f"{value:.2f} {self.unit}" for value in (self.gold[self.drilled].max(), self.machine[n - 1]))
        self.message.value = f"Holes: {n} of {total}. Your best is {best}; with as many holes the machine had {rival}."
        if n == total:
            self.message.value += f" The richest place has {self.gold.max():.2f} {self.unit}."

    def draw(self, ax: Axes) -> Axes:
        """What the widget shows now, on a given `ax`."""
        holes, readings = self.positions[self.drilled], self.gold[self.drilled]
        if self.drilled:
            mean, std = map(np.asarray, self.survey(holes, readings))
            ax.plot(self.positions, mean, color=BLUE, label="map")
            ax.fill_between(self.positions, mean - 2 * std, mean + 2 * std, color=BLUE, alpha=0.2, linewidth=0)
            ax.scatter(holes, readings, color="black", s=24, zorder=3, label="your holes")
        if len(self.drilled) == len(self.machine):
            ax.plot(self.positions, self.gold, color=GREY, linestyle="--", linewidth=1, label="gold")
        else:
            ax.vlines(self.place.value, 0, 1, transform=ax.get_xaxis_transform(), color=ORANGE, linewidth=1)
        ax.set(xlabel="position (km)", ylabel=f"gold ({self.unit})", xlim=(self.positions.min(), self.positions.max()))
        return finish(ax)

    def __repr__(self) -> str:
        return f"DrillByHand with {len(self.positions)} positions and {len(self.machine)} holes"


def show(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def split_choices(choices: dict[str, Iterable | str]) -> tuple[dict[str, str], dict[str, list]]:
    """The texts, and the lists of values to slide through."""
    typed = {name: value for name, value in choices.items() if isinstance(value, str)}
    choices = {name: list(values) for name, values in choices.items() if name not in typed}
    if not choices:
        raise ValueError("there is nothing to choose: pass at least one list of values, such as learning_rate=[0.01, 0.1].")
    for name, values in choices.items():
        if not values:
            raise ValueError(f"{name}={values} has no value to slide to; pass at least one.")
    return typed, choices
