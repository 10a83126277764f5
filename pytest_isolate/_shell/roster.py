"""Which sandboxes of this machine can be entered: each run has them in a nameless file in memory.

``/proc/PID/fd`` shows that file to whoever may look at its process, its own user and root, and to
nobody else. It goes away with the process, whatever that dies of, so there is no directory to be
guarded and nothing to sweep.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_isolate._errors import Step
from pytest_isolate._shell.door import Door

_NAME = "pytest-isolate-sandboxes"
_SHOWN = f"/memfd:{_NAME} (deleted)"
_LARGEST = 64 << 20  # bytes
_MOST_LOOKS = 5  # at a file that is written meanwhile


class Roster:
    """Those of this process."""

    def __init__(self) -> None:
        with Step("make", "a file in memory for the sandboxes that can be entered"):
            self.fd = os.memfd_create(_NAME)
        self._doors: dict[int, Door] = {}

    def add(self, key: int, door: Door) -> None:
        """Have it entered by whoever may."""
        self._doors[key] = door
        self._write()

    def remove(self, key: int) -> None:
        """Have it entered by nobody more."""
        if self._doors.pop(key, None) is not None:
            self._write()

    def _write(self) -> None:
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, b"\n".join(door.pack() for door in self._doors.values()), 0)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


@dataclass(frozen=True)
class Listed:
    """A sandbox of somebody's run."""

    door: Door
    pytest: int  # pid
    owner: tuple[int, int, tuple[int, ...]]  # of pytest: uid, gid, further groups


def find() -> Iterator[Listed]:
    """Find those that this user may enter: its own, for root everybody's."""
    own_namespace = os.stat("/proc/self/ns/pid").st_ino
    seen: set[tuple[int, int]] = set()
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        # It has ended, or is not for us to look at
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            yield from _of(pid, seen, own_namespace)


def _of(pid: int, seen: set[tuple[int, int]], own_namespace: int) -> Iterator[Listed]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        if os.readlink(path) != _SHOWN:
            continue
        look = os.stat(path)
        # A fork of pytest's has it too; and in another pid namespace numbers mean others
        if (key := (look.st_dev, look.st_ino)) in seen:
            continue
        if os.stat(f"/proc/{pid}/ns/pid").st_ino != own_namespace:
            continue
        owner = _owner(pid)
        if os.geteuid() not in {0, owner[0]}:
            continue
        seen.add(key)
        for door in _read(path):
            # A test without namespaces could have made this file, but no such door
            if door.namespace != own_namespace and door.is_there:
                yield Listed(door, pid, owner)


def _owner(pid: int) -> tuple[int, int, tuple[int, ...]]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    uid, gid = int(lines["Uid"].split()[1]), int(lines["Gid"].split()[1])
    return uid, gid, tuple(map(int, lines["Groups"].split()))


def _read(path: str) -> list[Door]:
    """Read what another process writes; nothing of what is no roster of this version's."""
    for _ in range(_MOST_LOOKS):
        with open(path, "rb", buffering=0) as file:
            lines = file.read(_LARGEST).splitlines()
        # Half of it is there, or another version's
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return [Door.unpack(line) for line in lines]
    return []
