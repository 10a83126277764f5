"""Where tests ran: in a worker of pytest-xdist, as one of several jobs, or alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Place = tuple[str, int]  # worker, job


def place(entry: Mapping[str, Any]) -> Place:
    """Give what tells the place of a test from that of others, in their order."""
    job = entry.get("job")
    return entry.get("worker") or "", -1 if job is None else job


def lanes(entries: Iterable[Mapping[str, Any]]) -> dict[Place, str]:
    """Name the places that tests had, in their order."""
    places = sorted(set(map(place, entries)))
    alone = "alone" if any(job >= 0 for _, job in places) else "pytest"
    return {
        (worker, job): worker or (alone if job < 0 else f"job {job + 1}") for worker, job in places
    }
