"""Where pytest runs, as far as it decides what a sandbox can have here and what helps: facts read
from files, nothing tried.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pytest_isolate._linux.mounts import MountPoint, parse_mountinfo

SANDBOX = "a sandbox of pytest-isolate"
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)")
#: What it takes to build sandboxes as root, by number, of capabilities(7).
NEEDED = {1: "DAC_OVERRIDE", 8: "SETPCAP", 12: "NET_ADMIN", 18: "SYS_CHROOT", 21: "SYS_ADMIN"}
#: Sysctls, of Ubuntu, Debian and the kernel itself, with the values that forbid namespaces, or take
#: the rights in them.
AGAINST = {
    "kernel.apparmor_restrict_unprivileged_userns": "1",
    "kernel.unprivileged_userns_clone": "0",
    **{f"user.max_{kind}_namespaces": "0" for kind in ("user", "mnt", "pid", "net", "ipc", "uts")},
}
_SYS_ADMIN = 1 << 21
_EVERY_CAPABILITY = (1 << 64) - 1
_FILTERED = "2"  # SECCOMP_MODE_FILTER
#: Files that say which program made this container.
_MARKS = {"/run/.containerenv": "Podman", "/.dockerenv": "Docker"}
_HOLDER = b"pytest_isolate._sandbox.builder"  # in the command line of a sandbox's PID 1


@dataclass(frozen=True)
class Environment:
    """One machine, container or sandbox, seen by one caller."""

    release: tuple[int, int] = (0, 0)  # of the kernel; (0, 0) when it says something strange
    uid: int = 0
    owns_machine: bool = True  # whether this user namespace is the first one
    capabilities: int = _EVERY_CAPABILITY  # effective ones, a bit each
    filtered: bool = False  # a seccomp filter stands before the kernel
    container: str = ""  # what made it, where that can be known
    has_proc: bool = True
    masked_proc: bool = False  # something is mounted in /proc
    overlay_root: bool = False
    cgroups: frozenset[str] = frozenset()  # "v1", "v2"
    cgroups_read_only: bool = False
    systemd: bool = False
    apparmor: str = ""  # the profile that confines us
    sysctls: frozenset[str] = frozenset()  # those of ``AGAINST`` that are set so

    @property
    def rootless(self) -> bool:
        """Whether sandboxes need a user namespace of their own: uid 0 of another one, or without
        rights, is nobody to the host's mounts.
        """
        return self.uid != 0 or not self.owns_machine or not self.capabilities & _SYS_ADMIN

    @property
    def lacking(self) -> tuple[str, ...]:
        """Of the capabilities that root needs, those that this one has not."""
        if self.uid != 0 or not self.owns_machine:
            return ()
        return tuple(name for number, name in NEEDED.items() if not self.capabilities >> number & 1)

    @property
    def kernel(self) -> str:
        """``Linux 6.1``."""
        return f"Linux {self.release[0]}.{self.release[1]}"

    def __str__(self) -> str:
        return ", ".join(self._words())

    def _words(self) -> list[str]:
        who = "root" if self.uid == 0 else f"uid {self.uid}"
        words = [self.kernel, who if self.owns_machine else f"{who} of a user namespace"]
        if self.lacking:
            words.append("without " + ", ".join(f"CAP_{name}" for name in self.lacking))
        if self.container:
            words.append(f"in {self.container}")
        if self.filtered:
            words.append("seccomp filter")
        if self.apparmor:
            words.append(f"AppArmor profile {self.apparmor}")
        words += sorted(f"sysctl {name}={AGAINST[name]}" for name in self.sysctls)
        if not self.has_proc:
            words.append("no /proc")
        if self.masked_proc:
            words.append("masked /proc")
        if self.overlay_root:
            words.append("overlay root")
        kinds = {
            "": "no control groups",
            "v1": "cgroup v1",
            "v2": "cgroup v2",
            "v1v2": "cgroup v1 and v2 (hybrid)",
        }
        words.append(
            kinds["".join(sorted(self.cgroups))] + (", read-only" if self.cgroups_read_only else "")
        )
        return words


def look() -> Environment:
    """Read what there is."""
    mounts = parse_mountinfo(_text("/proc/self/mountinfo"))
    status = dict(
        line.split(":\t", 1) for line in _text("/proc/self/status").splitlines() if ":\t" in line
    )
    groups = {"cgroup": "v1", "cgroup2": "v2"}
    hierarchies = [mount for mount in mounts if mount.fstype in groups]
    overlay_root = (
        next((mount.fstype for mount in reversed(mounts) if mount.path == "/"), "") == "overlay"
    )
    version = _VERSION.match(os.uname().release)
    return Environment(
        release=(int(version[1]), int(version[2])) if version else (0, 0),
        uid=os.geteuid(),
        has_proc=bool(mounts),
        owns_machine=not mounts
        or _text("/proc/self/uid_map").split() == ["0", "0", str(2**32 - 1)],
        capabilities=int(status.get("CapEff", f"{_EVERY_CAPABILITY:x}"), 16),
        filtered=status.get("Seccomp", "").strip() == _FILTERED,
        container=_container(overlay_root=overlay_root),
        masked_proc=any(map(_masks_proc, mounts)),
        overlay_root=overlay_root,
        cgroups=frozenset(groups[mount.fstype] for mount in hierarchies),
        cgroups_read_only=bool(hierarchies) and all(mount.read_only for mount in hierarchies),
        systemd=os.path.isdir("/run/systemd/system"),
        apparmor=_apparmor(),
        sysctls=frozenset(
            name
            for name, value in AGAINST.items()
            if _text(f"/proc/sys/{name.replace('.', '/')}").strip() == value
        ),
    )


def _masks_proc(mount: MountPoint) -> bool:
    return mount.path.startswith("/proc/") and mount.fstype not in {"binfmt_misc", "autofs"}


def _text(path: str) -> str:
    """Tell what a file of the kernel says; nothing where this kernel has no such file,
    or hides it.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _container(*, overlay_root: bool) -> str:
    if _HOLDER.decode() in _text("/proc/1/cmdline"):
        return SANDBOX
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "Kubernetes"
    # Else a leftover of an image
    return next(
        (name for path, name in _MARKS.items() if overlay_root and os.path.exists(path)), ""
    )


def _apparmor() -> str:
    """``docker-default (enforce)`` is its form; without AppArmor another security module may
    answer, or none.
    """
    profile, _, mode = _text("/proc/self/attr/apparmor/current").strip("\0\n ").rpartition(" (")
    return profile if mode == "enforce)" else ""
