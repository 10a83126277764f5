"""The walls of ``profile="strict"``, and of a test without namespaces, closed by the child around
itself before the test's own code.

What the filter forbids was decided in the parent (``_plan.strictness``); here it is only loaded,
and nothing is imported. The order
matters: the bounding set can be emptied only while there are capabilities, the user changes next,
    and the filter comes last, because it forbids some of what the others need.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_isolate._linux import privileges

# landlock(7): rights of files alone, then those of directories
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_REMOVE = 1 << 4 | 1 << 5
# Directories, files, sockets, fifos, symbolic links
_MAKE = 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12
_REFER = 1 << 13  # renames and links from one directory to another
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals
LANDLOCK_NEEDED = 2  # version 1 (Linux 5.13) forbids every rename from one directory to another
_WITH_TRUNCATE = 3
_WITH_SCOPES = 6
# Byte: too few for a file, and to the kernel the sign not to start the machine's program for core
# dumps either; 0 is not
_NO_CORE = 1
_STREAMS = (1, 2)
_KERNELS = frozenset({"proc", "sys"})  # where a write changes the kernel, not a file
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
_SCOPE_OF_SIGNALS = 1 << 1


@dataclass(frozen=True)
class Confinement:
    """What a strictly confined test keeps."""

    # Seccomp filter; empty where the machine has none and ``on_missing`` said to go on
    program: bytes
    capabilities: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Wall:
    """Landlock's around a test that has no file system of its own.

    Whoever is behind it sends no signals to the other side (Linux 6.12).
    """

    writable: tuple[str, ...]  # directories and files; those that are not there are left out


def close_wall(wall: Wall) -> None:
    """Forbid writes elsewhere, and gaining rights.

    Nothing where the kernel cannot. Raises ``OSError``.
    """
    version = privileges.landlock_version()
    if version >= LANDLOCK_NEEDED:
        privileges.no_new_privileges()
        _allow_writes_to(
            (*wall.writable, *(f"/dev/{name}" for name in _DEVICES)), version, _SCOPE_OF_SIGNALS
        )


def spare_the_machine() -> None:
    """Lose, as a root of the machine, what acts on all of it: to set the clock, load modules, clear
    the kernel's log.

    Raises ``OSError``.
    """
    try:
        privileges.spare_the_machine()
    except PermissionError:
        # Of a root without CAP_SETPCAP the bounding set stays as it is, and no program may gain
        if privileges.could_gain(privileges.MACHINE_WIDE):
            privileges.no_new_privileges()


def bound(confinement: Confinement) -> None:
    """Empty the bounding set and end core dumps, before the change of user takes away
    the right to.
    """
    privileges.drop_bounding_set(confinement.capabilities)
    # Only CAP_SYS_RESOURCE can raise one of 0, at which a program still gets cores (core(5))
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))


def enclose(confinement: Confinement) -> None:
    """Drop capabilities, forbid gaining any, close Landlock's wall and the filter.

    Raises ``OSError``.
    """
    privileges.clear_ambient_set()
    privileges.drop_capabilities(confinement.capabilities)
    privileges.no_new_privileges()
    version = privileges.landlock_version()
    if version >= LANDLOCK_NEEDED:
        _allow_writes_to(
            (f"/{name}" for name in os.listdir("/") if name not in _KERNELS), version, _SCOPES
        )
    if confinement.program:
        privileges.seccomp_filter(confinement.program)


def _allow_writes_to(paths: Iterable[str], version: int, scopes: int) -> None:
    """Close Landlock's wall around all but these paths, of which links are none; devices can be
    made nowhere.
    """
    of_files = _WRITE_FILE | (_TRUNCATE if version >= _WITH_TRUNCATE else 0)
    allowed = of_files | _REMOVE | _MAKE | _REFER
    attributes = struct.pack("=Q", allowed | _MAKE_CHAR | _MAKE_BLOCK)
    if version >= _WITH_SCOPES:
        attributes += struct.pack("=QQ", 0, scopes)
    ruleset = privileges.landlock_ruleset(attributes)
    try:
        for path in paths:
            try:
                fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                mode = os.fstat(fd).st_mode
                if not stat.S_ISLNK(mode):
                    privileges.landlock_allow(
                        ruleset, struct.pack("=Qi", allowed if stat.S_ISDIR(mode) else of_files, fd)
                    )
            finally:
                os.close(fd)
        for fd in _STREAMS:  # /dev/stdout leads to its file, which has no name below the root
            try:
                privileges.landlock_allow(ruleset, struct.pack("=Qi", of_files, fd))
            except OSError as error:
                # A pipe or socket, which Landlock lets everybody open; or it is closed
                if error.errno not in {errno.EBADFD, errno.EBADF}:
                    raise
        privileges.landlock_restrict(ruleset)
    finally:
        os.close(ruleset)
