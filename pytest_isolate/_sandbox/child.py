"""The process of a test as pytest knows it: a child of pytest's own, or of its nursery."""

from __future__ import annotations

import os
from collections.abc import Callable

from pytest_isolate._errors import Step
from pytest_isolate._sandbox import ending, forks


class Child:
    """One that pytest forked itself.

    Owns the pidfd. Raises ``StepFailedError`` when it cannot be had.
    """

    def __init__(self, pid: int) -> None:
        # ``forked``: the process below pytest that is, or has forked, the test
        self.pid = self.forked = pid
        with Step("pidfd_open of", "the test's process"):
            self.pidfd = os.pidfd_open(pid)

    def reap(self) -> int | None:
        """Wait for its end. Its status, as of wait(2); None when nobody can say it."""
        return ending.reap(self.pid, ending.TEST)

    def reap_later(self, later: Callable[[int], None]) -> None:
        """Have it reaped by whoever does that later: it is on its way out, and nobody will ask for
        its status.
        """
        later(self.pid)

    def end(self) -> None:
        """Kill and reap it: nobody will watch it."""
        forks.end(self.pid)
        os.close(self.pidfd)
