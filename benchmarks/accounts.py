"""A pytest plugin (``-p accounts``) that writes, at the end, how much processor time a test cost in each kind of process."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Count, and begin when all is warm."""
        if self._count == _WARM_UP:
            self._begin = _read(item.config)
        self._count += 1
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write milliseconds a test."""
        try:
            return (yield)
        finally:
            end, tests = _read(session.config), self._count - _WARM_UP
            figures = {name: (end[name] - self._begin[name]) / tests for name in end}
            self._path.write_text(json.dumps(figures), encoding="ascii")


def _read(config: pytest.Config) -> Account:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    account: Account = {
        "wall, ms": time.perf_counter() * 1e3,
        "pytest, ms": (own.ru_utime + own.ru_stime) * 1e3,
        "pytest, page faults": own.ru_minflt,
        "tests, ms": (children.ru_utime + children.ru_stime) * 1e3,
        "tests, page faults": children.ru_minflt,
        "builder, ms": 0,
        "PID 1s, ms": 0,
    }
    plugin = config.pluginmanager.getplugin("isolate-run")
    if plugin is not None:
        user, system, childrens_user, childrens_system = _times(plugin._run.machine.keeper._builder.pid)
        account |= {"builder, ms": user + system, "PID 1s, ms": childrens_user + childrens_system}
    return account


def _times(pid: int) -> list[float]:
    """Milliseconds, of the process and of what it reaped: proc_pid_stat(5), fields 14 to 17."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return [int(each) * 1e3 / _TICKS for each in fields[11:15]]


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Register as the outermost wrapper."""
    session.config.pluginmanager.register(Accounts(Path(os.environ[ACCOUNTS])), "benchmark-accounts")
