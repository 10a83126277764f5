"""``on_missing="warn"`` where the machine gives no namespaces: a process of the test's own, and
what else needs no privilege.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from running import PYTEST, Started

from pytest_isolate._linux import privileges
from pytest_isolate._plan import strictness

pytestmark = pytest.mark.kernel

#: A user namespace in which none can be made; with ``GROUPLESS`` no control group is in sight
#: either.
WITHOUT = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
NAMESPACELESS = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
GROUPLESS = f"mount -t tmpfs none /sys/fs/cgroup && {NAMESPACELESS}"
HEAD = """
import os, signal, subprocess, sys, time
import pytest
import pytest_isolate
from pytest_isolate import isolate
PYTEST = os.getpid()
"""
SIGNALS_NEEDED = 6  # Landlock's version
LANDLOCKS = (
    "Landlock's wall (writes to /tmp, /dev/shm only); "
    if strictness.landlock_obstacle() is None
    else ""
)
landlock = pytest.mark.skipif(
    strictness.landlock_obstacle() is not None, reason=str(strictness.landlock_obstacle())
)


@pytest.fixture
def bare(pytester, monkeypatch):
    """Run pytest without namespaces and control groups, with ``on_missing="warn"`` for
    every test.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(source: str, *args: str, within: str = GROUPLESS) -> pytest.RunResult:
        Path("test_it.py").write_text(HEAD + source)
        command = (
            *PYTEST,
            "--isolate-on-missing=warn",
            *args,
        )
        return pytester.run(*WITHOUT, within, "sh", *command, timeout=120)

    return run


@pytest.fixture
def outside(pytester, monkeypatch):
    """Another place for the project than below /tmp, where tests may write."""
    with tempfile.TemporaryDirectory(prefix="pytest-isolate-", dir="/var/tmp") as directory:
        monkeypatch.chdir(directory)
        yield Path(directory)
        monkeypatch.undo()


def entries(folder) -> dict[str, dict]:
    found = json.loads((folder / "report.json").read_text())["tests"]
    return {each["nodeid"].partition("::")[2]: each for each in found}


def test_a_test_has_a_process_of_its_own_and_the_run_says_what_it_lacks(bare, pytester):
    """Never in pytest itself, never in silence: the warning names walls and remedy, and so do the
    section, the last line and the report.
    """
    result = bare(
        """
        state = []
        @isolate(disk="1M", pids=9)
        def test_first():
            state.append(1)
            assert os.getpid() != PYTEST
            print("said")
            assert not "shown"
        @isolate
        def test_second(): assert not state
        def test_plain(): assert os.getpid() == PYTEST and not state
        """.replace("\n        ", "\n"),
        "--isolate-report=report.json",
    )
    result.assert_outcomes(passed=2, failed=1, warnings=2)
    result.stdout.fnmatch_lines([
        "said",
        "limits: none; net=host, fs=host; no namespaces, which this machine does not give: process*",
        "*PytestWarning: isolate: the test runs without namespaces: clone into new namespaces: *; remedy: *max_user_namespaces*",
        "=* isolate =*", "2 tests had no namespaces, only: process*", "  test_it.py::test_first",
        "  test_it.py::test_second",
        "isolate: 2 of 3 tests isolated, 2 of them without namespaces",
    ])  # fmt: skip
    lacks = (
        "it lacks pids, IPC and a host name of its own, net=True (it has the machine's network),"
        " fs='overlay' (what it writes"
    )
    assert f"it has a process of its own, {LANDLOCKS}{lacks}" in result.stdout.str()
    assert "), the limits pids, disk\n" in result.stdout.str()
    first = entries(pytester.path)["test_first"]
    assert first["walls"][0] == "process"
    assert "namespaces" not in first["walls"]
    assert first["limits"] == {}
    assert (
        first["usage"]["disk_bytes"]
        is first["usage"]["pids_peak"]
        is first["usage"]["memory_peak_bytes"]
        is None
    )
    assert first["usage"]["wall_seconds"] > 0


@pytest.mark.parametrize(
    ("on_missing", "expected"), [("error", {"errors": 1}), ("skip", {"skipped": 1})]
)
def test_the_other_words_mean_what_they_meant(bare, on_missing, expected):
    """An error with the remedy, or a skip with the reason; no process is made for it."""
    result = bare("@isolate\ndef test_it(): pass\n", f"--isolate-on-missing={on_missing}", "-rs")
    result.assert_outcomes(**expected)
    result.stdout.fnmatch_lines(
        [("*this machine cannot give the test a sandbox: clone into new namespaces: *remedy: *")]
    )


def test_a_crash_is_named_and_the_run_goes_on(bare, pytester):
    """By the signal's name, with the Python stack and what was said before."""
    result = bare(
        "@isolate\ndef test_crash():\n    print('before')\n    os.kill(os.getpid(),"
        " signal.SIGSEGV)\n@isolate\ndef test_leaves(): os._exit(0)\n@isolate\ndef test_after():"
        " pass\n",
        "--isolate-report=report.json",
    )
    result.assert_outcomes(passed=1, failed=2, warnings=3)
    result.stdout.fnmatch_lines(
        [
            "E   Crashed: *was ended by signal 11 (SIGSEGV, *) in call*",
            "before",
            "*test_it.py*in test_crash",
        ]
    )
    result.stdout.fnmatch_lines(["E   Crashed: *exited with status 0 (by os._exit*"])
    assert {name: each["verdict"] for name, each in entries(pytester.path).items()} == {
        "test_crash": "crash", "test_leaves": "crash", "test_after": "ok",
    }  # fmt: skip


def test_a_timeout_has_stacks_and_kills_the_tree(bare, pytester):
    """A process that left its session is killed too, before pytest goes on."""
    result = bare(
        """
@isolate(timeout=1, bind=[os.getcwd()])
def test_hangs():
    child = subprocess.Popen(["setsid", "sleep", "600"])
    open("pid", "w").write(str(child.pid))
    time.sleep(600)
def test_after(): assert not os.path.exists("/proc/" + open("pid").read())
""",
        "--isolate-report=report.json",
    )
    result.assert_outcomes(passed=1, failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "E   TimeoutExceeded: took more than 1 s: *every thread's stack is below (*",
            "*test_it.py*in test_hangs",
        ]
    )
    assert entries(pytester.path)["test_hangs"]["verdict"] == "timeout"


DAEMON = """
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("pid", "w").write(str(os.getpid()))
            os.write(said[1], b"x")
            os.execvp("sleep", ["sleep", "600"])
        os._exit(0)
    os.read(said[0], 1)
said = os.pipe()
"""


@pytest.mark.parametrize("within", [NAMESPACELESS, GROUPLESS])
def test_who_is_left_behind_is_named_and_killed(bare, pytester, within):
    """A daemon with a session of its own, whose parent is gone, with the pid that it has on the
    machine; leaks= means what it means.
    """
    result = bare(
        DAEMON + """
@isolate(leaks="error", bind=[os.getcwd()])
def test_leaks(): daemon()
@isolate(leaks="warn", bind=[os.getcwd()])
def test_warns(): daemon()
@isolate(leaks="error")
def test_none(): assert subprocess.run(["true"]).returncode == 0
def test_after(): assert not os.path.exists("/proc/" + open("pid").read())
""",
        "--isolate-report=report.json", within=within,
    )  # fmt: skip
    result.assert_outcomes(passed=4, errors=1, warnings=4)
    result.stdout.fnmatch_lines(
        ["E   ProcessesLeaked: left 1 process behind, which was killed: sleep 600 (pid *"]
    )
    found = entries(pytester.path)
    assert [(each["command"]) for each in found["test_leaks"]["leaked_processes"]] == ["sleep 600"]
    assert found["test_warns"]["leaked_processes"][0]["pid"] == int(
        (pytester.path / "pid").read_text()
    )
    assert found["test_none"]["leaked_processes"] == []


def test_files_are_limited(bare):
    """By the kernel, as ever."""
    result = bare(
        "@isolate(files=64)\ndef test_it(): held = [open('/dev/null') for _ in range(99)]\n"
    )
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.fnmatch_lines(["E   FilesExceeded: opened all 64 files that a process may and *"])


MEMORY = """
born_with = bytearray(b"x" * (96 << 20))
HOLD = "held = bytearray(b'y' * (96 << 20)); import time; time.sleep(600)"
@isolate(memory="64M", timeout=60)
def test_own():
    held = bytearray(b"y" * (96 << 20))
    time.sleep(600)
@isolate(memory="64M", timeout=60)
def test_child(): subprocess.run([sys.executable, "-c", HOLD])
@pytest.mark.xfail(raises=pytest_isolate.MemoryExceeded, strict=True)
@isolate(memory="64M", timeout=60)
def test_expected():
    held = bytearray(b"y" * (96 << 20))
    time.sleep(600)
@isolate(memory="64M")
def test_shares():
    children = [os.fork() for _ in range(2)]
    if 0 in children:
        time.sleep(0.2)
        os._exit(0)
    assert sum(born_with[::4096]) and all(os.waitpid(each, 0) for each in children)
"""


def test_memory_is_sampled_and_says_so(bare, pytester):
    """The tree is stopped past the limit, for its own memory: what it was born with and only reads
    costs it nothing, forks or not.
    """
    result = bare(MEMORY, "--isolate-report=report.json")
    result.assert_outcomes(passed=1, failed=2, xfailed=1, warnings=4)
    result.stdout.fnmatch_lines([
        "E   MemoryExceeded: used * MiB of 64 MiB at one look, for no control group limits it here, and was killed in call; every thread's stack is below (memory=64 MiB, set by @isolate on function test_it.py::test_own)",
        "*it has a process of its own, *memory limited by looking at its processes; *",
        "* had no namespaces, only: process*, memory by sampling (*",
    ])  # fmt: skip
    found = entries(pytester.path)
    assert {name: each["sampled"] for name, each in found.items()} == {
        name: ["memory"] for name in found
    }
    assert found["test_child"]["verdict"] == "violation"
    assert found["test_child"]["violations"][0]["used"] > 64 << 20


def test_processor_time_is_sampled_too(bare, pytester):
    """As the clocks of its processes tick; whom it has waited for counts."""
    result = bare(
        "BURN = 'while True: pass'\n@isolate(cpu_time=0.3, timeout=60)\ndef test_it():"
        " subprocess.run([sys.executable, '-c', BURN])\n",
        "--isolate-report=report.json",
    )
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.fnmatch_lines(["E   CpuTimeExceeded: used * of 300 ms * and was killed in call*"])
    assert entries(pytester.path)["test_it"]["usage"]["cpu_seconds"] > 0.3


@landlock
def test_landlock_refuses_writes_that_would_be_real(bare, outside):
    """Elsewhere than where a sandbox has private files, or shared ones by request; and the section
    says why.
    """
    (outside / "outside").write_text("as it was")
    result = bare(
        """
@isolate
def test_writes(): open("outside", "w").write("changed")
@isolate
def test_removes(): os.unlink("outside")
@isolate
def test_in_a_child(): assert subprocess.run(["sh", "-c", "echo changed > outside"]).returncode == 0
@isolate
def test_may(tmp_path):
    (tmp_path / "file").write_text("kept")
    open("/dev/null", "w").write("x")
    open("/dev/shm/isolate-test-bare", "w").close()
    os.unlink("/dev/shm/isolate-test-bare")
    assert subprocess.run("mktemp -u > /dev/null && echo x > $(mktemp)", shell=True).returncode == 0
@isolate(bind=[os.getcwd()])
def test_bound(): open("bound", "w").close()
@isolate(fs="host")
def test_host(): open("host", "w").close()
""",
        f"--basetemp={outside / 'base'}", "--isolate-report=report.json",
    )  # fmt: skip
    result.assert_outcomes(passed=3, failed=3, warnings=6)
    result.stdout.fnmatch_lines(
        [
            "*PermissionError*outside*",
            "files: a test without namespaces writes to /tmp, *Landlock refuses it*",
        ]
    )
    assert (outside / "outside").read_text() == "as it was"
    assert {path.name for path in outside.iterdir()} >= {"bound", "host"}
    assert (outside / "base/test_may0/file").read_text() == "kept"
    assert [name for name, each in entries(outside).items() if "landlock" not in each["walls"]] == [
        "test_host"
    ]


@pytest.mark.skipif(
    privileges.landlock_version() < SIGNALS_NEEDED,
    reason="Landlock stops signals from Linux 6.12 on",
)
def test_landlock_refuses_signals_to_pytest(bare):
    """A test cannot end the run, nor the process above it; its own processes it can."""
    result = bare("""
@isolate
def test_pytest(): os.kill(PYTEST, signal.SIGKILL)
@isolate
def test_parent(): os.kill(os.getppid(), signal.SIGKILL)
@isolate
def test_child():
    child = subprocess.Popen(["sleep", "600"])
    child.kill()
    assert child.wait() == -signal.SIGKILL
""")
    result.assert_outcomes(passed=1, failed=2, warnings=3)


def test_a_wider_fixture_is_shared_and_a_scope_too(bare):
    """The same child protocol: rehearsals, shared fixtures, several tests in one process, teardown
    once in pytest.
    """
    result = bare("""
@pytest.fixture(scope="session")
def server():
    made.append(os.getpid())
    yield made
    assert made == [PYTEST]
made = []
@isolate
def test_first(server):
    assert server == [PYTEST]
    server.append("changed")
@isolate
def test_second(server): assert server == [PYTEST]
@isolate(scope="class")
class TestGroup:
    pid = []
    def test_one(self): self.pid.append(os.getpid())
    def test_two(self): assert self.pid == [os.getpid()] != [PYTEST]
""")
    result.assert_outcomes(passed=4, warnings=3)


def test_several_fly_at_once(bare, pytester):
    """With jobs, who is left behind is told of the right test."""
    result = bare(
        """
@isolate(leaks="error")
@pytest.mark.parametrize("number", range(6))
def test_it(number):
    if number % 2: subprocess.Popen(["sleep", f"60{number}"])
""",
        "--isolate-jobs=3", "--isolate-report=report.json",
    )  # fmt: skip
    result.assert_outcomes(passed=6, errors=3, warnings=6)
    assert [[each["command"] for each in test["leaked_processes"]] for test in entries(pytester.path).values()] == [
        [], ["sleep 601"], [], ["sleep 603"], [], ["sleep 605"],
    ]  # fmt: skip


def test_strict_keeps_the_filter_and_says_what_it_lacks(bare, pytester):
    """A hostile test has what can be had, and the walls are counted."""
    if strictness.obstacle() is not None:
        pytest.skip(str(strictness.obstacle()))
    result = bare(
        "@isolate(profile='strict')\ndef test_it():\n    status ="
        " open('/proc/self/status').read()\n    assert 'Seccomp:\\t2' in status and"
        " 'CapEff:\\t0000000000000000' in status\n",
        "--isolate-report=report.json",
    )
    result.assert_outcomes(passed=1, warnings=1)
    assert entries(pytester.path)["test_it"]["walls"] == [
        "process",
        *(["landlock"] if not strictness.landlock_obstacle() else []),
        "strict",
    ]


@pytest.mark.parametrize("without", ["", "setpriv --bounding-set=-setpcap"])
def test_a_root_has_no_right_over_the_machine_there_either(bare, without):
    """Nor has a program that it starts; also of a root who may not change its bounding set."""
    gone = sum(1 << number for number in privileges.MACHINE_WIDE)
    source = f"""
def rights():
    said = subprocess.check_output(["cat", "/proc/self/status"], text=True)
    return {{line.split()[0]: int(line.split()[1], 16) for line in said.splitlines() if "Cap" in line}}
@isolate(fs="host")
def test_it():
    mine = rights()
    assert mine["CapEff:"] and not (mine["CapEff:"] | mine["CapPrm:"] | mine["CapInh:"]) & {gone}
    assert {bool(without)} or not mine["CapBnd:"] & {gone}
"""
    within = NAMESPACELESS.replace('exec "$@"', f'exec {without} "$@"')
    bare(source, within=within).assert_outcomes(passed=1, warnings=1)


def test_a_kind_that_works_says_nothing_of_another(bare, pytester):
    """A machine that lacks network namespaces alone: a test loses its network and keeps all else,
    also behind one that asked for none.
    """
    lacks = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    source = (
        "@isolate(net=False)\ndef test_first(): assert os.getpid() < 4\n@isolate\ndef"
        " test_second(): assert os.getpid() < 4\n"
    )
    result = bare(source, "--isolate-report=report.json", within=lacks)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        [
            (
                "*PytestWarning: isolate: the test runs with net='host' instead of True: clone into new"
                " namespaces: *; remedy: *"
            )
        ]
    )
    result.stdout.fnmatch_lines(["isolate: 2 of 2 tests isolated"])
    assert entries(pytester.path)["test_second"]["walls"] == ["process", "namespaces", "overlay"]


def test_the_doctor_lists_what_there_is_without_namespaces(bare):
    """As an extra: it passes where all that it is for fails, and the status stays 1."""
    result = bare("", "--isolate-doctor")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["FAIL  namespaces: *", "PASS  process: what on_missing='warn' gives without namespaces: *"]
    )


HANGS = """
import os, time
def test_hangs():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("started", "w").write("x")
            time.sleep(600)
        os._exit(0)
    time.sleep(600)
"""


def test_nothing_of_it_outlives_pytest(tmp_path: Path) -> None:
    """It dies by SIGKILL: the process above the test sees it, and ends everybody."""
    run = Started(
        tmp_path / "run", HANGS, "", "--isolate-on-missing=warn", within=(*WITHOUT, GROUPLESS, "sh")
    )
    run.wait_for_test()
    os.kill(run.process.pid, signal.SIGKILL)
    assert run.gone_within(10), run.alive()


def test_the_end_of_the_process_above_is_the_end_of_the_test(bare):
    """Where nothing keeps a test from killing it: a crash of that test, and the run goes on."""
    result = bare("""
@isolate(fs="host")
def test_it():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
@isolate
def test_after(): pass
""")
    result.assert_outcomes(passed=1, failed=1, warnings=2)
    result.stdout.fnmatch_lines(["E   Crashed: its process *"])


@pytest.mark.dear
def test_a_process_above_that_is_stopped_holds_nobody_up(bare):
    """It is waited for a while, then killed, and with it the test."""
    result = bare("""
@isolate(fs="host", timeout=1)
def test_it():
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(600)
@isolate
def test_after(): pass
""")
    result.assert_outcomes(passed=1, failed=1, warnings=3)
    result.stdout.fnmatch_lines(
        [
            "E   TimeoutExceeded: took more than 1 s: *",
            "*isolate: the process above a test *was stopped by a signal *",
        ]
    )


@pytest.mark.parametrize(
    ("on_missing", "expected"),
    [(None, {"skipped": 1}), ("error", {"errors": 1}), ("warn", {"errors": 1})],
)
def test_on_other_systems_no_test_runs_and_the_run_says_so(pytester, on_missing, expected):
    """By a Python that says that it is another system's: what works there, what does not, and how
    to run them all the same.
    """
    pytester.makepyfile(otherwise="import sys\nsys.platform = 'freebsd14'\n")
    pytester.makepyfile(
        test_it=(
            "from pytest_isolate import isolate\n@isolate\ndef test_it(): assert not 'run'\ndef"
            " test_plain(): pass\n"
        )
    )
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "otherwise",
        "-p",
        "isolate",
        "-p",
        "no:cacheprovider",
        "-rs",
    )
    result = pytester.run(
        *command, *([f"--isolate-on-missing={on_missing}"] if on_missing else []), timeout=60
    )
    result.assert_outcomes(passed=1, **expected)
    result.stdout.fnmatch_lines([
        "isolate: 1 of 2 tests; isolated tests need Linux, and this is freebsd14: they *; --isolate-off runs them plain",
        f"*isolate: freebsd14 has no namespaces, *run it on Linux, or plain with --isolate-off (on_missing='{on_missing or 'skip'}', *",
    ])  # fmt: skip


def test_nothing_of_ours_warns_in_the_test(bare):
    """With ``-W error`` what a fork left to be collected in the test's process would be the test's
    failure.
    """
    bare("import gc\n@isolate\ndef test_it(): gc.collect()\n", "-W", "error").assert_outcomes(
        passed=1, warnings=1
    )
