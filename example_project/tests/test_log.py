"""The log, without a sandbox: isolated and plain tests live side by side."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from pantry.log import Log, Record, read_records

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = [Record("a", "1"), Record("b", "line\nbreak"), Record("a", None)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed log of ``RECORDS``."""
    path = tmp_path / "pantry.log"
    with closing(Log(path)) as log:
        for record in RECORDS:
            log.append(record)
    return path


def test_gives_back_what_was_appended_in_order(path: Path) -> None:
    """What goes in comes out."""
    assert list(read_records(path)) == RECORDS


def test_continues_where_it_ended(path: Path) -> None:
    """A log that is opened again keeps its records."""
    with closing(Log(path)) as log:
        log.append(Record("c", "3"))
    assert list(read_records(path)) == [*RECORDS, Record("c", "3")]


@pytest.mark.parametrize("lost", [1, 2, 10])
def test_drops_a_record_that_a_crash_cut_short(path: Path, lost: int) -> None:
    """However much of the last record is missing: the others stay, and the next goes right behind
    them.
    """
    path.write_bytes(path.read_bytes()[:-lost])
    with closing(Log(path)) as log:
        log.append(Record("c", "3"))
    assert list(read_records(path)) == [*RECORDS[:-1], Record("c", "3")]


def test_stops_at_a_record_that_does_not_match_its_checksum(path: Path) -> None:
    """Nothing behind a damaged record is believed."""
    path.write_bytes(path.read_bytes().replace(b"break", b"brake"))
    assert list(read_records(path)) == RECORDS[:1]
