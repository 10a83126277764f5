"""A test's entry in the JSON report."""

from __future__ import annotations

import pytest

from pytest_isolate._report.json_report import Entry
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._test.artifacts import changes_of
from pytest_isolate._test.section import links_of
from pytest_isolate._test.states import Finished, Judged, Refused, Requested, Skipped

_OUTPUT_LARGEST = 1 << 16  # characters


def entry(state: Requested | Skipped | Refused | Finished | Judged) -> Entry:
    """Make the entry of a test that was reported, or that something ended before."""
    verdict = state.verdict if isinstance(state, Judged) else None
    ended = state.ended if isinstance(state, Judged) else state
    test, facts = ended.test, ended.facts if isinstance(ended, Finished) else None
    plan, changes = None, None
    if isinstance(ended, Finished):
        plan, changes = ended.plan, changes_of(ended) if test.run.reports else None
    elif test.run.reports:
        changes = Changes()
    return Entry(
        test.name,
        outcome_of(test.reports),
        "ok" if verdict is None else verdict.kind,
        ended.spec.limits() if ended.spec else {},
        None if verdict is None else verdict.usage,
        () if verdict is None else verdict.violations,
        () if facts is None else tuple(facts.exit.left_over),
        changes,
        () if facts is None else facts.attempts,
        facts.memory() if facts is not None and test.run.reports else (),
        None if facts is None else facts.exit.largest,
        test.begun,
        getattr(test.item.config, "workerinput", {}).get("workerid"),
        None if test.item.location[1] is None else test.item.location[1] + 1,
        _output(test.reports) if verdict is not None and verdict.violations else None,
        (
            None
            if verdict is None or verdict.broken is None
            else verdict.broken.removeprefix("isolate: ")
        ),
        () if plan is None else plan.walls,
        () if plan is None else plan.looked,
        () if facts is None else facts.servers,
        links_of(ended) if isinstance(ended, Finished) else (),
    )


def _output(reports: list[pytest.TestReport]) -> str:
    """Return what a test said, for whoever reads of its violations elsewhere than in
    the terminal.
    """
    # Later phases repeat what earlier ones said
    said = {text: name for report in reports for name, text in report.sections}
    return "\n".join(f"{name}:\n{text.rstrip()}" for text, name in said.items())[:_OUTPUT_LARGEST]


def outcome_of(reports: list[pytest.TestReport]) -> str:
    """One word for a test's reports, in pytest's own terms."""
    for report in reports:
        if report.failed:
            return "failed" if report.when == "call" else "error"
    if not any(report.when == "teardown" for report in reports):
        return "error"  # interrupted: it did not come to its end
    for report in reports:
        if hasattr(report, "wasxfail"):
            return "xfailed" if report.skipped else "xpassed"
    return "skipped" if any(report.skipped for report in reports) else "passed"
