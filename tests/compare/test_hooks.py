"""Hooks of conftests: each runs once in the process of its test, and those that remember results or
end the run do so in pytest as well.
"""

from __future__ import annotations

import re

import pytest
from comparing import ISOLATED, PLAIN, Comparison, Seen, case

pytestmark = pytest.mark.old

HAS_SUBTESTS = pytest.version_tuple >= (9, 0)

TABLE = [
    case("told",
         "Hooks that are told of results, wherever they keep what they remember: order, words and counts", "hooks", "-v told",
         says=(r"^registered: .*'failed'", r"^plugin: made .*'test_error setup True'",
               r"^inner: \['start test_inner'",
               r"^\d+ interact .*test_error setup KeyError KeyError: 'missing'", "ODD"), files=("told/events.log",)),
    case("told-x", "the same when the run stops early", "hooks", "-x told", says="stopping after 1",
         files=("told/events.log",)),
    case("told-rA", "the same with summaries, warnings and sections", "hooks",
         "-rA -vv --durations=0 told", says="ODD",
         files=("told/events.log",)),
    case("changes",
         "Reports that a makereport hook changes are changed once: sections, properties, outcome, words, attributes", "hooks",
         "-rA -v -o junit_logging=all changes",
         says=("own call", r"page of test_shown", "no service: refused", "too good to be true",
               "in short: ValueError",
               r"^test_passes call 1 Described\.$")),
    case("counted", "Each hook runs once in the process of its test, and the test in no other",
         "hooks", "counted",
         says=(r"in the test's process: .*test_own: .*'fixture_setup own', 1.*'protocol', 1.*'teardown', 1",
               r"in all processes: .*'call', 8.*'setup', 9.*'teardown', 9", r"in pytest: .*test_fails: .*'exception_interact', 1")),
    case("around", "Wrappers around a test, its phases and what they print and make", "hooks",
         "-q -rA around", late=True,
         says=("^before test_one, next is test_two", "^after test_one in test_one",
               "wide in test_two",
               r"set-up is over, with \['own', 'wide'\]")),
    case("lines", "Lines that reporting hooks print come once, in their place", "hooks", "-v lines",
         says=("^start .*test_one", "^report .*test_one teardown", "^made .*test_two call failed", "^interact .*test_two")),
    case("raises", "Set-up hooks that raise: no fixture is set up; later ones: all are torn down",
         "hooks", "-v -rA raises",
         says=(r"KeyError: 'by the hook setup'", "set up TestLate"), files=("raises/events.log",)),
    case("raises-first", "the same for one such test alone", "hooks", "-v -rA raises -k test_error",
         says="2 errors",
         files=("raises/events.log",)),
    case("fixtures", "Hooks of fixtures of every scope, at plain's moments, with what they print",
         "hooks",
         "-v -rA --rootdir=fixtures fixtures",
         says=("setting up packaged of package", "finalized wide of session", "did not set up broken"), files=("fixtures/events.log",)),
    *(case(f"ends-{how}", f"A hook ends the run ({how})", "hooks", f"-v stops --ends={how}",
           says=says, status=status)
      for how, says, status in [
       ("stop", "test_two is critical", 2), ("fail", "test_two is critical", 1),
       ("made", "made a critical report", 7),
       ("logged", "logged a critical report", 8), ("interact", "interacted", 2), ("teardown", "torn down", 2)]),
    case("retried", "A protocol of the conftest's own, with attempts of its own", "hooks",
         "-v -rA retried",
         says=("^run 3", "^logged: .*'test_third_time', 'setup', 'passed'")),
    case("environment", "PYTEST_CURRENT_TEST in hooks, fixtures and tests", "hooks",
         "-rA environment",
         says=r"^wide environment/test_environment.py::test_one \(setup\) True"),
    case("environment-told",
         "PYTEST_CURRENT_TEST in hooks that are told of results, and not behind them", "hooks",
         "environment",
         says=(r"^logged call .*::test_one \(call\)", r"^session over None"), files=("environment/events.log",)),
    case("interact", "Failures as hooks see them: class, words, numbers", "hooks",
         "interact -k 'not ours'",
         says=(r"test_system call: ConnectionRefusedError .* \['OSError', 'ConnectionError'\]", "errno 13 ")),
    case("interact-ours",
         "Failures of classes of the project's own; nothing of theirs runs in pytest a second time",
         "hooks",
         "interact -k ours", says=r"test_deeper call: Deeper 'code 4' \['Deeper', 'Ours'\]"),
    case("places", "Where a failure was, as hooks see it", "hooks", "places",
         says="test_deep: test_places.py:1 in helper: "),
    case("items", "Items of other kinds: doctests, and a conftest's own with their own words",
         "hooks", "-v items",
         says=("^made SpecItem bad call failed SpecError",
               "spec failed: a is not b, .'set up', 'ran'.",
               "^interact test_text.txt False", "^logged spec: good call passed")),
    *([case("parts", "Subtests: hooks are told of each", "hooks", "-v -s parts",
            says=("^interact test_parts SubtestReport 1", "^logged .*test_unit call failed SubtestReport"))] if HAS_SUBTESTS else []),
    case("mode", "What a set-up hook makes is there for fixtures of every scope", "hooks",
         "-v -rA mode",
         says=(r"\('fast', 'test_wide'\) test_again", "asked for test_asked_by_the_hook")),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_hooks_of_conftests_do_what_they_do_plain(same, case):
    """Terminal, JUnit file and the files that hooks write do not differ."""
    same(case)


def isolated_only(comparison: Comparison, args: str) -> Seen:
    """What an isolated run shows of what cannot be compared."""
    return comparison.run(case("", "", "hooks", args, says="").values[0], *ISOLATED)


def test_hooks_that_remember_are_told_of_killed_tests(comparison):
    """In each phase, once, with the class of the violation: the rest of the class is then expected
    to fail, as behind any failure.
    """
    lines = isolated_only(comparison, "-rx killed").lines
    expected = [line for line in lines if line.startswith("XFAIL")]
    assert [line.rpartition(" - ")[2] for line in expected] == [
        "test_dies failed before", "test_dies_in_setup failed before",
        "test_dies_in_teardown failed before",
    ]  # fmt: skip
    told = [line for line in lines if re.match(r"(made|logged|interact) test_dies", line)]
    assert told == [
        f"{hook} test_dies{suffix} {when}{' Crashed' if hook != 'logged' else ''}"
        for suffix, when in [("", "call"), ("_in_setup", "setup"), ("_in_teardown", "teardown")]
        for hook in ("made", "logged", "interact")
    ]


def test_no_code_of_an_exception_class_runs_in_pytest(comparison, pytester):
    """The exception that a hook is shown there is made without its class's own ``__init__``."""
    isolated_only(comparison, "interact -k ours")
    assert (pytester.path / "project/interact/made").read_text() == "0"


@pytest.mark.parametrize(("how", "status"), [("made", 3), ("logged", 3), ("interact", 3)])
def test_a_reporting_hook_with_an_error_of_its_own_ends_the_run_as_plain(comparison, how, status):
    """As pytest's internal error with the hook's own words, and not as a crash of the test."""
    row = case("", "", "hooks", f"broken --breaks={how}", says="").values[0]
    plain, isolated = comparison.run(row, *PLAIN), comparison.run(row, *ISOLATED)
    for seen in (plain, isolated):
        assert seen.status == status
        assert "INTERNALERROR" in seen.text
        assert re.search(r"LookupError: .?broken ", seen.text)


def test_a_report_hook_that_needs_a_fixture_of_the_test_has_it(same):
    """A makereport hook that takes a picture with the test's own fixture, without asking whether it
    is there.
    """
    same(
        case(
            "", "a section made of a fixture", "hooks", "broken --breaks=fixture", says="a picture"
        ).values[0]
    )


@pytest.mark.parametrize(
    "how",
    ["--isolate-jobs=2", "--isolate-scope=class", "--isolate-scope=module"],
    ids=["jobs", "class", "module"],
)
@pytest.mark.parametrize("args", ["hooks told", "manual processed"], ids=["told", "failures"])
def test_hooks_are_told_the_same_by_tests_in_flight_and_of_one_sandbox(comparison, args, how):
    """Counters, orders and files of hooks that are told of results are those of a plain run,
    whoever is ahead or goes on.

    When wider fixtures are set up is another matter then: before reports of tests in flight, or
    inside for a later one of a sandbox.
    """
    project, _, folder = args.partition(" ")
    file = "told/events.log" if folder == "told" else "failures"
    row = case("", "", project, folder, says="", files=(file,)).values[0]
    plain, isolated = comparison.run(row, *PLAIN), comparison.run(row, *ISOLATED, how)
    assert len(plain.files) > 3
    assert _told(isolated.files) == _told(plain.files)
    assert isolated.cases == plain.cases


def _told(lines):
    """Without what fixtures wrote, and without numbers."""
    return [
        line.lstrip("0123456789 ")
        for line in lines
        if not re.match(r"\d+ (set up|tear down) ", line)
    ]


@pytest.mark.parametrize("scope", ["class", "module"])
def test_steps_of_one_sandbox_are_expected_to_fail_as_plain(comparison, scope):
    """The recipe of incremental steps where the tests of a class or a module share a sandbox."""
    row = case("", "", "manual", "-rx -v steps", says="").values[0]
    plain, isolated = (
        comparison.run(row, *PLAIN),
        comparison.run(row, *ISOLATED, f"--isolate-scope={scope}"),
    )
    assert not (found := plain.differences(isolated)), found
