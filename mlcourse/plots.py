"""Arrays and histories into Axes, and Axes into a sentence that says what they show.

A drawing function takes the `ax` it draws on and returns it. `describe(ax)` reads the numbers back from the Axes: the text
alternative of a figure is made from what was drawn, so the two can't disagree.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from mlcourse.stats import band

# Okabe and Ito (2008): told apart with every common kind of colour blindness, and in grey by their order here.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#666666",
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, GREY)

# The same thing has the same colour in every lesson.
COLORS = {
    "train": BLUE, "validation": ORANGE, "test": GREEN, "chance": GREY, "baseline": GREY,
    "jax": BLUE, "torch": VERMILION,
    "sgd": BLUE, "momentum": ORANGE, "nesterov": PURPLE, "adagrad": YELLOW, "rmsprop": SKY, "adam": GREEN, "adamw": VERMILION,
    "newton": GREY, "random": GREY, "grid": SKY, "bayesian": GREEN, "active": ORANGE,
}  # fmt: skip


UNSTABLE = "unstable"  # a line drawn with `gid=UNSTABLE` is named in the text alternative, without numbers


def column(history: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps and values of one metric of a history; rows without it are left out.

    >>> column([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "accuracy": 0.5}], "accuracy")
    (array([2]), array([0.5]))
    """
    rows = [row for row in history if name in row]
    if not rows:
        known = sorted({key for row in history for key in row if key != "step"})
        raise ValueError(f"no row of the history has {name!r}; it has {known}.")
    return np.array([row["step"] for row in rows]), np.array([row[name] for row in rows])


def curves(ax: Axes, history: list[dict], names: dict[str, str], *, smooth: int = 1) -> Axes:
    """Metrics of one history against the update, one line each.

    Args:
        names: metric -> label, for example `{"loss": "train", "validation_loss": "validation"}`; a label that stands in
            `COLORS` gets that colour.
        smooth: width in updates of a running mean over the metrics that have a value at every update.
    """
    for name, label in names.items():
        steps, values = column(history, name)
        if smooth > 1 and len(values) > 10 * smooth:
            values = np.convolve(values, np.full(smooth, 1 / smooth), mode="valid")
            steps = steps[smooth - 1 :]
        ax.plot(steps, values, label=label, color=COLORS.get(label), linewidth=1.8)
    ax.set_xlabel("update")
    return finish(ax)


def curves_with_band(ax: Axes, x: Sequence[float], runs: np.ndarray, *, label: str, color: str | None = None) -> Axes:
    """The mean over runs with its 95 % interval as a band.

    Args:
        x: (points,)
        runs: (runs, points), at least 2 runs.
    """
    mean, low, high = band(runs)
    (line,) = ax.plot(x, mean, label=label, color=color or COLORS.get(label), linewidth=1.8)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return finish(ax)


def reference_line(ax: Axes, value: float, label: str) -> Axes:
    """A dashed grey line at what knowing nothing gives: chance, a constant, the noise floor."""
    ax.axhline(value, color=GREY, linestyle="--", linewidth=1.2, label=label)
    return finish(ax)


def images(axes: Sequence[Axes], pixels: np.ndarray, titles: Sequence[str]) -> Sequence[Axes]:
    """Grey images, one an Axes. `pixels`: (n, height, width), dark on white."""
    for ax, image, title in zip(np.ravel(axes), pixels, titles, strict=False):
        ax.imshow(image, cmap="gray_r", interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
    return axes


def finish(ax: Axes) -> Axes:
    """A legend where there are labels, and a light grid behind the data."""
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=9)
    return ax


def describe(figure: Figure | Axes | Sequence[Axes]) -> str:
    """A text alternative, computed from the data that were drawn: one sentence a line, bar group, point cloud or image.

    Numbers have three significant digits. Lines say where they start and end, and where between lies an extreme beyond both.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot(xlabel="update", ylabel="loss")
    >>> _ = ax.plot([0, 100, 200], [2.3, 0.05, 0.1], label="train")
    >>> describe(ax)
    'loss against update. train falls from 2.3 at 0 to 0.1 at 200, lowest 0.05 at 100.'
    """
    if isinstance(figure, Figure):
        all_axes = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != "<colorbar>"]
    else:
        all_axes = [figure] if isinstance(figure, Axes) else list(np.ravel(figure))
    texts = [describe_axes(ax) for ax in all_axes if ax.has_data()]
    if not texts:
        raise ValueError("there is nothing to describe: the figure has no Axes with data. Draw first.")
    return "\n".join(texts)


def describe_axes(ax: Axes) -> str:
    x_name, y_name = ax.get_xlabel(), ax.get_ylabel()
    heading = ax.get_title()
    if x_name and y_name:
        heading = ": ".join(filter(None, (heading, f"{y_name} against {x_name}")))
    parts = [heading] if heading else []
    for container in ax.containers:
        heights = [bar.get_height() for bar in container if hasattr(bar, "get_height")]
        if heights:
            parts.append(describe_bars(name_of(container, "bars"), heights, [t.get_text() for t in ax.get_xticklabels()]))
    for line in ax.get_lines():
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        name = name_of(line, "a line")
        if line.get_gid() == UNSTABLE:
            parts.append(f"{name} is unstable: its numbers differ between machines")
            continue
        is_level = line.get_linestyle() in ("--", ":") and len(y) == 2 and y[0] == y[1]
        parts.append(f"{name}: {y[0]:.3g}" if is_level else describe_line(name, x, y))
    for cloud in ax.collections:
        if isinstance(cloud, PathCollection) and len(cloud.get_offsets()):
            points = np.asarray(cloud.get_offsets())
            (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
            name = name_of(cloud, "points")
            parts.append(f"{name}: {len(points)} points, x from {x0:.3g} to {x1:.3g}, y from {y0:.3g} to {y1:.3g}")
    for image in ax.get_images():
        values = np.asarray(image.get_array(), dtype=float)
        size = " by ".join(map(str, values.shape[:2]))
        parts.append(f"image of {size}, values from {np.nanmin(values):.3g} to {np.nanmax(values):.3g}")
    return ". ".join(parts) + "."


def describe_line(name: str, x: np.ndarray, y: np.ndarray) -> str:
    """Where a line starts and ends, and its extreme between; points that are not finite are counted."""
    finite = np.isfinite(x) & np.isfinite(y)
    lost = f", {len(y) - finite.sum()} of {len(y)} points not finite" if not finite.all() else ""
    x, y = x[finite], y[finite]
    if len(y) == 0:
        return f"{name} has no finite point"
    if len(y) == 1:
        return f"{name}: {y[0]:.3g} at {x[0]:.3g}{lost}"
    change = y[-1] - y[0]
    verb = "stays at" if np.ptp(y) < 1e-9 * max(1e-30, abs(y[0])) else "falls" if change < 0 else "rises"
    if verb == "stays at":
        return f"{name} stays at {y[0]:.3g} from {x[0]:.3g} to {x[-1]:.3g}{lost}"
    text = f"{name} {verb} from {y[0]:.3g} at {x[0]:.3g} to {y[-1]:.3g} at {x[-1]:.3g}"
    margin = 0.02 * np.ptp(y)
    if min(y[0], y[-1]) - y.min() > margin:
        text += f", lowest {y.min():.3g} at {x[y.argmin()]:.3g}"
    if y.max() - max(y[0], y[-1]) > margin:
        text += f", highest {y.max():.3g} at {x[y.argmax()]:.3g}"
    return text + lost


def describe_bars(name: str, heights: list[float], labels: list[str]) -> str:
    if len(labels) == len(heights) and any(labels) and len(heights) <= 12:
        return f"{name}: " + ", ".join(f"{label} {height:.3g}" for label, height in zip(labels, heights, strict=True))
    return f"{name}: {len(heights)} bars from {min(heights):.3g} to {max(heights):.3g}"


def name_of(artist, default: str) -> str:
    label = str(artist.get_label())
    return default if label.startswith("_") or not label else label
