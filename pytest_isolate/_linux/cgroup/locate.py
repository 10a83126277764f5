"""Find where each controller lives on this machine.

On v1 every controller may have a hierarchy of its own, on v2 all share one, and hybrid machines
have both: so everything goes controller by controller.
"""

from __future__ import annotations

import os

from pytest_isolate._linux.cgroup import hierarchy
from pytest_isolate._linux.cgroup.files import read
from pytest_isolate._linux.cgroup.hierarchy import LEAF, V2, Hierarchy
from pytest_isolate._linux.mounts import parse_mountinfo

# The last two: one by its v2 and its v1 name
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "io", "blkio")
READ_ONLY = "mounted read-only"


def locate(proc_cgroup: str, mountinfo: str) -> dict[str, Hierarchy]:
    """Map each controller to its hierarchy, from ``/proc/self/cgroup`` and mountinfo (cgroups(7)).

    The unified hierarchy is entered as ``""``; its controllers are known by ``cgroup.controllers``
    only.
    """
    mounted = _mounted(mountinfo)
    found = {}
    for line in proc_cgroup.split("\n"):
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for name in names.split(",") if path else []:
            if name not in mounted:
                continue
            version, root, mountpoint = mounted[name]
            # Outside of our control group namespace
            if ".." in [*root.split("/"), *path.split("/")]:
                continue
            inside = os.path.relpath(path, root)
            if inside.split("/")[0] != "..":  # else mounted from a group that is not above us
                found[name] = hierarchy.of(
                    version, os.path.normpath(os.path.join(mountpoint, inside))
                )
    return found


def _mounted(mountinfo: str) -> dict[str, tuple[int, str, str]]:
    """Version, root and mount point by controller; the unified hierarchy is ``""``."""
    mounted: dict[str, tuple[int, str, str]] = {}
    for mount in parse_mountinfo(mountinfo):
        if mount.fstype == "cgroup2":
            mounted.setdefault("", (2, mount.root, mount.path))
        elif mount.fstype == "cgroup":
            for option in mount.super_options:
                mounted.setdefault(option, (1, mount.root, mount.path))
    return mounted


def own_hierarchies() -> dict[str, Hierarchy]:
    """Give the hierarchies of this process, with v2 controllers named one by one."""
    found = locate(read("/proc/self/cgroup"), read("/proc/self/mountinfo"))
    unified = found.pop("", None)
    if unified is not None:
        if os.path.basename(unified.directory) == LEAF:  # we, or a run beside us, moved here
            unified = V2(os.path.dirname(unified.directory))
        controllers = os.path.join(unified.directory, "cgroup.controllers")
        # Else hidden under another mount
        for name in read(controllers).split() if os.path.exists(controllers) else ():
            found.setdefault(name, unified)
    return {name: place for name, place in found.items() if name in CONTROLLERS}


def obstacle(place: Hierarchy) -> str | None:
    """Why this process cannot make groups there; None when it can."""
    for path in place.needed():
        if not os.path.exists(path):
            return f"{path} is hidden under another mount"
        if not os.access(path, os.W_OK):
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            return (
                f"{path} is"
                f" {READ_ONLY if read_only else 'not writable for uid ' + str(os.geteuid())}"
            )
    return None
