"""``pytest-isolate enter``: a shell in the sandbox of a test that runs, from another terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect
import pytest
from running import Started

from pytest_isolate._linux import tree
from pytest_isolate._shell import roster

pytestmark = pytest.mark.kernel

HANGING = """
import os, pytest
@pytest.mark.isolate(hostname="within")
def test_waits(tmp_path):
    os.chdir(tmp_path)
    open("note", "w").write("of the test")
    with open(os.environ["RUN"] + "/started", "w") as started: started.write("x")
    with open(os.environ["RUN"] + "/goes_on"): pass
"""
ENTER = [
    sys.executable,
    "-c",
    "import sys; from pytest_isolate._cli.main import main; sys.exit(main())",
]
PROMPT = "inside> "


@pytest.fixture
def hanging(tmp_path, monkeypatch):
    """Start a run whose test hangs, and wait until it can be entered."""
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv("PS1", PROMPT)
    monkeypatch.delenv("ENV", raising=False)

    def start(name, *args, within=()):
        directory = tmp_path / name
        directory.mkdir()
        os.chmod(directory, 0o777)
        monkeypatch.setenv("RUN", str(directory))
        os.mkfifo(directory / "goes_on", 0o666)
        run = Started(directory, HANGING, "", *args, within=within)
        os.chmod(directory / "started", 0o666)
        run.wait_for_test()
        while not any(is_of(run, each) for each in roster.find()):
            assert run.process.poll() is None
        return run

    return start


def is_of(run, listed) -> bool:
    return listed.pytest in run.pids()


def enter(*arguments) -> pexpect.spawn:
    child = pexpect.spawn(ENTER[0], [*ENTER[1:], "enter", *arguments], timeout=30)
    child.expect_exact(PROMPT)
    return child


def answer(child, command: str) -> str:
    child.sendline(f"{command}; echo behin''d")
    child.expect(r"behin''d\r\n(.*)behind\r\n")
    found = child.match.group(1).decode()
    child.expect_exact(PROMPT)
    return found


def refusal(*arguments) -> str:
    asked = subprocess.run(
        [*ENTER, "enter", *arguments],
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )
    assert asked.stdout == ""
    return asked.stderr


def test_a_test_that_hangs_is_entered_and_knows_nothing_of_it(hanging):
    """Its files and its namespaces; what one leaves there, and a shell that is still open when the
    test ends, is none of its processes.
    """
    run = hanging("one", "--isolate-leaks=error")
    child = enter(str(run.process.pid))
    assert answer(child, "cat note; hostname") == "of the testwithin\r\n"
    assert "pts/0" in answer(child, "tty")
    answer(child, "setsid sleep 1000 & sleep 1001 & :")
    child.sendline("exit 7")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 7
    child = enter(str(run.process.pid))
    processes = answer(child, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "pytest" in processes
    assert "sleep 100" not in processes
    answer(child, "sleep 1000 & :")
    with open(run.directory / "goes_on", "w"):
        pass
    child.expect("the sandbox is gone: its test is over")
    child.expect(pexpect.EOF)
    assert "1 passed in " in run.end()  # and no error


def test_a_command_runs_there_instead_of_a_shell(hanging):
    """On the same terminal, with its arguments as they are; or it says why it does not."""
    run = hanging("one")
    for line, said, status in (
        (["sh", "-c", 'hostname; cat note; tty; echo "$1"; exit 3', "sh", "a  b"],
         "within\r\nof the test/dev/pts/0\r\na  b\r\n", 3),
        (["no-such-program"], "isolate: no-such-program cannot be run in this sandbox: No such", 127),
    ):  # fmt: skip
        arguments = [*ENTER[1:], "enter", str(run.process.pid), "--", *line]
        child = pexpect.spawn(ENTER[0], arguments, timeout=30)
        child.expect(pexpect.EOF)
        child.close()
        assert child.before.decode().startswith(said)
        assert child.exitstatus == status
    assert "a command in there needs a terminal" in refusal(str(run.process.pid), "--", "true")


def test_more_than_one_are_told_apart(hanging):
    """By a process, or by as much of a name as it takes; what is none is refused with the list."""
    first, second = hanging("one"), hanging("two")
    listed = {
        run: next(each for each in roster.find() if is_of(run, each)) for run in (first, second)
    }
    said = refusal()
    assert "more than one runs" in said
    for each in listed.values():
        assert f" {each.door.first} " in said
        assert "test_it.py::test_waits" in said
    assert "more than one runs" in refusal("test_it.py::test_waits")
    assert "'nothing like it' is neither a running test" in refusal("nothing like it")
    child = enter(str(listed[second].door.first))
    assert "/two/" in answer(child, "echo $RUN/")
    child.sendline("exit")
    child.expect(pexpect.EOF)


def test_without_a_terminal_or_a_test_it_is_a_sentence(hanging):
    run = hanging("one")
    assert refusal(str(run.process.pid)) == (
        "pytest-isolate enter: a shell needs a terminal, and standard input or output is none\n"
    )
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    alone = subprocess.run(
        ["unshare", *own, "--pid", "--fork", "--mount-proc", *ENTER, "enter"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert alone.stderr.startswith("pytest-isolate enter: no isolated test")
    assert alone.stderr.endswith(" has been running for a second\n")
    assert alone.returncode == 2


@pytest.mark.needs("root")
def test_root_enters_another_users_sandbox_as_that_user(hanging, tmp_path):
    """With the rights of that test, which are not root's; that user enters none of root's."""
    other = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
    imports = [*other, sys.executable, "-c", "import pytest_isolate.plugin"]
    if subprocess.run(imports, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip(f"uid 1000 may not run {sys.executable}")
    for path in (tmp_path, *tmp_path.parents):
        if path.is_relative_to(tempfile.gettempdir()) and os.stat(path).st_uid == 0:
            os.chmod(path, os.stat(path).st_mode | 0o055)
    run = hanging("one", f"--basetemp={tmp_path}/one/base", within=other)
    child = enter(str(run.process.pid))
    assert answer(child, "id -u; grep CapEff /proc/self/status").split() == [
        "1000", "CapEff:", "0" * 16,
    ]  # fmt: skip
    assert answer(child, "cat note") == "of the test"
    # Nobody of that user's has root's terminal, nor is there a process of its own that has
    assert os.stat(f"/proc/{child.pid}").st_uid == 0
    terminal = os.stat(f"/proc/{child.pid}/fd/0")
    below = tree.descendants(child.pid)
    opened = [os.stat(fd) for pid in below for fd in Path(f"/proc/{pid}/fd").iterdir()]
    assert len(below) >= 3
    assert not any(os.path.samestat(each, terminal) for each in opened)
    child.sendline("exit")
    child.expect(pexpect.EOF)
    own = hanging("two")
    asked = subprocess.run(
        [*other, *ENTER, "enter", str(own.process.pid)], check=False, capture_output=True
    )
    assert f"'{own.process.pid}' is neither a running test".encode() in asked.stderr
