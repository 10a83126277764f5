"""Copying what a file holds, without what are holes in it: a test can say of any file that it has
petabytes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator


def data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has no holes. Moves its offset."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # but holes up to its end
                raise
            return
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end


def copy(source: int, target: int, take: Callable[[int], int]) -> bool:
    """Copy to an empty file, as large as it is now. Whether all of it could be.

    ``take`` says how many of so many bytes may be copied. The kernel copies, so that no content
    passes through this process.
    """
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for begin, end in data(source, size):
        most = begin + take(end - begin)
        os.lseek(target, begin, os.SEEK_SET)
        while begin < most and (sent := os.sendfile(target, source, begin, most - begin)):
            begin += sent  # noqa: PLW2901 - the rest of this piece
        if most < end:
            os.ftruncate(target, most)
            return False
    return True
