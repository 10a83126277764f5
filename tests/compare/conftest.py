"""Fixtures and the count by group for the comparisons; ``comparing.py`` does the work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from comparing import Case, Comparison, compared

collect_ignore = ["projects"]


@pytest.fixture
def comparison(pytester: pytest.Pytester) -> Comparison:
    """To run one project in several ways."""
    return Comparison(pytester)


@pytest.fixture
def same(request: pytest.FixtureRequest, comparison: Comparison) -> Callable[[Case], None]:
    """Assert that a case is the same plain and isolated."""
    return lambda case: comparison.same(case, request.path.stem.removeprefix("test_"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The count by group."""
    reports = [each for each in terminalreporter.getreports("passed") if "tests/compare/test_" in str(each.nodeid)]
    groups = Counter(re.split(r"test_|\.py", str(each.nodeid))[1] for each in reports)
    for group, count in groups.items():
        terminalreporter.write_line(f"compared, plain and isolated: {group}: {count} comparisons of {compared[group]} test cases")
