"""Fixtures: pytest's own, wider scopes at plain pytest's moments, and what a copy of a shared
fixture can hold.
"""

from __future__ import annotations

import pytest
from comparing import case

pytestmark = pytest.mark.old

TABLE = [
    case("builtin", "pytest's own fixtures do what they do", "builtin", "-v -rA",
         says=("teed|test_capteesys PASSED", "failed with assert False")),
    case("builtin-s", "the same with -s", "builtin", "-s -k 'cap or rep_call'",
         says="failed with assert False", late=True),
    case("properties", "record_property in each phase", "builtin", "-k 'record or user'",
         says="property|failed"),
    case("junit-logging", "captured output in the JUnit file", "builtin", "-o junit_logging=all",
         says="failed"),
    case("retention", "tmp_path_retention_policy", "builtin",
         "-o tmp_path_retention_policy=none -k tmp", says="failed"),
    case("basetemp", "--basetemp", "builtin", "--basetemp=base -k tmp", says="failed"),
    case("scopes",
         "wider scopes, parametrized, are set up and torn down at the same moments and as often",
         "scopes", "-v",
         says="test_a", files=("events.log",)),
    case("scopes-x", "the same when the run stops early", "scopes", "-x -v",
         says="stopping after 1", files=("events.log",)),
    case("scopes-k", "the same for a selection", "scopes", "-v -k 'test_c or test_l'",
         says="test_l", files=("events.log",)),
    case("scopes-random", "the same from the last to the first file", "scopes",
         "-v test_two.py test_one.py", says="test_l",
         files=("events.log",)),
    case("properties-suite", "record_testsuite_property and record_xml_attribute", "properties",
         "-o junit_family=xunit1",
         says="1 failed, 3 passed", in_flight="a test's properties of the suite come when it is its turn"),
    case("cache", "what a test writes to pytest's cache the next test and the next run find",
         "cached", "", first="",
         says=("^count 1$", "^sees 2$"),
         files=(".pytest_cache/v/ours/count", ".pytest_cache/d/made/file"),
         in_flight="two tests in flight do not see what the other one writes"),
    case("examples", "Hypothesis's example database is kept", "examples",
         "-q --no-summary --tb=no -p _hypothesis_pytestplugin",
         says="examples are kept: True|failed", files=("examples.txt",)),
    case("shared",
         "sockets, servers, processes, loops, databases, files and locks of shared fixtures work in copies", "shared", "-v",
         says="21 passed|passed", status=0, in_flight="what a server thread of pytest prints meanwhile is captured for nobody"),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_fixtures_are_those_of_a_plain_run(same, case):
    """Terminal, JUnit file and the events that the parent wrote down do not differ."""
    same(case)


def test_what_one_test_does_to_a_shared_fixture_the_next_does_not_see(comparison):
    """The one wanted difference: plain, a mutated session fixture fails the next tests; isolated,
    all see it untouched.
    """
    row = case("", "", "copied", "-v", says="").values[0]
    plain, isolated = (
        comparison.run(row, "-p", "no:isolate"),
        comparison.run(row, "-p", "isolate", "--isolate-all"),
    )
    assert "=== 3 failed, 1 passed, 1 error in TIMEs ===" in plain.lines
    assert "=== 4 passed in TIMEs ===" in isolated.lines
