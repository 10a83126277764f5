"""What other plugins keep beside a report, carried to pytest, or made whole there: output and
records of a phase, steps of a scenario.

Each part does nothing in a run without its plugin, and with a version of it that keeps things
elsewhere.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from pytest_isolate._messages import shapes
from pytest_isolate._pytest import logs
from pytest_isolate._sandbox.frames import Frame

# Of the test, and of its reports: by phase, what was captured and logged
_OF_JSON_REPORT = "_json_report_extra"
_STREAMS = ("stdout", "stderr")
_MAYBE_TEXT = shapes.Either((str, None))
#: pytest-bdd's, by its ``ScenarioReport.serialize``.
_STEP = {
    "name": str, "type": str, "keyword": str, "line_number": int, "failed": bool,
    "duration": shapes.is_number,
}  # fmt: skip
_RULE = {"keyword": str, "name": _MAYBE_TEXT, "description": _MAYBE_TEXT, "tags": [str]}
_FEATURE = {**_RULE, "filename": str, "rel_filename": str, "language": str, "line_number": int}
_SCENARIO = {
    **_RULE,
    "steps": [_STEP],
    "line_number": int,
    "feature": _FEATURE,
    "rule": shapes.Either((None, _RULE)),
}
_OF_BDD = {"name": str, "scenario": _SCENARIO}


def beside(report: pytest.TestReport) -> Frame:
    """In the child: what of a report is not in it."""
    context = _contexts().get(report) if type(report) is pytest.TestReport else None
    return {} if context is None else {"bdd": {"name": context.name, "scenario": context.scenario}}


def put_beside(report: pytest.TestReport, frame: Frame) -> None:
    """In pytest: the same of a report that came."""
    said, contexts = frame.get("bdd"), _contexts()
    if said is not None and contexts is not None and shapes.fits(said, _OF_BDD):
        contexts[report] = sys.modules["pytest_bdd.reporting"].ReportContext(**said)  # type: ignore[arg-type] # checked


def pass_on(before: pytest.TestReport, instead: pytest.TestReport) -> None:
    """Give a report that is made here in the place of another what that had."""
    contexts = _contexts()
    if before in contexts:
        contexts[instead] = contexts[before]
    if _OF_JSON_REPORT in vars(before):
        setattr(instead, _OF_JSON_REPORT, vars(before)[_OF_JSON_REPORT])


def _contexts() -> Any:  # noqa: ANN401 - of a plugin that is not here
    return getattr(sys.modules.get("pytest_bdd.reporting"), "test_report_context_registry", {})


def complete_setup(item: pytest.Item) -> None:
    """In the child, before the report of a set-up is made: pytest-json-report has the records of
    pytest's part of it too.
    """
    stage = getattr(item, _OF_JSON_REPORT, {}).get("setup")
    if stage is not None and "log" in stage:
        stage["log"] = _told(logs.records_of(item, "setup"))


def complete(
    item: pytest.Item, report: pytest.TestReport, records: Iterable[logging.LogRecord] = ()
) -> None:
    """In pytest: pytest-json-report has of each phase what the report has, and the ``records`` of
    pytest's part of it.
    """
    plugin: Any = getattr(item.config, "_json_report", None)
    if plugin is None or type(report) is not pytest.TestReport:
        return
    kept: Any = vars(report).get(_OF_JSON_REPORT)
    kept = kept if isinstance(kept, dict) else {}
    stage = kept.get(report.when)
    stage = kept[report.when] = stage if isinstance(stage, dict) else {}
    sections = dict(report.sections)
    if not plugin._must_omit("streams"):
        stage.update(
            {
                name: sections[key]
                for name in _STREAMS
                if (key := f"Captured {name} {report.when}") in sections
            }
        )
    if not plugin._must_omit("log") and (told := _told(records)):
        before = stage.get("log")
        stage["log"] = [*(before if isinstance(before, list) else ()), *told]
    setattr(report, _OF_JSON_REPORT, kept)


def _told(records: Iterable[logging.LogRecord]) -> list[dict[str, object]]:
    """Give records as the plugin writes them."""
    handler = sys.modules["pytest_jsonreport.plugin"].LoggingHandler()
    for record in records:
        handler.emit(record)
    told: list[dict[str, object]] = handler.records
    return told
