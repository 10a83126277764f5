"""``faulthandler.dump_traceback_later`` across a fork: a timer of one process, and this one has
two.

Its watchdog is a thread in C that holds a lock as long as it waits. A forked child has the lock and
not the thread: whoever cancels the timer there, as pytest does behind every test when
``faulthandler_timeout`` is set, waits for ever. So the timer is cancelled before a fork and set
again on both sides: inside for the test, whose stacks are the ones to show, and in pytest when the
test is over. It cannot be asked whether it is set, or how: the two functions are therefore
replaced, in runs that isolate, by ones that remember.
"""

from __future__ import annotations

import faulthandler
import sys
import time
from dataclasses import dataclass
from typing import Any

_SOONEST = 0.001  # seconds; faulthandler takes none below a microsecond


@dataclass(frozen=True)
class Armed:
    """A call of ``dump_traceback_later``, and when it is due."""

    timeout: float
    repeat: bool
    file: Any  # an open file or its number
    more: dict[str, Any]
    due: float  # on the monotonic clock

    @property
    def fd(self) -> int:
        """Where it writes; -1 when that is closed by now."""
        if isinstance(self.file, int):
            return self.file
        try:
            return int(self.file.fileno())
        except (OSError, ValueError, AttributeError):
            return -1


class DumpLater:
    """The one timer of this process."""

    def __init__(self) -> None:
        self.armed: Armed | None = None
        self.gone_by = 0.0  # seconds of what the next call is for, in another process
        self._original: tuple[Any, Any] | None = None

    def install(self) -> None:
        """Remember from now on. The functions as they were are called by the new ones."""
        if self._original is None:
            self._original = (
                faulthandler.dump_traceback_later,
                faulthandler.cancel_dump_traceback_later,
            )
            _replace(self._dump_traceback_later, self._cancel_dump_traceback_later)

    def uninstall(self) -> None:
        """Have the functions as they were. What is armed stays armed."""
        if self._original is not None:
            _replace(*self._original)
            self._original, self.armed = None, None

    def _dump_traceback_later(
        self, timeout: float, repeat: bool = False, file: Any = None, exit: bool = False,  # noqa: A002, ANN401, FBT002
        **more: Any  # noqa: ANN401 - as faulthandler has it
    ) -> None:  # fmt: skip
        assert self._original is not None
        file = sys.stderr if file is None else file
        timeout, self.gone_by = max(timeout - self.gone_by, _SOONEST), 0.0
        more["exit"] = exit  # and what Python 3.15 and later have
        self._original[0](timeout, repeat, file, **more)
        self.armed = Armed(timeout, repeat, file, more, time.monotonic() + timeout)

    def _cancel_dump_traceback_later(self) -> None:
        assert self._original is not None
        self.armed = None
        self._original[1]()

    def suspend(self) -> Armed | None:
        """Let go of the watchdog, also of one that was set before anybody remembered.

        What it was, for ``resume``.
        """
        armed = self.armed
        faulthandler.cancel_dump_traceback_later()
        return armed

    def resume(self, armed: Armed | None, later: float = 0.0) -> None:
        """Set it again for when it was due, ``later`` by so many seconds.

        What was due meanwhile has been shown where it ran.
        """
        if armed is None or armed.fd < 0:
            return
        left = armed.due + later - time.monotonic()
        if left > 0 or armed.repeat:  # a repeated one has no first interval of its own
            faulthandler.dump_traceback_later(
                armed.timeout if armed.repeat else left, armed.repeat, armed.file, **armed.more
            )


def _replace(arm: Any, cancel: Any) -> None:  # noqa: ANN401 - to mypy a function has the type that it was defined with
    module: Any = faulthandler
    module.dump_traceback_later, module.cancel_dump_traceback_later = arm, cancel


#: There is one in a process.
dump_later = DumpLater()
