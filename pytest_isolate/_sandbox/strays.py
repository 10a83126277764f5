"""Processes of a sandbox that are children of pytest, as the test's own process is."""

from __future__ import annotations

import contextlib
import os

from pytest_isolate._linux.syscalls import Clone


def of(pidfd: int, namespaces: int) -> list[int]:
    """Find children of this thread that are processes of a sandbox, by its PID 1: siblings that a
    test made itself by clone(2) with CLONE_PARENT.
    """
    if namespaces & Clone.NEWUSER:
        # There they are the go-between's, and after it the machine's PID 1 reaps them
        return []
    found = []
    # PID 1 is gone, and it goes last; or this kernel has no such file, or a security module
    # lets nobody look
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        # As text each of the two costs twice the kernel's part
        with open("/proc/thread-self/children", "rb", buffering=0) as file:
            children = file.readall()
        inside = os.stat(f"/proc/{pid_of(pidfd)}/ns/pid").st_ino
        for child in map(int, children.split()):
            # somebody else's: reaped meanwhile, or of one whom this process may not look at, as
            # it may at ours
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if os.stat(f"/proc/{child}/ns/pid").st_ino == inside:
                    found.append(child)
    return found


def pid_of(pidfd: int) -> int:
    """Give the number of a process by its pidfd; -1 when it is gone."""
    with open(f"/proc/self/fdinfo/{pidfd}", "rb", buffering=0) as file:
        lines = file.readall().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(b"Pid:"))
