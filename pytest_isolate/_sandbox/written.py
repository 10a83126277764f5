"""Where in a sandbox's private file system the things are that a test wrote."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_isolate._linux.root import Root
from pytest_isolate._sandbox.overlays import Hosts
from pytest_isolate._sandbox.recipe import Apart
from pytest_isolate._sandbox.salvage import open_directory, open_file, private_path

_UPPER = "/.upper"
_LARGEST = 16 << 20  # bytes
_LARGEST_NAMES = 1 << 14  # bytes
_COPIED = "/dev/shm"  # where some machines have no overlay


@dataclass(frozen=True)
class Known:
    """What a directory that is taken apart had when the test began, as PID 1 wrote it down.

    A test that is root can reach the private file system by a file handle, so this is believed no
    more than what a test wrote.
    """

    # Relative path -> inode and change time of the copy
    copies: dict[str, tuple[int, int]] = field(default_factory=dict)
    others: frozenset[str] = frozenset()  # names of all other things
    read_only: tuple[str, ...] = ()  # files that were too large to copy, or unreadable

    def unwritten(self, private: int, relative: str) -> Iterator[str]:
        """Relative paths in the directory that are as they were, or of which a layer of its own
        tells.
        """
        yield from self.others
        changed = set()
        for path in self.copies:
            if not self._is_as_it_was(private, relative, path):
                changed |= {path, *itertools.accumulate(path.split("/"), "{}/{}".format)}
        yield from self.copies.keys() - changed

    def _is_as_it_was(self, private: int, relative: str, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if (fd := open_directory(private, os.path.join(relative, folder))) is None:
            return False
        try:
            look = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        finally:
            os.close(fd)
        return (look.st_ino, look.st_ctime_ns) == self.copies[path]


@dataclass(frozen=True)
class Written:
    """The private directories of a plan."""

    uppers: tuple[tuple[str, str], ...]
    apart: tuple[Apart, ...] = ()
    hosts: Hosts | None = None  # the /etc/hosts that is ours
    root: Root = field(default_factory=Root)  # what is below them
    hidden: frozenset[str] = frozenset()  # whiteouts of ours
    made: frozenset[str] = frozenset()  # for what is bound there
    is_users: bool = False  # what is copied up beforehand is the user's then

    def covers(self, path: str) -> bool:
        """Whether what is written to a path is private."""
        return private_path(self.uppers, path) is not None

    def find(self, private: int, path: str) -> str | None:
        """Where in the private file system the written files of an absolute path of the sandbox
        are.
        """
        relative = private_path(self.uppers, path)
        for each in self.apart:
            if (
                relative is not None
                and relative == os.path.join(each.place, below := os.path.relpath(path, each.path))
                and below != "."
            ):
                name, _, rest = below.partition("/")
                if _is_directory(private, layer := f"{each.layers}/{name}{_UPPER}"):
                    return os.path.join(layer, rest) if rest else layer
        return relative

    def layers(self, private: int) -> Iterator[tuple[str, str, Known | None]]:
        """Each private directory: its path inside, where it is, and of one that is taken apart what
        it had.
        """
        apart = {each.place: each for each in self.apart}
        for path, relative in self.uppers:
            if (each := apart.get(relative)) is None:
                yield path, relative, None
                continue
            yield path, relative, _known(private, each)
            for name in _names(private, each.layers):
                yield os.path.join(path, name), f"{each.layers}/{name}{_UPPER}", None

    def left_out(self, private: int) -> list[str]:
        """Files of a directory of copies that are not there, because they were too large."""
        for path, relative in self.uppers:
            if path != _COPIED:
                continue
            # Nothing was, as nearly always
            if (fd := open_file(private, f"{relative.removesuffix('.upper')}.left_out")) is None:
                continue
            with open(fd, "rb", buffering=0) as file:
                names = os.fsdecode(file.read(_LARGEST_NAMES) or b"").split("\0")
            return [name for name in names if name.startswith(f"{_COPIED}/")]
        return []

    def too_large(self, private: int) -> list[str]:
        """Files that could not be written because they were too large to copy."""
        return [
            os.path.join(each.path, name)
            for each in self.apart
            for name in _known(private, each).read_only
        ]


def _is_directory(private: int, relative: str) -> bool:
    if (fd := open_directory(private, relative)) is None:
        return False
    os.close(fd)
    return True


def _names(private: int, relative: str) -> list[str]:
    if (fd := open_directory(private, relative)) is None:
        return []
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def _known(private: int, apart: Apart) -> Known:
    if (fd := open_file(private, f"{apart.layers}.known")) is None:
        return Known()
    try:
        with open(fd, "rb") as file:
            text = os.fsdecode(file.read(_LARGEST))
        lines = [
            (kind, int(inode), int(changed), name)
            for kind, inode, changed, name in (line.split(" ", 3) for line in text.split("\0"))
        ]
        copies = {name: (inode, changed) for kind, inode, changed, name in lines if kind == "copy"}
        others, read_only = (
            [name for kind, _, _, name in lines if kind == what] for what in ("other", "read_only")
        )
        return Known(copies, frozenset(others), tuple(read_only))
    except (OSError, ValueError):  # not as PID 1 wrote it
        return Known()
