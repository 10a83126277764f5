"""What a terminal shows while tests run, and beside their outcomes."""

from __future__ import annotations

import os
import re
import sys

import pexpect
import pytest

pytestmark = pytest.mark.anybody

LONGEST = 60  # seconds
TESTS = """
import os, pytest
from pytest_isolate import isolate
@isolate(bind=[os.getcwd()])
@pytest.mark.parametrize("name", ["first", "second"])
def test_waits(name):
    with open(name) as fifo:
        fifo.read()
"""
FIGURES = r"\((?:\d+ ms|[\d.]+ s)(?:, [\d.]+ MiB)?\)"


def on_a_terminal(pytester, *args):
    """Run pytest on a terminal of 100 columns that knows colours."""
    unset = {"NO_COLOR", "PY_COLORS", "FORCE_COLOR", "PYTEST_ADDOPTS", "CI", "COLUMNS"}
    environment = {name: text for name, text in os.environ.items() if name not in unset}
    command = ["-m", "pytest", "-p", "isolate", "-p", "no:cacheprovider", *args]
    return pexpect.spawn(
        sys.executable, command, cwd=pytester.path, env=environment | {"TERM": "xterm"},
        encoding="utf-8", timeout=LONGEST, dimensions=(30, 100),
    )  # fmt: skip


def test_who_runs_stands_below_the_line_of_pytest_and_is_gone_afterwards(pytester):
    """Drawn below, with the cursor put back behind pytest's own words; nothing of it stays."""
    pytester.makepyfile(test_it=TESTS)
    for name in ("first", "second"):
        os.mkfifo(pytester.path / name)
    run = on_a_terminal(pytester, "--isolate-jobs=2")
    run.expect(r"test_it.py \r\n\x1b\[2K(.*?)\x1b\[A\x1b\[12G")
    shown = re.sub(r"\x1b\[\d+m", "", run.match[1])
    each = r"[\w.:]*test_waits\[\w+\] [\d.]+ m?s"
    assert re.fullmatch(rf"2 tests running: {each}, {each}", shown), shown
    for name in ("first", "second"):
        (pytester.path / name).write_text("")
    run.expect(pexpect.EOF)
    *_, last = re.findall(r"\r\n\x1b\[2K(.*?)\x1b\[A\x1b\[\d+G", run.before)
    assert last == ""
    assert "2 passed" in run.before


@pytest.mark.parametrize("quiet", ["--color=no", "-q", "--isolate-jobs=1", "--isolate-shell"])
def test_a_run_that_wants_no_drawing_has_none(pytester, quiet):
    """Without colours there is no escape sequence either; one test at a time is no question; a
    shell's screen is its own.
    """
    pytester.makepyfile(
        test_it="""
        import time
        from pytest_isolate import isolate
        @isolate
        def test_it(): time.sleep(1.3)
        """
    )
    run = on_a_terminal(pytester, "--isolate-jobs=2", quiet)
    run.expect(pexpect.EOF)
    assert "1 passed" in run.before
    assert "running" not in run.before
    assert ("\x1b" in run.before) is (quiet != "--color=no")


def test_each_isolated_test_has_its_figures_on_its_line_and_nowhere_else(pytester, isolated):
    """Not in the summary, whose lines others read; nor where pytest says a reason."""
    pytester.makepyfile(
        test_it="""
        import pytest
        from pytest_isolate import isolate
        @isolate
        def test_passes(record_property): record_property("isolate.wall_seconds", 1e6)
        @isolate
        def test_fails(): assert 0
        @isolate
        def test_skips(): pytest.skip("no moon")
        def test_plain(): pass
        """
    )
    said = isolated("-v", "-rA", "--tb=no", "--durations=1", "--durations-min=0").stdout.str()
    # Beside pytest's list of the slowest, what they used
    assert re.search(
        r"^ +memory +cpu +wall  slowest\n.* m?s  test_it\.py::test_\w+\n=", said, re.MULTILINE
    )
    assert re.search(rf"::test_passes PASSED {FIGURES} +\[ 25%\]", said)
    assert re.search(rf"::test_fails FAILED {FIGURES} +\[ 50%\]", said)
    assert re.search(r"::test_skips SKIPPED \(no moon\) +\[ 75%\]", said)
    assert re.search(r"::test_plain PASSED +\[100%\]", said)
    assert re.search(r"^FAILED test_it\.py::test_fails", said, re.MULTILINE)
    assert re.search(r"^PASSED test_it\.py::test_passes$", said, re.MULTILINE)
    said = isolated("-v", "-n1").stdout.str()
    assert re.search(rf"PASSED {FIGURES} test_it\.py::test_passes", said)
