"""allure-pytest's results of tests: a test's process tells what it knows of its test, and pytest
writes the file.

For pytest alone knows how a test ended that is gone, what it overstepped, and what shared fixtures
print while they are torn down. Files that a result names (attachments), and containers of the
test's own fixtures, are written where they are made, and brought back.

Nothing of the listener is public but its hooks; a version that has other names keeps its results
where the tests ran.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pluggy
import pytest

from pytest_isolate._messages import shapes
from pytest_isolate._pytest import fixtures
from pytest_isolate._sandbox.frames import Frame

_LISTENER = "allure_listener"  # with --alluredir
_STATUSES = {"passed", "failed", "broken", "skipped"}
_LONGEST_IDENTIFIER = 100
CallOf = Callable[[pytest.TestReport], "pytest.CallInfo[None]"]


def listener_of(config: pytest.Config) -> Any:  # noqa: ANN401 - of a plugin that is not here
    """allure-pytest's listener, if this run writes results; None for one that this module does not
    know.
    """
    listener = config.pluginmanager.getplugin(_LISTENER)
    known = hasattr(getattr(listener, "_cache", None), "_items") and hasattr(
        listener, "allure_logger"
    )
    return listener if known and hasattr(listener, "_update_fixtures_children") else None


class Telling:
    """The child's side: results come to pytest in frames, in the place of files."""

    def __init__(self, listener: Any, send: Callable[[Frame], None]) -> None:  # noqa: ANN401 - as above
        self._listener, self._send = listener, send
        # pytest has all that was captured, and attaches it
        listener.config.option.attach_capture = False
        manager = sys.modules["allure_commons"].plugin_manager
        files = [
            plugin
            for plugin in manager.get_plugins()
            if type(plugin).__name__ == "AllureFileLogger"
        ]
        self._others = manager.subset_hook_caller("report_result", files)
        manager.hook.report_result = self._report

    def _report(self, *, result: Any) -> None:  # noqa: ANN401 - as above
        self._others(result=result)
        data = sys.modules["attr"].asdict(result, filter=lambda _, value: value or value is False)
        try:
            self._send({"kind": "allure", "result": json.dumps(data)})
        except ValueError:
            # Larger than a frame may be, and steps are what there may be any number of
            self._send({"kind": "allure", "result": json.dumps({**data, "steps": []})})

    def finish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Take the hook behind a test's last report, or behind an attempt's: then each has a result
        of its own.
        """
        _run(self._listener.pytest_runtest_logfinish(nodeid=nodeid, location=location))


def telling(config: pytest.Config, send: Callable[[Frame], None]) -> Telling | None:
    """In the child: have results told, if this run writes any."""
    listener = listener_of(config)
    return None if listener is None else Telling(listener, send)


class Result:
    """pytest's side: the result of one test, or attempt of it, from its first report in pytest on
    to the hook behind its last.
    """

    def __init__(
        self,
        listener: Any,  # noqa: ANN401 - as above
        item: pytest.Item,
        told: dict[str, Any] | None,
        started: float,
    ) -> None:
        """One that the test's process ``told``, or, if it is gone, one of what is known here."""
        self._listener, self._item, self._is_told = listener, item, told is not None
        self._cache, self._logger = listener._cache, listener.allure_logger
        if told is not None:
            self._begin(told)
        else:
            self._describe(started)
        self._add_to_containers()

    def _begin(self, data: dict[str, Any]) -> None:
        result = sys.modules["allure_commons.model2"].TestResult()
        for name in vars(result).keys() & data.keys():
            setattr(result, name, data[name])
        self._cache._items[id(self._item.nodeid)] = result.uuid
        self._logger.schedule_test(result.uuid, result)

    def _describe(self, started: float) -> None:
        """Make a result by the listener's own hooks, of a test whose process has told none."""
        listener = self._listener
        listener._update_fixtures_children = lambda _: None
        try:
            _run(listener.pytest_runtest_setup(item=self._item))
            _run(listener.pytest_runtest_teardown(item=self._item))
        finally:
            del listener._update_fixtures_children
        self._result.start = int(started * 1000)

    def _add_to_containers(self) -> None:
        """Shared fixtures' containers, which pytest writes, name this test; those of others are not
        pytest's.
        """
        self._listener._update_fixtures_children(self._item)
        for fixturedef in fixtures.fixtures_of(self._item):
            if fixturedef.cached_result is None or not fixtures.is_shared(self._item, fixturedef):
                container = self._cache.pop(fixturedef)
                if container is not None:
                    self._logger.drop_test(container)

    @property
    def _result(self) -> Any:  # noqa: ANN401 - as above
        return self._logger.get_test(self._cache.get(self._item.nodeid))

    def take(
        self, report: pytest.TestReport, call: pytest.CallInfo[None], *, made_here: bool
    ) -> None:
        """Take in a report, as the listener does where reports are made."""
        if type(report) is not pytest.TestReport:
            return
        if made_here and (self._result.status is None or report.when != "teardown"):
            # Up to here: a report that was made here stands in the place of the child's
            self._result.status = "passed"
        if made_here or not self._is_told or report.when == "teardown":
            outcome, report.outcome = (
                report.outcome,
                ("failed" if str(report.outcome) == "rerun" else report.outcome),
            )
            try:
                _run(self._listener.pytest_runtest_makereport(item=self._item, call=call), report)
            finally:
                report.outcome = outcome

    def close(self) -> None:
        """Write it, of an attempt that no hook is called behind in pytest."""
        self._logger.close_test(self._cache.pop(self._item.nodeid))


def begin(
    item: pytest.Item,
    told: list[dict[str, Any]],
    attempts: list[list[pytest.TestReport]],
    call_of: CallOf,
    started: float,
) -> Result | None:
    """Begin the result of a test's last attempt, which its last report and the hook behind that
    complete; those before are written whole.

    ``told`` is what its process told, ``attempts`` are the reports of each, ``started`` is when it
    began, in seconds of the epoch.
    """
    listener = listener_of(item.config)
    if listener is None:
        return None
    *earlier, _ = attempts
    last = told[-1] if len(told) >= len(attempts) else None
    for data, reports in itertools.zip_longest(
        told if last is None else told[:-1], earlier, fillvalue=()
    ):
        if data:
            result = Result(listener, item, dict(data), started)
            for report in reports:
                result.take(report, call_of(report), made_here=False)
            result.close()
    return Result(listener, item, last, started)


def results_told(frames: list[Frame]) -> list[dict[str, Any]]:
    """Return the results that a child told, as far as they are ones."""
    return [
        data
        for frame in frames
        if frame["kind"] == "allure"
        for data in _read(str(frame["result"]))
    ]


def _read(text: str) -> Iterator[dict[str, Any]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return
    if shapes.fits(data, _RESULT):
        yield data


def _run(hook: Any, report: pytest.TestReport | None = None) -> None:  # noqa: ANN401 - a generator of the listener's
    """Run a wrapper of the listener's around a hook that gives a report."""
    next(hook)
    try:
        hook.send(pluggy.Result(report, None))
    except StopIteration:
        return


def _is_identifier(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_IDENTIFIER and value.isascii()


def _is_status(value: object) -> bool:
    return value is None or value in _STATUSES


def _maybe(shape: object) -> shapes.Either:
    return shapes.Either((None, shape))


#: What is read of a result in pytest, or added to. All else of it is written as it came.
_RESULT: dict[str, object] = {
    "uuid": _is_identifier,
    "name": _maybe(str),
    "fullName": _maybe(str),
    "status": _is_status,
    "statusDetails": _maybe(dict),
    "attachments": _maybe([dict]),
    "parameters": _maybe([dict]),
    "labels": _maybe([dict]),
    "links": _maybe([dict]),
    "steps": _maybe([dict]),
    "start": _maybe(int),
    "stop": _maybe(int),
}
