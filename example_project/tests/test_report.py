"""The report, with less memory than its log has bytes."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_isolate import isolate

from pantry.log import Log, Record
from pantry.report import Line, report, report_many

if TYPE_CHECKING:
    from pathlib import Path


def _make_log(path: Path, *records: Record) -> Path:
    with closing(Log(path)) as log:
        for record in records:
            log.append(record)
    return path


def test_counts_changes_and_characters(tmp_path: Path) -> None:
    """A removal is a change of no characters."""
    path = _make_log(tmp_path / "log", Record("a", "123"), Record("b", "1"), Record("a", None))
    assert report(path) == {"a": Line(2, 3), "b": Line(1, 1)}


@isolate(memory="24M", on_missing="skip")
def test_reads_a_log_that_does_not_fit_into_memory(big_log: Path) -> None:
    """48 MiB of log are reported on with 24 MiB of memory: lines are not kept."""
    assert big_log.stat().st_size >= 48 << 20
    lines = report(big_log)
    assert sorted(lines) == ["key-0", "key-1", "key-2"]
    assert all(line.characters == 4096 * line.changes for line in lines.values())


@isolate(memory="48M", pids=3, on_missing="skip")
def test_reads_several_logs_at_once(big_log: Path, tmp_path: Path) -> None:
    """The limit is for the whole tree: two workers with 96 MiB of log between them stay below 48
    MiB together.
    """
    small = _make_log(tmp_path / "log", Record("key-0", "x"), Record("only here", "y"))
    alone = report(big_log)
    together = report_many([big_log, big_log, small], workers=2)
    assert together["only here"] == Line(1, 1)
    assert together["key-0"] == alone["key-0"] + alone["key-0"] + Line(1, 1)
