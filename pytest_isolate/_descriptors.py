"""Which descriptors this process has open."""

from __future__ import annotations

import os
import stat

Open = dict[int, tuple[int, int]]


def open_now() -> Open:
    """Open descriptors of this process, each with device and inode, so that a reused number is seen; directories left out."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            look = os.fstat(int(name))
        except OSError:
            continue  # the descriptor of the listing itself
        if not stat.S_ISDIR(look.st_mode):
            found[int(name)] = (look.st_dev, look.st_ino)
    return found


def is_socket(fd: int) -> bool:
    """Whether an open descriptor is a socket."""
    return stat.S_ISSOCK(os.fstat(fd).st_mode)
