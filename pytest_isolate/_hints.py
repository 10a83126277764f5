"""What a failing test's words say it missed of the machine: a device, a file that could not be written, memory that could not be copied.

The words are a test's: they are searched for paths, and what is said of those is what this process sees on the machine.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence

from pytest_isolate._sandbox.copies import LARGEST, MOST
from pytest_isolate._values import format_size

_MOST_TEXT = 1 << 18  # characters that are searched, the last ones
_MOST_HINTS = 3
_DEVICE = re.compile(r"/dev(?:/[\w.+-]{1,64}){1,4}")
_MISSED = re.compile(
    r"No such file or directory|ENOENT|exists\(|is_char_device\(|is_block_device\(|does not exist|not found", re.IGNORECASE
)
_READ_ONLY = re.compile(r"read-?only (?:file ?system|database)|EROFS", re.IGNORECASE)


def devices(text: str) -> Iterator[str]:
    """A sentence for each device of the machine that a line names as one that is not there: for Python and sub-processes alike."""
    named: dict[str, None] = {}
    for line in text[-_MOST_TEXT:].splitlines():
        if "/dev/" in line and _MISSED.search(line):
            named |= dict.fromkeys(_DEVICE.findall(line))
    found = [path for path in named if ".." not in path and is_device(path)]
    for path in found[:_MOST_HINTS]:
        yield f'device: the machine has {path}, a sandbox has it only if it is asked for: bind=["{path}"]'


def is_device(path: str) -> bool:
    """Whether the machine has a device, or a directory of such, by this name."""
    try:
        look = os.stat(path)
    except OSError:  # the machine has none either, or this user may not know
        return False
    inside = {"shm", "mqueue", "pts", "fd", "null", "zero", "full", "random", "urandom", "tty", "stdin", "stdout", "stderr", "ptmx"}
    return path.split("/")[2] not in inside and (stat.S_ISCHR(look.st_mode) or stat.S_ISBLK(look.st_mode) or stat.S_ISDIR(look.st_mode))


def too_large(text: str, files: Sequence[str], mounts: Sequence[str]) -> Iterator[str]:
    """A sentence for each file that was shown read-only, if a write was refused for that."""
    text = text[-_MOST_TEXT:]
    if not files or _READ_ONLY.search(text) is None:
        return
    named = [path for path in files if os.path.basename(path) in text] or files
    for path in named[:_MOST_HINTS]:
        folder = os.path.dirname(path).rstrip("/") + "/"
        beside = next((mount for mount in mounts if mount.startswith(folder)), "a mount")
        yield (
            f"files: {path} is read-only in the sandbox: without root files beside a mount ({beside}) are copied for each test, and "
            f"those above {format_size(LARGEST)} (or {format_size(MOST)} in all) are not; "
            f'bind=["{path}"] shares it, in a directory of its own it is private'
        )
