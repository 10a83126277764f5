"""People in the sandbox of a test: a shell where it failed, and a name for whoever looks for it.

While a person is in there, or waits for the terminal, nothing of the test counts: its process is
stopped, its clock stands, no limit is looked at. What a shell uses is in no control group of the
test's.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Container
from typing import Protocol

from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._sandbox.sandbox import Sandbox

_MOST = 50  # of one test, which is not believed that it fails for ever


class Shell(Protocol):
    """A shell that a person has."""

    @property
    def fd(self) -> int:
        """Readable at its end."""

    def close(self) -> None:
        """End it, if it has not ended."""


class Doorkeeper(Protocol):
    """Who knows of one test what it takes to enter its sandbox."""

    @property
    def offers(self) -> bool:
        """Whether a person is to have a shell where the test fails."""

    @property
    def is_taken(self) -> bool:
        """Whether the one terminal has another shell."""

    def open(self, said: Frame | None, result: ProcessResult) -> Shell | None:
        """Open one, for what the test said or how it ended. None where there cannot be one."""

    def go_on(self) -> None:
        """Tell a test that waits for the end of a shell."""

    def announce(self) -> None:
        """Let people know of a test that runs for long."""

    def withdraw(self) -> None:
        """Let nobody know of it any more."""


class Visits:
    """The visits to one test."""

    def __init__(self, sandbox: Sandbox, doorkeeper: Doorkeeper | None) -> None:
        self._sandbox, self._doorkeeper = sandbox, doorkeeper
        self._shell: Shell | None = None
        self._since: float | None = None  # when somebody wanted to come in, until they have left
        self._said: Frame | None = None  # why
        self._heard = 0  # frames that asked for one
        self._count = 0
        self.seconds = 0.0  # that all of them took

    @property
    def are_on(self) -> bool:
        """Whether somebody is in there, or waits to be."""
        return self._since is not None

    @property
    def were_any(self) -> bool:
        """Whether somebody was in there."""
        return self._count > 0

    @property
    def descriptors(self) -> list[int]:
        """List what wakes whoever waits for their end."""
        return [] if self._shell is None else [self._shell.fd]

    def look(self, ready: Container[int], result: ProcessResult) -> bool:
        """See who comes and goes. Whether somebody is in there, or waits to be."""
        doorkeeper = self._doorkeeper
        if doorkeeper is None or not doorkeeper.offers:
            return False
        if self._since is None:
            said = [frame for frame in result.frames if frame["kind"] == "shell"]
            if len(said) <= self._heard or self._count >= _MOST:
                return False
            self._heard = len(said)
            self._begin(said[-1], result)
        if self._shell is not None and self._shell.fd in ready:
            self.end(result)
        elif self._shell is None and not doorkeeper.is_taken:
            self._shell = doorkeeper.open(self._said, result)
            if self._shell is None:
                self.end(result)
        return self.are_on

    def look_behind(self, result: ProcessResult) -> None:
        """Have somebody look at a test that is over and did not come to its end by itself."""
        if self._doorkeeper is None or not self._doorkeeper.offers:
            return
        if not result.came_to_its_end and result.first("entered") is not None:
            self._begin(None, result)

    def _begin(self, said: Frame | None, result: ProcessResult) -> None:
        self._count += 1
        self._since, self._said = time.monotonic(), said
        self._signal(result, signal.SIGSTOP)

    def end(self, result: ProcessResult) -> None:
        """End a visit, if there is one, and have the test go on unless it is over."""
        if self._since is None or self._doorkeeper is None:
            return
        if self._shell is not None:
            self._shell.close()
        if self._said is not None:
            self._signal(result, signal.SIGCONT)
            self._doorkeeper.go_on()
        self.seconds += time.monotonic() - self._since
        self._shell = self._since = None

    def _signal(self, result: ProcessResult, number: int) -> None:
        """Send the test's own process a signal, if it is inside and not over."""
        pid = (result.first("entered") or {}).get("pid")
        if isinstance(pid, int):
            self._sandbox.signal(pid, number)

    def announce(self) -> None:
        """Let people know of the test, for it has run for long."""
        if self._doorkeeper is not None:
            self._doorkeeper.announce()

    def close(self, result: ProcessResult) -> None:
        """Have nobody in there any more."""
        self.end(result)
        if self._doorkeeper is not None:
            self._doorkeeper.withdraw()
