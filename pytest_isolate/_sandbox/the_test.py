"""The process of a test, as /proc has it."""

from __future__ import annotations

import signal

from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import ending

_PF_EXITING = 0x4  # of include/linux/sched.h, in the flags of proc(5)'s stat


def of(pid: int, namespaces: int) -> int | None:
    """Find the test's own process by that which pytest has forked: without root it is the
    go-between's child.
    """
    if not namespaces & Clone.NEWUSER:
        return pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return next(map(int, file.read().split()), None)


def is_dying(pid: int | None) -> bool:
    """Whether it is on its way out, which takes longer the more memory it holds."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.readall().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(int(fields[6]) & _PF_EXITING)


def see_to_go_between(pid: int, pidfd: int, namespaces: int) -> None:
    """End a go-between that somebody has stopped and whose test has ended: it is the one who would
    say so.
    """
    if not namespaces & Clone.NEWUSER or not ending.is_stopped(found := ending.state(pid)):
        return
    if (test := of(pid, namespaces)) is not None and ending.has_ended(ending.state(test)):
        ending.troubles.append(
            f"isolate: {ending.TEST} (pid {pid}) {found} behind its test: it was killed"
        )
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
