"""The kernel's own file systems in a sandbox: /dev, /dev/shm, /proc, /sys."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.root import Root
from pytest_isolate._linux.syscalls import Mount
from pytest_isolate._plan.layout import PRIVATE, ROOT, Layout, below, inside, is_in
from pytest_isolate._sandbox import steps
from pytest_isolate._sandbox.overlays import OverlayOrPrivateCopy, PrivateCopy
from pytest_isolate._sandbox.step import Step

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


_DEV_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "fd/0",
    "stdout": "fd/1",
    "stderr": "fd/2",
    "ptmx": "pts/ptmx",
}


# Of /proc: the whole machine's, not the namespace's. The first five are read-only in Docker; by
# files of the others root sets drivers and the kernel
_KERNEL_WIDE = (
    "sys", "sysrq-trigger", "irq", "bus", "fs",
    "acpi", "asound", "driver", "dynamic_debug", "latency_stats", "lock_stat", "mtrr", "scsi",
)  # fmt: skip


# What Docker masks and what else says something of the machine that a test has no business with;
# only for profile="strict".
MASKED = (
    "acpi", "asound", "config.gz", "interrupts", "iomem", "ioports", "kallsyms", "kcore",
    "key-users", "keys", "kmsg", "kpagecgroup",
    "kpagecount", "kpageflags", "latency_stats", "modules", "sched_debug", "scsi", "slabinfo",
    "timer_list", "timer_stats", "vmallocinfo",
)  # fmt: skip


MASKED_SYS = ("devices/virtual/powercap", "firmware", "fs", "kernel", "module", "power")


_NO_PROGRAMS = Mount.NOSUID | Mount.NODEV | Mount.NOEXEC


SHARED_MEMORY = "/dev/shm"


# Of /proc/sys: what the kernel has once for each ipc and uts namespace. All that is seen of net is
# one network namespace's. Each takes a mount (10 us), so those that only checkpoints use
# (kernel/*_next_id) and the one without effect (auto_msgmni) stay closed.
_OWN_SETTINGS = (
    "fs/mqueue", "kernel/domainname", "kernel/hostname", "kernel/msgmax", "kernel/msgmnb",
    "kernel/msgmni", "kernel/sem",
    "kernel/shm_rmid_forced", "kernel/shmall", "kernel/shmmax", "kernel/shmmni",
)  # fmt: skip


def devices(host: Host, root: Root) -> Iterator[Step]:
    """Give a /dev like Docker's: what programs expect, and no door to the machine's disks."""
    dev = f"{ROOT}/dev"
    yield steps.Mkdir(f"{PRIVATE}/dev")
    yield steps.Bind(f"{PRIVATE}/dev", dev)
    for name in _DEVICES:
        if root.kind(f"/dev/{name}") != "none":
            yield steps.Device(f"/dev/{name}", f"{dev}/{name}")
    for name, target in _DEV_LINKS.items():
        yield steps.Symlink(target, f"{dev}/{name}")
    for name in ("pts", "shm", "mqueue"):
        yield steps.Mkdir(f"{dev}/{name}")
    group = "" if host.rootless else ",gid=5"
    yield steps.Mount(
        "devpts",
        f"{dev}/pts",
        "devpts",
        Mount.NOSUID | Mount.NOEXEC,
        f"newinstance,ptmxmode=0666,mode=0620{group}",
    )
    yield steps.Mount("mqueue", f"{dev}/mqueue", "mqueue", _NO_PROGRAMS, "")


def shared_memory(layout: Layout) -> None:
    """/dev/shm shows what the machine's has; what is written lands in the private file system, so
    that one ``disk`` limit bounds all.

    A strict test sees no other program's memory, unless its own files are there.
    """
    used = not layout.strict or any(is_in(place, (SHARED_MEMORY,)) for place in layout.places)
    if used and layout.root.kind(layout.root.real(SHARED_MEMORY)) == "directory":
        layout.temporary(
            SHARED_MEMORY, PrivateCopy if layout.host.old_libc else OverlayOrPrivateCopy
        )
    else:
        layout.steps += [
            steps.Mkdir(f"{PRIVATE}/shm", 0o1777),
            steps.Bind(f"{PRIVATE}/shm", inside(SHARED_MEMORY)),
        ]


def processes(spec: Spec, host: Host) -> Iterator[Step]:
    yield steps.Mount("proc", f"{ROOT}/proc", "proc", _NO_PROGRAMS, "")
    # The test is pid 2, though another process has been here
    yield steps.CountFrom(f"{ROOT}/proc/sys/kernel/ns_last_pid", 1)
    # In a user namespace the kernel itself refuses these writes
    if spec.strict or not host.rootless:
        for name in _KERNEL_WIDE:
            own: tuple[str, ...] = (
                ()
                if name != "sys" or spec.strict
                else ("net", *_OWN_SETTINGS)
                if spec.networking.is_own
                else _OWN_SETTINGS
            )
            yield steps.Protect(f"{ROOT}/proc/{name}", own)


def sysfs(spec: Spec, host: Host) -> Iterator[Step]:
    """Read-only, always: a v1 hierarchy that can be written is a way out (CVE-2022-0492)."""
    if not spec.networking.is_own:
        yield steps.Bind("/sys", f"{ROOT}/sys", read_only=True)
        return
    yield steps.Mount("sysfs", f"{ROOT}/sys", "sysfs", _NO_PROGRAMS | Mount.RDONLY, "")
    shown: list[str] = ["/sys/firmware"]
    for mount in sorted(below(host.mounts, "/sys"), key=lambda each: each.path):
        if not is_in(mount.path, shown):
            shown.append(mount.path)
            yield steps.Bind(mount.path, inside(mount.path), read_only=True)
