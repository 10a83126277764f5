"""What faulthandler wrote of a test's threads, read as text that the test may have written: shown,
and never acted upon.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pytest_isolate._config.values import plain

_FRAME = '  File "'
_PYTESTS_OWN = (
    "/_pytest/", "/pluggy/", "/pytest/__main__.py", "<frozen runpy>", "/pytest_isolate/plugin.py",
    "/pytest_isolate/_child/",
    "/pytest_isolate/_pytest/", "/pytest_isolate/_test/", "/xdist/remote.py",
    "/execnet/gateway_base.py",
)  # fmt: skip
MOST_FRAMES = 100  # of one stack, the innermost, as faulthandler has it
_PLACE = re.compile(r' {2}File "(.+)", line (\d{1,7}) in (.+)')
_THREAD = re.compile(
    r"(?:Current t|T)hread 0x[0-9a-f]{1,16}(?![0-9a-f]).* \(most recent call first\):"
)
_RUNS_TESTS = "/_pytest/runner.py"
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


class Place(NamedTuple):
    """A line of a function that has not returned."""

    path: str
    line: int
    function: str


def readable(stacks: str) -> str:
    """Faulthandler's dump without the frames of pytest and pluggy, which are the same for every
    test.
    """
    lines: list[str] = []
    for line in stacks.splitlines():
        ours = _is_own(line)
        shown = "  (frames of pytest and pluggy)" if ours else plain(line)
        if not (ours and lines and lines[-1] == shown):
            lines.append(shown)
    return "\n".join(lines)


def places(stacks: str) -> list[Place]:
    """Where the thread stands that runs the test, the innermost last, without pytest's own frames
    if there are others.
    """
    threads = list(_threads(stacks.splitlines()))
    lines = next(
        (lines for lines in threads if any(_RUNS_TESTS in line for line in lines)),
        threads[0] if threads else [],
    )
    found = [line for line in lines if not _is_own(line)] or lines[:1]
    return [place for line in reversed(found) if (place := _place(line)) is not None]


def _threads(lines: list[str]) -> Iterator[list[str]]:
    heads = [at for at, line in enumerate(lines) if _THREAD.fullmatch(line)]
    for at, following in pairwise([*heads, len(lines)]):
        yield [line for line in lines[at + 1 : following] if line.startswith(_FRAME)]


def _place(line: str) -> Place | None:
    found = _PLACE.fullmatch(line)
    return (
        None if found is None else Place(_unescaped(found[1]), int(found[2]), _unescaped(found[3]))
    )


def _unescaped(name: str) -> str:
    """Faulthandler writes ASCII, and a backslash as it is: whether one begins an escape only the
    file system can say.
    """
    if os.path.exists(name):
        return name
    return _ESCAPED.sub(
        lambda match: _character(int(match[1] or match[2] or match[3], 16), match[0]), name
    )


def _character(number: int, otherwise: str) -> str:
    return chr(number) if 0x80 <= number < 0x110000 else otherwise


def _is_own(line: str) -> bool:
    return line.startswith(_FRAME) and is_pytests_own(line)


def is_pytests_own(path: str) -> bool:
    """Whether the file is of pytest, pluggy or ours: below every test of a run there are the same
    frames.
    """
    return any(part in path for part in _PYTESTS_OWN)
