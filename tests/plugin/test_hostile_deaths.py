"""Helpers that somebody stops: whatever waits for them has a deadline, and says what it
waited for.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from running import Started

pytestmark = [pytest.mark.kernel, pytest.mark.hostile]

WAITING = """
def test_it():
    with open("started", "w") as file: file.write("x")
    open("go").read()
    {end}
def test_after(): pass
def test_last(): pass
"""


def children(pid: int) -> list[int]:
    return [
        int(each)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for each in path.read_text().split()
    ]


def begun(tmp_path: Path, end: str, *options: str) -> Started:
    run = Started(tmp_path / "project", WAITING.format(end=end), "", *options)
    os.mkfifo(run.directory / "go")
    run.wait_for_test()
    return run


@pytest.mark.needs("user")
@pytest.mark.parametrize(
    ("end", "outcome"),
    [("pass", "3 passed"), ("os = __import__('os'); os._exit(3)", "1 failed, 2 passed")],
)
def test_a_go_between_that_is_stopped(tmp_path, end, outcome):
    """The test has ended, and the one who would say so has not: pytest waited for ever, at once or
    at the end of the run.
    """
    run = begun(tmp_path, end)
    (between,) = [
        pid
        for pid in children(run.process.pid)
        if [len(children(each)) for each in children(pid)] == [0]
    ]
    os.kill(between, signal.SIGSTOP)
    (run.directory / "go").write_text("x")
    output = run.end()
    assert outcome in output, output
    said = "behind its test: it was killed" if "exit" in end else ": after 10 s it was killed"
    assert f"(pid {between}) was stopped by a signal (SIGSTOP)" in output, output
    assert said in output, output


def builder_of(pid: int) -> int:
    (found,) = [
        each
        for each in children(pid)
        if b"_sandbox.builder" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]
    return found


def test_a_builder_that_is_stopped(tmp_path):
    """It is asked who was left behind, and noticed before half a minute has gone; another builder
    serves the tests after it.
    """
    run = begun(tmp_path, "import subprocess; subprocess.Popen(['sleep', '98765'])")
    os.kill(builder_of(run.process.pid), signal.SIGSTOP)
    (run.directory / "go").write_text("x")
    output = run.end()
    said = "".join(line.strip() for line in output.splitlines())
    assert "pytest cannot tell which processes this test left behind" in said, output
    assert (
        "the builder, a helper process of pytest-isolate, was stopped by a signal (SIGSTOP)" in said
    ), output
    assert "3 passed, 1 warning" in output.splitlines()[-1], output
