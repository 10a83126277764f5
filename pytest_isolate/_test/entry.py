"""A test's entry in the JSON report."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_isolate._report.json_report import Entry, Phase, is_figure
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._test.artifacts import changes_of
from pytest_isolate._test.section import links_of
from pytest_isolate._test.states import Finished, Judged, Refused, Requested, Skipped
from pytest_isolate._verdict.facts import PHASES

_LONGEST = 1 << 16  # characters of a text
_MOST_PHASES = 100  # of all attempts
_MOST_RETRIES = 20


def entry(state: Requested | Skipped | Refused | Finished | Judged) -> Entry:
    """Make the entry of a test that was reported, or that something ended before."""
    verdict = state.verdict if isinstance(state, Judged) else None
    ended = state.ended if isinstance(state, Judged) else state
    test, facts = ended.test, ended.facts if isinstance(ended, Finished) else None
    plan, changes, details = None, None, test.run.reports
    if isinstance(ended, Finished):
        plan, changes = ended.plan, changes_of(ended) if details else None
    elif details:
        changes = Changes()
    outcome, limits = outcome_of(test.reports), ended.spec.limits() if ended.spec else {}
    violates = verdict is not None and bool(verdict.violations)
    return Entry(
        test.name,
        outcome,
        "ok" if verdict is None else verdict.kind,
        limits,
        None if verdict is None else verdict.usage,
        () if verdict is None else verdict.violations,
        () if facts is None else tuple(facts.exit.left_over),
        changes,
        () if facts is None else facts.attempts,
        facts.memory() if facts is not None and details else (),
        None if facts is None else facts.exit.largest,
        test.begun if test.entered is None else test.entered,
        getattr(test.item.config, "workerinput", {}).get("workerid"),
        None if test.item.location[1] is None else test.item.location[1] + 1,
        _output(test.reports) if violates or (details and outcome != "passed") else None,
        (
            None
            if verdict is None or verdict.broken is None
            else verdict.broken.removeprefix("isolate: ")
        ),
        () if plan is None else plan.walls,
        () if plan is None else plan.looked,
        () if facts is None else facts.servers,
        links_of(ended) if isinstance(ended, Finished) else (),
        test.job,
        {name: ended.spec.origin(name) for name in limits} if ended.spec and details else {},
        _failure(test.reports) if details else None,
        tuple(_phases(test.reports)) if details else (),
        _retries([*test.earlier, *test.reports]) if details else (),
        tuple(_building(ended)) if isinstance(ended, Finished) and details else (),
    )


def _failure(reports: list[pytest.TestReport]) -> str | None:
    """Return pytest's own text of how a test failed, or why it was skipped or expected to fail."""
    said = [_why(report) for report in reports if report.failed or report.skipped]
    said = [each for each in said if each]
    return _cut("\n\n".join(said)) if said else None


def _why(report: pytest.TestReport) -> str:
    why = getattr(report, "wasxfail", None)
    if report.skipped and isinstance(why, str):
        return f"{why}\n\n{report.longreprtext}" if why else report.longreprtext
    if report.skipped and isinstance(report.longrepr, tuple):
        file, line, reason = report.longrepr
        return f"{file}:{line}: {reason}"
    return report.longreprtext


def _building(ended: Finished) -> Iterator[tuple[float, float]]:
    """Yield when the builder worked on a test's sandbox."""
    began, entered = ended.facts.exit.began, ended.test.entered
    if began is not None and entered is not None:
        spans = ended.sandbox.spans
        for begin, end in zip(spans[::2], spans[1::2], strict=False):
            yield entered - (began - begin), end - begin


def _retries(reports: list[pytest.TestReport]) -> tuple[str, ...]:
    """Return how each attempt failed that another one followed (pytest-rerunfailures)."""
    again = [report for report in reports if report.outcome == "rerun"]  # type: ignore[comparison-overlap] # the plugin's word
    return tuple(_cut(report.longreprtext) for report in again[-_MOST_RETRIES:])


def _phases(reports: list[pytest.TestReport]) -> Iterator[Phase]:
    """Yield when each phase was, of what a child said only what can be a time."""
    for report in [each for each in reports if each.when in PHASES][:_MOST_PHASES]:
        start, seconds = getattr(report, "start", None), report.duration
        if is_figure(start) and start is not None and is_figure(seconds):
            yield Phase(str(report.when), start, seconds)


def _cut(text: str) -> str:
    """Cut a long text in its middle, and say so: it begins with what was said first, and ends with
    what was raised.
    """
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return (
        f"{text[:half]}\n... ({len(text) - 2 * half} characters are left out) ...\n{text[-half:]}"
    )


def _output(reports: list[pytest.TestReport]) -> str:
    """Return what a test said, for whoever reads of it elsewhere than in the terminal."""
    # Later phases repeat what earlier ones said
    said = {text: name for report in reports for name, text in report.sections}
    return "\n".join(f"{name}:\n{text.rstrip()}" for text, name in said.items())[:_LONGEST]


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
