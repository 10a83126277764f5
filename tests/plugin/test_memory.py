"""What a test holds is followed over time and, where tracemalloc is on, by line."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.kernel

GROWS = """
from pytest_isolate import isolate
@isolate(memory="64M")
def test_grows():
    kept = []
    while True:
        kept.append(bytes(100_000))
"""
#: The same, but it waits to be asked before it goes on to the limit: a machine with much to do asks
#: late.
GROWS_AND_WAITS = """
import os, select, signal
from pytest_isolate import isolate
@isolate(memory="64M")
def test_grows():
    asked, answer = os.pipe()
    os.set_blocking(answer, False)
    signal.set_wakeup_fd(answer)
    kept = []
    while True:
        kept.append(bytes(100_000))
        if len(kept) == 560: select.select([asked], [], [], 10)
"""


@pytest.mark.needs("memory")
def test_lines_that_allocated_are_named_where_tracemalloc_is_on(pytester, isolated, monkeypatch):
    """The line of the test, with most of the limit; what pytest had allocated before does not stand
    in it.
    """
    pytester.makepyfile(GROWS_AND_WAITS)
    monkeypatch.setenv("PYTHONTRACEMALLOC", "1")
    (line,) = [
        line
        for line in isolated().outlines
        if line.startswith("allocated at three quarters of the limit, by tracemalloc: ")
    ]
    first, *others = line.partition(": ")[2].split(", ")
    assert "test_lines_that_allocated_are_named_where_tracemalloc_is_on.py:10 " in first
    assert "MiB in " in first
    assert others == []


@pytest.mark.needs("memory")
def test_without_tracemalloc_nothing_is_asked(pytester, isolated):
    """No signal reaches a test that could not answer."""
    pytester.makepyfile(GROWS)
    result = isolated()
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("allocated at three quarters*")


@pytest.mark.needs("memory")
def test_who_held_memory_at_its_highest_is_in_the_report(pytester, isolated):
    """By command and what it shares with nobody: a child of 30 MiB, and not the forked pytest with
    all that is its parent's.
    """
    pytester.makepyfile("""
        import subprocess, sys
        from pytest_isolate import isolate
        HOLDS = "import time; open('/proc/self/comm', 'w').write('the holder'); held = b'x' * (30 << 20); time.sleep(0.5)"
        @isolate
        def test_child(): subprocess.run([sys.executable, "-c", HOLDS], check=True)  # long enough to be looked at
        @isolate
        def test_short(): pass
    """)
    isolated("--isolate-report=report.json").assert_outcomes(passed=2)
    child, short = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert child["memory_peak_process"]["command"] == "the holder"
    assert 30 << 20 <= child["memory_peak_process"]["bytes"] < 45 << 20
    assert short["memory_peak_process"] is None or short["memory_peak_process"]["bytes"] < 30 << 20


@pytest.mark.needs("memory")
def test_memory_over_time_is_in_the_report(pytester, isolated):
    """Samples rise with what the test holds, in the order of time, and are few however long it
    takes.
    """
    pytester.makepyfile("""
        import time
        from pytest_isolate import isolate
        @isolate
        def test_steps():
            kept = []
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                if len(kept) < 20: kept.append(b"x" * (1 << 20))
    """)
    isolated("--isolate-report=report.json").assert_outcomes(passed=1)
    samples = json.loads((pytester.path / "report.json").read_text())["tests"][0]["memory_samples"]
    assert 3 <= len(samples) <= 200
    assert [seconds for seconds, _ in samples] == sorted(seconds for seconds, _ in samples)
    assert max(used for _, used in samples) >= 20 << 20
