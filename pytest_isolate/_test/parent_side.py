"""pytest's hooks in pytest itself: which tests run elsewhere, and what becomes of each hook there (``_child.child_side``: in a test).

Imports nothing that knows the kernel: what only isolated tests need is imported when the first of them comes.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from pytest_isolate._forking.dump_later import dump_later
from pytest_isolate._session.run import Run

if TYPE_CHECKING:
    from pytest_isolate._child.child_side import ChildSide
    from pytest_isolate._child.departure import Arrival
    from pytest_isolate._child.group import Group
    from pytest_isolate._test.flights import Flight
    from pytest_isolate._test.nursery import Nursery
    from pytest_isolate._test.scheduler import Fleet


class Hooks(Protocol):
    """The plugin, whose hooks speak for the side that this process is on."""

    side: ParentSide | ChildSide


class ParentSide:
    """The hooks of a run, and the isolated tests that it has in hand."""

    def __init__(self, run: Run, hooks: Hooks) -> None:
        self._run, self._hooks = run, hooks
        self._flight: Flight | None = None
        self._group: Group | None = None  # the sandbox of the test before, if it goes on with the next
        self._fleet: Fleet | None = None  # with --isolate-jobs
        self._nursery: Nursery | None = None  # from the first isolated test on
        self._jobs = 1
        self._plain_protocol: Callable[..., object]  # of pytest, with everybody's hooks
        if run.config.pluginmanager.is_blocked("reports"):
            from pytest_isolate._pytest import serialization  # noqa: PLC0415

            serialization.restore_serialization(run.config.pluginmanager)
        if run.config.getoption("isolate_jobs") != "1":
            from pytest_isolate._test import scheduler  # noqa: PLC0415

            if (jobs := scheduler.jobs_of(run.config)) > 1:
                self._fleet, self._jobs = scheduler.Fleet(jobs, self._land, self._begin_again), jobs

    @contextlib.contextmanager
    def running(self, session: pytest.Session) -> Iterator[None]:
        """Have every test's protocol begin here, or step aside when none is isolated: then they cost what they cost without the plugin."""
        if session.items and not self._run.any_isolated(session):  # xdist's controller has no items
            if not self._run.has_to_tell:
                session.config.pluginmanager.unregister(self._hooks)
                dump_later.uninstall()
            yield
            return
        from pytest_isolate._pytest import hook_calls  # noqa: PLC0415

        with hook_calls.protocol_by(session.config, self._begin_protocol) as self._plain_protocol:
            yield

    def _begin_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run the protocol of any test: pytest's own, or a child that runs it."""
        if self._flight is None and self._run.is_isolated(item):
            return self._isolated(item, nextitem)
        if self._fleet is not None and self._flight is None:
            self._fleet.land_all()
            if self._run.stops(item.session):
                return True  # a test before this one has just ended the run, which pytest looks for after it
        self._run.change()
        return self._plain_protocol(item=item, nextitem=nextitem)

    def run_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run an isolated test elsewhere for whoever has found a way around ``_begin_protocol``: pytest itself never runs one."""
        if self._flight is None and self._run.is_isolated(item):
            return self._isolated(item, nextitem)
        return None

    def _isolated(self, item: pytest.Item, nextitem: pytest.Item | None, after: Flight | None = None) -> object:
        """Run a test in a child; ``after`` an attempt that is to be followed by another."""
        from pytest_isolate._test import protocol  # noqa: PLC0415 - nothing of it is imported for unmarked tests

        fleet, flight = self._fleet, self._prepared(item, nextitem, after)
        if fleet is not None and self._run.stops(item.session):
            flight.close()
            return True
        self._flight = flight
        if flight.is_skipped:
            return self._plainly(flight)
        if fleet is None or fleet.is_empty or after is not None:
            protocol.say_start(flight)
        raised = self._run_elsewhere(flight)
        if fleet is not None and flight.may_fly:
            self._flight = None
            fleet.take_in(flight, raised)
        else:
            self._land(flight, raised)
        return True

    def _prepared(self, item: pytest.Item, nextitem: pytest.Item | None, after: Flight | None) -> Flight:
        from pytest_isolate._pytest import marks, setup_state  # noqa: PLC0415 - as above
        from pytest_isolate._test import flights, protocol  # noqa: PLC0415 - as above

        if marks.is_skipped(item):
            flight = flights.Flight.of(self._run, self._hooks, item, nextitem)
            flight.is_skipped = True
        else:
            protocol.warn_of_plugins(self._run, item)
            flight = flights.prepare(self._run, self._hooks, item, nextitem, self._group)
            flight.nursery = self._nursery_of(item.session)
            self._group = None
        if after is not None:
            flight.parted, flight.attempts = after.parted, after.attempts
        elif self._fleet is not None:
            flight.may_fly = self._fleet.prepare(flight)
            if flight.may_fly and flight.shares and not setup_state.has_shared(item, flight.fresh):
                self._fleet.land_all()  # before shared fixtures change everything before that is told
        return flight

    def _nursery_of(self, session: pytest.Session) -> Nursery:
        from pytest_isolate._test import flights, nursery  # noqa: PLC0415 - as above

        def arrive(arrival: Arrival) -> Callable[[], NoReturn]:
            """In a child that was forked ahead: be the test that it is told to be."""
            flight = flights.arrived(self._run, self._hooks, session, arrival, may_fly=self._fleet is not None)
            assert flight.inside is not None
            return partial(flight.inside.run, flight.nextitem)

        if self._nursery is None:
            self._nursery = nursery.Nursery(self._run, session, self._jobs, arrive)
        return self._nursery

    def _run_elsewhere(self, flight: Flight) -> BaseException | None:
        """What was raised in pytest meanwhile. The child never comes back from here."""
        from pytest_isolate._test import flights  # noqa: PLC0415 - as above

        raised: BaseException | None = None
        try:
            if self._fleet is not None and flight.may_fly and flight.spec is not None:
                self._fleet.make_room(flight.spec)
            flights.run(flight)
            if flight.inside is not None:
                flight.inside.run(flight.nextitem)
        except BaseException as error:  # noqa: BLE001 - raised again when the test's turn comes, or said by the child
            raised = error
        finally:
            if flight.inside is not None:
                flight.inside.finish(raised)
        return raised

    def _plainly(self, flight: Flight) -> object:
        """Have pytest itself run the protocol of a test that a mark skips."""
        from pytest_isolate._test import protocol  # noqa: PLC0415

        self._run.change()
        try:
            return self._plain_protocol(item=flight.item, nextitem=flight.nextitem)
        finally:
            self._flight = None
            if not flight.entry_travels:
                self._run.entries.append(protocol.entry(flight))

    def _land(self, flight: Flight, raised: BaseException | None = None) -> None:
        from pytest_isolate._test import protocol  # noqa: PLC0415

        self._flight, again = flight, False
        try:
            protocol.say_start(flight)
            if raised is not None:
                raise raised
            again = protocol.land(flight)
        finally:
            self._flight = None
            if not flight.entry_travels:
                self._run.entries.append(protocol.entry(flight))
            self._group = flight.close()
        if again:
            self._begin_again_later(flight)

    def _begin_again_later(self, flight: Flight) -> None:
        from pytest_isolate._messages import reruns  # noqa: PLC0415

        delay = reruns.delay_of(flight.item, flight.attempts)
        if self._fleet is not None:
            self._fleet.begin_again_later(flight, delay)
        else:
            time.sleep(delay)
            self._begin_again(flight)

    def _begin_again(self, flight: Flight) -> None:
        """Make another attempt of a test; the one before loses its entry, which is the last, for nobody was reported since."""
        if not flight.entry_travels:
            self._run.entries.pop()
        self._isolated(flight.item, flight.nextitem, after=flight)

    def set_up_fixture(self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> Generator[None, object, object]:
        """Set up a wider fixture, which is pytest's to see to."""
        __tracebackhide__ = True  # or an error that pytest itself raises in a fixture would seem to be ours
        if fixturedef.scope == "function":
            return (yield)
        self._run.wider.add(fixturedef)
        if self._fleet is not None:
            self._fleet.settle()  # nobody is in flight while shared fixtures change
        self._run.change()
        with self._run.noting(fixturedef, request.session):
            return (yield)

    def begin_call(self) -> None:
        """Refuse to run a test's body, whatever somebody did to a skip on its way."""
        if self._flight is not None and self._flight.is_skipped:
            pytest.fail(
                "isolate: a mark skips this test and a plugin wants to run it, in pytest itself: no isolated test runs there", pytrace=False
            )

    def make_report(self, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Leave the report of a test that runs here to pytest."""
        del call
        return (yield)

    def interact(self) -> Generator[None, object, object]:
        """Leave what was raised here to everybody."""
        return (yield)

    def enter_debugger(self) -> None:
        """Let a debugger begin in pytest."""

    def begin_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Have nobody in flight while shared fixtures are torn down."""
        if self._fleet is not None:
            self._fleet.settle_before_teardown(item, nextitem)

    def end_teardown(self) -> None:
        """Leave what pytest has set up to pytest."""

    def log_start(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell nobody else."""

    def log_finish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell nobody else."""

    def log_report(self, report: pytest.TestReport) -> None:
        """Remember what was reported, for the entry of the test."""
        if self._flight is None:
            self._run.take_in(report)
        else:
            self._flight.reports.append(report)

    def record_warning(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """Leave a warning to pytest."""

    def complete_serialized(self, config: pytest.Config, report: object, data: dict[str, Any]) -> None:
        """Under xdist, in a worker: have a test's entry travel with its last report, so that a worker's death costs no test before it."""
        if not hasattr(config, "workerinput"):
            return
        from pytest_isolate._report import travel  # noqa: PLC0415 - for workers only

        data.pop(travel.ATTRIBUTE, None)  # a child may have made one up
        if self._flight is not None and getattr(report, "when", None) == "teardown":
            from pytest_isolate._test import protocol  # noqa: PLC0415

            data[travel.ATTRIBUTE] = travel.pack(protocol.entry(self._flight))
            self._flight.entry_travels = True

    def refuse(self, session: pytest.Session) -> None:
        """Refuse what would do harm, and a debugger that nobody could talk to, before the first test. Raises ``pytest.UsageError``."""
        config = session.config
        if config.pluginmanager.hasplugin("syrupy"):
            from pytest_isolate._pytest import plugins  # noqa: PLC0415

            if (why := plugins.refusal([item for item in session.items if self._run.is_isolated(item)], config)) is not None:
                raise pytest.UsageError(f"isolate: {why}")
        if not (config.getoption("usepdb", False) or config.getoption("trace", False)):
            return
        from pytest_isolate._pytest import capture  # noqa: PLC0415

        if any(map(self._run.is_isolated, session.items)) and not capture.has_terminal(config):
            raise pytest.UsageError(
                "--pdb and --trace need a terminal for isolated tests, and the standard input of this pytest is none: "
                "run it in a terminal, or plain with --isolate-off"
            )

    def place_interruption(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Name the tests that run while pytest does anything else, as with jobs."""
        if self._fleet is not None:
            self._fleet.place(excinfo, self._flight)

    def end_tests(self) -> None:
        """End the tests that are in flight, before pytest tears down what a run that stopped had left, and before anybody's own end."""
        if self._fleet is not None:
            self._fleet.abandon()
        if self._flight is not None:  # a Ctrl-C came between its fork and whoever was to look after it
            self._flight.abandon()
            self._flight = None
        if self._group is not None:
            self._group.close()
            self._group = None
        if self._nursery is not None:
            self._nursery.leave()

    def end_run(self, session: pytest.Session, capabilities: Callable[[pytest.Config], dict[str, dict[str, object]]]) -> None:
        """Unmake everything; write the report, with what this machine can do, or hand it to the process that does."""
        if texts := self._run.close():
            from pytest_isolate._test.protocol import warn_of_run  # noqa: PLC0415 - for isolated tests only

            warn_of_run(session.config, texts)
        if not self._run.has_to_tell:
            return
        workeroutput = getattr(session.config, "workeroutput", None)
        if workeroutput is not None:
            self._run.to_controller(workeroutput)
        elif not self._run.reporting.write(self._run.entries_as_json(), lambda: capabilities(session.config)):
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
