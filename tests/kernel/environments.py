"""The environments in which the plugin has to know what it can do: each is entered for real, by a
process that then becomes pytest.

``python environments.py NAME COMMAND...`` goes into one and runs the command there. Which they are,
and what works in each, is written down once, in ``ENVIRONMENTS``: test_environments.py asserts it,
and tools/build_docs.py shows it in docs/environments.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from entering import (
    DOCKERS_CAPABILITIES,
    NET_ADMIN,
    SYS_ADMIN,
    as_it_is,
    as_root_of_a_user_namespace,
    capabilities,
    dockers_filter,
    dockers_mounts,
    hybrid,
    join,
    lacks,
    mount_in_tmp,
    nested,
    no_control_groups,
    no_proc,
    only_v1,
    ordinary_user,
    overlay_root,
    overlay_root_as_deep_as_can_be,
    own_control_groups,
    own_mounts,
    read_only_control_groups,
    read_only_root,
    read_only_sys,
    readable_python,
    tmp_of_its_own,
    tmp_on_root,
    tmp_with_too_much,
    ubuntus_sysctl,
    under_strace,
    with_an_old_name,
    without_user_namespaces,
)

SANDBOX = ("namespaces", "net", "readonly", "overlay", "disk")
LIMITS = ("memory", "pids", "cpu")
EXTRA = ("strict", "process", "landlock")
CAPABILITIES = (*SANDBOX, *LIMITS, *EXTRA)


def none_of(names: tuple[str, ...], fix: str) -> dict[str, str]:
    """Capabilities that are not there, and the same help for each."""
    return dict.fromkeys(names, fix)


@dataclass(frozen=True)
class Environment:
    """One place. Everything that ``lacks`` does not name works there."""

    name: str
    how: str  # it is made, for the table in the docs
    line: tuple[str, ...]  # words of the doctor's first line
    lacks: dict[str, str] = field(default_factory=dict)  # capability -> part of the fix
    steps: tuple[Callable[[], None], ...] = ()
    within: Callable[[list[str]], list[str]] = as_it_is
    cgroup: str = ""  # "v1", "v2": of the machine; else either
    user: bool = False  # whether it is an ordinary user's
    delegated: bool = False  # whether that user was given control groups
    needs_root: bool = True  # to be made
    # One overlay deeper than the machine: where its root is one already, none fits on it
    deeper: bool = False

    @property
    def concerns_groups(self) -> bool:
        """Whether it is worth its time in a kernel whose control groups are other ones."""
        return (
            bool(self.cgroup)
            or read_only_control_groups in self.steps
            or self.name.startswith("Docker's default")
        )


_NOT_DELEGATED = none_of(LIMITS, "run pytest as root")
_READ_ONLY = none_of(LIMITS, "docker run --cgroupns=private --privileged")
_IN_A_SANDBOX = none_of(LIMITS, "give the limit to the test that starts this pytest")
_ALL = (*SANDBOX, *LIMITS, "strict")
_BUILDING = (*SANDBOX, "strict")
_CONTAINER = (
    "docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined"
    " --security-opt apparmor=unconfined"
)
_CONTAINER_USER = (
    "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt"
    " systempaths=unconfined"
)
_UBUNTU = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
_NEW_MOUNTS = (
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
)
_LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
_HIDDEN = "a seccomp filter hides it"

ENVIRONMENTS = (
    Environment("root", "as CI has it", ("root",)),
    Environment(
        "root, cgroup v1",
        "the unified hierarchy unmounted",
        ("root", "cgroup v1"),
        steps=(own_mounts, only_v1),
        cgroup="v1",
    ),
    Environment(
        "root, hybrid",
        "v1 and v2 mounted",
        ("root", "cgroup v1 and v2 (hybrid)"),
        steps=(own_mounts, hybrid),
        cgroup="v1",
    ),
    Environment(
        "root, cgroup v2", "a pure v2 kernel (user-mode Linux)", ("root", "cgroup v2"), cgroup="v2"
    ),
    Environment(
        "root, no control groups",
        "all of them unmounted",
        ("root", "no control groups"),
        none_of(LIMITS, "sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        (own_mounts, no_control_groups),
    ),
    Environment(
        "root, no /proc",
        "as in a bare chroot",
        ("root", "no /proc"),
        none_of((*_ALL, "process"), "sudo mount -t proc proc /proc"),
        (own_mounts, no_proc),
    ),
    Environment(
        "root, read-only /sys/fs/cgroup",
        "mounted read-only",
        ("root", ", read-only"),
        _READ_ONLY,
        (own_mounts, read_only_control_groups),
    ),
    Environment(
        "user, v1",
        "uid 1000",
        ("uid 1000",),
        none_of(LIMITS, "give yourself groups and start pytest from that shell: sudo sh -c"),
        (own_mounts, ordinary_user),
        cgroup="v1",
        user=True,
        needs_root=False,
    ),
    Environment(
        "user, v1, delegated",
        "a group in each hierarchy given to uid 1000",
        ("uid 1000",),
        {},
        (own_mounts, join, ordinary_user),
        cgroup="v1",
        user=True,
        delegated=True,
    ),
    Environment(
        "user, v2",
        "uid 1000 in the root group of a pure v2 kernel",
        ("uid 1000", "cgroup v2"),
        none_of(LIMITS, "give yourself a group and start pytest from that shell: sudo sh -c"),
        (own_mounts, ordinary_user),
        cgroup="v2",
        user=True,
        needs_root=False,
    ),
    Environment(
        "user, v2, delegated",
        "uid 1000 in a group that it owns, of a pure v2 kernel",
        ("uid 1000", "cgroup v2"),
        {},
        (own_mounts, join, ordinary_user),
        cgroup="v2",
        user=True,
        delegated=True,
        needs_root=False,
    ),
    Environment(
        "root of a user namespace",
        "uid 1000, unshare --user --map-root-user",
        ("root of a user namespace",),
        _NOT_DELEGATED,
        (own_mounts, ordinary_user),
        as_root_of_a_user_namespace,
        user=True,
        needs_root=False,
    ),
    Environment(
        "user namespaces off",
        "the same with user.max_user_namespaces=0",
        ("sysctl user.max_user_namespaces=0",),
        none_of(_BUILDING, "sudo sysctl -w user.max_user_namespaces=15000") | _NOT_DELEGATED,
        (own_mounts, ordinary_user),
        without_user_namespaces,
        user=True,
        needs_root=False,
    ),
    Environment(
        "user, a mount in /tmp",
        "a tmpfs on a directory below /tmp",
        ("uid 1000",),
        _NOT_DELEGATED,
        (own_mounts, mount_in_tmp, ordinary_user),
    ),
    Environment(
        "nested",
        "in an isolated test of root",
        ("in a sandbox of pytest-isolate",),
        _IN_A_SANDBOX,
        within=nested(),
        deeper=True,
    ),
    Environment(
        "nested, user",
        "in an isolated test of uid 1000",
        ("in a sandbox of pytest-isolate", "uid 1000"),
        _IN_A_SANDBOX,
        (own_mounts, ordinary_user),
        nested(),
        deeper=True,
        user=True,
        needs_root=False,
    ),
    Environment(
        "nested in strict",
        "in an isolated test with profile='strict'",
        ("in a sandbox of pytest-isolate", "seccomp filter"),
        none_of(_BUILDING, "profile='strict' forbids it") | _IN_A_SANDBOX,
        within=nested("--isolate-profile=strict"),
    ),
    Environment(
        "Docker's default",
        "its 14 capabilities, its seccomp profile (what it does not allow is refused), masked"
        " /proc, read-only /sys, overlay root",
        (
            "root",
            "without CAP_NET_ADMIN, CAP_SYS_ADMIN",
            "in Docker",
            "seccomp filter",
            "masked /proc",
            "overlay root",
            ", read-only",
        ),
        none_of(_BUILDING, _CONTAINER) | _READ_ONLY,
        (
            own_mounts,
            overlay_root,
            dockers_mounts,
            capabilities(DOCKERS_CAPABILITIES),
            dockers_filter(),
        ),
    ),
    Environment(
        "Docker's default, user",
        "the same for uid 1000 (docker run --user)",
        ("uid 1000", "in Docker", "seccomp filter", "masked /proc"),
        none_of(_BUILDING, _CONTAINER_USER) | _READ_ONLY,
        (
            own_mounts,
            overlay_root,
            dockers_mounts,
            readable_python,
            dockers_filter(),
            ordinary_user,
        ),
        user=True,
    ),
    Environment(
        "Docker, --cap-add SYS_ADMIN",
        "the profile then allows mounts, but still no pivot_root(2)",
        ("without CAP_NET_ADMIN", "seccomp filter"),
        none_of(_BUILDING, _CONTAINER) | _READ_ONLY,
        (
            own_mounts,
            overlay_root,
            dockers_mounts,
            capabilities(DOCKERS_CAPABILITIES | {SYS_ADMIN}),
            dockers_filter(admin=True),
        ),
        deeper=True,
    ),
    Environment(
        "Docker, as host.md has it",
        "SYS_ADMIN and NET_ADMIN added, no profile",
        ("root", "in Docker", "masked /proc"),
        _READ_ONLY,
        (
            own_mounts,
            overlay_root,
            dockers_mounts,
            capabilities(DOCKERS_CAPABILITIES | {SYS_ADMIN, NET_ADMIN}),
        ),
        deeper=True,
    ),
    Environment(
        "Docker, --privileged",
        "an overlay root and nothing else",
        ("in Docker", "overlay root"),
        {},
        (own_mounts, overlay_root),
        deeper=True,
    ),
    Environment(
        "Docker, --cgroupns=private --privileged, v2",
        "the group of the container is the root that it sees, of a pure v2 kernel",
        ("root", "cgroup v2"),
        {},
        (own_mounts, join, own_control_groups),
        cgroup="v2",
        delegated=True,
    ),
    Environment(
        "Docker, --privileged --read-only",
        "the same, read-only, with a tmpfs on /tmp",
        ("in Docker", "overlay root"),
        {},
        (own_mounts, overlay_root, read_only_root, tmp_of_its_own),
        deeper=True,
    ),
    Environment(
        "SYS_ADMIN only",
        "every other capability dropped",
        ("without CAP_DAC_OVERRIDE, CAP_SETPCAP, CAP_NET_ADMIN, CAP_SYS_CHROOT",),
        none_of(
            _ALL,
            "--cap-add DAC_OVERRIDE --cap-add SETPCAP --cap-add NET_ADMIN --cap-add SYS_CHROOT",
        ),
        (own_mounts, capabilities(frozenset({SYS_ADMIN}))),
    ),
    Environment(
        "Docker, no profile, /proc not masked",
        "its 14 capabilities, read-only /sys, overlay root: sandboxes have a user namespace",
        ("without CAP_NET_ADMIN, CAP_SYS_ADMIN", "in Docker"),
        _READ_ONLY,
        (own_mounts, overlay_root, read_only_sys, capabilities(DOCKERS_CAPABILITIES)),
        deeper=True,
    ),
    Environment(
        "masked /proc, user",
        "Docker's mounts, no profile, uid 1000",
        ("uid 1000", "masked /proc"),
        none_of(_BUILDING, "--security-opt systempaths=unconfined") | _READ_ONLY,
        (own_mounts, overlay_root, dockers_mounts, ordinary_user),
        user=True,
        deeper=True,
    ),
    Environment(
        "Ubuntu 24.04, maps refused",
        "uid 1000 with AppArmor's sysctl; strace refuses to open setgroups in the new namespace, as"
        " the kernel does to one without rights",
        ("uid 1000", "sysctl kernel.apparmor_restrict_unprivileged_userns=1"),
        none_of(_BUILDING, _UBUNTU) | _NOT_DELEGATED,
        (own_mounts, ubuntus_sysctl, ordinary_user),
        under_strace(
            "--trace=openat", "--trace-path=/proc/self/setgroups", "--inject=openat:error=EACCES"
        ),
        user=True,
    ),
    Environment(
        "Ubuntu 24.04, mounts refused",
        "the same with mount(2) refused instead",
        ("uid 1000", "sysctl kernel.apparmor_restrict_unprivileged_userns=1"),
        none_of(_BUILDING, _UBUNTU) | _NOT_DELEGATED,
        (own_mounts, ubuntus_sysctl, ordinary_user),
        under_strace("--trace=mount", "--inject=mount:error=EACCES"),
        user=True,
    ),
    Environment(
        "overlays two deep",
        "/ an overlay of an overlay, /tmp on it: temporary files are private copies",
        ("overlay root",),
        {"overlay": "use fs='readonly'"},
        (own_mounts, overlay_root_as_deep_as_can_be, tmp_on_root),
    ),
    Environment(
        "overlays two deep, a full /tmp",
        "the same with 40 MiB in /tmp",
        ("overlay root",),
        none_of(_BUILDING, "docker run --tmpfs /tmp")
        | none_of(LIMITS, "docker run --tmpfs /tmp")
        | {"overlay": "use fs='readonly'"},
        (own_mounts, overlay_root_as_deep_as_can_be, tmp_on_root, tmp_with_too_much),
    ),
    Environment(
        "overlays two deep, own /tmp",
        "the same with a tmpfs on /tmp",
        ("overlay root",),
        {"overlay": "use fs='readonly'"},
        (own_mounts, overlay_root_as_deep_as_can_be, tmp_of_its_own),
    ),
    Environment(
        "overlays two deep, own /tmp, user",
        "the same for uid 1000",
        ("uid 1000", "overlay root"),
        {"overlay": "use fs='readonly'"} | _NOT_DELEGATED,
        (own_mounts, overlay_root_as_deep_as_can_be, tmp_of_its_own, ordinary_user),
        user=True,
    ),
    Environment(
        "kernel without clone3, openat2, close_range, Landlock",
        "a filter answers ENOSYS",
        ("seccomp filter",),
        {"landlock": _HIDDEN},
        (lacks("clone3", "openat2", "close_range", *_LANDLOCK),),
    ),
    Environment(
        "kernel without the new mount API",
        "a filter answers ENOSYS",
        ("seccomp filter",),
        none_of(_ALL, _HIDDEN),
        (lacks(*_NEW_MOUNTS),),
    ),
    Environment(
        "old kernel",
        "both, without pidfds, and uname(2) says 2.6",
        ("Linux 2.6",),
        none_of((*_ALL, "process"), "Linux 5.12 is needed, this is Linux 2.6")
        | {"landlock": "Linux 5.19 or later"},
        (
            lacks(
                "clone3",
                "openat2",
                "close_range",
                "pidfd_open",
                "pidfd_send_signal",
                *_LANDLOCK,
                *_NEW_MOUNTS,
            ),
        ),
        with_an_old_name,
    ),
)
BY_NAME = {each.name: each for each in ENVIRONMENTS}


def main() -> None:
    """Go in, and become the command."""
    name, *command = sys.argv[1:]
    environment = BY_NAME[name]
    for step in environment.steps:
        step()
    command = environment.within(command)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
