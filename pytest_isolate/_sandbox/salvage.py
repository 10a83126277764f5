"""Copy files out of a sandbox's private file system.

What lies there was written by a test: nothing is believed.

A test may still be at work there (``scope``), and may be no more than a user whom pytest, as root,
is not. So everything is opened by descriptor, one name at a time, through no link and into no other
mount; nothing is opened that can make the opener wait (FIFOs, leases); only directories and regular
files are, and of those what the test itself could read. It is written by descriptor too: what came
out before may be a link. Links come out as links, devices and sockets not at all, and there is a
cap on how many files and bytes come out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from pytest_isolate._linux import holes, syscalls

_MOST_FILES = 10_000
_MOST_BYTES = 1 << 30
DEEPEST = 64  # directories: each level holds a descriptor open
_SAFELY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: What says that there is nothing for us: it is gone, a link, of another mount or not ours to read,
#: has a lease on it or nobody behind it.
_NOT_FOR_US = {
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EACCES, errno.EPERM,
    errno.EWOULDBLOCK, errno.ENXIO, errno.ENODEV,
}  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A user without privileges whose rights count, not pytest's."""

    uid: int
    groups: frozenset[int]

    def may(self, look: os.stat_result, bits: int) -> bool:
        """Whether all of ``bits`` (4 to read, 1 to enter) are this user's by a file's mode."""
        shift = 6 if look.st_uid == self.uid else 3 if look.st_gid in self.groups else 0
        return look.st_mode >> shift & bits == bits


@dataclass
class Budget:
    """What may still come out, and whose rights count; None: pytest's own."""

    files: int = _MOST_FILES
    bytes: int = _MOST_BYTES
    spent: bool = False  # whether something had to stay inside
    among: bool = False  # whether directories may be there already
    without: Container[str] = frozenset()  # paths, below where it begins, of what stays inside
    # The first name of what is a directory on one side and another thing on the other
    other: str = ""
    reader: Reader | None = None
    to: int = -1  # the directory that all is copied to
    # What has several names: its copy, below ``to``
    linked: dict[tuple[int, int], str] = field(default_factory=dict)

    def take_file(self) -> bool:
        """One more file, if there may be one."""
        self.files -= 1
        return self.files >= 0

    def take(self, size: int) -> int:
        """As many of so many bytes as there may be."""
        taken = min(size, self.bytes)
        self.bytes -= taken
        return taken


def private_path(uppers: tuple[tuple[str, str], ...], path: str) -> str | None:
    """Where in the private file system the written files of an absolute path of the sandbox are."""
    best = max(
        (
            upper
            for upper in reversed(uppers)  # of two of one directory the later one is seen
            if path == upper[0] or path.startswith(upper[0].rstrip("/") + "/")
        ),
        key=lambda upper: len(upper[0]),
        default=None,
    )
    return None if best is None else os.path.join(best[1], os.path.relpath(path, best[0]))


def open_directory(below: int, path: str, reader: Reader | None = None) -> int | None:
    """Open a directory that a test could have put there; None when there is none for us."""
    return _opened(below, path, os.O_DIRECTORY, reader)


def open_file(below: int, path: str, reader: Reader | None = None) -> int | None:
    """Open a regular file that a test could have put there, to read; None when there is none for
    us.
    """
    return _opened(below, path, 0, reader)


def _opened(below: int, path: str, flags: int, reader: Reader | None) -> int | None:
    try:
        fd = syscalls.open_beneath(below, path, _SAFELY | flags)
    except OSError as error:
        if error.errno not in _NOT_FOR_US:
            raise
        return None
    look = os.fstat(fd)
    kind, bits = (stat.S_IFDIR, 1) if flags else (stat.S_IFREG, 4)
    if stat.S_IFMT(look.st_mode) != kind or (reader is not None and not reader.may(look, bits)):
        os.close(fd)
        return None
    return fd


def copy_out(
    private: int, relative: str, folder: Path, below: str, *, among: bool = False,
    without: Container[str] = frozenset(),
    reader: Reader | None = None,
    most_files: int = _MOST_FILES, most_bytes: int = _MOST_BYTES,
) -> Budget | None:  # fmt: skip
    """Copy the directory ``relative`` of the private file system to ``below``, in a ``folder`` that
    is there.

    ``below`` must not be there. ``among``: it may, and in it directories that this call copies
    files into: layers of one tree are put together. ``without`` these paths, relative to it. At
    most ``most_files`` files and directories, of ``most_bytes`` in all.

    Returns what was left of the caps; None when there is no such directory. Raises ``OSError`` if
    the machine's disk refuses.
    """
    if (fd := open_directory(private, relative)) is None:
        return None
    budget = Budget(most_files, most_bytes, among=among, without=without, reader=reader)
    try:
        to = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in Path(below).parts:
            if (made := _make_directory(to, name, budget)) is None:
                os.close(to)
                return budget
            os.close(to)
            to = made
        try:
            budget.to = to
            _copy_directory(fd, to, budget, "")
        finally:
            os.close(to)
    finally:
        os.close(fd)
    return budget


def _make_directory(to: int, name: str, budget: Budget) -> int | None:
    """Make a directory of ours; None where something else stands, of another layer, as a link does
    in whose place a directory was.
    """
    try:
        os.mkdir(name, 0o700, dir_fd=to)
    except FileExistsError:
        if not budget.among:
            raise
    if (made := open_directory(to, name)) is None:
        budget.spent = True
    return made


def _copy_directory(fd: int, to: int, budget: Budget, path: str, depth: int = 0) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            inside = f"{path}{entry.name}"
            if inside in budget.without:
                continue
            if depth >= DEEPEST or not budget.take_file():
                budget.spent = True
                return
            try:
                look = entry.stat(follow_symlinks=False)
                link = os.readlink(entry.name, dir_fd=fd) if stat.S_ISLNK(look.st_mode) else None
            except OSError:  # gone, or another thing by now: somebody is at work there
                continue
            if link is not None:
                _copy_link(link, to, entry.name, budget)
            elif stat.S_ISDIR(look.st_mode):
                _copy_below(fd, to, budget, inside, depth)
            elif stat.S_ISREG(look.st_mode):
                _copy_file(fd, to, inside, budget)


def _copy_link(link: str, to: int, name: str, budget: Budget) -> None:
    try:
        os.symlink(link, name, dir_fd=to)
    except FileExistsError:
        if not budget.among:
            raise
        budget.spent = True


def _copy_below(fd: int, to: int, budget: Budget, path: str, depth: int) -> None:
    name = os.path.basename(path)
    if (below := open_directory(fd, name, budget.reader)) is None:
        budget.spent = True
        return
    try:
        if (made := _make_directory(to, name, budget)) is None:
            return
        try:
            _copy_directory(below, made, budget, f"{path}/", depth + 1)
            os.fchmod(made, stat.S_IMODE(os.fstat(below).st_mode) & 0o777 | stat.S_IRWXU)
        finally:
            os.close(made)
    finally:
        os.close(below)


def _copy_file(fd: int, to: int, path: str, budget: Budget) -> None:
    name = os.path.basename(path)
    # Its own author may not read it: its neighbours come out
    if (source := open_file(fd, name, budget.reader)) is None:
        budget.spent = True
        return
    try:
        look = os.fstat(source)
        if look.st_nlink > 1 and _has_linked(to, path, (look.st_dev, look.st_ino), budget):
            return
        try:
            copy = os.open(name, NEW, 0o600, dir_fd=to)
        except FileExistsError:
            if not budget.among:
                raise
            budget.spent = True
            return
        try:
            budget.spent = not copy_data(source, copy, budget) or budget.spent
            os.fchmod(copy, stat.S_IMODE(look.st_mode) & 0o777)
        finally:
            os.close(copy)
    finally:
        os.close(source)


def _has_linked(to: int, path: str, identity: tuple[int, int], budget: Budget) -> bool:
    """Whether a file with several names is there, and has one more now: thousands of names cost the
    sandbox the space of one file.
    """
    first = budget.linked.setdefault(identity, path)
    if first == path:
        return False
    try:
        os.link(
            first,
            os.path.basename(path),
            src_dir_fd=budget.to,
            dst_dir_fd=to,
            follow_symlinks=False,
        )
    except OSError:
        # A file system without links, or a path that is too long: then it is copied once more
        return False
    return True


def copy_data(source: int, copy: int, budget: Budget) -> bool:
    """Whether all of it could be copied."""
    try:
        return holes.copy(source, copy, budget.take)
    except OSError as error:
        if error.errno != errno.EFBIG:  # holes can be larger than any file of the machine
            raise
        return False
