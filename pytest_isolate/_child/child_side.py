"""pytest's hooks in the test's own process: what becomes of each there.

``_test.parent_side`` has the same hooks in pytest.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import pytest

from pytest_isolate._child import layers
from pytest_isolate._child.inside import Inside


class ChildSide:
    """The hooks of one test at a time, which runs here as in a plain pytest."""

    def __init__(self, child: Inside, config: pytest.Config) -> None:
        self.child = child
        self._has_debugger = bool(config.getoption("usepdb", False))

    def run_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Leave the protocol to pytest."""

    def set_up_fixture(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Set it up here, unless it is pytest's to set up: then this process ends, and another
        finds it done.
        """
        # Or an error that pytest itself raises in a fixture would seem to be ours
        __tracebackhide__ = True
        del request
        self.child.begin_fixture(fixturedef)
        value = yield
        layers.refuse(fixturedef, value, self.child.wider.layers)
        if fixturedef.argname == "tmp_path" and fixturedef.scope == "function":
            self.child.tell_tmp_path(value)
        return value

    def begin_call(self) -> None:
        """Tell that the test's body is about to run."""
        self.child.begin_phase("call")

    def make_report(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """See what the kernel denied, when the error for it came through."""
        self.child.begin_report(call)
        with self.child.unheard():
            report = yield
        self.child.see_call(call)
        return report

    def interact(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> Generator[None, object, object]:
        """Have nothing printed by those who are called in pytest too, and print there.

        A debugger is called here alone, and a shell comes behind it.
        """
        if self._has_debugger:
            result = yield
        else:
            with self.child.unheard():
                result = yield
        self.child.offer_shell(report)
        return result

    def enter_debugger(self) -> None:
        """Stop the clock before the debugger says its first word."""
        self.child.enter_debugger()

    def begin_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Tell that the teardown is about to begin."""
        del item, nextitem
        self.child.begin_phase("teardown")

    def end_teardown(self) -> None:
        """Finalize, last of all, what this process set up by itself on wider scopes, unless its
        next test uses it too.
        """
        self.child.tear_down()

    def log_start(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell the project's own, who are called in pytest as well."""
        self.child.tell_projects("pytest_runtest_logstart", nodeid=nodeid, location=location)

    def log_finish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell the project's own, who may look here at what the test has left."""
        self.child.finish_attempt(nodeid, location)
        self.child.tell_projects("pytest_runtest_logfinish", nodeid=nodeid, location=location)

    def log_report(self, report: pytest.TestReport) -> None:
        """Forward a report to pytest."""
        self.child.forward_report(report)
        self.child.tell_projects("pytest_runtest_logreport", report=report)

    def record_warning(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Forward a warning to pytest."""
        self.child.forward_warning(warning_message, when, nodeid, location)

    def complete_serialized(
        self, config: pytest.Config, report: object, data: dict[str, Any]
    ) -> None:
        """Add nothing to what pytest makes of a report."""
