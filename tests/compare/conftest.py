"""Fixtures and the count by group for the comparisons; ``comparing.py`` does the work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from comparing import Case, Comparison

collect_ignore = ["projects"]


@pytest.fixture
def comparison(pytester: pytest.Pytester) -> Comparison:
    """To run one project in several ways."""
    return Comparison(pytester)


@pytest.fixture
def same(
    comparison: Comparison, record_property: Callable[[str, object], None]
) -> Callable[[Case], None]:
    """Assert that a case is the same plain and isolated.

    The count is a property of the test, so it also comes from xdist's workers.
    """
    return lambda case: record_property("compared", comparison.same(case))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The count by group."""
    reports = [
        each
        for each in terminalreporter.getreports("passed")
        if "tests/compare/test_" in str(each.nodeid)
    ]
    comparisons, cases = Counter[str](), Counter[str]()
    for report in reports:
        for compared in (value for name, value in report.user_properties if name == "compared"):
            group = re.split(r"test_|\.py", report.nodeid)[1]
            comparisons[group] += 1
            cases[group] += compared
    for group, count in comparisons.items():
        terminalreporter.write_line(
            f"compared, plain and isolated: {group}: {count} comparisons of {cases[group]} test"
            " cases"
        )
