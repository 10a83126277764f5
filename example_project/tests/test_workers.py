"""The worker pool, with no more processes to be had than it was told to use."""

from __future__ import annotations

import os
import signal

import pytest
from pytest_isolate import isolate

from pantry.workers import JobFailedError, WorkerDiedError, run_jobs


def _square(number: int) -> int:
    return number * number


def _fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def _die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@isolate(pids=5, on_missing="skip")
def test_runs_no_more_processes_than_it_was_told() -> None:
    """Forty jobs on four workers need five processes: the test and its workers."""
    assert run_jobs(_square, range(40), workers=4) == [number * number for number in range(40)]


@isolate(pids=3, on_missing="skip")
def test_is_done_with_its_workers_when_it_returns() -> None:
    """Ten pools of two, one after the other, need three processes."""
    for _ in range(10):
        run_jobs(_square, range(3), workers=2)


@isolate(leaks="error")
def test_says_which_job_raised() -> None:
    """A job's exception ends the run, and no worker stays."""
    with pytest.raises(JobFailedError, match=r"job 3: ValueError\('three'\)"):
        run_jobs(_fail_at_three, range(9), workers=2)


@isolate(leaks="error")
def test_says_which_worker_died() -> None:
    """A job that takes its process down ends the run, and no worker stays."""
    with pytest.raises(WorkerDiedError, match="the worker of job 3 ended with -9"):
        run_jobs(_die_at_three, range(9), workers=2)


def test_has_nothing_to_do_without_jobs() -> None:
    """No jobs, no results."""
    assert run_jobs(_square, [], workers=4) == []
