"""Memory of this process that it shares with others: ``/proc/self/maps``."""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

_SHARED = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])s ([0-9a-f]+) \S+ [0-9]+ +(/.*)$", re.MULTILINE
)
_DELETED = " (deleted)"
# Of multiprocessing and sem_open(3): nothing is kept in it, as in a pipe
_SEMAPHORE = "/dev/shm/sem."
_NO_FILES = ("/[", "/anon_hugepage")  # of the kernel's own, such as the ring of io_setup(2)
_READ, _WRITE, _EXECUTE = 1, 2, 4


class Mapping(NamedTuple):
    """A piece of memory that shows a file, and what is written to it reaches the file and everybody
    who shows it too.
    """

    begin: int
    end: int
    protection: int  # as of mmap(2)
    offset: int  # in the file
    path: str
    device: int = -1
    inode: int = -1

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file; of one without a name nobody knows them."""
        return self.device, self.inode

    @property
    def gone(self) -> bool:
        """Whether the file has no name any more, or never had one."""
        return self.inode < 0

    @property
    def writable(self) -> bool:
        """Whether it can be written through."""
        return bool(self.protection & _WRITE)


def shared() -> list[Mapping]:
    """Give the shared mappings of files and of memory without a name. 0.3 ms for a hundred mappings
    of any kind.
    """
    with open("/proc/self/maps", "rb", buffering=0) as maps:
        found = _SHARED.findall(maps.readall())
    return [mapping for fields in found if (mapping := _mapping(fields)) is not None]


def _mapping(fields: tuple[bytes, ...]) -> Mapping | None:
    """One of them; None for what is no memory to write something down: a semaphore, a device's, the
    kernel's own.
    """
    begin, end, read, write, execute, offset, name = fields
    path = os.fsdecode(name)
    protection = _READ * (read == b"r") | _WRITE * (write == b"w") | _EXECUTE * (execute == b"x")
    mapping = Mapping(int(begin, 16), int(end, 16), protection, int(offset, 16), path)
    try:
        about = os.stat(path, follow_symlinks=False)
    except OSError:
        path = path.removesuffix(_DELETED)
        return None if path.startswith((_SEMAPHORE, *_NO_FILES)) else mapping._replace(path=path)
    return (
        mapping._replace(device=about.st_dev, inode=about.st_ino)
        if stat.S_ISREG(about.st_mode)
        else None
    )
