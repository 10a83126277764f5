"""Processes that share this one's memory, for the builder: one that runs a function while this one
waits, and one that only stays.

Theory of operation. A fork copies: its page tables, and then every page that either side writes to.
What makes a sandbox needs none of it, only a process of its own that may be in other namespaces. So
it is a child as vfork(2) makes one, by clone(2) with CLONE_VM and CLONE_VFORK: it runs a function
in this very Python, and this process goes on when that child has ended. To Python that is a call
into C that calls back, and to C what posix_spawn(3) does.

The one that stays shares the memory too, and must therefore touch none of it: it is in one call of
the C library, fgetc(3), which waits for something to be read from a socket whose other end is ours.
The end of this process, whatever it was, is the end of that file, and of all who wait for it.

For a process of one thread, without handlers of signals. Imported by the builder: only cheap
modules of the standard library here.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import resource

from pytest_isolate._linux import signals
from pytest_isolate._linux._libc import ffi

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Callable

VM = 0x00000100
FILES = 0x00000400
VFORK = 0x00004000
PARENT = 0x00008000
_STACK_OF_PYTHON = 1 << 20  # bytes for a child that runs some Python
_STACK_OF_A_CALL = 1 << 14
_START_OF_STACK = 25  # field 28 of proc_pid_stat(5), counted behind the name
_FULLY_BUFFERED = 0
_FIRST = 3  # descriptor behind the standard ones
_USUAL = 8 << 20  # bytes of a stack


class Kin:
    """The children of this process that share its memory."""

    def __init__(self) -> None:
        self._libc = ffi.dlopen(None)
        self._callback = ffi.callback("int(void *)", self._run_body)
        # Their stacks are parts of this one's own, far below what it uses: Python 3.14 compares
        # with where its thread's stack is.
        fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
        self._stack = int(os.read(fd, 4096).rpartition(b")")[2].split()[_START_OF_STACK])
        os.close(fd)
        self._room = _room_for_each()
        self._bodies: list[Callable[[], None]] = []
        self._raised: BaseException | None = None
        self._depth = 0
        self._dead: list[int] = []  # children that have run, not yet reaped
        self._ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._waiting_at = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, _FIRST)
        theirs.close()
        self._file = self._libc.fdopen(self._waiting_at, b"r")
        # Else the first of them would have malloc(3) make one, in memory that is not its alone
        self._buffer = ffi.new("char[]", 1)
        self._libc.setvbuf(self._file, self._buffer, _FULLY_BUFFERED, 1)

    def _run_body(self, _: object) -> int:
        body = self._bodies.pop()
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - raised by run(), in the process that waits
            self._raised = error
        return 0

    def run(self, body: Callable[[], None], flags: int = 0) -> None:
        """Run ``body`` in a child, of which nothing stays but what it did.

        Raises what it raised, or ``OSError``: there was no child.

        A body may run others, with ``PARENT`` in their flags; all are reaped at the end of the
        outermost.
        """
        self._depth += 1
        self._bodies.append(body)
        try:
            stack = ffi.cast("void *", self._stack - self._depth * self._room & ~63)
            pid = self._libc.clone(
                self._callback, stack, flags | VM | VFORK | signals.SIGCHLD, ffi.NULL, ffi.NULL
            )
        finally:
            self._depth -= 1
        if pid < 0:
            code: int = ffi.errno
            self._bodies.pop()
            raise OSError(code, os.strerror(code))
        self._dead.append(pid)
        if not self._depth:
            while self._dead:
                os.waitpid(self._dead.pop(), 0)
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def stay(self, flags: int, *, shares_memory: bool) -> tuple[int, object]:
        """Make a child that does nothing until it is killed or this process ends.

        Returns its pid and its stack, to be kept as long.
        """
        stack = ffi.new("char[]", _STACK_OF_A_CALL)
        top = ffi.cast("void *", int(ffi.cast("size_t", stack)) + _STACK_OF_A_CALL - 64 & ~63)
        wait = ffi.addressof(self._libc, "fgetc")
        pid = self._libc.clone(
            wait, top, flags | (VM if shares_memory else 0) | signals.SIGCHLD, self._file, ffi.NULL
        )
        if pid < 0:
            code: int = ffi.errno
            raise OSError(code, os.strerror(code))
        return pid, stack

    def close_all_but_waiting(self) -> None:
        """In a child without ``FILES``: close every descriptor but the standard ones and that for
        which one waits who stays.
        """
        os.closerange(_FIRST, self._waiting_at)
        os.closerange(self._waiting_at + 1, os.sysconf("SC_OPEN_MAX"))


def _room_for_each() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != resource.RLIM_INFINITY and soft < _USUAL:
        soft = _USUAL if hard == resource.RLIM_INFINITY else min(_USUAL, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))
    return (
        _STACK_OF_PYTHON
        if soft == resource.RLIM_INFINITY
        else min(_STACK_OF_PYTHON, soft // 8 & ~4095)
    )
