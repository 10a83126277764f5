"""A directory that remembers keys and values."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

from pantry.log import Log, Record, read_records

if TYPE_CHECKING:
    from pathlib import Path

_LOG, _NEW_LOG = "pantry.log", "pantry.log.new"


class Store:
    """Keys and values in ``directory``; any number of threads of one process may share it.

    When the log outgrows ``compact_at`` bytes it is rewritten, without what was overwritten or
    removed since.
    """

    def __init__(self, directory: Path, compact_at: int = 1 << 20) -> None:
        self.directory = directory
        self._compact_at = compact_at
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._log = Log(directory / _LOG)
        self._values: dict[str, str] = {}
        for key, value in read_records(self._log.path):
            self._apply(key, value)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._log.size

    def get(self, key: str) -> str | None:
        """The value of a key, or None."""
        return self._values.get(key)

    def keys(self) -> list[str]:
        """All keys, sorted."""
        with self._lock:
            return sorted(self._values)

    def put(self, key: str, value: str) -> None:
        """Set a key."""
        self._change(Record(key, value))

    def remove(self, key: str) -> None:
        """Forget a key; one that is not there is no error."""
        if key in self._values:
            self._change(Record(key, None))

    def compact(self) -> None:
        """Rewrite the log with the present values only.

        A crash leaves either the old log or the new one.
        """
        with self._lock:
            self._compact()

    def close(self) -> None:
        """Close the log; the data stay."""
        self._log.close()

    def destroy(self) -> None:
        """Close the store and delete its directory with all that is in it."""
        self.close()
        shutil.rmtree(self.directory)

    def _change(self, record: Record) -> None:
        with self._lock:
            self._log.append(record)
            self._apply(*record)
            if self._log.size > self._compact_at:
                self._compact()

    def _apply(self, key: str, value: str | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def _compact(self) -> None:
        path = self.directory / _NEW_LOG
        path.unlink(missing_ok=True)  # of a compaction that a crash cut short
        new = Log(path)
        for key, value in self._values.items():
            new.append(Record(key, value))
        new.sync()
        self._log.close()
        new.path = path.replace(self._log.path)
        self._log = new
