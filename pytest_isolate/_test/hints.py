"""What a failing test's words say it missed of the machine: a device, a file that could not be
written, memory that could not be copied.

The words are a test's: they are searched for paths, and what is said of those is what this process
sees on the machine.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator, Sequence

from pytest_isolate._config.values import format_size
from pytest_isolate._sandbox.copies import LARGEST, MOST

_MOST_TEXT = 1 << 18  # characters that are searched, the last ones
_MOST_HINTS = 3
_DEVICE = re.compile(r"/dev(?:/[\w.+-]{1,64}){1,4}")
_MISSED = re.compile(
    r"No such file or directory|ENOENT|exists\(|is_char_device\(|is_block_device\(|does not"
    r" exist|not found",
    re.IGNORECASE,
)
_NO_NAME = os.strerror(errno.EOVERFLOW)
_QUOTED = re.compile(r"""['"]([^'"]{1,4096})['"]""")
_NO_PERMISSION = re.compile(r"Permission denied|EACCES", re.IGNORECASE)
_NOT_PERMITTED = re.compile(r"Operation not permitted|EPERM")
# Calls and programs, as a traceback or their own words name them
_OF_THE_MACHINE = re.compile(
    r"\b(?:clock_settime|clock_adjtime|settimeofday|adjtimex|set date|hwclock|timens_offsets|"
    r"modprobe|insmod|rmmod|init_module|delete_module|kexec_load|reboot|iopl|ioperm|klogctl|dmesg|"
    r"kernel buffer|/?proc/k(?:msg|core)|dev/mem|CLOCK_(?:REALTIME|BOOTTIME)_ALARM)\b"
)
_INVALID = re.compile(r"Invalid argument|EINVAL", re.IGNORECASE)
_CHOWN = re.compile(r"chown", re.IGNORECASE)
_NO_CONNECTION = re.compile(
    r"timed out|unreachable|Temporary failure in name resolution|Connection refused|"
    r"Name or service not known|Could not resolve",
    re.IGNORECASE,
)
_READ_ONLY = re.compile(r"read-?only (?:file ?system|database)|EROFS", re.IGNORECASE)


def devices(text: str) -> Iterator[str]:
    """Yield a sentence for each device of the machine that a line names as one that is not there:
    for Python and sub-processes alike.
    """
    named: dict[str, None] = {}
    for line in text[-_MOST_TEXT:].splitlines():
        if "/dev/" in line and _MISSED.search(line):
            named |= dict.fromkeys(_DEVICE.findall(line))
    found = [path for path in named if ".." not in path and is_device(path)]
    for path in found[:_MOST_HINTS]:
        yield (
            f"device: the machine has {path}, a sandbox has it only if it is asked for:"
            f' bind=["{path}"]'
        )


def is_device(path: str) -> bool:
    """Whether the machine has a device, or a directory of such, by this name."""
    try:
        look = os.stat(path)
    except OSError:  # the machine has none either, or this user may not know
        return False
    inside = {
        "shm",
        "mqueue",
        "pts",
        "fd",
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "stdin",
        "stdout",
        "stderr",
        "ptmx",
    }
    return path.split("/")[2] not in inside and (
        stat.S_ISCHR(look.st_mode) or stat.S_ISBLK(look.st_mode) or stat.S_ISDIR(look.st_mode)
    )


def refused(text: str, writable: Sequence[str]) -> Iterator[str]:
    """Yield a sentence where a write may have been refused because the test has no file system of
    its own.
    """
    if _NO_PERMISSION.search(text[-_MOST_TEXT:]):
        yield (
            f"files: a test without namespaces writes to {', '.join(writable)} only: anywhere else"
            " it would be real, and Landlock refuses it (EACCES); bind= names further places where"
            " it may be"
        )


def of_the_machine(text: str) -> Iterator[str]:
    """Yield a sentence where root may have been refused what would change the whole machine."""
    text = text[-_MOST_TEXT:]
    if _NOT_PERMITTED.search(text) and (found := _OF_THE_MACHINE.search(text)):
        yield (
            f"rights: {found[0]} is refused (EPERM) where it changes the whole machine, or tells of"
            " it: a root's test has no capability for that; a shared fixture has, and a test that"
            ' is not isolated (docs/security.md, "What a root\'s test has not")'
        )


def other_owners(text: str) -> Iterator[str]:
    """Yield a sentence where ``user="root"`` is not the machine's root, and met its bounds."""
    found = text[-_MOST_TEXT:]
    if _NO_PERMISSION.search(found) or (_INVALID.search(found) and _CHOWN.search(found)):
        yield (
            "user: user='root' without the machine's root is the caller under another name: files"
            " of others stay closed (EACCES), and there is nobody else to give one to (EINVAL); run"
            " pytest as root for more"
        )


def no_way_out(text: str) -> Iterator[str]:
    """Yield a sentence where a connection may have failed for the machine's own network."""
    if _NO_CONNECTION.search(text[-_MOST_TEXT:]):
        yield (
            "network: net='internet' leads as far as this machine's own connections do: see whether"
            " it gets there itself, with --isolate-off say"
        )


def unnamed(text: str) -> Iterator[str]:
    """Yield a sentence for each directory below which a write failed because its owner has no name
    in a sandbox without root.
    """
    named: dict[str, None] = {}
    for line in text[-_MOST_TEXT:].splitlines():
        if _NO_NAME in line:
            named |= dict.fromkeys(_QUOTED.findall(line))
    found = dict.fromkeys(
        theirs
        for path in named
        if "\0" not in path and (theirs := _foreign(os.path.abspath(path))) is not None
    )
    for directory, owner in list(found)[:_MOST_HINTS]:
        yield (
            f"owner: {directory} belongs to {owner}, who has no name in a sandbox without root, so"
            " nothing below it can be written "
            f'(EOVERFLOW); bind=["{directory}"] has the test write to the machine\'s own'
        )


def _foreign(path: str) -> tuple[str, str] | None:
    """Return the nearest directory above a path that is another user's or group's, and whose; none
    that an overlay begins with.
    """
    while (path := os.path.dirname(path)).count("/") > 1:
        try:
            look = os.stat(path)
        except OSError:  # not there, or not for this user to know
            continue
        if look.st_uid != os.geteuid():
            return path, f"user {_name(pwd.getpwuid, look.st_uid)}"
        if look.st_gid != os.getegid():
            return path, f"group {_name(grp.getgrgid, look.st_gid)}"
    return None


def _name(known: Callable[[int], Sequence[object]], number: int) -> str:
    try:
        return f"{known(number)[0]} ({number})"
    except KeyError:
        return str(number)


def too_large(text: str, files: Sequence[str], mounts: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each file that was shown read-only, if a write was refused for that."""
    text = text[-_MOST_TEXT:]
    if not files or _READ_ONLY.search(text) is None:
        return
    named = [path for path in files if os.path.basename(path) in text] or files
    for path in named[:_MOST_HINTS]:
        folder = os.path.dirname(path).rstrip("/") + "/"
        beside = next((mount for mount in mounts if mount.startswith(folder)), "a mount")
        yield (
            f"files: {path} is read-only in the sandbox: without root files beside a mount"
            f" ({beside}) are copied for each test, and "
            f"those above {format_size(LARGEST)} (or {format_size(MOST)} in all) are not; "
            f'bind=["{path}"] shares it, in a directory of its own it is private'
        )
