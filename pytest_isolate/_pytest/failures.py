"""How pytest shows a failure of ours: in its red, with file and line, and said once."""

from __future__ import annotations

import contextlib
import io
import os
from typing import NamedTuple

import pytest

# pytest has no public way to make what a report shows, nor a writer to a text
from _pytest._code.code import (
    ExceptionRepr,
    ReprEntry,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
)
from _pytest._io import TerminalWriter

from pytest_isolate._config.values import plain


class Where(NamedTuple):
    """A line of a test."""

    path: str
    line: int
    function: str


class Red(str):
    """Text of a failure, in pytest's red; in all else the text that it is."""

    __slots__ = ()

    def toterminal(self, writer: TerminalWriter) -> None:
        """As pytest has a failure draw itself."""
        for line in self.splitlines():
            writer.line(line, red=True, bold=True)


def place(item: pytest.Item) -> Where:
    """Where a test is written."""
    path, line, _ = item.location
    name = getattr(item, "originalname", None) or item.name
    return Where(str(item.path or path), (line or 0) + 1, name)


def redden(report: pytest.TestReport, error: BaseException, where: Where) -> None:
    """Have a report show an exception as pytest's short tracebacks do, and its summary line begin
    with what it says.
    """
    if not isinstance(report.longrepr, ExceptionRepr):  # a plugin has shown it in a way of its own
        return
    name = type(error).__name__
    # What a test chose can be quoted in it
    sentence = "\n".join(map(plain, str(error).splitlines()))
    first, *more = sentence.splitlines() or [""]
    entry = ReprEntry(
        [f"E   {name}: {first}", *(f"E   {each}" for each in more)],
        None,
        None,
        ReprFileLocation(_shown(where.path), where.line, f"in {where.function}"),
        "short",
    )
    report.longrepr = ReprExceptionInfo(
        reprtraceback=ReprTraceback([entry], None, "short"),
        reprcrash=ReprFileLocation(where.path, where.line, f"{name}: {sentence}"),
    )


def text_of(report: pytest.TestReport) -> str:
    """Return what a report shows of its failure: ``longreprtext`` loses the first line's
    indentation.
    """
    file = io.StringIO()
    writer = TerminalWriter(file)
    writer.hasmarkup = False
    report.toterminal(writer)
    return file.getvalue().strip("\n").rstrip()


def _shown(path: str) -> str:
    """Shorten a path as pytest's tracebacks do."""
    with contextlib.suppress(OSError, ValueError):
        relative = os.path.relpath(path)
        return relative if len(relative) < len(path) else path
    return path
