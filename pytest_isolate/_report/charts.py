"""The page's charts as Bokeh's own descriptions, which its script draws: when which sandbox ran,
and memory over time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from pytest_isolate._report.lanes import lanes, place

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
_FAR = 3  # times what was used
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
    names = lanes(timed)
    source = ColumnDataSource(
        {
            "lane": [names[place(each)] for each in timed],
            "left": [each["started"] - zero for each in timed],
            "right": [each["started"] - zero + each["usage"]["wall_seconds"] for each in timed],
            "color": [COLORS.get(each["outcome"], _AXES) for each in timed],
            "edge": [2 * _is_bad(each) for each in timed],
            "test": [_as_text(each["nodeid"]) for each in timed],
            "outcome": [each["outcome"] for each in timed],
        }
    )
    plot = _figure(
        "seconds since the first sandbox",
        y_range=list(reversed(names.values())),
        height=90 + 34 * len(names),
    )
    plot.hbar(
        y="lane",
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
                ("in", "@lane"),
                ("from", "@left{0.000} s"),
                ("to", "@right{0.000} s"),
            ]
        )
    )
    return _described(plot, "timeline")


def _is_bad(entry: dict[str, Any]) -> bool:
    return entry["outcome"] in {"failed", "error"}


def heaviest(entries: Entries) -> list[tuple[dict[str, Any], str]]:
    """Choose the heaviest tests among those that took long enough to be looked at twice, each with
    its colour.
    """
    sampled = [each for each in entries if len(each.get("memory_samples") or ()) > 1]
    sampled.sort(key=lambda each: (-(each["usage"]["memory_peak_bytes"] or 0), each["nodeid"]))
    return list(zip(sampled, _LINES, strict=False))


def memory(entries: Entries) -> object | None:
    """Memory over time of the heaviest tests, and their limits; None if there are none."""
    shown = heaviest(entries)
    if not shown:
        return None
    plot = _figure("seconds since the fork", y_axis_label="MiB", height=300)
    highest = max(used for entry, _ in shown for _, used in entry["memory_samples"])
    for entry, color in shown:
        seconds, used = zip(*entry["memory_samples"], strict=True)
        name, limit = _as_text(entry["nodeid"]), limit_of(entry)
        source = ColumnDataSource(
            {"x": seconds, "y": [each / _MIB for each in used], "test": [name] * len(used)}
        )
        plot.line("x", "y", color=color, line_width=2, source=source)
        plot.scatter("x", "y", color=color, size=4, source=source)
        # One that is far above would make lines of what was used
        if limit is not None and limit <= _FAR * highest:
            plot.line(
                [0, max(seconds)], [limit / _MIB] * 2, color=color, line_dash="dashed", line_width=2
            )
    plot.y_range.start = 0
    plot.add_tools(
        HoverTool(tooltips=[("test", "@test"), ("after", "@x{0.00} s"), ("memory", "@y{0.0} MiB")])
    )
    return _described(plot, "memory")


def limit_of(entry: dict[str, Any]) -> int | None:
    """Return a test's limit of memory in bytes."""
    limit: int | None = (entry.get("limits") or {}).get("memory")
    return limit


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
