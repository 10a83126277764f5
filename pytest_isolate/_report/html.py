"""``--isolate-html``: one page that needs no network. Templates are Jinja2's, the timeline is Bokeh's, whose script it carries.

Everything a test wrote is data: it reaches the page as JSON without a ``<``, and the page shows it as text.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_isolate._report.terminal import violations

_NEEDED = ("jinja2", "bokeh")
_COLORS = {"passed": "#3a9d5d", "failed": "#d2453d", "error": "#b3339b", "xfailed": "#c98a1b", "xpassed": "#c98a1b", "skipped": "#8a8f98"}
_AXES = "#84898f"  # readable on white and on black
_OUTPUT_SHOWN = 200  # violations with their output; the table has them all
_USAGE = ("memory_peak_bytes", "cpu_seconds", "wall_seconds", "pids_peak", "disk_bytes", "io_read_bytes", "io_write_bytes")


def check_installed(path: str) -> None:
    """Raise ``pytest.UsageError`` if the extra is missing, with the command that brings it."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(
            f'--isolate-html={path}: {" and ".join(missing)} not installed: python -m pip install "pytest-isolate-ns[html]"'
        )


def safe_json(value: object) -> str:
    """JSON that may stand inside a script element: no ``<`` that could end it, and no lone surrogate that no file can hold."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page(host: Mapping[str, Mapping[str, object]], entries: Sequence[dict[str, Any]]) -> str:
    """The whole page."""
    import bokeh  # noqa: PLC0415 - of the extra, and dear
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((Path(__file__).parent / "page.html.j2").read_text("utf-8"))
    found = list(violations(entries))
    script = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    text: str = template.render(
        bokeh=script.read_text("utf-8").replace("</script", "<\\/script"),
        timeline=safe_json(_timeline(entries)),
        tests=safe_json([[each["nodeid"], each["outcome"], *(each["usage"][name] for name in _USAGE)] for each in entries]),
        host=host,
        count=len(entries),
        violations=found[:_OUTPUT_SHOWN],
        violation_count=len(found),
    )
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _timeline(entries: Sequence[dict[str, Any]]) -> object | None:
    """Which sandbox was when on which worker, as Bokeh's own description; None if nothing has a time."""
    from bokeh.embed import json_item  # noqa: PLC0415
    from bokeh.models import ColumnDataSource, HoverTool  # noqa: PLC0415
    from bokeh.plotting import figure  # noqa: PLC0415

    timed = [each for each in entries if each.get("started") is not None and each["usage"]["wall_seconds"] is not None]
    if not timed:
        return None
    zero = min(each["started"] for each in timed)
    workers = sorted({each.get("worker") or "pytest" for each in timed}, reverse=True)
    source = ColumnDataSource(
        {
            "worker": [each.get("worker") or "pytest" for each in timed],
            "left": [each["started"] - zero for each in timed],
            "right": [each["started"] - zero + each["usage"]["wall_seconds"] for each in timed],
            "color": [_COLORS.get(each["outcome"], _AXES) for each in timed],
            "test": [json.dumps(each["nodeid"])[1:-1] for each in timed],
            "outcome": [each["outcome"] for each in timed],
        }
    )
    plot: Any = figure(
        y_range=workers, height=90 + 34 * len(workers), sizing_mode="stretch_width", tools="xpan,xwheel_zoom,reset",
        x_axis_label="seconds since the first test", toolbar_location="right", background_fill_alpha=0, border_fill_alpha=0,
    )  # fmt: skip
    plot.hbar(y="worker", left="left", right="right", height=0.7, color="color", line_color=None, source=source)
    plot.add_tools(HoverTool(tooltips=[("test", "@test"), ("outcome", "@outcome"), ("from", "@left{0.000} s"), ("to", "@right{0.000} s")]))
    plot.grid.grid_line_alpha = 0.25
    plot.outline_line_color = plot.toolbar.logo = None
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = axis.axis_line_color = _AXES
        axis.major_tick_line_color = axis.minor_tick_line_color = _AXES
    item: object = json_item(plot, "timeline")
    return item
