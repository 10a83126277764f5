"""One isolated test from pytest's side, after its fork: judge it, mend its reports, emit them, take down what is the parent's."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import NoReturn

import pytest

from pytest_isolate import _coverage, _mend, _plugins, _pytest_private, _reading, _stacks, _verdict
from pytest_isolate._flight import Flight, Parted
from pytest_isolate._kept import bring_back, changes_of, keep_artifacts, lost_files, lost_threads
from pytest_isolate._model import Usage
from pytest_isolate._remedies import said_once
from pytest_isolate._report.json_report import Entry
from pytest_isolate._reruns import last_attempt, note_last_attempt, unsaid_of
from pytest_isolate._run import Run
from pytest_isolate._sandbox.frames import Frame, GarbledError
from pytest_isolate._section import asked, section
from pytest_isolate._verdict import PHASES, Facts, Verdict
from pytest_isolate._violations import Violation

_OUTPUT_LARGEST = 1 << 16  # characters


class ChildInternalError(Exception):
    """A plugin or hook raised outside of any phase, in the child: for pytest an INTERNALERROR, as in a plain run."""


def land(flight: Flight) -> None:
    """Report a test that is over, then raise what it raised (``pytest.exit``, Ctrl-C)."""
    item = flight.item
    flight.landing = True
    _pytest_private.set_function_arguments(item, flight.arguments)
    try:
        verdict, reports = _judged(flight)
        flight.verdict = verdict
        ours = [*bring_back(flight), *lost_threads(flight), *lost_files(flight)]
        with _pytest_private.around_protocol(item):  # left already on our way out of the fork
            raised = _emit(flight, reports)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            _replay_warnings(flight)
            for text in ours:
                _warn(item, text)
    finally:
        _pytest_private.set_function_arguments(item, None)
    if raised is not None:
        _raise(raised)


def _emit(flight: Flight, reports: list[pytest.TestReport]) -> Frame | None:
    """Emit the reports, the last one after this process's own teardown. Gives what the test raised out of pytest's protocol."""
    item = flight.item
    died = flight.verdict is not None and flight.verdict.dead_in is not None
    at = next((at for at in reversed(range(len(reports))) if reports[at].when == "teardown"), len(reports))
    if at < last_attempt(reports) or (died and at < len(reports) - 1):  # the teardown of an attempt before the last comes in its place
        at = len(reports)
    reports, last = [*reports[:at], *reports[at + 1 :]], reports[at : at + 1]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    raised = _raised(flight)
    _stop_as_asked(flight)
    if raised is None:
        report = _with_parents_teardown(flight, last[-1] if last else None, [] if last else _captured(reports))
        if not last and reports:  # the test is gone: JUnit XML reads a test's properties and output from this report
            report.user_properties = list(reports[-1].user_properties)
        last = [report]
    for report in last:
        item.ihook.pytest_runtest_logreport(report=report)
    return raised


def _captured(reports: list[pytest.TestReport]) -> list[tuple[str, str]]:
    return [section for section in _sections_so_far(reports) if section[0].startswith("Captured ")]


def warn_of_plugins(run: Run, item: pytest.Item) -> None:
    """Say, before a test can hang for it, what of other plugins will not work in it; each is said once a run."""
    for text in _plugins.troubles(item, run.said_of_plugins):
        _warn(item, text)


def _judged(flight: Flight) -> tuple[Verdict, list[pytest.TestReport]]:
    if flight.bad_value is not None or flight.broken is not None or flight.facts is None or flight.spec is None:
        message = flight.bad_value or f"the sandbox could not be built: {flight.broken}"
        verdict = Verdict("sandbox_error", (), Usage(), broken=message)
        return verdict, [_error_report(flight, verdict, message)]
    reports: list[pytest.TestReport] = []
    try:
        frames = [frame for frame in flight.facts.exit.frames if frame["kind"] == "report"]
        reports.extend(_reading.report(flight.item, frame, strict=flight.spec.strict) for frame in frames)
        if flight.group is not None and flight.group.measuring is not None:
            flight.group.measuring.add([_coverage.read(frame) for frame in flight.facts.exit.frames if frame["kind"] == "coverage"])
    except GarbledError as error:
        flight.facts.unreadable = f"{_reading.UNREADABLE}{error}"
    note_last_attempt(flight.facts, reports)
    verdict = _verdict.judge(flight.spec, flight.facts)
    if verdict.broken is not None:
        message = f"the sandbox broke: {verdict.broken}"
        return replace(verdict, broken=message), [_error_report(flight, verdict, message)]
    if not verdict.violations and (over := flight.run.reporting.over_budget(str(flight.item.nodeid), verdict.usage, reports)):
        verdict = replace(verdict, kind="violation", violations=tuple(over))
    for phase in PHASES:
        if violations := [each for each in verdict.violations if each.phase == phase]:
            reports = _with_violations(flight, reports, violations, dead=verdict.dead_in == phase)
    artifacts = keep_artifacts(flight, failed=any(report.failed for report in reports))
    figures = _figures(verdict)
    for report in reports:
        report.user_properties += figures
        if report.failed:
            report.sections.append(("isolate", "\n".join(filter(None, [section(flight, verdict, report), artifacts]))))
    return verdict, reports


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
    return report


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
        failed.sections = [*(_sections_so_far(reports) if unsaid is None else _pairs(unsaid["sections"])), *failed.sections]
        if dead:
            failed.sections += _last_words(flight, phase)
        failed.user_properties = list(reports[-1].user_properties) if reports else failed.user_properties
        at = start + sum(PHASES.index(report.when or "") < PHASES.index(phase) for report in attempt)
        return [*reports[:at], failed, *reports[at:]]
    failed.duration, failed.start, failed.stop = before.duration, before.start, before.stop
    failed.user_properties = before.user_properties
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
    _introduce(item, violation.phase)
    sections = _pytest_private.report_sections(item)
    kept, sections[:] = list(sections), []  # the child's reports have them, and more
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    sections[:] = kept
    violation.__traceback__ = None  # the test's entry keeps it until the end of the run, and this would keep every frame above
    return report


def _introduce(item: pytest.Item, phase: str) -> None:
    """Have the hooks see a report of the set-up before one of a later phase: some prepare their item then (pytest-rerunfailures)."""
    if phase != "setup":
        item.ihook.pytest_runtest_makereport(item=item, call=pytest.CallInfo.from_call(lambda: None, when="setup"))


def _sections_so_far(reports: list[pytest.TestReport]) -> list[tuple[str, str]]:
    return list(reports[-1].sections) if reports else []


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
    return ("isolate: stacks", _stacks.readable(facts.exit.stacks))


def _figures(verdict: Verdict) -> list[tuple[str, object]]:
    """Properties for every report of a test, the same objects for all: pytest keeps each report until the end of the run."""
    used = [(sys.intern(f"isolate.{name}"), value) for name, value in vars(verdict.usage).items() if value is not None]
    return [*used, ("isolate.verdict", verdict.kind)]


def say_held(flight: Flight, *, only_start: bool = False) -> None:
    """Make the hook calls that were held back until it was the test's turn; or the first alone, that it has started."""
    flight.landing = not only_start
    while flight.held and (not only_start or flight.held[0][0] == "pytest_runtest_logstart"):
        name, arguments = flight.held.pop(0)
        caller = getattr(flight.item.ihook, name)
        if name == "pytest_warning_recorded":
            caller.call_historic(kwargs=arguments)
        else:
            caller(**arguments)


def part(flight: Flight) -> None:
    """Run the parent's own teardown of a test that is still in the air: the next test's set-up needs it done."""
    _pytest_private.set_function_arguments(flight.item, flight.arguments)
    try:
        with _pytest_private.around_protocol(flight.item):
            flight.parted = _tear_down(flight, flight.nextitem)
    finally:
        _pytest_private.set_function_arguments(flight.item, None)


def _tear_down(flight: Flight, nextitem: pytest.Item | None, *, only_fixtures: bool = False) -> Parted:
    item = flight.item
    sections = _pytest_private.report_sections(item)
    before = len(sections)
    hook = _pytest_private.teardown_of_fixtures(item.config) if only_fixtures else item.ihook.pytest_runtest_teardown
    call: pytest.CallInfo[None] = pytest.CallInfo.from_call(
        lambda: hook(item=item, nextitem=nextitem), when="teardown", reraise=(pytest.exit.Exception, KeyboardInterrupt)
    )
    said = [(f"Captured {kind} {phase}", text) for phase, kind, text in sections[before:]]
    return Parted(call, said)


def _parents_teardown(flight: Flight) -> Parted:
    stops, parted = Run.stops(flight.item.session), flight.parted
    if parted is None:
        return _tear_down(flight, None if stops else flight.nextitem)
    if not stops:
        return parted
    # nobody knew that it would be the last when it parted: what the next test would have needed goes now
    rest = _tear_down(flight, None, only_fixtures=True)
    return Parted(parted.call if parted.call.excinfo is not None else rest.call, [*parted.said, *rest.said])


def _with_parents_teardown(flight: Flight, report: pytest.TestReport | None, captured: list[tuple[str, str]]) -> pytest.TestReport:
    """Run the teardown hooks in this process too: they undo what the setup hooks did before the fork, and wider scopes' fixtures.

    Gives the one teardown report of the test: the child's, unless the parent's failed or had something to say. ``captured`` is what
    a test had said that is gone without one.
    """
    item = flight.item
    parted = _parents_teardown(flight)
    call, said = parted.call, parted.said
    again = _pytest_private.has_teardown_hooks(item)
    if report is None or (call.excinfo is not None and not report.failed):
        _introduce(item, "teardown")
        ours: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        if report is None:
            ours.sections = _mend.joined(captured, said, again=again) if captured else ours.sections
        else:
            ours.sections, ours.user_properties = _mend.joined(report.sections, said, again=again), report.user_properties
            ours.duration += report.duration
        return ours
    report.sections = _mend.joined(report.sections, said, again=again)
    report.duration += call.duration
    if call.excinfo is not None:  # both failed
        report.sections.append(("isolate: teardown of wider scopes also failed", str(call.excinfo.getrepr())))
    return report


def _raised(flight: Flight) -> Frame | None:
    return None if flight.facts is None else flight.facts.exit.first("raised")


def _stop_as_asked(flight: Flight) -> None:
    """A test may end the session: its ``session.shouldstop`` or ``shouldfail``, set inside, is set here."""
    frame = None if flight.facts is None else flight.facts.exit.first("stop")
    for name in ("shouldstop", "shouldfail"):
        if frame is not None and frame.get(name):
            setattr(flight.item.session, name, str(frame[name]))


def _raise(frame: Frame) -> NoReturn:
    message, code = str(frame.get("message")), frame.get("returncode")
    if frame.get("what") == "exit":
        raise pytest.exit.Exception(message, code if isinstance(code, int) else None)
    if frame.get("what") == "interrupt":
        stack = frame.get("stack") or [("?", 1, "interrupted")]
        assert isinstance(stack, list)
        _mend.interrupt_at(_reading.places(stack), KeyboardInterrupt(*([message] if message else [])))
    raise ChildInternalError(message)


def _replay_warnings(flight: Flight) -> None:
    """Say the child's warnings here; the first ones are those from before the fork, which the parent has said itself."""
    item, frames = flight.item, [] if flight.facts is None else flight.facts.exit.frames
    for frame in [frame for frame in frames if frame["kind"] == "warning"][flight.parent_warnings :]:
        _record_warning(item, str(frame.get("message")), _category(frame), str(frame.get("filename")), frame.get("lineno"))
    if flight.facts is not None and flight.spec is not None and flight.facts.exit.left_over and flight.spec.leaks == "warn":
        text = _verdict.leak_sentence(flight.spec, flight.facts.exit)
        _warn(item, text)


def _warn(item: pytest.Item, text: str) -> None:
    """A warning of ours: recorded, never raised, so that ``-W error`` makes no failure of it."""
    _record_warning(item, text, pytest.PytestWarning, str(item.path), (item.location[1] or 0) + 1)


def _category(frame: Frame) -> type[Warning]:
    """The class that a child named, if it is one that this process knows: nothing is imported for a child."""
    found = getattr(sys.modules.get(str(frame.get("module"))), str(frame.get("category")), None)
    return found if isinstance(found, type) and issubclass(found, Warning) else UserWarning


def _record_warning(item: pytest.Item, text: str, category: type[Warning], filename: str, lineno: object) -> None:
    shown = None if _reading.is_source(filename) else ""  # with None Python reads the line from the file, whatever a child said it is
    message = warnings.WarningMessage(text, category, filename, lineno if isinstance(lineno, int) else 1, line=shown)
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={"warning_message": message, "nodeid": item.nodeid, "when": "runtest", "location": None}
    )


def entry(flight: Flight) -> Entry:
    """The test's entry in the JSON report. A test that its own pytest ended before the fork (a skip, a failed set-up) has one too."""
    verdict = flight.verdict
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
