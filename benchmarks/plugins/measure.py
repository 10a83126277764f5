"""A pytest plugin (``-p plugins.measure``) that takes the time of every test inside the process.

A test's time is that from when pytest's loop takes it up to when it takes up the next one, the last
test's to the end of the loop: so whatever any plugin does for a test is in it, and the
interpreter's start is not. No hook of the test's protocol would do: those of an isolated test run
in its process. What is written is the list of stamps and the resident memory, as JSON, to the path
in ``ISOLATE_BENCH_STAMPS``.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

STAMPS = "ISOLATE_BENCH_STAMPS"


class Taken(list[pytest.Item]):
    """A session's tests, and what is called when the loop takes one up: the first to go through
    them, once it is about to begin.
    """

    def __init__(self, items: list[pytest.Item], call: Callable[[], None]) -> None:
        super().__init__(items)
        self._calls = [call]

    def __iter__(self) -> Iterator[pytest.Item]:
        """Go through them."""
        calls, self._calls = self._calls, []
        for item in super().__iter__():
            for call in calls:
                call()
            yield item


class Stamps:
    """The measuring hooks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamps: list[float] = []

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Stamp the begin of each test and the end of the last, and write.

        A forked child never comes back here.
        """
        items = session.items
        session.items = Taken(items, lambda: self._stamps.append(time.perf_counter()))
        try:
            return (yield)
        finally:
            session.items = items
            self._stamps.append(time.perf_counter())
            self._path.write_text(
                json.dumps({"stamps": self._stamps, "resident_mb": resident_bytes() / (1 << 20)})
            )


class StampsOfWorkers(Stamps):
    """The same in a controller of workers, which hears of a test's begin only, and of all of them
    together where it goes on.
    """

    def pytest_runtest_logstart(self) -> None:
        """Stamp a test's begin."""
        self._stamps.append(time.perf_counter())


def resident_bytes() -> int:
    """Resident memory of this process: proc_pid_statm(5), second field."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Register last of all: of wrappers that are ``tryfirst``, the one registered last is the
    outermost.
    """
    config = session.config
    if not hasattr(config, "workerinput"):
        workers = config.getoption("dist", "no") != "no" or config.getoption("workers", 0)
        kind = StampsOfWorkers if workers else Stamps
        config.pluginmanager.register(kind(Path(os.environ[STAMPS])), "benchmark-stamps")
