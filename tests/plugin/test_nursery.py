"""The nursery, a fork of pytest from which the children of tests are forked: seen from pytest, and when it is killed or stopped.

It is looked for in a hook that is called in pytest after each report, and that nobody takes for one that remembers.
"""

from __future__ import annotations

import json
import os
import signal

import pytest
from running import Started

#: Notes after each test the nursery: a fork of pytest's that is in pytest's own pid namespace.
LOOKING = """
import json, os, signal
NOTED = []
def nursery():
    own = os.stat("/proc/self/ns/pid").st_ino
    command = open("/proc/self/cmdline").read()
    for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split():
        try:
            if os.stat(f"/proc/{pid}/ns/pid").st_ino == own and open(f"/proc/{pid}/cmdline").read() == command:
                if os.getsid(int(pid)) == os.getsid(0): return int(pid)  # else a go-between
        except OSError: pass  # it has just ended
def pytest_report_teststatus(report):
    if report.when == "teardown":
        NOTED.append(nursery())
        after(report.nodeid)
def pytest_sessionfinish():
    with open("noted", "w") as file: json.dump(NOTED, file)
def after(nodeid): pass
"""

MANY = """
import os, signal, pytest
@pytest.mark.parametrize("number", range(16))
def test_many(number): assert os.getpid() in (2, 3) and os.getppid() == 1
"""


def _noted(run: Started) -> list[int]:
    return json.loads((run.directory / "noted").read_text())


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stretch_of_tests_has_one_nursery(tmp_path, jobs):
    """From where it pays on; at the end of the run it is gone, and those that it had forked ahead."""
    run = Started(tmp_path / "run", MANY, LOOKING, f"--isolate-jobs={jobs}")
    output = run.end()
    assert "16 passed" in output, output
    found = _noted(run)
    assert found[-1] is not None
    assert len(set(found) - {None}) == 1
    assert found.count(None) <= 4 + 2 * jobs
    assert run.gone_within(2), run.alive()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_nursery_that_dies_or_hangs_costs_no_test(tmp_path, number):
    """Pytest forks the next one itself, and has another nursery by and by."""
    kill = f"\ndef after(nodeid):\n    if '[7]' in nodeid: os.kill(NOTED[-1], {int(number)})\n"
    run = Started(tmp_path / "run", MANY, LOOKING + kill)
    output = run.end()
    assert "16 passed" in output, output
    assert len(set(_noted(run)) - {None}) == 2
    assert run.gone_within(2), run.alive()


STATE = """
import os, pytest, threading
VALUES = []
def fill(number): VALUES.append(number)
@pytest.mark.parametrize("number", range(6))
def test_before(number): assert VALUES == []
@pytest.mark.isolate(scope="function")
@pytest.mark.parametrize("number", range(5))
class TestShared:
    @pytest.fixture(scope="class", autouse=True)
    def shared(self):
        VALUES.append("shared")
        yield VALUES
        VALUES.remove("shared")
    def test_within(self, number, shared): assert VALUES == ["shared"] and shared is VALUES
@pytest.mark.parametrize("number", range(6))
def test_behind(number): assert VALUES == []
@pytest.mark.parametrize("number", range(3))
@pytest.mark.plainly
def test_plain(number): VALUES.append(number)
@pytest.mark.parametrize("number", range(6))
def test_last(number): assert VALUES == [0, 1, 2]; VALUES.append("last")
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_test_finds_the_state_that_pytest_has_when_its_turn_comes(tmp_path, jobs):
    """What shared fixtures, and tests in pytest itself, have left: not what the nursery saw when it was forked."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/pytest.ini").write_text("[pytest]\nmarkers = plainly\n")
    (tmp_path / "run/pyproject.toml").write_text('[[tool.pytest_isolate.rules]]\ntests = "test_it.py::test_plain"\nisolate = false\n')
    run = Started(tmp_path / "run", STATE, LOOKING, f"--isolate-jobs={jobs}")
    output = run.end()
    assert "26 passed" in output, output
    assert len(set(_noted(run)) - {None}) >= 3
    assert run.gone_within(2), run.alive()


DEATHS = """
import os, signal, pytest
@pytest.mark.parametrize("number", range(8))
def test_before(number): pass
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_dies(number): os.kill(os.getpid(), number)
def test_exits(): os._exit(7)
@pytest.mark.parametrize("number", range(8))
def test_behind(number): pass
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_nursery_tells_how_a_child_died(tmp_path, jobs):
    """Pytest is not its parent, and says the signal or the status all the same."""
    run = Started(tmp_path / "run", DEATHS, LOOKING, f"--isolate-jobs={jobs}")
    output = run.end()
    assert "4 failed, 16 passed" in output, output
    for said in ("signal 9 (SIGKILL", "signal 11 (SIGSEGV", "signal 15 (SIGTERM", "exit status 7"):
        assert said in output, output
    assert run.gone_within(2), run.alive()


def test_who_was_forked_ahead_runs_nothing_when_the_run_stops(tmp_path):
    """With -x the children that wait for their turn leave without it."""
    source = MANY.replace("assert os", "open(f'ran{number}', 'w'); assert number != 9 and os")
    run = Started(tmp_path / "run", source, LOOKING, "-x")
    output = run.end()
    assert "1 failed, 9 passed" in output, output
    assert sorted(path.name for path in run.directory.glob("ran*")) == sorted(f"ran{number}" for number in range(10))
    assert run.gone_within(2), run.alive()


def test_a_thread_of_a_shared_fixture_does_without_a_nursery(tmp_path):
    """It may change at any moment what the next test finds."""
    thread = """
import threading
@pytest.fixture(scope="module", autouse=True)
def ticking():
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    yield
    event.set(); thread.join()
"""
    run = Started(tmp_path / "run", MANY + thread, LOOKING)
    output = run.end()
    assert "16 passed" in output, output
    assert set(_noted(run)) == {None}
    assert os.path.exists(run.directory / "noted")


def test_a_nursery_that_fails_is_said_once_and_does_without(tmp_path):
    """It never takes itself for pytest, and pytest forks every test itself from then on."""
    fails = """
PYTEST, PIPE = os.getpid(), os.pipe2
def pipe2(flags):
    if os.getpid() != PYTEST: raise OSError(24, "refused here")
    return PIPE(flags)
os.pipe2 = pipe2
"""
    run = Started(tmp_path / "run", MANY, LOOKING + fails)
    output = run.end()
    assert "16 passed, 1 warning" in output, output
    assert output.count("test session starts") == output.count(" passed") == 1, output
    assert output.count("for its helper, the nursery, failed") == 1, output
    assert "refused here" in output
    assert run.gone_within(2), run.alive()


def test_the_huge_pages_of_a_large_pytest_are_the_nurserys_too(tmp_path):
    """Who has forked fifty times has them: then a nursery is made anew, for the one before has pytest's small pages."""
    large = """
import mmap, os, re, pytest
BALLAST = [bytearray(os.urandom(1 << 18)) for _ in range(256)]
def huge(): return int(re.search(r"AnonHugePages: +(\\d+) kB", open("/proc/self/smaps_rollup").read())[1]) >> 10
def makes_them():
    if not os.path.exists("/sys/kernel/mm/transparent_hugepage"): return False
    with mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE) as asked:
        asked.write(b"x" * (4 << 20))
        try: asked.madvise(25)
        except OSError: return False
    return True
@pytest.mark.parametrize("number", range(60))
def test_many(number): assert number < 56 or huge() > 32 or not makes_them()
"""
    run = Started(tmp_path / "run", large, LOOKING)
    output = run.end()
    assert "60 passed" in output, output
    assert len(set(_noted(run)) - {None}) == 2
    assert _noted(run)[-1] is not None
