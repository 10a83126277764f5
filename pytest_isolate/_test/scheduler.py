"""Several isolated tests in flight at once (``--isolate-jobs``).

pytest's own loop stays as it is: it takes up one test after the other. A test that may fly leaves the loop at its fork, and the loop
goes on. Its start and its reports come in the order of the tests, when everything before them has come. So at most one test waits to begin
again, for a delay of pytest-rerunfailures: the loop goes on meanwhile, those behind it wait with their reports.

Nobody may be in flight while shared fixtures change: before one is set up or torn down everybody is waited for (``settle``), so that a
test never sees less, or more, than in a run without jobs. Tests that are not isolated, that are ``serial`` or share a sandbox run alone;
one about which hooks may decide by the tests before it begins when those have been reported.
"""

from __future__ import annotations

import os
import re
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import pytest

from pytest_isolate._config import settings
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import StepFailedError
from pytest_isolate._forking.timers import standing_still
from pytest_isolate._plan.remedies import explain
from pytest_isolate._pytest import capture, fixtures, setup_state
from pytest_isolate._sandbox.salvage import Reader
from pytest_isolate._sandbox.watch import Watch, wait_for_one
from pytest_isolate._session.run import Run
from pytest_isolate._test import flights, protocol
from pytest_isolate._test.flights import Flight
from pytest_isolate._test.interrupted import is_between, raise_where

_MOST_WAITING = 8  # tests per job that are over and wait for one before them; each holds its sandbox's files
_MEMORY_AVAILABLE = re.compile(r"^MemAvailable: +(\d+) kB", re.MULTILINE)


def jobs_of(config: pytest.Config) -> int:
    """How many may fly. Raises ``pytest.UsageError`` for a value that is no number."""
    value = str(config.getoption("isolate_jobs"))
    if value != "auto" and not (value.isascii() and value.isdecimal() and int(value)):
        raise pytest.UsageError(f"--isolate-jobs={value}: it must be a whole number, at least 1, or auto: one for each processor")
    return (
        1 if hasattr(config, "workerinput") or settings.why_one(config) else len(os.sched_getaffinity(0)) if value == "auto" else int(value)
    )


class Fleet:
    """The tests of one run that are in flight or wait for their turn to be reported, in their order."""

    def __init__(self, jobs: int, land: Callable[[Flight, BaseException | None], None], begin_again: Callable[[Flight], None]) -> None:
        self._jobs = jobs
        self._land = land
        self._begin_again = begin_again
        self._turns: deque[Flight] = deque()
        self._later: tuple[Flight, float] | None = None  # who begins again, before all of those, and not before when
        self._stands_on: object = None
        self._available = 0  # bytes, when nobody was in flight

    def prepare(self, flight: Flight) -> bool:
        """Whether this test may fly; if not, everybody else has landed."""
        spec, item = flight.spec, flight.item
        if spec is None or spec.serial or flight.key is not None or flight.rehearses or flight.is_skipped:
            self.land_all()
            return False
        stands_on = (fixtures.wide_parameters(item), item.getparent(pytest.Package))
        if stands_on != self._stands_on:  # pytest tears down what another parameter had set up without telling anybody
            self.land_all()
            self._stands_on = stands_on
        if flight.run.played.deciders(item):  # they are in the fork, and have to have heard of all before it
            self.land_all()
        if self._later is not None and len(self._turns) > _MOST_WAITING * self._jobs:
            self.land_all()
        while len(self._turns) > _MOST_WAITING * self._jobs and self._turns[0].in_the_air:
            self._wait()
        self.land_ready(item.session)
        return True

    def make_room(self, spec: Spec) -> None:
        """Wait until one more may fly: by number, and by the memory that those with a limit may use."""
        while (flying := self._flying()) and not (len(flying) < self._jobs and self._fits(flying, spec)):
            self._wait()
        if not flying and spec.memory is not None:
            self._available = _available_memory()

    def take_in(self, flight: Flight, raised: BaseException | None) -> None:
        """A test has left pytest's protocol: by its fork, or by what its shared fixtures raised."""
        if isinstance(raised, KeyboardInterrupt):
            self._interrupted(flight, raised)
        if raised is not None:
            self.land_all()
            self._land(flight, raised)
        self._turns.append(flight)  # before all that a Ctrl-C may interrupt: who is in here does not stay
        flight.parted = setup_state.leaves_nothing(flight.item, flight.nextitem)
        if flight.parted:
            self.land_ready(flight.item.session)
        else:
            self.land_all()

    def begin_again_later(self, flight: Flight, delay: float) -> None:
        """Have a test that was just reported begin again, at the earliest after so many seconds; the loop goes on if it has left it."""
        self._later = (flight, time.monotonic() + delay)
        if not flight.parted:
            self.land_all()

    def _interrupted(self, flight: Flight, error: KeyboardInterrupt) -> NoReturn:
        """A person's Ctrl-C came between two waits: nobody is waited for, this test neither, if it was just forked."""
        if flight.group is None:  # it came before that; if nobody has said where the others stand, the end of the run does
            flight.abandon()
            raise error
        try:
            raise_where(_running([*self._flying(), flight]), error)
        finally:
            self.abandon()
            flight.abandon()

    def place(self, interrupted: pytest.ExceptionInfo[BaseException], latest: Flight | None) -> None:
        """Have a Ctrl-C that met pytest's code or ours name the tests that run meanwhile. ``latest`` may have been forked just now."""
        error = interrupted.value
        flying = self._flying()
        if latest is not None and all(flight is not latest for flight in flying):
            flying.append(latest)
        if isinstance(error, KeyboardInterrupt) and is_between(error):
            try:
                raise_where(_running(flying), error)
            except KeyboardInterrupt as placed:
                if placed is not error and placed.__traceback__ is not None:
                    error.args = placed.args
                    interrupted.traceback = type(interrupted.traceback)(placed.__traceback__)

    def settle_before_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """The same, if that teardown is of shared fixtures too; a run that stops waits for nobody."""
        if Run.stops(item.session):
            self.abandon()
        elif self._flying() and setup_state.leaves_shared_fixtures(item, nextitem):
            self.settle()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is before the next test."""
        return not self._turns and self._later is None

    def settle(self) -> None:
        """Wait until nobody is in flight."""
        while self._flying():
            self._wait()

    def land_all(self) -> None:
        """Wait until everybody has been reported."""
        self.settle()
        while self._later is not None or self._turns:
            session = (self._turns[0] if self._later is None else self._later[0]).item.session
            if Run.stops(session):
                return
            if self._later is not None:
                self._go_again(*self._later)
            self.land_ready(session)

    def land_ready(self, session: pytest.Session) -> None:
        """Report those whose turn it is, unless one of them ended the run."""
        while not Run.stops(session):
            if self._later is not None:
                if time.monotonic() < self._later[1]:
                    return
                self._go_again(*self._later)
            elif self._turns and not self._turns[0].in_the_air:
                self._land(self._turns.popleft(), None)
            else:
                break
        if self._turns and self._turns[0].in_the_air:  # -v shows whom one waits for
            protocol.say_start(self._turns[0])

    def _go_again(self, flight: Flight, at: float) -> None:
        """Make another attempt of a test, when it is time and nobody is in flight, who would be looked after by nobody."""
        self._later = None
        self.settle()
        time.sleep(max(0.0, at - time.monotonic()))
        self._begin_again(flight)

    def abandon(self) -> None:
        """The run is over: end those who are still in flight, and forget what was not reported."""
        for flight in self._turns:
            if flight.in_the_air:
                _finish(flight)
            flight.close()
        self._turns.clear()
        self._later = None

    def _flying(self) -> list[Flight]:
        return [flight for flight in self._turns if flight.in_the_air]

    def _wait(self) -> None:
        flying = self._flying()
        running = _running(flying)
        try:
            with standing_still(), capture.overhearing(flying[0].item.config):
                wait_for_one([watch for _, watch, _ in running])
        except KeyboardInterrupt as error:
            raise_where(running, error)
        for flight in flying:
            if flight.group is not None and flight.group.watch.over:
                _finish(flight)

    def _fits(self, flying: list[Flight], spec: Spec) -> bool:
        if spec.memory is None:
            return True
        promised = sum(flight.spec.memory or 0 for flight in flying if flight.spec is not None)
        return promised + spec.memory <= self._available or not promised


def _running(flights: list[Flight]) -> list[tuple[str, Watch, Reader | None]]:
    return [(str(flight.item.nodeid), flight.group.watch, flight.reader) for flight in flights if flight.group is not None]


def _finish(flight: Flight) -> None:
    try:
        flights.finish(flight)
    except StepFailedError as error:
        flight.broken = explain(error, flight.run.here)
    except Exception:  # noqa: BLE001 - ours, not the test's: it must not look like the test's failure
        flight.broken = f"pytest-isolate itself failed:\n{traceback.format_exc()}"
    flight.in_the_air = False


def _available_memory() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        found = _MEMORY_AVAILABLE.search(file.read())
    return int(found[1]) << 10 if found else 0
