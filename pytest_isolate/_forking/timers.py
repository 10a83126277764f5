"""Timers of this process that a forked child is without, stopped for a test's time here and started
again inside.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_isolate._forking.dump_later import Armed, dump_later

Interval = tuple[float, float]


@dataclass(frozen=True)
class Stopped:
    """Timers as they were when they stopped."""

    real: Interval  # of setitimer(2) and alarm(2), which are one; pytest-timeout's
    virtual: Interval
    profiling: Interval
    dump: Armed | None

    @classmethod
    def here(cls) -> Stopped:
        """Stop what would go off in pytest while it waits.

        Those of processor time go on: waiting takes none.
        """
        real = signal.setitimer(signal.ITIMER_REAL, 0)
        return cls(
            real,
            signal.getitimer(signal.ITIMER_VIRTUAL),
            signal.getitimer(signal.ITIMER_PROF),
            dump_later.suspend(),
        )

    @property
    def any_set(self) -> bool:
        """Whether any of them was to go off."""
        return self.dump is not None or any(
            each[0] for each in (self.real, self.virtual, self.profiling)
        )

    def start_inside(self) -> None:
        """In the child, whose timers fork(2) cleared."""
        signal.setitimer(signal.ITIMER_REAL, *self.real)
        if self.virtual[0]:
            signal.setitimer(signal.ITIMER_VIRTUAL, *self.virtual)
        if self.profiling[0]:
            signal.setitimer(signal.ITIMER_PROF, *self.profiling)
        dump_later.resume(self.dump)

    def start_again(self, later: float = 0.0) -> None:
        """In pytest, when the test is over."""
        signal.setitimer(signal.ITIMER_REAL, *self.real)
        dump_later.resume(self.dump, later)


@contextlib.contextmanager
def standing_still() -> Iterator[None]:
    """While this process does what is no part of the test whose time is measured: waits for others,
    or builds a sandbox.
    """
    timers, began = Stopped.here(), time.monotonic()
    try:
        yield
    finally:
        timers.start_again(time.monotonic() - began)
