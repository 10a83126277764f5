"""Runs of pytest in processes of their own, of which nothing may stay."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pexpect import spawn

#: What a run that isolates is started by.
PYTEST = (sys.executable, "-m", "pytest", "-p", "isolate", "-p", "no:cacheprovider")

#: A module for tests to import: whether the nursery forked their process, as its stack tells.
WHOSE_FORK = """
import sys
def is_nurserys():
    frame = sys._getframe()
    while frame := frame.f_back:
        if frame.f_code.co_filename.endswith("_child/nursing.py"): return True
    return False
"""

#: For a conftest: ``at(step, call)`` has each such step of pytest's way with a test, and only
#: pytest's own, call ``call`` with what is told of it (docs/architecture.md, "Steps that can be
#: heard").
HEARING = """
import os, sys
_pytest, _calls = os.getpid(), {}
def _hear(event, told):
    if event in _calls and os.getpid() == _pytest: _calls[event](*told)
sys.addaudithook(_hear)
def at(step, call): _calls["pytest_isolate." + step] = call
"""


class Started:
    """A run of pytest in a process of its own, with everything that it starts known by a word in
    its environment.

    It ends with the test that started it, whatever that comes to (``end_all``).
    """

    _running: ClassVar[list[Started]] = []

    def __init__(
        self,
        directory: Path,
        source: str,
        conftest: str = "",
        *args: str,
        within: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.mark = f"ISOLATE_TEST_RUN={uuid.uuid4().hex}"
        directory.mkdir(exist_ok=True)
        os.mkfifo(directory / "started")
        (directory / "conftest.py").write_text(conftest)
        (directory / "test_it.py").write_text(source)
        name, _, value = self.mark.partition("=")
        environment = {key: text for key, text in os.environ.items() if key != "PYTEST_ADDOPTS"} | {
            name: value
        }
        command = [*within, *PYTEST, "-v", "--isolate-all",
                   f"--isolate-bind={directory}", *args]  # fmt: skip
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running.append(self)

    def wait_for_test(self) -> None:
        """Until the test inside says that it has begun; a run that ends before it is a failure."""
        started = os.open(self.directory / "started", os.O_RDONLY | os.O_NONBLOCK)
        pidfd = os.pidfd_open(self.process.pid)
        try:
            poll = select.poll()
            poll.register(started, select.POLLIN)
            poll.register(pidfd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(60_000)}
            assert started in ready, self.end() if pidfd in ready else "no test began in a minute"
            assert os.read(started, 2) == b"x"
        finally:
            os.close(pidfd)
            os.close(started)

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=60)
        return output

    @classmethod
    def end_all(cls) -> None:
        """Kill whoever a test has left, pytest first, and wait until they are gone."""
        started, cls._running[:] = list(cls._running), []
        for run in started:
            run._kill()
        for run in started:
            if not run.gone_within(10):
                raise AssertionError(
                    f"left behind by a run of pytest that was killed: {run.alive()}"
                )
            run.process.communicate(timeout=10)

    def _kill(self) -> None:
        self.process.kill()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def alive(self) -> list[str]:
        """Processes of this run, by their environment, which forks share."""
        found = []
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it ended while we looked
                found.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()[:80]!r}")
        return found

    def pids(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # it ended while we looked, or is another user's
                if self.mark.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def groups(self, host) -> list[Path]:
        places = {place.directory for place in host.places.values()}
        return [
            path
            for place in places
            for path in Path(place).glob(f"pytest-isolate-{self.process.pid}-*")
        ]

    def gone_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > until:
                return False
            os.sched_yield()
        return True


def finished(child: spawn) -> str:
    """What a run on a terminal still says, up to its end."""
    said = child.read().decode("utf-8", "replace")
    child.wait()
    return said
