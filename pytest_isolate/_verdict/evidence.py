"""All that a verdict is made from, and what can be asked of it. Touches nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_isolate._forward.server import Used
from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.environment import Environment
from pytest_isolate._linux.kernel_log import Kill
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._verdict.file_changes import Changed
from pytest_isolate._verdict.network_attempts import Attempt

PHASES = ("setup", "call", "teardown")


@dataclass
class Evidence:
    """All that a verdict is made from."""

    process: ProcessResult
    counters: Counters
    disk_used: int | None  # None where it has no file system of its own
    disk_full: str  # of what nothing was left: "bytes", "files" or ""
    base_memory: int
    # Seconds before the test's own code, in user mode and in the kernel
    base_cpu: tuple[float, float] = (0.0, 0.0)
    disk_before: int | None = 0  # bytes that tests before it in the same sandbox had written
    unroutable: int | None = None  # what had no way out of the network; None on the host's
    attempts: tuple[Attempt, ...] = ()
    refused: int = 0  # connections within its own network, read where it failed
    servers: tuple[Used, ...] = ()  # of shared fixtures and others, that it could reach
    changed: Changed | None = None  # that it was not to change
    kill: Kill | None = None  # what the kernel wrote about an out-of-memory kill
    # Phases whose reports arrived and could be read, of the last attempt if a plugin reran it
    reported: tuple[str, ...] = ()
    again: bool = False  # whether that attempt was over and another one was to follow
    # The phase that it was in when it last spoke, if what came before it was not reported
    unsaid: str | None = None
    builder: str | None = None  # how the builder died, and with it the sandbox
    threads: tuple[str, ...] = ()  # names of pytest's other threads at the fork
    # For what helps against a broken sandbox
    here: Environment = field(default_factory=Environment)
    unreadable: str | None = None  # what the test's process wrote that no child of ours would have

    def memory(self) -> tuple[tuple[float, int], ...]:
        """Memory over time, without what the sandbox itself costs."""
        return tuple(
            (seconds, max(0, used - self.base_memory)) for seconds, used in self.process.memory
        )

    def saw(self, kind: str) -> bool:
        """Whether the child met a denial of this kind, by its own word."""
        seen = (frame.get("seen") for frame in self.process.frames)
        return any(isinstance(kinds, list) and kind in kinds for kinds in seen)

    def phase_of(self, kind: str, dead_in: str | None) -> str:
        """Find the first phase at whose end the child saw this denial.

        What a child says decides where, never whether.
        """
        for frame in self.process.frames:
            seen = frame.get("seen")
            if (
                frame["kind"] == "report"
                and isinstance(seen, list)
                and kind in seen
                and frame.get("when") in PHASES
            ):
                return str(frame["when"])
        return dead_in or (self.reported[-1] if self.reported else PHASES[0])

    def busiest(self) -> str:
        """Find the phase that took the longest, by the child's word: where one that ended by itself
        used most of its processor time.
        """
        longest, found = -1.0, PHASES[-1]
        for frame in self.process.frames:
            report = frame.get("report")
            duration = report.get("duration") if isinstance(report, dict) else None
            if (
                isinstance(duration, int | float)
                and duration > longest
                and frame.get("when") in PHASES
            ):
                longest, found = duration, str(frame["when"])
        return found
