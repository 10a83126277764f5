"""Copy files out of a sandbox's private file system, after its end. What lies there was written by a test: nothing is believed.

Directories are walked by descriptor and never through a symbolic link; links come out as links, devices and sockets not
at all, and there is a cap on how many files and bytes come out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_MOST_FILES = 10_000
_MOST_BYTES = 1 << 30
_CHUNK = 1 << 20
DEEPEST = 64  # directories: each level holds a descriptor open
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Budget:
    """What may still come out."""

    files: int = _MOST_FILES
    bytes: int = _MOST_BYTES
    spent: bool = False  # whether something had to stay inside
    among: bool = False  # whether directories may be there already
    without: frozenset[Path] = frozenset()  # targets of what stays inside

    def take_file(self) -> bool:
        """One more file, if there may be one."""
        self.files -= 1
        return self.files >= 0


def private_path(uppers: tuple[tuple[str, str], ...], path: str) -> str | None:
    """Where in the private file system the written files of an absolute path of the sandbox are."""
    best = max(
        (upper for upper in uppers if path == upper[0] or path.startswith(upper[0].rstrip("/") + "/")),
        key=lambda upper: len(upper[0]),
        default=None,
    )
    return None if best is None else os.path.join(best[1], os.path.relpath(path, best[0]))


def copy_out(private: int, relative: str, target: Path, *, among: bool = False, without: frozenset[str] = frozenset()) -> Budget | None:
    """Copy the directory ``relative`` of the private file system to ``target``, which must not exist.

    ``among``: it may, and in it directories that this call copies files into: layers of one tree are put together.
    ``without`` these paths, relative to it.

    Returns what was left of the caps; None when there is no such directory. Raises ``OSError`` if the machine's disk
    refuses.
    """
    if (fd := descend(private, relative)) is None:
        return None
    budget = Budget()
    budget.among, budget.without = among, frozenset(target / each for each in without)
    try:
        target.mkdir(mode=0o700, parents=among, exist_ok=among)
        _copy_directory(fd, target, budget)
    finally:
        os.close(fd)
    return budget


def merge_out(private: int, relative: str, target: Path) -> None:
    """Bring regular files written to, and removed from, the directory ``relative`` of the private file system into ``target``.

    For directories of the machine that a test may write as if it were not isolated; ``target`` and the ways to it are made if
    missing. Other things than directories and files stay inside. Raises ``OSError`` if the machine's disk refuses.
    """
    if (fd := descend(private, relative)) is None:
        return
    try:
        target.mkdir(parents=True, exist_ok=True)  # .hypothesis/examples: nothing is there before the first run
        to = os.open(target, DIRECTORY)
        try:
            _merge_directory(fd, to, Budget())
        finally:
            os.close(to)
    finally:
        os.close(fd)


def _merge_directory(fd: int, to: int, budget: Budget, depth: int = 0) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            look = entry.stat(follow_symlinks=False)
            if depth >= DEEPEST or not budget.take_file():
                return
            if stat.S_ISDIR(look.st_mode):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(entry.name, dir_fd=to)
                below, below_to = os.open(entry.name, DIRECTORY, dir_fd=fd), os.open(entry.name, DIRECTORY, dir_fd=to)
                try:
                    _merge_directory(below, below_to, budget, depth + 1)
                finally:
                    os.close(below)
                    os.close(below_to)
            elif stat.S_ISCHR(look.st_mode) and look.st_rdev == 0:  # overlayfs's whiteout: removed by the test
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=to)
            elif stat.S_ISREG(look.st_mode):
                _merge_file(fd, to, entry.name, budget)


def _merge_file(directory: int, to: int, name: str, budget: Budget) -> None:
    """In one step, so that a run beside ours never reads half a file."""
    part = f".{os.getpid()}.part"
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(source, "rb") as original:
        copy = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=to)
        with open(copy, "wb") as ours:
            data = original.read(budget.bytes + 1)
            whole = len(data) <= budget.bytes
            if whole:
                ours.write(data)
                budget.bytes -= len(data)
    if whole:
        os.replace(part, name, src_dir_fd=to, dst_dir_fd=to)
    else:
        os.unlink(part, dir_fd=to)


def descend(private: int, relative: str) -> int | None:
    """Open a directory of the private file system without following a link; None when there is no such directory."""
    fd = os.dup(private)
    for part in Path(relative).parts:
        try:
            below = os.open(part, DIRECTORY, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError, PermissionError):  # without root: a directory that nobody inside may enter either
            return None
        except OSError as error:  # ELOOP: a link where there was a directory
            if error.errno != errno.ELOOP:
                raise
            return None
        finally:
            os.close(fd)
        fd = below
    return fd


def _copy_directory(fd: int, target: Path, budget: Budget, depth: int = 0) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            if target / entry.name in budget.without:
                continue
            if depth >= DEEPEST or not budget.take_file():
                budget.spent = True
                return
            try:
                _copy_entry(fd, entry, target / entry.name, budget, depth)
            except PermissionError:  # a file that its own author may not read stays inside, its neighbours come out
                budget.spent = True


def _copy_entry(fd: int, entry: os.DirEntry[str], target: Path, budget: Budget, depth: int) -> None:
    look = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(look.st_mode):
        os.symlink(os.readlink(entry.name, dir_fd=fd), target)
    elif stat.S_ISDIR(look.st_mode):
        below = os.open(entry.name, DIRECTORY, dir_fd=fd)
        try:
            target.mkdir(mode=0o700, exist_ok=budget.among)
            _copy_directory(below, target, budget, depth + 1)
        finally:
            os.close(below)
        target.chmod(stat.S_IMODE(look.st_mode) & 0o777 | stat.S_IRWXU)
    elif stat.S_ISREG(look.st_mode):
        _copy_file(fd, entry.name, target, budget)


def _copy_file(directory: int, name: str, target: Path, budget: Budget) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(fd, "rb") as source, target.open("xb") as copy:
        while data := source.read(_CHUNK):
            if len(data) > budget.bytes:
                budget.spent = True
            copy.write(data[: budget.bytes])
            budget.bytes -= min(len(data), budget.bytes)
            if budget.spent:
                break
        os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(fd).st_mode) & 0o777)
