"""From what a test asked for and what the machine is to the list of steps that builds its sandbox. Touches nothing.

The root of a sandbox is put together below ``/proc``, the one directory whose host content no sandbox ever shows:
a tmpfs there holds everything private (so its size is the ``disk`` limit), and ``root`` in it becomes ``/``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_isolate._linux.host import Host, Tree
from pytest_isolate._linux.mounts import MountPoint
from pytest_isolate._linux.syscalls import Clone, Mount
from pytest_isolate._model import Missing, Recipe
from pytest_isolate._remedies import group_remedy
from pytest_isolate._spec import Spec

PRIVATE = "/proc"
ROOT = PRIVATE + "/root"
_REBUILT = ("/proc", "/sys", "/dev")  # never taken from the host as they are
_PSEUDO = frozenset({"autofs", "fuse.portal", "nsfs", "rpc_pipefs", "binfmt_misc", "fusectl"})
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEV_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_KERNEL_WIDE = ("sys", "sysrq-trigger", "irq", "bus", "fs")  # of /proc: the whole machine's, not the namespace's
# What Docker masks and what else says something of the machine that a test has no business with; only for profile="strict".
_MASKED = (
    "acpi", "asound", "config.gz", "interrupts", "iomem", "ioports", "kallsyms", "kcore", "key-users", "keys", "kmsg", "kpagecgroup",
    "kpagecount", "kpageflags", "latency_stats", "modules", "sched_debug", "scsi", "slabinfo", "timer_list", "timer_stats", "vmallocinfo",
)  # fmt: skip
_MASKED_SYS = ("devices/virtual/powercap", "firmware", "fs", "kernel", "module", "power")
_QUOTA_PERIOD = 100_000  # microseconds, the kernel's default
_BYTES_PER_INODE = 1024
_NO_PROGRAMS = Mount.NOSUID | Mount.NODEV | Mount.NOEXEC

Step = tuple[object, ...]


@dataclass
class Plan:
    """A recipe, where its private directories are, and what the machine cannot give of what was asked."""

    recipe: Recipe
    uppers: tuple[tuple[str, str], ...]  # (path inside, path in the private file system), for reading what was written
    missing: tuple[Missing, ...] = ()


@dataclass
class _Layout:
    """The file system part of a plan while it grows."""

    host: Host
    tree: Tree
    places: tuple[str, ...] = ()
    strict: bool = False  # then nothing is the machine's own, behind whose sockets and FIFOs its programs listen
    steps: list[Step] = field(default_factory=list)
    uppers: list[tuple[str, str]] = field(default_factory=list)

    def overlay(self, path: str, *, sure: bool) -> None:
        name = str(len(self.uppers))
        step = "overlay" if sure else "overlay_or_read_only"
        doors = self._doors(path) if self.host.rootless else ()
        self.steps.append((step, path, f"{PRIVATE}/{name}", _inside(path), self.host.rootless, doors))
        self.uppers.append((path, f"{name}.upper"))

    def _doors(self, path: str) -> tuple[str, ...]:
        """Directories of an overlay to copy up beforehand, relative to it, outer ones first.

        A write copies up the directories above it with their owner, and an owner whom our user namespace has no name for makes
        that fail (EOVERFLOW). So those on the way to the places where tests write are put into the upper layer at once.
        """
        start = path.rstrip("/") + "/"
        doors: dict[str, None] = {}
        for place in self.places:
            if place.startswith(start):
                parts = place.removeprefix(start).split("/")
                doors |= dict.fromkeys("/".join(parts[: end + 1]) for end in range(len(parts)))
        return tuple(door for door in doors if self.tree.kind(start + door) == "directory")

    def cover(self, path: str, mount: MountPoint | None = None) -> None:
        """Show ``path``, which is a mount point or has none below it that a parent would hide, with private writes."""
        kind = self.tree.kind(path)
        if kind == "symlink":
            self.steps.append(("symlink", self.tree.link(path), _inside(path)))
        elif kind in {"small", "node"}:  # a node would be a door to the program behind it, also on a read-only mount
            self.steps.append(("copy", path, _inside(path) if mount is None else f"{PRIVATE}/{len(self.uppers)}.file"))
            if mount is not None:
                self.steps.append(("bind", f"{PRIVATE}/{len(self.uppers)}.file", _inside(path), False))
                self.uppers.append((path, f"{len(self.uppers)}.file"))
        elif kind == "directory" and self.strict and mount is not None and mount.read_only and mount.fstype not in _PSEUDO:
            self.overlay(path, sure=False)
            self.steps.append(("read_only", _inside(path)))
        elif kind == "other" or (mount is not None and (mount.read_only or mount.fstype in _PSEUDO)):
            self.steps.append(("bind", path, _inside(path), True))
        elif kind == "directory":
            self.overlay(path, sure=mount is None or self._is_too_much_to_lose(path, mount))

    def _is_too_much_to_lose(self, path: str, mount: MountPoint) -> bool:
        """Overlays that are too deep for one more, where tests write: in a sandbox in a sandbox everything would be read-only."""
        return mount.fstype == "overlay" and any(_is_in(place, (path,)) for place in self.places)

    def directory(self, path: str) -> None:
        """Without root an overlay must not have mounts below it: take such a directory apart, entry by entry."""
        mount = next((each for each in self.host.mounts if each.path == path), None)
        self.steps.append(("mirror", path, _inside(path), True))
        whole = mount is not None and path != "/" and ((mount.read_only and not self.strict) or mount.fstype in _PSEUDO)
        if whole or not _below(self.host.mounts, path):
            self.cover(path, mount)
            return
        if path == "/":  # pivot_root(2) wants a mount point
            self.steps.append(("bind", ROOT, ROOT, False))
        self.uppers.append((path, f"root{path if path != '/' else ''}"))
        self._entries(path)

    def temporary(self, path: str) -> None:
        """Make a directory private on a root that is the host's. A test that could not write there would not have what it was promised."""
        if not (self.host.rootless and _below(self.host.mounts, path)):
            self.overlay(path, sure=True)
            return
        name = f"{len(self.uppers)}.upper"
        self.steps.append(("mirror", path, f"{PRIVATE}/{name}", True))
        self.steps.append(("bind", f"{PRIVATE}/{name}", _inside(path), False))
        self.uppers.append((path, name))
        self._entries(path)

    def _entries(self, path: str) -> None:
        start = path.rstrip("/") + "/"  # a directory that may be entered but not listed still has its mounts
        hidden = {each.path.removeprefix(start).split("/")[0] for each in _below(self.host.mounts, path)} - {""}
        for name in sorted({*self.tree.entries(path), *hidden}):
            child = os.path.join(path, name)
            if child in _REBUILT:
                self.steps.append(("mkdir", _inside(child), 0o755))
            elif self.tree.kind(child) == "directory":
                self.directory(child)
            else:
                self.cover(child)


def _inside(path: str) -> str:
    return ROOT if path == "/" else ROOT + path


def _below(mounts: tuple[MountPoint, ...], path: str) -> list[MountPoint]:
    start = path.rstrip("/") + "/"
    return [each for each in mounts if each.path.startswith(start)]


def plan(spec: Spec, host: Host, tree: Tree, loopback: list[str], places: list[str]) -> Plan:
    """Plan one sandbox.

    ``places`` are directories that the test is likely to write in or below; the first is that of temporary files, which is
    private whatever ``fs`` says.
    """
    layout = _Layout(host, tree, tuple(places), spec.strict)
    layout.steps += _private_file_system(spec)
    if spec.fs == "overlay":
        _overlay_root(layout)
    else:
        _shared_root(layout, spec, places[0])
    if spec.fs != "host":
        layout.steps += _devices(host, tree)
    if spec.fs != "host" or tree.kind("/dev/shm") != "none":  # a machine without one need not be given it
        layout.steps += _shared_memory()
    layout.steps += _processes(spec, host)
    layout.steps += _sysfs(spec, host)
    if spec.strict:
        layout.steps += [("mask", f"{ROOT}/proc/{name}") for name in _MASKED]
        layout.steps += [("mask", f"{ROOT}/sys/{name}") for name in _MASKED_SYS]
    for path, read_only in spec.bind:
        layout.steps.append(("bind_without_links" if spec.strict else "bind", path, _inside(path), read_only))
    layout.steps.append(("hostname", spec.hostname))
    if spec.net:
        layout.steps.append(("loopback", loopback))
    layout.steps.append(("pivot", ROOT))
    namespaces = Clone.NEWPID | Clone.NEWNS | Clone.NEWIPC | Clone.NEWUTS
    if spec.net:
        namespaces |= Clone.NEWNET
    user_map = None
    if host.rootless:
        namespaces |= Clone.NEWUSER
        uid, gid, _ = resolve_user(spec.user) if spec.user is not None else (host.uid, host.gid, ())
        user_map = (uid, gid, host.uid, host.gid)
    missing = tuple(_missing(spec, host, tree))
    limits = _limits(spec, host, tree)
    recipe = Recipe(namespaces, user_map, PRIVATE, tuple(layout.steps), limits)
    return Plan(recipe, tuple(layout.uppers), missing)


def resolve_user(user: str | int) -> tuple[int, int, tuple[int, ...]]:
    """A checked ``user`` as uid, gid and supplementary groups."""
    import pwd  # noqa: PLC0415 - not on every system this module is imported on

    try:
        entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:  # a uid that nobody has a name for: as `docker run --user 1234`
        return int(user), int(user), ()
    return entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))


def _private_file_system(spec: Spec) -> Iterator[Step]:
    options = "mode=0755"
    if spec.disk is not None:
        options += f",size={spec.disk},nr_inodes={spec.disk // _BYTES_PER_INODE + _BYTES_PER_INODE}"
    yield ("mount", "", "/", "", Mount.SLAVE | Mount.REC, "")
    yield ("mount", "tmpfs", PRIVATE, "tmpfs", Mount.NOSUID | Mount.NODEV, options)


def _overlay_root(layout: _Layout) -> None:
    if layout.host.rootless:
        layout.directory("/")
        return
    layout.steps.append(("mkdir", ROOT, 0o755))
    layout.overlay("/", sure=True)
    shown: list[str] = []
    for mount in sorted(layout.host.mounts, key=lambda each: each.path):
        if mount.path == "/" or _is_in(mount.path, _REBUILT) or _is_in(mount.path, shown):
            continue
        layout.cover(mount.path, mount)
        if layout.steps[-1][0] == "bind" and layout.steps[-1][3]:  # it came with everything below it
            shown.append(mount.path)


def _shared_root(layout: _Layout, spec: Spec, temporary: str) -> None:
    if layout.strict and spec.fs == "readonly":
        _overlay_root(layout)
        layout.steps.append(("read_only", ROOT))
    else:
        layout.steps += [("mkdir", ROOT, 0o755), ("bind", "/", ROOT, spec.fs == "readonly")]
    for path in dict.fromkeys(("/tmp", temporary)):
        if layout.tree.kind(path) == "directory":
            layout.temporary(path)


def _is_in(path: str, parents: tuple[str, ...] | list[str]) -> bool:
    return any(path == parent or path.startswith(parent + "/") for parent in parents)


def _devices(host: Host, tree: Tree) -> Iterator[Step]:
    """A /dev like Docker's: what programs expect, and no door to the machine's disks."""
    dev = f"{ROOT}/dev"
    yield ("mkdir", f"{PRIVATE}/dev", 0o755)
    yield ("bind", f"{PRIVATE}/dev", dev, False)
    for name in _DEVICES:
        if tree.kind(f"/dev/{name}") != "none":
            yield ("device", f"/dev/{name}", f"{dev}/{name}")
    for name, target in _DEV_LINKS.items():
        yield ("symlink", target, f"{dev}/{name}")
    for name in ("pts", "shm", "mqueue"):
        yield ("mkdir", f"{dev}/{name}", 0o755)
    group = "" if host.rootless else ",gid=5"
    yield ("mount", "devpts", f"{dev}/pts", "devpts", Mount.NOSUID | Mount.NOEXEC, f"newinstance,ptmxmode=0666,mode=0620{group}")
    yield ("mount", "mqueue", f"{dev}/mqueue", "mqueue", _NO_PROGRAMS, "")


def _shared_memory() -> Iterator[Step]:
    """/dev/shm is a directory of the private file system, so that one ``disk`` limit bounds both."""
    yield ("mkdir", f"{PRIVATE}/shm", 0o1777)
    yield ("bind", f"{PRIVATE}/shm", f"{ROOT}/dev/shm", False)


def _processes(spec: Spec, host: Host) -> Iterator[Step]:
    yield ("mount", "proc", f"{ROOT}/proc", "proc", _NO_PROGRAMS, "")
    if spec.strict or not host.rootless:  # in a user namespace the kernel itself refuses these writes
        for name in _KERNEL_WIDE:
            yield ("protect", f"{ROOT}/proc/{name}")


def _sysfs(spec: Spec, host: Host) -> Iterator[Step]:
    """Read-only, always: a v1 hierarchy that can be written is a way out (CVE-2022-0492)."""
    if not spec.net:
        yield ("bind", "/sys", f"{ROOT}/sys", True)
        return
    yield ("mount", "sysfs", f"{ROOT}/sys", "sysfs", _NO_PROGRAMS | Mount.RDONLY, "")
    shown: list[str] = ["/sys/firmware"]
    for mount in sorted(_below(host.mounts, "/sys"), key=lambda each: each.path):
        if not _is_in(mount.path, shown):
            shown.append(mount.path)
            yield ("bind", mount.path, _inside(mount.path), True)


def _limits(spec: Spec, host: Host, tree: Tree) -> dict[str, dict[str, str]]:
    """Files to write for each controller, always made where they can be, for what they measure."""
    limits: dict[str, dict[str, str]] = {}
    for name, place in host.places.items():
        v2 = place.version == 2
        if name == "memory":
            limits[name] = {"memory.oom.group": "1", "memory.swap.max?": "0"} if v2 and spec.memory is not None else {}
        elif name == "pids":
            limits[name] = {} if spec.pids is None else {"pids.max": str(spec.pids)}
        elif name == "cpuacct":
            limits[name] = {}
        elif name in {"io", "blkio"}:
            limits[name] = dict(_bandwidth(spec, tree, v2=v2))
        elif name == "cpu" and (spec.cpu is not None or v2):
            limits[name] = {}
            if spec.cpu is not None:
                quota = int(spec.cpu * _QUOTA_PERIOD)
                limits[name] = {"cpu.max": f"{quota} {_QUOTA_PERIOD}"} if v2 else {"cpu.cfs_quota_us": str(quota)}
    return limits


def _bandwidth(spec: Spec, tree: Tree, *, v2: bool) -> Iterator[tuple[str, str]]:
    """One line for each block device: which of them a file is on nobody can know beforehand."""
    asked = [(direction, value) for direction in ("read", "write") if (value := getattr(spec, f"io_{direction}")) is not None]
    for direction, value in asked:
        if not v2:
            yield f"blkio.throttle.{direction}_bps_device", "\n".join(f"{disk} {value}" for disk in tree.disks())
    if v2 and asked:
        rates = " ".join(f"{direction[0]}bps={value}" for direction, value in asked)
        yield "io.max", "\n".join(f"{disk} {rates}" for disk in tree.disks())


def _missing(spec: Spec, host: Host, tree: Tree) -> Iterator[Missing]:
    for keyword in ("memory", "pids", "cpu"):
        if getattr(spec, keyword) is not None and keyword not in host.places:
            yield Missing(keyword, host.obstacles[keyword], group_remedy(host, keyword))
    counts_time = "cpuacct" in host.places or ("cpu" in host.places and host.places["cpu"].version == 2)
    if spec.cpu_time is not None and not counts_time:
        name = "cpuacct" if "cpuacct" in host.obstacles else "cpu"
        yield Missing("cpu_time", host.obstacles[name], group_remedy(host, name))
    for keyword in ("io_read", "io_write"):
        if getattr(spec, keyword) is not None and "io" in host.obstacles:
            yield Missing(keyword, host.obstacles["io"], group_remedy(host, "io"))
        elif getattr(spec, keyword) is not None and not tree.disks():
            yield Missing(keyword, "there is no block device to limit", "run it on a machine with one, or without this limit")
