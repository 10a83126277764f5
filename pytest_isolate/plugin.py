"""pytest's hooks, and nothing else: what they do is a call away. PYTEST_DONT_REWRITE.

Imports nothing that knows the kernel: loaded and unused, the plugin costs its options and one look at each test's markers.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isolate import _installation, _loading, _options, _settings, _telling
from pytest_isolate._dump_later import dump_later
from pytest_isolate._run import Run

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator

    from pytest_isolate._fleet import Fleet
    from pytest_isolate._flight import Flight
    from pytest_isolate._group import Group

    Json = dict[str, Any] | None


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Options and ini values, from the one table of keywords."""
    if not pluginmanager.has_plugin("isolate"):  # that one has looked
        _installation.check()
    _options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before a conftest can set the timer of ``faulthandler``, which a fork has to let go of."""
    dump_later.install()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Leave ``faulthandler`` as it was."""
    dump_later.uninstall()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the defaults."""
    if _loading.is_switched_off(config.pluginmanager):
        config.pluginmanager.unregister(sys.modules[__name__])
        dump_later.uninstall()
        return
    _options.complete(config)
    _settings.settle(config)
    config.addinivalue_line("markers", "isolate(**keywords): run the test in namespaces, limits and an overlay of its own")
    off = config.getoption("isolate_off") or config.option.collectonly or _sets_up_only(config)
    if config.getoption("isolate_doctor") or off:
        dump_later.uninstall()
        run = None
    else:
        dump_later.install()  # again, where a conftest named this plugin
        run = Run(config)
        config.pluginmanager.register(_hooks(run), "isolate-run")
    config.pluginmanager.register(_telling.telling(config, run), "isolate-telling")


def _sets_up_only(config: pytest.Config) -> bool:
    """No test body runs."""
    return bool(config.getoption("setuponly", False) or config.getoption("setupplan", False))


def _hooks(run: Run) -> object:
    if sys.platform == "linux":
        return Isolation(run)
    from pytest_isolate._elsewhere import Elsewhere  # noqa: PLC0415

    return Elsewhere(run)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """``--isolate-doctor``."""
    if not config.getoption("isolate_doctor"):
        return None
    from pytest_isolate import _doctor  # noqa: PLC0415 - knows the kernel

    return _doctor.main(config)


def _capabilities(config: pytest.Config) -> dict[str, dict[str, object]]:
    from pytest_isolate import _doctor  # noqa: PLC0415 - knows the kernel

    return _doctor.capabilities(config)


class Isolation:
    """The hooks of a run, registered unless isolation is off or no test body runs at all."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._flight: Flight | None = None
        self._group: Group | None = None  # the sandbox of the test before, if it goes on with the next
        self._fleet: Fleet | None = None  # with --isolate-jobs
        self._stopped = False
        if run.config.pluginmanager.is_blocked("reports"):
            from pytest_isolate import _pytest_private  # noqa: PLC0415

            _pytest_private.restore_serialization(run.config.pluginmanager)
        if run.config.getoption("isolate_jobs") != "1":
            from pytest_isolate import _fleet  # noqa: PLC0415

            if (jobs := _fleet.jobs_of(run.config)) > 1:
                self._fleet = _fleet.Fleet(jobs, self._land)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Step aside when none of the tests is isolated: then they cost what they cost without the plugin."""
        if session.items and not self._run.any_isolated(session) and not self._run.has_to_tell:  # xdist's controller has no items
            session.config.pluginmanager.unregister(self)
            dump_later.uninstall()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
        """The outermost frame of a test: the child ends in it, the parent reports in it."""
        if self._flight is not None:  # a child that goes on with the next test of its group
            return (yield)
        if not self._run.is_isolated(item):
            if self._fleet is not None:
                self._fleet.land_all()
                self._stopped = self._run.stops(item.session)
            return (yield)
        from pytest_isolate import _flight, _protocol  # noqa: PLC0415 - nothing of it is imported for unmarked tests

        _protocol.warn_of_plugins(self._run, item)
        flight = _flight.prepare(self._run, self, item, nextitem, self._group)
        self._group = None
        fleet = self._fleet
        flight.may_fly = fleet is not None and fleet.prepare(flight)
        if fleet is not None and self._run.stops(item.session):
            self._stopped = True
            flight.close()
            return (yield)
        self._flight = flight
        if not hasattr(item, "fixturenames"):
            _flight.fork_before_setup(flight)
        raised: BaseException | None = None
        result: object = True
        with fleet.holding(flight, self) if fleet is not None and flight.may_fly else contextlib.nullcontext():
            try:
                result = yield
            except BaseException as error:  # noqa: BLE001 - raised again below, or said by the child
                raised = error
            if flight.inside is not None:
                flight.inside.finish(raised)  # the child never comes back from it
        if fleet is not None and flight.may_fly:
            self._flight = None
            fleet.take_in(flight, raised)
        else:
            flight.handed = isinstance(raised, _flight.Handed)
            self._land(flight)
            if raised is not None and not flight.handed:
                raise raised
        return result

    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_protocol")
    def pytest_runtest_protocol_stopped(self) -> bool | None:
        """With jobs: a test before this one has just ended the run, which pytest looks for after it."""
        return True if self._stopped else None

    def _land(self, flight: Flight) -> None:
        from pytest_isolate import _protocol  # noqa: PLC0415

        self._flight = flight
        try:
            _protocol.say_held(flight)
            if flight.handed:
                _protocol.land(flight)
        finally:
            self._flight = None
            if not flight.entry_travels:
                self._run.entries.append(_protocol.entry(flight))
            self._group = flight.close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Where nothing is to be set up in the parent: ``fixtures="fresh"``, a sandbox that goes on, a keyword that cannot be obeyed."""
        flight = self._flight
        if flight is not None and (flight.spec is None or flight.spec.fixtures == "fresh" or flight.group is not None):
            self._fork_if_pending(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """The first function-scoped fixture is where shared set-up ends: fork here."""
        __tracebackhide__ = True  # or an error that pytest itself raises in a fixture would seem to be ours
        if fixturedef.scope == "function":
            try:
                self._fork_if_pending(request.node)
            except BaseException:  # Handed, or a skip by on_missing
                from pytest_isolate import _pytest_private  # noqa: PLC0415

                _pytest_private.forget_unfinished(fixturedef)
                raise
            value = yield
            if fixturedef.argname == "tmp_path" and self._flight is not None and self._flight.inside is not None:
                self._flight.inside.tell_tmp_path(value)
            return value
        if self._is_inside():
            return (yield)
        if self._fleet is not None:
            self._fleet.settle()  # nobody is in flight while shared fixtures change
        with self._run.noting(fixturedef, request.session):
            return (yield)

    @pytest.hookimpl(trylast=True, specname="pytest_runtest_setup")
    def pytest_runtest_setup_last(self, item: pytest.Item) -> None:
        """A test without function-scoped fixtures forks when all set-up is done."""
        self._fork_if_pending(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """A parent never runs an isolated test's body, whatever a hook in between did to our exception."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.begin_phase("call")
        else:
            self._fork_if_pending(item)

    def _fork_if_pending(self, item: pytest.Item) -> None:
        flight = self._flight
        if flight is not None and flight.pending and flight.item is item:
            from pytest_isolate._flight import take_off  # noqa: PLC0415

            if self._fleet is not None and flight.may_fly and flight.spec is not None:
                self._fleet.make_room(flight.spec)
            take_off(flight)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """In the child: see what the kernel denied, when the error for it came through."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.see_call(call)
        return (yield)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse a debugger that nobody could talk to, before the first test."""
        config = session.config
        if not (config.getoption("usepdb", False) or config.getoption("trace", False)):
            return
        from pytest_isolate import _pytest_private  # noqa: PLC0415

        if any(map(self._run.is_isolated, session.items)) and not _pytest_private.has_terminal(config):
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
        if self._fleet is not None and not self._is_inside():
            self._fleet.settle_before_teardown(item, nextitem)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self) -> None:
        """In the child, last of all: finalize what it set up by itself on wider scopes, unless its next test uses it too."""
        if self._flight is not None and self._flight.inside is not None:
            self._flight.inside.tear_down()

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Hold it back until it is the test's turn."""
        if self._flight is not None and not self._flight.starts_at_once:
            self._holds("pytest_runtest_logstart", nodeid=nodeid, location=location)

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Hold it back until it is the test's turn."""
        self._holds("pytest_runtest_logfinish", nodeid=nodeid, location=location)

    def _holds(self, name: str, **arguments: Any) -> bool:  # noqa: ANN401 - whatever the hook has
        """Whether a hook call is held back."""
        flight = self._flight
        if flight is None or flight.held is None or flight.landing or flight.inside is not None:
            return False
        flight.held.append((name, arguments))
        return True

    def _is_inside(self) -> bool:
        return self._flight is not None and self._flight.inside is not None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In the child the only one that is called: forward. In the parent: remember for the JSON report's entry."""
        if self._flight is None:
            self._run.take_in(report)
        elif self._holds("pytest_runtest_logreport", report=report):
            return
        elif self._flight.inside is not None:
            self._flight.inside.forward_report(report)
        else:
            self._flight.reports.append(report)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """In the child: forward. In the parent: count its own, to say the child's copy of them once."""
        flight = self._flight
        if flight is None:
            return
        if flight.inside is not None:
            flight.inside.forward_warning(warning_message, when, nodeid, location)
        elif not flight.landing:
            flight.parent_warnings += nodeid == flight.item.nodeid
            self._holds("pytest_warning_recorded", warning_message=warning_message, when=when, nodeid=nodeid, location=location)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self, config: pytest.Config, report: object) -> Generator[None, Json, Json]:
        """Under xdist, in a worker: a test's entry travels with its last report, so that a worker's death costs no test before it."""
        data = yield
        flight = self._flight
        if data is not None and hasattr(config, "workerinput") and (flight is None or flight.inside is None):
            from pytest_isolate._report import travel  # noqa: PLC0415 - for workers only

            data.pop(travel.ATTRIBUTE, None)  # a child may have made one up
            if flight is not None and getattr(report, "when", None) == "teardown":
                from pytest_isolate import _protocol  # noqa: PLC0415

                data[travel.ATTRIBUTE] = travel.pack(_protocol.entry(flight))
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

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Unmake everything; write the report, or hand it to the process that does."""
        if self._fleet is not None:
            self._fleet.abandon()
        if self._flight is not None:  # a Ctrl-C came between its fork and whoever was to look after it
            self._flight.abandon()
            self._flight = None
        if self._group is not None:
            self._group.close()
            self._group = None
        self._run.close()
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
