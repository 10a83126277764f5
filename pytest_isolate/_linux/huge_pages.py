"""Make a process that forks for every test cheaper to fork, by exchanging its small pages for
transparent huge ones.

fork(2) copies an entry, and counts a reference, for each page of 4 KiB in use, and the child's end
takes each of them back. A huge page is one entry instead of 512, until somebody writes to it: then
the kernel maps it by small ones again and copies one of these. So memory that tests only read costs
their forks nothing, and what is charged to a test for its writes stays the same.

The exchange copies what the process holds once. It is a matter of speed alone: what the kernel
declines stays as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from pytest_isolate._linux import syscalls

SIZE = 2 << 20  # bytes; where the kernel's differ, as on arm64 with pages of 64 KiB, it declines
# An exchange costs what it saves in some fifty forks (benchmarks/huge_pages.py): who has forked so
# often is likely to do so again.
_FORKS = 50
_GROWTH = 32 << 20  # bytes
_PAGE = os.sysconf("SC_PAGESIZE")
_ENTRY = 8  # bytes of /proc/PID/pagemap for each page
# In memory, private and not a file's; the last bit is "mapped by nobody else"
_PRESENT = (b"\x80", b"\x81")
# Bytes: a larger mapping is reserved rather than used, as a sanitizer's; to look through terabytes
# takes seconds
_RESERVED = 1 << 36
# Of the pages, or the exchange would take much more memory than the small ones did
_WRITTEN = 7 / 8
_PRIVATE = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 +(?:\[heap\]|\[anon:.*)?$", re.MULTILINE
)


class Exchange:
    """Exchanges pages at every so many forks, if there are more of them by then."""

    def __init__(self) -> None:
        self._forks = 0
        self._exchanged = 0  # bytes resident at the last exchange

    def before_fork(self) -> bool:
        """Count a fork that is to come. Returns whether pages were exchanged before it."""
        self._forks += 1
        if self._forks % _FORKS:
            return False
        # No /proc here, or no descriptor left: then nothing is exchanged
        with contextlib.suppress(OSError):
            if (resident := _resident()) > self._exchanged + _GROWTH:
                self._exchanged = resident
                return exchange() > 0
        return False


def exchange() -> int:
    """Exchange what can be.

    Returns how many huge pages took the place of small ones. Raises ``OSError`` without a /proc.
    """
    taken = 0
    for address in _candidates():
        try:
            syscalls.collapse(address, SIZE)
        except OSError as error:
            # A page of it is pinned, huge pages are forbidden there or for this process, a kernel
            # before 6.1
            # And every further try would look for one as thoroughly
            if error.errno == errno.ENOMEM:
                break
        else:
            taken += 1
    return taken


def _candidates() -> Iterator[int]:
    """Addresses of pieces of memory, as large as a huge page, that are nearly full of
    small ones.
    """
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        found = _PRIVATE.findall(maps.read())
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for begin, end in ((int(begin, 16), int(end, 16)) for begin, end in found):
            if end - begin > _RESERVED:
                continue
            for address in range(-(-begin // SIZE) * SIZE, end - SIZE + 1, SIZE):
                entries = os.pread(
                    pagemap.fileno(), SIZE // _PAGE * _ENTRY, address // _PAGE * _ENTRY
                )
                flags = entries[_ENTRY - 1 :: _ENTRY]
                if sum(map(flags.count, _PRESENT)) > len(flags) * _WRITTEN:
                    yield address


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE
