"""SIGTERM to pytest is what one Ctrl-C is: fixtures are torn down, sandboxes end. Plain pytest would be gone without a word.

Only from the first sandbox on, and only where nobody else has a handler: a run without isolated tests is a plain run. So is a
fork: it has the default again, and misses no signal on the way to it, for Python forgets those that come before its handlers know.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


class OnTerminate:
    """The handler, for as long as a run has sandboxes."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        self._masks = threading.local()  # of the thread that forks
        if self._ours:
            signal.signal(signal.SIGTERM, self._interrupt)
            os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child)

    def _before_fork(self) -> None:
        if self._ours:
            self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _after_fork(self) -> None:
        before = self._masks.__dict__.pop("before", None)
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _in_child(self) -> None:
        self.close()
        self._after_fork()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._pid:  # a fork that some library made behind Python's back
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise KeyboardInterrupt("SIGTERM")

    def close(self) -> None:
        """Put the default back: in the parent at the end of its run, in a child before anything else."""
        if self._ours and signal.getsignal(signal.SIGTERM) == self._interrupt:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._ours = False
