"""What one of several tests in the same groups used."""

from __future__ import annotations

from pytest_isolate._linux.counters import Counters


def test_counts_are_differences_and_peaks_are_known_only_when_exceeded():
    """Denials and processor time add up; the peak of an earlier test is not the peak of a later one."""
    before = Counters(memory_peak=70, oom_kills=0, pids_peak=3, pids_denied=1, cpu_seconds=0.5)
    now = Counters(memory_peak=70, oom_kills=1, pids_peak=4, pids_denied=3, cpu_seconds=0.75)
    assert now.since(before) == Counters(memory_peak=None, oom_kills=1, pids_peak=4, pids_denied=2, cpu_seconds=0.25)


def test_the_first_test_has_everything_that_was_counted():
    """Since nothing, a reading is itself; what this kernel does not count stays unknown."""
    now = Counters(memory_peak=70, oom_kills=0, pids_peak=3, pids_denied=0, cpu_seconds=0.5)
    assert now.since(Counters()) == now
    assert Counters().since(Counters()) == Counters()
