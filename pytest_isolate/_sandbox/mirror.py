"""What a test keeps in its own memory until somebody asks, written where it outlives its process:
memory that pytest shares with it.

Log records, and output that pytest captures without a file (``--capture=sys``). It costs a copy of
each text and no system call; a test that closes every descriptor or fills its disk loses nothing.
Only the end of a long text is there. The test may write into this memory whatever it likes, so
nothing of it is believed but that it is bytes.
"""

from __future__ import annotations

import fcntl
import os
import struct

from pytest_isolate._linux import syscalls

_SIZE = 1 << 16
# Bytes since the beginning of the text, of which the last ones are there, in a ring behind this
# number
_COUNT = struct.Struct("=Q")
_ROOM = _SIZE - _COUNT.size
LEFT_OUT = b"... what came before is left out ...\n"

_getpid = os.getpid  # bound before a test can replace it


def new_file() -> int:
    """Make a descriptor, close-on-exec, of memory for one text. Raises ``OSError``.

    Sealed, for pytest reads there what a test may have done to it.
    """
    fd = os.memfd_create("text", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, _SIZE)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    except OSError:
        os.close(fd)
        raise
    return fd


class Mirror:
    """One text, in the child that it was made for. No fork of that writes to it."""

    def __init__(self, fd: int) -> None:
        """Of a file of ``new_file``, whose descriptor is not needed any more then.

        Raises ``OSError``.
        """
        self._memory = syscalls.map_shared(fd, _SIZE)
        self._count = 0
        self._writer = 0

    def write(self, text: str) -> None:
        """Append, in the child."""
        pid = _getpid()
        if self._writer != pid:
            if self._writer:
                return  # a fork of the test's own process, whose text pytest does not show either
            self._writer = pid
        data = text.encode("utf-8", "backslashreplace")
        count = self._count + len(data)
        data = data[-_ROOM:]
        at = (count - len(data)) % _ROOM
        first = data[: _ROOM - at]
        self._memory[_COUNT.size + at : _COUNT.size + at + len(first)] = first
        if rest := data[len(first) :]:
            self._memory[_COUNT.size : _COUNT.size + len(rest)] = rest
        self._count = count
        _COUNT.pack_into(self._memory, 0, count)

    def clear(self) -> None:
        """Begin anew, in the child."""
        if self._count and self._writer == _getpid():
            self._count = 0
            _COUNT.pack_into(self._memory, 0, 0)


def read(fd: int) -> bytes:
    """In pytest: the text, or the last lines of it."""
    count: int = _COUNT.unpack(os.pread(fd, _COUNT.size, 0))[0]
    if count <= _ROOM:
        return os.pread(fd, count, _COUNT.size)
    ring = os.pread(fd, _ROOM, _COUNT.size)
    lines = ring[count % _ROOM :] + ring[: count % _ROOM]
    return LEFT_OUT + lines[lines.find(b"\n") + 1 :]
