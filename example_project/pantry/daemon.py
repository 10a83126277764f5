"""The server as a process of its own, which outlives the one that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


class NotStartedError(Exception):
    """The daemon ended before it listened."""


@dataclass(frozen=True)
class Daemon:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int

    def stop(self) -> int:
        """End it and give its exit status; a negative one is a signal's number."""
        self.process.terminate()
        return self.process.wait(timeout=10)


def start(directory: Path, *, port: int = 0, idle: float = 3600) -> Daemon:
    """Start a daemon and return when it listens.

    It leaves by itself when nobody connects for ``idle`` seconds.
    """
    process = subprocess.Popen(  # noqa: S603 - this very interpreter, no shell
        [sys.executable, "-m", "pantry", str(directory), "--port", str(port), "--idle", str(idle)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C meant for its starter is not meant for it
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker: it was asked for above
    with process.stdout as output:
        word, _, number = output.readline().partition(b" ")
    if word != b"ready":
        raise NotStartedError(f"the daemon ended with status {process.wait()}")
    return Daemon(process, int(number))
