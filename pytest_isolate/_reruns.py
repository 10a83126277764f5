"""Of a test that a plugin runs several times in one protocol (pytest-rerunfailures): which reports are those of the last attempt.

The plugin may also keep the reports of an attempt until it is over; then the child says by itself where it is.
"""

from __future__ import annotations

import pytest

from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._verdict import Facts

_RERUN = "rerun"  # the outcome that pytest-rerunfailures gives an attempt that is not the last


def note_last_attempt(facts: Facts, reports: list[pytest.TestReport]) -> None:
    """How far the test came; a plugin may have run it several times."""
    attempt = reports[last_attempt(reports) :]
    facts.reported = tuple(report.when or "" for report in attempt)
    facts.again = bool(attempt) and attempt[-1].when == "teardown" and any(report.outcome == _RERUN for report in attempt)
    if (unsaid := unsaid_of(facts.exit.frames)) is not None:
        facts.unsaid = str(unsaid["when"])


def unsaid_of(frames: list[Frame]) -> Frame | None:
    """Where a test is by its own word, and what it had said before, if a plugin kept the reports of that attempt."""
    last = next((frame for frame in reversed(frames) if frame["kind"] in {"report", "phase"}), None)
    return last if last is not None and last["kind"] == "phase" else None


def last_attempt(reports: list[pytest.TestReport]) -> int:
    """Where the reports of the last attempt begin."""
    return next((at for at in reversed(range(len(reports))) if reports[at].when == "setup"), 0)
