"""From the steps of a sandbox to mounts of a bundle, and to what has to lie in the bundle for them.

Theory of operation. A runtime mounts what a bundle lists, onto directories of the bundle's root,
and does nothing between two mounts. So all that a sandbox's first process makes beforehand lies in
the bundle: ``rootfs`` has directories to mount on, ``rootfs/.isolate`` what private layers begin
with. Over the latter a tmpfs is mounted first, which the runtime fills with what is there
(``tmpcopyup``): each run begins anew, with one limit for all that it writes. What is below a layer
is reached by the link ``.isolate/lower``, which leads to ``/``: another root is another link.
Options of mounts are relative, to the bundle for crun and to ``rootfs`` for runc, which is there
before anything is mounted on it: so in both lies a link ``.here`` that leads to ``rootfs`` by its
name. No overlay can be ``/`` itself (to crun), which is taken apart, and read-only. runc cannot
copy whiteouts, so what is hidden has an empty file system over it. What of a private layer is not
the user's to write he could not remove from a bundle either: it loses that right in the container.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pytest_isolate._linux.host import Host
from pytest_isolate._linux.root import Root
from pytest_isolate._linux.syscalls import Mount as Flag
from pytest_isolate._oci.directories import HERE, NEW, OWN, Directories, inside, part
from pytest_isolate._plan.layout import PRIVATE, ROOT, is_in
from pytest_isolate._sandbox import copies, overlays, steps
from pytest_isolate._sandbox.overlays import Overlay
from pytest_isolate._sandbox.step import Step

_LONGEST = 4000  # bytes of options: mount(2) takes a page
_FLAGS = {Flag.NOEXEC: "noexec", Flag.NOSUID: "nosuid", Flag.RDONLY: "ro"}
_KEPT = frozenset({
    "noatime", "nodev", "nodiratime", "noexec", "nosuid", "relatime", "strictatime",
})  # fmt: skip
_SAFE = ["nosuid", "noexec", "nodev"]

Entry = dict[str, Any]


class NoBundleError(Exception):
    """What a bundle cannot carry, in words."""


class Tree:
    """The mounts, while they are found, and the bundle's directories, while they are made."""

    def __init__(self, bundle: Path, root: Root, host: Host, *, without: frozenset[str]) -> None:
        self._ours = Directories(bundle, root, user=host.rootless)
        self.mounts: list[Entry] = []
        self.masked: list[str] = []
        self.read_only: list[str] = []
        self.hostname = ""
        self.size: tuple[int, int] | None = None  # bytes and files
        self._host, self._user, self._without = host, host.rootless, without

    @property
    def modes(self) -> dict[str, int]:
        """Of directories, to be set inside."""
        return self._ours.modes

    def add(self, step: Step) -> None:
        """Add what a step does. Raises ``NoBundleError`` and ``OSError``."""
        if (handler := handler_of(type(step))) is None:
            raise NoBundleError(f"no bundle has the step {step.said!r} ({step.path_said})")
        handler(self, step)

    def finished(self) -> list[Entry]:
        """Give all mounts: the private file system first."""
        options = ["nosuid", "nodev", "tmpcopyup", "mode=0755"]
        if self.size is not None:
            used, files = self._ours.size()
            options += [f"size={self.size[0] + used}", f"nr_inodes={self.size[1] + files}"]
        own = _entry(f"/{OWN}", "tmpfs", "tmpfs", options)
        return [own, *self.mounts]

    # what steps do, by their kinds

    def skip(self, step: Step) -> None:
        """Leave it to the runtime, or to nobody."""

    def mount(self, step: steps.Mount) -> None:
        """Mount a file system of the kernel's, or restrict a mount that is there."""
        place = inside(step.target)
        if place is None or is_in(place, ("/dev",)):
            return
        flags = [name for flag, name in _FLAGS.items() if step.flags & flag]
        if step.flags & Flag.REMOUNT:
            self._restrict(place, flags)
        else:
            options = [*flags, "nodev", *filter(None, step.data.split(","))]
            self.mounts.append(_entry(place, step.fstype, step.fstype, options))

    def _restrict(self, place: str, options: list[str]) -> None:
        for each in self.mounts:
            if is_in(each["destination"], ("" if place == "/" else place,)):
                each["options"] += [name for name in options if name not in each["options"]]

    def bind(self, step: steps.Bind) -> None:
        """Bind a path of the machine, or one of the bundle."""
        place = inside(step.target)
        if place is None or step.source == step.target or place in self._without:
            return
        if step.source == f"{PRIVATE}/dev":
            self.mounts += _devices(user=self._user)
            return
        how = ["rbind", *(self._read_only(step.source) if step.read_only else ["rw"])]
        if place == "/":
            for name, kind in self._ours.names(Root((step.source,))):
                self._show_bound(name, kind, os.path.join(step.source, name), how)
        elif not is_in(place, ("/sys",)) or place == "/sys":
            source = step.source
            if is_in(source, (PRIVATE,)):
                if is_in(place, ("/dev",)):
                    return
                source = str(
                    Path("rootfs") / self._ours.place(source).relative_to(self._ours.rootfs)
                )
            self.mounts.append(_entry(place, "bind", source, how))

    def _read_only(self, path: str) -> list[str]:
        """Give the options of a read-only view. Without root it must keep those of the mount."""
        mounts = [each for each in self._host.mounts if is_in(path, (each.path.rstrip("/"),))]
        mount = max(mounts, key=lambda each: len(each.path), default=None)
        return ["ro", *(sorted(_KEPT & mount.options) if mount is not None else ())]

    def _show_bound(self, name: str, kind: str, source: str, how: list[str]) -> None:
        if kind == "symlink":
            os.symlink(os.readlink(source), self._ours.rootfs / name)
        elif kind != "none":
            self.mounts.append(_entry(f"/{name}", "bind", source, how))

    def make_directory(self, step: steps.Mkdir) -> None:
        """Make one of ours."""
        place = inside(step.path)
        if place is None or not is_in(place, ("/dev",)):
            self._ours.place(step.path).mkdir(parents=True, exist_ok=True)

    def mirror(self, step: steps.Mirror) -> None:
        """Make one that looks like the machine's."""
        if not (place := self._ours.place(step.target)).is_dir():
            self._ours.make(step.source, place)

    def copy(self, step: steps.Copy) -> None:
        """Copy a file into the bundle."""
        place = self._ours.place(step.target)
        step.replace(target=str(place)).perform()
        place.chmod(place.stat().st_mode | 0o600)

    def name_ourselves(self, step: overlays.OwnName) -> None:
        """Put the own name into an /etc/hosts of the bundle's."""
        step.replace(path=str(self._ours.place(step.path))).perform()

    def write(self, step: steps.Write) -> None:
        """Write a small file of the bundle."""
        self._ours.place(step.path).write_text(step.text, "ascii")

    def lay_bones(self, step: overlays.Skeleton) -> None:
        """Make the lowest directory of another root in the bundle."""
        place = self._ours.place(step.path)
        step.replace(path=str(place)).perform()
        for folder, _, _ in os.walk(place):
            os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) | 0o700)

    def touch(self, step: steps.Touch) -> None:
        """Make an empty file in the bundle."""
        step.replace(path=str(self._ours.place(step.path))).perform()

    def put_layers(self, step: overlays.PutLayers) -> None:
        """Put what a layer has into the bundle."""
        step.replace(target=str(self._ours.place(step.target))).perform()

    def overlay(self, step: Overlay) -> None:
        """Stack a private layer on directories of the machine."""
        if is_in(step.path, NEW):
            return
        step = step.replace(lowers=tuple(map(self._ours.lowest, step.lowers)))
        if step.path == "/":
            self._take_root_apart(step)
            return
        number = self._ours.number()
        upper, work = (f"{HERE}/{OWN}/{number}{name}" for name in (".upper", ".work"))
        self._ours.prepare(step, self._ours.rootfs / upper.removeprefix(f"{HERE}/"))
        (self._ours.rootfs / work.removeprefix(f"{HERE}/")).mkdir()
        below = ":".join(overlays.escaped(self._ours.lower(each)) for each in step.lowers)
        options = [f"lowerdir={below}", f"upperdir={upper}", f"workdir={work}", "nodev"]
        options += [name for flag, name in _FLAGS.items() if step.flags & flag]
        options.append("userxattr" if step.user else "redirect_dir=on")
        if len(",".join(options)) > _LONGEST:
            raise NoBundleError(f"there are too many layers below {step.path} for one mount")
        self.mounts.append(_entry(step.path, "overlay", "overlay", options))
        for name in step.hidden:
            lowers = [f"{lower}/{name}" for lower in step.lowers]
            if there := [lower for lower in lowers if os.path.lexists(lower)]:
                self._hide(os.path.join(step.path, name), is_directory=os.path.isdir(there[0]))

    def _hide(self, path: str, *, is_directory: bool) -> None:
        if is_directory:  # in which something may be bound
            options = [*_SAFE, "mode=0755", "size=64k"]
            self.mounts.append(_entry(path, "tmpfs", "tmpfs", options))
        else:
            self.mounts.append(_entry(path, "bind", "/dev/null", ["bind", "ro"]))

    def _take_root_apart(self, step: Overlay) -> None:
        root = Root(step.lowers)
        for name, kind in self._ours.names(root):
            if name not in step.hidden:
                self._show(f"/{name}", kind, root, step)

    def take_apart(self, step: overlays.TakeApart) -> None:
        """Show what is in a directory one by one, in a private one."""
        if is_in(step.path, NEW):
            return
        if step.path != "/":
            place = self._ours.own / f"{self._ours.number()}.apart"
            self._ours.make(step.path, place, step.path)
            self._ours.places[step.path] = place
            source = f"rootfs/{OWN}/{place.name}"
            self.mounts.append(_entry(step.path, "bind", source, ["rbind", "rw"]))
        root = Root(("/",))
        whole = Overlay(
            step.path, (step.path,), "", "", True, (), step.flags, step.hosts, step.seeds,
            hidden=step.hidden,
        )  # fmt: skip
        for name, kind in self._ours.names(root, step.path):
            path = os.path.join(step.path, name)
            if name not in step.mounts and path not in step.hidden:
                self._show(path, kind, root, whole, step.ways)

    def _show(
        self, path: str, kind: str, root: Root, whole: Overlay, ways: tuple[str, ...] = ()
    ) -> None:
        """Show what is right in a directory that is taken apart."""
        place, source = self._ours.place(ROOT + path), root.place(path)
        if os.path.lexists(place):
            return
        if kind == "directory":
            place.mkdir()
            self.overlay(part(whole, path, root.lowers(path), ways, user=self._user))
        elif kind in {"small", "symlink"}:
            copies.copy(source, str(place), os.lstat(source), user=self._user)
            if whole.hosts is not None and whole.hosts.place == path:
                overlays.OwnName(str(place), whole.hosts).perform()
        elif kind == "other" and stat.S_ISREG(os.lstat(source).st_mode):
            how = ["bind", *self._read_only(source)]
            self.mounts.append(_entry(path, "bind", source, how))

    def limit(self, step: steps.LimitDisk) -> None:
        """Note the size of the private file system."""
        self.size = step.size, step.files

    def name_host(self, step: steps.Hostname) -> None:
        """Note the host name."""
        self.hostname = step.name

    def protect(self, step: steps.Protect) -> None:
        """Have a path of /proc read-only."""
        if (place := inside(step.path)) is not None:
            self.read_only.append(place)

    def mask(self, step: steps.Mask) -> None:
        """Have the runtime show nothing."""
        if (place := inside(step.path)) is not None:
            self.masked.append(place)

    def hide(self, step: steps.Hide) -> None:
        """Mask what is seen in what is bound or shown as it is; elsewhere whiteouts do it."""
        place = inside(step.path)
        over = [each for each in self.mounts if is_in(str(place), (each["destination"],))]
        if place is not None and over and over[-1]["type"] == "bind":
            self.masked.append(place)

    def protect_all(self, step: steps.ReadOnly) -> None:
        """Have a mount, and those below it, read-only."""
        if (place := inside(step.path)) is not None:
            self._restrict(place, ["ro"])
            start = place.rstrip("/")
            for path in [path for path in self.modes if is_in(path, [start])]:
                del self.modes[path]


def _entry(destination: str, kind: str, source: str, options: list[str]) -> Entry:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _devices(*, user: bool) -> Iterator[Entry]:
    """Give a /dev of the runtime's own: it makes the usual devices in there."""
    yield _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    yield _entry("/dev/pts", "devpts", "devpts", options if user else [*options, "gid=5"])
    yield _entry("/dev/shm", "tmpfs", "shm", ["nosuid", "nodev", "mode=1777"])
    yield _entry("/dev/mqueue", "mqueue", "mqueue", list(_SAFE))


_HANDLERS: dict[type[Step], Callable[[Tree, Any], None]] = {
    steps.Mount: Tree.mount,
    steps.Bind: Tree.bind,
    steps.Device: Tree.skip,
    steps.ReadOnly: Tree.protect_all,
    steps.Protect: Tree.protect,
    steps.Mask: Tree.mask,
    steps.Hide: Tree.hide,
    steps.Mkdir: Tree.make_directory,
    steps.Symlink: Tree.skip,
    steps.Touch: Tree.touch,
    steps.Copy: Tree.copy,
    steps.Mirror: Tree.mirror,
    steps.LimitDisk: Tree.limit,
    steps.Write: Tree.write,
    steps.CountFrom: Tree.skip,
    steps.Hostname: Tree.name_host,
    steps.Loopback: Tree.skip,
    steps.Pivot: Tree.skip,
    overlays.OwnName: Tree.name_ourselves,
    overlays.PutLayers: Tree.put_layers,
    overlays.Skeleton: Tree.lay_bones,
    overlays.Overlay: Tree.overlay,
    overlays.TakeApart: Tree.take_apart,
}


def handler_of(kind: type[Step]) -> Callable[[Tree, Any], None] | None:
    """Find the handler of a kind of step: one that does the same, or something else where it
    cannot, is carried as the first.
    """
    return next((_HANDLERS[each] for each in kind.__mro__ if each in _HANDLERS), None)
