"""``profile="strict"``, the parent's part: which system calls are forbidden, and what a test keeps.

The list is that of Docker's default profile for a container without capabilities, turned round
(what is not named is allowed, and calls that are younger than the list do not exist), without
Docker's exceptions for ptrace(2). libseccomp compiles it once a run; the child only loads the
result.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import stat
import struct
import tempfile
from typing import Any

from pytest_isolate._config.spec import Spec
from pytest_isolate._linux import privileges
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._model import Missing
from pytest_isolate._plan.planning import resolve_user
from pytest_isolate._sandbox.confine import LANDLOCK_NEEDED, Confinement

REMEDY = (
    'pip install "pytest-isolate-ns[strict]", and the library itself: apt-get install libseccomp2'
    " (Fedora: dnf install libseccomp)"
)
_ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"

_FORBIDDEN = (
    # mounts and namespaces
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
    "open_tree", "pivot_root", "setns",
    "umount", "umount2",
    # other processes
    "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    # files behind the back of the mount namespace
    "name_to_handle_at", "open_by_handle_at",
    # large, seldom needed parts of the kernel
    "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "lookup_dcookie",
    "perf_event_open", "userfaultfd", "fanotify_init",
    # keys belong to no namespace
    "add_key", "keyctl", "request_key",
    # the machine itself
    "acct", "adjtimex", "clock_adjtime", "clock_settime", "create_module", "delete_module",
    "finit_module", "init_module", "ioperm",
    "iopl", "kexec_file_load", "kexec_load", "quotactl", "quotactl_fd", "reboot", "settimeofday",
    "stime", "swapoff", "swapon", "syslog",
    "vhangup",
    # where its memory lies
    "get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy",
    "set_mempolicy_home_node",
    # long gone
    "_sysctl", "nfsservctl", "query_module", "sysfs", "uselib", "ustat", "vm86", "vm86old",
)  # fmt: skip
# Time, cgroup
_NEW_NAMESPACES = (
    0x80,
    0x02000000,
    *(Clone.NEWNS, Clone.NEWUTS, Clone.NEWIPC, Clone.NEWUSER, Clone.NEWPID, Clone.NEWNET),
)
_PARENT = 0x8000  # CLONE_PARENT: children of pytest, not of the test
# And the position of the mode
_CHANGES_MODE = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
_MAKES_NODES = {"mknod": 1, "mknodat": 2, "creat": 1}  # and the position of the mode, as above
# And the positions of flags and mode, which is any number where no file is made
_OPENS = {"open": (1, 2), "openat": (2, 3)}
_MAKING = (os.O_CREAT, os.O_TMPFILE & ~os.O_DIRECTORY)
# Linux 5.6, on every architecture. Its mode lies in memory, where no filter can read it; who knows
# it falls back
_OPENAT2 = 437
_FCHMODAT2 = 452  # Linux 6.6, on every architecture
_SOCKETS = frozenset({1, 2, 10, 16})  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_LAST_FAMILY = 45
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# Mseal, Linux 6.10: past it nobody has looked at what a call does. One number on every
# architecture.
_NEWEST = 462

_BPF_LOAD, _BPF_JUMP_IF_GREATER, _BPF_RETURN = 0x20, 0x25, 0x06
_RETURN_ERRNO = 0x00050000

# Docker's default set without MKNOD, NET_RAW, SETFCAP, SYS_CHROOT and AUDIT_WRITE.
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
_ROOTS = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10})


def missing(spec: Spec) -> Missing | None:
    """Tell what this machine lacks for a strict test."""
    if not spec.strict or (reason := obstacle()) is None:
        return None
    return Missing("profile", f"its seccomp filter cannot be made: {reason}", REMEDY)


@functools.cache
def obstacle() -> str | None:
    """Why there can be no filter here, if so."""
    if not os.path.exists(_ACTIONS):
        return "this kernel has no seccomp filters"
    try:
        import pyseccomp  # noqa: F401, PLC0415 - an extra, and only strict tests pay for it
    except (ImportError, RuntimeError, AttributeError) as error:
        # RuntimeError: libseccomp itself is not there
        return f"{type(error).__name__}: {error}"
    return None


def landlock_obstacle() -> str | None:
    """Why the second wall is not there, if so."""
    version = privileges.landlock_version()
    if version == 0:
        return "this kernel has no Landlock, or it is not among those of the boot parameter lsm="
    return (
        None
        if version >= LANDLOCK_NEEDED
        else f"Landlock's version {LANDLOCK_NEEDED} is needed (Linux 5.19), this is {version}"
    )


def confinement(spec: Spec) -> Confinement | None:
    """Tell what the child of a strict test does to itself; None for any other test."""
    if not spec.strict:
        return None
    as_root = spec.user is not None and resolve_user(spec.user)[0] == 0
    return Confinement(b"" if obstacle() else filter_program(), _ROOTS if as_root else frozenset())


@functools.cache
def filter_program() -> bytes:
    """Give the filter as the kernel takes it.

    Raises ``OSError`` where libseccomp refuses a rule.
    """
    import pyseccomp  # noqa: PLC0415

    denied = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    # 32-bit calls would be a way round
    rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.ERRNO(errno.ENOSYS))
    for name in _FORBIDDEN:
        if (number := pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)) != _UNKNOWN:
            rules.add_rule(denied, number)
    for name in ("clone", "unshare"):
        for flag in _NEW_NAMESPACES:
            rules.add_rule(
                denied, name, pyseccomp.Arg(0, pyseccomp.MASKED_EQ, int(flag), int(flag))
            )
    # Its flags lie in memory, where no filter can read them; libc falls back
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    _forbid_set_id_bits(rules)
    rules.add_rule(denied, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _PARENT, _PARENT))
    for request in _TERMINAL_INPUT:
        # The kernel reads 32 bits of it
        rules.add_rule(denied, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request))
    rules.add_rule(denied, "socket", pyseccomp.Arg(0, pyseccomp.GT, _LAST_FAMILY))
    for family in range(_LAST_FAMILY + 1):
        if family not in _SOCKETS:
            rules.add_rule(denied, "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return _younger_calls_do_not_exist() + file.read()


def _forbid_set_id_bits(rules: Any) -> None:  # noqa: ANN401 - pyseccomp has no types
    """Nothing in a strict test has a use for them, and the owner of a program of the machine could
    set them through /proc/self/exe.
    """
    import pyseccomp  # noqa: PLC0415

    for name, position in {**_CHANGES_MODE, **_MAKES_NODES}.items():
        if (number := pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)) != _UNKNOWN:
            for bit in (stat.S_ISUID, stat.S_ISGID):
                rules.add_rule(
                    pyseccomp.ERRNO(errno.EPERM),
                    number,
                    pyseccomp.Arg(position, pyseccomp.MASKED_EQ, bit, bit),
                )
        elif name == "fchmodat2":
            rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), _FCHMODAT2)
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), _OPENAT2)
    for name, (flags, mode) in _OPENS.items():
        if (number := pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)) != _UNKNOWN:
            for making, bit in itertools.product(_MAKING, (stat.S_ISUID, stat.S_ISGID)):
                makes = pyseccomp.Arg(flags, pyseccomp.MASKED_EQ, making, making)
                rules.add_rule(
                    pyseccomp.ERRNO(errno.EPERM),
                    number,
                    makes,
                    pyseccomp.Arg(mode, pyseccomp.MASKED_EQ, bit, bit),
                )


# What libseccomp says of a name that it does not know: too new for it, so caught by its number
_UNKNOWN = -1


def _younger_calls_do_not_exist() -> bytes:
    """Load the number, compare, return ENOSYS. libseccomp's rules are about single calls only."""
    instructions = [
        (_BPF_LOAD, 0, 0, 0),
        (_BPF_JUMP_IF_GREATER, 0, 1, _NEWEST),
        (_BPF_RETURN, 0, 0, _RETURN_ERRNO | errno.ENOSYS),
    ]
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)
