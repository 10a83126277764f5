"""Several isolated tests that run at once (``--isolate-jobs``).

pytest's own loop stays as it is: it takes up one test after the other. A test that may run beside
others leaves the loop at its fork, and the loop goes on. Its start and its reports come in the
order of the tests, when everything before them has come. So at most one test waits to begin again,
for a delay of pytest-rerunfailures: the loop goes on meanwhile, those behind it wait with their
reports.

Nobody may run while shared fixtures change: before one is set up or torn down everybody is waited
for (``drain``), so that a test never sees less, or more, than in a run without jobs. Tests that are
not isolated, that are ``serial`` or share a sandbox run alone; one about which hooks may decide by
the tests before it begins when those have been reported.
"""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import pytest

from pytest_isolate._config import settings
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import StepFailedError
from pytest_isolate._forking.timers import standing_still
from pytest_isolate._plan.remedies import explain
from pytest_isolate._pytest import capture, fixtures, setup_state
from pytest_isolate._sandbox.salvage import Reader
from pytest_isolate._sandbox.supervisor import Supervisor
from pytest_isolate._sandbox.waiting import wait_for_one
from pytest_isolate._session.run import Run
from pytest_isolate._test import report, supervise
from pytest_isolate._test.interrupted import is_between, raise_where
from pytest_isolate._test.states import (
    Finished,
    IsolatedTest,
    Refused,
    Requested,
    Running,
    Skipped,
    reader_of,
)
from pytest_isolate._test.status import Status

# Tests per job that are over and wait for one before them; each holds its sandbox's files
_MOST_WAITING = 8
_MEMORY_AVAILABLE = re.compile(r"^MemAvailable: +(\d+) kB", re.MULTILINE)


def jobs_of(config: pytest.Config) -> int:
    """How many may run at once. Raises ``pytest.UsageError`` for a value that is no number."""
    value = str(config.getoption("isolate_jobs"))
    if value != "auto" and not (value.isascii() and value.isdecimal() and int(value)):
        raise pytest.UsageError(
            f"{settings.written(config, 'isolate_jobs')}={value}: it must be a whole number, at"
            " least 1, or auto: one for each processor"
        )
    return (
        1
        if hasattr(config, "workerinput") or settings.why_one(config)
        else len(os.sched_getaffinity(0))
        if value == "auto"
        else int(value)
    )


@dataclass
class _Turn:
    """The place of a test among those that have left the loop."""

    state: Running | Finished | Refused

    @property
    def is_running(self) -> bool:
        """Whether its process is to be waited for."""
        return isinstance(self.state, Running)

    def finish(self) -> None:
        """End the process of a test that is over, and read what is known of it."""
        running = self.state
        assert isinstance(running, Running)
        test = running.test
        try:
            self.state = supervise.finish(running)
        except StepFailedError as error:
            why = explain(error, test.run.here)
        except Exception:  # noqa: BLE001 - ours, not the test's: it must not look like the test's failure
            why = f"pytest-isolate itself failed:\n{traceback.format_exc()}"
        else:
            return
        running.requested.close()
        self.state = Refused(test, why, "sandbox", running.spec, running.group.plan)


class Scheduler:
    """The tests of one run that run beside others or wait for their turn to be reported, in their
    order.
    """

    def __init__(
        self,
        jobs: int,
        report: Callable[[Finished | Refused], None],
        begin_again: Callable[[IsolatedTest], None],
    ) -> None:
        self._jobs = jobs
        self._report = report
        self._begin_again = begin_again
        self._turns: deque[_Turn] = deque()
        # Who begins again, before all of those, and not before when
        self._later: tuple[IsolatedTest, float] | None = None
        self._stands_on: object = None
        self._available = 0  # bytes, when nobody ran
        self._status: Status | None = None

    def prepare(self, state: Requested | Refused | Skipped) -> bool:
        """Whether this test may run beside others; if not, all before it have been reported."""
        item = state.test.item
        if (
            not isinstance(state, Requested)
            or state.asked.serial
            or state.key is not None
            or state.rehearses
        ):
            self.report_all()
            return False
        stands_on = (fixtures.wide_parameters(item), item.getparent(pytest.Package))
        # pytest tears down what another parameter had set up without telling anybody
        if stands_on != self._stands_on:
            self.report_all()
            self._stands_on = stands_on
        # They are in the fork, and have to have heard of all before it
        if state.test.run.played.deciders(item):
            self.report_all()
        if self._later is not None and len(self._turns) > _MOST_WAITING * self._jobs:
            self.report_all()
        while len(self._turns) > _MOST_WAITING * self._jobs and self._turns[0].is_running:
            self._wait()
        self.report_ready(item.session)
        return True

    def admit(self, test: IsolatedTest, spec: Spec) -> None:
        """Wait until one more may run: by number, and by the memory that those with a limit may
        use. Then it takes the first place that is free.
        """
        while (running := self._running()) and not (
            len(running) < self._jobs and self._fits(running, spec)
        ):
            self._wait()
        if not running and spec.memory is not None:
            self._available = _available_memory()
        taken = {each.test.job for each in running}
        test.job = next(job for job in range(self._jobs) if job not in taken)

    def take_in(self, test: IsolatedTest, state: Running | Finished | Refused) -> None:
        """Keep a test that has left pytest's protocol at its fork, or because it was refused."""
        # Before all that a Ctrl-C may interrupt: who is in here does not stay
        self._turns.append(_Turn(state))
        sys.audit("pytest_isolate.leave", test.name)
        test.is_left = setup_state.leaves_nothing(test.item, test.nextitem)
        if test.is_left:
            self.report_ready(test.item.session)
        else:
            self.report_all()

    def begin_again_later(self, test: IsolatedTest, delay: float) -> None:
        """Have a test that was just reported begin again, at the earliest after so many seconds;
        the loop goes on if it has left it.
        """
        self._later = (test, time.monotonic() + delay)
        if not test.is_left:
            self.report_all()

    def raise_interrupted(self, test: IsolatedTest, error: KeyboardInterrupt) -> NoReturn:
        """Raise a person's Ctrl-C that came between two waits: nobody is waited for, this test
        neither, if it was just forked.
        """
        # It came before that; if nobody has said where the others stand, the end of the run does
        if test.running is None:
            raise error
        try:
            raise_where(_places([*self._running(), test.running]), error)
        finally:
            self.abandon()
            test.running.abandon()

    def place(
        self, interrupted: pytest.ExceptionInfo[BaseException], latest: IsolatedTest | None
    ) -> None:
        """Have a Ctrl-C that met pytest's code or ours name the tests that run meanwhile.

        ``latest`` may have been forked just now.
        """
        error = interrupted.value
        running = self._running()
        if (
            latest is not None
            and latest.running is not None
            and all(each is not latest.running for each in running)
        ):
            running.append(latest.running)
        if isinstance(error, KeyboardInterrupt) and is_between(error):
            try:
                raise_where(_places(running), error)
            except KeyboardInterrupt as placed:
                if placed is not error and placed.__traceback__ is not None:
                    error.args = placed.args
                    interrupted.traceback = type(interrupted.traceback)(placed.__traceback__)

    def drain_before_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Wait until nobody runs if that teardown is of shared fixtures too; a run that stops waits
        for nobody.
        """
        if Run.stops(item.session):
            self.abandon()
        elif self._running() and setup_state.leaves_shared_fixtures(item, nextitem):
            self.drain()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is before the next test."""
        return not self._turns and self._later is None

    def drain(self) -> None:
        """Wait until nobody runs."""
        while self._running():
            self._wait()

    def report_all(self) -> None:
        """Wait until everybody has been reported."""
        self.drain()
        while self._later is not None or self._turns:
            session = (
                self._turns[0].state.test if self._later is None else self._later[0]
            ).item.session
            if Run.stops(session):
                return
            if self._later is not None:
                self._go_again(*self._later)
            self.report_ready(session)

    def report_ready(self, session: pytest.Session) -> None:
        """Report those whose turn it is, unless one of them ended the run."""
        while not Run.stops(session):
            if self._later is not None:
                if time.monotonic() < self._later[1]:
                    return
                self._go_again(*self._later)
            elif self._turns and not isinstance(state := self._turns[0].state, Running):
                self._turns.popleft()
                self._report(state)
            else:
                break
        if self._turns and self._turns[0].is_running:  # -v shows whom one waits for
            report.say_start(self._turns[0].state.test)

    def _go_again(self, test: IsolatedTest, at: float) -> None:
        """Make another attempt of a test, when it is time and nobody runs, who would be looked
        after by nobody.
        """
        self._later = None
        self.drain()
        time.sleep(max(0.0, at - time.monotonic()))
        self._begin_again(test)

    def abandon(self) -> None:
        """End those who still run when the run is over, and forget what was not reported."""
        for turn in self._turns:
            if turn.is_running:
                turn.finish()
            assert not isinstance(turn.state, Running)
            turn.state.close()
        self._turns.clear()
        self._later = None

    def _running(self) -> list[Running]:
        return [turn.state for turn in self._turns if isinstance(turn.state, Running)]

    def _wait(self) -> None:
        running = self._running()
        places = _places(running)
        try:
            config = running[0].test.item.config
            if self._status is None:
                self._status = Status(config)
            shown = [(each.test.name, each.test.begun) for each in running]
            with (
                standing_still(),
                capture.overhearing(config),
                self._status.of(shown) as beat,
            ):
                wait_for_one([supervisor for _, supervisor, _ in places], beat)
        except KeyboardInterrupt as error:
            raise_where(places, error)
        for turn in self._turns:
            if isinstance(turn.state, Running) and turn.state.group.supervisor.over:
                turn.finish()

    def _fits(self, running: list[Running], spec: Spec) -> bool:
        if spec.memory is None:
            return True
        promised = sum(each.spec.memory or 0 for each in running)
        return promised + spec.memory <= self._available or not promised


def _places(running: list[Running]) -> list[tuple[str, Supervisor, Reader | None]]:
    return [
        (each.test.name, each.group.supervisor, reader_of(each.test.run, each.spec))
        for each in running
    ]


def _available_memory() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        found = _MEMORY_AVAILABLE.search(file.read())
    return int(found[1]) << 10 if found else 0
