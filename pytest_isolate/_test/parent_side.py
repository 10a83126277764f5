"""pytest's hooks in pytest itself: what becomes of each there (``_child.child_side``: in a test).

Imports nothing that knows the kernel: what only isolated tests need is imported when the first of
them comes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pytest_isolate._session.run import Run
from pytest_isolate._test.protocols import Protocols


class ParentSide:
    """The hooks of a run, in which ``protocols`` has the tests."""

    def __init__(self, run: Run, protocols: Protocols) -> None:
        self._run, self._protocols = run, protocols
        if run.config.pluginmanager.is_blocked("reports"):
            from pytest_isolate._pytest import serialization  # noqa: PLC0415

            serialization.restore_serialization(run.config.pluginmanager)
        if run.config.getoption("isolate_shell") and run.config.getoption("dist", "no") != "no":
            from pytest_isolate._test import shells  # noqa: PLC0415 - the controller collects nothing

            shells.refuse(run.config)

    def run_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run an isolated test elsewhere for whoever has found a way around the caller of this
        hook.
        """
        return self._protocols.run_protocol(item, nextitem)

    def set_up_fixture(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Set up a wider fixture, which is pytest's to see to."""
        # Or an error that pytest itself raises in a fixture would seem to be ours
        __tracebackhide__ = True
        if fixturedef.scope == "function":
            return (yield)
        self._run.wider.add(fixturedef)
        self._protocols.drain()
        self._run.change()
        with self._run.noting(fixturedef, request.session):
            return (yield)

    def begin_call(self) -> None:
        """Refuse to run a test's body, whatever somebody did to a skip on its way."""
        if self._protocols.state is None:
            return
        from pytest_isolate._test.states import Skipped  # noqa: PLC0415 - as above

        if isinstance(self._protocols.state, Skipped):
            pytest.fail(
                "isolate: a mark skips this test and a plugin wants to run it, in pytest itself: no"
                " isolated test runs there",
                pytrace=False,
            )

    def make_report(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Leave the report of a test that runs here to pytest."""
        del call
        return (yield)

    def interact(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> Generator[None, object, object]:
        """Leave what was raised here to everybody."""
        del report
        return (yield)

    def enter_debugger(self) -> None:
        """Let a debugger begin in pytest."""

    def begin_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Have nobody run while shared fixtures are torn down."""
        self._protocols.drain_before_teardown(item, nextitem)

    def end_teardown(self) -> None:
        """Leave what pytest has set up to pytest."""

    def log_start(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell nobody else."""

    def log_finish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell nobody else."""

    def log_report(self, report: pytest.TestReport) -> None:
        """Remember what was reported, for the entry of the test."""
        if self._protocols.state is None:
            self._run.entries.take_in(report)
        else:
            self._protocols.state.test.reports.append(report)

    def record_warning(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Leave a warning to pytest."""

    def complete_serialized(
        self, config: pytest.Config, report: object, data: dict[str, Any]
    ) -> None:
        """Under xdist, in a worker: have a test's entry travel with its last report, so that a
        worker's death costs no test before it.
        """
        if not hasattr(config, "workerinput"):
            return
        from pytest_isolate._report import travel  # noqa: PLC0415 - for workers only

        data.pop(travel.ATTRIBUTE, None)  # a child may have made one up
        if self._protocols.state is not None and getattr(report, "when", None) == "teardown":
            from pytest_isolate._test.entry import entry  # noqa: PLC0415

            data[travel.ATTRIBUTE] = travel.pack(entry(self._protocols.state))
            self._protocols.state.test.entry_travels = True

    def refuse(self, session: pytest.Session) -> None:
        """Refuse what would do harm, and a debugger that nobody could talk to, before the first
        test. Raises ``pytest.UsageError``.
        """
        config = session.config
        if config.pluginmanager.hasplugin("syrupy"):
            from pytest_isolate._pytest import plugins  # noqa: PLC0415

            if (
                why := plugins.refusal(
                    [item for item in session.items if self._run.is_isolated(item)], config
                )
            ) is not None:
                raise pytest.UsageError(f"isolate: {why}")
        if config.getoption("isolate_shell"):
            from pytest_isolate._test import shells  # noqa: PLC0415

            if any(map(self._run.is_isolated, session.items)):
                shells.refuse(config)
        if not (config.getoption("usepdb", False) or config.getoption("trace", False)):
            return
        from pytest_isolate._pytest import capture  # noqa: PLC0415

        if any(map(self._run.is_isolated, session.items)) and not capture.has_terminal(config):
            raise pytest.UsageError(
                "--pdb and --trace need a terminal for isolated tests, and the standard input of"
                " this pytest is none: run it in a terminal, or plain with --isolate-off"
            )

    def end_run(
        self,
        session: pytest.Session,
        capabilities: Callable[[pytest.Config], dict[str, dict[str, object]]],
    ) -> None:
        """Unmake everything; write the report, with what this machine can do, or hand it to the
        process that does.
        """
        if texts := self._run.close():
            # For isolated tests only
            from pytest_isolate._test.warn import warn_of_run  # noqa: PLC0415

            warn_of_run(session.config, texts)
        if not self._run.has_to_tell:
            return
        workeroutput = getattr(session.config, "workeroutput", None)
        if workeroutput is not None:
            self._run.to_controller(workeroutput)
        elif not self._run.reporting.write(
            self._run.entries.as_json(), lambda: capabilities(session.config)
        ):
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
