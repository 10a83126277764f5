"""pytest's side of one nursery process: what it asks for, and the children that it has.

pytest waits for no word of it for longer than ``_ANSWER_LONGEST``, and does without it then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable

from pytest_isolate._child import preparation
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._plan.planning import Plan
from pytest_isolate._sandbox import ending, wire
from pytest_isolate._sandbox.child import Child
from pytest_isolate._sandbox.ending import is_ready
from pytest_isolate._sandbox.sandbox import Sandbox

_ANSWER_LONGEST = 10.0  # seconds
_LEAVING_LONGEST = 5.0  # seconds, for children that were killed or are on their way out


class Ward(Child):
    """A child of the nursery, which reaps it and tells how it ended."""

    def __init__(self, pid: int, pidfd: int, nurse: Nurse) -> None:
        self.pid = self.forked = pid
        self.pidfd, self._nurse = pidfd, nurse

    def reap(self) -> int | None:
        """Wait until it is reaped. Its status as of wait(2), or None."""
        return self._nurse.status(self.pid)

    def reap_later(self, later: Callable[[int], None]) -> None:
        """Have it reaped without telling."""
        del later
        self._nurse.ignore(self.pid)

    def drop(self) -> None:
        """Nobody wants it any more."""
        os.close(self.pidfd)
        self._nurse.ignore(self.pid)


class Place:
    """What pytest has of a child that was asked for: ready when the nursery has said who it is."""

    def __init__(
        self, spec: Spec, plan: Plan, sandbox: Sandbox, prepared: preparation.Prepared
    ) -> None:
        self.spec, self.plan, self.sandbox, self.prepared = spec, plan, sandbox, prepared
        self.child: Ward | None = None
        self.failed: StepFailedError | None = None
        self.dropped = False
        sandbox.beside.append(lambda: prepared.ours)

    @property
    def is_awaited(self) -> bool:
        """Whether the nursery has not answered."""
        return self.child is None and self.failed is None

    def drop(self) -> None:
        """Nobody wants it any more. It has done nothing of any test."""
        if self.dropped:  # a Ctrl-C came meanwhile
            return
        self.dropped = True
        self.sandbox.kill()
        self.prepared.close()
        self.sandbox.beside.clear()
        if self.child is not None:
            self.child.drop()
        self.sandbox.close()


class Nurse:
    """pytest's side of one nursery process."""

    def __init__(self, pid: int, channel: wire.Channel, threads: tuple[str, ...]) -> None:
        self.pid, self.channel, self.threads = pid, channel, threads
        self.is_alive = True
        self.died = ""  # what it said of its own failure
        self._number = 0
        # Asked for, and not handed over, by number: a Ctrl-C may come between any two lines
        self._places: dict[int, Place] = {}
        self._kinds: list[Spec] = []
        self._statuses: dict[int, int] = {}
        self._unasked: set[int] = set()  # whose status is not kept
        self._running: set[int] = set()  # children of whose end it has not told
        channel.settimeout(_ANSWER_LONGEST)

    def ask(self, place: Place, test: int) -> None:
        """Have a child forked for a test, or for any other with the same keywords.

        Raises ``StepFailedError``.
        """
        if place.spec not in self._kinds:
            self._kinds.append(place.spec)
        fields, descriptors = place.prepared.given.packed()
        self._number += 1
        self._places[self._number] = place
        with Step("ask", "the nursery, a helper process of pytest-isolate, for a fork"):
            wire.send(
                self.channel,
                "fork",
                self._number,
                self._kinds.index(place.spec),
                test,
                *fields,
                descriptors=descriptors,
            )
        sys.audit("pytest_isolate.ahead", self._number)

    def wait(self, place: Place) -> Ward:
        """Wait for the child, which is the caller's then. Raises ``StepFailedError``."""
        while place.is_awaited and self.is_alive:
            self._hear()
        if place.child is None:
            raise place.failed or StepFailedError(
                "fork", "from the nursery, a helper process of pytest-isolate, which is gone", 32
            )
        self._places = {number: each for number, each in self._places.items() if each is not place}
        return place.child

    def status(self, pid: int) -> int | None:
        """Wait until a child is reaped. Its status as of wait(2), or None."""
        while pid not in self._statuses and self.is_alive:
            self._hear()
        return self._statuses.pop(pid, None)

    def hear(self) -> None:
        """Take in what it has said."""
        while self.is_alive and is_ready(self.channel.fileno(), 0):
            self._hear()

    def _hear(self) -> None:
        try:
            received = wire.receive(self.channel)
        except (TimeoutError, ConnectionError):
            received = None
        if received is None:
            self.end()
            return
        (kind, *fields), descriptors = received
        if kind == "died":
            self.died = fields[0]
        elif kind == "ended":
            pid, status = map(int, fields)
            self._running.discard(pid)
            if pid in self._unasked:
                self._unasked.discard(pid)
            else:
                self._statuses[pid] = status
        elif kind == "failed":
            number, step, path, errno = fields
            self._places[int(number)].failed = StepFailedError(step, path, int(errno))
            self._forget_dropped()
        else:
            at, pid = map(int, fields)
            self._running.add(pid)
            place = self._places[at]
            place.child = Ward(pid, descriptors[0], self)
            if place.dropped:
                place.child.drop()
                self._forget_dropped()

    def ignore(self, pid: int) -> None:
        """Nobody will ask how a child ended."""
        if self._statuses.pop(pid, None) is None:
            self._unasked.add(pid)

    def forget(self) -> None:
        """Nobody wants those any more that wait for their turn."""
        for place in self._places.values():
            place.drop()
        self._forget_dropped()

    def _forget_dropped(self) -> None:
        self._places = {
            number: place
            for number, place in self._places.items()
            if place.is_awaited or not place.dropped
        }

    @property
    def is_needed(self) -> bool:
        """Whether somebody may ask how a child of it ended."""
        self.hear()
        return self.is_alive and (
            bool(self._running) or any(place.is_awaited for place in self._places.values())
        )

    def leave(self) -> None:
        """End it when it has reaped its children, which are on their way out: nobody else is sure
        to, and before that no sandbox ends.
        """
        until = time.monotonic() + _LEAVING_LONGEST
        while self.is_needed and (left := until - time.monotonic()) > 0:
            is_ready(self.channel.fileno(), left)
        self.end()

    def end(self) -> None:
        """End it. A child that runs is not its to end."""
        if self.is_alive:
            self.is_alive = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            ending.reap(self.pid, "the nursery, a helper process of pytest-isolate,")
            self.channel.close()
