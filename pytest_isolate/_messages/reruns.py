"""Of a test that a plugin runs several times (pytest-rerunfailures): which reports are of the last
attempt, and whether there is one more.

The plugin runs its attempts in one protocol, in the child. It may also keep the reports of an
attempt until it is over; then the child says by itself where it is. An attempt that pytest failed,
for it was killed or overstepped something, the plugin has not seen: then another child makes the
next.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._verdict.evidence import Evidence

_RERUN = "rerun"  # the outcome that pytest-rerunfailures gives an attempt that is not the last


def note_last_attempt(evidence: Evidence, reports: list[pytest.TestReport]) -> None:
    """How far the test came; a plugin may have run it several times."""
    attempt = reports[last_attempt(reports) :]
    evidence.reported = tuple(report.when or "" for report in attempt)
    evidence.again = (
        bool(attempt)
        and attempt[-1].when == "teardown"
        and any(report.outcome == _RERUN for report in attempt)
    )
    if (unsaid := unsaid_of(evidence.process.frames)) is not None:
        evidence.unsaid = str(unsaid["when"])


def unsaid_of(frames: list[Frame]) -> Frame | None:
    """Where a test is by its own word, and what it had said before, if a plugin kept the reports of
    that attempt.
    """
    last = next((frame for frame in reversed(frames) if frame["kind"] in {"report", "phase"}), None)
    return last if last is not None and last["kind"] == "phase" else None


def last_attempt(reports: list[pytest.TestReport]) -> int:
    """Where the reports of the last attempt begin."""
    return next((at for at in reversed(range(len(reports))) if reports[at].when == "setup"), 0)


def attempts_of(reports: list[pytest.TestReport]) -> list[list[pytest.TestReport]]:
    """Return the reports of each attempt; of a test that has none, one without."""
    attempts: list[list[pytest.TestReport]] = []
    for report in reports:
        if report.when == "setup" or not attempts:
            attempts.append([])
        attempts[-1].append(report)
    return attempts or [[]]


def begin_again(
    item: pytest.Item, reports: list[pytest.TestReport], attempts: int, why: str
) -> int:
    """How many attempts there were, if the plugin would make one more behind the last one, which
    pytest failed, ``why``; else 0.

    ``attempts``: those before this process of the test.
    """
    plugin: Any = sys.modules.get("pytest_rerunfailures")
    if plugin is None or not item.config.pluginmanager.is_registered(plugin):
        return 0
    attempts += 1 + sum(report.outcome == _RERUN for report in reports)
    return (
        0
        if attempts > (plugin.get_reruns_count(item) or 0) or not _is_wanted(item, why)
        else attempts
    )


def delay_of(item: pytest.Item, attempts: int) -> float:
    """Seconds that the plugin would let go by behind so many attempts."""
    plugin: Any = sys.modules["pytest_rerunfailures"]
    growth = getattr(plugin, "get_reruns_delay_backoff_factor", None)  # older versions have none
    return float(
        (plugin.get_reruns_delay(item) or 0)
        * (1 if growth is None else growth(item)) ** (attempts - 1)
    )


def count_attempts(item: pytest.Item, attempts: int) -> None:
    """In the child: have the plugin know.

    It asks a database that has something to tell in workers of xdist, of those that died.
    """
    database: Any = item.config.failures_db  # type: ignore[attr-defined]
    database.get_test_failures = lambda _: attempts


def _is_wanted(item: pytest.Item, why: str) -> bool:
    """By its options and marker: patterns of what to run again, and of what not, and a
    condition.
    """
    marker = item.get_closest_marker("flaky")
    said = {} if marker is None else marker.kwargs
    only, never = (
        _patterns(said.get(name, item.config.getoption(name, None)))
        for name in ("only_rerun", "rerun_except")
    )
    if only and not any(re.search(pattern, why) for pattern in only):
        return False
    return said.get("condition", True) is not False and not any(
        re.search(pattern, why) for pattern in never
    )


def _patterns(value: object) -> list[str]:
    given = value if isinstance(value, (list, tuple)) else [value]
    return [
        each if isinstance(each, str) else getattr(each, "__name__", str(each))
        for each in given
        if each
    ]
