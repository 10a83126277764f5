"""The system calls that ``profile="strict"`` forbids, as rules of libseccomp's own terms.

The list is that of Docker's default profile for a container without capabilities, turned round
(what is not named is allowed), without Docker's exceptions for ptrace(2). ``strictness`` has
libseccomp compile it for our own sandboxes, ``_oci`` writes it into bundles.
"""

from __future__ import annotations

import errno
import itertools
import os
import resource
import socket
import stat
from collections.abc import Iterator
from typing import NamedTuple

from pytest_isolate._linux.syscalls import Clone

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
_OPENS = {"open": (1, 2), "openat": (2, 3), "mq_open": (1, 2)}
_MAKING = (os.O_CREAT, os.O_TMPFILE & ~os.O_DIRECTORY)
#: Of calls that a libseccomp may not know, on every architecture.
NUMBERS = {"clone3": 435, "openat2": 437, "fchmodat2": 452}
_SOCKETS = frozenset({1, 2, 10, 16})  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_LAST_FAMILY = 45
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# For TIOCSETD, SIOCGIFBR, SIOCSIFBR, SIOCBRADDBR, SIOCBRDELBR, SIOCGIFVLAN, SIOCSIFVLAN the kernel
# loads line disciplines, bridge and 8021q, whoever asks
_LOADING_REQUESTS = (0x5423, 0x8940, 0x8941, 0x89A0, 0x89A1, 0x8982, 0x8983)
_SET_LEASE = 1024  # F_SETLEASE: whoever opens the file waits for us
# Bytes. An access list of 64 KiB is memory that nobody counts, and any file can have one
_LARGEST_ATTRIBUTE = 4096


class Condition(NamedTuple):
    """What an argument of the call has to be."""

    position: int
    operator: str  # libseccomp's: EQ, NE, GT, MASKED_EQ
    value: int  # of MASKED_EQ the mask
    masked: int = 0


class Rule(NamedTuple):
    """A call that fails, if all conditions hold."""

    call: str
    errno: int
    conditions: tuple[Condition, ...] = ()


def rules() -> Iterator[Rule]:
    """Give all of them."""
    yield from (Rule(name, errno.EPERM) for name in _FORBIDDEN)
    for name, flag in itertools.product(("clone", "unshare"), _NEW_NAMESPACES):
        yield Rule(name, errno.EPERM, (_all_of(0, int(flag)),))
    # Its flags lie in memory, where no filter can read them; libc falls back
    yield Rule("clone3", errno.ENOSYS)
    yield from _set_id_bits()
    yield Rule("clone", errno.EPERM, (_all_of(0, _PARENT),))
    yield Rule("fcntl", errno.EPERM, (Condition(1, "EQ", _SET_LEASE),))
    for name in ("setxattr", "lsetxattr", "fsetxattr"):
        yield Rule(name, errno.ENOSPC, (Condition(3, "GT", _LARGEST_ATTRIBUTE),))
    # To 0 it would have the machine's program for core dumps started (core(5)): there is no core
    # whatever it is, and who asks for none hears that it is done
    yield Rule("setrlimit", 0, (Condition(0, "EQ", resource.RLIMIT_CORE),))
    is_new = Condition(2, "NE", 0)
    yield Rule("prlimit64", 0, (Condition(1, "EQ", resource.RLIMIT_CORE), is_new))
    for request in (*_TERMINAL_INPUT, *_LOADING_REQUESTS):  # the kernel reads 32 bits of it
        yield Rule("ioctl", errno.EPERM, (Condition(1, "MASKED_EQ", 0xFFFFFFFF, request),))
    yield Rule("socket", errno.EPERM, (Condition(0, "GT", _LAST_FAMILY),))
    for family in range(_LAST_FAMILY + 1):
        if family not in _SOCKETS:
            yield Rule("socket", errno.EPERM, (Condition(0, "EQ", family),))
    # It makes two of any family before it sees that they cannot be a pair
    yield Rule("socketpair", errno.EPERM, (Condition(0, "NE", socket.AF_UNIX),))


def _set_id_bits() -> Iterator[Rule]:
    """Nothing in a strict test has a use for them, and the owner of a program of the machine could
    set them through /proc/self/exe.
    """
    bits = (stat.S_ISUID, stat.S_ISGID)
    for (name, position), bit in itertools.product({**_CHANGES_MODE, **_MAKES_NODES}.items(), bits):
        yield Rule(name, errno.EPERM, (_all_of(position, bit),))
    # Its mode lies in memory, where no filter can read it; who knows it falls back
    yield Rule("openat2", errno.ENOSYS)
    for name, (flags, mode) in _OPENS.items():
        for making, bit in itertools.product(_MAKING, bits):
            yield Rule(name, errno.EPERM, (_all_of(flags, making), _all_of(mode, bit)))


def _all_of(position: int, bits: int) -> Condition:
    return Condition(position, "MASKED_EQ", bits, bits)
