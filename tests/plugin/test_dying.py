"""What dies under a run, and what the user reads: the builder, PID 1, pytest itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from running import HEARING, Started

pytestmark = pytest.mark.kernel

#: In the run's own conftest, which is trusted: kills the builder at a step that it hears.
KILLER = (
    HEARING
    + """
import select, signal, threading
BUILDER, COUNT = 0, {}
def count(step):
    COUNT[step] = COUNT.get(step, 0) + 1
    return COUNT[step]
def know(builder):
    global BUILDER
    BUILDER = builder
def kill(builder):
    os.kill(builder, signal.SIGKILL)
    os.waitid(os.P_PID, builder, os.WEXITED | os.WNOWAIT)
at("order", know)
"""
)
MOMENTS = {
    "between": (
        """
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_first"): kill(BUILDER)
""",
        ["passed", "passed", "passed"],
    ),
    "ordering": (  # it is asked for a sandbox and never gets to build it
        """
at("order", lambda builder: count("order") == 1 and os.kill(builder, signal.SIGSTOP))
at("ordered", lambda builder: count("ordered") == 1 and os.kill(builder, signal.SIGKILL))
""",
        ["passed", "passed", "passed"],
    ),
    "building": (
        """
at("ordered", lambda builder: count("ordered") == 2 and os.kill(builder, signal.SIGKILL))
""",
        None,
    ),
    "ready": (  # there is a sandbox, and then none to fork into
        """
def kill_all(builder, pid_1):
    if count("ready") == 1:
        kill(builder)
        select.select([pid_1], [], [])
at("ready", kill_all)
""",
        ["error", "passed", "passed"],
    ),
    "always": ("\nat('order', kill)\n", ["error", "error", "error"]),
    "running": (
        """
def wait():
    with open("started") as started: started.read()
    kill(BUILDER)
threading.Thread(target=wait, daemon=True).start()
""",
        ["error", "passed", "passed"],
    ),
}
TESTS = """
import os, signal, pytest
from pytest_isolate import isolate
@isolate(bind=[os.path.abspath("started")])
def test_first():
    if os.environ.get("WAITS"):
        with open("started", "w"): pass
        signal.pause()
@isolate
def test_second(): pass
@isolate
def test_third(): pass
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_dead_builder_is_replaced(pytester, isolated, monkeypatch, moment):
    """Killed at whatever moment: a test that ran is an error of the sandbox, no failure of its own;
    those behind it run.
    """
    conftest, expected = MOMENTS[moment]
    if moment == "running":
        monkeypatch.setenv("WAITS", "1")
    os.mkfifo(pytester.path / "started")
    pytester.makeconftest(KILLER + conftest)
    pytester.makepyfile(test_it=TESTS)
    result = isolated("--isolate-report=report.json", "-rA")
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    outcomes = [each["outcome"] for each in tests]
    # The sandboxes of the first two may die with the builder, be done before or have been begun by
    # it
    if expected is None:
        assert outcomes in (
            ["passed"] * 3,
            ["error", "passed", "passed"],
            ["passed", "error", "passed"],
        ), result.stdout.str()
    else:
        assert outcomes == expected, result.stdout.str()
    for each in tests:
        assert each["verdict"] == {"passed": "ok", "error": "sandbox_error"}[each["outcome"]]
    if "error" in outcomes:
        result.stdout.fnmatch_lines(["*the builder*"])
    if moment == "running":
        said = (
            "isolate: the sandbox broke: the builder, a helper process of pytest-isolate, was ended"
            " by SIGKILL (if not by a person: the machine may be out of memory, see dmesg) while"
            " the test ran, and every sandbox with it"
        )
        result.stdout.fnmatch_lines([said])


WAITING = """
import os, signal, subprocess, pytest, time
@pytest.fixture(scope="session")
def wide():
    yield
    open("torn", "a").write("down ")
    if os.environ.get("SLOW_TEARDOWN"):
        open("tearing", "w").close()
        time.sleep(60)
def test_wait(wide):
    subprocess.Popen(["sleep", "87654"])
    with open("started", "w") as started: started.write("x")
    signal.pause()
def test_never(): open("torn", "a").write("never ")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("group", [True, False], ids=["group", "pytest"])
def test_one_interruption_tears_fixtures_down_and_ends_sandboxes(tmp_path, number, group):
    """Ctrl-C, which a terminal sends to the whole group, and SIGTERM, which a supervisor sends to
    one process.
    """
    run = Started(tmp_path / "run", WAITING)
    run.wait_for_test()
    (os.killpg if group else os.kill)(run.process.pid, number)
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert (tmp_path / "run/torn").read_text() == "down "
    assert run.gone_within(2), run.alive()


AT_A_STEP = """
def interrupted(*told):
    with open("started") as started: started.read()
    raise KeyboardInterrupt
at({!r}, interrupted)
"""


@pytest.mark.parametrize("step", ["forked", "wait"])
def test_an_interruption_behind_the_fork_ends_the_test(tmp_path, step):
    """It comes when the test runs already and nobody looks after it yet, and nobody waits for that
    one then, which waits for ever.
    """
    run = Started(tmp_path / "run", WAITING, HEARING + AT_A_STEP.format(step))
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert (tmp_path / "run/torn").read_text() == "down "
    assert run.gone_within(2), run.alive()


IN_FLIGHT = """
def interrupted(nodeid): raise KeyboardInterrupt
at({!r}, interrupted)
def pytest_unconfigure():
    with open("/proc/thread-self/children") as file: print("children:", file.read().split())
"""


@pytest.mark.parametrize("step", ["wait", "leave"])
def test_an_interruption_leaves_nobody_in_flight(tmp_path, step):
    """It comes when the test is in the air and pytest is about to take up the next one: the test is
    ended and reaped.
    """
    conftest = HEARING + IN_FLIGHT.format(step)
    run = Started(tmp_path / "run", WAITING, conftest, "--isolate-jobs=2")
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "children: []" in output
    assert run.gone_within(2), run.alive()


def test_a_child_that_pytest_left_alone_on_its_way_inside_ends(tmp_path):
    """Behind the fork pytest was interrupted and closed the pipes: the child has nobody to tell,
    and is not pytest.
    """
    conftest = """
def interrupted(pid): raise KeyboardInterrupt
at("forked", interrupted)
"""
    run = Started(tmp_path / "run", "def test_a(): pass", HEARING + conftest)
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert output.count("test session starts") == 1
    assert "INTERNALERROR" not in output
    assert run.gone_within(2), run.alive()


def test_two_interruptions_end_a_slow_teardown(tmp_path, monkeypatch):
    """The second Ctrl-C interrupts the fixture that the first one has torn down; nothing stays all
    the same.
    """
    monkeypatch.setenv("SLOW_TEARDOWN", "1")
    os.mkfifo(tmp_path / "tearing")
    run = Started(tmp_path / "run", WAITING.replace('"tearing"', repr(str(tmp_path / "tearing"))))
    run.wait_for_test()
    os.killpg(run.process.pid, signal.SIGINT)
    with (tmp_path / "tearing").open():
        os.killpg(run.process.pid, signal.SIGINT)
    began = time.monotonic()
    output = run.end()
    assert time.monotonic() - began < 30
    assert "KeyboardInterrupt" in output
    assert (tmp_path / "run/torn").read_text() == "down "
    assert run.gone_within(2), run.alive()


FORKING = """
import multiprocessing, os, signal, pytest
from pytest_isolate import isolate
def test_first(): assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
@isolate
def test_inside():
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
def test_plain_child():
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    child.terminate()
    child.join()
    assert child.exitcode == -signal.SIGTERM
"""


def test_sigterm_is_the_default_for_tests_and_their_children(pytester, isolated):
    """Inside nothing of our handler is seen, and a fork of a plain test ends by the signal as it
    would without us.
    """
    pytester.makepyfile(FORKING)
    isolated().assert_outcomes(passed=3)


#: System calls of pytest's side of a run -> before which of them it is killed. They are its only
#: ones of that name: it looks at itself, starts the builder, orders, is answered, forks, asks who is
#: left, kills PID 1 and reaps.
KILLED_BEFORE = {
    "?vfork,clone": [1],
    "clone": [1, 2],
    "pidfd_open": [1, 2, 3, 4],
    "sendmsg": [1, 2, 3, 4, 5, 6],
    "recvmsg": [1, 2, 3, 4],
    "pidfd_send_signal": [1, 2],
    "wait4": [1, 2],
}
SHORT = """
import subprocess
def test_one(): subprocess.Popen(["sleep", "87654"], start_new_session=True)
def test_two(tmp_path): (tmp_path / "x").write_text("x")
"""


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("calls", "number"), [(calls, n) for calls, numbers in KILLED_BEFORE.items() for n in numbers]
)
def test_pytest_killed_at_any_moment_leaves_no_process(tmp_path, host, calls, number):
    """Two seconds after it no process of the run is alive, and no group of it after the next run at
    the latest.
    """
    strace = ["strace", "-o", "/dev/null", "-e", f"trace={calls}"]
    inject = ["-e", f"inject={calls}:signal=KILL:when={number}"]
    run = Started(tmp_path / "run", SHORT, within=[*strace, *inject])
    status = run.process.wait(60)  # the end of its output would be the end of whoever is left
    assert run.gone_within(2), run.alive()
    assert status == -signal.SIGKILL, run.end()
    if run.groups(host):
        following = Started(tmp_path / "following", SHORT)
        following.end()
        assert run.groups(host) == []


@pytest.mark.alone  # any other run would sweep it too
def test_the_next_run_sweeps_what_a_dead_one_left_and_nothing_of_a_living(tmp_path, host):
    """Builder and pytest killed at once: nobody is left to tidy up but the next run, and a run
    beside it does not notice.
    """
    living, dead = (
        Started(tmp_path / "living", WAITING.replace("signal.pause()", "open('go').read()")),
        Started(tmp_path / "dead", WAITING),
    )
    os.mkfifo(tmp_path / "living/go")
    living.wait_for_test()
    dead.wait_for_test()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if (
                b"_sandbox.builder" in path.read_bytes()
                and dead.mark.encode() in (path.parent / "environ").read_bytes()
            ):
                os.kill(int(path.parent.name), signal.SIGKILL)
    dead.process.kill()
    dead.end()
    assert dead.gone_within(2), dead.alive()
    assert bool(dead.groups(host)) == bool(host.places)
    mine = living.groups(host)
    following = Started(tmp_path / "following", SHORT)
    assert "2 passed" in following.end()
    assert dead.groups(host) == []
    assert living.groups(host) == mine
    (tmp_path / "living/go").write_text("x")
    assert "2 passed" in living.end()
    assert living.groups(host) == []


#: What pytest's own children are when the run is over: the last test may still be on its way out,
#: nobody else.
COUNTING = """
from pathlib import Path

def pytest_sessionfinish():
    children = Path("/proc/thread-self/children").read_text().split()
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children]
    Path("zombies").write_text(str(states.count("Z")))
"""
#: exit_group(2) asks whoever listens to its seccomp filter: nobody ever answers.
STAYING = """
import ctypes, platform, struct
SECCOMP, EXIT_GROUP = {"x86_64": (317, 231)}.get(platform.machine(), (277, 94))
LOAD, EQUAL, RETURN, ASK, ALLOW = 0x20, 0x15, 0x06, 0x7FC00000, 0x7FFF0000
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8
def stay():
    lines = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, EXIT_GROUP), (RETURN, 0, 0, ASK), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HP", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, program) >= 0
def test_stays(): stay()
def test_stays_too(): stay()
def test_after(): pass
"""
SIBLING = """
import ctypes, os, platform, pytest, signal
CLONE, CLONE_PARENT = {"x86_64": 56}.get(platform.machine(), 220), 0x8000
@pytest.mark.parametrize("number", [1, 2])
def test_sibling(number):
    pid = ctypes.CDLL(None).syscall(CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z": os.sched_yield()
def test_after(): pass
"""


@pytest.mark.parametrize("source", [STAYING, SIBLING], ids=["one that stays", "a dead sibling"])
def test_nobody_is_forgotten_because_the_exit_is_not_waited_for(tmp_path, host, source):
    """A test that said its end and does not leave is ended; a child that it made for pytest is
    reaped; both before the run is over.
    """
    run = Started(tmp_path / "run", source, COUNTING)
    output = run.end()
    assert "3 passed" in output, output
    assert int((tmp_path / "run/zombies").read_text()) <= 1
    assert run.gone_within(2), run.alive()
    assert run.groups(host) == []
