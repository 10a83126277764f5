"""Kinds of test: functions, classes, unittest, doctests, and items that a conftest makes."""

from __future__ import annotations

import pytest
from comparing import case

pytestmark = pytest.mark.old

TABLE = [
    case("kinds", "functions, methods and their set-ups", "kinds", "-v -rA",
         says=("wrapped after|wrapped before", "comparison of ours")),
    case("kinds-q", "the same, quiet", "kinds", "-q", says="failed"),
    case("unit", "unittest: classes, modules, clean-ups, coroutines", "unit", "-v -rA",
         says=("class late", "asyncSetUp"),
         files=("events.log",)),
    case("unit-x", "unittest with -x", "unit", "-x", says="stopping after 1",
         files=("events.log",)),
    case("unit-short", "unittest with short tracebacks", "unit", "--tb=short -rA", says="FAILED",
         files=("events.log",)),
    case("doctests", "doctests of modules and texts", "doctests", "-v -rA --doctest-modules",
         says=("module.Klass.method", "Expected:")),
    case("doctests-go", "--doctest-continue-on-failure", "doctests",
         "--doctest-modules --doctest-continue-on-failure", says="Expected:"),
    case("doctests-udiff", "--doctest-report=udiff", "doctests",
         "--doctest-modules --doctest-report=udiff", says="@@ -1"),
    case("doctests-x", "doctests with -x", "doctests", "--doctest-modules -x",
         says="stopping after 1"),
    case("yaml", "items of a conftest's own collector", "yaml",
         "-v -rA -k 'not late and not broken'",
         says=("usecase execution failed", "item torn down")),
    case("yaml-short", "their failures outside of their own words", "yaml", "-v -rA --tb=short",
         says="failed on teardown|1 error"),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_kinds_of_test_come_to_the_same(same, case):
    """Terminal, JUnit file and the events that the parent wrote down do not differ."""
    same(case)
