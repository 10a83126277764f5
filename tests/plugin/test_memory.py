"""What a test holds is followed over time and, where tracemalloc is on, by line."""

from __future__ import annotations

import json

import pytest

GROWS = """
from pytest_isolate import isolate
@isolate(memory="64M")
def test_grows():
    kept = []
    while True:
        kept.append(bytes(100_000))
"""


@pytest.mark.needs("memory")
def test_lines_that_allocated_are_named_where_tracemalloc_is_on(pytester, isolated, monkeypatch):
    """The line of the test, with most of the limit; what pytest had allocated before does not stand in it."""
    pytester.makepyfile(GROWS)
    monkeypatch.setenv("PYTHONTRACEMALLOC", "1")
    (line,) = [line for line in isolated().outlines if line.startswith("allocated at three quarters of the limit, by tracemalloc: ")]
    first, *others = line.partition(": ")[2].split(", ")
    assert "test_lines_that_allocated_are_named_where_tracemalloc_is_on.py:6 " in first
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
def test_memory_over_time_is_in_the_report(pytester, isolated):
    """Samples rise with what the test holds, in the order of time, and are few however long it takes."""
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
