"""What is known of a test's process once its test is over."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_isolate._linux.counters import Processor
from pytest_isolate._sandbox.frames import Frame


@dataclass
class ProcessResult:
    """Everything known of a test's process once it is over."""

    pid: int
    status: int | None = None  # as of wait(2); None when somebody else in this process reaped it
    frames: list[Frame] = field(default_factory=list)
    garbled: str | None = None
    timed_out: bool = False
    cpu_exceeded: bool = False
    # Bytes that a look found, above the limit, where looks alone limit it
    memory_exceeded: int | None = None
    out_of_memory: bool = False
    killed_child: bool = False  # the kernel chose another process than the test's own
    stacks: str = ""
    native: str = ""  # stacks in C of one that was stopped, or why there are none
    left_over: list[tuple[int, str]] = field(default_factory=list)  # the first fifty
    left_count: int = 0
    # (seconds since the start, bytes), some of the way
    memory: list[tuple[float, int]] = field(default_factory=list)
    # (command, bytes) of the process that held most when memory was at its highest
    largest: tuple[str, int] | None = None
    began: float | None = None  # when that was, in monotonic seconds; None if it never came inside
    wall_seconds: float = 0.0  # since then
    # Seconds at the same moment; None if somebody used more until all was ended
    processor: Processor | None = None

    @property
    def ended(self) -> bool:
        """Whether the child said that it had come to its end.

        An exit status, of whatever number, means nothing without.
        """
        return any(frame["kind"] == "end" for frame in self.frames)

    @property
    def came_to_its_end(self) -> bool:
        """Whether it ended by itself: all that it wrote can be read, and memory sufficed."""
        return self.ended and self.garbled is None and not self.out_of_memory

    @property
    def was_stopped(self) -> bool:
        """Whether we ended it, for what it has used up."""
        return self.timed_out or self.cpu_exceeded or self.memory_exceeded is not None

    @property
    def finished(self) -> bool:
        """Whether it said all that a test says; else how it leaves is worth waiting for."""
        torn_down = any(
            frame["kind"] == "report" and frame.get("when") == "teardown" for frame in self.frames
        )
        return (
            self.ended and self.garbled is None and (torn_down or self.first("raised") is not None)
        )

    def first(self, kind: str) -> Frame | None:
        """Find the first frame of a kind."""
        return next((frame for frame in self.frames if frame["kind"] == kind), None)

    def last(self, kind: str) -> Frame | None:
        """Find the last frame of a kind."""
        return next((frame for frame in reversed(self.frames) if frame["kind"] == kind), None)
