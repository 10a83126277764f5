"""Which sockets this process has open."""

from __future__ import annotations

import os
import stat
import sys
import time


def sockets() -> set[int]:
    """By inode, so that a number that was closed and given to another one is seen.

    None where there is no /proc to look in.
    """
    found: set[int] = set()
    if not os.path.isdir("/proc/self/fd"):
        return found
    for name in os.listdir("/proc/self/fd"):
        try:
            look = os.fstat(int(name))
        except OSError:
            continue  # the descriptor of the listing itself
        if stat.S_ISSOCK(look.st_mode):
            found.add(look.st_ino)
    return found


#: When this plugin was loaded, which is before conftests are: ticks since the kernel booted, as it
#: notes them for a process's start.
BEGAN = (
    int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
    if sys.platform == "linux"
    else 0
)
#: Sockets that were open by then: whoever started pytest has left them.
INHERITED = frozenset(sockets()) if sys.platform == "linux" else frozenset[int]()
