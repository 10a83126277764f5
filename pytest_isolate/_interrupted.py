"""A Ctrl-C, or SIGTERM, while tests run: they are asked where they stand, and pytest says it as if they had run in its own process."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

from pytest_isolate import _mend, _reading
from pytest_isolate._sandbox.watch import Watch
from pytest_isolate._stacks import Place, is_pytests_own, places

_ASKING_LONGEST = 0.5  # seconds for all of them: one that blocks the signal must not hold up whoever wants an end


def raise_where(running: Sequence[tuple[str, Watch]], error: KeyboardInterrupt) -> NoReturn:
    """Raise the interruption from where the first of the running tests (name, watch) stands; the others are named behind it.

    Their processes are the caller's to end.
    """
    until = time.monotonic() + _ASKING_LONGEST
    going_on = [(name, watch) for name, watch in running if not watch.has_ended()]
    found = [(name, places(watch.where(max(0.0, until - time.monotonic())))) for name, watch in going_on]
    first = next(((name, stack) for name, stack in found if stack), None)
    if first is None:
        raise error
    said = [str(each) for each in error.args]
    if len(found) > 1:
        others = ", ".join(f"{name} ({_shown(stack)})" for name, stack in found if name != first[0])
        said.append(f"{first[0]}, and beside it {others}")
    _mend.raise_at(_reading.places(first[1]), KeyboardInterrupt(*filter(None, [": ".join(said)])))


def is_between(error: KeyboardInterrupt) -> bool:
    """Whether it met our code or pytest's, at its work between tests, where its own line says nothing to anybody."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    met = next((file for file in reversed(files) if not _is_pythons(file)), "")
    return os.path.dirname(__file__) in met or is_pytests_own(met)


def _is_pythons(file: str) -> bool:
    return file.startswith("<") or (file.startswith(os.path.dirname(os.__file__)) and "-packages" not in file)


def _shown(stack: list[Place]) -> str:
    return f"{stack[-1].path}:{stack[-1].line}" if stack else "which does not say where"
