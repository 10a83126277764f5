"""A layer's bytes: read, hashed, decompressed and counted, for headers are not believed."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pytest_isolate._images.broken import BrokenImageError

Result = TypeVar("Result")
PIECE = 1 << 20  # bytes that are read at once
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # zlib's word for a stream with gzip's header
_HEADER = 1 << 20  # bytes of names and attributes of an entry, which tarfile reads at once


@dataclass(frozen=True)
class Bounds:
    """What no image of files comes to: one that has more is refused as a bomb."""

    always: int = 1 << 30  # bytes that any layer may have, however small it was
    ratio: int = 200  # times its size that a larger one may have: text comes to 10, zeros to 1,000
    most: int = 1 << 38  # bytes of any layer
    entries: int = 4_000_000  # of all its layers


def entries(file: object) -> Iterator[tarfile.TarInfo]:
    """Give those of an archive, of which nothing is remembered.

    Raises ``BrokenImageError`` and ``OSError``.
    """
    archive = _read(lambda: tarfile.TarFile(fileobj=file))  # type: ignore[arg-type]
    while (entry := _read(archive.next)) is not None:
        archive.members.clear()  # type: ignore[attr-defined]
        # Of all that follow, and copied for each
        words = archive.pax_headers.items()
        if sum(len(name) + len(value) for name, value in words) > _HEADER:
            raise BrokenImageError(f"its global headers have more than {_HEADER} bytes")
        yield entry


def _read(read: Callable[[], Result]) -> Result:
    try:
        return read()
    except (BrokenImageError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - tarfile raises what int() does, and RecursionError
        raise BrokenImageError(f"it is no whole tar archive ({error})") from None


class Readable(Protocol):
    """What can be read from its beginning to its end."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class Hashed:
    """What is read of a file, hashed and counted on its way."""

    def __init__(self, file: Readable, algorithm: str) -> None:
        self._file, self._hash, self._algorithm = file, hashlib.new(algorithm), algorithm
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    @property
    def digest(self) -> str:
        """That of what was read, as manifests write it."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"


class Content:
    """What a layer holds, decompressed: a tar archive, as far as ``tarfile`` needs it.

    It only ever goes forward. Everything may raise ``BrokenImageError``.
    """

    def __init__(self, packed: Hashed, algorithm: str, bounds: Bounds) -> None:
        self._packed, self._bounds = packed, bounds
        self._hash, self._algorithm = hashlib.new(algorithm), algorithm
        self._pieces = _unpacked(packed, packed.read(PIECE))
        self._ready = memoryview(b"")
        self._size = 0  # of what came, with what is ready
        self._may_read = _HEADER

    def allow(self, size: int = _HEADER) -> None:
        """Bound what is read, by sizes that the archive says, until this is called again."""
        self._may_read = size

    def read(self, size: int, /) -> bytes:
        """Read on."""
        self._may_read -= size
        if size < 0 or self._may_read < 0:
            raise BrokenImageError(
                f"at byte {self.tell()} of its archive is a header of more than {_HEADER} bytes"
            )
        return self._read(size)

    def _read(self, size: int) -> bytes:
        found = bytes(self._ready[:size])
        self._ready = self._ready[size:]
        while len(found) < size and (piece := next(self._pieces, None)) is not None:
            self._hash.update(piece)
            self._count(len(piece))
            left = size - len(found)
            found += piece[:left]
            self._ready = memoryview(piece)[left:]
        return found

    def piece(self, most: int) -> bytes | memoryview:
        """Read on, as much as costs no copy, but nothing at the end only."""
        if not self._ready:
            return self._read(min(most, PIECE))
        found, self._ready = self._ready[:most], self._ready[most:]
        return found

    def tell(self) -> int:
        """Where the next byte is."""
        return self._size - len(self._ready)

    def seek(self, position: int, /) -> int:
        """Go forward."""
        left = position - self.tell()
        if left < 0:
            raise BrokenImageError(f"at byte {self.tell()} its archive leads back")
        while left and (skipped := len(self.piece(left))):
            left -= skipped
        return self.tell()

    @property
    def digest(self) -> str:
        """That of all that was read, ahead of who reads too."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def _count(self, more: int) -> None:
        self._size += more
        bounds = self._bounds
        most = min(max(bounds.always, bounds.ratio * self._packed.size), bounds.most)
        if self._size > most:
            raise BrokenImageError(
                f"its first {self._packed.size} bytes hold more than {most}, which no layer of "
                "files does: it is refused as a bomb"
            )


def _unpacked(packed: Hashed, data: bytes) -> Iterator[bytes]:
    if data.startswith(_GZIP):
        yield from _gunzipped(packed, data)
    elif data.startswith(_ZSTD):
        yield from _unzstd(packed, data)
    else:
        while data:
            yield data
            data = packed.read(PIECE)


def _gunzipped(packed: Hashed, data: bytes) -> Iterator[bytes]:
    """Several streams, one behind the other, are one: pigz and others write them."""
    while data.strip(b"\0"):  # zeros behind the last one are padding
        stream = zlib.decompressobj(_GZIP_WINDOW)
        while not stream.eof:
            data = data or _more(packed)
            try:
                yield stream.decompress(data, PIECE)
            except zlib.error as error:
                raise BrokenImageError(f"its compressed data are damaged ({error})") from None
            data = stream.unconsumed_tail
        data = stream.unused_data or packed.read(PIECE)


def _unzstd(packed: Hashed, data: bytes) -> Iterator[bytes]:
    zstd = _zstd()
    while data:
        stream = zstd.ZstdDecompressor()
        while not stream.eof:
            if stream.needs_input:
                data = data or _more(packed)
            try:
                yield stream.decompress(data, PIECE)
            except zstd.ZstdError as error:
                raise BrokenImageError(f"its compressed data are damaged ({error})") from None
            data = b""
        data = stream.unused_data or packed.read(PIECE)


def _more(packed: Hashed) -> bytes:
    if data := packed.read(PIECE):
        return data
    raise BrokenImageError("it ends in the middle of its compressed data")


def _zstd() -> Any:  # noqa: ANN401 - a module
    try:
        from compression import zstd  # noqa: PLC0415 - Python 3.14
    except ImportError:
        try:
            from backports import zstd  # noqa: PLC0415 - the same module, for those before
        except ImportError:
            raise BrokenImageError(
                "it is compressed by zstd, which this Python cannot read: "
                "python -m pip install backports.zstd"
            ) from None
    return zstd
