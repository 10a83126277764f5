"""What pytest had open, open in the test: done by the child once it is inside, before it is anybody
else.

A file that has a path is opened by it, inside, so that a write is the test's own; one without gets
a copy on the private file system; a number that can have neither gets a descriptor that fails with
EBADF, so that nobody else's file comes to stand there. An overlay copies a file up, whole, when it
is opened for writing, so that is bounded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from dataclasses import dataclass, field

from pytest_isolate._linux import holes, syscalls
from pytest_isolate._linux.descriptors import ACCESS, MEMORY, Opened
from pytest_isolate._linux.mappings import Mapping

_STATUS = (
    os.O_APPEND | os.O_NONBLOCK | os.O_DSYNC | os.O_SYNC | os.O_DIRECT | os.O_NOATIME | os.O_PATH
)
# What only some file systems have, and only an owner may have
_MAY_LACK = os.O_DIRECT | os.O_NOATIME
# Whose O_PATH descriptor can neither be read nor written, listed nor entered
_NOTHING = "/dev/null"
_NOT_HERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
_SHARED_MEMORY = "/dev/shm/"  # of which a sandbox shows copies
_PIECE = 1 << 20  # bytes that are copied at once

Lost = tuple[str, int]  # path, and the errno that says why it is not as it was


@dataclass
class Inheritance:
    """What to do with what pytest has open, and afterwards what could not be done."""

    files: list[Opened]
    closed: tuple[int, ...] = ()  # numbers that fail from now on
    mappings: tuple[Mapping, ...] = ()
    most: int = 0  # bytes that may be copied
    private: int = -1  # directory of the private file system
    # Numbers that are /dev/null inside; of the machine's one mode, times and flags would be
    # everybody's
    nulls: tuple[int, ...] = ()
    lost: list[Lost] = field(default_factory=list)

    @property
    def numbers(self) -> set[int]:
        """The descriptors that it needs as they are."""
        return {
            *(file.number for file in self.files),
            *self.closed,
            *self.nulls,
            *([self.private] if self.private >= 0 else ()),
        }


def take_over(inheritance: Inheritance) -> None:
    """Do all of it, and let go of the private directory.

    Raises ``OSError`` only where not even a number can be kept.
    """
    if inheritance.files or inheritance.mappings:
        _Opening(inheritance).take_over()
    if inheritance.closed:
        nothing = os.open(_NOTHING, os.O_PATH | os.O_CLOEXEC)
        for number in inheritance.closed:
            os.dup2(nothing, number, inheritable=False)
        os.close(nothing)
    for number in inheritance.nulls:
        null = os.open(_NOTHING, fcntl.fcntl(number, fcntl.F_GETFL) & ACCESS | os.O_CLOEXEC)
        os.dup2(null, number, os.get_inheritable(number))
        os.close(null)
    if inheritance.private >= 0:
        os.close(inheritance.private)


class _Opening:
    def __init__(self, inheritance: Inheritance) -> None:
        self._given = inheritance
        self._left = inheritance.most
        self._paid: set[tuple[int, int]] = set()  # files that are copied, or need not be
        self._copies: dict[tuple[int, int], int] = {}  # of files without a name
        # The same for files that are shown in memory
        self._memories: dict[tuple[int, int], int] = {}
        self._written = {file.identity for file in inheritance.files if file.writable}

    def take_over(self) -> None:
        files = [file for file in self._given.files if self._is_still(file)]
        for file in files:
            if file.twin < 0:
                self._take(file)
        for file in files:
            if file.twin >= 0:
                os.dup2(file.twin, file.number, file.inheritable)
        # When what is written is copied up: a mapping goes on showing what it showed first
        for mapping in self._given.mappings:
            self._map(mapping)
        for copy in (*self._copies.values(), *self._memories.values()):
            os.close(copy)

    @staticmethod
    def _is_still(file: Opened) -> bool:
        """Whether the number is what it was when pytest looked, which another thread of pytest may
        have changed until the fork.
        """
        try:
            about = os.fstat(file.number)
        except OSError:  # closed
            return False
        if (about.st_dev, about.st_ino) == file.identity:
            return True
        # Nobody looked at it: it would be a door to the machine's
        if stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode):
            os.close(file.number)
        return False

    def _take(self, file: Opened) -> None:
        try:
            new = self._opened(file)
        except OSError as error:
            new = self._second_best(file, error)
        if new < 0:
            return
        if not (file.flags & os.O_PATH or file.of_kernel or stat.S_ISDIR(file.mode)):
            os.lseek(new, os.lseek(file.number, 0, os.SEEK_CUR), os.SEEK_SET)
        os.dup2(new, file.number, file.inheritable)
        os.close(new)

    def _opened(self, file: Opened) -> int:
        """Open a descriptor of what the test sees under this path, or a copy.

        Raises ``OSError``.
        """
        if not file.gone:
            try:
                # A look first, for to open it may be to copy it
                if file.writable and not file.of_kernel:
                    found = os.stat(file.path, follow_symlinks=False)
                    if not _is_same(file, found):
                        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file.path)
                    self._pay(file, found)
                new = _open(file.path, file)
            except OSError as error:
                if error.errno not in _NOT_HERE or file.of_kernel:
                    raise
            else:
                if file.writable or file.of_kernel or _is_same(file, os.fstat(new)):
                    return new
                os.close(new)
        return self._without_name(file)

    def _pay(self, file: Opened | Mapping, found: os.stat_result) -> None:
        """Take what an overlay copies, if it is one, from what may be copied.

        Raises ``OSError``.
        """
        if (
            file.identity in self._paid
            or found.st_dev == file.device
            or file.path.startswith(_SHARED_MEMORY)
        ):
            return
        self._spend(found.st_size, file.path)
        self._paid.add(file.identity)

    def _spend(self, size: int, path: str) -> int:
        if size > self._left:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        self._left -= size
        return size

    def _without_name(self, file: Opened) -> int:
        """Open a private copy, or the file itself where nobody has it open to write.

        Raises ``OSError``.
        """
        if stat.S_ISDIR(file.mode):
            return self._empty_directory(file)
        if file.identity not in self._written:
            return _open(f"/proc/self/fd/{file.number}", file)  # for an offset of its own
        if file.identity not in self._copies:
            self._copies[file.identity] = self._copy(file)
        return _open(f"/proc/self/fd/{self._copies[file.identity]}", file)

    def _copy(self, file: Opened) -> int:
        # For looking at holes moves the offset
        source = os.open(f"/proc/self/fd/{file.number}", os.O_RDONLY | os.O_CLOEXEC)
        copy = -1
        try:
            if file.path.startswith(MEMORY):
                copy = os.memfd_create(
                    file.path.removeprefix(MEMORY), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
                )
            else:
                copy = os.open(
                    ".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self._given.private
                )
            os.fchmod(copy, stat.S_IMODE(file.mode))
            holes.copy(source, copy, lambda size: self._spend(size, file.path))
        except OSError:
            if copy >= 0:
                os.close(copy)
            raise
        finally:
            os.close(source)
        return copy

    def _empty_directory(self, file: Opened) -> int:
        """For a directory that was removed, or is none of the sandbox's: nothing is in it, and
        nothing can be.
        """
        name = f"removed-{file.number}"
        os.mkdir(name, 0o700, dir_fd=self._given.private)
        try:
            return os.open(name, _flags(file), dir_fd=self._given.private)
        finally:
            os.rmdir(name, dir_fd=self._given.private)

    def _second_best(self, file: Opened, error: OSError) -> int:
        """To read a file that cannot be written; else a descriptor that fails. -1: the one that
        there is.
        """
        if file.of_kernel and not file.writable and stat.S_ISREG(file.mode):
            return -1  # of a process that is not in here, as it was; it can only be read
        self._given.lost.append((file.path, error.errno or errno.EIO))
        path = f"/proc/self/fd/{file.number}" if file.gone else file.path
        with contextlib.suppress(OSError):  # the reason that counts is noted
            if file.writable and not file.of_kernel:
                return _open(path, file._replace(flags=file.flags & ~ACCESS | os.O_RDONLY))
        return os.open(_NOTHING, os.O_PATH | os.O_CLOEXEC)

    def _map(self, mapping: Mapping) -> None:
        """Have memory that shows a file show the test's, or a copy: what it writes there is private
        then, too.
        """
        try:
            self._map_file(mapping)
        except OSError as error:
            try:
                self._map_copy(mapping)
            except OSError:  # the first reason counts, but for this one
                self._given.lost.append((mapping.path, error.errno or errno.EIO))

    def _map_file(self, mapping: Mapping) -> None:
        found = os.stat(mapping.path, follow_symlinks=False)
        if not (
            found.st_ino == mapping.inode
            or mapping.identity in self._paid
            or mapping.path.startswith(_SHARED_MEMORY)
        ):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), mapping.path)
        if mapping.writable:
            self._pay(mapping, found)
        access = os.O_RDWR if mapping.writable else os.O_RDONLY
        fd = os.open(mapping.path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            syscalls.map_again(
                mapping.begin, mapping.end - mapping.begin, mapping.protection, fd, mapping.offset
            )
        finally:
            os.close(fd)

    def _map_copy(self, mapping: Mapping) -> None:
        """Copy what the memory holds, for its file is not here, as shared memory of pytest's is not
        under profile="strict".
        """
        self._spend(mapping.end - mapping.begin, mapping.path)
        if mapping.identity not in self._memories:
            self._memories[mapping.identity] = os.memfd_create("copy", os.MFD_CLOEXEC)
        copy = self._memories[mapping.identity]
        begin, end = mapping.begin, mapping.end
        os.ftruncate(copy, max(os.fstat(copy).st_size, mapping.offset + end - begin))
        # Behind the end of the file is nothing
        with open("/proc/self/mem", "rb", buffering=0) as memory, contextlib.suppress(OSError):
            while begin < end and (
                data := os.pread(memory.fileno(), min(_PIECE, end - begin), begin)
            ):
                os.pwrite(copy, data, mapping.offset + begin - mapping.begin)
                begin += len(data)
        syscalls.map_again(
            mapping.begin, end - mapping.begin, mapping.protection, copy, mapping.offset
        )


def _open(path: str, file: Opened) -> int:
    if path != file.path or file.of_kernel:
        return _open_with(_flags(file), path)
    # Below a bind a test before may have put a link or a FIFO there
    there = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_IFMT(os.fstat(there).st_mode) != stat.S_IFMT(file.mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return _open_with(_flags(file), f"/proc/self/fd/{there}")
    finally:
        os.close(there)


def _open_with(flags: int, path: str) -> int:
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EPERM} or not flags & _MAY_LACK:
            raise
    return os.open(path, flags & ~_MAY_LACK)


def _flags(file: Opened) -> int:
    return (
        file.flags & (ACCESS | _STATUS)
        | os.O_CLOEXEC
        | (os.O_DIRECTORY if stat.S_ISDIR(file.mode) else 0)
    )


def _is_same(file: Opened, found: os.stat_result) -> bool:
    """Whether it is the file, or the sandbox's copy of it: nobody has changed one in here yet."""
    if stat.S_IFMT(found.st_mode) != stat.S_IFMT(file.mode):
        return False
    return stat.S_ISDIR(file.mode) or found.st_ino == file.inode or found.st_size == file.size
