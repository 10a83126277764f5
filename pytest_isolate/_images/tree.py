"""The tree that an image becomes, written by descriptor: no name of an image leads out of it.

Whoever made an image chose every name in it, and every link on the way to a name. So a path is
opened by openat2(2), which follows no link; where there is one on the way it is followed here,
name by name, as a root of its own would have it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque

from pytest_isolate._images.broken import BrokenImageError, printable
from pytest_isolate._linux import syscalls

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as the kernel
_IMPLIED = 0o755  # the mode of a directory that no layer has
DEEPEST = 128  # directories, one in the other


def too_deep(path: str) -> BrokenImageError:
    """Say it of a path."""
    return BrokenImageError(f"{printable(path)} lies deeper than {DEEPEST} directories")


class Tree:
    """A directory of ours, of which a layer after the other makes a root.

    Methods may raise ``BrokenImageError`` and ``OSError``.
    """

    def __init__(self, directory: str) -> None:
        self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parent = ("", -1)  # the last one, as archives have what is in a directory together

    def close(self) -> None:
        """Let go of it."""
        self._forget()
        os.close(self.fd)

    def _forget(self) -> None:
        if self._parent[1] >= 0:
            os.close(self._parent[1])
        self._parent = ("", -1)

    def parent(self, path: str) -> tuple[int, str]:
        """Open the directory that a relative path without ``..`` is in, made where it is missing.

        Gives its own path too, on which there is no link.
        """
        above = os.path.dirname(path)
        if not above:
            return self.fd, ""
        if self._parent[0] == above and self._parent[1] >= 0:
            return self._parent[1], above
        real = above
        try:
            fd = syscalls.open_beneath(self.fd, above, _DIRECTORY)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.ENOENT}:
                raise
            real = self._real(above)
            fd = syscalls.open_beneath(self.fd, real or ".", _DIRECTORY)
        self._forget()
        self._parent = (real, fd)
        return fd, real

    def _real(self, path: str) -> str:
        """Follow the links on a path as if this were the root; make what is not there."""
        done: list[str] = []
        left, links = deque(path.split("/")), 0
        while left:
            name = left.popleft()
            if name == "..":
                if not done:
                    raise BrokenImageError(
                        f"{printable(path)} leads out of the image by a symbolic link"
                    )
                done.pop()
            elif name not in {"", "."}:
                here = "/".join([*done, name])
                if (target := self._entered(here, path)) is None:
                    done.append(name)
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise BrokenImageError(
                        f"{printable(path)} leads through more than {_MOST_LINKS} symbolic links"
                    )
                if target.startswith("/"):
                    done.clear()
                left.extendleft(reversed(target.split("/")))
        return "/".join(done)

    def _entered(self, here: str, path: str) -> str | None:
        """Give the target of a link; None for a directory, made if there is nothing."""
        try:
            look = os.stat(here, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            if here.count("/") >= DEEPEST:
                raise too_deep(path) from None
            os.mkdir(here, dir_fd=self.fd)
            os.chmod(here, _IMPLIED, dir_fd=self.fd)  # whatever the umask
            return None
        if stat.S_ISLNK(look.st_mode):
            return os.readlink(here, dir_fd=self.fd)
        if not stat.S_ISDIR(look.st_mode):
            raise BrokenImageError(
                f"{printable(path)} leads through {printable(here)}, which is no directory"
            )
        return None

    def lstat(self, parent: int, name: str) -> os.stat_result | None:
        """Tell what is there."""
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def touch(self, path: str, time: int) -> None:
        """Give a directory its time, in nanoseconds, if it is still one."""
        with contextlib.suppress(OSError):
            directory = self._opened(path)
            os.utime(directory, ns=(time, time))
            os.close(directory)

    def remove(self, path: str, keep: set[str]) -> None:
        """Remove what is at a path without links, but for what to keep and the ways to that."""
        parent = self._opened(os.path.dirname(path))
        try:
            self._remove(parent, path, keep)
        finally:
            os.close(parent)
        self._forget()  # it may be gone

    def clear(self, path: str, keep: set[str]) -> None:
        """Remove all that is in a directory, but for the paths to keep and the ways to them."""
        directory = self._opened(path)
        try:
            self._clear(directory, path, keep)
        finally:
            os.close(directory)
        self._forget()

    def _opened(self, path: str) -> int:
        return syscalls.open_beneath(self.fd, path or ".", _LISTED)

    def _remove(self, parent: int, path: str, keep: set[str]) -> None:
        name = os.path.basename(path)
        look = self.lstat(parent, name)
        if look is not None and stat.S_ISDIR(look.st_mode):
            directory = os.open(name, _LISTED, dir_fd=parent)
            try:
                self._clear(directory, path, keep)
            finally:
                os.close(directory)
            if path not in keep:
                with contextlib.suppress(OSError):  # something to keep is in it
                    os.rmdir(name, dir_fd=parent)
        elif look is not None and path not in keep:
            os.unlink(name, dir_fd=parent)

    def _clear(self, directory: int, path: str, keep: set[str]) -> None:
        for name in os.listdir(directory):
            self._remove(directory, f"{path}/{name}" if path else name, keep)
