"""A pytest plugin (``-p plugins.accounts``) that writes, at the end, how much processor time a test
cost in each kind of process.
"""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugins.measure import Taken

if TYPE_CHECKING:
    from collections.abc import Generator

    Account = dict[str, float]

ACCOUNTS = "ISOLATE_BENCH_ACCOUNTS"
_TICKS = os.sysconf("SC_CLK_TCK")
_WARM_UP = 20  # tests


class Accounts:
    """Reads what the kernel has charged, after some first tests and at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._begin: Account = {}
        self._end: Account = {}

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Count, begin when all is warm, and write milliseconds a test."""

        def take() -> None:
            if self._count == _WARM_UP:
                self._begin = _read(session.config)
            self._count += 1
            if self._count == len(items):  # before the last test, with which the nursery goes
                self._end = _read(session.config)

        items = session.items
        session.items = Taken(items, take)
        try:
            return (yield)
        finally:
            session.items = items
            tests = self._count - 1 - _WARM_UP
            figures = {name: (self._end[name] - self._begin[name]) / tests for name in self._end}
            self._path.write_text(json.dumps(figures), encoding="ascii")


def _read(config: pytest.Config) -> Account:
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    account: Account = {
        "wall, ms": time.perf_counter() * 1e3,
        "pytest, ms": (own.ru_utime + own.ru_stime) * 1e3,
        "pytest, page faults": own.ru_minflt,
        "nursery, ms": 0,
        "nursery, page faults": 0,
        "tests, ms": (children.ru_utime + children.ru_stime) * 1e3,
        "tests, page faults": children.ru_minflt,
        "builder, ms": 0,
        "PID 1s, ms": 0,
    }
    plugin = config.pluginmanager.getplugin("isolate-run")
    if plugin is not None:
        builder = plugin._run.machine.builder.pid
        account["builder, ms"], account["PID 1s, ms"], _, _ = _spent(builder)
        if (nursery := _nursery(builder)) is not None:
            account["nursery, ms"], tests, account["nursery, page faults"], faults = _spent(nursery)
            account["tests, ms"] += tests
            account["tests, page faults"] += faults
    return account


def _nursery(builder: int) -> int | None:
    """The oldest child of pytest that is a fork of it."""
    mine = Path("/proc/self/cmdline").read_bytes()
    children = map(
        int,
        Path("/proc/self/task", str(os.getpid()), "children").read_text(encoding="ascii").split(),
    )
    return next(
        (
            pid
            for pid in children
            if pid != builder and Path(f"/proc/{pid}/cmdline").read_bytes() == mine
        ),
        None,
    )


def _spent(pid: int) -> tuple[float, float, int, int]:
    """Milliseconds of a process and of what it reaped, page faults of both: proc_pid_stat(5),
    fields 14 to 17, 10 and 11.
    """
    fields = [
        int(each)
        for each in (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1:]
        )
    ]
    user, system, childrens_user, childrens_system = (each * 1e3 / _TICKS for each in fields[10:14])
    return user + system, childrens_user + childrens_system, fields[6], fields[7]


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Register as the outermost wrapper."""
    session.config.pluginmanager.register(
        Accounts(Path(os.environ[ACCOUNTS])), "benchmark-accounts"
    )
