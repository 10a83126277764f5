"""``--isolate-report``: one JSON file with an entry for every isolated test (schema 1)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pytest_isolate._model import Usage

if TYPE_CHECKING:
    from pytest_isolate._forward.server import Used
    from pytest_isolate._sandbox.changes import Changes
    from pytest_isolate._verdict.network_attempts import Attempt
    from pytest_isolate._violations import Violation

SCHEMA = 1


class Phase(NamedTuple):
    """A phase of a test, by the word of its process: seconds since the epoch, and how long."""

    when: str
    start: float
    seconds: float


class Carried(NamedTuple):
    """What one end of a link sent to the other while a test ran."""

    sender: str
    receiver: str
    packets: int
    bytes: int
    dropped: int


@dataclass(frozen=True)
class Entry:
    """One isolated test."""

    nodeid: str
    outcome: str
    verdict: str
    limits: dict[str, int | float]
    usage: Usage | None
    violations: tuple[Violation, ...] = ()
    leaked: tuple[tuple[int, str], ...] = ()
    changes: Changes | None = None
    attempts: tuple[Attempt, ...] = ()
    # (seconds since the start, bytes), of a test that took long enough to be looked at
    memory: tuple[tuple[float, int], ...] = ()
    # Command and bytes of the process that held most memory at the highest sample
    largest: tuple[str, int] | None = None
    # Seconds since the epoch, when its sandbox was entered (else when pytest took the test up)
    started: float | None = None
    worker: str | None = None  # of pytest-xdist
    line: int | None = None  # of the test in its file, from 1
    output: str | None = None  # what a test that did not pass said, capped
    reason: str | None = None  # why it had no sandbox
    walls: tuple[str, ...] = ()  # what kept it apart, by the doctor's names
    sampled: tuple[str, ...] = ()  # limits that were held by looking at its processes
    servers: tuple[Used, ...] = ()  # of shared fixtures and others, that it could reach
    links: tuple[Carried, ...] = ()  # what each end of a link of its network sent
    job: int | None = None  # from 0, of those at once (--isolate-jobs)
    origins: dict[str, str] = field(default_factory=dict)  # where its limits were set, in words
    failure: str | None = None  # how it failed or why it was skipped, as pytest has it, capped
    phases: tuple[Phase, ...] = ()
    retries: tuple[str, ...] = ()  # how its earlier attempts failed, capped
    # When its sandbox was built, which may have been ahead: seconds since the epoch, and how long
    building: tuple[tuple[float, float], ...] = ()

    def as_json(self) -> dict[str, object]:
        """Write the entry in the contract's form."""
        return {
            "nodeid": self.nodeid,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "limits": self.limits,
            "usage": asdict(self.usage or Usage()),
            "violations": [
                {
                    "resource": each.resource,
                    "limit": each.limit,
                    "used": each.used,
                    "phase": each.phase,
                    "message": each.message,
                }
                for each in self.violations
            ],
            "leaked_processes": [{"pid": pid, "command": command} for pid, command in self.leaked],
            "files": {
                kind: getattr(self.changes, kind, []) for kind in ("created", "modified", "deleted")
            },
            "memory_samples": [
                [round(seconds, 3), bytes_then] for seconds, bytes_then in self.memory
            ],
            "memory_peak_process": (
                None
                if self.largest is None
                else {"command": self.largest[0], "bytes": self.largest[1]}
            ),
            "network": {
                "attempts": [
                    {"address": each.address, "port": each.port, "count": each.count}
                    for each in self.attempts
                ],
                "servers": [_server(each) for each in self.servers],
                "links": [each._asdict() for each in self.links],
            },
            "started": self.started,
            "worker": self.worker,
            "line": self.line,
            "output": self.output,
            "reason": self.reason,
            "walls": list(self.walls),
            "sampled": list(self.sampled),
            "job": self.job,
            "origins": self.origins,
            "failure": self.failure,
            "phases": [each._asdict() for each in self.phases],
            "retries": list(self.retries),
            "building": [{"start": start, "seconds": seconds} for start, seconds in self.building],
        }


def _server(used: Used) -> dict[str, object]:
    """Describe a server that a test could reach, and what it had of it: null where nobody counts,
    as for Unix sockets with a path.
    """
    server, place = used.server, used.server.place
    return {
        "kind": place.kind, "address": str(place), "process": server.process,
        "fixture": server.fixture,
        "connections": used.connections, "sent_bytes": used.sent, "received_bytes": used.received,
    }  # fmt: skip


def is_figure(value: object) -> bool:
    """Whether a usage can be this: null, or a number that needs no more bits than the kernel's
    counters have.
    """
    return value is None or (type(value) in {int, float} and 0 <= value < 1 << 63)  # type: ignore[operator]


def text(host: dict[str, dict[str, object]], entries: list[dict[str, object]]) -> str:
    """Write the whole report, one test a line: quicker than an indented one, in a third of the
    memory, and ``grep`` finds a test.
    """
    lines = ",\n".join(json.dumps(each) for each in entries)
    return f'{{"schema": {SCHEMA}, "host": {json.dumps(host, indent=1)}, "tests": [\n{lines}\n]}}\n'
