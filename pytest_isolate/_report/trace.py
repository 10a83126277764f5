"""``--isolate-trace``: when what ran, in Chrome's trace-event format, which ui.perfetto.dev and
chrome://tracing open.

A process for pytest or each worker of pytest-xdist; in it a lane for each job with its tests and
their phases, a lane with the building of sandboxes, and a counter of each lane's memory. (The
format: "Trace Event Format", Google; times are microseconds.) Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_isolate._report.lanes import lanes, place

Entry = Mapping[str, Any]
Event = dict[str, object]

_BUILDER = 0  # its lane in each process
_LONGEST_NAME = 1000  # characters
_COLORS = {  # of those that the format has names for
    "passed": "good",
    "failed": "terrible",
    "error": "terrible",
    "xfailed": "bad",
    "xpassed": "bad",
    "skipped": "grey",
}


def text(entries: Sequence[Entry]) -> str:
    """Write the whole trace, one event a line."""
    events = ",\n".join(json.dumps(each) for each in _events(entries))
    return f'{{"displayTimeUnit": "ms", "traceEvents": [\n{events}\n]}}\n'


def _events(entries: Sequence[Entry]) -> Iterator[Event]:
    timed = [each for each in entries if _seconds(each) is not None]
    starts = [each["started"] for each in timed]
    starts += [span["start"] for each in timed for span in each.get("building") or ()]
    if not timed:
        return
    zero, names = min(starts), lanes(timed)
    processes = {worker: pid for pid, worker in enumerate(dict.fromkeys(w for w, _ in names), 1)}
    threads = {key: tid for tid, key in enumerate(names, _BUILDER + 1)}
    for worker, pid in processes.items():
        yield _named("process_name", worker or "pytest", pid, _BUILDER)
        yield _named("thread_name", "building of sandboxes", pid, _BUILDER)
    for key, name in names.items():
        yield _named("thread_name", name, processes[key[0]], threads[key])
    built: set[object] = set()
    for each in timed:
        where: Event = {"pid": processes[place(each)[0]], "tid": threads[place(each)]}
        yield from _test(each, zero, where)
        yield from _memory(each, zero, where, names[place(each)])
        yield from _building(each, zero, where["pid"], built)


def _seconds(entry: Entry) -> float | None:
    """Return how long a test was in its sandbox; None if it was in none."""
    seconds: float | None = entry["usage"]["wall_seconds"]
    return None if entry.get("started") is None else seconds


def _test(entry: Entry, zero: float, where: Event) -> Iterator[Event]:
    begin = _microseconds(entry["started"] - zero)
    end = begin + _microseconds(_seconds(entry) or 0.0)
    usage = {name: value for name, value in entry["usage"].items() if value is not None}
    yield {
        "ph": "X", "cat": "test", "name": entry["nodeid"][:_LONGEST_NAME], "ts": begin,
        "dur": end - begin, **where,
        "cname": _COLORS.get(entry["outcome"], "grey"),
        "args": {"outcome": entry["outcome"], "verdict": entry.get("verdict"), **usage},
    }  # fmt: skip
    last = begin
    for phase in sorted(entry.get("phases") or (), key=lambda each: each["start"]):
        # By the word of the test's process: within the test, and one after the other
        start = _microseconds(phase["start"] - zero)
        first, until = max(start, last), min(start + _microseconds(phase["seconds"]), end)
        if first < until:
            yield {"ph": "X", "cat": "phase", "name": phase["when"], "ts": first,
                   "dur": until - first, **where}  # fmt: skip
            last = until


def _memory(entry: Entry, zero: float, where: Event, lane: str) -> Iterator[Event]:
    samples = entry.get("memory_samples") or ()
    begin = _microseconds(entry["started"] - zero)
    counted: list[tuple[int, int]] = [
        (begin + _microseconds(seconds), int(used)) for seconds, used in samples
    ]
    if counted:  # what it had is gone with it
        end = begin + _microseconds(_seconds(entry) or 0.0)
        counted.append((max(end, counted[-1][0]), 0))
    for at, used in counted:
        yield {"ph": "C", "name": f"memory, {lane}", "ts": at, "pid": where["pid"],
               "args": {"bytes": used}}  # fmt: skip


def _building(entry: Entry, zero: float, pid: object, built: set[object]) -> Iterator[Event]:
    """Yield the building of a test's sandbox, once of one that several tests share."""
    for span in entry.get("building") or ():
        if (key := (pid, span["start"])) not in built:
            built.add(key)
            yield {"ph": "X", "cat": "sandbox", "name": "build", "pid": pid, "tid": _BUILDER,
                   "ts": _microseconds(span["start"] - zero),
                   "dur": _microseconds(span["seconds"]),
                   "args": {"for": entry["nodeid"][:_LONGEST_NAME]}}  # fmt: skip


def _named(what: str, name: str, pid: int, tid: int) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
