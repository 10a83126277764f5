"""What a process gives up for itself: capabilities, privileges, system calls, paths."""

from __future__ import annotations

import errno

from pytest_isolate._linux._libc import ffi
from pytest_isolate._linux.syscalls import check, libc

_SYS_LANDLOCK = 444  # create_ruleset, add_rule, restrict_self
_LANDLOCK_VERSION = 1
_LANDLOCK_PATH_BENEATH = 1
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_BPF_INSTRUCTION = 8  # bytes
_MOST_CAPABILITIES = 64

#: Capabilities that act on the whole machine, and that no namespace confines: SYS_MODULE,
#: SYS_RAWIO, SYS_BOOT, SYS_TIME, MAC_OVERRIDE, MAC_ADMIN, SYSLOG, WAKE_ALARM, BLOCK_SUSPEND,
#: AUDIT_READ. Of the others that Docker drops, a pid namespace confines AUDIT_CONTROL, without
#: which daemons that use pam_loginuid refuse every login; tests mount, trace and schedule by
#: the rest.
MACHINE_WIDE = frozenset({16, 17, 22, 25, 32, 33, 34, 35, 36, 37})


def die_with_parent_thread(signal: int) -> None:
    """prctl(PR_SET_PDEATHSIG): ``signal`` arrives when the *thread* that forked this
    process ends.
    """
    check(libc.prctl(_PR_SET_PDEATHSIG, ffi.cast("unsigned long", signal)))


def set_dumpable() -> None:
    """Give /proc/self back to its process after a change of user id: prctl(PR_SET_DUMPABLE, 1)."""
    check(libc.prctl(_PR_SET_DUMPABLE, ffi.cast("unsigned long", 1)))


def _prctl(option: int, *arguments: object) -> int:
    numbers = [
        each if isinstance(each, ffi.CData) else ffi.cast("unsigned long", each)
        for each in arguments
    ]
    return check(libc.prctl(option, *numbers, *[ffi.cast("unsigned long", 0)] * (4 - len(numbers))))


def drop_capabilities(keep: frozenset[int] = frozenset()) -> None:
    """Reduce this thread's capabilities to those of ``keep`` that it has: capset(2).

    Nothing stays inheritable.
    """
    header = ffi.new("struct cap_header *", {"version": _CAPABILITY_VERSION_3, "pid": 0})
    data = ffi.new("struct cap_data[2]")
    check(libc.capget(header, data))
    for word in (0, 1):
        kept = data[word].permitted & _mask(keep, word)
        data[word].effective = data[word].permitted = kept
        data[word].inheritable = 0
    check(libc.capset(header, data))


def _mask(numbers: frozenset[int], word: int) -> int:
    return sum(1 << bit % 32 for bit in numbers if bit // 32 == word)


# On the way of every root's test, behind its fork, where each page that is written to is copied: so
# what can be made before is, and the library's functions too, which cffi makes when first asked for
_HEADER = ffi.new("struct cap_header *", {"version": _CAPABILITY_VERSION_3, "pid": 0})
_DATA = ffi.new("struct cap_data[2]")
_BYTES = ffi.buffer(_DATA)
_KEPT = int.from_bytes(
    ffi.buffer(
        ffi.new(
            "unsigned int[]",
            [~_mask(MACHINE_WIDE, word) & 0xFFFFFFFF for word in (0, 0, 0, 1, 1, 1)],
        )
    )[:],
    "little",
)
_DROP = tuple(ffi.cast("unsigned long", number) for number in sorted(MACHINE_WIDE))
_ZERO = ffi.cast("unsigned long", 0)
_capget, _capset, _libc_prctl = libc.capget, libc.capset, libc.prctl


def spare_the_machine() -> None:
    """Take ``MACHINE_WIDE`` out of all five sets of this thread, so that no program that it starts,
    set-id or root's, brings one back.

    Raises ``OSError``, EPERM where CAP_SETPCAP is not there: then they are in the bounding set yet.
    """
    check(_capget(_HEADER, _DATA))
    # Effective, permitted, inheritable; what is not in the last two is not ambient either
    kept = int.from_bytes(_BYTES[:], "little") & _KEPT
    _BYTES[:] = kept.to_bytes(len(_BYTES), "little")
    check(_capset(_HEADER, _DATA))
    for number in _DROP:  # each is older than all kernels that have sandboxes
        check(_libc_prctl(_PR_CAPBSET_DROP, number, _ZERO, _ZERO, _ZERO))


def could_gain(numbers: frozenset[int]) -> bool:
    """Whether one of these is in this thread's bounding set: prctl(PR_CAPBSET_READ)."""
    return any(_prctl(_PR_CAPBSET_READ, number) for number in numbers)


def drop_bounding_set(keep: frozenset[int]) -> None:
    """Make every capability but ``keep`` unreachable, also through a program's own:
    prctl(PR_CAPBSET_DROP).
    """
    for number in range(_MOST_CAPABILITIES):
        try:
            held = _prctl(_PR_CAPBSET_READ, number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return  # past the last one that this kernel has
        if held and number not in keep:
            _prctl(_PR_CAPBSET_DROP, number)


def clear_ambient_set() -> None:
    """prctl(PR_CAP_AMBIENT_CLEAR_ALL)."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def adopt_orphans() -> None:
    """Have processes below this one whose parent ends become children of this one, not of init:
    prctl(PR_SET_CHILD_SUBREAPER).
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def no_new_privileges() -> None:
    """No program that this process starts gains anything from its set-uid bit or file capabilities:
    PR_SET_NO_NEW_PRIVS.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def seccomp_filter(program: bytes) -> None:
    """Filter this thread's system calls, and those of all that it starts, by a BPF program:
    PR_SET_SECCOMP.
    """
    instructions = ffi.new("char[]", program)
    _prctl(
        _PR_SET_SECCOMP,
        _SECCOMP_MODE_FILTER,
        ffi.new("struct sock_fprog *", (len(program) // _BPF_INSTRUCTION, instructions)),
    )


def landlock_version() -> int:
    """Give the version of Landlock's interface; 0 where the kernel has none or it is
    switched off.
    """
    zero = ffi.cast("size_t", 0)
    version: int = libc.syscall(
        _SYS_LANDLOCK, ffi.NULL, zero, ffi.cast("unsigned int", _LANDLOCK_VERSION)
    )
    return max(version, 0)


def landlock_ruleset(attributes: bytes) -> int:
    """landlock_create_ruleset(2): a descriptor."""
    none = ffi.cast("unsigned int", 0)
    return check(
        libc.syscall(
            _SYS_LANDLOCK, ffi.new("char[]", attributes), ffi.cast("size_t", len(attributes)), none
        )
    )


def landlock_allow(ruleset: int, rule: bytes) -> None:
    """landlock_add_rule(2) for what is below a path."""
    kind, none = ffi.cast("int", _LANDLOCK_PATH_BENEATH), ffi.cast("unsigned int", 0)
    check(
        libc.syscall(
            _SYS_LANDLOCK + 1, ffi.cast("int", ruleset), kind, ffi.new("char[]", rule), none
        )
    )


def landlock_restrict(ruleset: int) -> None:
    """landlock_restrict_self(2)."""
    check(libc.syscall(_SYS_LANDLOCK + 2, ffi.cast("int", ruleset), ffi.cast("unsigned int", 0)))
