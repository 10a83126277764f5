"""Fixtures wider than a test: pytest sets them up and tears them down, once, for tests that run
elsewhere.

A test's child runs the whole of its protocol and finds them done, as the second of two tests does.
When they are to be set up is plain pytest's to say: behind everybody's set-up hooks and marks to
skip. Where there are none (``is_foreseeable``) pytest sets them up at once; where there are, the
child is asked: it comes to the first that is not there, says so and ends, for it was a rehearsal,
and the next child finds them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from pytest_isolate._messages import mend
from pytest_isolate._messages.played import is_around_teardown
from pytest_isolate._pytest import capture, hook_calls, logs, marks, setup_output, setup_state

_PASSING = (pytest.exit.Exception, KeyboardInterrupt)


@dataclass(frozen=True)
class Part:
    """Pytest's own part of a phase: how it went, and what was captured of it."""

    call: pytest.CallInfo[None]
    said: list[tuple[str, str]]
    records: Sequence[logging.LogRecord] = ()


def is_foreseeable(item: pytest.Item) -> bool:
    """Whether nothing but the fixtures themselves decides if they are set up."""
    if marks.is_not_run(item):
        return False
    modules = (hook.function.__module__ for hook in item.ihook.pytest_runtest_setup.get_hookimpls())
    return all(name.partition(".")[0] in {"_pytest", "pytest_isolate"} for name in modules)


def set_up(
    item: pytest.Item,
    fresh: frozenset[str],
    projects: Callable[[object], bool],
    asked: str | None = None,
) -> pytest.CallInfo[None]:
    """Set up what is not there, but what is to be ``fresh`` for each test.

    A failure is kept for the test to meet; an ``Exit`` passes.

    ``asked``: one more, for which the test has asked while it ran.

    ``projects`` tells which plugins are the project's own: a wider fixture may stand on what their
    hooks do around a test and in its set-up, and what that changed their hooks of the teardown
    undo. They do it for the test itself once more, inside, so what they print and log here is not
    heard, and what is wrong with them is said there.
    """
    set_up = hook_calls.phase_of(item, "setup", projects)
    undo = hook_calls.teardown_by(
        item, lambda plugin: projects(plugin) and not is_around_teardown(plugin)
    )
    with hook_calls.around_protocol(item, projects):
        with setup_output.only_shared(item, fresh, asked):
            call: pytest.CallInfo[None] = pytest.CallInfo.from_call(
                lambda: set_up(item=item), when="setup", reraise=_PASSING
            )
        with capture.quietly(), hook_calls.without_stops(item.session):
            pytest.CallInfo.from_call(
                lambda: undo(item=item, nextitem=item), when="teardown", reraise=_PASSING
            )
    return call


def set_current(item: pytest.Item, when: str | None) -> None:
    """Set what pytest tells of itself in the environment."""
    if when is None:
        os.environ.pop("PYTEST_CURRENT_TEST", None)
    else:
        os.environ["PYTEST_CURRENT_TEST"] = f"{item.nodeid} ({when})".replace("\0", "(null)")


def tear_down(
    item: pytest.Item,
    nextitem: pytest.Item | None,
    projects: Callable[[object], bool],
    around: contextlib.ExitStack,
) -> Part:
    """Tear down what the next test does not need.

    At the end of ``around`` come the warnings of that.
    """
    sections = capture.report_sections(item)
    before = len(sections)
    if setup_state.leaves_nothing(item, nextitem):
        return Part(pytest.CallInfo.from_call(lambda: None, when="teardown"), [])
    hook = hook_calls.phase_of(item, "teardown", is_around_teardown)
    around.enter_context(hook_calls.around_protocol(item, projects))
    call: pytest.CallInfo[None] = pytest.CallInfo.from_call(
        lambda: hook(item=item, nextitem=nextitem), when="teardown", reraise=_PASSING
    )
    if call.excinfo is not None and (theirs := mend.innermost_of_ours(call.excinfo.tb)) is not None:
        call.excinfo = pytest.ExceptionInfo.from_exception(
            call.excinfo.value.with_traceback(theirs)
        )
    said = [(f"Captured {kind} {phase}", text) for phase, kind, text in sections[before:]]
    return Part(call, said, logs.records_of(item, "teardown"))
