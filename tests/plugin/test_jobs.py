"""``--isolate-jobs``: several tests in flight, told apart by locks and meetings rather than by
times.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys

import pytest
from running import HEARING

#: ``alone()``: nobody else holds the lock, or it raises; ``meet``: comes back when the test of the
#: other side is there, or never. Who must not overlap holds the lock a while, for no event says
#: that an overlap will not come: no test passes by it, a fault shows by it.
HELPERS = """
import contextlib, fcntl, os, pytest, time
@contextlib.contextmanager
def held(how=fcntl.LOCK_SH):
    with open("lock") as lock:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        yield
def alone(): return held(fcntl.LOCK_EX)
A, B = ("there", "back"), ("back", "there")
def meet(side):
    for name in sorted(side):
        open(name, "w" if name == side[0] else "r").close()
"""


@pytest.fixture
def project(pytester):
    """A project whose tests can see each other through a lock on the machine."""
    (pytester.path / "lock").touch()
    for name in ("there", "back"):
        os.mkfifo(pytester.path / name)

    def make(source: str) -> None:
        pytester.makepyfile(HELPERS + source)

    return make


@pytest.fixture
def jobs(isolated, pytester):
    def run(*args: str) -> pytest.RunResult:
        return isolated(
            "--isolate-all",
            "--isolate-jobs=2",
            f"--isolate-bind={pytester.path}",
            "--isolate-timeout=20",
            "-v",
            *args,
        )

    return run


def test_two_tests_are_in_flight_and_reported_in_order(project, jobs, pytester):
    """They can only pass together; the first to be over waits with its report until it
    is its turn.
    """
    project("""
def test_a(): meet(A)
def test_b(): meet(B)
def test_c(): pass
""")
    report = pytester.path / "report.json"
    result = jobs(f"--isolate-report={report}")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*up to 2 tests at a time*", "*test_a PASSED*", "*test_b PASSED*", "*test_c PASSED*"]
    )
    assert [
        test["nodeid"].rpartition("::")[2] for test in json.loads(report.read_text())["tests"]
    ] == ["test_a", "test_b", "test_c"]


def test_a_class_of_unittest_is_a_barrier_if_it_sets_anything_up(project, jobs):
    """Pytest makes a class fixture of each; where setUpClass and tearDownClass are unittest's own,
    tests of two classes fly.
    """
    project("""
import unittest
class TestA(unittest.TestCase):
    def test_a(self): meet(A)
class TestB(unittest.TestCase):
    def test_b(self): meet(B)
class TestC(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.number = os.getpid()
    def test_c(self):
        with alone(): assert self.number != os.getpid()
class TestD(unittest.TestCase):
    @classmethod
    def tearDownClass(cls): pass
    def test_d(self):
        with alone(): pass
""")
    jobs().assert_outcomes(passed=4)


def test_serial_tests_run_alone(project, jobs):
    """By marker; a test without it may overlap."""
    project("""
def test_a():
    with held(): time.sleep(0.2)
@pytest.mark.isolate(serial=True)
def test_b():
    with alone(): time.sleep(0.2)
def test_c():
    with held(): time.sleep(0.2)
""")
    jobs().assert_outcomes(passed=3)


def test_tests_that_are_not_isolated_or_share_a_sandbox_run_alone(project, isolated, pytester):
    """A plain test has the machine as in a plain run."""
    project("""
@pytest.mark.isolate
def test_a():
    with held(): time.sleep(0.2)
def test_b():
    with alone(): time.sleep(0.2)
@pytest.mark.isolate(scope="class")
class TestGroup:
    shared = []
    def test_c(self):
        with alone(): self.shared.append(1); time.sleep(0.2)
    def test_d(self):
        with alone(): assert self.shared == [1]
@pytest.mark.isolate
def test_e():
    with held(): time.sleep(0.1)
""")
    isolated("--isolate-jobs=2", f"--isolate-bind={pytester.path}").assert_outcomes(passed=5)


def test_shared_fixtures_change_while_nobody_is_in_flight(project, jobs):
    """Set-up and teardown of a module's fixture, and of another parameter of it."""
    project("""
@pytest.fixture(scope="module", params=[1, 2])
def wide(request):
    with alone(): pass
    yield request.param
    with alone(): pass
def test_a():
    with held(): time.sleep(0.2)
def test_b(wide):
    with held(): time.sleep(0.2)
def test_c(wide):
    with held(): time.sleep(0.2)
""")
    jobs().assert_outcomes(passed=5)


@pytest.mark.needs("memory")
def test_memory_decides_who_may_fly(project, jobs):
    """Two limits that do not fit the machine together are not used together; small ones are."""
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(
            int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable")
        )
    project(f"""
large = pytest.mark.isolate(memory={int(available * 0.6)})
@large
def test_a():
    with alone(): time.sleep(0.2)
@large
def test_b():
    with alone(): time.sleep(0.2)
small = pytest.mark.isolate(memory="64M")
@small
def test_c(): meet(A)
@small
def test_d(): meet(B)
""")
    jobs().assert_outcomes(passed=4)


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_a_run_that_stops_reports_nothing_after_it_and_tears_down_once(
    project, jobs, pytester, option
):
    """The test beside the failing one is ended, whatever it does."""
    project("""
@pytest.fixture(scope="session", autouse=True)
def wide():
    yield
    open("torn", "a").write("down ")
def test_a(): meet(A); assert 0
def test_b():
    meet(B)
    time.sleep(3600)
def test_c(): pass
""")
    result = jobs(option)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*test_[bc]*")
    assert (pytester.path / "torn").read_text() == "down "


def test_each_has_its_own_limit_of_time(project, jobs):
    """Both are late, at once, and both are named; what comes after runs."""
    project("""
late = pytest.mark.isolate(timeout=0.5)
@late
def test_a(): meet(A); time.sleep(60)
@late
def test_b(): meet(B); time.sleep(60)
def test_c(): pass
""")
    result = jobs()
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        ["E   TimeoutExceeded: *::test_a)", "E   TimeoutExceeded: *::test_b)"]
    )


def test_one_that_dies_takes_nobody_with_it(project, jobs):
    """Two in flight, one killed: the other one's result counts."""
    project("""
def test_a(): meet(A); os.kill(os.getpid(), 9)
def test_b(): meet(B)
""")
    result = jobs()
    result.assert_outcomes(failed=1, passed=1)


def test_interruption_ends_all_that_fly(project, pytester):
    """One Ctrl-C: fixtures are torn down, nobody in flight is left."""
    os.mkfifo(pytester.path / "flying")
    project("""
@pytest.fixture(scope="session", autouse=True)
def wide():
    yield
    open("torn", "a").write("down ")
def wait():
    with open("flying", "w") as file: file.write("x")
    time.sleep(98765)
def test_a(): meet(A); wait()
def test_b(): meet(B); wait()
""")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "isolate",
        "--isolate-all",
        "--isolate-jobs=2",
        f"--isolate-bind={pytester.path}",
    ]
    with subprocess.Popen(
        command, cwd=pytester.path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            flying = os.open(pytester.path / "flying", os.O_RDWR)
            for _ in range(2):
                assert select.select([flying], [], [], 60)[0]
                os.read(flying, 1)
            os.close(flying)
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert (pytester.path / "torn").read_text() == "down "


@pytest.mark.parametrize("step", ["build", "wait"])
def test_an_interruption_while_pytest_does_not_wait_ends_all_that_fly(
    project, jobs, pytester, step
):
    """It comes as the next test gets its sandbox, or has just been forked, and pytest must not wait
    for the one that flies then.
    """
    pytester.makeconftest(
        HEARING
        + f"""
import signal
def interrupt(nodeid):
    if nodeid.endswith("test_b"): os.kill(os.getpid(), signal.SIGINT)
at({step!r}, interrupt)
"""
    )
    project("""
def test_a(): time.sleep(98765)
def test_b(): time.sleep(98765)
""")
    result = jobs()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes()
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])


@pytest.mark.parametrize("option", ["-s", "--setup-show", "--log-cli-level=INFO"])
def test_a_run_that_talks_to_the_terminal_has_one_job_and_says_so(project, jobs, option):
    project("""
def test_a():
    with alone(): time.sleep(0.1)
def test_b():
    with alone(): time.sleep(0.1)
""")
    result = jobs(option)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["isolate: 2 of 2 tests; *; one test at a time, not --isolate-jobs=2: with *"]
    )


@pytest.mark.parametrize("value", ["0", "-1", "two", "", "²"])
def test_what_is_no_number_of_jobs_is_refused(project, isolated, value):
    project("def test_a(): pass")
    result = isolated("--isolate-all", f"--isolate-jobs={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                f"ERROR: --isolate-jobs={value}: it must be a whole number, at least 1, or auto: one"
                " for each processor"
            )
        ]
    )


REMEMBERS = """
import pytest
def pytest_runtest_makereport(item, call):
    if call.excinfo is not None: item.parent.failed = item.name
"""
DECIDES = """
def pytest_runtest_setup(item):
    if hasattr(item.parent, "failed"): pytest.xfail(item.parent.failed)
"""
HEARS = """
import pytest
failed = []
def pytest_runtest_logreport(report):
    if report.failed: failed.append(report.nodeid)
@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if failed: item.add_marker(pytest.mark.xfail(reason=failed[0]))
    return (yield)
"""
STEPS = """
class TestSteps:
    def test_a(self): pass
    def test_b(self): time.sleep(0.2); assert 0
    def test_c(self): assert 0
    def test_d(self): assert 0
"""


@pytest.mark.parametrize("conftest", [REMEMBERS + DECIDES, HEARS], ids=["steps", "log"])
def test_who_decides_by_the_tests_before_has_heard_of_them(project, jobs, pytester, conftest):
    """The recipe for incremental steps, with jobs as without, and the run says that it takes them
    one at a time.
    """
    pytester.makeconftest(conftest)
    project(STEPS)
    result = jobs()
    result.assert_outcomes(passed=1, failed=1, xfailed=2)
    result.stdout.fnmatch_lines(
        [
            (
                "*; up to 2 tests at a time; 4 of them one at a time, for hooks (conftest.py) may"
                " decide by how the tests before ended*"
            )
        ]
    )


@pytest.mark.parametrize(
    "conftest", [REMEMBERS, "import pytest\n" + DECIDES], ids=["remembers", "decides"]
)
def test_who_only_remembers_or_only_decides_holds_up_nobody(project, jobs, pytester, conftest):
    """A hook that keeps results for their own test's fixtures, or for the end, and a hook of
    set-ups that hears of no other test.
    """
    pytester.makeconftest(conftest)
    project("""
def test_a(): meet(A)
def test_b(): meet(B)
""")
    result = jobs()
    result.assert_outcomes(passed=2)
    assert "one at a time" not in result.stdout.str()
