"""pytest's hooks, and nothing else: what they do is a call away. PYTEST_DONT_REWRITE.

Imports nothing that knows the kernel: loaded and unused, the plugin costs its options and one look at each test's markers.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_isolate import _installation, _loading
from pytest_isolate._config import keywords, options, settings
from pytest_isolate._forking.dump_later import dump_later
from pytest_isolate._session.run import Run
from pytest_isolate._test import telling

if TYPE_CHECKING:
    import warnings
    from collections.abc import Callable, Generator

    from pytest_isolate._child.departure import Arrival
    from pytest_isolate._child.group import Group
    from pytest_isolate._network.live import LiveNetwork
    from pytest_isolate._test.flights import Flight
    from pytest_isolate._test.nursery import Nursery
    from pytest_isolate._test.scheduler import Fleet

    Json = dict[str, Any] | None


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Options and ini values, from the one table of keywords."""
    if not pluginmanager.has_plugin("isolate"):  # that one has looked
        _installation.check()
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before a conftest can set the timer of ``faulthandler``, which a fork has to let go of."""
    dump_later.install()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Leave ``faulthandler`` and ``linecache`` as they were."""
    dump_later.uninstall()
    if (sources := sys.modules.get("pytest_isolate._messages.sources")) is not None:
        sources.forget()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the defaults."""
    if _loading.is_switched_off(config.pluginmanager):
        config.pluginmanager.unregister(sys.modules[__name__])
        dump_later.uninstall()
        return
    options.complete(config)
    settings.settle(config)
    config.addinivalue_line("markers", keywords.marker_help())
    off = config.getoption("isolate_off") or config.option.collectonly or _sets_up_only(config)
    if config.getoption("isolate_doctor") or off:
        dump_later.uninstall()
        run = None
    else:
        dump_later.install()  # again, where a conftest named this plugin
        run = Run(config)
        config.pluginmanager.register(_hooks(run), "isolate-run")
    config.pluginmanager.register(telling.telling(config, run), "isolate-telling")


def _sets_up_only(config: pytest.Config) -> bool:
    """No test body runs."""
    return bool(config.getoption("setuponly", False) or config.getoption("setupplan", False))


def _hooks(run: Run) -> object:
    if sys.platform == "linux":
        return Isolation(run)
    from pytest_isolate._doctor.elsewhere import Elsewhere  # noqa: PLC0415

    return Elsewhere(run)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """``--isolate-doctor``."""
    if not config.getoption("isolate_doctor"):
        return None
    from pytest_isolate._doctor import doctor  # noqa: PLC0415 - knows the kernel

    return doctor.main(config)


def _capabilities(config: pytest.Config) -> dict[str, dict[str, object]]:
    from pytest_isolate._doctor import doctor  # noqa: PLC0415 - knows the kernel

    return doctor.capabilities(config)


@pytest.fixture
def isolate_network(request: pytest.FixtureRequest) -> Generator[LiveNetwork, None, None]:
    """The network of a test with ``@isolate(net=Network(...))``: its hosts and links, as the marker has them at each test's beginning.

    ``isolate_network["a"].run([...])``, ``with isolate_network["a"]:``, ``isolate_network.link("a", "lan").set(delay="200ms")``,
    ``isolate_network.partition("a")``.
    """
    from pytest_isolate._network import building  # noqa: PLC0415 - for those who ask for it
    from pytest_isolate._network.live import LiveNetwork  # noqa: PLC0415

    if (built := building.built()) is None:
        off = "; this run has --isolate-off" if request.config.getoption("isolate_off") else ""
        pytest.fail(f"isolate_network: the test has no network of hosts: mark it with @isolate(net=Network('a', 'b')){off}", pytrace=False)
    network = LiveNetwork(built)
    yield network
    built.settle()
    network.reset()  # where the next test shares the sandbox


class Isolation:
    """The hooks of a run, registered unless isolation is off or no test body runs at all."""

    def __init__(self, run: Run) -> None:
        self._run = run
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

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Step aside when none of the tests is isolated: then they cost what they cost without the plugin."""
        if session.items and not self._run.any_isolated(session):  # xdist's controller has no items
            if not self._run.has_to_tell:
                session.config.pluginmanager.unregister(self)
                dump_later.uninstall()
            return (yield)
        from pytest_isolate._pytest import hook_calls  # noqa: PLC0415

        with hook_calls.protocol_by(session.config, self._protocol) as self._plain_protocol:
            return (yield)

    def _protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """The protocol of any test: pytest's own, or a child that runs it."""
        if self._flight is None and self._run.is_isolated(item):
            return self._isolated(item, nextitem)
        if self._fleet is not None and self._flight is None:
            self._fleet.land_all()
            if self._run.stops(item.session):
                return True  # a test before this one has just ended the run, which pytest looks for after it
        self._run.change()
        return self._plain_protocol(item=item, nextitem=nextitem)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """For whoever has found a way around ``_test.protocol``: a parent never runs an isolated test."""
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
            flight = flights.Flight.of(self._run, self, item, nextitem)
            flight.is_skipped = True
        else:
            protocol.warn_of_plugins(self._run, item)
            flight = flights.prepare(self._run, self, item, nextitem, self._group)
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
            self._flight = flight = flights.arrived(self._run, self, session, arrival, may_fly=self._fleet is not None)
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

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Wider fixtures are set up in pytest, and seen to by it; a child that needs one tells."""
        __tracebackhide__ = True  # or an error that pytest itself raises in a fixture would seem to be ours
        inside = None if self._flight is None else self._flight.inside
        if inside is not None:
            inside.begin_fixture(fixturedef)
            value = yield
            if fixturedef.argname == "tmp_path" and fixturedef.scope == "function":
                inside.tell_tmp_path(value)
            return value
        if fixturedef.scope == "function":
            return (yield)
        self._run.wider.add(fixturedef)
        if self._fleet is not None:
            self._fleet.settle()  # nobody is in flight while shared fixtures change
        self._run.change()
        with self._run.noting(fixturedef, request.session):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """In the child: a phase begins. In pytest none does, whatever somebody did to a skip on its way."""
        if self._flight is None:
            return
        if self._flight.inside is not None:
            self._flight.inside.begin_phase("call")
        elif self._flight.is_skipped:
            pytest.fail(
                "isolate: a mark skips this test and a plugin wants to run it, in pytest itself: no isolated test runs there", pytrace=False
            )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """In the child: see what the kernel denied, when the error for it came through."""
        inside = None if self._flight is None else self._flight.inside
        if inside is None:
            return (yield)
        inside.begin_report(call)
        with inside.unheard():
            report = yield
        inside.see_call(call)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_exception_interact(self) -> Generator[None, object, object]:
        """In the child: who is called in pytest too prints there. A debugger is called here alone."""
        inside = None if self._flight is None else self._flight.inside
        if inside is None or self._run.config.getoption("usepdb", False):
            return (yield)
        with inside.unheard():
            return (yield)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse what would do harm, and a debugger that nobody could talk to, before the first test."""
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

    def pytest_enter_pdb(self) -> None:
        """In the child, before its debugger says its first word."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.enter_debugger()

    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_teardown")
    def pytest_runtest_teardown_first(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Nobody is in flight while shared fixtures are torn down."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.begin_phase("teardown")
        elif self._fleet is not None:
            self._fleet.settle_before_teardown(item, nextitem)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self) -> None:
        """In the child, last of all: finalize what it set up by itself on wider scopes, unless its next test uses it too."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.tear_down()

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """In the child this is the only one that is called, as are the two below."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.tell_projects("pytest_runtest_logstart", nodeid=nodeid, location=location)

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """In the child: for the project's own, who may look there at what the test has left."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.finish_attempt(nodeid, location)
            self._flight.inside.tell_projects("pytest_runtest_logfinish", nodeid=nodeid, location=location)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In the child the only one that is called: forward. In the parent: remember for the JSON report's entry."""
        if self._flight is None:
            self._run.take_in(report)
        elif self._flight.inside is not None:
            self._flight.inside.forward_report(report)
            self._flight.inside.tell_projects("pytest_runtest_logreport", report=report)
        else:
            self._flight.reports.append(report)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """In the child: forward."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.forward_warning(warning_message, when, nodeid, location)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self, config: pytest.Config, report: object) -> Generator[None, Json, Json]:
        """Under xdist, in a worker: a test's entry travels with its last report, so that a worker's death costs no test before it."""
        data = yield
        flight = self._flight
        if data is not None and hasattr(config, "workerinput") and (flight is None or flight.inside is None):
            from pytest_isolate._report import travel  # noqa: PLC0415 - for workers only

            data.pop(travel.ATTRIBUTE, None)  # a child may have made one up
            if flight is not None and getattr(report, "when", None) == "teardown":
                from pytest_isolate._test import protocol  # noqa: PLC0415

                data[travel.ATTRIBUTE] = travel.pack(protocol.entry(flight))
                flight.entry_travels = True
        return data

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - xdist's WorkerController
        """Under xdist: take in what a worker knows besides its tests' reports."""
        self._run.from_worker(getattr(node, "workeroutput", {}))

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """With jobs tests run while pytest does anything else."""
        if self._fleet is not None:
            self._fleet.place(excinfo, self._flight)

    @pytest.hookimpl(tryfirst=True, specname="pytest_sessionfinish")
    def pytest_sessionfinish_first(self) -> None:
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

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Unmake everything; write the report, or hand it to the process that does."""
        if texts := self._run.close():
            from pytest_isolate._test.protocol import warn_of_run  # noqa: PLC0415 - for isolated tests only

            warn_of_run(session.config, texts)
        if not self._run.has_to_tell:
            return
        workeroutput = getattr(session.config, "workeroutput", None)
        if workeroutput is not None:
            self._run.to_controller(workeroutput)
        elif not self._run.reporting.write(self._run.entries_as_json(), lambda: _capabilities(session.config)):
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The section "isolate"."""
        if self._run.has_to_tell:
            self._run.reporting.summarize(self._run.entries_as_json(), terminalreporter)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session) -> Generator[None, object, object]:
        """Before anything is deselected: which budgets have no test any more."""
        if self._run.has_to_tell:
            self._run.reporting.collected(session)
        return (yield)
