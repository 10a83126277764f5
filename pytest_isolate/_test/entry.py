"""A test's entry in the JSON report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pytest_isolate._pytest.failures import text_of
from pytest_isolate._report.json_report import Entry, Phase, is_figure
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._test.artifacts import changes_of
from pytest_isolate._test.section import links_of
from pytest_isolate._test.states import Finished, Judged, Refused, Requested, Skipped
from pytest_isolate._verdict.evidence import PHASES
from pytest_isolate._verdict.judging import Verdict

_LONGEST = 1 << 16  # characters of a text
_MOST_PHASES = 100  # of all attempts
_MOST_RETRIES = 20


def entry(state: Requested | Skipped | Refused | Finished | Judged) -> Entry:
    """Make the entry of a test that was reported, or that something ended before."""
    ended = state.ended if isinstance(state, Judged) else state
    test, limits = ended.test, ended.spec.limits() if ended.spec else {}
    made = Entry(
        test.name,
        outcome_of(test.reports),
        "ok",
        limits,
        None,
        started=test.begun if test.entered is None else test.entered,
        worker=getattr(test.item.config, "workerinput", {}).get("workerid"),
        line=None if test.item.location[1] is None else test.item.location[1] + 1,
        job=test.job,
    )
    if isinstance(state, Judged):
        made = _with_verdict(made, state.verdict)
    if isinstance(ended, Finished):
        made = _with_facts(made, ended)
    if test.run.reports:
        made = _with_details(made, ended)
    if made.violations or (test.run.reports and made.outcome != "passed"):
        made = replace(made, output=_output(test.reports))
    return made


def _with_verdict(made: Entry, verdict: Verdict) -> Entry:
    return replace(
        made,
        verdict=verdict.kind,
        usage=verdict.usage,
        violations=verdict.violations,
        reason=None if verdict.broken is None else verdict.broken.removeprefix("isolate: "),
    )


def _with_facts(made: Entry, ended: Finished) -> Entry:
    facts = ended.evidence
    return replace(
        made,
        leaked=tuple(facts.process.left_over),
        attempts=facts.attempts,
        largest=facts.process.largest,
        walls=() if ended.plan is None else ended.plan.walls,
        sampled=() if ended.plan is None else ended.plan.looked,
        servers=facts.servers,
        links=links_of(ended),
    )


def _with_details(made: Entry, ended: Requested | Skipped | Refused | Finished) -> Entry:
    """Add what only a report or a page shows."""
    test, spec = ended.test, ended.spec
    made = replace(
        made,
        changes=changes_of(ended) if isinstance(ended, Finished) else Changes(),
        origins={name: spec.origin(name) for name in made.limits} if spec else {},
        failure=_failure(test.reports),
        phases=tuple(_phases(test.reports)),
        retries=_retries([*test.earlier, *test.reports]),
    )
    if not isinstance(ended, Finished):
        return made
    return replace(made, memory=ended.evidence.memory(), building=tuple(_building(ended)))


def _failure(reports: list[pytest.TestReport]) -> str | None:
    """Return pytest's own text of how a test failed, or why it was skipped or expected to fail."""
    said = [_why(report) for report in reports if report.failed or report.skipped]
    said = [each for each in said if each]
    return _cut("\n\n".join(said)) if said else None


def _why(report: pytest.TestReport) -> str:
    why = getattr(report, "wasxfail", None)
    if report.skipped and isinstance(why, str):
        return f"{why}\n\n{text_of(report)}" if why else text_of(report)
    if report.skipped and isinstance(report.longrepr, tuple):
        file, line, reason = report.longrepr
        return f"{file}:{line}: {reason}"
    return text_of(report)


def _building(ended: Finished) -> Iterator[tuple[float, float]]:
    """Yield when the builder worked on a test's sandbox."""
    began, entered = ended.evidence.process.began, ended.test.entered
    if began is not None and entered is not None:
        spans = ended.sandbox.spans
        for begin, end in zip(spans[::2], spans[1::2], strict=False):
            yield entered - (began - begin), end - begin


def _retries(reports: list[pytest.TestReport]) -> tuple[str, ...]:
    """Return how each attempt failed that another one followed (pytest-rerunfailures)."""
    again = [report for report in reports if report.outcome == "rerun"]  # type: ignore[comparison-overlap] # the plugin's word
    return tuple(_cut(text_of(report)) for report in again[-_MOST_RETRIES:])


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
