"""``profile="strict"``, the parent's part: which system calls are forbidden, and what a test keeps.

The list is in ``forbidden``; calls that are younger than it do not exist. libseccomp compiles it
once a run; the child only loads the result.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import socket
import struct
import sys
import tempfile

from pytest_isolate._config.spec import Spec
from pytest_isolate._linux import privileges
from pytest_isolate._model import Missing
from pytest_isolate._plan import forbidden
from pytest_isolate._plan.planning import resolve_user
from pytest_isolate._sandbox.confine import LANDLOCK_NEEDED, Confinement

REMEDY = (
    "python -m pip install pyseccomp, and the library itself: apt-get install libseccomp2"
    " (Fedora: dnf install libseccomp)"
)
_ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"

# The kernel loads a module for a protocol that it lacks, whoever asks. Of IPv4 and IPv6: TCP, UDP,
# ICMP, UDP-Lite, ICMPv6; of netlink: NETLINK_ROUTE, by which getifaddrs(3) asks, and
# NETLINK_KOBJECT_UEVENT
_PROTOCOLS = {
    socket.AF_INET: (0, 1, 6, 17, 136),
    socket.AF_INET6: (0, 6, 17, 58, 136),
    socket.AF_NETLINK: (0, 15),
}
# Bits of all types of a socket but stream, datagram and raw, which have protocols of their own
_UNUSUAL_TYPES = 0b1100
# Mseal, Linux 6.10: past it nobody has looked at what a call does. One number on every
# architecture.
_NEWEST = 462

_BPF_LOAD, _BPF_RETURN = 0x20, 0x06
_BPF_JUMP_IF_EQUAL, _BPF_JUMP_IF_GREATER, _BPF_JUMP_IF_SET = 0x15, 0x25, 0x45
_RETURN_ERRNO = 0x00050000

# Docker's default set without MKNOD, NET_RAW, SETFCAP, SYS_CHROOT and AUDIT_WRITE.
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
ROOTS = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10})


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
    return Confinement(b"" if obstacle() else filter_program(), ROOTS if as_root else frozenset())


@functools.cache
def filter_program() -> bytes:
    """Give the filter as the kernel takes it.

    Raises ``OSError`` where libseccomp refuses a rule.
    """
    import pyseccomp  # noqa: PLC0415

    filter_ = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    # 32-bit calls would be a way round
    filter_.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.ERRNO(errno.ENOSYS))
    for rule in forbidden.rules():
        conditions = [
            pyseccomp.Arg(each.position, getattr(pyseccomp, each.operator), each.value, each.masked)
            for each in rule.conditions
        ]
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, rule.call)
        if number != _UNKNOWN:
            filter_.add_rule(pyseccomp.ERRNO(rule.errno), number, *conditions)
        elif rule.call in forbidden.NUMBERS:
            filter_.add_rule(pyseccomp.ERRNO(errno.ENOSYS), forbidden.NUMBERS[rule.call])
    with tempfile.TemporaryFile() as file:
        filter_.export_bpf(file)
        file.seek(0)
        return _younger_calls_do_not_exist() + _only_usual_protocols() + file.read()


# What libseccomp says of a name that it does not know: too new for it, so caught by its number
_UNKNOWN = -1


def _younger_calls_do_not_exist() -> bytes:
    """Load the number, compare, return ENOSYS. libseccomp's rules are about single calls only."""
    instructions = [
        (_BPF_LOAD, 0, 0, 0),
        (_BPF_JUMP_IF_GREATER, 0, 1, _NEWEST),
        (_BPF_RETURN, 0, 0, _RETURN_ERRNO | errno.ENOSYS),
    ]
    return _assembled(instructions)


def _only_usual_protocols() -> bytes:
    """Of each family load type and protocol, compare, return EPROTONOSUPPORT, as the kernel does
    where it has no such module. libseccomp would need a rule for each of some 250 protocols.
    """
    import pyseccomp  # noqa: PLC0415

    parts: list[list[tuple[int, int, int, int]]] = []
    for family, protocols in _PROTOCOLS.items():
        part = [(_BPF_LOAD, 0, 0, _argument(2))]
        part += [
            (_BPF_JUMP_IF_EQUAL, len(protocols) - at, 0, protocol)
            for at, protocol in enumerate(protocols)
        ]
        part += [(_BPF_RETURN, 0, 0, _RETURN_ERRNO | errno.EPROTONOSUPPORT)]
        if family != socket.AF_NETLINK:
            part[:0] = [
                (_BPF_LOAD, 0, 0, _argument(1)),
                (_BPF_JUMP_IF_SET, len(part) - 1, 0, _UNUSUAL_TYPES),
            ]
        part[:0] = [
            (_BPF_LOAD, 0, 0, _argument(0)),
            (_BPF_JUMP_IF_EQUAL, 0, len(part), int(family)),
        ]
        parts.append(part)
    body = list(itertools.chain.from_iterable(parts))
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "socket")
    return _assembled(
        [(_BPF_LOAD, 0, 0, 0), (_BPF_JUMP_IF_EQUAL, 0, len(body), number), *body],
    )


def _argument(position: int) -> int:
    """Where the 32 bits of one that are an int lie (struct seccomp_data)."""
    return 16 + 8 * position + (0 if sys.byteorder == "little" else 4)


def _assembled(instructions: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)
