"""An isolated test has the outcome that it has in a plain run."""

from __future__ import annotations

import json
import sys

import pytest
from comparing import normal

pytestmark = pytest.mark.old

OUTCOMES = """
import pytest, sys, unittest, warnings

def test_pass(): pass
def test_fail(): assert [1, 2] == [1, 3], "numbers"
def test_raise(): raise KeyError("x")
def test_skip(): pytest.skip("not today")
@pytest.mark.skip(reason="never")
def test_skip_mark(): raise RuntimeError
@pytest.mark.skipif(True, reason="condition")
def test_skipif(): raise RuntimeError
@pytest.mark.xfail
def test_xfail(): assert 0
@pytest.mark.xfail(strict=True)
def test_xpass_strict(): pass
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(raises=ValueError)
def test_xfail_raises_other(): raise KeyError
@pytest.mark.xfail(run=False)
def test_xfail_norun(): raise SystemExit(3)
def test_imperative_xfail(): pytest.xfail("known")
def test_sys_exit(): sys.exit(3)
def test_output(): print("out"); print("err", file=sys.stderr); assert 0
@pytest.fixture
def broken(): raise OSError("setup")
def test_setup_error(broken): pass
@pytest.fixture
def late(): yield; raise OSError("teardown")
def test_teardown_error(late): pass
def test_fail_and_teardown_error(late): assert 0
@pytest.mark.parametrize("value", [1, 2, "x" * 2000])
def test_parametrized(value): assert value != 2
class TestClass:
    def setup_method(self): self.value = 1
    def test_method(self): assert self.value == 1
class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.value = 1
    def test_value(self): self.assertEqual(self.value, 1)
    def test_sub(self):
        for number in range(3):
            with self.subTest(number=number): self.assertNotEqual(number, 1)
    @unittest.skip("unit")
    def test_skipped(self): pass
    @unittest.expectedFailure
    def test_expected(self): self.fail("yes")
"""


def test_every_kind_of_outcome_is_the_same(pytester, outcomes):
    """Names, states and messages are those of a plain run, one by one."""
    pytester.makepyfile(OUTCOMES)
    plain = outcomes("--isolate-off")
    assert outcomes("--isolate-all") == plain
    assert len(plain) > 25


def test_two_failing_subtests_stay_red(pytester, isolated):
    """Subtests report through a hook, not through the return value of the protocol."""
    pytester.makepyfile("""
        import unittest
        class TestCase(unittest.TestCase):
            def test_sub(self):
                for number in range(2):
                    with self.subTest(number=number): self.fail()
        """)
    result = isolated("--isolate-all")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_the_terminal_says_the_same(pytester, isolated):
    """Introspection, sections and summary lines differ in nothing but the section of ours and
    durations.
    """
    pytester.makepyfile(OUTCOMES)
    off, all_ = (
        isolated("-rA", "-v", "-k", "not test_sub", mode).stdout.str()
        for mode in ("--isolate-off", "--isolate-all")
    )
    assert normal(all_) == normal(off)


@pytest.mark.parametrize("what", ["pytest.exit('enough', 7)", "raise KeyboardInterrupt"])
def test_ends_of_the_whole_run_are_the_same(pytester, isolated, what):
    """``pytest.exit`` and Ctrl-C inside a test end the run as they do in a plain one."""
    pytester.makepyfile(f"import pytest\ndef test_end(): {what}\ndef test_never(): pass")
    plain, ours = isolated("--isolate-off"), isolated("--isolate-all")
    assert ours.ret == plain.ret
    (closing,) = (line for line in plain.outlines if " in " in line and line.startswith("==="))
    assert closing.split(" in ")[0] in {line.split(" in ")[0] for line in ours.outlines}


def test_stopping_at_the_first_failure(pytester, isolated):
    """``-x`` stops where it stops in a plain run."""
    pytester.makepyfile("def test_a(): assert 0\ndef test_b(): assert 0")
    isolated("--isolate-all", "-x").assert_outcomes(failed=1)


def test_a_warning_is_said_once_with_its_place(pytester, isolated):
    """Warnings of shared fixtures, of the test and of its teardown: each once."""
    pytester.makepyfile("""
        import pytest, warnings
        @pytest.fixture(scope="session")
        def wide(): warnings.warn("from wide")
        @pytest.fixture
        def narrow(wide): yield; warnings.warn(DeprecationWarning("from teardown"))
        def test_warns(narrow): warnings.warn("from test")
        """)
    shown = [
        [line for line in isolated(mode).outlines if "Warning:" in line]
        for mode in ("--isolate-off", "--isolate-all")
    ]
    assert shown[1] == shown[0]
    assert len(shown[0]) == 3


def test_live_output_comes_with_s(pytester, isolated):
    """``-s`` shows what a test prints."""
    pytester.makepyfile("def test_a(): print('seen live')")
    isolated("--isolate-all", "-s").stdout.fnmatch_lines(["*seen live*"])


def test_junit_properties_carry_usage(pytester, isolated):
    """``isolate.*`` keys are in ``user_properties`` and so in JUnit XML, beside the test's own."""
    pytester.makepyfile("def test_a(record_property): record_property('mine', 1)")
    isolated("--isolate-all", "--junitxml=junit.xml")
    xml = (pytester.path / "junit.xml").read_text()
    assert '<property name="mine" value="1"' in xml
    assert 'name="isolate.wall_seconds"' in xml


def test_marker_decorator_and_module_mark_are_the_same(pytester, isolated):
    """A class, a module mark and a parameter's mark isolate as the decorator does."""
    pytester.makepyfile(
        test_decorator=(
            "from pytest_isolate import isolate\nimport os\n@isolate\ndef test_a(): assert"
            " os.getpid() == 2"
        ),
        test_module=(
            "import os, pytest\npytestmark = pytest.mark.isolate(hostname='m')\ndef test_a():"
            " assert os.uname().nodename == 'm'"
        ),
        test_class=(
            "import os, pytest\n@pytest.mark.isolate(hostname='c')\nclass TestC:\n   "
            " @pytest.mark.isolate(net=False)\n    def test_a(self): assert os.uname().nodename"
            " == 'c'"
        ),
        test_param=(
            "import os, pytest\n@pytest.mark.parametrize('p', [pytest.param(1,"
            " marks=pytest.mark.isolate(hostname='p'))])\ndef test_a(p): assert os.uname().nodename"
            " == 'p'"
        ),
    )
    isolated().assert_outcomes(passed=4)


def test_off_runs_plain_and_says_so(pytester, isolated):
    """``--isolate-off`` is in the header, so that nobody takes the run for an isolated one."""
    pytester.makepyfile(
        "import os\nfrom pytest_isolate import isolate\n@isolate\ndef test_a(): assert"
        " os.getpid() > 2"
    )
    result = isolated("--isolate-off")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["isolate: off*"])


def test_unused_it_imports_nothing_of_the_kernel(pytester):
    """Loaded and unused: neither our kernel modules nor pyroute2 nor cffi."""
    pytester.makepyfile("""
        import sys, pytest
        @pytest.fixture(scope="session")
        def wide(): return 1
        def test_a(wide):
            ours = ("pytest_isolate._linux", "pytest_isolate._sandbox", "pyroute2", "cffi", "_cffi_backend")
            assert not [name for name in sys.modules if name.startswith(ours)]
        """)
    pytester.run(sys.executable, "-m", "pytest", "-p", "isolate").assert_outcomes(passed=1)


STEPPED_ASIDE = (
    "import pytest\ndef test_plain(request): assert"
    " (request.config.pluginmanager.get_plugin('isolate-run') is None) is {}\n"
)


def test_unused_its_hooks_are_gone_while_tests_run(pytester, isolated):
    """A run without isolated tests is a plain run: its tests pass none of our hooks."""
    pytester.makepyfile(STEPPED_ASIDE.format(True))
    isolated().assert_outcomes(passed=1)


@pytest.mark.parametrize("how", ["a marker", "a late marker", "a report"])
def test_its_hooks_stay_for_whoever_needs_them(pytester, isolated, how):
    """One isolated test keeps them, also one that a conftest makes so after the collection, and so
    does a report that was asked for.
    """
    test = "def test_isolated():\n    import os\n    assert os.getpid() == 2\n"
    if how == "a late marker":
        pytester.makeconftest(
            "def pytest_collection_finish(session): session.items[1].add_marker('isolate')"
        )
    marker = "@pytest.mark.isolate\n" if how == "a marker" else ""
    pytester.makepyfile(STEPPED_ASIDE.format(False) + ("" if how == "a report" else marker + test))
    isolated(*["--isolate-report=r.json"] * (how == "a report")).assert_outcomes(
        passed=1 if how == "a report" else 2
    )


def test_under_xdist_entries_come_from_the_workers(pytester, isolated):
    """Each worker isolates on its own and one report has all."""
    pytest.importorskip("xdist")
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_a(n): assert n != 3"
    )
    isolated("--isolate-all", "-n2", "--isolate-report=report.json").assert_outcomes(
        passed=5, failed=1
    )
    assert len(json.loads((pytester.path / "report.json").read_text())["tests"]) == 6


def test_what_is_too_large_to_come_over_never_turns_green(pytester, isolated):
    """A failure of 40 MB of text fails, shortened; a passing test whose report cannot come fails as
    a crash that says why.
    """
    pytester.makepyfile("""
        def test_fails(): raise AssertionError("x" * (40 << 20))
        def test_property(record_property): record_property("large", "x" * (40 << 20))
        def test_next(): pass
    """)
    result = isolated("--isolate-all", "--tb=line")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "*Crashed: its process lost a report, which was too large to come over: a frame of"
                " * bytes*"
            )
        ]
    )


def test_a_number_or_a_warning_that_is_too_large_for_a_frame_costs_no_result(pytester, isolated):
    """Python reads no number of 5,000 digits: it comes as a text in hexadecimal.

    A warning and the reason of an exit are shortened.
    """
    pytester.makeconftest("def pytest_runtest_makereport(): pass  # who is told of exceptions")
    pytester.makepyfile("""
        import pytest, sys, warnings
        class Mute:
            def __str__(self): raise OSError
        def test_numbers(record_property):
            record_property("number", 1 << 16_600)
            record_property("many", {"below": [10 ** 5000, 5, Mute()]})
        def test_raises(): raise ValueError(10 ** 5000)
        def test_warns(): warnings.warn("begin " + "\U0001f600" * (4 << 20) + " end")
        def test_exits(): pytest.exit("x" * (40 << 20))
    """)
    result = isolated(
        "--isolate-all",
        "--isolate-report=report.json",
        f"--junitxml={pytester.path / 'junit.xml'}",
        "-o",
        "junit_family=xunit1",
    )
    result.assert_outcomes(passed=2, failed=1, warnings=1)
    said = (pytester.path / "junit.xml").read_text()
    assert f'name="number" value="{hex(1 << 16_600)}"' in said
    assert ", 5, '&lt;OSError in its __str__&gt;']" in said
    result.stdout.fnmatch_lines(
        [
            "*UserWarning: begin *",
            "*characters left out by pytest-isolate*",
            "* end",
            "*_pytest.outcomes.Exit: xxx*",
        ]
    )
    assert [
        test["verdict"] for test in json.loads((pytester.path / "report.json").read_text())["tests"]
    ] == ["ok"] * 4
