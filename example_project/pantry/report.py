"""Statistics of a log. The log may be far larger than memory; only one line a key is kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pantry.log import read_records
from pantry.workers import run_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Line:
    """How often a key was set, and how many characters were stored for it in total."""

    changes: int = 0
    characters: int = 0

    def __add__(self, other: Line) -> Line:
        return Line(self.changes + other.changes, self.characters + other.characters)


def report(path: Path) -> dict[str, Line]:
    """One log's lines, by key."""
    lines: dict[str, Line] = {}
    for key, value in read_records(path):
        lines[key] = lines.get(key, Line()) + Line(1, len(value or ""))
    return lines


def report_many(paths: Sequence[Path], workers: int) -> dict[str, Line]:
    """The lines of several logs together; each log is read by one of ``workers`` processes."""
    return reduce(_merged, run_jobs(report, paths, workers), {})


def _merged(one: Mapping[str, Line], other: Mapping[str, Line]) -> dict[str, Line]:
    return {key: one.get(key, Line()) + other.get(key, Line()) for key in {**one, **other}}
