"""A drawing function and its choices into a widget for the screen, and into a figure for print.

`explore(draw, rate=[...], batch=[...])` gives sliders, and a box to type into for a choice that is a string;
`static_view(draw, ...)` draws the same grid as small multiples. `DrillByHand` is a game: click on a strip, see its map.
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

from mlcourse.errors import DataError, unknown_name
from mlcourse.plots import BLUE, GREY, ORANGE, describe, finish

Draw = Callable[..., Axes]


class Explorer(ipywidgets.VBox):
    """One slider or text box a choice, the figure they choose, and its text alternative below it."""

    def __init__(
        self,
        draw: Draw,
        choices: dict[str, list | str],
        *,
        stack: str | None = None,
        figsize: tuple[float, float] = (6.4, 3.6),
    ):
        typed, choices = split_choices(choices)
        if stack is not None and stack not in choices:
            raise ValueError(unknown_name("stack", stack, choices))
        self.draw, self.figsize, self.choices, self.stack = draw, figsize, choices, stack
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
            if name != stack
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
            if self.stack is None:
                self.draw(figure.add_subplot(), **chosen)
            else:
                draw_stack(figure, functools.partial(self.draw, **chosen), self.stack, self.choices[self.stack])
        except DataError as error:
            if not self.boxes:
                raise
            self.text.value = f"<b>{html.escape(str(error))}</b>"
            return
        self.image.value = png_of(figure)
        self.alternative = describe(figure)
        self.text.value = "<br>".join(self.alternative.splitlines())

    def __repr__(self) -> str:  # what nbval compares: no addresses, no image bytes
        sizes = " and ".join(f"{name} ({len(self.choices[name])} values)" for name in self.sliders)
        stacked = f", all of {self.stack} ({len(self.choices[self.stack])} values) one below the other" if self.stack else ""
        typed = f" and a text box for {' and '.join(self.boxes)}" if self.boxes else ""
        return f"Explorer with sliders for {sizes}{typed}{stacked}"


def explore(
    draw: Draw, *, stack: str | None = None, figsize: tuple[float, float] = (6.4, 3.6), **choices: Iterable | str
) -> Explorer:
    """A widget with one slider a choice, starting in the middle of each.

    Args:
        draw: `draw(ax, **choice) -> ax`; called with one value of each choice. A `DataError` about a typed text is shown.
        stack: a choice that gets no slider: all its values are drawn, one below the other, to be compared.
        choices: name -> the values to slide through, at least one; or the string a text box starts with.

    >>> def line(ax, slope):
    ...     ax.plot([0, 1], [0, slope], label="line")
    ...     return ax
    >>> widget = explore(line, slope=[1, 2, 3])
    >>> widget.sliders["slope"].value = 3
    >>> widget.alternative
    'line rises from 0 at 0 to 3 at 1.'
    """
    return Explorer(draw, choices, stack=stack, figsize=figsize)


def draw_stack(figure: Figure, draw: Draw, name: str, values: list) -> None:
    """One panel below the other for the values of the choice `name`, each titled with its own; the first keeps the legend."""
    axes = figure.subplots(len(values), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for ax, value in zip(axes, values, strict=True):
        draw(ax, **{name: value})
        ax.set_title(f"{name.replace('_', ' ')} {show(value)}", fontsize=10)
        ax.label_outer()
        if ax is not axes[0] and ax.get_legend():
            ax.get_legend().remove()


def png_of(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()


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


MARGINS = {"left": 0.09, "right": 0.98, "bottom": 0.17, "top": 0.97}  # of the strip's axes, as shares of the figure
NUM_COLUMNS = 101  # that can be clicked


class DrillByHand(ipywidgets.VBox):
    """A strip to be drilled by hand: click on it, or take the slider and the button, and the map of the readings appears.

    Below it stands what the machine had found with as many holes. After the last hole the ground is laid open.
    An image widget hears no clicks, so a row of narrow transparent buttons lies over the strip.

    Args:
        positions: (m,) the places that can be drilled.
        gold: (m,) what a hole finds at each of them.
        survey: `survey(holes, readings) -> (mean, std)`, the map (m,) of readings (n,) at positions (n,).
        machine: (k,) the best reading of the machine after 1, 2, ... k holes; k holes end the game.
        unit: of the gold.

    >>> game = DrillByHand([0.0, 0.5, 1.0], [1.0, 3.0, 2.0], lambda holes, readings: ([2.0] * 3, [1.0] * 3), [1.0, 3.0])
    >>> game.columns[-1].click()
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
        self.message, self.text = ipywidgets.HTML(), ipywidgets.HTML()
        self.image = ipywidgets.Image(format="png", layout={"width": "100%", "margin": "0", "grid_area": "1 / 1"})
        self.columns = [self._column(x) for x in np.linspace(self.positions.min(), self.positions.max(), NUM_COLUMNS)]
        self.strip = self._over_the_axes()
        box = ipywidgets.GridBox([self.image, self.strip], layout={"width": f"{100 * figsize[0]:.0f}px",
                                   "max_width": "100%", "grid_template_columns": "100%"})  # fmt: skip
        super().__init__([self.message, box, self.place, ipywidgets.HBox([self.button, self.again]), self.text])
        self.place.observe(self.refresh, names="value")
        self.button.on_click(lambda _: self.drill())
        self.again.on_click(lambda _: self.start())
        self.start()

    def _column(self, x: float) -> ipywidgets.Button:
        """A button as narrow as the eye can aim, which drills at the position nearest to `x`."""
        column = ipywidgets.Button(tooltip=f"drill at {x:.2f}")
        if column.has_trait("tabbable"):  # from ipywidgets 8 on; with the keyboard the slider is the better way
            column.tabbable = False
        place = float(self.positions[np.argmin(np.abs(self.positions - x))])
        column.on_click(lambda _: self.drill(place))
        return column

    def _over_the_axes(self) -> ipywidgets.HBox:
        """The columns in a row, the middle of the first and of the last above the ends of the strip."""
        layout = ipywidgets.Layout(width="auto", min_width="0", height="auto", flex="1 1 0%", margin="0", padding="0")
        for column in self.columns:
            column.layout = layout
            column.style.button_color = "transparent"
        half = (MARGINS["right"] - MARGINS["left"]) / (len(self.columns) - 1) / 2
        sides = {side: f"{100 * (share - half):.3f}%" for side, share in
                 (("left", MARGINS["left"]), ("right", 1 - MARGINS["right"]))}  # fmt: skip
        return ipywidgets.HBox(self.columns, layout={"grid_area": "1 / 1", "margin": "0", "overflow": "hidden",
                                                     "padding": f"0 {sides['right']} 0 {sides['left']}"})  # fmt: skip

    def start(self) -> None:
        """Begins again, with no hole."""
        self.drilled: list[int] = []  # indices of positions
        self.refresh()

    def drill(self, place: float | None = None) -> None:
        """One hole at `place`, or where the slider is; nothing once the holes are used up."""
        if len(self.drilled) < len(self.machine):
            if place is not None:
                self.place.value = place
            self.drilled.append(int(np.argmin(np.abs(self.positions - self.place.value))))
            self.refresh()

    def refresh(self, _change=None) -> None:
        """Draws the holes, their map and the slider's place, and says who is ahead."""
        n, total = len(self.drilled), len(self.machine)
        self.button.disabled = n == total
        figure = Figure(figsize=self.figsize)
        figure.subplots_adjust(**MARGINS)  # fixed, so that the columns stay above the strip
        ax = self.draw(figure.add_subplot())
        self.image.value = png_of(figure)
        self.alternative = self.text.value = describe(ax)
        if n == 0:
            self.message.value = f"You have {total} holes. Click on the strip to drill, or choose a position below it."
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
