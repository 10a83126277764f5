"""Outcomes: what a test comes to, what ends a run, and what chooses the tests of a run."""

from __future__ import annotations

import pytest
from comparing import case

HAS_SUBTESTS = pytest.version_tuple >= (9, 0)

TABLE = [
    case("all", "every outcome, message and summary line is plain pytest's", "outcomes", "-v -rA",
         says=r"\d+ failed, \d+ passed, .*errors"),
    case("runxfail", "--runxfail runs them as if unmarked", "outcomes", "--runxfail -k xfail", says="FAILED .*test_xfail"),
    case("strict", "xfail_strict of the ini file counts inside", "outcomes", "-o xfail_strict=true -k xpass", says="2 failed"),
    case("subtests", "every failing part is a failure of its own", "subtests", "-v -rA test_subtests.py",
         says=r"SUBFAILED.*i=1" if HAS_SUBTESTS else "fixture 'subtests' not found"),
    case("subtest-unit", "every failing unittest.subTest is a failure (without capture: pytest captures its own progress line of a part)",
         "subtests", "-v -s test_subtest_unit.py", says="SUBFAILED.*number=1" if HAS_SUBTESTS else "test_parts FAILED"),
    case("subtests-x", "-x stops after the first failing part as plain does", "subtests", "-x test_subtests.py",
         says="i=1" if HAS_SUBTESTS else "stopping after 1"),
    case("exit", "pytest.exit with a code ends the run with it", "ends", "-v -k 'before or exit_code or after'",
         says="Exit: enough", status=7),
    case("exit-no-code", "pytest.exit without one is an interruption", "ends", "-v -k 'before or exit_no or after'",
         says="Exit: enough", status=2),
    case("exit-fixture", "pytest.exit in a fixture", "ends", "-v -k 'before or exit_fixture or after'", says="Exit: in set-up", status=8),
    case("exit-wide", "pytest.exit in a module fixture", "ends", "-v -k 'before or exit_wide or after'", says="Exit: in wide", status=9),
    case("exit-late", "pytest.exit in a teardown", "ends", "-v -k 'before or exit_late or after'", says="Exit: in teardown", status=10),
    case("interrupt", "KeyboardInterrupt in a test ends the run", "ends",
         "-v -k 'before or (test_interrupt and not fixture and not late) or after'",
         says="KeyboardInterrupt", status=2),
    case("interrupt-fixture", "KeyboardInterrupt in a fixture", "ends", "-k 'before or interrupt_fixture'",
         says="KeyboardInterrupt", status=2),
    case("interrupt-late", "KeyboardInterrupt in a teardown", "ends", "-k 'before or interrupt_late'", says="KeyboardInterrupt", status=2),
    case("should-stop", "a test's session.shouldstop ends the run", "ends", "-v -k 'should_stop or after'",
         says="the test said so", status=2),
    case("should-fail", "a test's session.shouldfail ends the run", "ends", "-v -k 'should_fail or after'",
         says="the test said so", status=1),
    case("x", "-x stops at the same test", "stops", "-v -x", says="stopping after 1 failures"),
    case("x-error", "-x stops at an error in teardown", "stops", "-v -x -k 'late or good'", says="stopping after 1 failures"),
    case("maxfail", "--maxfail counts errors and failures", "stops", "-v --maxfail=3", says="stopping after 3 failures"),
    case("sw", "--sw stops, and starts where it stopped", "stops", "-v --sw", first="--sw", says="stepwise: .*skipping 1", status=2),
    case("sw-skip", "--sw-skip passes over one", "stops", "-v --sw-skip", first="--sw", says="stepwise", status=2),
    case("lf", "--lf runs what failed", "stops", "-v --lf", first="", says="run-last-failure: rerun previous 5 failures"),
    case("ff", "--ff runs what failed first", "stops", "-v --ff", first="", says="failures first"),
    case("nf", "--nf runs the newest file first", "stops", "-v --nf", first="", says="test_h_bad"),
    case("lf-none", "--lf --lfnf=none with nothing failed", "stops", "--lf --lfnf=none", first="-k good",
         says="no previously failed", status=5),
    case("cache-show", "--cache-show shows what failed", "stops", "--cache-show", first="", says="lastfailed", status=0),
    case("durations", "--durations has the same phases", "marks", "-vv --durations=0", says="TIMEs call +test_marks.py::test_slow"),
    case("durations-min", "--durations-min hides as many", "marks", "--durations=0 --durations-min=30",
         says=r"18 durations < TIMEs hidden"),
    case("setup-show", "--setup-show draws the same set-ups", "marks", "--setup-show -k 'TestClass'", says="SETUP    S wide", status=0),
    case("setup-show-all", "--setup-show around function fixtures", "marks", "--setup-show", says="SETUP    M middle", late=True),
    case("setup-only", "--setup-only", "marks", "--setup-only", says="SETUP    S wide", status=0),
    case("setup-plan", "--setup-plan", "marks", "--setup-plan", says="SETUP    S wide", status=0),
    case("co", "--collect-only", "marks", "--collect-only", says="<Function test_slow", status=0),
    case("co-q", "--co -q", "marks", "--co -q", says="TestClass::test_plain", status=0),
    case("k", "-k chooses", "marks", "-v -k other", says="4 deselected|5 deselected|deselected"),
    case("m", "-m chooses", "marks", "-v -m slow", says="3 passed, 3 deselected", status=0),
    case("deselect", "--deselect", "marks", "-v --deselect=test_marks.py::test_other", says="2 deselected", status=0),
    case("nothing", "nothing chosen is exit status 5", "marks", "-k nothing_at_all", says="6 deselected", status=5),
    case("node", "a test chosen by its id", "marks", "-v test_marks.py::TestClass::test_plain", says="1 passed", status=0),
    case("no-such", "a test that is not there is a usage error", "marks", "test_marks.py::test_no", says="not found", status=4),
    case("importlib", "--import-mode=importlib", "folders", "-v -rA --import-mode=importlib", says="3 failed, 3 passed"),
    case("append", "--import-mode=append", "folders", "-v --import-mode=append", says="3 failed, 3 passed"),
    case("folders", "conftest files of sub-folders", "folders", "-v -rA", says=r"\['top', 'one', 'two'\]"),
    case("rootdir", "rootdir is not the working directory", "folders", "-v -rA --rootdir=.. ../one", cwd="elsewhere",
         says="'two'.*elsewhere"),
    case("cwd", "run from a sub-folder", "folders", "-v -rA", cwd="one/two", says="1 failed, 1 passed"),
    case("collect-error", "errors of collection", "collecting", "-v", says="No module named 'no_such_module'", status=2),
    case("collect-continue", "--continue-on-collection-errors", "collecting", "-v -rA --continue-on-collection-errors", says="1 passed"),
    case("long", "node ids of thousands of characters", "long", "-v -rA", says="x{5000}"),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_outcomes_are_those_of_a_plain_run(same, case):
    """Exit status, JUnit file and terminal of the row's project do not differ."""
    same(case)
