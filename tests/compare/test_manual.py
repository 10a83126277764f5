"""Recipes of pytest's manual ("Examples" and "How-to guides") that have hooks: what they promise
plain they keep isolated.
"""

from __future__ import annotations

import pytest
from comparing import case

pytestmark = pytest.mark.old

TABLE = [
    case("steps",
         "Incremental testing: behind a failed step the rest of its class is expected to fail, whatever failed it", "manual",
         "-rx -v steps",
         says=(r"XFAIL .*TestUserHandling::test_deletion - .*previous test failed \(test_modification\)",
                               r"TestEach::test_deletion\[two\] PASSED", "TestSharedSetup::test_deletion XFAIL")),
    case("failures",
         "Post-process test reports: a file of failures beside the tests, with a fixture of the test", "manual", "processed",
         says=r"test_fail1 \(.*test_fail10\)", files=("failures",)),
    case("results", "Test results in the teardown of the test's own fixtures and of shared ones",
         "manual",
         "-rA -o junit_logging=all results",
         says=("setting up a test failed .*test_setup_fails",
               "executing test failed or skipped .*test_call_fails",
               "^test_passes {'setup': 'passed', 'call': 'passed'}$")),
    case("env",
         "Skips in pytest_runtest_setup by a marker and the command line: nothing shared is set up for them", "manual",
         "selected -rs -v -E stage2", says="test requires env in .'stage1'.", files=("selected/events.log",)),
    case("env-same", "the same with the wanted environment, and all other options", "manual",
         "selected -rA -v --runslow --cmdopt=type2 -E stage1",
         says=("second", "glob args=.'function',. kwargs={'x': 3}", "Mark.name='my_marker'",
               "test_id=1501"),
         files=("selected/events.log",)),
    case("called", "A session fixture that looks at all collected tests", "manual", "-rA called",
         says="callme called!"),
    case("stash",
         "Data that set-up hooks store on items, hooks of a conftest's own, wrappers of the call",
         "manual", "-rA stash",
         says=("my hook of test_one", "before no", "SKIPPED .*no service: refused")),
    case("directory", "A collector of directories", "manual", "-v directory",
         says="1 failed, 1 passed"),
    case("packages", "Fixtures of a package's conftest", "manual", "-rA packages",
         says=("made", "fixture 'db' not found")),
    case("generated",
         "Parameters by pytest_generate_tests and options, of fixtures and classes, markers by names, lines in the header",
         "manual", "-v -rA generated --all --stringinput=hello --stringinput=5",
         says=("did you know", r"test_compute\[4\] FAILED", r"test_demo2\[advanced\] FAILED",
               "XFAIL .*no interface",
               "disconnect from d1")),
    case("generated-none", "the same with no value for a parameter", "manual", "-v generated",
         says=r"test_valid_string\[.*\] SKIPPED .got empty parameter set"),
    case("asserted", "Explanations of failing asserts, a hook for passing ones, names for doctests",
         "manual",
         "-v -rA -o enable_assertion_pass_hook=true --doctest-modules asserted",
         says=("vals: 1 != 2", "test_inside passes line 18: wide.val == 1", "::.*test_foocompare PASSED")),
    case("unit", "unittest classes with shared fixtures, setUpClass and setUpModule", "manual",
         "-rA unit",
         says=("setUpClass (True|False)", "SKIPPED .*no such service")),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_the_manuals_recipes_work(same, case):
    """Terminal, JUnit file and the files that hooks write do not differ."""
    same(case)
