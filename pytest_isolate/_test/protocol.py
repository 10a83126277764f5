"""One isolated test from pytest's side, after its fork: judge it, mend its reports, emit them, take down what is the parent's."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_isolate._messages import allure, carried, coverage, mend, reading
from pytest_isolate._messages.reruns import attempts_of, begin_again, last_attempt, note_last_attempt, unsaid_of
from pytest_isolate._model import Usage
from pytest_isolate._plan.remedies import said_once
from pytest_isolate._pytest import capture, fixtures, hook_calls, logs, marks, plugins, setup_state
from pytest_isolate._report.json_report import Entry
from pytest_isolate._sandbox.frames import Frame, GarbledError
from pytest_isolate._session.run import Run
from pytest_isolate._test import shared
from pytest_isolate._test.flights import Flight
from pytest_isolate._test.kept import bring_back, changes_of, keep_artifacts, keep_capture, lost_files, lost_threads
from pytest_isolate._test.section import asked, links_of, section
from pytest_isolate._verdict import judging, rules, thread_stacks
from pytest_isolate._verdict.facts import PHASES, Facts
from pytest_isolate._verdict.judging import Verdict
from pytest_isolate._violations import Violation

_OUTPUT_LARGEST = 1 << 16  # characters


class ChildInternalError(Exception):
    """A plugin or hook raised outside of any phase, in the child: for pytest an INTERNALERROR, as in a plain run."""


def land(flight: Flight) -> bool:
    """Report a test that is over, then raise what it raised (``pytest.exit``, Ctrl-C). Whether it is to run again."""
    item = flight.item
    again = False
    try:
        verdict, reports = _judged(flight)
        flight.verdict = verdict
        ours = [*bring_back(flight), *lost_threads(flight), *lost_files(flight)]
        again = _is_run_again(flight, reports)
        _begin_result(flight, reports)
        with contextlib.ExitStack() as around:
            raised = _emit(flight, reports, around, again=again)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            _replay_warnings(flight)
        warn_of_troubles(flight)
        for text in ours:
            _warn(item, text)
    finally:
        setup_state.forget_request(item)
    if raised is not None:
        _raise(flight, raised)
    return again


def _is_run_again(flight: Flight, reports: list[pytest.TestReport]) -> bool:
    """Whether an attempt that was failed here, not by the child's own report, has another behind it; then it is marked as such."""
    failed = [report for report in reports if report.failed]
    if flight.verdict is None or not flight.verdict.violations or not any(id(report) in flight.calls for report in failed):
        return False
    why = "\n".join(f"{type(each).__name__}: {each}" for each in flight.verdict.violations)
    attempts = begin_again(flight.item, reports, flight.attempts, why)
    if not attempts:
        return False
    flight.attempts = attempts
    for report in failed:
        report.outcome = "rerun"  # type: ignore[assignment] # the plugin's word
    return True


def _emit(flight: Flight, reports: list[pytest.TestReport], around: contextlib.ExitStack, *, again: bool = False) -> Frame | None:
    """Emit the reports, the last one after this process's own teardown. Gives what the test raised out of pytest's protocol."""
    if again:
        for report in reports:
            _say(flight, report)
        return None
    died = flight.verdict is not None and flight.verdict.dead_in is not None
    at = next((at for at in reversed(range(len(reports))) if reports[at].when == "teardown"), len(reports))
    if at < last_attempt(reports) or (died and at < len(reports) - 1):  # the teardown of an attempt before the last comes in its place
        at = len(reports)
    reports, last = [*reports[:at], *reports[at + 1 :]], reports[at : at + 1]
    for report in reports:
        _say(flight, report)
    raised = _raised(flight)
    _stop_as_asked(flight, early=True)
    if raised is None:
        report = _with_shared_teardown(flight, around, last[-1] if last else None, [] if last else _captured(reports))
        if not last and reports:  # the test is gone: JUnit XML reads a test's properties and output from this report
            report.user_properties = list(reports[-1].user_properties)
        last = [report]
    _stop_as_asked(flight)
    for report in last:
        _say(flight, report)
    return raised


def _say(flight: Flight, report: pytest.TestReport) -> None:
    """Tell everybody's hooks of a report, in pytest's order: those who remember across tests see it made, and what was raised."""
    item, played = flight.item, flight.run.played
    call, troubles = None, []
    made_here = id(report) in flight.calls
    is_played = played.is_wanted(item)
    shared.set_current(item, None if report.when == "teardown" else report.when)
    carried.complete(item, report)
    if flight.result is not None and id(report) not in flight.earlier:
        flight.result.take(report, _call(flight, report), made_here=made_here)
    if is_played:
        call = _call(flight, report)
        with fixtures.given_arguments(item, _tmp_path(flight)):
            troubles.append(played.play(item, report, call, flight.unsaid.get(id(report)) or (), made_here=made_here))
    item.ihook.pytest_runtest_logreport(report=report)
    if call is not None:
        with fixtures.given_arguments(item, _tmp_path(flight)):
            troubles.append(played.interact(item, report, call))
    shared.set_current(item, None)
    for text in filter(None, troubles):
        _warn(item, text)


def _begin_result(flight: Flight, reports: list[pytest.TestReport]) -> None:
    """Begin allure-pytest's result, in a run that writes them."""
    facts, attempts = flight.facts, attempts_of(reports)
    if facts is not None and (facts.unsaid is not None or facts.again):  # the process died in one of which it had reported nothing
        attempts[-1] = [report for report in attempts[-1] if id(report) not in flight.calls]
        attempts.append([])
    told = [] if facts is None or flight.spec is None or flight.spec.strict else allure.results_told(facts.exit.frames)
    flight.result = allure.begin(flight.item, told, attempts, partial(_call, flight), flight.started)
    flight.earlier = frozenset(id(report) for attempt in attempts[:-1] for report in attempt)


def _call(flight: Flight, report: pytest.TestReport) -> pytest.CallInfo[None]:
    """The call behind a report."""
    strict = flight.spec is not None and flight.spec.strict
    return flight.calls.get(id(report)) or flight.run.played.call(report, flight.raised.get(id(report)), flight.reader, strict=strict)


def _tmp_path(flight: Flight) -> dict[str, object]:
    """What a hook may want of a test's fixtures that a child can tell."""
    frame = None if flight.facts is None else flight.facts.exit.first("tmp_path")
    return {} if frame is None else {"tmp_path": Path(str(frame["path"]))}


def _captured(reports: list[pytest.TestReport]) -> list[tuple[str, str]]:
    return [section for section in _sections_so_far(reports) if section[0].startswith("Captured ")]


def warn_of_plugins(run: Run, item: pytest.Item) -> None:
    """Say, before a test can hang for it, what of other plugins will not work in it; each is said once a run."""
    for text in plugins.troubles(item, run.said_of_plugins):
        _warn(item, text)


def _add_shared_seconds(flight: Flight, reports: list[pytest.TestReport]) -> None:
    """Pytest's part of the set-up was before the child's, and there is one report of both."""
    first = next((report for report in reports if report.when == "setup"), None)
    if first is not None and flight.shared_seconds:
        first.duration += flight.shared_seconds
        if first.start is not None:
            first.start -= flight.shared_seconds
    if flight.requested_seconds and (call := next((report for report in reports if report.when == "call"), None)) is not None:
        call.duration += flight.requested_seconds


def warn_of_troubles(flight: Flight) -> None:
    """Say what the machine could not give, with ``on_missing="warn"``, and what of ours failed without harm."""
    for text in flight.troubles:
        _warn(flight.item, text)


def _judged(flight: Flight) -> tuple[Verdict, list[pytest.TestReport]]:
    if flight.skipped is not None:
        return Verdict("ok", (), Usage()), [_skip_report(flight, flight.skipped)]
    if flight.bad_value is not None or flight.broken is not None or flight.facts is None or flight.spec is None:
        message = flight.bad_value or f"the sandbox could not be built: {flight.broken}"
        verdict = Verdict("sandbox_error", (), Usage(), broken=message)
        return verdict, [_error_report(flight, verdict, message)]
    reports = _read(flight, flight.facts, strict=flight.spec.strict)
    note_last_attempt(flight.facts, reports)
    verdict = judging.judge(flight.spec, flight.facts)
    if verdict.broken is not None:
        message = f"the sandbox broke: {verdict.broken}"
        return replace(verdict, broken=message), [_error_report(flight, verdict, message)]
    if not verdict.violations and (over := flight.run.reporting.over_budget(str(flight.item.nodeid), verdict.usage, reports)):
        verdict = replace(verdict, kind="violation", violations=tuple(over))
    for phase in PHASES:
        if violations := [each for each in verdict.violations if each.phase == phase]:
            reports = _with_violations(flight, reports, violations, dead=verdict.dead_in == phase)
    _finish(flight, verdict, reports)
    return verdict, reports


def _read(flight: Flight, facts: Facts, *, strict: bool) -> list[pytest.TestReport]:
    """The child's reports, up to the first that cannot be read, and with them what it measured."""
    reports: list[pytest.TestReport] = []
    try:
        for frame in facts.exit.frames:
            if frame["kind"] == "report":
                reports.append(reading.report(flight.item, frame, strict=strict))
                carried.put_beside(reports[-1], frame)
                flight.raised[id(reports[-1])], flight.unsaid[id(reports[-1])] = frame.get("raised"), frame.get("unsaid")
        if flight.group is not None and flight.group.measuring is not None:
            flight.group.measuring.add([coverage.read(frame) for frame in facts.exit.frames if frame["kind"] == "coverage"])
    except GarbledError as error:
        facts.unreadable = f"{reading.UNREADABLE}{error}"
    return reports


def _finish(flight: Flight, verdict: Verdict, reports: list[pytest.TestReport]) -> None:
    """Add what pytest knows of the test to its reports: its own part of the set-up, what its threads said, figures, the section."""
    failed = any(report.failed for report in reports)
    kept = [line for line in (keep_artifacts(flight, failed=failed), keep_capture(flight, failed=failed)) if line is not None]
    figures = _figures(verdict)
    _add_shared_seconds(flight, reports)
    overheard = [(f"Captured {kind} call", text) for kind, text in flight.overheard.items() if text]
    for report in reports:
        if overheard and report.when != "setup":
            report.sections = mend.joined(report.sections, overheard)
        report.user_properties += figures
        if report.failed:
            report.sections.append(("isolate", "\n".join(filter(None, [section(flight, verdict, report), *kept]))))


def _skip_report(flight: Flight, sentence: str) -> pytest.TestReport:
    """Of a test that is skipped because this machine cannot isolate it."""
    return _made_here(flight, pytest.CallInfo.from_call(lambda: marks.skip_where_the_test_is(sentence), when="setup"))


def _error_report(flight: Flight, verdict: Verdict, message: str) -> pytest.TestReport:
    """A sandbox that could not be built: made without pytest_runtest_makereport, so that no xfail covers it."""
    item = flight.item
    message = said_once(flight.run.said_remedies, message, str(item.nodeid))
    text = f"isolate: {message}" if not message.startswith("isolate: ") else message
    stacks = [_stacks_section(flight.facts)] if flight.facts is not None and flight.facts.exit.stacks else []
    report = pytest.TestReport(
        item.nodeid, item.location, dict.fromkeys(item.keywords, 1), "failed", text, "setup",
        sections=[*stacks, ("isolate", asked(flight))] if flight.spec is not None else [],
    )  # fmt: skip
    report.user_properties += _figures(verdict)
    flight.calls[id(report)] = pytest.CallInfo.from_call(lambda: _raise_plainly(message), when="setup")
    return report


def _raise_plainly(message: str) -> NoReturn:
    raise RuntimeError(message)


def _with_violations(
    flight: Flight, reports: list[pytest.TestReport], violations: list[Violation], *, dead: bool
) -> list[pytest.TestReport]:
    """Fail a phase by what it overstepped: the phase's own report, or a new one where the test died before it made one."""
    phase, start = violations[0].phase, last_attempt(reports)
    assert flight.facts is not None
    unsaid = unsaid_of(flight.facts.exit.frames) if dead else None
    if dead and (flight.facts.again or unsaid is not None):
        start = len(reports)
    attempt = reports[start:]
    before = next((report for report in reversed(attempt) if report.when == phase and type(report) is pytest.TestReport), None)
    failed = _report_of(flight, violations[0])
    if len(violations) > 1:
        failed.sections.append(("isolate: also", "\n".join(each.message for each in violations[1:])))
    if before is None:
        spoken = sum(report.duration for report in reports)
        failed.duration = max(0.0, flight.facts.exit.wall_seconds - spoken)
        last = list(_last_words(flight, phase)) if dead else []
        before_it = _pairs(unsaid["sections"]) if unsaid is not None else _sections_so_far(reports) if reports else _unheard(flight, last)
        failed.sections = [*mend.joined(before_it, last), *failed.sections]
        failed.user_properties = list(reports[-1].user_properties) if reports else failed.user_properties
        at = start + sum(PHASES.index(report.when or "") < PHASES.index(phase) for report in attempt)
        return [*reports[:at], failed, *reports[at:]]
    failed.duration, failed.start, failed.stop = before.duration, before.start, before.stop
    failed.user_properties = before.user_properties
    carried.pass_on(before, failed)
    failed.sections = [*before.sections, *failed.sections]
    if before.failed:
        failed.sections.append(("isolate: what the test itself said", before.longreprtext))
    if phase == "setup":  # after a failed set-up there is no call, also if the child did not know yet that it had failed
        reports = [*reports[:start], *(report for report in attempt if report.when != "call")]
    return [failed if report is before else report for report in reports]


def _pairs(sections: object) -> list[tuple[str, str]]:
    assert isinstance(sections, list)  # checked
    return [(name, text) for name, text in sections]


def _report_of(flight: Flight, violation: Violation) -> pytest.TestReport:
    """A report through pytest's own hooks, so that ``xfail`` and its ``raises`` apply."""

    def overstep() -> NoReturn:
        raise violation

    item = flight.item
    call = pytest.CallInfo.from_call(overstep, when=violation.phase)  # type: ignore[arg-type]
    sections = capture.report_sections(item)
    kept, sections[:] = list(sections), []  # the child's reports have them, and more
    report = _made_here(flight, call)
    sections[:] = kept
    violation.__traceback__ = None  # the test's entry keeps it until the end of the run, and this would keep every frame above
    return report


def _made_here(flight: Flight, call: pytest.CallInfo[None]) -> pytest.TestReport:
    """A report by pytest's own hooks. Those of others wait for a protocol of theirs that was in the child, or are played."""
    report: pytest.TestReport = hook_calls.own_makereport(flight.item)(item=flight.item, call=call)
    flight.calls[id(report)] = call
    flight.run.changes += 1
    return report


def _sections_so_far(reports: list[pytest.TestReport]) -> list[tuple[str, str]]:
    return list(reports[-1].sections) if reports else []


def _unheard(flight: Flight, last: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What was captured of pytest's part of a set-up, unless the child came so far as to say it again."""
    said = [(f"Captured {kind} {phase}", text) for phase, kind, text in capture.report_sections(flight.item)]
    return [(name, text) for name, text in said if text not in dict(last).get(name, "")]


def _last_words(flight: Flight, phase: str) -> Iterable[tuple[str, str]]:
    """What a test that died had written in its last phase, and where it stood."""
    assert flight.facts is not None
    for name, data in flight.output:
        if data:
            yield (f"Captured {name} {phase}", data.decode("utf-8", "replace"))
    if flight.facts.exit.stacks:
        yield _stacks_section(flight.facts)
    if flight.facts.exit.native:
        yield ("isolate: native stacks", flight.facts.exit.native)


def _stacks_section(facts: Facts) -> tuple[str, str]:
    return ("isolate: stacks", thread_stacks.readable(facts.exit.stacks))


def _figures(verdict: Verdict) -> list[tuple[str, object]]:
    """Properties for every report of a test, the same objects for all: pytest keeps each report until the end of the run."""
    used = [(sys.intern(f"isolate.{name}"), value) for name, value in vars(verdict.usage).items() if value is not None]
    return [*used, ("isolate.verdict", verdict.kind)]


def say_start(flight: Flight) -> None:
    """Tell, once, that the test has started: with jobs when it is its turn."""
    if not flight.said_start:
        flight.said_start = True
        flight.item.ihook.pytest_runtest_logstart(nodeid=flight.item.nodeid, location=flight.item.location)


def _tear_down(flight: Flight, around: contextlib.ExitStack) -> shared.Part:
    """Take down what the test shared and no further one needs. The loop may have gone on from it already, but not if the run stops."""
    stops = Run.stops(flight.item.session)
    if flight.parted and not stops:
        return shared.Part(pytest.CallInfo.from_call(lambda: None, when="teardown"), [])
    end = None if flight.facts is None else flight.facts.exit.first("end")
    if end is not None and end.get("live"):
        logs.continue_live_logs(flight.item.config, "teardown")
    if not setup_state.leaves_nothing(flight.item, None if stops else flight.nextitem):
        flight.run.change()
    return shared.tear_down(flight.item, None if stops else flight.nextitem, flight.run.played.is_around_shared, around)


def _with_shared_teardown(
    flight: Flight, around: contextlib.ExitStack, report: pytest.TestReport | None, captured: list[tuple[str, str]]
) -> pytest.TestReport:
    """Run pytest's part of the teardown, that of wider fixtures, and give the one teardown report of the test.

    That is the child's, unless pytest's part failed. ``captured`` is what a test had said that is gone without one.
    """
    part = _tear_down(flight, around)
    call, said = part.call, part.said
    if report is None or (call.excinfo is not None and not report.failed):
        ours = _made_here(flight, call)
        if report is None:
            ours.sections = mend.joined(captured, said) if captured else ours.sections
        else:
            ours.sections, ours.user_properties = mend.joined(report.sections, said), report.user_properties
            ours.duration += report.duration
            carried.pass_on(report, ours)
        report = ours
    else:
        report.sections = mend.joined(report.sections, said)
        report.duration += call.duration
        if report.stop is not None:
            report.stop += call.duration
        if call.excinfo is not None:  # both failed
            report.sections.append(("isolate: teardown of wider scopes also failed", str(call.excinfo.getrepr())))
    carried.complete(flight.item, report, part.records)
    return report


def _raised(flight: Flight) -> Frame | None:
    return None if flight.facts is None else flight.facts.exit.first("raised")


def _stop_as_asked(flight: Flight, *, early: bool = False) -> None:
    """A test may end the session: its ``session.shouldstop`` or ``shouldfail``, set inside, is set here.

    What was set ``early``, before the test's teardown, has wider fixtures torn down with that.
    """
    frame = None if flight.facts is None else flight.facts.exit.first("stop")
    if early and frame is not None and not frame.get("early"):
        return
    for name in ("shouldstop", "shouldfail"):
        if frame is not None and frame.get(name):
            setattr(flight.item.session, name, str(frame[name]))


def _raise(flight: Flight, frame: Frame) -> NoReturn:
    message, code = str(frame.get("message")), frame.get("returncode")
    if frame.get("what") == "exit":
        raise pytest.exit.Exception(message, code if isinstance(code, int) else None)
    if frame.get("what") == "interrupt":
        stack = frame.get("stack") or [("?", 1, "interrupted")]
        assert isinstance(stack, list)
        mend.raise_at(reading.places(stack, flight.reader), KeyboardInterrupt(*([message] if message else [])))
    raise ChildInternalError(message)


def _replay_warnings(flight: Flight) -> None:
    """Say the child's warnings here."""
    item, frames = flight.item, [] if flight.facts is None else flight.facts.exit.frames
    for frame in [frame for frame in frames if frame["kind"] == "warning"]:
        filename = str(frame.get("filename"))
        line = reading.shown_line(filename, flight.reader)  # else Python reads it from the file, whatever a child said that is
        _record_warning(item, str(frame.get("message")), _category(frame), (filename, frame.get("lineno"), line))
    if flight.facts is not None and flight.spec is not None and flight.facts.exit.left_over and flight.spec.leaks == "warn":
        text = rules.leak_sentence(flight.spec, flight.facts.exit)
        _warn(item, text)


def _warn(item: pytest.Item, text: str) -> None:
    """A warning of ours: recorded, never raised, so that ``-W error`` makes no failure of it."""
    _record_warning(item, text, pytest.PytestWarning, (str(item.path), (item.location[1] or 0) + 1, None))


def warn_of_run(config: pytest.Config, texts: Iterable[str]) -> None:
    """Say what of ours went wrong behind the last test."""
    for text in texts:
        message = warnings.WarningMessage(text, pytest.PytestWarning, str(config.rootpath), 1, line="")
        config.hook.pytest_warning_recorded.call_historic(
            kwargs={"warning_message": message, "nodeid": "", "when": "config", "location": None}
        )


def _category(frame: Frame) -> type[Warning]:
    """The class that a child named, if it is one that this process knows: nothing is imported for a child."""
    found = getattr(sys.modules.get(str(frame.get("module"))), str(frame.get("category")), None)
    return found if isinstance(found, type) and issubclass(found, Warning) else UserWarning


def _record_warning(item: pytest.Item, text: str, category: type[Warning], where: tuple[str, object, str | None]) -> None:
    filename, lineno, line = where
    message = warnings.WarningMessage(text, category, filename, lineno if isinstance(lineno, int) else 1, line=line)
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={"warning_message": message, "nodeid": item.nodeid, "when": "runtest", "location": None}
    )


def entry(flight: Flight) -> Entry:
    """The test's entry in the JSON report. A test that its own pytest ended before the fork (a skip, a failed set-up) has one too."""
    verdict, plan = flight.verdict, None if flight.facts is None else flight.plan
    return Entry(
        str(flight.item.nodeid),
        outcome_of(flight.reports),
        "ok" if verdict is None else verdict.kind,
        flight.spec.limits() if flight.spec else {},
        None if verdict is None else verdict.usage,
        () if verdict is None else verdict.violations,
        () if flight.facts is None else tuple(flight.facts.exit.left_over),
        changes_of(flight) if flight.run.reports else None,
        () if flight.facts is None else flight.facts.attempts,
        flight.facts.memory() if flight.facts is not None and flight.run.reports else (),
        None if flight.facts is None else flight.facts.exit.largest,
        flight.started,
        getattr(flight.item.config, "workerinput", {}).get("workerid"),
        None if flight.item.location[1] is None else flight.item.location[1] + 1,
        _output(flight.reports) if verdict is not None and verdict.violations else None,
        None if verdict is None or verdict.broken is None else verdict.broken.removeprefix("isolate: "),
        () if plan is None else plan.walls,
        () if plan is None else plan.looked,
        () if flight.facts is None else flight.facts.servers,
        links_of(flight),
    )


def _output(reports: list[pytest.TestReport]) -> str:
    """What a test said, for whoever reads of its violations elsewhere than in the terminal."""
    said = {text: name for report in reports for name, text in report.sections}  # later phases repeat what earlier ones said
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
