"""Timers that pytest, a plugin or a conftest has set go on inside, and hang nobody."""

from __future__ import annotations

import pytest
from running import HEARING

WAYS = pytest.mark.parametrize(
    "way", [(), ("--isolate-jobs=2",), ("--isolate-scope=module",)], ids=["alone", "jobs", "group"]
)
SLOW = """
import time
def slow_query(): time.sleep(0.9)
def test_one(): slow_query()
def test_two(): slow_query()
"""
WAITS_FOR_THEM = "def test_three(): pass"  # with two jobs


@WAYS
def test_faulthandler_timeout_changes_no_outcome(pytester, isolated, way):
    """The lock of its watchdog thread is held in no child, which would wait for it at the end of
    the test, for ever.
    """
    pytester.makeini("[pytest]\nfaulthandler_timeout = 600")
    pytester.makepyfile(
        "def test_good(): pass\ndef test_bad(): assert 0\nclass TestIt:\n    def test_also(self):"
        " pass"
    )
    result = isolated("--isolate-all", *way)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*assert 0*"])


@WAYS
def test_faulthandler_timeout_shows_the_stack_of_the_test(pytester, isolated, way):
    """What is shown is who is slow, not pytest that waits for it, nor the test that waits for its
    turn.
    """
    pytester.makeini("[pytest]\nfaulthandler_timeout = 0.5")
    pytester.makepyfile(SLOW + WAITS_FOR_THEM)
    result = isolated("--isolate-all", *way)
    result.assert_outcomes(passed=3)
    shown = result.stderr.str()
    assert shown.count("Timeout (") == shown.count(" in slow_query") == 2
    assert "wait_for_one" not in shown


def test_a_timer_of_shared_set_up_counts_it(pytester, isolated):
    """It is due when it would be in a plain run: the time before the fork and behind the test
    belongs to it.
    """
    pytester.makeini("[pytest]\nfaulthandler_timeout = 0.8")
    pytester.makepyfile("""
        import time, pytest
        @pytest.fixture(scope="module")
        def wide():
            time.sleep(0.5)
            yield
            time.sleep(0.5)
        def slow_query(): time.sleep(0.6)
        def test_it(wide): slow_query()
        """)
    result = isolated("--isolate-all")
    result.assert_outcomes(passed=1)
    shown = result.stderr.str()
    assert shown.count("Timeout (") == shown.count(" in slow_query") == 1


ARMED = """
import faulthandler, pytest
FILE, REPEAT = open("stacks.txt", "w+"), {repeat}
faulthandler.dump_traceback_later(600, REPEAT, FILE, False)
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.name == "test_goes_off": faulthandler.dump_traceback_later(1, REPEAT, FILE, False)
def pytest_unconfigure(): faulthandler.cancel_dump_traceback_later()
"""


@pytest.mark.parametrize("repeat", [False, True], ids=["once", "repeated"])
def test_a_timer_of_a_conftest_goes_off_inside(pytester, isolated, repeat):
    """Also one set when it was imported.

    With its own arguments, and whoever cancels it does not wait for a thread that is not there.
    """
    pytester.makeconftest(ARMED.format(repeat=repeat))
    pytester.makepyfile("""
        import faulthandler, os, time, conftest
        from pytest_isolate._forking.dump_later import dump_later
        def threads(): return len(os.listdir("/proc/self/task"))
        def test_of_import():
            assert threads() == 2 and dump_later.armed.repeat is conftest.REPEAT
            assert 0 < dump_later.armed.due - time.monotonic() <= 600
            faulthandler.cancel_dump_traceback_later()
            until = time.monotonic() + 20
            while threads() > 1:  # it lets go of its lock before it is gone
                assert time.monotonic() < until
        def wait_for_stack():
            until = time.monotonic() + 20
            while b"in wait_for_stack" not in os.pread(conftest.FILE.fileno(), 1 << 16, 0):
                assert time.monotonic() < until
                time.sleep(0.01)
        def test_goes_off():
            wait_for_stack()
            faulthandler.cancel_dump_traceback_later()
        """)
    isolated("--isolate-all").assert_outcomes(passed=2)


def test_a_timer_that_exits_ends_its_test_alone(pytester, isolated):
    """In a plain run ``faulthandler_exit_on_timeout`` ends pytest."""
    if pytest.version_tuple < (9, 0):
        pytest.skip("faulthandler_exit_on_timeout is an option of pytest 9")
    pytester.makeini("[pytest]\nfaulthandler_timeout = 0.5\nfaulthandler_exit_on_timeout = true")
    pytester.makepyfile("import time\ndef test_slow(): time.sleep(20)\ndef test_after(): pass")
    result = isolated("--isolate-all")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Crashed: its process exited with status 1 *"])
    assert result.stderr.str().count(" in test_slow") == 1


def test_timers_of_processor_time_go_on_inside(pytester, isolated):
    """fork(2) clears them, and a profiler's samples would be those of pytest alone."""
    pytester.makeconftest("""
        import signal
        signal.setitimer(signal.ITIMER_PROF, 1000, 500)
        signal.setitimer(signal.ITIMER_VIRTUAL, 2000)
        """)
    pytester.makepyfile("""
        import signal
        def test_it():
            left, interval = signal.getitimer(signal.ITIMER_PROF)
            assert 900 < left <= 1000 and interval == 500
            assert 1900 < signal.getitimer(signal.ITIMER_VIRTUAL)[0] <= 2000
        """)
    isolated("--isolate-all").assert_outcomes(passed=1)


BUILDS_SLOWLY = (
    HEARING
    + """
import signal, time, pytest
at("order", lambda builder: time.sleep(1.5))
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    signal.setitimer(signal.ITIMER_REAL, 1)
"""
)


def test_building_a_sandbox_is_no_part_of_the_test(pytester, isolated):
    """A limit that pytest-timeout or pytest's own plugin sets is for the test, and not for us, on
    whatever machine.
    """
    pytester.makeini("[pytest]\nfaulthandler_timeout = 1")
    pytester.makeconftest(BUILDS_SLOWLY)
    pytester.makepyfile("""
        import signal, time
        from pytest_isolate._forking.dump_later import dump_later
        def test_it():
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1
            assert 0 < dump_later.armed.due - time.monotonic() <= 1
        """)
    result = isolated("--isolate-all")
    result.assert_outcomes(passed=1)
    result.stderr.no_fnmatch_line("*Timeout (*")


@pytest.mark.parametrize("way", [(), ("--isolate-scope=module",)], ids=["alone", "group"])
def test_timers_go_on_in_pytest_when_a_test_is_over(pytester, isolated, way):
    """The teardown of a shared fixture may hang too."""
    pytester.makeini("[pytest]\nfaulthandler_timeout = 600")
    pytester.makepyfile("""
        import signal, time, pytest
        from pytest_isolate._forking.dump_later import dump_later
        @pytest.fixture(scope="module")
        def wide():
            signal.setitimer(signal.ITIMER_REAL, 1000)
            yield
            assert 900 < signal.setitimer(signal.ITIMER_REAL, 0)[0] <= 1000
            assert 0 < dump_later.armed.due - time.monotonic() <= 600
        def test_one(wide): pass
        def test_two(wide): pass
        """)
    isolated("--isolate-all", *way).assert_outcomes(passed=2)


def test_faulthandler_is_as_it_was_when_nothing_is_isolated(pytester, isolated):
    """Its functions are replaced in runs that isolate only."""
    pytester.makepyfile("""
        import faulthandler
        def test_it(): assert "built-in" in repr(faulthandler.dump_traceback_later)
        """)
    isolated().assert_outcomes(passed=1)
