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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pytest_isolate._config.patterns import Paths
from pytest_isolate._linux import names
from pytest_isolate._linux.root import is_marked, is_whiteout, remembering
from pytest_isolate._sandbox.overlays import Hosts
from pytest_isolate._sandbox.salvage import DEEPEST, open_directory, open_file
from pytest_isolate._sandbox.written import Known, Written

_MOST = 1000  # paths of each kind
_MOST_LOOKED_AT = 20_000
# Bytes; a copied file of the machine, which is smaller, is compared with its original
_SMALL = 1 << 16
_PART = 1 << 20  # bytes
_NOTHING = Paths(())


@dataclass(frozen=True)
class Look:
    """How closely to look, and what not to tell of."""

    without: Paths = _NOTHING
    most: int = _MOST_LOOKED_AT
    compared: int = (
        _SMALL  # bytes of a file that are compared, though its times say that it is a copy
    )
    times_tell: bool = (
        True  # that a file was not written to; writes to mapped memory leave no time on tmpfs
    )


def closely(without: Paths) -> Look:
    """Look so that no change is missed, but for ``without``."""
    return Look(without, _MOST_LOOKED_AT * 5, 1 << 28, times_tell=False)


_AS_EVER = Look()


@dataclass
class Changes:
    """Absolute paths as the test saw them, at most a thousand of each kind; ``more`` tells whether
    there were others.
    """

    created: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    more: bool = False
    most: int = _MOST_LOOKED_AT
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
        self.more = self.more or self._looked_at > self.most
        return self._looked_at > self.most


def read(private: int, written: Written, look: Look = _AS_EVER) -> Changes:
    """Compare each upper layer with the files below it, and a directory that is taken apart with
    what it had.
    """
    changes = Changes(most=look.most)
    comparison = _Comparison(written, changes, look)
    for path, relative, known in written.layers(private):
        if (fd := open_directory(private, relative)) is not None:
            try:
                with remembering():
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
        and is_our_hosts(private, written, hosts)
    ):
        for paths in (changes.created, changes.modified):
            paths[:] = [path for path in paths if path != hosts.place]
    for paths in (changes.created, changes.modified, changes.deleted):
        paths.sort()
    return changes


def copies_of(private: int, written: Written, paths: Iterable[str]) -> Iterator[str]:
    """Give those of the paths at which there is a copy of what is below, put there beforehand."""
    comparison = _Comparison(written, Changes(), closely(_NOTHING))
    for path in paths:
        folder, name = os.path.split(written.find(private, path) or "")
        below = written.root.lstat(path)
        if not name or below is None or (fd := open_directory(private, folder)) is None:
            continue
        try:
            look = _lstat(name, fd)
            if look is not None and comparison.is_copy(fd, name, look, path, below):
                yield path
        finally:
            os.close(fd)


def is_our_hosts(private: int, written: Written, hosts: Hosts) -> bool:
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

    def __init__(self, written: Written, changes: Changes, how: Look) -> None:
        self._root, self._changes, self._how = written.root, changes, how
        self._written = written

    def _note(self, kind: list[str], path: str) -> None:
        if not self._how.without.hold(path) and path not in self._written.made:
            self._changes.note(kind, path)

    def compare(self, fd: int, path: str, known: Known, start: str = "") -> None:
        """Note what came into a directory that is taken apart, was written or went; its larger
        directories have layers of their own.
        """
        there = set()
        with os.scandir(fd) as entries:
            for entry in entries:
                there.add(name := start + entry.name)
                inside = os.path.join(path, entry.name)
                if name not in known.copies and self._is_left_out(inside):
                    continue
                if self._changes.enough():
                    return
                if name not in known.others:
                    self._compare_one(fd, inside, known, name)
        for name in known.copies.keys() - there:
            if name.startswith(start) and "/" not in (last := name.removeprefix(start)):
                self._note(self._changes.deleted, os.path.join(path, last))

    def _compare_one(self, fd: int, path: str, known: Known, name: str) -> None:
        look, last = _lstat(os.path.basename(name), fd), os.path.basename(name)
        if look is None or name not in known.copies or known.copies[name][0] != look.st_ino:
            self._look(fd, last, path, name.count("/"), new=name not in known.copies)
        elif stat.S_ISDIR(look.st_mode):
            # A test can close its own directories to us
            if (directory := open_directory(fd, last)) is None:
                self._changes.more = True
                return
            try:
                self.compare(directory, path, known, f"{name}/")
            finally:
                os.close(directory)
        elif look.st_ctime_ns != known.copies[name][1]:
            self._note(self._changes.modified, path)

    def _is_left_out(self, path: str) -> bool:
        return self._how.without.hold_all_in(path)

    def walk(self, fd: int, path: str, depth: int, *, new: bool = False) -> None:
        """Note what is in an upper layer."""
        with os.scandir(fd) as entries:
            for entry in entries:
                if self._is_left_out(inside := os.path.join(path, entry.name)):
                    continue
                if depth >= DEEPEST or self._changes.enough():
                    self._changes.more = True
                    return
                self._look(fd, entry.name, inside, depth, new=new)

    def _look(self, fd: int, name: str, path: str, depth: int, *, new: bool) -> None:
        changes = self._changes
        if (look := _lstat(name, fd)) is None:  # somebody is at work there
            changes.more = True
            return
        below = None if new else self._root.lstat(path)
        if is_whiteout(look):
            if below is not None and path not in self._written.hidden:
                self._note(changes.deleted, path)
            return
        if path in self._written.hidden:  # what is there is nothing of the machine's
            below = None
        if stat.S_ISDIR(look.st_mode):
            # Without root a test can close its own directories to us
            if (directory := open_directory(fd, name)) is None:
                changes.more = True
                return
            try:
                replaced = self._look_at_directory(directory, path, look, below)
                self.walk(directory, path, depth + 1, new=replaced)
            finally:
                os.close(directory)
        elif below is None:
            self._note(changes.created, path)
        elif self._has_changed(look, below) or not self.is_copy(fd, name, look, path, below):
            self._note(changes.modified, path)

    def _look_at_directory(
        self, fd: int, path: str, look: os.stat_result, below: os.stat_result | None
    ) -> bool:
        """Note a directory; whether nothing of the machine's is in it."""
        if below is None:
            if not self._how.without.need(path):
                self._note(self._changes.created, path)
            return True
        replaced = not stat.S_ISDIR(below.st_mode) or is_marked(fd, "opaque")
        if replaced or is_marked(fd, "redirect") or self._has_changed_rights(path, look, below):
            self._note(self._changes.modified, path)
        return replaced

    def _has_changed_rights(self, path: str, look: os.stat_result, below: os.stat_result) -> bool:
        """Whether a directory has another mode or owner than in any layer: what was put there
        beforehand looks like that of the machine, though one of a layer may be over it.
        """
        if not self._has_changed(look, below):
            return False
        others = self._root.lowers(path) if len(self._root.layers) > 1 else ()
        return all(self._has_changed(look, os.stat(each)) for each in others)

    def _has_changed(self, look: os.stat_result, below: os.stat_result) -> bool:
        """Whether it has another mode or owner. Without root what we copy up is ours, with our
        rights to it.
        """
        is_same_owner = (look.st_uid, look.st_gid) == (below.st_uid, below.st_gid)
        if self._written.is_users and not is_same_owner:
            return False
        return not is_same_owner or look.st_mode != below.st_mode

    def is_copy(
        self, fd: int, name: str, look: os.stat_result, path: str, below: os.stat_result
    ) -> bool:
        """Whether it is a copy of the machine's: of ours, where no overlay could be, or of the
        overlay's, for somebody opened it for writing.
        """
        if look.st_mode != below.st_mode or look.st_size != below.st_size:
            return False
        place = self._root.place(path)
        if stat.S_ISLNK(look.st_mode):
            with contextlib.suppress(OSError):  # somebody is at work there
                return os.readlink(name, dir_fd=fd) == os.readlink(place)
        elif stat.S_ISFIFO(look.st_mode):  # of a layer, or of the machine
            return look.st_mtime_ns == below.st_mtime_ns
        elif stat.S_ISREG(look.st_mode):
            # Overlayfs copies times up with the content, as we do with the file of a layer; a write
            # changes them
            is_old = look.st_mtime_ns == below.st_mtime_ns
            if (is_old and self._how.times_tell) or look.st_size > self._how.compared:
                return is_old
            return _is_same(fd, name, place)
        return False


def _lstat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:  # gone, or closed to us
        return None


def _is_same(fd: int, name: str, path: str) -> bool:
    """Whether two files hold the same, one of the machine's and one that a test wrote."""
    if (ours := open_file(fd, name)) is None:
        return False
    with open(ours, "rb") as copy:
        try:
            original = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # not for this user to read, or another thing by now
            return False
        with open(original, "rb") as machines:
            if not stat.S_ISREG(os.fstat(original).st_mode):
                return False
            while (part := machines.read(_PART)) == copy.read(_PART):
                if not part:
                    return True
    return False
