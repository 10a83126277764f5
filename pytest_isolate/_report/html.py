"""``--isolate-html``: one page that needs no network.

Templates are Jinja2's, the timeline is Bokeh's, whose script it carries.

Everything a test wrote is data: it reaches the page as JSON without a ``<``, and the page shows it
as text.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_isolate._config.values import counted, format_duration
from pytest_isolate._report.details import Details, tags
from pytest_isolate._report.terminal import violations
from pytest_isolate._report.unbuilt import unbuilt

_NEEDED = ("jinja2", "bokeh")
_NAMED = 200  # tests without a sandbox, for each reason; the table has them all
# Which no HTML may hold, and a terminal obeys
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_USAGE = (
    "memory_peak_bytes",
    "cpu_seconds",
    "wall_seconds",
    "pids_peak",
    "disk_bytes",
    "io_read_bytes",
    "io_write_bytes",
)


def check_installed(path: str) -> None:
    """Raise ``pytest.UsageError`` if the extra is missing, with the command that brings it."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(
            f"--isolate-html={path}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
            f" not installed: python -m pip install {' '.join(missing)}"
        )


def safe_json(value: object) -> str:
    """JSON that may stand inside a script element: no ``<`` that could end it, and no lone
    surrogate that no file can hold.
    """
    return (
        json.dumps(value, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\x7f", "\\u007f")
    )


def page(
    host: Mapping[str, Mapping[str, object]],
    entries: Sequence[dict[str, Any]],
    about: Mapping[str, Any],
) -> str:
    """Draw the whole page. ``about`` is as of ``about.about``, or empty."""
    import bokeh  # noqa: PLC0415 - of the extra, and dear
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["without_control"] = partial(_CONTROL.sub, "\N{REPLACEMENT CHARACTER}")
    template = environment.from_string(_text("page.html.j2"))
    groups = unbuilt(entries)
    script = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    text: str = template.render(
        bokeh=script.read_text("utf-8").replace("</script", "<\\/script"),
        style=_text("page.css"),
        script=_text("page.js"),
        **_data(entries),
        searched=("memory", "cpu", "wall", "pids", "disk", "read", "written"),
        host=host,
        about=about,
        started=datetime.fromtimestamp(about["started"], timezone.utc) if about else None,
        count=len(entries),
        counted=counted,
        duration=format_duration,
        groups=groups,
        errors=sum(len(each.entries) for each in groups),
        named=_NAMED,
        bad=sum(each["outcome"] in {"failed", "error"} for each in entries),
        violation_count=sum(1 for _ in violations(entries)),
    )
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _data(entries: Sequence[dict[str, Any]]) -> dict[str, object]:
    """Give what the page's script reads."""
    from pytest_isolate._report import charts  # noqa: PLC0415 - needs Bokeh

    details = Details(entries)
    plots = [
        plot for plot in (charts.timeline(entries), charts.memory(entries)) if plot is not None
    ]
    legend = [
        [each["nodeid"], color, each["usage"]["memory_peak_bytes"] or 0, charts.limit_of(each)]
        for each, color in charts.heaviest(entries)
    ]
    tests = [
        [
            each["nodeid"],
            each["outcome"],
            *(each["usage"][name] for name in _USAGE),
            tags(each),
        ]
        for each in entries
    ]
    return {
        "tests": safe_json(tests),
        "details": safe_json({"tests": details.tests, "common": details.common}),
        "plots": safe_json({"plots": plots, "legend": legend}),
        "colors": charts.COLORS,
    }


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")
