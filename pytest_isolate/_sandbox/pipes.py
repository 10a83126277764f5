"""The pipes by which a test's process speaks to pytest.

Owned by pytest alone: close-on-exec, and never among what a test inherits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from pytest_isolate._errors import Step, StepFailedError


def open_pipes(count: int) -> list[tuple[int, int]]:
    """Open reading and writing ends, close-on-exec.

    Raises ``StepFailedError``, with none left open.
    """
    pipes: list[tuple[int, int]] = []
    try:
        with Step("open", "the pipes of the test's process"):
            pipes.extend(os.pipe() for _ in range(count))
    except StepFailedError:
        for end in (end for pipe in pipes for end in pipe):
            os.close(end)
        raise
    return pipes


@dataclass
class Ends:
    """One side's ends of the pipes by which a child speaks: pytest reads, the child writes. -1:
    that pipe there is not.
    """

    frames: int
    stacks: int
    ended: int = -1  # a byte: its end frame is there
    door: int = -1  # closed when it is inside

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that are open."""
        return tuple(fd for each in fields(self) if (fd := getattr(self, each.name)) >= 0)

    def close(self) -> None:
        """Close them all, once."""
        open_, self.frames, self.stacks, self.ended, self.door = self.descriptors, -1, -1, -1, -1
        for fd in open_:
            os.close(fd)
