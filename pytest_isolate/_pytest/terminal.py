"""Pytest's terminal where there is no public way to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from _pytest.config import create_terminal_writer

from pytest_isolate._pytest import capture


def writer(config: pytest.Config) -> Any:  # noqa: ANN401 - of a class that cannot be named
    """Make a writer to the standard output that obeys ``--color``, NO_COLOR and the like.

    ``config.get_terminal_writer`` gives one only of a run that has begun.
    """
    return create_terminal_writer(config)


@contextlib.contextmanager
def meanwhile(config: pytest.Config) -> Iterator[Callable[[str], None]]:
    """While pytest is busy with something else than tests: give what shows, on a terminal, what
    that is, until it is over.
    """
    # With shells the terminal is somebody's
    screen = None if config.getoption("isolate_shell") else Screen.of(config)
    if screen is None:
        yield lambda _: None
        return
    try:
        yield lambda text: screen.show_below([(_cut(text, screen.width - 1), False)])
    finally:
        screen.clear_below()


def _cut(text: str, width: int) -> str:
    """Shorten a line in its middle, where it has the path."""
    if len(text) <= width:
        return text
    begin = width // 2 - len("...")
    return f"{text[:begin]}...{text[begin + len('...') - width :]}"


class Screen:
    """The terminal that pytest writes to, and the line below the one that it is writing.

    Written to the file behind pytest's capture, which no public name leads to: the standard output
    is captured while tests run, and what goes by pytest's writer would count as a part of its line.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._writer: Any = config.get_terminal_writer()
        self._fd = capture.standard_output(config)
        self._is_shown = False

    @classmethod
    def of(cls, config: pytest.Config) -> Screen | None:
        """Give the screen of a run; None where lines cannot be drawn anew: no terminal, one that
        knows no colours or is to have none, or somebody else's way of writing to it.
        """
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if type(reporter) is not pytest.TerminalReporter or config.get_verbosity() < 0:
            return None
        screen = cls(config)
        return screen if screen._writer.hasmarkup and os.isatty(screen._fd) else None

    @property
    def width(self) -> int:
        """Columns."""
        return int(self._writer.fullwidth)

    def show_below(self, pieces: list[tuple[str, bool]]) -> None:
        """Write a line below pytest's, in place of the one before; what is marked is yellow."""
        text = "".join(
            f"\x1b[33m{text}\x1b[0m" if is_marked else f"\x1b[2m{text}\x1b[0m"
            for text, is_marked in pieces
        )
        self._write(text)
        self._is_shown = True

    def clear_below(self) -> None:
        """Take it away."""
        if self._is_shown:
            self._write("")
            self._is_shown = False

    def _write(self, text: str) -> None:
        """Write below, and go back to where pytest's line ends."""
        column = self._writer.width_of_current_line % self.width
        said = f"\n\x1b[2K{text}\x1b[A\x1b[{column + 1}G"
        with contextlib.suppress(OSError):  # the terminal is gone, which pytest will meet too
            os.write(self._fd, said.encode("utf-8", "replace"))
