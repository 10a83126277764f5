"""What this process has open, before a fork, and what of it a sandbox has to open for itself.

Of sockets, pipes, events and devices a copy is the thing itself. A descriptor of a file leads to
the machine's file and shares its offset with every other test, so the child opens files and
directories anew, inside, by what is noted here (``_sandbox.inherited``).
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Container
from typing import NamedTuple

ACCESS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_DELETED = " (deleted)"  # proc(5) on /proc/PID/fd
MEMORY = "/memfd:"  # what the kernel writes before the name of a file of memfd_create(2)
#: File systems of the kernel, whose files have no content to be private and another inode in each
#: instance.
_KERNELS = ("/proc/", "/sys/")
# Ns, of a kernel with the slowest clock, and more: a change within the same tick leaves a file's
# time as it was
_TICKS = 100_000_000


class Opened(NamedTuple):
    """A file or directory that is open."""

    number: int
    flags: int  # as fcntl(2) says: access mode and status
    path: str
    mode: int  # of the file
    device: int
    inode: int
    size: int
    gone: bool  # it has no name any more
    inheritable: bool  # by other programs
    # An earlier number of the same open file description, with which it shares offset and flags
    twin: int = -1

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    @property
    def writable(self) -> bool:
        """Whether a write to it reaches the file."""
        return bool(self.flags & ACCESS) and not self.flags & os.O_PATH

    @property
    def of_kernel(self) -> bool:
        """Whether it is a file of /proc or /sys."""
        return self.path.startswith(_KERNELS)


class Found(NamedTuple):
    """Everything that is open."""

    files: list[Opened]  # to be opened anew
    others: set[int]  # what fork makes of it will do


_FILES = frozenset({stat.S_IFREG, stat.S_IFDIR})


class Look:
    """Looks before each fork.

    What was looked at before costs a third: its path is asked for again only if the file changed.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[_Seen, Opened]] = {}

    def now(self, but: Container[int], never: Container[tuple[int, int]] = ()) -> Found:
        """Tell what is open now, except ``but``.

        Files with device and inode of ``never`` are left to fork too.
        """
        files: list[Opened] = []
        others: set[int] = set()
        known: dict[int, tuple[_Seen, Opened]] = {}
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            if number in but:
                continue
            try:
                about = os.fstat(number)
                if (
                    stat.S_IFMT(about.st_mode) not in _FILES
                    or (about.st_dev, about.st_ino) in never
                ):
                    others.add(number)
                    continue
                flags = fcntl.fcntl(number, fcntl.F_GETFL)
                seen = (
                    about.st_dev,
                    about.st_ino,
                    flags,
                    about.st_nlink,
                    about.st_ctime_ns,
                    about.st_size,
                )
                before = self._known.get(number)
                file = (
                    before[1]
                    if before is not None and before[0] == seen
                    else _look(number, flags, about)
                )
            except OSError:
                continue  # the descriptor of the listing itself
            if file is None:
                others.add(number)
            else:
                files.append(file)
                if time.time_ns() - about.st_ctime_ns > _TICKS:
                    known[number] = (seen, file)
        self._known = known
        return Found(_with_twins(files), others)


_Seen = tuple[int, int, int, int, int, int]


def _look(number: int, flags: int, about: os.stat_result) -> Opened | None:
    """One file; None for what has no path, so that only fork can give it."""
    path = os.readlink(f"/proc/self/fd/{number}")
    # Namespaces, pidfds and the like are files to stat(2) on some kernels
    if not path.startswith("/"):
        return None
    gone = about.st_nlink == 0
    if path.startswith(MEMORY) and fcntl.fcntl(number, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
        return None  # nobody can write to it any more
    if path.endswith(_DELETED) and (gone or not _is(path, about)):
        path, gone = path.removesuffix(_DELETED), True
    elif not gone and not path.startswith(_KERNELS) and not _is(path, about):
        # A message queue; what can only be read
        if stat.S_ISREG(about.st_mode) and (path.rindex("/") == 0 or not flags & ACCESS):
            return None
        # Below a mount that came later, in another namespace, or where this user may not go: nobody
        # finds it by its path
        gone = True
    return Opened(
        number,
        flags,
        path.replace(f"/proc/{os.getpid()}/", "/proc/self/", 1),
        about.st_mode,
        about.st_dev,
        about.st_ino,
        about.st_size,
        gone,
        os.get_inheritable(number),
    )


def _with_twins(files: list[Opened]) -> list[Opened]:
    """Know those that share offset and flags."""
    earlier: dict[tuple[int, int, int], list[int]] = {}
    for position, file in enumerate(files):
        same = earlier.setdefault((file.device, file.inode, file.flags), [])
        if same and not file.flags & os.O_PATH:
            twin = next((each for each in same if _are_one(each, file.number, file.flags)), -1)
            files[position] = file._replace(twin=twin)
        same.append(file.number)
    return files


def _is(path: str, about: os.stat_result) -> bool:
    """Whether a path leads to what is open."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (about.st_dev, about.st_ino)


def _are_one(first: int, second: int, flags: int) -> bool:
    """Whether two descriptors are of one open file description, as dup(2) makes them.

    kcmp(2) says so where a container allows it. A status flag can be seen by everybody: one that
    files have no use for is turned over.
    """
    fcntl.fcntl(first, fcntl.F_SETFL, flags ^ os.O_NONBLOCK)
    try:
        return fcntl.fcntl(second, fcntl.F_GETFL) != flags
    finally:
        fcntl.fcntl(first, fcntl.F_SETFL, flags)
