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
from pytest_isolate._plan.layout import PRIVATE, ROOT, is_in
from pytest_isolate._sandbox import copies, overlays, steps
from pytest_isolate._sandbox.overlays import Overlay
from pytest_isolate._sandbox.steps import Step

OWN = ".isolate"
_HERE = ".here"
_LOWER = f"{_HERE}/{OWN}/lower"
_LONGEST = 4000  # bytes of options: mount(2) takes a page
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_NEW = ("/proc", "/sys", "/dev")
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
        self.rootfs = bundle / "rootfs"
        self.own = self.rootfs / OWN
        self.mounts: list[Entry] = []
        self.masked: list[str] = []
        self.read_only: list[str] = []
        self.hostname = ""
        self.modes: dict[str, int] = {}  # of directories, to be set inside
        self.size: tuple[int, int] | None = None  # bytes and files
        self._layers = [layer for layer in root.layers if layer != "/"]
        self._host, self._user, self._without = host, host.rootless, without
        self._count = 0
        self._places = {"/": self.rootfs}  # directories that are made here -> where
        self.own.mkdir(parents=True)
        os.symlink("/", self.own / "lower")
        os.symlink("rootfs", bundle / _HERE)
        os.symlink("../rootfs", self.rootfs / _HERE)

    def add(self, step: Step) -> None:
        """Add what a step does. Raises ``NoBundleError`` and ``OSError``."""
        if (handler := handler_of(type(step))) is None:
            raise NoBundleError(f"no bundle has the step {step.said!r} ({step.path_said})")
        handler(self, step)

    def finished(self) -> list[Entry]:
        """Give all mounts: the private file system first."""
        options = ["nosuid", "nodev", "tmpcopyup", "mode=0755"]
        if self.size is not None:
            used, files = _sizes(self.own)
            options += [f"size={self.size[0] + used}", f"nr_inodes={self.size[1] + files}"]
        own = _entry(f"/{OWN}", "tmpfs", "tmpfs", options)
        return [own, *self.mounts]

    # what steps do, by their kinds

    def skip(self, step: Step) -> None:
        """Leave it to the runtime, or to nobody."""

    def mount(self, step: steps.Mount) -> None:
        """Mount a file system of the kernel's, or restrict a mount that is there."""
        place = _inside(step.target)
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
        place = _inside(step.target)
        if place is None or step.source == step.target or place in self._without:
            return
        if step.source == f"{PRIVATE}/dev":
            self.mounts += _devices(user=self._user)
            return
        how = ["rbind", *(self._read_only(step.source) if step.read_only else ["rw"])]
        if place == "/":
            for name, kind in self._names(Root((step.source,))):
                self._show_bound(name, kind, os.path.join(step.source, name), how)
        elif not is_in(place, ("/sys",)) or place == "/sys":
            source = step.source
            if is_in(source, (PRIVATE,)):
                if is_in(place, ("/dev",)):
                    return
                source = str(Path("rootfs") / self._place(source).relative_to(self.rootfs))
            self.mounts.append(_entry(place, "bind", source, how))

    def _read_only(self, path: str) -> list[str]:
        """Give the options of a read-only view. Without root it must keep those of the mount."""
        mounts = [each for each in self._host.mounts if is_in(path, (each.path.rstrip("/"),))]
        mount = max(mounts, key=lambda each: len(each.path), default=None)
        return ["ro", *(sorted(_KEPT & mount.options) if mount is not None else ())]

    def _show_bound(self, name: str, kind: str, source: str, how: list[str]) -> None:
        if kind == "symlink":
            os.symlink(os.readlink(source), self.rootfs / name)
        elif kind != "none":
            self.mounts.append(_entry(f"/{name}", "bind", source, how))

    def make_directory(self, step: steps.Mkdir) -> None:
        """Make one of ours."""
        place = _inside(step.path)
        if place is None or not is_in(place, ("/dev",)):
            self._place(step.path).mkdir(parents=True, exist_ok=True)

    def mirror(self, step: steps.Mirror) -> None:
        """Make one that looks like the machine's."""
        if not (place := self._place(step.target)).is_dir():
            self._make(step.source, place)

    def copy(self, step: steps.Copy) -> None:
        """Copy a file into the bundle."""
        place = self._place(step.target)
        step.replace(target=str(place)).perform()
        place.chmod(place.stat().st_mode | 0o600)

    def name_ourselves(self, step: overlays.OwnName) -> None:
        """Put the own name into an /etc/hosts of the bundle's."""
        step.replace(path=str(self._place(step.path))).perform()

    def write(self, step: steps.Write) -> None:
        """Write a small file of the bundle."""
        self._place(step.path).write_text(step.text, "ascii")

    def lay_bones(self, step: overlays.Skeleton) -> None:
        """Make the lowest directory of another root in the bundle."""
        place = self._place(step.path)
        step.replace(path=str(place)).perform()
        for folder, _, _ in os.walk(place):
            os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) | 0o700)

    def touch(self, step: steps.Touch) -> None:
        """Make an empty file in the bundle."""
        step.replace(path=str(self._place(step.path))).perform()

    def put_layers(self, step: overlays.PutLayers) -> None:
        """Put what a layer has into the bundle."""
        step.replace(target=str(self._place(step.target))).perform()

    def overlay(self, step: Overlay) -> None:
        """Stack a private layer on directories of the machine."""
        if is_in(step.path, _NEW):
            return
        step = step.replace(lowers=tuple(map(self._lowest, step.lowers)))
        if step.path == "/":
            self._take_root_apart(step)
            return
        upper, work = (f"{_HERE}/{OWN}/{self._count}{name}" for name in (".upper", ".work"))
        self._count += 1
        self._prepare(step, self.rootfs / upper.removeprefix(f"{_HERE}/"))
        (self.rootfs / work.removeprefix(f"{_HERE}/")).mkdir()
        below = ":".join(overlays.escaped(self._lower(each)) for each in step.lowers)
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

    def _prepare(self, step: Overlay, upper: Path) -> None:
        """Make what the private layer begins with."""
        self._make(step.lowers[0], upper, step.path)
        for door in step.doors:
            self._copy_up(step, upper, door)
        if (hosts := step.hosts) is not None:
            relative = os.path.relpath(hosts.place, step.path)
            self._copy_up(step, upper, os.path.dirname(relative))
            hosts.write(self._first(step, relative), str(upper / relative))
            os.chmod(upper / relative, 0o644)
        for seed in step.seeds:
            relative = os.path.relpath(seed.path, step.path)
            self._copy_up(step, upper, os.path.dirname(relative))
            if not os.path.lexists(upper / relative):
                seed.put(str(upper / relative), self._user)

    def _copy_up(self, step: Overlay, upper: Path, directory: str) -> None:
        names = directory.split("/") if directory else []
        for end in range(1, len(names) + 1):
            part = "/".join(names[:end])
            if not os.path.lexists(upper / part):
                self._make(self._first(step, part), upper / part, f"{step.path}/{part}")

    @staticmethod
    def _first(step: Overlay, name: str) -> str:
        """Where a name in an overlay is: in the uppermost directory that has it."""
        places = [f"{lower}/{name}" for lower in step.lowers]
        return next((place for place in places if os.path.lexists(place)), places[-1])

    def _make(self, source: str, target: Path, path: str = "") -> None:
        """Make a directory of the bundle that looks like the machine's, or will inside, at
        ``path``.
        """
        look = os.stat(source)
        target.mkdir()
        if not self._user:
            copies.look_like(str(target), look, user=False)
            return
        mode = copies.mode(look, user=True)
        target.chmod(mode | 0o700)
        if path and mode & 0o700 != 0o700:
            self.modes[path] = mode

    def _hide(self, path: str, *, is_directory: bool) -> None:
        if is_directory:  # in which something may be bound
            options = [*_SAFE, "mode=0755", "size=64k"]
            self.mounts.append(_entry(path, "tmpfs", "tmpfs", options))
        else:
            self.mounts.append(_entry(path, "bind", "/dev/null", ["bind", "ro"]))

    def _lowest(self, path: str) -> str:
        """Where a lower directory is: one of ours is in the bundle."""
        return str(self._place(path)) if is_in(path, (PRIVATE,)) else path

    def _lower(self, path: str) -> str:
        """Name a lower directory for a mount; the machine's so that it can be another root's."""
        if is_in(path, (str(self.own),)):
            return f"{_HERE}/{OWN}{path.removeprefix(str(self.own))}"
        return path if is_in(path, self._layers) else f"{_LOWER}{path if path != '/' else ''}"

    def _take_root_apart(self, step: Overlay) -> None:
        root = Root(step.lowers)
        for name, kind in self._names(root):
            if name not in step.hidden:
                self._show(f"/{name}", kind, root, step)

    def take_apart(self, step: overlays.TakeApart) -> None:
        """Show what is in a directory one by one, in a private one."""
        if is_in(step.path, _NEW):
            return
        if step.path != "/":
            place = self.own / f"{self._count}.apart"
            self._count += 1
            self._make(step.path, place, step.path)
            self._places[step.path] = place
            source = f"rootfs/{OWN}/{place.name}"
            self.mounts.append(_entry(step.path, "bind", source, ["rbind", "rw"]))
        root = Root(("/",))
        whole = Overlay(
            step.path, (step.path,), "", "", True, (), step.flags, step.hosts, step.seeds,
            hidden=step.hidden,
        )  # fmt: skip
        for name, kind in self._names(root, step.path):
            path = os.path.join(step.path, name)
            if name not in step.mounts and path not in step.hidden:
                self._show(path, kind, root, whole, step.ways)

    def _names(self, root: Root, path: str = "/") -> Iterator[tuple[str, str]]:
        found: dict[str, None] = {}
        for lower in root.lowers(path):
            try:
                found |= dict.fromkeys(sorted(os.listdir(lower)))
            except PermissionError:  # may be entered but not listed
                continue
        for name in found:
            if (place := os.path.join(path, name)) not in _NEW:
                yield name, root.kind(place)
            elif not os.path.lexists(self.rootfs / name):
                (self.rootfs / name).mkdir()

    def _show(
        self, path: str, kind: str, root: Root, whole: Overlay, ways: tuple[str, ...] = ()
    ) -> None:
        """Show what is right in a directory that is taken apart."""
        place, source = self._place(ROOT + path), root.place(path)
        if os.path.lexists(place):
            return
        if kind == "directory":
            place.mkdir()
            self.overlay(_part(whole, path, root.lowers(path), ways, user=self._user))
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
        if (place := _inside(step.path)) is not None:
            self.read_only.append(place)

    def mask(self, step: steps.Mask) -> None:
        """Have the runtime show nothing."""
        if (place := _inside(step.path)) is not None:
            self.masked.append(place)

    def hide(self, step: steps.Hide) -> None:
        """Mask what is seen in what is bound or shown as it is; elsewhere whiteouts do it."""
        place = _inside(step.path)
        over = [each for each in self.mounts if is_in(str(place), (each["destination"],))]
        if place is not None and over and over[-1]["type"] == "bind":
            self.masked.append(place)

    def protect_all(self, step: steps.ReadOnly) -> None:
        """Have a mount, and those below it, read-only."""
        if (place := _inside(step.path)) is not None:
            self._restrict(place, ["ro"])
            start = place.rstrip("/")
            self.modes = {
                path: mode for path, mode in self.modes.items() if not is_in(path, [start])
            }

    def _place(self, path: str) -> Path:
        """Where in the bundle a path is that a step names."""
        place = _inside(path)
        if place is None:
            return self.own / path.removeprefix(f"{PRIVATE}/")
        best = max((each for each in self._places if is_in(place, (each.rstrip("/"),))), key=len)
        return self._places[best] / os.path.relpath(place, best)


def _inside(path: str) -> str | None:
    """Give the sandbox's name of what a step names; None for what is private."""
    if path == ROOT:
        return "/"
    return path.removeprefix(ROOT) if is_in(path, (ROOT,)) else None


def _entry(destination: str, kind: str, source: str, options: list[str]) -> Entry:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _devices(*, user: bool) -> Iterator[Entry]:
    """Give a /dev of the runtime's own: it makes the usual devices in there."""
    yield _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    yield _entry("/dev/pts", "devpts", "devpts", options if user else [*options, "gid=5"])
    yield _entry("/dev/shm", "tmpfs", "shm", ["nosuid", "nodev", "mode=1777"])
    yield _entry("/dev/mqueue", "mqueue", "mqueue", list(_SAFE))


def _part(
    whole: Overlay, path: str, lowers: tuple[str, ...], ways: tuple[str, ...], *, user: bool
) -> Overlay:
    """Make the overlay of a directory right in one that is taken apart."""
    start = f"{path}/"

    def below(names: tuple[str, ...]) -> tuple[str, ...]:
        inside = (
            each if each.startswith("/") else os.path.join(whole.path, each) for each in names
        )
        return tuple(each.removeprefix(start) for each in inside if each.startswith(start))

    doors: dict[str, None] = {}
    for way in below(ways):
        parts = way.split("/")
        doors |= dict.fromkeys("/".join(parts[: end + 1]) for end in range(len(parts)))
    real = [door for door in doors if _is_real_directory(f"{lowers[0]}/{door}")]
    hosts = whole.hosts if whole.hosts is not None and whole.hosts.place.startswith(start) else None
    return Overlay(
        path, lowers, "", "", user, tuple(dict.fromkeys((*below(whole.doors), *real))),
        whole.flags, hosts,
        tuple(each for each in whole.seeds if each.path.startswith(start)), whole.renames,
        below(whole.hidden),
    )  # fmt: skip


def _is_real_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _sizes(directory: Path) -> tuple[int, int]:
    """Bytes and files that the skeleton takes of a tmpfs: pages of regular files, and each name."""
    pages = files = 0
    for folder, names, others in os.walk(directory):
        files += len(names) + len(others)
        looks = (os.lstat(os.path.join(folder, name)) for name in others)
        pages += sum(-(-look.st_size // _PAGE_SIZE) for look in looks if stat.S_ISREG(look.st_mode))
    return pages * _PAGE_SIZE, files


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
