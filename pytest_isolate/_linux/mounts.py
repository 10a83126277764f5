"""What is mounted where: ``/proc/self/mountinfo``, parsed, and re-read only after it changed
(proc(5)).
"""

from __future__ import annotations

import os
import re
import select
from dataclasses import dataclass

from pytest_isolate._linux.syscalls import Mount

_ID = re.compile(r"[0-9]{1,10}")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_FLAGS = {
    "nosuid": Mount.NOSUID,
    "nodev": Mount.NODEV,
    "noexec": Mount.NOEXEC,
    "nosymfollow": Mount.NOSYMFOLLOW,
}


@dataclass(frozen=True)
class MountPoint:
    """One line of mountinfo.

    ``root`` is the directory of the file system that is mounted at ``path``.
    """

    id: int
    parent: int
    root: str
    path: str
    options: frozenset[str]
    fstype: str
    super_options: frozenset[str]

    @property
    def read_only(self) -> bool:
        """Whether the mount or its whole file system is read-only."""
        return "ro" in self.options or "ro" in self.super_options

    @property
    def flags(self) -> int:
        """What may not be done with files of this mount, whatever lies over it: ``MS_NOEXEC`` and
        its kind.
        """
        return sum(flag for word, flag in _FLAGS.items() if word in self.options)


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def parse_mountinfo(text: str) -> list[MountPoint]:
    """Parse mountinfo. Lines that are not of the kernel's form are left out."""
    mounts = []
    for line in text.split("\n"):
        before, separator, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if (
            not separator
            or len(fields) < 6
            or len(tail) < 3
            or not (_ID.fullmatch(fields[0]) and _ID.fullmatch(fields[1]))
        ):
            continue
        mounts.append(
            MountPoint(
                int(fields[0]),
                int(fields[1]),
                _unescape(fields[3]),
                _unescape(fields[4]),
                frozenset(fields[5].split(",")),
                tail[0],
                frozenset(tail[2].split(",")),
            )
        )
    return mounts


def _mount_id_at(path: str) -> int | None:
    """Give the id of the mount that a look-up of ``path`` ends on; None when this user cannot get
    there.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            return next(int(line.split()[1]) for line in info if line.startswith("mnt_id:"))
    finally:
        os.close(fd)


def visible(mounts: list[MountPoint]) -> list[MountPoint]:
    """Those mounts that a path look-up reaches: not hidden under a later one, not behind a closed
    door.
    """
    return [mount for mount in mounts if _mount_id_at(mount.path) == mount.id]


class MountTable:
    """The visible mounts of this process, cached: the kernel says by POLLPRI when they changed."""

    def __init__(self) -> None:
        self._file = open("/proc/self/mountinfo", "rb", buffering=0)  # noqa: SIM115 - polled for as long as we live
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLPRI)
        self._visible: list[MountPoint] | None = None

    @property
    def fd(self) -> int:
        """Our descriptor, which no sandbox may inherit."""
        return self._file.fileno()

    def visible(self) -> list[MountPoint]:
        """Give the mounts a path look-up reaches now."""
        if self._poll.poll(0) or self._visible is None:
            self._file.seek(0)
            self._visible = visible(parse_mountinfo(os.fsdecode(self._file.readall() or b"")))
        return self._visible

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()
