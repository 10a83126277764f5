"""What a test created, modified and deleted, read from the upper layers of its overlays after its
end.

An upper layer holds what was written and, for what was removed, a whiteout: a character device 0/0.
A directory that replaced another one is opaque, a renamed one says where it was (overlayfs.rst,
"whiteouts and opaque directories", "redirect_dir"). Names were made by a test: they are only ever
listed, and directories are walked by descriptor, never through a link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field

from pytest_isolate._linux import names
from pytest_isolate._linux.root import Root, is_marked, is_whiteout
from pytest_isolate._sandbox.overlays import Hosts
from pytest_isolate._sandbox.salvage import DEEPEST, open_directory, open_file
from pytest_isolate._sandbox.written import Known, Written

_MOST = 1000  # paths of each kind
_MOST_LOOKED_AT = 20_000
# Bytes; a copied file of the machine, which is smaller, is compared with its original
_SMALL = 1 << 16


@dataclass
class Changes:
    """Absolute paths as the test saw them, at most a thousand of each kind; ``more`` tells whether
    there were others.
    """

    created: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    more: bool = False
    _looked_at: int = 0

    def since(self, before: Changes) -> Changes:
        """Those that were not there before: what a further test in the same sandbox did."""
        return Changes(
            [path for path in self.created if path not in before.created],
            [path for path in self.modified if path not in before.modified],
            [path for path in self.deleted if path not in before.deleted],
            self.more,
        )

    def note(self, kind: list[str], path: str) -> None:
        """Add a path, if there is room."""
        if len(kind) < _MOST:
            kind.append(path)
        else:
            self.more = True

    def enough(self) -> bool:
        """One more was looked at; whether that was the last."""
        self._looked_at += 1
        self.more = self.more or self._looked_at > _MOST_LOOKED_AT
        return self._looked_at > _MOST_LOOKED_AT


def read(private: int, written: Written) -> Changes:
    """Compare each upper layer with the files below it, and a directory that is taken apart with
    what it had.
    """
    changes = Changes()
    comparison = _Comparison(written.root, changes)
    for path, relative, known in written.layers(private):
        if (fd := open_directory(private, relative)) is not None:
            try:
                if known is None:
                    comparison.walk(fd, path, 0)
                else:
                    comparison.compare(fd, path, known)
            finally:
                os.close(fd)
    hosts = written.hosts
    if (
        hosts is not None
        and hosts.place in changes.created + changes.modified
        and _is_our_hosts(private, written, hosts)
    ):
        for paths in (changes.created, changes.modified):
            paths[:] = [path for path in paths if path != hosts.place]
    for paths in (changes.created, changes.modified, changes.deleted):
        paths.sort()
    return changes


def _is_our_hosts(private: int, written: Written, hosts: Hosts) -> bool:
    """Whether an /etc/hosts is as we wrote it."""
    relative = written.find(private, hosts.place) or ""
    if (fd := open_file(private, relative)) is None:  # gone, or a link by now
        return False
    text = names.with_own(written.root.text(hosts.place), hosts.hostname, hosts.addresses)
    expected = text.encode("utf-8", "surrogateescape")
    with open(fd, "rb") as file:
        return file.read(len(expected) + 1) == expected


class _Comparison:
    """Of what a test wrote, opened, with what there is below."""

    def __init__(self, root: Root, changes: Changes) -> None:
        self._root, self._changes = root, changes

    def compare(self, fd: int, path: str, known: Known, start: str = "") -> None:
        """Note what came into a directory that is taken apart, was written or went; its larger
        directories have layers of their own.
        """
        changes, there = self._changes, set()
        with os.scandir(fd) as entries:
            for entry in entries:
                there.add(name := start + entry.name)
                if changes.enough():
                    return
                if name in known.others:
                    continue
                look = _lstat(entry.name, fd)
                if look is None or name not in known.copies or known.copies[name][0] != look.st_ino:
                    self._look(
                        fd,
                        entry.name,
                        os.path.join(path, entry.name),
                        start.count("/"),
                        new=name not in known.copies,
                    )
                elif stat.S_ISDIR(look.st_mode):
                    # A test can close its own directories to us
                    if (directory := open_directory(fd, entry.name)) is None:
                        changes.more = True
                        continue
                    try:
                        self.compare(directory, os.path.join(path, entry.name), known, f"{name}/")
                    finally:
                        os.close(directory)
                elif look.st_ctime_ns != known.copies[name][1]:
                    changes.note(changes.modified, os.path.join(path, entry.name))
        for name in known.copies.keys() - there:
            if name.startswith(start) and "/" not in (last := name.removeprefix(start)):
                changes.note(changes.deleted, os.path.join(path, last))

    def walk(self, fd: int, path: str, depth: int, *, new: bool = False) -> None:
        """Note what is in an upper layer."""
        with os.scandir(fd) as entries:
            for entry in entries:
                if depth >= DEEPEST or self._changes.enough():
                    self._changes.more = True
                    return
                self._look(fd, entry.name, os.path.join(path, entry.name), depth, new=new)

    def _look(self, fd: int, name: str, path: str, depth: int, *, new: bool) -> None:
        changes = self._changes
        if (look := _lstat(name, fd)) is None:  # somebody is at work there
            changes.more = True
            return
        below = None if new else self._root.lstat(path)
        if is_whiteout(look):
            if below is not None:
                changes.note(changes.deleted, path)
        elif stat.S_ISDIR(look.st_mode):
            # Without root a test can close its own directories to us
            if (directory := open_directory(fd, name)) is None:
                changes.more = True
                return
            try:
                replaced = (
                    below is None
                    or not stat.S_ISDIR(below.st_mode)
                    or is_marked(directory, "opaque")
                )
                if replaced or is_marked(directory, "redirect"):
                    changes.note(changes.created if below is None else changes.modified, path)
                self.walk(directory, path, depth + 1, new=replaced)
            finally:
                os.close(directory)
        elif below is None:
            changes.note(changes.created, path)
        elif not _is_copy(fd, name, look, self._root.place(path), below):
            changes.note(changes.modified, path)


def _lstat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:  # gone, or closed to us
        return None


def _is_copy(fd: int, name: str, look: os.stat_result, path: str, below: os.stat_result) -> bool:
    """Whether it is the sandbox's own copy of a link or small file that no overlay could cover."""
    if look.st_mode != below.st_mode or look.st_size != below.st_size:
        return False
    if stat.S_ISLNK(look.st_mode):
        with contextlib.suppress(OSError):  # somebody is at work there
            return os.readlink(name, dir_fd=fd) == os.readlink(path)
    elif look.st_mtime_ns == below.st_mtime_ns:
        # Overlayfs copies times up with the content, as we do with the file of a layer or a FIFO; a
        # write changes them
        return stat.S_ISREG(look.st_mode) or stat.S_ISFIFO(look.st_mode)
    elif stat.S_ISREG(look.st_mode) and look.st_size <= _SMALL:
        return _is_same(fd, name, path)
    return False


def _is_same(fd: int, name: str, path: str) -> bool:
    """Whether two small files hold the same, one of the machine's and one that a test wrote."""
    if (ours := open_file(fd, name)) is None:
        return False
    with open(ours, "rb") as copy:
        try:
            original = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # not for this user to read, or another thing by now
            return False
        with open(original, "rb") as machines:
            return stat.S_ISREG(os.fstat(original).st_mode) and machines.read(_SMALL) == copy.read(
                _SMALL
            )
