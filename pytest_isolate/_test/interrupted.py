"""A Ctrl-C, or SIGTERM, while tests run: they are asked where they stand, and pytest says it as if
they had run in its own process.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

from pytest_isolate._messages import mend, reading
from pytest_isolate._sandbox.salvage import Reader
from pytest_isolate._sandbox.supervisor import Supervisor
from pytest_isolate._verdict.thread_stacks import Place, is_pytests_own, places

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
# Seconds for all of them: one that blocks the signal must not hold up whoever wants an end
_ASKING_LONGEST = 0.5


def raise_where(
    running: Sequence[tuple[str, Supervisor, Reader | None]], error: KeyboardInterrupt
) -> NoReturn:
    """Raise the interruption from where the first of the running tests stands; the others are named
    behind it.

    Of each its name, its supervisor, and whose rights to read its files count.

    One that stands in lines of the project comes before one that is only about to begin or to end.
    Their processes are the caller's to end.
    """
    until = time.monotonic() + _ASKING_LONGEST
    going_on = [each for each in running if not each[1].has_ended()]
    for _, supervisor, _ in going_on:  # all of them, before one that says nothing uses up the time
        supervisor.ask_where()
    found = [
        (name, places(supervisor.where(max(0.0, until - time.monotonic()))), reader)
        for name, supervisor, reader in going_on
    ]
    first = min(
        (each for each in found if each[1]), key=lambda each: _is_at_work(each[1]), default=None
    )
    if first is None:
        raise error
    said = [str(each) for each in error.args]
    if len(found) > 1:
        others = ", ".join(
            f"{name} ({_shown(stack)})" for name, stack, _ in found if name != first[0]
        )
        said.append(f"{first[0]}, and beside it {others}")
    mend.raise_at(
        reading.places(first[1], first[2]), KeyboardInterrupt(*filter(None, [": ".join(said)]))
    )


def is_between(error: KeyboardInterrupt) -> bool:
    """Whether it met our code or pytest's, at its work between tests, where its own line says
    nothing to anybody.
    """
    if mend.is_raised_at(error.__traceback__):  # whatever line that is, it is a test's
        return False
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return _is_ours_or_pytests(
        next((file for file in reversed(files) if not _is_pythons(file)), "")
    )


def _is_at_work(stack: list[Place]) -> bool:
    """Whether none of its lines is the project's: it may be before or behind its test, in the hook
    of some plugin.
    """
    return all(
        _is_ours_or_pytests(place.path) or _is_pythons(place.path) or "-packages" in place.path
        for place in stack
    )


def _is_ours_or_pytests(file: str) -> bool:
    return _PACKAGE in file or is_pytests_own(file)


def _is_pythons(file: str) -> bool:
    if file.startswith("<"):
        return not file.startswith("<doctest ")
    return file.startswith(os.path.dirname(os.__file__)) and "-packages" not in file


def _shown(stack: list[Place]) -> str:
    return f"{stack[-1].path}:{stack[-1].line}" if stack else "which does not say where"
