"""What this machine is, as far as a plan needs to know it: read from files, nothing tried yet."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_isolate._linux import environment, names
from pytest_isolate._linux.cgroup import locate
from pytest_isolate._linux.cgroup.hierarchy import Hierarchy
from pytest_isolate._linux.environment import Environment
from pytest_isolate._linux.mounts import MountPoint


@dataclass(frozen=True)
class Host:
    """The facts of one machine and caller that decide how a sandbox is built."""

    gid: int
    places: dict[str, Hierarchy]  # controllers that can be used
    obstacles: dict[str, str]  # controllers that cannot, and why
    mounts: tuple[MountPoint, ...]
    here: Environment
    # Of those that cannot, where this caller may not write
    refused: dict[str, Hierarchy] = field(default_factory=dict)
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

    @property
    def counts_time(self) -> bool:
        """Whether a control group counts processor time."""
        return any(place.counts_time == name for name, place in self.places.items())

    @functools.cached_property
    def disks(self) -> tuple[str, ...]:
        """Block devices that hold something, as ``major:minor``."""
        return tuple(_disks())


_NEEDED = ("memory", "pids", "cpu")


def look(mounts: list[MountPoint]) -> Host:
    """Read what there is. The mounts come from a ``MountTable``, which knows when they change."""
    own = locate.own_hierarchies()
    places, obstacles, refused = {}, {}, {}
    for name in locate.CONTROLLERS:
        if name not in own:
            if name in _NEEDED:
                obstacles[name] = f"no control group hierarchy has the controller {name}"
        elif (reason := locate.obstacle(own[name])) is not None:
            obstacles[name] = reason
            refused[name] = own[name]
        else:
            places[name] = own[name]
    if not {"io", "blkio"} & places.keys():
        obstacles.setdefault(
            "io",
            obstacles.pop("blkio", "no control group hierarchy has the controller io or blkio"),
        )
        refused |= {"io": refused["blkio"]} if "blkio" in refused else {}
    ipv6 = _content("/proc/net/if_inet6")
    loopback = ("127.0.0.1", "::1") if f"{1:032x}" in (ipv6 or "") else ("127.0.0.1",)
    here = environment.look()
    return Host(
        os.getegid(), places, obstacles, tuple(mounts), here, refused, names.seen(), loopback,
        ipv6 is not None, _is_old_libc()
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
    return (
        name == "glibc" and all(map(str.isdecimal, numbers)) and tuple(map(int, numbers)) < (2, 34)
    )


def _disks() -> Iterator[str]:
    for name in sorted(os.listdir("/sys/block")) if os.access("/sys/block", os.R_OK) else []:
        with (
            open(f"/sys/block/{name}/size", encoding="ascii") as size,
            open(f"/sys/block/{name}/dev", encoding="ascii") as number,
        ):
            if int(size.read()):
                yield number.read().strip()
