"""``--isolate-shell``: a person in the sandbox of a test that failed, on a terminal of its own."""

from __future__ import annotations

import json
import os
import signal
import termios
from pathlib import Path

import pexpect
import pytest
from running import finished

FAILING = """
import os, subprocess, pytest
@pytest.fixture
def started(tmp_path):
    (tmp_path / "note").write_text("of the fixture")
    os.environ["OF_TEST"] = "a value"
    child = subprocess.Popen(["sleep", "1000"])
    yield tmp_path
    child.kill()
    child.wait()
    (tmp_path / "note").unlink()
def test_fails(started):
    os.chdir(started)
    assert not started
def test_next(): pass
"""
PROMPT = "inside> "
PROCESSES = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"  # ps(1) knows no time of start everywhere


@pytest.fixture
def shell(terminal, monkeypatch):
    """Run pytest with ``--isolate-shell`` and wait for the prompt of the first shell."""
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv("PS1", PROMPT)
    monkeypatch.delenv("ENV", raising=False)

    def run(*args, opens=True):
        child = terminal("--isolate-shell", *args)
        if opens:
            child.expect("isolate: a shell in the sandbox of ")
            child.expect_exact(PROMPT)
        return child

    return run


def asked(child, command: str) -> str:
    """What a shell answers to a command."""
    child.sendline(f"{command}; echo behin''d")
    child.expect(r"behin''d\r\n(.*)behind\r\n")
    answer = child.match.group(1).decode()
    child.expect_exact(PROMPT)
    return answer


def usage(pytester, name: str) -> dict[str, float]:
    report = json.loads((pytester.path / "report.json").read_text())
    return next(each["usage"] for each in report["tests"] if each["nodeid"].endswith(name))


def test_a_shell_opens_before_the_teardown_and_the_run_goes_on(pytester, shell):
    """Files, environment, directory and processes are as the test left them, the test is stopped,
    and none of that time and nothing of what the shell does is the test's.
    """
    pytester.makepyfile(FAILING)
    child = shell("--isolate-timeout=5", "--isolate-leaks=error", "--isolate-report=report.json")
    assert asked(child, "cat note; pwd").endswith("/test_fails0\r\n")
    assert asked(child, "cat note").startswith("of the fixture")
    assert asked(child, "echo $OF_TEST") == "a value\r\n"
    assert "sleep 1000" in asked(child, PROCESSES)
    states = asked(child, "cat /proc/[0-9]*/stat | sed 's/.*) //' | cut -c 1").split()
    assert states.count("T") == 1  # the test, and nobody else
    asked(child, "(setsid sleep 1001 &) ; sleep 1002 & sleep 5.1")
    asked(child, "head -c 3000000 /dev/zero > large")
    child.sendline("exit 3")
    assert "1 failed, 1 passed in " in finished(child)  # and no error for what was left behind
    used = usage(pytester, "test_fails")
    assert used["wall_seconds"] < 5
    assert used["disk_bytes"] < 1_000_000


def test_the_terminal_is_one_of_the_sandboxs_own(pytester, shell):
    """Programs find it by its name; its size is the person's, and follows it."""
    pytester.makepyfile(FAILING)
    child = shell()
    child.setwinsize(33, 77)
    assert asked(child, "tty") == "/dev/pts/0\r\n"
    assert asked(child, r"printf '\033[31mred\n'") == "\x1b[31mred\r\n"
    while asked(child, "stty size") != "33 77\r\n":  # the signal is on its way
        pass
    child.sendline("exit")
    assert "1 failed, 1 passed" in finished(child)


@pytest.mark.kernel
def test_interrupting_and_stopping_are_the_shells(pytester, shell):
    """Ctrl-C and Ctrl-Z reach the program in front, not pytest; Ctrl-D at a prompt leaves."""
    pytester.makepyfile(FAILING)
    child = shell()
    child.sendline("(echo beg''an; exec cat)")  # said in the job itself
    child.expect("began")
    child.sendcontrol("z")
    child.expect_exact(PROMPT)
    assert "Stopped" in asked(child, "jobs")
    child.sendline("fg")
    child.expect("exec cat")
    child.sendcontrol("c")
    child.expect_exact(PROMPT)
    child.sendcontrol("d")
    assert "1 failed, 1 passed" in finished(child)


@pytest.mark.parametrize(
    ("source", "why", "left"),
    [
        (
            "import pytest\n@pytest.fixture\ndef broken(): raise OSError\ndef test_it(broken): pass",
            "failed in its setup and is stopped there",
            "1 error",
        ),
        (
            "import time\ndef test_it(): time.sleep(60)",
            "has come to its timeout",
            "TimeoutExceeded: ",
        ),
        ("import os\ndef test_it(): os._exit(0)", "whose process has died", "Crashed: "),
    ],
)
def test_every_end_but_a_good_one_has_a_shell(pytester, shell, source, why, left):
    """Of an error of set-up, a test that hangs, one that is gone; its verdict is the same."""
    pytester.makepyfile(source)
    child = shell("--isolate-timeout=1", opens=False)
    child.expect(f"isolate: a shell in the sandbox of .*{why}")
    child.expect_exact(PROMPT)
    assert asked(child, "hostname") == "isolate\r\n"
    child.sendline("exit")
    assert left in finished(child)


@pytest.mark.needs("memory")
def test_a_test_that_the_kernel_killed_for_memory_leaves_its_sandbox(pytester, shell):
    """No process of it, perhaps, but its files; the shell has none of its limit."""
    pytester.makepyfile("""
        def test_it(tmp_path):
            (tmp_path / "note").write_text("x")
            bytearray(1 << 28)
    """)
    child = shell("--isolate-memory=16M", opens=False)
    child.expect("isolate: a shell .*killed .*for memory")
    child.expect_exact(PROMPT)
    asked(child, "head -c 30000000 /dev/zero | sort > /dev/null")
    assert "note" in asked(child, f"ls {pytester.path}/temp-pexpect/test_it0")
    child.sendline("exit")
    assert " of 16 MiB and wanted more" in finished(child)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "argument", ["", pytest.param("--isolate-user=nobody", marks=pytest.mark.needs("root"))]
)
def test_the_shell_has_the_tests_rights(pytester, shell, argument):
    """Its user and its capabilities, whatever pytest has."""
    pytester.makepyfile("""
        import os
        def test_it():
            lines = open("/proc/self/status").read().splitlines()
            os.environ["RIGHTS"] = "".join(
                line.replace("\\t", " ") + "," for line in lines
                if line.startswith(("Uid", "Gid", "Groups", "Cap", "NoNewPrivs"))
            )
            assert 0
    """)
    child = shell(argument)
    wanted = asked(child, 'echo "$RIGHTS"').strip()
    fields = "Uid|Gid|Groups|Cap|NoNewPrivs"
    found = asked(child, f"grep -E '^({fields})' /proc/self/status | tr '\\t\\n' ' ,'")
    assert found == wanted
    child.sendline("exit")
    assert "1 failed" in finished(child)


@pytest.mark.kernel
@pytest.mark.needs("strict")
def test_a_strict_test_is_entered_behind_its_own_walls(pytester, shell):
    """The filter of system calls is there, and nothing of pytest's terminal."""
    pytester.makepyfile("def test_it(): assert 0")
    child = shell("--isolate-profile=strict")
    assert asked(child, "grep Seccomp: /proc/self/status").split() == ["Seccomp:", "2"]
    assert asked(child, "grep CapEff /proc/self/status").split() == ["CapEff:", "0" * 16]
    assert asked(child, "grep NoNewPrivs /proc/self/status").split() == ["NoNewPrivs:", "1"]
    child.sendline("exit")
    assert "1 failed" in finished(child)


@pytest.mark.kernel
def test_nobody_in_the_sandbox_sees_pytests_terminal(pytester, shell):
    """A child of the test looks at all that every process in there ever has open."""
    pytester.makepyfile("""
        import os, subprocess, sys
        SPY = '''
        import os
        seen = set()
        while True:
            for pid in filter(str.isdecimal, os.listdir("/proc")):
                try:
                    for fd in os.listdir(f"/proc/{pid}/fd"):
                        look = os.stat(f"/proc/{pid}/fd/{fd}")
                        if look.st_rdev >> 8 in range(136, 144) and pid not in {"1", "2"}:
                            seen.add(f"{pid} {look.st_dev} {look.st_rdev & 255}")
                except OSError:
                    continue
            with open("/tmp/seen.new", "w") as file:
                file.write("\\\\n".join(sorted(seen)))
            os.rename("/tmp/seen.new", "/tmp/seen")
        '''
        def test_it():
            from textwrap import dedent
            subprocess.Popen([sys.executable, "-c", dedent(SPY)])
            while not os.path.exists("/tmp/seen"): pass
            assert 0
    """)
    child = shell()
    asked(child, "sleep 0.5")
    seen = asked(child, "cat /tmp/seen; echo").split("\r\n")
    own = asked(child, "stat -L -c '%d' /proc/self/fd/0").strip()
    assert any(line.split()[1:] == [own, "0"] for line in seen if line)
    spare = {line.split()[1] for line in seen if line} - {own}
    assert len(spare) <= 1
    ours = os.stat(os.ttyname(child.child_fd) if os.isatty(child.child_fd) else "/dev/null")
    assert not any(line.split()[1:] == [str(ours.st_dev), str(ours.st_rdev & 255)] for line in seen)
    child.sendline("exit")
    assert "1 failed" in finished(child)


@pytest.mark.kernel
def test_a_sandbox_without_a_terminal_device_has_a_shell_all_the_same(pytester, shell):
    """A hostile test has put a FIFO, or a file, in the place of /dev/ptmx: nobody waits for it."""
    pytester.makepyfile("""
        import os, pytest
        @pytest.mark.parametrize("make", [os.mkfifo, lambda path: open(path, "w").close()])
        def test_it(make):
            os.unlink("/dev/ptmx")
            make("/dev/ptmx")
            assert 0
    """)
    child = shell()
    for last in (False, True):
        assert asked(child, "echo $((6 * 7))") == "42\r\n"
        child.sendline("exit")
        if not last:
            child.expect_exact(PROMPT)
    assert "2 failed" in finished(child)


@pytest.mark.kernel
def test_leaving_a_shell_that_does_not_listen(pytester, shell):
    """Ctrl-] three times, whatever is in front."""
    pytester.makepyfile(FAILING)
    child = shell()
    child.sendline("stty raw -echo; trap '' HUP; echo beg''an; exec sleep 1000")
    child.expect("began")
    child.send("\x1d\x1d\x1d")
    assert "1 failed, 1 passed" in finished(child)


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_terminal_is_as_it_was_when_pytest_is_ended(pytester, shell, number):
    """The process that has it sees to that, and takes the shell with it."""
    pytester.makepyfile(FAILING)
    child = shell(opens=False)
    before = termios.tcgetattr(child.child_fd)
    child.expect_exact(PROMPT)
    assert termios.tcgetattr(child.child_fd) != before
    os.kill(child.pid, number)
    child.expect(pexpect.EOF)  # nobody has the terminal open any more
    assert termios.tcgetattr(child.child_fd) == before
    child.wait()


@pytest.mark.kernel
def test_the_terminal_is_as_it_was_when_its_own_process_is_killed(pytester, shell):
    """Pytest sees to that, and goes on."""
    pytester.makepyfile(FAILING)
    child = shell(opens=False)
    before = termios.tcgetattr(child.child_fd)
    child.expect_exact(PROMPT)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    commands = {each: Path(f"/proc/{each}/cmdline").read_bytes() for each in children}
    (helper,) = (pid for pid, line in commands.items() if b"lets a person in" in line)
    os.kill(int(helper), signal.SIGKILL)
    assert "1 failed, 1 passed" in finished(child)
    assert termios.tcgetattr(child.child_fd) == before


def test_jobs_wait_for_the_terminal(pytester, shell):
    """Two tests that fail at once have their shells one after the other; nothing is said between."""
    pytester.makepyfile("""
        import pytest
        @pytest.mark.parametrize("n", range(3))
        def test_it(n): assert n == 2
    """)
    child = shell("--isolate-jobs=3")
    child.sendline("exit")
    child.expect_exact(PROMPT)
    assert asked(child, "hostname") == "isolate\r\n"
    child.sendline("exit")
    assert "2 failed, 1 passed" in finished(child)


def test_tests_that_share_a_sandbox_have_a_shell_each(pytester, shell):
    """The next test of the class runs behind the first one's shell."""
    pytester.makepyfile("""
        import pytest
        @pytest.mark.isolate(scope="class")
        class TestBoth:
            def test_first(self): assert 0
            def test_second(self): assert 0
    """)
    child = shell()
    child.sendline("exit")
    child.expect_exact(PROMPT)
    child.sendline("exit")
    assert "2 failed" in finished(child)


def test_a_debugger_comes_first(pytester, shell):
    """``--pdb`` at the frame that failed, then the shell."""
    pytester.makepyfile(FAILING)
    child = shell("--pdb", opens=False)
    child.expect(r"\(Pdb\)")
    child.sendline("c")
    child.expect_exact(PROMPT)
    child.sendline("exit")
    assert "1 failed, 1 passed" in finished(child)


def test_who_cannot_type_has_no_shell(pytester, isolated):
    """Typed, it is refused in a sentence; an ini file, also for other runs, leaves it out."""
    pytester.makepyfile(FAILING)
    refused = isolated("--isolate-all", "--isolate-shell")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--isolate-shell: a shell needs a terminal*"])
    refused = isolated("--isolate-all", "--isolate-shell", "-n1")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--isolate-shell: pytest-xdist's workers have no terminal*"])
    pytester.makeini("[pytest]\nisolate_shell = true")
    result = isolated("--isolate-all")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["isolate: *isolate_shell is left out: a shell needs a terminal*"])


@pytest.mark.needs("pids")
def test_what_is_found_behind_the_end_has_a_sentence_instead(pytester, shell):
    """There is nothing to look at any more."""
    pytester.makepyfile("""
        import os
        def test_it():
            try:
                while True:
                    if not os.fork():
                        os.read(os.pipe()[0], 1)
            except BlockingIOError: pass
    """)
    child = shell("--isolate-pids=5", opens=False)
    said = finished(child)
    assert "no shell in the sandbox of" in said
    assert "had come to its end" in said
    assert "a shell in the sandbox of" not in said.replace("no shell in the sandbox of", "")
