"""A process and all that come from it, by what the machine's /proc says of them: where no namespace
and no control group holds them.

Whoever looks, looks at something that moves: one that ends meanwhile, or gets another parent, is
missed or seen a second time.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Container

from pytest_isolate._linux.cgroup.files import READING

_TICK = 1 / os.sysconf("SC_CLK_TCK")
# Of proc(5)'s fields, behind the name the first of which is the third
_PARENT, _USER, _REAPED_USER = 4 - 3, 14 - 3, 16 - 3
_SIZES = re.compile(rb"^(Private_Dirty|Pss_Anon|Pss_Shmem|Pss|SwapPss): +(\d+) kB", re.MULTILINE)
_MOST_LOOKS = 3


def _content(path: str) -> bytes:
    """Give a whole file of /proc; nothing of a process that has ended, that is not ours to look
    into, or on whose file somebody holds a lease.
    """
    try:
        with open(os.open(path, READING), "rb", buffering=0) as file:
            return file.readall()
    except (FileNotFoundError, ProcessLookupError, PermissionError, BlockingIOError):
        return b""


def _fields(pid: int | str) -> list[bytes]:
    return _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def descendants(root: int) -> list[int]:
    """Give the pids of all processes that have ``root`` above them."""
    if not os.path.exists(f"/proc/{root}/task/{root}/children"):  # CONFIG_PROC_CHILDREN
        return _by_parents(root)
    found: dict[int, None] = {}
    waiting = [root]
    while waiting:
        children = [each for each in _children(waiting.pop()) if each not in found]
        found |= dict.fromkeys(children)
        waiting += children
    return list(found)


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    return [
        int(each)
        for thread in threads
        for each in _content(f"/proc/{pid}/task/{thread}/children").split()
    ]


def _by_parents(root: int) -> list[int]:
    """Where no process tells of its children: look at everybody's parent."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (fields := _fields(name)):
            below.setdefault(int(fields[_PARENT]), []).append(int(name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = below.pop(waiting.pop(), [])
        found += children
        waiting += children
    return found


def parent(directory: int) -> int:
    """Give the pid of the parent of a process whose /proc/PID is open.

    Raises ``OSError`` when it is gone.
    """
    with open(os.open("stat", READING, dir_fd=directory), "rb", buffering=0) as file:
        return int(file.readall().rpartition(b")")[2].split()[_PARENT])


def kill(pid: int, ours: Container[int]) -> int:
    """Kill a process if its parent still is one of ours: its number may be another's by now.

    Returns a pidfd of it. Raises ``OSError`` when it is gone, or has more rights than we have.
    """
    pidfd = os.pidfd_open(pid)
    try:
        directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if parent(directory) in ours:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(directory)
    except BaseException:
        os.close(pidfd)
        raise
    return pidfd


def processor(root: int) -> tuple[float, float]:
    """Seconds of processor time, in user mode and in the kernel, of all below ``root``, who is the
    parent of whom they leave behind.

    Of those who have ended what somebody who waited for them was told.
    """
    for _ in range(_MOST_LOOKS):  # who is reaped while we look would count never, or twice
        reaped = _fields(root)[_REAPED_USER : _REAPED_USER + 2]
        user, system = (int(ticks) for ticks in reaped or (0, 0))
        for pid in descendants(root):
            if fields := _fields(pid):
                user += int(fields[_USER]) + int(fields[_REAPED_USER])
                system += int(fields[_USER + 1]) + int(fields[_REAPED_USER + 1])
        if _fields(root)[_REAPED_USER : _REAPED_USER + 2] == reaped:
            break
    return user * _TICK, system * _TICK


def memory(root: int) -> tuple[int, tuple[str, int] | None]:
    """Bytes that all below ``root`` hold, and who of them holds most (command, bytes).

    Never more than it is.

    They are forks of ``root``, and what is still its memory too is not theirs: a process holds at
    least what nobody shares with it, and at least its share of everything less the share that
    ``root`` has of what both were born with.
    """
    own, shared = _sizes(root)
    born_with = shared - own
    total, largest = 0, None
    for pid in descendants(root):
        private, share = _sizes(pid)
        held = max(private, share - born_with)
        total += held
        if largest is None or held > largest[1]:
            largest = (
                _content(f"/proc/{pid}/comm").decode("utf-8", "backslashreplace").rstrip("\n"),
                held,
            )
    return total, largest


def own_memory() -> int:
    """Bytes of this process that it shares with nobody."""
    return _sizes(os.getpid())[0]


def _sizes(pid: int) -> tuple[int, int]:
    """Bytes of memory without a file: what is this process's alone, and its share of all that it
    has (smaps_rollup, Linux 4.14).
    """
    found = {
        name: int(size) << 10
        for name, size in _SIZES.findall(_content(f"/proc/{pid}/smaps_rollup"))
    }
    swapped = found.get(b"SwapPss", 0)
    share = (
        found[b"Pss_Anon"] + found.get(b"Pss_Shmem", 0)
        if b"Pss_Anon" in found
        else found.get(b"Pss", 0)
    )
    return found.get(b"Private_Dirty", 0) + swapped, share + swapped
