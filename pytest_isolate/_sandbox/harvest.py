"""Take what was written in a sandbox out of its private file system, as a layer for others.

As ``salvage`` has it nothing is believed that lies there: by descriptor, name by name, through no
link and into no other mount. But a layer is to be what its author saw, so owners, modes, times and
attributes come out too, a removed name as a whiteout, a directory that replaced another one opaque.
What would be another thing elsewhere stays inside: sockets, devices, what overlayfs notes for
itself. So do the sandbox's own copies, and directories that say nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_isolate._errors import Step
from pytest_isolate._linux import holes, names, syscalls
from pytest_isolate._linux.root import is_marked, is_whiteout
from pytest_isolate._sandbox import copies
from pytest_isolate._sandbox.salvage import open_directory, open_file
from pytest_isolate._sandbox.written import Known, Written

_DEEPEST = 200  # directories: each level holds two descriptors open
_MOST_LEFT = 50  # of what stayed inside, by name
_PIECE = 1 << 20  # bytes that are compared at once
_REBUILT = ("/dev", "/proc", "/sys")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Attributes of files that come out; of ``user`` ones not those of overlayfs.
_KEPT = ("user.", "security.capability", "system.posix_acl_")
_OF_OVERLAYS = "user.overlay."


def take_out(private: int, written: Written, target: str, *, user: bool) -> list[str]:
    """Copy what was written to an empty directory. Returns some paths of what stayed inside.

    Raises ``StepFailedError``: what is there then is not whole.
    """
    harvest = _Harvest(written, target, user)
    for path, relative, known in written.layers(private):
        if path in _REBUILT or path.startswith(tuple(f"{each}/" for each in _REBUILT)):
            continue
        with Step("take a layer out of", path):
            if harvest.has_taken_file(private, relative, path):
                continue
        with Step("take a layer out of", path), _opened(private, relative, path) as fd:
            harvest.without = frozenset()
            if known is not None:
                harvest.without = frozenset(known.unwritten(private, relative))
            harvest.take(fd, path, known)
    with Step("take a layer out of", "/"):
        harvest.finish_directories()
    return harvest.left[:_MOST_LEFT]


@contextlib.contextmanager
def _opened(below: int, name: str, path: str) -> Iterator[int]:
    """Open a directory."""
    fd = open_directory(below, name)
    if fd is None:
        _give_us_rights(below, name, stat.S_IRWXU)
        fd = open_directory(below, name)
    if fd is None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    try:
        yield fd
    finally:
        os.close(fd)


def _give_us_rights(below: int, name: str, rights: int) -> None:
    """Open what its author closed to everybody: without root it is ours, and nobody is in there."""
    fd = syscalls.open_beneath(below, name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.chmod(f"/proc/self/fd/{fd}", os.fstat(fd).st_mode & 0o7777 | rights)
    finally:
        os.close(fd)


@dataclass
class _Harvest:
    written: Written
    target: str
    user: bool
    left: list[str] = field(default_factory=list)
    without: frozenset[str] = frozenset()  # paths, below that of a private directory
    linked: dict[tuple[int, int], str] = field(default_factory=dict)  # several names: the first
    directories: dict[str, os.stat_result] = field(default_factory=dict)  # to be finished
    ways: set[str] = field(default_factory=set)  # of these, those that look like what is below

    def take(self, fd: int, path: str, known: Known | None) -> None:
        """Take one private directory."""
        to = self._make_way(path)
        try:
            self._take_directory(fd, to, path, "")
            if known is not None:
                self._take_removals(fd, to, known)
        finally:
            os.close(to)

    def has_taken_file(self, private: int, relative: str, path: str) -> bool:
        """Take what is no directory but a mount of its own, of which a sandbox has a copy."""
        look = os.stat(relative, dir_fd=private, follow_symlinks=False)
        if stat.S_ISDIR(look.st_mode):
            return False
        if stat.S_ISREG(look.st_mode):
            to = self._make_way(os.path.dirname(path))
            try:
                self._take_file(private, relative, to, path, look)
            finally:
                os.close(to)
        return True

    def _make_way(self, path: str) -> int:
        """Open the place of a directory; those on the way to it are as they are below."""
        to, at = os.open(self.target, _DIRECTORY), ""
        for name in filter(None, path.split("/")):
            at += f"/{name}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=to)
            if at not in self.directories and (look := self.written.root.lstat(at)) is not None:
                self.directories[at] = look
                self.ways.add(at)
            to, above = os.open(name, _DIRECTORY, dir_fd=to), to
            os.close(above)
        return to

    def finish_directories(self) -> None:
        """Give directories what they look like, but remove those that say nothing."""
        for path, look in sorted(self.directories.items(), reverse=True):  # inner ones first
            place, below = f"{self.target}{path}", self.written.root.lstat(path)
            is_same = below is not None and copies.looks_like(look, below, user=self.user)
            is_same = is_same or path in self.written.made
            if is_same and not is_marked(place, "opaque") and not os.listdir(place):
                os.rmdir(place)
            elif path in self.ways:
                copies.look_like(place, look, user=self.user)
            else:
                self._look_like(place, look)
            if self.user and below is not None and below.st_uid != os.geteuid():
                with contextlib.suppress(FileNotFoundError):  # what is kept can be removed
                    os.chmod(place, os.stat(place).st_mode & 0o7777 | stat.S_IRWXU)

    def _take_removals(self, fd: int, to: int, known: Known) -> None:
        """Note what went of a directory that is taken apart, which leaves no whiteouts."""
        for path in known.copies:
            folder, _, name = path.rpartition("/")
            if (there := open_directory(fd, folder or ".")) is None:  # went with what is above it
                continue
            try:
                os.stat(name, dir_fd=there, follow_symlinks=False)
            except FileNotFoundError:
                os.makedirs(f"/proc/self/fd/{to}/{folder}", exist_ok=True)
                os.mknod(path, stat.S_IFCHR, dir_fd=to)
            finally:
                os.close(there)

    def _take_directory(self, fd: int, to: int, path: str, start: str) -> None:
        if start.count("/") > _DEEPEST:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        with os.scandir(fd) as entries:
            for entry in entries:
                inside = os.path.join(path, entry.name)
                if (relative := start + entry.name) not in self.without and not self._is_made(
                    entry, inside
                ):
                    self._take(fd, to, inside, relative)

    def _is_made(self, entry: os.DirEntry[str], path: str) -> bool:
        """Whether it is there only for something to be bound on it."""
        if path not in self.written.made:
            return False
        is_way = any(each.startswith(f"{path}/") for each in self.written.made)
        return not is_way or not entry.is_dir(follow_symlinks=False)

    def _take(self, fd: int, to: int, path: str, relative: str) -> None:
        name = os.path.basename(path)
        look = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if is_whiteout(look):
            os.mknod(name, stat.S_IFCHR, dir_fd=to)
        elif stat.S_ISDIR(look.st_mode):
            self._take_below(fd, to, path, relative, look)
        elif stat.S_ISREG(look.st_mode):
            self._take_file(fd, name, to, path, look)
        elif stat.S_ISLNK(look.st_mode):
            link, below = os.readlink(name, dir_fd=fd), self.written.root.place(path)
            if not (os.path.islink(below) and os.readlink(below) == link):
                os.symlink(link, name, dir_fd=to)
                self._look_like(name, look, to)
        elif stat.S_ISFIFO(look.st_mode):
            os.mkfifo(name, 0o600, dir_fd=to)
            self._look_like(name, look, to)
        else:
            self.left.append(path)

    def _take_below(self, fd: int, to: int, path: str, relative: str, look: os.stat_result) -> None:
        name = os.path.basename(path)
        with _opened(fd, name, path) as source:
            with contextlib.suppress(FileExistsError):  # on the way to another private directory
                os.mkdir(name, 0o700, dir_fd=to)
            made = os.open(name, _DIRECTORY, dir_fd=to)
            try:
                self._take_directory(source, made, path, f"{relative}/")
                _copy_attributes(source, made)
                if is_marked(source, "opaque"):
                    space = "user" if self.user else "trusted"
                    os.setxattr(made, f"{space}.overlay.opaque", b"y")
            finally:
                os.close(made)
        self.directories[path] = look
        self.ways.discard(path)

    def _take_file(
        self, fd: int, source_name: str, to: int, path: str, look: os.stat_result
    ) -> None:
        name = os.path.basename(path)
        if (source := open_file(fd, source_name)) is None:
            _give_us_rights(fd, source_name, stat.S_IRUSR)
            source = open_file(fd, source_name)
        if source is None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        try:
            first = self.linked.setdefault((look.st_dev, look.st_ino), path)
            if first != path:
                os.link(f"{self.target}{first}", name, dst_dir_fd=to, follow_symlinks=False)
            elif not self._is_ours(source, look, path):
                copy = os.open(name, _NEW, 0o600, dir_fd=to)
                try:
                    holes.copy(source, copy, lambda size: size)
                    _copy_attributes(source, copy)
                    self._look_like(name, look, to)
                finally:
                    os.close(copy)
        finally:
            os.close(source)

    def _is_ours(self, source: int, look: os.stat_result, path: str) -> bool:
        """Whether it is the sandbox's own /etc/hosts, or a copy of what lies below."""
        root, hosts = self.written.root, self.written.hosts
        if hosts is not None and path == hosts.place:
            text = names.with_own(root.text(path), hosts.hostname, hosts.addresses)
            return os.pread(source, look.st_size + 1, 0) == text.encode("utf-8", "surrogateescape")
        below = root.lstat(path)
        if below is None or look.st_nlink > 1 or not _looks_the_same(look, below, user=self.user):
            return False
        with open(root.place(path), "rb") as machines, open(os.dup(source), "rb") as ours:
            while (piece := ours.read(_PIECE)) == machines.read(_PIECE):
                if not piece:
                    os.lseek(source, 0, os.SEEK_SET)
                    return True
        os.lseek(source, 0, os.SEEK_SET)
        return False

    def _look_like(self, name: str, look: os.stat_result, to: int | None = None) -> None:
        """Give what we have just made the owner, mode and times of what is inside."""
        if not self.user:
            os.chown(name, look.st_uid, look.st_gid, dir_fd=to, follow_symlinks=False)
        if not stat.S_ISLNK(look.st_mode):
            os.chmod(name, stat.S_IMODE(look.st_mode), dir_fd=to)
        times = (look.st_atime_ns, look.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=to, follow_symlinks=False)


def _looks_the_same(look: os.stat_result, below: os.stat_result, *, user: bool) -> bool:
    return (
        stat.S_ISREG(below.st_mode)
        and (look.st_size, look.st_mtime_ns) == (below.st_size, below.st_mtime_ns)
        and copies.looks_like(look, below, user=user)
    )


def _copy_attributes(source: int, copy: int) -> None:
    for name in os.listxattr(source):
        if name.startswith(_KEPT) and not name.startswith(_OF_OVERLAYS):
            os.setxattr(copy, name, os.getxattr(source, name))
