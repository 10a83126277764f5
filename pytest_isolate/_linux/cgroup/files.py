"""Read and write the small files of the kernel. Imported by the builder: cheap modules only."""

from __future__ import annotations

import os

from pytest_isolate._errors import Step

_LARGEST = 1 << 12  # bytes of a file
# A test that may open a file may hold a lease on it (fcntl(2), F_SETLEASE), and have everybody else
# wait at open(2) for 45 seconds, again and again
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_WRITING = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC


def write(path: str, text: str) -> None:
    """Write all of it by one write(2), as every cgroup file wants. Raises ``StepFailedError``."""
    with Step(f"write {text!r} to", path):
        fd = os.open(path, _WRITING)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def read(path: str) -> str:
    """Read a file of any length. Raises ``BlockingIOError`` where somebody holds a lease on it."""
    with open(os.open(path, READING), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def content(path: str, largest: int = _LARGEST) -> bytes | None:
    """Read a whole file; None if this kernel has none, or a test holds a lease on it.

    Ten are read a test, and a file object costs as much as the kernel's part.
    """
    try:
        fd = os.open(path, READING)
    except (FileNotFoundError, BlockingIOError):
        return None
    try:
        return os.read(fd, largest)
    finally:
        os.close(fd)


def number(path: str) -> int | None:
    """Read a number; None where there is no ``content``."""
    found = content(path)
    return None if found is None else int(found)


def keyed(path: str, *keys: str) -> list[int | None]:
    """Read values of a flat keyed file such as ``memory.events`` (cgroup-v2.rst, "Format")."""
    words = (content(path) or b"").decode("ascii").split()
    found = dict(zip(words[::2], words[1::2]))  # noqa: B905 - a file that is cut short has a key too many
    return [int(found[key]) if key in found else None for key in keys]
