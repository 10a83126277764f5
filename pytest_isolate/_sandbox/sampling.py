"""Look from outside how much memory a test holds, while it runs."""

from __future__ import annotations

import time

from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._sandbox.sandbox import Sandbox

# The pipes are emptied this often rather than at each write: waking for every frame cost as much as
# reading all of them at the end. A writer that fills one (1 MiB where the kernel allows) waits at
# most this long, in seconds.
LOOK_AGAIN = 0.02
# While tracemalloc is on and there is a limit to its memory: allocating 16 MiB takes some
# milliseconds
_LOOK_CLOSELY = 0.001
_MOST_SAMPLES = 200
# Bytes above the last one, or an eighth of it: then it is worth 0.1 ms or more to see who holds
# them
_NEW_PEAK = 1 << 20


class Sampler:
    """The looks at one test.

    ``alarm``: at so many bytes of memory the child gets this signal, once, if it can say where they
    were allocated. ``limit``: the bytes of the test's own, where nobody but us looks.
    """

    def __init__(
        self, sandbox: Sandbox, alarm: tuple[int, int] | None = None, limit: int | None = None
    ) -> None:
        self._sandbox, self._alarm, self._limit = sandbox, alarm, limit
        self._started = time.monotonic()
        self.interval = LOOK_AGAIN
        self._next = self._started + LOOK_AGAIN
        self._looked_at = 0  # bytes of memory at which we looked who holds them

    def begin(self, *, traces: bool) -> None:
        """Begin, for it is inside. ``traces``: and can say where memory is allocated."""
        if self._alarm is not None and traces:
            self.interval, self._next = _LOOK_CLOSELY, self._started

    def pass_over(self, seconds: float) -> None:
        """Leave out time that was not the test's."""
        self._started += seconds

    def look(self, now: float, result: ProcessResult) -> None:
        """Note how much is used, if it is time to: with several in flight others wake us more
        often.
        """
        if now >= self._next:
            self._next = now + self.interval
            self._sample(result)

    def _sample(self, result: ProcessResult) -> None:
        bytes_now = self._sandbox.memory_now()
        if bytes_now is None:
            return
        samples = result.memory
        samples.append((time.monotonic() - self._started, bytes_now))
        if bytes_now > self._looked_at + max(_NEW_PEAK, self._looked_at >> 3):
            self._looked_at, result.largest = (
                bytes_now,
                self._sandbox.largest_process() or result.largest,
            )
        if len(samples) > _MOST_SAMPLES:  # of a long test every second one, and so on
            del samples[::2]
        entered = result.first("entered") or {}
        base, pid = entered.get("base"), entered.get("pid")
        if not isinstance(base, int):
            return
        if self._limit is not None and bytes_now - base > self._limit:
            result.memory_exceeded = bytes_now - base
        if (
            self._alarm is not None
            and bytes_now - base > self._alarm[0]
            and entered.get("traces") is True
            and isinstance(pid, int)
        ):
            self._sandbox.signal(pid, self._alarm[1])
            self._alarm, self.interval = None, LOOK_AGAIN
