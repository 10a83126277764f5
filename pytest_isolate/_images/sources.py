"""Where an image's files are: in a directory, or in an archive.

Everything may raise ``BrokenImageError`` and ``OSError``.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
import tempfile
from typing import BinaryIO, Protocol

from pytest_isolate._images.broken import BrokenImageError, printable
from pytest_isolate._images.streams import PIECE, Bounds, Content, Hashed, Readable, entries

_MOST_MEMBERS = 10_000
_MOST_LINKS = 8
_PLAIN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Source(Protocol):
    """Files by relative names."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def open(self, name: str) -> tuple[Readable, int]:
        """Open one, and tell its size in bytes."""

    def close(self) -> None:
        """Let go of all."""


class Directory:
    """Of the machine."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened: list[BinaryIO] = []

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(f"{self._path}/{name}")

    def open(self, name: str) -> tuple[Readable, int]:
        """Open one, and tell its size in bytes."""
        try:
            file = open(os.open(f"{self._path}/{name}", _PLAIN), "rb")  # noqa: SIM115 - ``close`` does
        except FileNotFoundError:
            raise BrokenImageError(f"there is no file {name} in it") from None
        self._opened.append(file)
        look = os.fstat(file.fileno())
        if not stat.S_ISREG(look.st_mode):
            raise BrokenImageError(f"{name} in it is not a file")
        return file, look.st_size

    def close(self) -> None:
        """Let go of all."""
        while self._opened:
            self._opened.pop().close()


class Archive:
    """A tar archive. One that is compressed is put, decompressed, into a nameless file.

    It lies in ``scratch``.
    """

    def __init__(self, path: str, scratch: str) -> None:
        self._file: BinaryIO = open(os.open(path, _PLAIN), "rb")  # noqa: SIM115 - ``close`` does
        try:
            if self._file.peek(4)[:4].startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
                self._file = _decompressed(self._file, scratch)
            self._members = self._listed()
        except BaseException:
            self._file.close()
            raise

    def _listed(self) -> dict[str, tarfile.TarInfo]:
        found: dict[str, tarfile.TarInfo] = {}
        bounded = _BoundedReads(self._file)
        for member in entries(bounded):
            bounded.left = bounded.MOST
            if member.size < 0 or member.issparse() or len(found) >= _MOST_MEMBERS:
                raise BrokenImageError(
                    f"its member {printable(member.name)} does not belong in an image"
                )
            found[posixpath.normpath(member.name)] = member
        return found

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return posixpath.normpath(name) in self._members

    def open(self, name: str) -> tuple[Readable, int]:
        """Open one, and tell its size in bytes. Older archives have links to a layer too."""
        path = posixpath.normpath(name)
        for _ in range(_MOST_LINKS):
            member = self._members.get(path)
            if member is None:
                raise BrokenImageError(f"there is no file {printable(path)} in it")
            if member.isreg():
                return _Slice(self._file, member.offset_data, member.size), member.size
            if member.issym():
                path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
            elif member.islnk():
                path = posixpath.normpath(member.linkname)
            else:
                break
        raise BrokenImageError(f"{printable(name)} in it is not a file")

    def close(self) -> None:
        """Let go of all."""
        self._file.close()


class _BoundedReads:
    """A file of which tarfile reads no more, by sizes that the archive says, than a header has."""

    MOST = 1 << 20

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.left = file, self.MOST
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise BrokenImageError(
                f"at byte {self.tell()} of its archive is a header of more than {self.MOST} bytes"
            )
        return self._file.read(size)


class _Slice:
    """A member of an archive."""

    def __init__(self, file: BinaryIO, begin: int, size: int) -> None:
        self._file, self._at, self._end = file, begin, begin + size

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._file.fileno(), min(size, self._end - self._at), self._at)
        if not data and self._at < self._end:
            raise BrokenImageError("the archive ends in the middle of it")
        self._at += len(data)
        return data


def _decompressed(file: BinaryIO, scratch: str) -> BinaryIO:
    content = Content(Hashed(file, "sha256"), "sha256", Bounds())
    target: BinaryIO = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - the archive's own
    try:
        while data := content.piece(PIECE):
            target.write(data)
        target.seek(0)
    except BaseException:
        target.close()
        raise
    finally:
        file.close()
    return target
