"""A test is over: its verdict, and its reports as pytest is to have them.

Nobody has heard of them yet.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NoReturn

import pytest

from pytest_isolate._messages import carried, coverage, mend, reading
from pytest_isolate._messages.reruns import last_attempt, note_last_attempt, unsaid_of
from pytest_isolate._model import Usage
from pytest_isolate._plan.remedies import CANNOT, said_once
from pytest_isolate._pytest import capture, failures, hook_calls, marks
from pytest_isolate._sandbox.frames import GarbledError
from pytest_isolate._test import shells
from pytest_isolate._test.artifacts import keep_all, keep_capture, keep_tmp_path
from pytest_isolate._test.bundles import keep_bundle
from pytest_isolate._test.section import asked, section
from pytest_isolate._test.states import Behind, Finished, IsolatedTest, Judged, Refused
from pytest_isolate._verdict import judging, thread_stacks
from pytest_isolate._verdict.evidence import PHASES, Evidence
from pytest_isolate._verdict.judging import Verdict
from pytest_isolate._violations import Violation


def judge(ended: Finished | Refused) -> Judged:
    """Make the verdict and the reports of a test that is over."""
    behind = Behind()
    if isinstance(ended, Finished):
        return _of_finished(ended, behind)
    if ended.kind == "skip":
        skip = pytest.CallInfo.from_call(
            partial(marks.skip_where_the_test_is, ended.why), when="setup"
        )
        return Judged(
            ended, Verdict("ok", (), Usage()), [made_here(ended.test, behind, skip)], behind
        )
    whole = ended.kind == "keyword" or ended.why.startswith(CANNOT)
    message = ended.why if whole else f"the sandbox could not be built: {ended.why}"
    verdict = Verdict("sandbox_error", (), Usage(), broken=message)
    return Judged(ended, verdict, [_error_report(ended, behind, verdict, message)], behind)


def _of_finished(ended: Finished, behind: Behind) -> Judged:
    reports = _read(ended, behind)
    note_last_attempt(ended.evidence, reports)
    verdict = judging.judge(ended.spec, ended.evidence)
    if verdict.broken is not None:
        message = f"the sandbox broke: {verdict.broken}"
        return Judged(
            ended,
            replace(verdict, broken=message),
            [_error_report(ended, behind, verdict, message)],
            behind,
        )
    if not verdict.violations and (
        over := ended.test.run.reporting.over_budget(ended.test.name, verdict.usage, reports)
    ):
        verdict = replace(verdict, kind="violation", violations=tuple(over))
    for phase in PHASES:
        if violations := [each for each in verdict.violations if each.phase == phase]:
            reports = _with_violations(
                ended, behind, reports, violations, dead=verdict.dead_in == phase
            )
    if verdict.kind != "ok" or any(report.failed for report in reports):
        shells.say_there_was_none(ended)
    _complete(ended, verdict, reports)
    return Judged(ended, verdict, reports, behind)


def _read(ended: Finished, behind: Behind) -> list[pytest.TestReport]:
    """Read the child's reports, up to the first that cannot be read, and with them what it
    measured.
    """
    evidence, measuring = ended.evidence, ended.group.measuring
    reports: list[pytest.TestReport] = []
    try:
        for frame in evidence.process.frames:
            if frame["kind"] == "report":
                reports.append(reading.report(ended.test.item, frame, strict=ended.spec.strict))
                carried.put_beside(reports[-1], frame)
                behind.raised[id(reports[-1])], behind.unsaid[id(reports[-1])] = (
                    frame.get("raised"),
                    frame.get("unsaid"),
                )
        if measuring is not None:
            measuring.add(
                [
                    coverage.read(frame)
                    for frame in evidence.process.frames
                    if frame["kind"] == "coverage"
                ]
            )
    except GarbledError as error:
        evidence.unreadable = f"{reading.UNREADABLE}{error}"
    return reports


def _complete(ended: Finished, verdict: Verdict, reports: list[pytest.TestReport]) -> None:
    """Add what pytest knows of the test to its reports: its own part of the set-up, what its
    threads said, figures, the section.
    """
    failed = any(report.failed for report in reports)
    kept = [keep_all(ended, failed=failed), keep_capture(ended, failed=failed)]
    kept.append(keep_bundle(ended, failed=failed))
    tmp_path = keep_tmp_path(ended) if failed else None
    figures, is_said = _figures(verdict), False
    _add_shared_seconds(ended, reports)
    overheard = [(f"Captured {kind} call", text) for kind, text in ended.overheard.items() if text]
    for report in reports:
        if overheard and report.when != "setup":
            report.sections = mend.joined(report.sections, overheard)
        report.user_properties += figures
        if report.failed:
            lines = [tmp_path if report.when != "teardown" or not is_said else None, *kept]
            report.sections.append(
                ("isolate", section(ended, verdict, report, list(filter(None, lines))))
            )
            is_said = True


def _add_shared_seconds(ended: Finished, reports: list[pytest.TestReport]) -> None:
    """Pytest's part of the set-up was before the child's, and there is one report of both."""
    set_up = ended.requested.set_up
    first = next((report for report in reports if report.when == "setup"), None)
    if first is not None and set_up.seconds:
        first.duration += set_up.seconds
        if first.start is not None:
            first.start -= set_up.seconds
    if (
        set_up.asked_seconds
        and (call := next((report for report in reports if report.when == "call"), None))
        is not None
    ):
        call.duration += set_up.asked_seconds


def _error_report(
    ended: Finished | Refused, behind: Behind, verdict: Verdict, message: str
) -> pytest.TestReport:
    """Report a sandbox that could not be built, without pytest_runtest_makereport, so that no xfail
    covers it.
    """
    test, item = ended.test, ended.test.item
    message = said_once(test.run.said_remedies, message, test.name)
    text = failures.Red(f"isolate: {message}" if not message.startswith("isolate: ") else message)
    stacks = (
        [_stacks_section(ended.evidence)]
        if isinstance(ended, Finished) and ended.evidence.process.stacks
        else []
    )
    report = pytest.TestReport(
        item.nodeid, item.location, dict.fromkeys(item.keywords, 1), "failed", text, "setup",
        sections=[*stacks, ("isolate", asked(ended))] if ended.spec is not None else [],
    )  # fmt: skip
    report.user_properties += _figures(verdict)
    behind.calls[id(report)] = pytest.CallInfo.from_call(
        lambda: _raise_plainly(message), when="setup"
    )
    return report


def _raise_plainly(message: str) -> NoReturn:
    raise RuntimeError(message)


def _with_violations(
    ended: Finished,
    behind: Behind,
    reports: list[pytest.TestReport],
    violations: list[Violation],
    *,
    dead: bool,
) -> list[pytest.TestReport]:
    """Fail a phase by what it overstepped: the phase's own report, or a new one where the test died
    before it made one.
    """
    phase, start = violations[0].phase, last_attempt(reports)
    evidence = ended.evidence
    unsaid = unsaid_of(evidence.process.frames) if dead else None
    if dead and (evidence.again or unsaid is not None):
        start = len(reports)
    attempt = reports[start:]
    before = next(
        (
            report
            for report in reversed(attempt)
            if report.when == phase and type(report) is pytest.TestReport
        ),
        None,
    )
    failed = _report_of(ended, behind, violations[0])
    if len(violations) > 1:
        also = "\n".join(f"{type(each).__name__}: {each}" for each in violations[1:])
        failed.sections.append(("isolate: also", also))
    if before is None:
        spoken = sum(report.duration for report in reports)
        failed.duration = max(0.0, evidence.process.wall_seconds - spoken)
        last = list(_last_words(ended, phase)) if dead else []
        if unsaid is not None:
            before_it = _pairs(unsaid["sections"])
        else:
            before_it = sections_so_far(reports) if reports else _unheard(ended.test, last)
        failed.sections = [*mend.joined(before_it, last), *failed.sections]
        failed.user_properties = (
            list(reports[-1].user_properties) if reports else failed.user_properties
        )
        at = start + sum(
            PHASES.index(report.when or "") < PHASES.index(phase) for report in attempt
        )
        return [*reports[:at], failed, *reports[at:]]
    failed.duration, failed.start, failed.stop = before.duration, before.start, before.stop
    failed.user_properties = before.user_properties
    carried.pass_on(before, failed)
    failed.sections = [*before.sections, *failed.sections]
    if before.failed:
        failed.sections.append(("isolate: what the test itself said", failures.text_of(before)))
    # After a failed set-up there is no call, also if the child did not know yet that it had failed
    if phase == "setup":
        reports = [*reports[:start], *(report for report in attempt if report.when != "call")]
    return [failed if report is before else report for report in reports]


def _pairs(sections: object) -> list[tuple[str, str]]:
    assert isinstance(sections, list)  # checked
    return [(name, text) for name, text in sections]


def _report_of(ended: Finished, behind: Behind, violation: Violation) -> pytest.TestReport:
    """Make a report through pytest's own hooks, so that ``xfail`` and its ``raises`` apply."""
    test, where = ended.test, failures.place(ended.test.item)
    # Code that stands at the test, not here: what hears of the exception finds it there
    code = compile("raise violation", test.item.path, "exec")
    at = code.replace(co_firstlineno=where.line)
    call = pytest.CallInfo.from_call(
        lambda: exec(at, {"violation": violation}),  # noqa: S102
        when=violation.phase,  # type: ignore[arg-type]
    )
    sections = capture.report_sections(test.item)
    kept, sections[:] = list(sections), []  # the child's reports have them, and more
    report = made_here(test, behind, call)
    sections[:] = kept
    failures.redden(report, violation, _stood(ended, where))
    # The test's entry keeps it until the end of the run, and this would keep every frame above
    violation.__traceback__ = None
    return report


def _stood(ended: Finished, where: failures.Where) -> failures.Where:
    """In which line of its file a test stood whose process died, by its stack; where it is written
    if that says nothing.
    """
    inside = [
        failures.Where(*each)
        for each in thread_stacks.places(ended.evidence.process.stacks)
        if each.path == where.path
    ]
    return inside[-1] if inside else where


def made_here(test: IsolatedTest, behind: Behind, call: pytest.CallInfo[None]) -> pytest.TestReport:
    """Make a report by pytest's own hooks.

    Those of others wait for a protocol of theirs that was in the child, or are played.
    """
    report: pytest.TestReport = hook_calls.own_makereport(test.item)(item=test.item, call=call)
    behind.calls[id(report)] = call
    test.run.changes += 1
    return report


def sections_so_far(reports: list[pytest.TestReport]) -> list[tuple[str, str]]:
    return list(reports[-1].sections) if reports else []


def _unheard(test: IsolatedTest, last: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what was captured of pytest's part of a set-up, unless the child came so far as to say
    it again.
    """
    said = [
        (f"Captured {kind} {phase}", text)
        for phase, kind, text in capture.report_sections(test.item)
    ]
    return [(name, text) for name, text in said if text not in dict(last).get(name, "")]


def _last_words(ended: Finished, phase: str) -> Iterable[tuple[str, str]]:
    """Yield what a test that died had written in its last phase, and where it stood."""
    for name, data in ended.output:
        if data:
            yield (f"Captured {name} {phase}", data.decode("utf-8", "replace"))
    if ended.evidence.process.stacks:
        yield _stacks_section(ended.evidence)
    if ended.evidence.process.native:
        yield ("isolate: native stacks", ended.evidence.process.native)


def _stacks_section(evidence: Evidence) -> tuple[str, str]:
    return ("isolate: stacks", thread_stacks.readable(evidence.process.stacks))


def _figures(verdict: Verdict) -> list[tuple[str, object]]:
    """Properties for every report of a test, the same objects for all: pytest keeps each report
    until the end of the run.
    """
    used = [
        (sys.intern(f"isolate.{name}"), value)
        for name, value in vars(verdict.usage).items()
        if value is not None
    ]
    return [*used, ("isolate.verdict", verdict.kind)]
