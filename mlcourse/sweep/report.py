"""The rows of a sweep into one HTML file: summary over seeds, plots with bands, the table, links to the notebooks."""

import html
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from mlcourse.files import write_whole
from mlcourse.stats import Interval, mean_interval

SEED = "seed"  # the parameter over which is averaged
PLOTS, LINES = 6, 8  # at most

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d8d8d8; text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: #f3f3f3; }
.scroll { overflow-x: auto; }
.failed { background: #fdeeea; }
figure { margin: 1.5rem 0; } svg { max-width: 100%; height: auto; }
figcaption { color: #444; }
"""


class Group(NamedTuple):
    """Trials that differ in their seed only."""

    parameters: dict[str, Any]
    rows: list[dict]  # those that went well
    failed: int

    def summary(self, metric: str) -> Interval | float | None:
        """Mean and 95 % interval over the seeds; the value alone where there is one."""
        values = [row["metrics"][metric]["value"] for row in self.rows if metric in row["metrics"]]
        return mean_interval(values) if len(values) > 1 else values[0] if values else None


def varied(rows: list[dict]) -> list[str]:
    """The parameters that have more than one value, the seed apart."""
    names = dict.fromkeys(name for row in rows for name in row["parameters"] if name != SEED)
    return [name for name in names if len({repr(row["parameters"].get(name)) for row in rows}) > 1]


def grouped(rows: list[dict]) -> list[Group]:
    """Rows that differ in their seed only, together; in the order in which they come first.

    >>> rows = [{"status": "ok", "parameters": {"rate": 0.1, "seed": seed}, "metrics": {}} for seed in (0, 1)]
    >>> [(group.parameters, len(group.rows)) for group in grouped(rows)]
    [({}, 2)]
    """
    names = varied(rows)
    found: dict[str, Group] = {}
    for row in rows:
        parameters = {name: row["parameters"].get(name) for name in names}
        group = found.setdefault(repr(parameters), Group(parameters, [], 0))
        if row["status"] == "ok":
            group.rows.append(row)
        else:
            found[repr(parameters)] = group._replace(failed=group.failed + 1)
    return list(found.values())


def metrics_of(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["metrics"]))


def write_report(folder: Path, title: str, trials: list[dict], rows: list[dict]) -> Path:
    """Write `report.html`, which needs no other file and no network; its links lead to the notebooks beside it."""
    path = folder / "report.html"
    write_whole(path, page(title, len(trials), rows))
    return path


def page(title: str, planned: int, rows: list[dict]) -> str:
    failed = sum(row["status"] != "ok" for row in rows)
    groups, metrics = grouped(rows), metrics_of(rows)
    parts = [
        f"<h1>Sweep of {html.escape(title)}</h1>",
        f"<p>{len(rows)} of {planned} trials are done, {failed} of them failed.</p>",
    ]
    if metrics:
        parts.append("<h2>Summary</h2><p>Mean over the seeds with its 95&nbsp;% interval (Student's t).</p>")
        parts.append(summary_table(groups, metrics))
        parts += [figure(groups, metric) for metric in metrics[:PLOTS]]
        if len(metrics) > PLOTS:
            parts.append(f"<p>No plots of: {html.escape(', '.join(metrics[PLOTS:]))}.</p>")
    parts.append("<h2>Trials</h2>" + trials_table(rows, metrics))
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"


def table(head: Iterable[str], rows: Iterable[tuple[bool, list[str]]]) -> str:
    """HTML of a table; its cells are HTML already, and the first value of a row says whether it failed."""
    header = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in head)
    lines = []
    for failed, cells in rows:
        mark = " class='failed'" if failed else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<div class='scroll'><table><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def summary_table(groups: list[Group], metrics: list[str]) -> str:
    names = list(groups[0].parameters)
    lines = []
    for group in groups:
        values = [shown(group.parameters[name]) for name in names]
        numbers = [shown(group.summary(metric)) for metric in metrics]
        lines.append((not group.rows, [*values, *numbers, str(len(group.rows)), str(group.failed or "")]))
    return table([*names, *metrics, "trials", "failed"], lines)


def trials_table(rows: list[dict], metrics: list[str]) -> str:
    names = [*varied(rows), *([SEED] if any(SEED in row["parameters"] for row in rows) else [])]
    lines = []
    for row in rows:
        link = f"<a href='{quote(row['notebook'])}'>{row['trial']}</a>"
        values = [shown(row["parameters"].get(name)) for name in names]
        numbers = [shown(row["metrics"].get(metric, {}).get("value")) for metric in metrics]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        lines.append((row["status"] != "ok", [link, row["status"], *values, *numbers, seconds, shown(row["error"])]))
    return table(["trial", "status", *names, *metrics, "seconds", "error"], lines)


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and not isinstance(value, Interval):
        return f"{value:.4g}"
    return html.escape(str(value))


def figure(groups: list[Group], metric: str) -> str:
    """One metric against the numeric parameter with the most values; a line for each combination of the others."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from mlcourse import plots

    canvas = Figure(figsize=(7, 3.6), layout="constrained")
    ax = canvas.add_subplot()
    with rc_context({"svg.hashsalt": metric, "svg.fonttype": "none"}):
        draw(ax, groups, metric)
        if not ax.has_data():
            return ""
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    words = html.escape(plots.describe(ax))
    svg = svg[svg.index("<svg") :].replace("<svg", f"<svg role='img' aria-label='{words}'", 1)
    missing = sum(group.failed for group in groups)
    note = f" {missing} failed trials are not in it." if missing else ""
    return f"<figure>{svg}<figcaption>{words}{note}</figcaption></figure>"


def draw(ax: Any, groups: list[Group], metric: str) -> Any:
    """The means with their intervals as bands; single trials are points."""
    from mlcourse import plots

    axis = axis_of(groups)
    ax.set_ylabel(metric)
    if axis is None:
        return draw_bars(ax, groups, metric)
    lines: dict[str, list[tuple[float, Interval | float]]] = {}
    for group in groups:
        others = ", ".join(f"{name}={value}" for name, value in group.parameters.items() if name != axis)
        if (summary := group.summary(metric)) is not None and group.parameters[axis] is not None:
            lines.setdefault(others or metric, []).append((group.parameters[axis], summary))
    scattered = len(lines) > LINES and max(map(len, lines.values())) == 1  # random samples: nothing to connect
    if scattered:
        lines = {metric: [points[0] for points in lines.values()]}
    for color, (label, points) in zip(plots.PALETTE, lines.items(), strict=False):
        points.sort(key=lambda point: point[0])
        means = [value.mean if isinstance(value, Interval) else value for _, value in points]
        if scattered:
            ax.scatter([x for x, _ in points], means, label=label, color=color, s=18)
            continue
        ax.plot([x for x, _ in points], means, "o-", label=label, color=color, linewidth=1.8, markersize=4)
        bands = [(x, value.low, value.high) for x, value in points if isinstance(value, Interval)]
        if bands:
            ax.fill_between(*zip(*bands, strict=True), color=color, alpha=0.2, linewidth=0)
    values = [x for points in lines.values() for x, _ in points]
    if values and min(values) > 0 and max(values) / min(values) >= 50:
        ax.set_xscale("log")
    ax.set_xlabel(axis)
    if len(lines) > LINES:
        ax.set_title(f"the first {LINES} of {len(lines)} combinations", fontsize=9)
    return plots.finish(ax)


def draw_bars(ax: Any, groups: list[Group], metric: str) -> Any:
    from mlcourse import plots

    found = [(group, group.summary(metric)) for group in groups]
    found = [(group, summary) for group, summary in found if summary is not None]
    labels = [", ".join(f"{name}={value}" for name, value in group.parameters.items()) or "all" for group, _ in found]
    for place, (_, summary) in enumerate(found):
        mean, low, high = summary[:3] if isinstance(summary, Interval) else (summary, math.nan, math.nan)
        ax.errorbar([place], [mean], [[mean - low], [high - mean]], fmt="o", color=plots.BLUE, capsize=4)
    turned = {"rotation": 30, "ha": "right"} if len(labels) > 3 else {}
    ax.set_xticks(range(len(labels)), labels, **turned)
    ax.set_xlabel("combination")
    return plots.finish(ax)


def axis_of(groups: list[Group]) -> str | None:
    """The parameter that is a number everywhere and has the most values."""
    counts = {}
    for name in groups[0].parameters:
        values = [group.parameters[name] for group in groups]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            counts[name] = len(set(values))
    return max(counts, key=counts.get) if counts else None
