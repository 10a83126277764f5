"""pytest has live threads when it forks."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

HANGS = """
import os, threading
from pytest_isolate._verdict import judging
from pytest_isolate._sandbox import supervisor
supervisor.ENTERING_LONGEST = judging.ENTERING_LONGEST = 1.0
lock, held, done = threading.Lock(), threading.Event(), threading.Event()
def hold():
    with lock:
        held.set()
        done.wait()
begun = []
def pytest_runtest_logstart(nodeid): begun.append(nodeid)
def a_librarys_handler():
    if begun and begun[-1] == "test_it.py::test_hangs":
        with lock: pass
def pytest_configure():
    os.register_at_fork(after_in_child=a_librarys_handler)
    threading.Thread(target=hold, name="the-holder").start()
    held.wait()
def pytest_unconfigure(): done.set()
"""


def test_a_fork_that_hangs_on_a_lock_ends_with_its_stack_and_the_threads_names(pytester, isolated):
    """Without a timeout of its own, it is an error in words, and the tests after it run."""
    pytester.makeconftest(HANGS)
    pytester.makepyfile(test_it="def test_hangs(): pass\ndef test_after(): pass")
    result = isolated("--isolate-all", "-rA")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*did not enter its sandbox within 1 s and was killed*'the-holder'*",
            "*in a_librarys_handler*",
        ],
        consecutive=False,
    )


BESIDE = """
import threading, pytest
@pytest.fixture(scope="session", autouse=True)
def beside():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    yield
    stop.set()
    thread.join()
def test_one(): pass
class TestShared:
    def test_two(self): pass
"""


@pytest.mark.parametrize("scope", ["function", "class"])
@pytest.mark.parametrize("action", ["always", "error"])
def test_nothing_is_said_of_threads_and_forks(pytester, isolated, scope, action):
    """Python 3.12 warns when a process with threads forks; what a thread is lost for is said by us,
    and only once.
    """
    pytester.makepyfile(BESIDE)
    result = isolated(
        "--isolate-all", f"--isolate-scope={scope}", "-W", f"{action}::DeprecationWarning"
    )
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.no_fnmatch_line("*multi-threaded*")
    result.stderr.no_fnmatch_line("*multi-threaded*")
