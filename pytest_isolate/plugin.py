"""pytest's hooks, and nothing else: what they do is a call away. PYTEST_DONT_REWRITE.

Imports nothing that knows the kernel: loaded and unused, the plugin costs its options and one look
at each test's markers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isolate import _installation, _loading
from pytest_isolate._config import keywords, options, settings
from pytest_isolate._forking.dump_later import dump_later
from pytest_isolate._session.run import Run
from pytest_isolate._test import figures, telling
from pytest_isolate._test.parent_side import ParentSide
from pytest_isolate._test.protocols import Protocols

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator

    from pytest_isolate._child.child_side import ChildSide
    from pytest_isolate._network.live import LiveNetwork

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
        if figures.is_wanted(config):
            config.pluginmanager.register(figures.Figures(config), "isolate-figures")
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
    """Give the network of a test with ``@isolate(net=Network(...))``: its hosts and links, as the
    marker has them at each test's beginning.

    ``isolate_network["a"].run([...])``, ``with isolate_network["a"]:``, ``isolate_network.link("a",
    "lan").set(delay="200ms")``, ``isolate_network.partition("a")``.
    """
    from pytest_isolate._network import building  # noqa: PLC0415 - for those who ask for it
    from pytest_isolate._network.live import LiveNetwork  # noqa: PLC0415

    if (built := building.built()) is None:
        off = "; this run has --isolate-off" if request.config.getoption("isolate_off") else ""
        pytest.fail(
            "isolate_network: the test has no network of hosts: mark it with"
            f" @isolate(net=Network('a', 'b')){off}",
            pytrace=False,
        )
    network = LiveNetwork(built)
    yield network
    built.settle()
    network.reset()  # where the next test shares the sandbox


class Isolation:
    """The hooks of a run, registered unless isolation is off or no test body runs at all."""

    side: ParentSide | ChildSide

    def __init__(self, run: Run) -> None:
        self._run = run
        self._protocols = Protocols(run, self)
        self._parent = ParentSide(run, self._protocols)
        self.side = self._parent

    def become(self, side: ChildSide) -> None:
        """Speak for a test from here on: this process is its own, since the fork."""
        self.side = side

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Have isolated tests run elsewhere."""
        with self._protocols.running(session):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run an isolated test elsewhere."""
        return self.side.run_protocol(item, nextitem)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Have wider fixtures set up in pytest."""
        # Or an error that pytest itself raises in a fixture would seem to be ours
        __tracebackhide__ = True
        return (yield from self.side.set_up_fixture(fixturedef, request))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """Begin a phase."""
        self.side.begin_call()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """See what a phase raised."""
        return (yield from self.side.make_report(call))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_exception_interact(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> Generator[None, object, object]:
        """Have nothing printed twice."""
        return (yield from self.side.interact(report))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse what would do harm before the first test."""
        self._parent.refuse(session)

    def pytest_enter_pdb(self) -> None:
        """Stop the clock of a test."""
        self.side.enter_debugger()

    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_teardown")
    def pytest_runtest_teardown_first(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> None:
        """Begin a phase."""
        self.side.begin_teardown(item, nextitem)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self) -> None:
        """End it, last of all."""
        self.side.end_teardown()

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell that a test begins.

        In a child no other plugin hears of this and the next three by pytest itself.
        """
        self.side.log_start(nodeid, location)

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell that a test is over."""
        self.side.log_finish(nodeid, location)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Forward a report, or remember it."""
        self.side.log_report(report)

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Forward a warning."""
        self.side.record_warning(warning_message, when, nodeid, location)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(
        self, config: pytest.Config, report: object
    ) -> Generator[None, Json, Json]:
        """Have a test's entry travel to xdist's controller."""
        data = yield
        if data is not None:
            self.side.complete_serialized(config, report, data)
        return data

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - xdist's WorkerController
        """Under xdist: take in what a worker knows besides its tests' reports."""
        self._run.from_worker(getattr(node, "workeroutput", {}))

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Say where the tests stand."""
        self._protocols.place_interruption(excinfo)

    @pytest.hookimpl(tryfirst=True, specname="pytest_sessionfinish")
    def pytest_sessionfinish_first(self) -> None:
        """End the tests that run."""
        self._protocols.end_tests()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Unmake everything, and write the report."""
        self._parent.end_run(session, _capabilities)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section "isolate"."""
        if self._run.has_to_tell:
            self._run.reporting.summarize(self._run.entries.as_json(), terminalreporter)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session
    ) -> Generator[None, object, object]:
        """Look, before anything is deselected, which budgets have no test any more."""
        if self._run.has_to_tell:
            self._run.reporting.collected(session)
        return (yield)
