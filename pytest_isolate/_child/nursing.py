"""The nursery's own process: it forks, reaps, and tells pytest of both.

No test's code runs in it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import traceback
from collections.abc import Callable
from typing import NoReturn

import pytest

from pytest_isolate._child import preparation
from pytest_isolate._child.departure import Arrival, Departing, Mask, Warm, arriving
from pytest_isolate._child.given import Given
from pytest_isolate._child.group import next_command
from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux import privileges
from pytest_isolate._sandbox import forks, wire
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._session.run import Run

#: What a child does when its turn comes. What that gives it calls then, and never comes back from
#: there.
Arrive = Callable[[Arrival], Callable[[], NoReturn]]


class Nursing:
    """The process, from its fork to its end."""

    def __init__(self, run: Run, items: list[pytest.Item], warm: Warm, arrive: Arrive) -> None:
        self._run, self._items, self._warm, self._arrive = run, items, warm, arrive
        self._on_child = signal.getsignal(signal.SIGCHLD)
        self._children: set[int] = set()
        self._known: dict[str, tuple[Entry, Given]] = {}  # by kind of test

    def nurse(self, parent: int, channel: wire.Channel, mask: Mask) -> NoReturn:
        """Do what ``parent`` asks for until it is gone, or wants no more.

        ``mask``: the signals that it had blocked before.
        """
        self._channel, self._mask = channel, mask
        try:
            privileges.die_with_parent_thread(signal.SIGKILL)
            self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            if os.getppid() == parent:
                signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
                signal.signal(signal.SIGCHLD, lambda *_: None)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
                preparation.close(*(fd for fd in self._run.descriptors_of_ours() if fd >= 0))
                while self._look():
                    pass
        except Exception as error:  # noqa: BLE001 - ours: pytest warns of it, and forks by itself
            self._send("died", "".join(traceback.format_exception(error)))
        finally:
            os._exit(0)

    def _send(self, kind: str, *fields: str | int, descriptors: tuple[int, ...] = ()) -> None:
        # pytest is gone, or wants no more of it: the next look sees that
        with contextlib.suppress(OSError):
            wire.send(self._channel, kind, *fields, descriptors=descriptors)

    def _look(self) -> bool:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        if self._wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
            self._reap()
        if self._channel.fileno() in ready:
            received = wire.receive(self._channel)
            if received is None:
                return False
            (_, number, kind, item, *fields), descriptors = received
            self._fork(number, kind, int(item), Given.unpacked(fields, descriptors), descriptors)
        return True

    def _reap(self) -> None:
        """Also what a test made its sibling by CLONE_PARENT, of which nobody is told: before that
        its sandbox's PID 1 does not end.
        """
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] in self._children:
                    self._children.discard(ended[0])
                    self._send("ended", *ended)

    def _fork(
        self, number: str, kind: str, item: int, given: Given, descriptors: list[int]
    ) -> None:
        pidfd = -1
        try:
            pid = self._child(kind, item, given)
            self._children.add(pid)
            pidfd = os.pidfd_open(pid)
        except StepFailedError as error:
            self._send("failed", number, error.step, error.path, error.errno)
        except OSError as error:
            self._send("failed", number, "fork", "in the nursery", error.errno or 0)
        else:
            self._send("forked", number, pid, descriptors=(pidfd,))
        finally:
            preparation.close(*descriptors, *([pidfd] if pidfd >= 0 else []))

    def _entry(self, kind: str, item: int, given: Given) -> Entry:
        """Made once for each kind of test: whatever runs here is written to, and copied at the next
        fork.
        """
        if (known := self._known.get(kind)) is not None:
            return preparation.entry_like(*known, given)
        test, own = self._items[item], {self._channel.fileno(), self._wake, self._woken}
        spec, warm = self._run.defaults.spec_of(test), self._warm
        entry = preparation.entry(
            self._run,
            test,
            spec,
            given,
            timers=warm.timers,
            repairing=warm.repairing,
            ours=own,
            goes_on=True,
        )
        self._known[kind] = entry, given
        return entry

    def _child(self, kind: str, item: int, given: Given) -> int:
        entry = self._entry(kind, item, given)
        departing = Departing(given.stacks)
        with departing.fork():
            pid = forks.fork(entry)
            if pid == 0:
                departing.is_inside = True
                self._wait_for_turn(given, entry)
        return pid

    def _wait_for_turn(self, given: Given, entry: Entry) -> NoReturn:
        """In the child."""
        with arriving(given.frames):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, self._on_child)
            # what pytest has open is opened anew when the turn has come: until then another test or
            # pytest may write there
            later = bool(entry.inheritance.files or entry.inheritance.mappings)
            before = None if later else self._warm.become(entry)
            command = next_command(given.commands)
            if command is None:
                os._exit(0)
            preparation.close(given.commands)
            go = self._arrive(
                Arrival(given, entry, self._warm, before or self._warm.become(entry), command)
            )
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        go()
