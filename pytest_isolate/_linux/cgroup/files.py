"""Read and write the small files of the kernel. Imported by the builder: cheap modules only."""

from __future__ import annotations

import os

from pytest_isolate._errors import Step

_LARGEST = 1 << 12  # bytes of a file


def write(path: str, text: str) -> None:
    """Write all of it by one write(2), as every cgroup file wants. Raises ``StepFailedError``."""
    with Step(f"write {text!r} to", path):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def read(path: str) -> str:
    """Read a file of any length."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def content(path: str, largest: int = _LARGEST) -> bytes | None:
    """Read a whole file; None if this kernel has none.

    Ten are read a test, and a file object costs as much as the kernel's part.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, largest)
    finally:
        os.close(fd)


def number(path: str) -> int | None:
    """Read a number; None if this kernel has no such file."""
    found = content(path)
    return None if found is None else int(found)


def keyed(path: str, *keys: str) -> list[int | None]:
    """Read values of a flat keyed file such as ``memory.events`` (cgroup-v2.rst, "Format")."""
    words = (content(path) or b"").decode("ascii").split()
    found = dict(zip(words[::2], words[1::2]))  # noqa: B905 - a file that is cut short has a key too many
    return [int(found[key]) if key in found else None for key in keys]
