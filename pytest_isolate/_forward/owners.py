"""Who has a socket: this process, one that it started, or one that left its parent, as daemons do. All by /proc."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterable, Iterator

_STARTED = 22 - 3  # of proc_pid_stat(5)'s fields behind the name, the first of which is the third
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)  # it ended while we looked, or is another user's
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
    with socket.socket(fileno=os.dup(fd)) as each:
        return each.type == socket.SOCK_DGRAM or bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def tree(roots: Iterable[int], since: int) -> Iterator[tuple[int, int]]:
    """Processes that began since a tick, and their descendants: each with the root that it stands below."""
    waiting = [(pid, pid) for pid in roots if (started(pid) or 0) >= since]
    while waiting:
        pid, root = waiting.pop()
        yield pid, root
        waiting += [(child, root) for child in _children(pid)]


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(*_GONE):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(*_GONE), open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                yield from map(int, file.readall().split())


def daemons(since: int, said: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Processes that are nobody's child any more, with what pytest said of itself in their environment when they were started."""
    told = {_CURRENT + os.fsencode(text): text for text in said}
    worker = _WORKER + os.fsencode(os.environ.get("PYTEST_XDIST_WORKER", ""))
    for name in os.listdir("/proc"):
        if not name.isdigit() or (started(int(name)) or 0) < since:
            continue
        with contextlib.suppress(*_GONE), open(f"/proc/{name}/environ", "rb", buffering=0) as file:
            variables = file.readall().split(b"\0")
            text = next((told[each] for each in variables if each in told), None)
            theirs = next((each for each in variables if each.startswith(_WORKER)), _WORKER)
            if text is not None and theirs == worker:
                yield int(name), text


def started(pid: int) -> int | None:
    """The tick at which a process began; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.readall().rpartition(b")")[2].split()[_STARTED])
    except _GONE:
        return None


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
    """Who has a socket, of all processes that this user may look at; the first of them, which is the one that made it."""
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
