"""The page's charts as Bokeh's own descriptions, which its script draws: when which sandbox ran,
and memory over time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool, Legend
from bokeh.plotting import figure

COLORS = {
    "passed": "#3a9d5d",
    "failed": "#d2453d",
    "error": "#b3339b",
    "xfailed": "#c98a1b",
    "xpassed": "#c98a1b",
    "skipped": "#8a8f98",
}
_AXES = "#84898f"  # readable on white and on black
# Likewise; as many tests are drawn
_LINES = ("#4c8fd8", "#dd8a2e", "#3aa66b", "#d9534f", "#9a6fd0", "#a0775a", "#d873b0", "#84898f")
_LONGEST_NAME = 90  # characters; a canvas breaks no lines
_MIB = 1 << 20

Entries = Sequence[dict[str, Any]]


def timeline(entries: Entries) -> object | None:
    """Which sandbox was when on which worker; None if no test ran inside."""
    timed = [
        each
        for each in entries
        if each.get("started") is not None and each["usage"]["wall_seconds"] is not None
    ]
    if not timed:
        return None
    # Drawn last, and with an edge: of thousands of bars each is thinner than a pixel
    timed.sort(key=_is_bad)
    zero = min(each["started"] for each in timed)
    workers = sorted({each.get("worker") or "pytest" for each in timed}, reverse=True)
    source = ColumnDataSource(
        {
            "worker": [each.get("worker") or "pytest" for each in timed],
            "left": [each["started"] - zero for each in timed],
            "right": [each["started"] - zero + each["usage"]["wall_seconds"] for each in timed],
            "color": [COLORS.get(each["outcome"], _AXES) for each in timed],
            "edge": [2 * _is_bad(each) for each in timed],
            "test": [_as_text(each["nodeid"]) for each in timed],
            "outcome": [each["outcome"] for each in timed],
        }
    )
    plot = _figure(
        "seconds since the first sandbox", y_range=workers, height=90 + 34 * len(workers)
    )
    plot.hbar(
        y="worker",
        left="left",
        right="right",
        height=0.7,
        color="color",
        line_width="edge",
        source=source,
    )
    plot.add_tools(
        HoverTool(
            tooltips=[
                ("test", "@test"),
                ("outcome", "@outcome"),
                ("from", "@left{0.000} s"),
                ("to", "@right{0.000} s"),
            ]
        )
    )
    return _described(plot, "timeline")


def _is_bad(entry: dict[str, Any]) -> bool:
    return entry["outcome"] in {"failed", "error"}


def memory(entries: Entries) -> object | None:
    """Memory over time of the heaviest tests among those that took long enough to be looked at
    twice; None if there are none.
    """
    sampled = [each for each in entries if len(each.get("memory_samples") or ()) > 1]
    sampled.sort(key=lambda each: (-(each["usage"]["memory_peak_bytes"] or 0), each["nodeid"]))
    if not sampled:
        return None
    heaviest = sampled[: len(_LINES)]
    plot = _figure("seconds since the fork", y_axis_label="MiB", height=300 + 20 * len(heaviest))
    legend = []
    for entry, color in zip(heaviest, _LINES, strict=False):
        seconds, used = zip(*entry["memory_samples"], strict=True)
        name = _as_text(entry["nodeid"])
        source = ColumnDataSource(
            {"x": seconds, "y": [each / _MIB for each in used], "test": [name] * len(used)}
        )
        line = plot.line("x", "y", color=color, line_width=2, source=source)
        dots = plot.scatter("x", "y", color=color, size=4, source=source)
        legend.append(
            (
                name if len(name) <= _LONGEST_NAME else "..." + name[3 - _LONGEST_NAME :],
                [line, dots],
            )
        )
    plot.y_range.start = 0
    style = {
        "label_text_color": _AXES,
        "background_fill_alpha": 0,
        "border_line_alpha": 0,
        "spacing": 0,
        "padding": 0,
    }
    plot.add_layout(Legend(items=legend, location="bottom_left", **style), "below")
    plot.add_tools(
        HoverTool(tooltips=[("test", "@test"), ("after", "@x{0.00} s"), ("memory", "@y{0.0} MiB")])
    )
    return _described(plot, "memory")


def _as_text(name: str) -> str:
    """No line ends and no lone surrogates: on a canvas they would be nothing at all."""
    return (
        json.dumps(name, ensure_ascii=False)[1:-1]
        .encode("utf-8", "backslashreplace")
        .decode("utf-8")
    )


def _figure(x_axis_label: str, **options: object) -> Any:  # noqa: ANN401 - Bokeh's, which has no types here
    return figure(
        x_axis_label=x_axis_label, sizing_mode="stretch_width", tools="xpan,xwheel_zoom,reset",
        toolbar_location="right",
        background_fill_alpha=0, border_fill_alpha=0, **options,
    )  # fmt: skip


def _described(plot: Any, target: str) -> object:  # noqa: ANN401
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = _AXES, 0.25
    plot.outline_line_color = plot.toolbar.logo = None
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = axis.axis_line_color = _AXES
        axis.major_tick_line_color = axis.minor_tick_line_color = _AXES
    item: object = json_item(plot, target)
    return item
