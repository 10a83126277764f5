"""Copy files out of a sandbox's private file system, after its end. What lies there was written by a test: nothing is believed.

Directories are walked by descriptor and never through a symbolic link; links come out as links, devices and sockets not
at all, and there is a cap on how many files and bytes come out.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_MOST_FILES = 10_000
_MOST_BYTES = 1 << 30
_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Budget:
    """What may still come out."""

    files: int = _MOST_FILES
    bytes: int = _MOST_BYTES

    @property
    def spent(self) -> bool:
        """Whether something had to stay inside."""
        return self.files <= 0 or self.bytes <= 0


def private_path(uppers: tuple[tuple[str, str], ...], path: str) -> str | None:
    """Where in the private file system the written files of an absolute path of the sandbox are."""
    best = max(
        (upper for upper in uppers if path == upper[0] or path.startswith(upper[0].rstrip("/") + "/")),
        key=lambda upper: len(upper[0]),
        default=None,
    )
    return None if best is None else os.path.join(best[1], os.path.relpath(path, best[0]))


def copy_out(private: int, relative: str, target: Path) -> Budget | None:
    """Copy the directory ``relative`` of the private file system to ``target``, which must not exist.

    Returns what was left of the caps; None when there is no such directory. Raises ``OSError`` if the machine's disk
    refuses.
    """
    fd = os.dup(private)
    for part in Path(relative).parts:
        try:
            below = os.open(part, _DIRECTORY, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:  # ELOOP: a link where there was a directory
            if error.errno != errno.ELOOP:
                raise
            return None
        finally:
            os.close(fd)
        fd = below
    budget = Budget()
    try:
        target.mkdir(mode=0o700)
        _copy_directory(fd, target, budget)
    finally:
        os.close(fd)
    return budget


def _copy_directory(fd: int, target: Path, budget: Budget) -> None:
    for entry in os.scandir(fd):
        if budget.spent:
            return
        budget.files -= 1
        look = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(look.st_mode):
            os.symlink(os.readlink(entry.name, dir_fd=fd), target / entry.name)
        elif stat.S_ISDIR(look.st_mode):
            below = os.open(entry.name, _DIRECTORY, dir_fd=fd)
            try:
                (target / entry.name).mkdir(mode=0o700)
                _copy_directory(below, target / entry.name, budget)
            finally:
                os.close(below)
            (target / entry.name).chmod(stat.S_IMODE(look.st_mode) | stat.S_IRWXU)
        elif stat.S_ISREG(look.st_mode):
            _copy_file(fd, entry.name, target / entry.name, budget)


def _copy_file(directory: int, name: str, target: Path, budget: Budget) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(fd, "rb") as source, target.open("xb") as copy:
        while budget.bytes > 0 and (data := source.read(min(_CHUNK, budget.bytes))):
            budget.bytes -= len(data)
            copy.write(data)
        os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(fd).st_mode) & 0o777)
