"""A layer's archive, added to a tree; and what it removes of the layers below.

The entries are read by ``tarfile``, but not extracted by it: its data filter drops owners and
set-uid bits, which belong to a root, and knows no whiteouts. A layer removes ``NAME`` by an entry
``.wh.NAME`` and all that was in a directory by ``.wh..wh..opq`` in it, wherever in the archive they
stand (OCI image specification, layer.md). One tree is made of all layers, not a lower directory of
each: docs/architecture.md has the reasons.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
from dataclasses import dataclass, field
from typing import Any

from pytest_isolate._images.broken import BrokenImageError, printable
from pytest_isolate._images.streams import PIECE, Bounds, Content, entries
from pytest_isolate._images.tree import DEEPEST, Tree, too_deep

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_LAST_ID = (1 << 32) - 2  # of a user or group
_LAST_TIME = 1 << 34  # seconds; ext4's last second
_MOST_SAID = 10
_NO_XATTR = {errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ENOSPC, errno.E2BIG, errno.ERANGE}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Left:
    """What of an image is not in its tree, or not as it says."""

    devices: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    owners: bool = False

    def sentences(self) -> list[str]:
        """Say it."""
        said = []
        if others := sorted(path for path in self.devices if not path.startswith("dev/")):
            shown = ", ".join(printable(path) for path in others[:_MOST_SAID])
            said.append(f"device nodes are left out, a test has those of its own /dev: {shown}")
        if self.owners:
            said.append("every file is yours: without root no other owner can be given")
        if self.attributes:
            shown = ", ".join(sorted(self.attributes)[:_MOST_SAID])
            said.append(f"extended attributes are left out: {shown}")
        return said


class Unpacking:
    """The layers of one image, one after the other, to one tree.

    Everything may raise ``BrokenImageError`` and ``OSError``.
    """

    def __init__(self, tree: Tree, bounds: Bounds) -> None:
        self._tree, self._most_entries = tree, bounds.entries
        self._root = os.geteuid() == 0
        self.left = Left()
        self._entries = 0
        self._added: set[str] = set()  # paths of this layer, which none of its whiteouts removes
        self._cleared: set[str] = set()  # directories in which it lets nothing through
        self._times: dict[str, int] = {}  # of directories, which change while files are put there

    def add(self, content: Content) -> None:
        """Add a layer."""
        self._added.clear()
        self._times.clear()
        self._cleared.clear()
        for entry in entries(content):
            content.allow()
            self._entries += 1
            if self._entries > self._most_entries:
                raise BrokenImageError(
                    f"with it there are more than {self._most_entries} files: it is refused as a"
                    " bomb"
                )
            self._add_said(entry, content)
        while content.piece(PIECE):  # what is behind the archive is hashed too
            pass
        for path, time in self._times.items():
            self._tree.touch(path, time)

    def _add_said(self, entry: tarfile.TarInfo, content: Content) -> None:
        try:
            self._add(entry, content)
        except OSError as error:
            if error.errno in {
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EIO,
                errno.EROFS,
                errno.EMFILE,
                errno.ENFILE,
                errno.ENOMEM,
            }:
                raise
            raise BrokenImageError(
                f"{printable(entry.name)} cannot be made: {error.strerror}"
            ) from None
        except ValueError as error:  # a null byte in a name
            raise BrokenImageError(f"{printable(entry.name)} cannot be made: {error}") from None

    def _add(self, entry: tarfile.TarInfo, content: Content) -> None:
        if entry.size < 0:
            raise BrokenImageError(f"{printable(entry.name)} has a size of {entry.size} bytes")
        path = _relative(entry.name, printable(entry.name))
        if not path:
            if entry.isdir():
                self._attributes(self._tree.fd, entry)
            return
        name = os.path.basename(path)
        parent, above = self._tree.parent(path)
        if name.startswith(_WHITEOUT):
            self._white_out(above, name)
            return
        path = f"{above}/{name}" if above else name
        if self._make_room(parent, path, entry):
            parent, _ = self._tree.parent(path)
        self._note(path)
        if entry.isdir():
            self._directory(parent, path, entry)
        elif entry.isreg():
            self._file(parent, name, entry, content)
        elif entry.islnk():
            self._link(parent, name, entry)
        else:
            self._special(parent, path, entry)

    def _special(self, parent: int, path: str, entry: tarfile.TarInfo) -> None:
        name = os.path.basename(path)
        if entry.isdev() and not entry.isfifo():
            self.left.devices.add(path)
            return
        if entry.issym():
            os.symlink(entry.linkname, name, dir_fd=parent)
        elif entry.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            raise BrokenImageError(
                f"{printable(entry.name)} is of a type ({entry.type!r}) that no layer has"
            )
        if self._root:
            os.chown(name, *_owner(entry), dir_fd=parent, follow_symlinks=False)
        if entry.isfifo():  # whatever the umask
            os.chmod(name, stat.S_IMODE(entry.mode), dir_fd=parent)
        os.utime(name, ns=(_time(entry), _time(entry)), dir_fd=parent, follow_symlinks=False)

    def _note(self, path: str) -> None:
        while path and path not in self._added:
            self._added.add(path)
            path = os.path.dirname(path)

    def _white_out(self, above: str, name: str) -> None:
        if name == _OPAQUE and above not in self._cleared:
            self._tree.clear(above, self._added)
            self._cleared.add(above)  # what is there from now on is this layer's
        elif name == _OPAQUE:
            return
        elif (hidden := name.removeprefix(_WHITEOUT)) in {"", ".", ".."}:
            raise BrokenImageError(f"{printable(name)} is a whiteout without a name")
        elif not hidden.startswith(_WHITEOUT):  # AUFS's own
            self._tree.remove(f"{above}/{hidden}" if above else hidden, self._added)

    def _make_room(self, parent: int, path: str, entry: tarfile.TarInfo) -> bool:
        """Remove what is in the way. Whether anything was."""
        look = self._tree.lstat(parent, os.path.basename(path))
        if look is None or (stat.S_ISDIR(look.st_mode) and entry.isdir()):
            return False
        self._tree.remove(path, set())
        return True

    def _directory(self, parent: int, path: str, entry: tarfile.TarInfo) -> None:
        name = os.path.basename(path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
        )
        try:
            self._attributes(fd, entry)
        finally:
            os.close(fd)
        self._times[path] = _time(entry)

    def _file(
        self,
        parent: int,
        name: str,
        entry: tarfile.TarInfo,
        content: Content,
    ) -> None:
        fd = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            if entry.issparse():
                _copy_sparse(content, entry, fd)
            else:
                _copy(content, entry, entry.size, fd)
            self._attributes(fd, entry)
        finally:
            os.close(fd)

    def _link(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        said = f"{printable(entry.name)} is a hard link to {printable(entry.linkname)}"
        target = _relative(entry.linkname, f"{said}, which")
        if not target:
            raise BrokenImageError(f"{said}, which is a directory")
        parent = os.dup(parent)  # to look for another's lets go of it
        try:
            there, _ = self._tree.parent(target)
            look = self._tree.lstat(there, os.path.basename(target))
            if look is None and self.left.devices:  # one of them
                return
            if look is None or stat.S_ISDIR(look.st_mode):
                raise BrokenImageError(
                    f"{said}, which is {'not there' if look is None else 'a directory'}"
                )
            os.link(
                os.path.basename(target),
                name,
                src_dir_fd=there,
                dst_dir_fd=parent,
                follow_symlinks=False,
            )
        finally:
            os.close(parent)

    def _attributes(self, fd: int, entry: tarfile.TarInfo) -> None:
        """Owner first, which takes set-uid bits and capabilities away."""
        mode = stat.S_IMODE(entry.mode)
        if self._root:
            os.fchown(fd, *_owner(entry))
        else:
            _owner(entry)
            self.left.owners = True
            # Root could write there; and its owner has to remove it one day
            mode |= stat.S_IRWXU if entry.isdir() else 0
        os.fchmod(fd, mode)
        for key, value in entry.pax_headers.items():
            if key.startswith(_XATTR):
                self._xattr(fd, key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
        if not entry.isdir():
            os.utime(fd, ns=(_time(entry), _time(entry)))

    def _xattr(self, fd: int, name: str, value: bytes) -> None:
        """Set what is the file's own; ``trusted`` ones and those of overlays steer the kernel."""
        if not (
            name == "security.capability"
            or (name.startswith("user.") and not name.startswith("user.overlay."))
        ):
            self.left.attributes.add(printable(name))
            return
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise
            self.left.attributes.add(printable(name))


def _relative(name: str, said: str) -> str:
    """Take a name of an archive as one below the root; ``said`` is what has it."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise BrokenImageError(f"{said} leads out of the image by '..'")
    if len(parts) > DEEPEST:
        raise too_deep(name)
    return "/".join(parts)


def _owner(entry: tarfile.TarInfo) -> tuple[int, int]:
    if not (0 <= entry.uid <= _LAST_ID and 0 <= entry.gid <= _LAST_ID):
        raise BrokenImageError(
            f"{printable(entry.name)} has an owner, {entry.uid}:{entry.gid}, that cannot be"
        )
    return entry.uid, entry.gid


def _time(entry: tarfile.TarInfo) -> int:
    """In nanoseconds; the beginning of time for what no file system has."""
    return int(entry.mtime * 1e9) if 0 <= entry.mtime < _LAST_TIME else 0


def _write(fd: int, data: bytes | memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _copy(content: Content, entry: tarfile.TarInfo, size: int, fd: int) -> None:
    while size:
        piece = content.piece(size)
        if not piece:
            raise BrokenImageError(f"it ends in the middle of {printable(entry.name)}")
        size -= len(piece)
        _write(fd, piece)


def _copy_sparse(content: Content, entry: tarfile.TarInfo, fd: int) -> None:
    """Copy a file with its holes; tarfile knows the three ways to write them down, but would read
    zeros for each.
    """
    os.ftruncate(fd, entry.size)
    content.seek(entry.offset_data)
    data: Any = entry.sparse  # typeshed has it as bytes
    for offset, size in data:
        if offset < 0 or size < 0 or offset + size > entry.size:
            raise BrokenImageError(f"{printable(entry.name)} has holes where no file can have them")
        os.lseek(fd, offset, os.SEEK_SET)
        _copy(content, entry, size, fd)
