"""SIGTERM to pytest is what one Ctrl-C is: fixtures are torn down, sandboxes end.

Plain pytest would be gone without a word.

Only from the first sandbox on, and only where nobody else has a handler: a run without isolated
tests is a plain run. So is a
fork: it has the default again, and misses no signal on the way to it, for Python forgets those that
    come before its handlers know.

Nor is a Ctrl-C or SIGTERM lost in pytest that comes while anybody forks: what a hook of
``os.register_at_fork`` raises is printed and forgotten. Both wait until the fork is over, and the
hooks that see to that run no line of Python, in which they could be met.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
from types import FrameType

#: C's own: Python's also runs the handlers of what has come. By ctypes, which leaves ``errno``
#: alone, as cffi does not: up to Python 3.11 ``os.fork`` looks there for why the kernel refused
#: when the hooks have run.
_sigmask = ctypes.PyDLL(None).pthread_sigmask
_SIGSET_SIZE = 128  # bytes, in glibc and in musl


def _signal_set(*numbers: int) -> ctypes.Array[ctypes.c_char]:
    mask = sum(1 << (number - 1) for number in numbers)
    return ctypes.create_string_buffer(
        mask.to_bytes(ctypes.sizeof(ctypes.c_ulong), sys.byteorder), _SIGSET_SIZE
    )


class OnTerminate:
    """The handler, for as long as a run has sandboxes."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        )
        if self._ours:
            signal.signal(signal.SIGTERM, self._interrupt)
            self._block_while_forking()

    def _block_while_forking(self) -> None:
        """Hooks before a fork are called last registered first, those behind it first registered
        first.
        """
        blocked, before = _signal_set(signal.SIGINT, signal.SIGTERM), _signal_set()
        turn = threading.RLock()  # of the threads that fork: there is one ``before``
        block = functools.partial(_sigmask, signal.SIG_BLOCK, blocked, before)
        unblock = functools.partial(_sigmask, signal.SIG_SETMASK, before, None)
        os.register_at_fork(after_in_child=self.close)
        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=unblock)
        os.register_at_fork(
            before=turn.acquire, after_in_parent=turn.release, after_in_child=turn.release
        )

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._pid:  # a fork that some library made behind Python's back
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise KeyboardInterrupt("SIGTERM")

    def close(self) -> None:
        """Put the default back: in the parent at the end of its run, in a child before anything
        else.
        """
        if self._ours and signal.getsignal(signal.SIGTERM) == self._interrupt:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._ours = False
