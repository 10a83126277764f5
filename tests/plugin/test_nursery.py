"""The nursery, a fork of pytest from which the children of tests are forked: seen from pytest, and
when it is killed or stopped.

It is looked for where pytest's loop goes on to the next test: no hook is called there, of which
somebody may take notes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

import pytest
from running import HEARING, WHOSE_FORK, Started

pytestmark = pytest.mark.kernel

#: Notes after each test the nursery: a fork of pytest's that is in pytest's own pid namespace.
LOOKING = """
import json, os, pytest, signal
NOTED = []
def nursery():
    own = os.stat("/proc/self/ns/pid").st_ino
    command = open("/proc/self/cmdline").read()
    for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split():
        try:
            if os.stat(f"/proc/{pid}/ns/pid").st_ino == own and open(f"/proc/{pid}/cmdline").read() == command:
                if os.getsid(int(pid)) == os.getsid(0): return int(pid)  # else a go-between
        except OSError: pass  # it has just ended
class Items(list):
    begun = False
    def __iter__(self):
        loops, self.begun = not self.begun, True
        for item in list.__iter__(self):
            yield item
            if loops:
                NOTED.append(nursery())
                after(item.nodeid)
class Looking:
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session):
        items, session.items = session.items, Items(session.items)
        try: return (yield)
        finally: session.items = items
def pytest_sessionstart(session): session.config.pluginmanager.register(Looking())
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
    """From where it pays on; before the last fixtures are torn down it is gone, and those that it
    had forked ahead.
    """
    run = Started(tmp_path / "run", MANY, LOOKING, f"--isolate-jobs={jobs}")
    output = run.end()
    assert "16 passed" in output, output
    found = _noted(run)
    assert found[-1] is None
    assert found[-2] is not None
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
    """What shared fixtures, and tests in pytest itself, have left: not what the nursery saw when it
    was forked.
    """
    (tmp_path / "run").mkdir()
    (tmp_path / "run/pytest.ini").write_text("[pytest]\nmarkers = plainly\n")
    (tmp_path / "run/pyproject.toml").write_text(
        '[[tool.pytest_isolate.rules]]\ntests = "test_it.py::test_plain"\nisolate = false\n'
    )
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
    for said in (
        "signal 9 (SIGKILL",
        "signal 11 (SIGSEGV",
        "signal 15 (SIGTERM",
        "exited with status 7",
    ):
        assert said in output, output
    assert run.gone_within(2), run.alive()


def test_who_was_forked_ahead_runs_nothing_when_the_run_stops(tmp_path):
    """With -x the children that wait for their turn leave without it."""
    source = MANY.replace("assert os", "open(f'ran{number}', 'w'); assert number != 9 and os")
    run = Started(tmp_path / "run", source, LOOKING, "-x")
    output = run.end()
    assert "1 failed, 9 passed" in output, output
    assert sorted(path.name for path in run.directory.glob("ran*")) == sorted(
        f"ran{number}" for number in range(10)
    )
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
    """Who has forked fifty times has them: then a nursery is made anew, for the one before has
    pytest's small pages.
    """
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
    assert _noted(run)[-2] is not None


#: Fixtures that something of pytest is in the way of for as long as anybody has a copy of it; each
#: module's is the same.
HELD = {
    "a pipe": (
        """
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        yield
        process.stdin.close(); process.wait(20)
    """
    ),
    "a port": (
        """
        server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        yield
        server.close()
    """
    ),
    "a lock": (
        """
        fd = os.open("lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
        os.close(fd)
    """
    ),
    "a connection": (
        """
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=helpers.listen, args=(theirs,))
        process.start(); theirs.close()
        yield
        ours.close(); process.join(20); assert process.exitcode == 0
    """
    ),
}


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("fixture", HELD.values(), ids=HELD)
def test_nobody_holds_what_a_shared_fixture_lets_go_of(tmp_path, fixture, jobs):
    """A nursery has a copy of all that pytest has open: it is gone before pytest tears down, also
    where the last test is not isolated.
    """
    module = f"""
import fcntl, multiprocessing, os, socket, subprocess, pytest
import helpers
@pytest.fixture(scope="module", autouse=True)
def held():{fixture}
@pytest.mark.parametrize("number", range(8))
def test_it(number): pass
"""
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "test_another.py").write_text(module)
    (directory / "test_third.py").write_text(module + "def test_plain(): pass\n")
    (directory / "helpers.py").write_text(
        "def listen(end):\n    try: end.recv()\n    except EOFError: pass\n"
    )
    rule = '[[tool.pytest_isolate.rules]]\ntests = "test_third.py::test_plain"\nisolate = false\n'
    (directory / "pyproject.toml").write_text(rule)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    run = Started(
        directory,
        module,
        f"import os\nos.environ['PORT'] = '{port}'\n" + LOOKING,
        f"--isolate-jobs={jobs}",
    )
    output = run.end()
    assert "25 passed" in output, output
    assert len(set(_noted(run)) - {None}) >= 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interruption_between_two_orders_is_an_interruption(tmp_path, jobs):
    """Whatever line of pytest's side it meets: here the one behind an order to the nursery, and the
    one behind its answer.
    """
    interrupts = """
import signal
at("ahead", lambda number: number == 5 and os.kill(os.getpid(), signal.SIGINT))
"""
    run = Started(
        tmp_path / "run",
        MANY,
        LOOKING + HEARING + interrupts,
        f"--isolate-jobs={jobs}",
        "--isolate-report=report.json",
    )
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "INTERNALERROR" not in output
    assert "Traceback" not in output
    assert (run.directory / "report.json").exists()
    assert run.gone_within(2), run.alive()


def test_the_nursery_reaps_whoever_it_forked(tmp_path):
    """Before it ends: an orphan is init's to reap, and in a container that may be nobody, with a
    sandbox that never ends then.

    The last test holds so much that the kernel needs a while to take it apart.
    """
    large = "\nKEPT = []\ndef test_large(): KEPT.append(bytearray(b'x') * (512 << 20))\n"
    run = Started(tmp_path / "run", MANY + large, LOOKING, within=[sys.executable, "-c", SUBREAPER])
    output = run.end()
    assert "17 passed" in output, output
    assert "orphans: 0\n" in output, output


#: Runs a command as its child, becomes the parent of every orphan, reaps none of them, and counts
#: them in the end.
SUBREAPER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
process = subprocess.Popen(sys.argv[1:])
process.wait()
print(f"orphans: {len(open(f'/proc/self/task/{os.getpid()}/children').read().split())}")
sys.exit(process.returncode)
"""


def test_a_thread_of_a_conftest_may_change_what_a_test_finds(tmp_path):
    """Also one that was there before the first isolated test."""
    serving = """
import threading
SEEN = []; r, w = os.pipe(); a, b = os.pipe()
def serve():
    while True: SEEN.append(os.read(r, 1)); os.write(b, b"k")
def ask(): os.write(w, b"x"); os.read(a, 1)
threading.Thread(target=serve, daemon=True).start()
"""
    tests = """
import pytest, conftest
@pytest.mark.parametrize("number", range(8))
def test_it(number): assert len(conftest.SEEN) == number; conftest.ask()
"""
    run = Started(tmp_path / "run", tests, LOOKING + serving)
    assert "8 passed" in (output := run.end()), output


@pytest.mark.parametrize("hook", ["pytest_report_teststatus", "pytest_report_from_serializable"])
def test_a_hook_that_pytest_calls_for_each_report_may_remember(tmp_path, hook):
    """Whichever it is."""
    remembers = f"""
import helpers
@pytest.hookimpl(wrapper=True)
def {hook}():
    helpers.DONE.append(1)
    return (yield)
"""
    tests = """
import helpers, pytest
@pytest.mark.parametrize("number", range(8))
def test_it(number): assert len(helpers.DONE) >= 2 * number
"""
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "helpers.py").write_text("DONE = []\n")
    run = Started(
        directory,
        tests,
        f"import os, sys\nsys.path.insert(0, {str(directory)!r})\n" + LOOKING + remembers,
    )
    assert "8 passed" in (output := run.end()), output


def test_the_exit_status_of_a_fixtures_process_is_the_one_that_pytest_was_told(tmp_path):
    """Also where it ended after the nursery was born; the test in which it ends may not be told,
    without root.
    """
    tests = """
import os, subprocess, sys, pytest
@pytest.fixture(scope="module")
def process():
    with subprocess.Popen([sys.executable, "-c", "import os, sys; os.read(0, 1); sys.exit(3)"], stdin=subprocess.PIPE) as process:
        yield process
@pytest.mark.parametrize("number", range(20))
def test_it(process, number):
    if number == 8: os.write(process.stdin.fileno(), b'x')
    if number > 10 or number < 8: assert process.poll() == (None if number < 8 else 3)
"""
    run = Started(tmp_path / "run", tests, LOOKING)
    output = run.end()
    assert "20 passed" in output, output


def test_copies_of_tests_run_as_they_are(tmp_path):
    """A loop of a conftest's own may make them: they have no number by which a child
    could be told.
    """
    loop = """
import copy, pytest
@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    items = [copy.copy(item) for item in session.items]
    for item, nextitem in zip(items, [*items[1:], None]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    return True
"""
    tests = "\n".join(f"def test_{number}(): pass" for number in range(8))
    run = Started(tmp_path / "run", tests, loop)
    assert "8 passed" in (output := run.end()), output


def test_a_blocked_sigchld_is_not_the_nurserys(tmp_path):
    """It reaps by it; its children have what pytest has.

    Else whoever asked how a test ended would wait for its end.
    """
    tests = """
import signal, pytest
@pytest.mark.parametrize("number", range(30))
def test_it(number): assert signal.SIGCHLD in signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""
    blocks = """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
def after(nodeid):
    if NOTED[-1] is not None:
        children = open(f"/proc/{NOTED[-1]}/task/{NOTED[-1]}/children").read().split()
        NOTED[-1] = sum(map(is_dead, children))
def is_dead(pid):
    try: return ") Z " in open(f"/proc/{pid}/stat").read()
    except OSError: return False  # gone meanwhile
"""
    run = Started(tmp_path / "run", tests, LOOKING + blocks)
    output = run.end()
    assert "30 passed" in output, output
    assert max(filter(None, [1, *_noted(run)])) < 10


def test_a_worker_of_xdist_has_its_own(tmp_path):
    """Hooks of xdist in a worker are those of a module without a name of its own.

    Whose fork a test is, its stack tells.
    """
    tests = (
        WHOSE_FORK
        + """
import pytest
@pytest.mark.parametrize("number", range(20))
def test_many(number): assert number < 10 or is_nurserys()
"""
    )
    run = Started(tmp_path / "run", tests, "", "-p", "xdist", "-n1")
    assert "20 passed" in (output := run.end()), output
