"""What this machine is, as far as a plan needs to know it: read from files, nothing tried yet."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from pytest_isolate._linux import cgroup, environment, names
from pytest_isolate._linux.environment import Environment
from pytest_isolate._linux.mounts import MountPoint


@dataclass(frozen=True)
class Host:
    """The facts of one machine and caller that decide how a sandbox is built."""

    gid: int
    places: dict[str, cgroup.Hierarchy]  # controllers that can be used
    obstacles: dict[str, str]  # controllers that cannot, and why
    mounts: tuple[MountPoint, ...]
    here: Environment
    refused: dict[str, cgroup.Hierarchy] = field(default_factory=dict)  # of those that cannot, where this caller may not write
    hosts: tuple[int, ...] = ()  # which /etc/hosts this is
    loopback: tuple[str, ...] = ("127.0.0.1",)  # addresses of the machine's own loopback
    knows_ipv6: bool = False  # whether a network namespace has any
    old_libc: bool = False  # glibc before 2.34 takes only a tmpfs for /dev/shm

    @property
    def uid(self) -> int:
        """The caller."""
        return self.here.uid

    @property
    def rootless(self) -> bool:
        """Whether sandboxes need a user namespace of their own."""
        return self.here.rootless


_NEEDED = ("memory", "pids", "cpu")


def look(mounts: list[MountPoint]) -> Host:
    """Read what there is. The mounts come from a ``MountTable``, which knows when they change."""
    own = cgroup.own_hierarchies()
    places, obstacles, refused = {}, {}, {}
    for name in cgroup.CONTROLLERS:
        if name not in own:
            if name in _NEEDED:
                obstacles[name] = f"no control group hierarchy has the controller {name}"
        elif (reason := cgroup.obstacle(own[name])) is not None:
            obstacles[name] = reason
            refused[name] = own[name]
        else:
            places[name] = own[name]
    if not {"io", "blkio"} & places.keys():
        obstacles.setdefault("io", obstacles.pop("blkio", "no control group hierarchy has the controller io or blkio"))
        refused |= {"io": refused["blkio"]} if "blkio" in refused else {}
    ipv6 = _content("/proc/net/if_inet6")
    loopback = ("127.0.0.1", "::1") if f"{1:032x}" in (ipv6 or "") else ("127.0.0.1",)
    here = environment.look()
    return Host(
        os.getegid(), places, obstacles, tuple(mounts), here, refused, names.seen(), loopback, ipv6 is not None, _is_old_libc()
    )  # fmt: skip


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:  # the kernel was started without it
        return None


def _is_old_libc() -> bool:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # not glibc: musl asks nobody
        return False
    numbers = version.split(".")
    return name == "glibc" and all(map(str.isdecimal, numbers)) and tuple(map(int, numbers)) < (2, 34)


_SMALL = 1 << 16  # bytes; larger files that no overlay can cover are shown read-only instead of copied


class Tree:
    """The caller's view of the host's files, as far as a plan asks for it."""

    def kind(self, path: str) -> str:
        """``"directory"``, ``"small"`` (a file to copy), ``"node"`` (a socket or FIFO), ``"symlink"``, ``"other"`` or ``"none"``."""
        try:
            look = os.lstat(path)
        except OSError:
            return "none"
        if stat.S_ISLNK(look.st_mode):
            return "symlink"
        if stat.S_ISDIR(look.st_mode):
            return "directory"
        if stat.S_ISSOCK(look.st_mode) or stat.S_ISFIFO(look.st_mode):
            return "node"
        small = stat.S_ISREG(look.st_mode) and look.st_size <= _SMALL and os.access(path, os.R_OK)
        return "small" if small else "other"

    def entries(self, path: str) -> list[str]:
        """Names in a directory; none where this user may not look."""
        try:
            return sorted(os.listdir(path))
        except PermissionError:
            return []

    def disks(self) -> list[str]:
        """Block devices that hold something, as ``major:minor``."""
        found = []
        for name in self.entries("/sys/block") if os.path.isdir("/sys/block") else []:
            with open(f"/sys/block/{name}/size", encoding="ascii") as size, open(f"/sys/block/{name}/dev", encoding="ascii") as number:
                if int(size.read()):
                    found.append(number.read().strip())
        return found

    def real(self, path: str) -> str:
        """A path without symbolic links."""
        return os.path.realpath(path)

    def text(self, path: str) -> str:
        """What is in a small file; nothing where there is none."""
        return names.read(path)

    def link(self, path: str) -> str:
        """Where a symbolic link points."""
        return os.readlink(path)
