"""The server as a process of its own, and what becomes of one that nobody stops."""

from __future__ import annotations

import time
import uuid
from contextlib import closing, suppress
from pathlib import Path

import pytest
from pytest_isolate import isolate

from pantry import daemon
from pantry.client import Client


@pytest.fixture(scope="session")
def name() -> str:
    """A directory name that no other process of this machine has on its command line."""
    return f"pantry-{uuid.uuid4()}"


@isolate(profile="service")
def test_serves_until_it_is_stopped(tmp_path: Path) -> None:
    """Under the profile of pyproject.toml: with so much time, disk and files, and no process left
    behind.
    """
    server = daemon.start(tmp_path, port=8080)
    with closing(Client("127.0.0.1", server.port)) as client:
        client.put("key", "value")
    assert server.stop() == -15


@isolate(profile="service", timeout="5s")
def test_leaves_when_nobody_connects(tmp_path: Path) -> None:
    """A marker's keyword is nearer than its profile's."""
    server = daemon.start(tmp_path, idle=0.1)
    assert server.process.wait() == 0


@isolate
def test_says_so_when_it_cannot_start(tmp_path: Path) -> None:
    """A daemon whose directory is a file is an error of the starter, not a wait without end."""
    (tmp_path / "file").touch()
    with pytest.raises(daemon.NotStartedError, match="status 1"):
        daemon.start(tmp_path / "file")


FORGOTTEN: list[daemon.Daemon] = []  # or Popen would warn of a process that is still running


@isolate(leaks="ignore")
def test_may_forget_to_stop_it(tmp_path: Path, name: str) -> None:
    """Whatever ``leaks`` says, what a test leaves behind is killed."""
    FORGOTTEN.append(daemon.start(tmp_path / name, idle=20))
    assert name in _commands()


def test_finds_no_daemon_that_was_forgotten(name: str) -> None:
    """A plain test, outside: the daemon of the test before is gone."""
    # The kernel is told to kill, and may need some milliseconds for it.
    deadline = time.monotonic() + 2
    while name in _commands():
        assert time.monotonic() < deadline


def _commands() -> str:
    """The command lines of all processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(lines)
