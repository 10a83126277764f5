"""What a test keeps in its own memory until somebody asks, written where it outlives its process: memory that pytest shares with it.

Log records, and output that pytest captures without a file (``--capture=sys``). It costs a copy of each text and no system call; a test
that closes every descriptor or fills its disk loses nothing. Only the end of a long text is there. The test may write into this memory
whatever it likes, so nothing of it is believed but that it is bytes.
"""

from __future__ import annotations

import mmap
import os
import struct

from pytest_isolate._linux import syscalls

_SIZE = 1 << 16
_COUNT = struct.Struct("=Q")  # bytes since the beginning of the text, of which the last ones are there, in a ring behind this number
_ROOM = _SIZE - _COUNT.size
#: Where they are: memory that pytest shares, and tells nobody of.
ADDRESSES: set[int] = set()
LEFT_OUT = b"... what came before is left out ...\n"

_getpid = os.getpid  # bound before a test can replace it


class Mirror:
    """One text. Written by the child that it was made for, and by no fork of that."""

    def __init__(self) -> None:
        """Raises ``OSError``."""
        self._memory = mmap.mmap(-1, _SIZE)
        self._address = syscalls.address_of(self._memory)
        ADDRESSES.add(self._address)
        self._count = 0
        self._writer = 0

    def keep_from_forks(self) -> None:
        """In pytest, once the child is forked: the children of other tests get no copy."""
        self._memory.madvise(mmap.MADV_DONTFORK)

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

    def read(self) -> bytes:
        """The text, or the last lines of it, in pytest."""
        count: int = _COUNT.unpack_from(self._memory)[0]
        if count <= _ROOM:
            return self._memory[_COUNT.size : _COUNT.size + count]
        at = _COUNT.size + count % _ROOM
        lines = self._memory[at:] + self._memory[_COUNT.size : at]
        return LEFT_OUT + lines[lines.find(b"\n") + 1 :]

    def close(self) -> None:
        """Give the memory back."""
        ADDRESSES.discard(self._address)
        self._memory.close()
