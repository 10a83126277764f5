"""On a terminal, with ``--isolate-jobs``: which tests run, in a line below pytest's own, while
pytest waits for one of them.

The line is there only meanwhile. Nobody else writes then: tests and pytest's threads are captured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from pytest_isolate._config.values import counted, format_duration, plain
from pytest_isolate._pytest import terminal

_LONG = 1.0  # seconds that some test has to have run for the line to be drawn
_FIRST, _AGAIN = 0.1, 0.5  # seconds of a wait until it is, and drawn anew
_SLOW = 10.0  # seconds from which a test is called slow
_CUT, _SHORTEST = "...", 12  # columns of a name
_WIDE = 0x1100  # from here on characters may take two columns

Beat = Callable[[], float]  # draws; gives the seconds until it wants to be called again


class Status:
    """The line of one run."""

    def __init__(self, config: pytest.Config) -> None:
        # With shells the terminal is somebody's
        self._screen = None if config.getoption("isolate_shell") else terminal.Screen.of(config)

    @contextmanager
    def of(self, tests: Sequence[tuple[str, float]]) -> Iterator[Beat | None]:
        """Show tests while pytest waits for them: each one's name and when it began, in seconds
        since the epoch. Gives what is to be called now and then; None where nothing is shown.
        """
        screen = self._screen
        if screen is None:
            yield None
            return
        at = max(time.time() + _FIRST, min(begun for _, begun in tests) + _LONG)

        def beat() -> float:
            nonlocal at
            if (left := at - time.time()) > 0:  # somebody else has woken us
                return left
            screen.show_below(line(tests, time.time(), screen.width - 1))
            at = time.time() + _AGAIN
            return _AGAIN

        try:
            yield beat
        finally:
            screen.clear_below()


def line(tests: Sequence[tuple[str, float]], now: float, width: int) -> list[tuple[str, bool]]:
    """Write who runs and for how long, the longest first, into so many columns: pieces of text, and
    which of them call a test slow.
    """
    title = f"{counted(len(tests), 'test')} running: "
    pieces, left = [(title, False)], width - len(title)
    for at, (name, begun) in enumerate(sorted(tests, key=lambda each: each[1])):
        seconds = max(0.0, now - begun)
        word = "SLOW " if seconds >= _SLOW else ""
        time_ = f" {format_duration(round(seconds, 1))}{', ' if at < len(tests) - 1 else ''}"
        room = left // (len(tests) - at) - len(word) - len(time_)
        if room < _SHORTEST:
            break
        text = _end(plain(name), room) + time_
        left -= len(word) + _columns(text)
        pieces += [*([(word, True)] if word else []), (text, False)]
    return pieces if width >= len(title) else []


def _columns(text: str) -> int:
    return sum(1 if ord(each) < _WIDE else 2 for each in text)


def _end(name: str, columns: int) -> str:
    """Cut a name to its end, which tells a test from those beside it."""
    if _columns(name) <= columns:
        return name
    while _columns(name) > columns - len(_CUT):
        name = name[1:]
    return _CUT + name
