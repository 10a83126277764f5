"""The formats of reports that are written into a file of their own at the end of a run.

A further one is a class here, in ``FORMATS``, the module that makes its text, and a row in
``_config.settings`` for its option.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]  # an entry of the JSON report


class Told(NamedTuple):
    """All that a report is made of."""

    host: Json  # what this machine can do
    entries: list[Json]
    about: Callable[[], Json]  # the run as a whole, for those who want it (``about``)


class Format(Protocol):
    """One format."""

    option: str  # as users type it
    words: str  # what it is
    sign: bytes  # a pattern that the first KiB of each one matches, and nobody else's

    def check(self, path: str) -> None:
        """Say at the start of a run what would keep it from being made.

        Raises ``pytest.UsageError``.
        """

    def text(self, told: Told) -> str:
        """Make all of it."""


class JsonReport:
    """One line a test, for programs."""

    option = "--isolate-report"
    words = "JSON report"
    sign = rb'\{"schema": \d+, "host": \{'

    def check(self, path: str) -> None:
        """Nothing does."""

    def text(self, told: Told) -> str:
        """Make the JSON."""
        from pytest_isolate._report import json_report  # noqa: PLC0415 - each for those who want it

        return json_report.text(told.host, told.entries)


class HtmlPage:
    """One page to look at."""

    option = "--isolate-html"
    words = "HTML page"
    sign = rb"<!doctype html>(?s:.)*isolated tests</title>"

    def check(self, path: str) -> None:
        """See whether what draws it is installed."""
        from pytest_isolate._report import html  # noqa: PLC0415

        html.check_installed(path)

    def text(self, told: Told) -> str:
        """Make the page."""
        from pytest_isolate._report import html  # noqa: PLC0415

        return html.page(told.host, told.entries, told.about())


class Trace:
    """When what ran, for a viewer of traces."""

    option = "--isolate-trace"
    words = "trace"
    sign = rb'\{"displayTimeUnit": "ms", "traceEvents": \[\n'

    def check(self, path: str) -> None:
        """Nothing does."""

    def text(self, told: Told) -> str:
        """Make the trace."""
        from pytest_isolate._report import trace  # noqa: PLC0415

        return trace.text(told.entries)


FORMATS: tuple[Format, ...] = (JsonReport(), HtmlPage(), Trace())


def option_name(kind: Format) -> str:
    """Give the option's name in ``config.option`` and in the ini file."""
    return kind.option.removeprefix("--").replace("-", "_")
