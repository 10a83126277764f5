"""Records on disk, one a line, each with its checksum."""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Record(NamedTuple):
    """A key and what it was set to; None means that it was removed."""

    key: str
    value: str | None


def read_records(path: Path) -> Iterator[Record]:
    """All whole records, oldest first; one line is in memory at a time."""
    for record, _end in _scan(path):
        yield record


class Log:
    """A log open for appending. What a crash cut short at its end is dropped first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._drop_torn_end()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._file.tell()

    def append(self, record: Record) -> None:
        """Hand a record to the kernel: from here on it survives this process."""
        self._file.write(_encode(record))
        self._file.flush()

    def sync(self) -> None:
        """Wait until the disk has it all: from here on it survives a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()

    def _drop_torn_end(self) -> None:
        end = 0
        for _record, end in _scan(self.path):  # noqa: B007 - the last end is wanted
            pass
        self._file.truncate(end)
        self._file.seek(end)


def _encode(record: Record) -> bytes:
    body = json.dumps(record).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _scan(path: Path) -> Iterator[tuple[Record, int]]:
    """Whole records, each with the offset of its end; stops at the first that is damaged."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            checksum, _, body = line[:-1].partition(b" ")
            # Without its newline a record may be the first half of a longer one.
            if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
                return
            end += len(line)
            yield Record(*json.loads(body)), end
