"""The file system of a sandbox, as steps: what of the machine's is shown how, and where what is
written lands. Touches nothing.

The root of a sandbox is put together below ``/proc``, the one directory whose host content no
sandbox ever shows: a tmpfs there holds everything private (so its size is the ``disk`` limit), and
``root`` in it becomes ``/``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pytest_isolate._linux.host import Host
from pytest_isolate._linux.mounts import MountPoint
from pytest_isolate._linux.root import Root
from pytest_isolate._linux.syscalls import Mount
from pytest_isolate._sandbox import steps
from pytest_isolate._sandbox.overlays import (
    Hosts,
    Overlay,
    OverlayOrReadOnly,
    OverlayOrWholeCopy,
    OwnName,
    Part,
    PutLayers,
    Seed,
    Skeleton,
    TakeApart,
)
from pytest_isolate._sandbox.recipe import Apart
from pytest_isolate._sandbox.step import Step

PRIVATE = "/proc"
ROOT = PRIVATE + "/root"
REBUILT = ("/proc", "/sys", "/dev")  # never taken from the host as they are
_PSEUDO = frozenset({"autofs", "fuse.portal", "rpc_pipefs", "binfmt_misc", "fusectl"})
# Doors to the machine's other namespaces (`ip netns add`, Docker, snap) and processes (a chroot's
# /proc): what lies below is shown.
_LEFT_OUT = frozenset({"nsfs", "proc"})


@dataclass
class Layout:
    """The file system part of a plan while it grows."""

    host: Host
    root: Root
    places: tuple[str, ...] = ()
    # Then nothing is the machine's own, behind whose sockets and FIFOs its programs listen
    strict: bool = False
    binds: tuple[str, ...] = ()  # paths that are put there later
    hidden: tuple[str, ...] = ()  # paths that are not to be there
    hosts: Hosts | None = None  # what /etc/hosts is to be, and where
    steps: list[Step] = field(default_factory=list)
    uppers: list[tuple[str, str]] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)
    points: frozenset[str] = frozenset()  # directories with an overlay of their own for layers
    seeds: tuple[Seed, ...] = ()  # what layers have elsewhere
    renames: bool = True  # as of an overlay
    parts: tuple[Part, ...] = ()  # what is made over another root, below what a test writes

    def overlay(self, path: str, step: type[Overlay] = Overlay) -> None:
        """Show a directory with a private layer over it; the kind of step says what there is where
        the kernel has none: else an error.
        """
        name = str(len(self.uppers))
        doors = self._doors(path) if self.host.rootless else ()
        hosts = self.hosts
        if hosts is not None and not (
            hosts.place.startswith(path.rstrip("/") + "/")
            and self._mount_of(hosts.place) is self._mount_of(path)
        ):
            hosts = None  # they are another overlay's
        private, rootless = f"{PRIVATE}/{name}", self.host.rootless
        lowers, flags = self._below(path).lowers(path), self._flags(path)
        if path == "/" and self.parts:
            skeleton = f"{PRIVATE}/skeleton"
            self.steps.append(Skeleton(skeleton, lowers[0], self.parts, rootless))
            lowers = (skeleton, *lowers)
        seeds = tuple(
            seed
            for seed in self.seeds
            if is_in(seed.path, ("" if path == "/" else path,))
            and self._mount_of(seed.path) is self._mount_of(path)
            and path not in self.points
        )
        self.steps.append(
            step(
                path, lowers, private, inside(path), rootless, doors, flags, hosts, seeds,
                self.renames, self._hidden_in(path),
            )
        )  # fmt: skip
        self.uppers.append((path, f"{name}.upper"))

    def _below(self, path: str) -> Root:
        """Give what is below the overlay of a directory: layers are below those of points only."""
        has_all = path in self.points or len(self.root.layers) == 1
        return self.root if has_all else self.root.base

    def lay_points(self) -> None:
        """Show the directories in which layers have something, where no other step has."""
        for path in sorted(self.points.difference(path for path, _ in self.uppers)):
            self.overlay(path)

    def lay_points_again(self, above: str) -> None:
        """Show those in a directory over which there is another mount now."""
        for path in sorted(self.points):
            if path.startswith(above.rstrip("/") + "/"):
                self.overlay(path)

    def _hidden_in(self, path: str) -> tuple[str, ...]:
        """Give what is hidden of the mount that an overlay is over, relative to it."""
        start, mount = path.rstrip("/") + "/", self._mount_of(path)
        return tuple(
            each.removeprefix(start)
            for each in self.hidden
            if each.startswith(start) and self._mount_of(os.path.dirname(each)) is mount
        )

    def _mount_of(self, path: str) -> MountPoint | None:
        """Give the mount that a path lies on."""
        over = [
            each
            for each in self.host.mounts
            if is_in(path, ("" if each.path == "/" else each.path,))
        ]
        return max(over, key=lambda each: len(each.path), default=None)

    def _flags(self, path: str) -> int:
        """Tell what may not be done with the files of a path, which no layer over it makes
        possible.
        """
        mount = self._mount_of(path)
        return 0 if mount is None else mount.flags

    def _doors(self, path: str) -> tuple[str, ...]:
        """Directories of an overlay to copy up beforehand, relative to it, outer ones first.

        A write copies up the directories above it with their owner, and an owner whom our user
        namespace has no name for makes that fail (EOVERFLOW). So those on the way to the places
        where tests write are put into the upper layer at once.
        """
        start = path.rstrip("/") + "/"
        doors: dict[str, None] = {}
        for place in self.places:
            if place.startswith(start) and place != path:
                parts = place.removeprefix(start).split("/")
                doors |= dict.fromkeys("/".join(parts[: end + 1]) for end in range(len(parts)))
        root, mount = self._below(path), self._mount_of(path)
        return tuple(
            door
            for door in doors
            if root.kind(start + door) == "directory" and self._mount_of(start + door) is mount
        )

    def cover(self, path: str, mount: MountPoint) -> None:
        """Show a mount that has none below it that a parent would hide, with private writes."""
        kind = self.root.kind(path)
        if path in self.points:
            self.overlay(path)
        elif mount.fstype in _LEFT_OUT:
            self._leave_out(path, kind)
        elif kind in {"small", "node"} and mount.fstype not in _PSEUDO:
            # A node would be a door to the program behind it, also on a read-only mount
            self._copy(path)
        elif (
            kind == "directory" and self.strict and mount.read_only and mount.fstype not in _PSEUDO
        ):
            self.overlay(path, OverlayOrReadOnly)
            self.steps.append(steps.ReadOnly(inside(path)))
        elif kind in {"small", "other"} or (
            kind == "directory" and (mount.read_only or mount.fstype in _PSEUDO)
        ):
            self.steps.append(steps.Bind(path, inside(path), read_only=True))
        elif kind == "directory":
            self.overlay(
                path, Overlay if self._is_too_much_to_lose(path, mount) else OverlayOrReadOnly
            )

    def _leave_out(self, path: str, kind: str) -> None:
        """Show what is below the mount where a directory is taken apart; an overlay
        does by itself.
        """
        if self.host.rootless and kind != "none":
            self.steps.append(
                steps.Mkdir(inside(path)) if kind == "directory" else steps.Touch(inside(path))
            )

    def _copy(self, path: str) -> None:
        """Copy a file that is a mount: without root it lies in a directory of ours, with root over
        an overlay's.
        """
        name = f"{len(self.uppers)}.file"
        target = inside(path) if self.host.rootless else f"{PRIVATE}/{name}"
        self.steps.append(steps.Copy(self.root.place(path), target, self.host.rootless))
        if self.hosts is not None and self.hosts.place == path:
            self.steps.append(OwnName(target, self.hosts))
        if not self.host.rootless:
            self.steps.append(steps.Bind(target, inside(path)))
            self._restrict(path, inside(path))
            self.uppers.append((path, name))

    def _restrict(self, path: str, target: str) -> None:
        """Have a mount of ours, whose file system forbids devices and set-uid programs, forbid what
        the machine's does too.
        """
        if (more := self._flags(path)) & ~(Mount.NOSUID | Mount.NODEV):
            self.steps.append(
                steps.Mount(
                    "",
                    target,
                    "",
                    Mount.REMOUNT | Mount.BIND | Mount.NOSUID | Mount.NODEV | more,
                    "",
                )
            )

    def _is_too_much_to_lose(self, path: str, mount: MountPoint) -> bool:
        """Overlays that are too deep for one more, where tests write: in a sandbox in a sandbox
        everything would be read-only.
        """
        return mount.fstype == "overlay" and any(is_in(place, (path,)) for place in self.places)

    def directory(self, path: str, place: str | None = None) -> None:
        """Without root an overlay must not have mounts below it: take such a directory apart.

        ``place`` is where it is made, in the private file system.
        """
        place = place or f"root{path if path != '/' else ''}"
        mount = next((each for each in self.host.mounts if each.path == path), None)
        if mount is not None and mount.fstype in _LEFT_OUT:
            self.cover(path, mount)
            return
        self.steps.append(steps.Mirror(path, inside(path), user=True))
        whole = (
            mount is not None
            and path != "/"
            and ((mount.read_only and not self.strict) or mount.fstype in _PSEUDO)
        )
        if mount is not None and (whole or not below(self.host.mounts, path)):
            self.cover(path, mount)
            return
        if path == "/":  # pivot_root(2) wants a mount point
            self.steps.append(steps.Bind(ROOT, ROOT))
        elif self._flags(path) & ~(Mount.NOSUID | Mount.NODEV):
            self.steps.append(steps.Bind(inside(path), inside(path)))
            self._restrict(path, inside(path))
        self._take_apart(path, place)

    def temporary(self, path: str, step: type[Overlay] = OverlayOrWholeCopy) -> None:
        """Make a directory private on a root that is the host's.

        A test that could not write there would not have what it was promised.
        """
        if not (self.host.rootless and below(self.host.mounts, path)):
            self.overlay(path, step)
            return
        name = f"{len(self.uppers)}.upper"
        self.steps.append(steps.Mirror(path, f"{PRIVATE}/{name}", user=True))
        self.steps.append(steps.Bind(f"{PRIVATE}/{name}", inside(path)))
        self._restrict(path, inside(path))
        self._take_apart(path, name)

    def _take_apart(self, path: str, place: str) -> None:
        """Mounts below are known now and get steps of their own; what else is in there the builder
        lists when the test begins.
        """
        start = path.rstrip("/") + "/"
        mounts = {
            each.path.removeprefix(start).split("/")[0] for each in below(self.host.mounts, path)
        } - {""}
        mounts |= {
            each.removeprefix(start)
            for each in REBUILT
            if each.startswith(start) and "/" not in each.removeprefix(start)
        }
        seeds = {seed.path: seed for seed in self.seeds if os.path.dirname(seed.path) == path}
        mounts |= {each.removeprefix(start) for each in seeds}
        lasting = (*self.binds, *self.points, *(seed.path for seed in self.seeds))
        fixed = {
            each.removeprefix(start).split("/")[0] for each in lasting if each.startswith(start)
        }
        layers = f"{len(self.uppers)}.apart"
        ways = tuple(each for each in self.places if each == path or each.startswith(start))
        self.uppers.append((path, place))
        self.apart.append(Apart(path, place, layers))
        own, binds = tuple(sorted(mounts)), tuple(sorted(fixed))
        self.steps.append(
            TakeApart(
                path,
                inside(path),
                f"{PRIVATE}/{layers}",
                own,
                binds,
                ways,
                self._flags(path),
                self.hosts,
                tuple(seed for seed in self.seeds if is_in(seed.path, [path]) or path == "/"),
                tuple(each for each in self.hidden if each.startswith(start)),
            )
        )
        for name in sorted(mounts):
            child = start + name
            if child in self.hidden:
                continue
            if child in REBUILT:
                self.steps.append(steps.Mkdir(inside(child)))
            elif child in seeds:
                self.steps.append(PutLayers(seeds[child], inside(child), user=True))
            elif self.root.kind(child) == "directory":
                self.directory(child, f"{place}/{name}")
            elif (
                mount := next((each for each in self.host.mounts if each.path == child), None)
            ) is not None:
                self.cover(child, mount)


def inside(path: str) -> str:
    """Where a path of the sandbox is while it is built."""
    return ROOT if path == "/" else ROOT + path


def below(mounts: tuple[MountPoint, ...], path: str) -> list[MountPoint]:
    """Give the mounts below a path."""
    start = path.rstrip("/") + "/"
    return [each for each in mounts if each.path.startswith(start)]


def is_in(path: str, parents: tuple[str, ...] | list[str]) -> bool:
    """Whether a path is one of others, or below one."""
    return any(path == parent or path.startswith(parent + "/") for parent in parents)
