"""A test was judged: tell everybody's hooks of its reports, in pytest's order, and take down what
pytest has set up for it.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_isolate._messages import allure, carried, mend, reading
from pytest_isolate._messages.reruns import attempts_of, begin_again, last_attempt
from pytest_isolate._pytest import fixtures, logs, setup_state
from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._session.run import Run
from pytest_isolate._test import shared
from pytest_isolate._test.artifacts import bring_back, lost_files, lost_threads
from pytest_isolate._test.judge import made_here, sections_so_far
from pytest_isolate._test.states import Finished, IsolatedTest, Judged, reader_of
from pytest_isolate._test.warn import replay_warnings, warn


class ChildInternalError(Exception):
    """A plugin or hook raised outside of any phase, in the child: for pytest an INTERNALERROR, as
    in a plain run.
    """


def say_start(test: IsolatedTest) -> None:
    """Tell, once, that the test has started: with jobs when it is its turn."""
    if not test.has_begun:
        test.has_begun = True
        test.item.ihook.pytest_runtest_logstart(
            nodeid=test.item.nodeid, location=test.item.location
        )


def report(judged: Judged) -> bool:
    """Report a test that is over, then raise what it raised (``pytest.exit``, Ctrl-C).

    Whether it is to run again.
    """
    test, ended = judged.test, judged.ended
    item, ours = test.item, list[str]()
    try:
        if isinstance(ended, Finished):
            ours = [*bring_back(ended), *lost_threads(ended), *lost_files(ended)]
        again = _is_run_again(judged)
        results = _begin_result(judged)
        with contextlib.ExitStack() as around:
            raised = _emit(judged, results, around, again=again)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            if isinstance(ended, Finished):
                replay_warnings(ended)
        for text in (*test.troubles, *ours):
            warn(item, text)
    finally:
        setup_state.forget_request(item)
    if raised is not None:
        _raise(judged, raised)
    return again


def _is_run_again(judged: Judged) -> bool:
    """Whether an attempt that was failed here, not by the child's own report, has another behind
    it; then it is marked as such.
    """
    failed, test = [report for report in judged.reports if report.failed], judged.test
    if not judged.verdict.violations or not any(
        id(report) in judged.behind.calls for report in failed
    ):
        return False
    why = "\n".join(f"{type(each).__name__}: {each}" for each in judged.verdict.violations)
    attempts = begin_again(test.item, judged.reports, test.attempts, why)
    if not attempts:
        return False
    test.attempts = attempts
    for report in failed:
        report.outcome = "rerun"  # type: ignore[assignment] # the plugin's word
    return True


class _Results:
    """allure-pytest's result of a test, in a run that writes them."""

    def __init__(
        self, judged: Judged, told: list[Frame], attempts: list[list[pytest.TestReport]]
    ) -> None:
        self._result = allure.begin(
            judged.test.item, told, attempts, partial(_call, judged), judged.test.begun
        )
        # Of attempts that are not the result's
        self._earlier = {id(report) for attempt in attempts[:-1] for report in attempt}

    def take(self, report: pytest.TestReport, judged: Judged) -> None:
        """Take in a report that is about to be told."""
        if self._result is not None and id(report) not in self._earlier:
            self._result.take(
                report, _call(judged, report), made_here=id(report) in judged.behind.calls
            )


def _emit(
    judged: Judged, results: _Results, around: contextlib.ExitStack, *, again: bool = False
) -> Frame | None:
    """Emit the reports, the last one after this process's own teardown.

    Gives what the test raised out of pytest's protocol.
    """
    reports = judged.reports
    if again:
        for report in reports:
            _say(judged, results, report)
        return None
    died = judged.verdict.dead_in is not None
    at = next(
        (at for at in reversed(range(len(reports))) if reports[at].when == "teardown"), len(reports)
    )
    # The teardown of an attempt before the last comes in its place
    if at < last_attempt(reports) or (died and at < len(reports) - 1):
        at = len(reports)
    reports, last = [*reports[:at], *reports[at + 1 :]], reports[at : at + 1]
    for report in reports:
        _say(judged, results, report)
    raised = judged.ended.first("raised")
    _stop_as_asked(judged, early=True)
    if raised is None:
        report = _with_shared_teardown(
            judged, around, last[-1] if last else None, [] if last else _captured(reports)
        )
        # The test is gone: JUnit XML reads a test's properties and output from this report
        if not last and reports:
            report.user_properties = list(reports[-1].user_properties)
        last = [report]
    _stop_as_asked(judged)
    for report in last:
        _say(judged, results, report)
    return raised


def _say(judged: Judged, results: _Results, report: pytest.TestReport) -> None:
    """Tell everybody's hooks of a report, in pytest's order: those who remember across tests see it
    made, and what was raised.
    """
    item, played = judged.test.item, judged.test.run.played
    call, troubles = None, []
    is_ours = id(report) in judged.behind.calls
    is_played = played.is_wanted(item)
    shared.set_current(item, None if report.when == "teardown" else report.when)
    carried.complete(item, report)
    results.take(report, judged)
    if is_played:
        call = _call(judged, report)
        with fixtures.given_arguments(item, _tmp_path(judged)):
            troubles.append(
                played.play(
                    item,
                    report,
                    call,
                    judged.behind.unsaid.get(id(report)) or (),
                    made_here=is_ours,
                )
            )
    item.ihook.pytest_runtest_logreport(report=report)
    if call is not None:
        with fixtures.given_arguments(item, _tmp_path(judged)):
            troubles.append(played.interact(item, report, call))
    shared.set_current(item, None)
    for text in filter(None, troubles):
        warn(item, text)


def _begin_result(judged: Judged) -> _Results:
    """Begin allure-pytest's result, in a run that writes them."""
    evidence, attempts = judged.evidence, attempts_of(judged.reports)
    # The process died in one of which it had reported nothing
    if evidence is not None and (evidence.unsaid is not None or evidence.again):
        attempts[-1] = [report for report in attempts[-1] if id(report) not in judged.behind.calls]
        attempts.append([])
    told = (
        [] if evidence is None or judged.is_strict else allure.results_told(evidence.process.frames)
    )
    return _Results(judged, told, attempts)


def _call(judged: Judged, report: pytest.TestReport) -> pytest.CallInfo[None]:
    """Return the call behind a report."""
    behind, run = judged.behind, judged.test.run
    if (call := behind.calls.get(id(report))) is not None:
        return call
    return run.played.call(
        report,
        behind.raised.get(id(report)),
        reader_of(run, judged.ended.spec),
        strict=judged.is_strict,
    )


def _tmp_path(judged: Judged) -> dict[str, object]:
    """Return what a hook may want of a test's fixtures that a child can tell."""
    frame = judged.ended.first("tmp_path")
    return {} if frame is None else {"tmp_path": Path(str(frame["path"]))}


def _captured(reports: list[pytest.TestReport]) -> list[tuple[str, str]]:
    return [section for section in sections_so_far(reports) if section[0].startswith("Captured ")]


def _tear_down(judged: Judged, around: contextlib.ExitStack) -> shared.Part:
    """Take down what the test shared and no further one needs.

    The loop may have gone on from it already, but not if the run stops.
    """
    test = judged.test
    stops = Run.stops(test.item.session)
    if test.is_left and not stops:
        return shared.Part(pytest.CallInfo.from_call(lambda: None, when="teardown"), [])
    end = judged.ended.first("end")
    if end is not None and end.get("live"):
        logs.continue_live_logs(test.item.config, "teardown")
    if not setup_state.leaves_nothing(test.item, None if stops else test.nextitem):
        test.run.change()
    return shared.tear_down(
        test.item, None if stops else test.nextitem, test.run.played.is_around_shared, around
    )


def _with_shared_teardown(
    judged: Judged,
    around: contextlib.ExitStack,
    report: pytest.TestReport | None,
    captured: list[tuple[str, str]],
) -> pytest.TestReport:
    """Run pytest's part of the teardown, that of wider fixtures, and give the one teardown report
    of the test.

    That is the child's, unless pytest's part failed. ``captured`` is what a test had said that is
    gone without one.
    """
    part = _tear_down(judged, around)
    call, said = part.call, part.said
    if report is None or (call.excinfo is not None and not report.failed):
        ours = made_here(judged.test, judged.behind, call)
        if report is None:
            ours.sections = mend.joined(captured, said) if captured else ours.sections
        else:
            ours.sections, ours.user_properties = (
                mend.joined(report.sections, said),
                report.user_properties,
            )
            ours.duration += report.duration
            carried.pass_on(report, ours)
        report = ours
    else:
        report.sections = mend.joined(report.sections, said)
        report.duration += call.duration
        if report.stop is not None:
            report.stop += call.duration
        if call.excinfo is not None:  # both failed
            report.sections.append(
                ("isolate: teardown of wider scopes also failed", str(call.excinfo.getrepr()))
            )
    carried.complete(judged.test.item, report, part.records)
    return report


def _stop_as_asked(judged: Judged, *, early: bool = False) -> None:
    """End the session if the test wants it: its ``session.shouldstop`` or ``shouldfail``, set
    inside, is set here.

    What was set ``early``, before the test's teardown, has wider fixtures torn down with that.
    """
    frame = judged.ended.first("stop")
    if early and frame is not None and not frame.get("early"):
        return
    for name in ("shouldstop", "shouldfail"):
        if frame is not None and frame.get(name):
            setattr(judged.test.item.session, name, str(frame[name]))


def _raise(judged: Judged, frame: Frame) -> NoReturn:
    message, code = str(frame.get("message")), frame.get("returncode")
    if frame.get("what") == "exit":
        raise pytest.exit.Exception(message, code if isinstance(code, int) else None)
    if frame.get("what") == "interrupt":
        stack = frame.get("stack") or [("?", 1, "interrupted")]
        assert isinstance(stack, list)
        reader = reader_of(judged.test.run, judged.ended.spec)
        mend.raise_at(
            reading.places(stack, reader), KeyboardInterrupt(*([message] if message else []))
        )
    raise ChildInternalError(message)
