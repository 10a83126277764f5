"""``config.json`` of a bundle: all of a sandbox that the runtime specification has words for."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Any

from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import format_size
from pytest_isolate._linux import privileges
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._oci import capabilities
from pytest_isolate._oci.directories import OWN
from pytest_isolate._oci.tree import Tree
from pytest_isolate._plan import forbidden, strictness
from pytest_isolate._plan.planning import Plan, resolve_user

VERSION = "1.0.2"  # of the specification; crun and runc of 2021 and later know it
_NAMESPACES = {
    Clone.NEWPID: "pid", Clone.NEWNS: "mount", Clone.NEWIPC: "ipc", Clone.NEWUTS: "uts",
    Clone.NEWNET: "network", Clone.NEWUSER: "user",
}  # fmt: skip
_ARCHITECTURES = {
    "x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X", "riscv64": "SCMP_ARCH_RISCV64",
}  # fmt: skip
_PERIOD = 100_000  # microseconds
_FIRST_MEMORY = 12 << 20  # bytes that the container's first process may take
_NAME = "org.pytest-isolate."  # what annotations begin with

Json = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """Who the test is: in the container's user namespace, and in a further one within, if there is
    one (``who`` is its ``uid:gid``).
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    who: str
    keeps: frozenset[int]  # capabilities
    bounding: frozenset[int]


def identity(spec: Spec, host: Host) -> Identity:
    """Tell who a test of a bundle is."""
    wanted = None if spec.user is None else resolve_user(spec.user)
    roots = strictness.ROOTS if wanted is not None and wanted[0] == 0 else frozenset[int]()
    if not host.rootless:
        uid, gid, groups = wanted or (host.uid, host.gid, tuple(os.getgroups()))
        mine = roots if spec.strict else capabilities.effective() - privileges.MACHINE_WIDE
        return Identity(uid, gid, groups, "", mine if uid == 0 else frozenset(), mine)
    uid, gid, _ = wanted or (host.uid, host.gid, ())
    if uid == 0 or spec.strict:
        mine = roots if spec.strict else capabilities.ALL
        return Identity(uid, gid, (), "", mine if uid == 0 else frozenset(), mine)
    # To map the root above is root's right; the namespace within takes all rights away again
    right = frozenset({capabilities.SETFCAP})
    return Identity(0, 0, (), f"{uid}:{gid}", right, right)


@dataclass(frozen=True)
class Process:
    """What runs."""

    args: list[str]
    env: list[str]
    cwd: str
    left_out: tuple[str, ...]  # variables that are not in ``env``


def config(spec: Spec, plan: Plan, host: Host, tree: Tree, *, process: Process) -> Json:
    """Make all of it."""
    me = identity(spec, host)
    linux: Json = {
        "namespaces": [
            {"type": name} for flag, name in _NAMESPACES.items() if plan.recipe.namespaces & flag
        ],
        "maskedPaths": [f"/{OWN}", *tree.masked],
        "readonlyPaths": tree.read_only,
    }
    if host.rootless:
        linux["uidMappings"] = [{"containerID": me.uid, "hostID": host.uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": me.gid, "hostID": host.gid, "size": 1}]
    if resources := _resources(spec, plan, host):
        linux["resources"] = resources
    if spec.strict:
        linux["seccomp"] = _seccomp()
    user: Json = {"uid": me.uid, "gid": me.gid}
    if me.groups:
        user["additionalGids"] = list(me.groups)
    return {
        "ociVersion": VERSION,
        "hostname": tree.hostname,
        "root": {"path": "rootfs", "readonly": True},
        "mounts": tree.finished(),
        "process": {
            "terminal": False,
            "user": user,
            "args": process.args,
            "env": process.env,
            "cwd": process.cwd,
            "capabilities": {
                "bounding": capabilities.names(me.bounding),
                "effective": capabilities.names(me.keeps),
                "permitted": capabilities.names(me.keeps),
            },
            "rlimits": _rlimits(spec),
            "noNewPrivileges": spec.strict,
        },
        "annotations": _annotations(spec, process.left_out),
        "linux": linux,
    }


def _rlimits(spec: Spec) -> list[Json]:
    found = {} if spec.files is None else {"RLIMIT_NOFILE": spec.files}
    found |= {"RLIMIT_CORE": 0} if spec.strict else {}
    return [{"type": name, "hard": value, "soft": value} for name, value in found.items()]


def _resources(spec: Spec, plan: Plan, host: Host) -> Json:
    """Give the limits of control groups that this machine has."""
    limits, found = plan.recipe.limits, Json()
    if spec.memory is not None and "memory" in limits:
        limit = spec.memory + _own_memory()
        found["memory"] = {"limit": limit, "swap": limit}
    if spec.pids is not None and "pids" in limits:
        found["pids"] = {"limit": spec.pids + 1}
    if spec.cpu is not None and "cpu" in limits:
        found["cpu"] = {"quota": int(spec.cpu * _PERIOD), "period": _PERIOD}
    rates = (("Read", spec.io_read), ("Write", spec.io_write))
    devices = (
        [tuple(map(int, disk.split(":"))) for disk in host.disks]
        if any(rate is not None for _, rate in rates)
        else []
    )
    throttled = {
        f"throttle{name}BpsDevice": [
            {"major": major, "minor": minor, "rate": rate} for major, minor in devices
        ]
        for name, rate in rates
        if rate is not None and {"io", "blkio"} & limits.keys()
    }
    return found | ({"blockIO": throttled} if throttled else {})


def _own_memory() -> int:
    """Bytes of a fresh pytest that has come as far as this one, and of the process above it."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    return int(lines["RssAnon"].split()[0]) * 1024 + _FIRST_MEMORY


def _seccomp() -> Json:
    calls = []
    for rule in forbidden.rules():
        each: Json = {"names": [rule.call], "action": "SCMP_ACT_ERRNO", "errnoRet": rule.errno}
        if rule.conditions:
            each["args"] = [
                {
                    "index": condition.position, "value": condition.value,
                    "valueTwo": condition.masked, "op": f"SCMP_CMP_{condition.operator}",
                }
                for condition in rule.conditions
            ]  # fmt: skip
        calls.append(each)
    known = _ARCHITECTURES.get(platform.machine())
    found: Json = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls}
    return found | ({} if known is None else {"architectures": [known]})


def _annotations(spec: Spec, left_out: tuple[str, ...]) -> dict[str, str]:
    """Say for people what the specification has no word for."""
    found = {}
    if spec.memory is not None:
        found["memory"] = f"{format_size(spec.memory)}, and what pytest itself takes"
    lost = [
        f"{name}={getattr(spec, name)}"
        for name in ("timeout", "cpu_time")
        if getattr(spec, name) is not None
    ]
    lost += [f"fs_allow={list(spec.fs_allow)}"] if spec.fs_allow is not None else []
    lost += ["net='deny' (as net=True)"] if spec.networking.denies else []
    lost += ["net='internet' (as net=True)"] if spec.networking.leads_out else []
    if lost:
        found["without"] = ", ".join(lost)
    if left_out:
        found["environment.without"] = ", ".join(left_out)
    return {f"{_NAME}{name}": text for name, text in found.items()}
