"""pytest's side of a shell: its process, and the terminal as it is to be again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import termios
from pathlib import Path
from typing import Any

import _cffi_backend

from pytest_isolate._errors import Step
from pytest_isolate._sandbox import bootstrap, ending
from pytest_isolate._sandbox.left_over import VISITOR
from pytest_isolate._shell.door import Door

#: What the process that has the terminal gets of the environment: a sandbox shows the shell's
#: keeper to its test, and with it what the keeper began with.
_PASSED_ON = ("PATH", "TERM", "LANG", "LC_ALL", "LC_CTYPE")
_OF_TERMINAL = ("TERM", "COLORTERM")
_HELPER = "the process of a shell in a sandbox, a helper of pytest-isolate,"


def of_terminal() -> dict[str, str]:
    """Give the variables that are the terminal's, whatever the test's own environment says.

    A shell's history would be among the files that the test is said to have written.
    """
    of_terminal = {name: os.environ[name] for name in _OF_TERMINAL if name in os.environ}
    return {"HISTFILE": "", **of_terminal}


def packed(door: Door) -> int:
    """Give a nameless file that has a door, for the process that enters by it."""
    with Step("make", "a file in memory for a shell"):
        fd = os.memfd_create("door")
        os.write(fd, door.pack())
    return fd


def command(fd: int, parent: int) -> list[str]:
    """Give the command of that process; ``parent`` is whoever waits for it."""
    backend = str(Path(_cffi_backend.__file__).parent)
    started = bootstrap.command("pytest_isolate._shell.terminal", [backend], VISITOR)
    return [*started, str(fd), str(parent)]


def environment() -> dict[str, str]:
    """Give what it is started with."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


class Visit:
    """A shell that a person has in a sandbox.

    Raises ``StepFailedError`` where there cannot be one.
    """

    def __init__(self, door: Door, terminal: int) -> None:
        self._terminal = terminal
        self._before: list[Any] | None = None
        with contextlib.suppress(termios.error):  # it is hung up
            self._before = termios.tcgetattr(terminal)
        fd = packed(door)
        try:
            with Step("start", "the process of a shell"):
                self._process = subprocess.Popen(
                    command(fd, os.getpid()), stdin=terminal, stdout=terminal, stderr=terminal,
                    pass_fds=[fd], env=environment(),
                )  # fmt: skip
                self.fd = os.pidfd_open(self._process.pid)
        finally:
            os.close(fd)

    def close(self) -> None:
        """End it if it has not ended, and have the terminal as it was."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return  # a Ctrl-C came while it was closed
        os.close(fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        status = ending.reap(self._process.pid, _HELPER)
        self._process.returncode = 0 if status is None else os.waitstatus_to_exitcode(status)
        if self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)
