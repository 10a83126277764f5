"""Who has a socket: this process, one that it started, or one that left its parent, as daemons do.

All by /proc.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _TERMINAL, _STARTED = 4 - 3, 7 - 3, 22 - 3
# It ended while we looked, or is another user's
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
_PREFIX = "socket:["
_CURRENT = b"PYTEST_CURRENT_TEST="
_WORKER = b"PYTEST_XDIST_WORKER="


def own_servers() -> set[int]:
    """Sockets of this process that may wait for somebody: inodes."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            look = os.fstat(int(name))
            if stat.S_ISSOCK(look.st_mode) and _waits(int(name)):
                found.add(look.st_ino)
        except OSError:
            continue  # the descriptor of the listing itself, or closed by a thread
    return found


def _waits(fd: int) -> bool:
    with contextlib.closing(_socket.socket(fileno=os.dup(fd))) as each:
        return each.type == _socket.SOCK_DGRAM or bool(
            each.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN)
        )


def tree(roots: Iterable[int], since: int) -> Iterator[tuple[int, int]]:
    """Return processes that began since a tick, and their descendants: each with the root that it
    stands below.
    """
    waiting = [(pid, pid) for pid in roots if (started(pid) or 0) >= since]
    while waiting:
        pid, root = waiting.pop()
        yield pid, root
        waiting += [(child, root) for child in _children(pid)]


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(*_GONE):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(*_GONE),
                open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file,
            ):
                yield from map(int, file.readall().split())


class SetUp(NamedTuple):
    """The set-up of a fixture in which processes were started."""

    fixture: str
    said: str  # what PYTEST_CURRENT_TEST was
    begin: int  # ticks
    end: int


def daemons(set_ups: Sequence[SetUp]) -> Iterator[tuple[int, str]]:
    """Return processes that left their parent, with the fixture in whose set-up they were started.

    Pytest's own word of itself in their environment says it. Some write over that (redis-server, to
    show what it does): of those it is who began while the fixture was set up, in pytest's own
    control groups, without a terminal, and whose parent is older than that.
    """
    told = {_CURRENT + os.fsencode(each.said): each.fixture for each in set_ups}
    worker = _WORKER + os.fsencode(os.environ.get("PYTEST_XDIST_WORKER", ""))
    own, since = _read("/proc/self/cgroup"), min(each.begin for each in set_ups)
    for name in os.listdir("/proc"):
        if not name.isdigit() or (began := started(int(name)) or 0) < since:
            continue
        variables = _read(f"/proc/{name}/environ").split(b"\0")
        words = [each for each in variables if each.startswith(_CURRENT)]
        if words:
            theirs = next((each for each in variables if each.startswith(_WORKER)), _WORKER)
            fixture = told.get(words[0]) if theirs == worker else None
        else:
            fixture = next(
                (each.fixture for each in set_ups if each.begin <= began <= each.end), None
            )
            if fixture is not None and not (
                _is_daemon(int(name), since) and _read(f"/proc/{name}/cgroup") == own
            ):
                fixture = None
        if fixture is not None:
            yield int(name), fixture


def _is_daemon(pid: int, since: int) -> bool:
    fields = _stat(pid)
    return (
        bool(fields) and fields[_TERMINAL] == b"0" and (started(int(fields[_PARENT])) or 0) < since
    )


def started(pid: int) -> int | None:
    """Return the tick at which a process began; None if it is gone."""
    fields = _stat(pid)
    return int(fields[_STARTED]) if fields else None


def _stat(pid: int) -> list[bytes]:
    """Fields of proc_pid_stat(5) behind the name, the first of which is the third."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    """Nothing of what is gone, or another user's."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except _GONE:
        return b""


def now() -> int:
    """Return the present tick."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)


def sockets_of(pid: int) -> set[int]:
    """Inodes of the sockets that a process has open; none of one that this user may not look at."""
    found = set()
    with contextlib.suppress(*_GONE):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(*_GONE):
                link = os.readlink(f"/proc/{pid}/fd/{name}")
                if link.startswith(_PREFIX):
                    found.add(int(link[len(_PREFIX) : -1]))
    return found


def holder(inode: int) -> str | None:
    """Who has a socket, of all processes that this user may look at; the first of them, which is
    the one that made it.
    """
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if inode in sockets_of(pid):
            return command(pid)
    return None


def command(pid: int) -> str:
    """``4711 (postgres)``."""
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            return f"process {pid} ({file.readall().strip().decode('utf-8', 'replace')})"
    except _GONE:
        return f"process {pid}"


def directory(pid: int) -> str | None:
    """Where a process stands; None if it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except _GONE:
        return None
