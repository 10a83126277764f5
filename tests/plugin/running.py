"""Runs of pytest in processes of their own, of which nothing may stay."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path


class Started:
    """A run of pytest in a process of its own, with everything that it starts known by a word in its environment."""

    def __init__(self, directory: Path, source: str, conftest: str = "", *args: str, within: Sequence[str] = ()) -> None:
        self.directory = directory
        self.mark = f"ISOLATE_TEST_RUN={uuid.uuid4().hex}"
        directory.mkdir(exist_ok=True)
        os.mkfifo(directory / "started")
        (directory / "conftest.py").write_text(conftest)
        (directory / "test_it.py").write_text(source)
        name, _, value = self.mark.partition("=")
        environment = {key: text for key, text in os.environ.items() if key != "PYTEST_ADDOPTS"} | {name: value}
        command = [*within, sys.executable, "-m", "pytest", "-p", "isolate", "-p", "no:cacheprovider", "-v", "--isolate-all",
                   f"--isolate-bind={directory}", *args]  # fmt: skip
        self.process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def wait_for_test(self) -> None:
        """Until the test inside says that it has begun."""
        with (self.directory / "started").open() as started:
            assert started.read() == "x"

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=60)
        return output

    def alive(self) -> list[str]:
        """Processes of this run, by their environment, which forks share."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # it ended while we looked, or is another user's
                if self.mark.encode() in path.read_bytes():
                    found.append(f"{path.parent.name} {(path.parent / 'cmdline').read_bytes()[:80]!r}")
        return found

    def groups(self, host) -> list[Path]:
        places = {place.directory for place in host.places.values()}
        return [path for place in places for path in Path(place).glob(f"pytest-isolate-{self.process.pid}-*")]

    def gone_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > until:
                return False
            os.sched_yield()
        return True
