"""Lines of the files that a test names, in warnings and stacks: read here, once, and for nobody who
could not read them.

Pytest shows a line by ``linecache``, which opens whatever path it is given with all of pytest's
rights, and waits for what comes: of a pipe for ever. So the lines are put there before anybody
asks, or the path is not shown.
"""

from __future__ import annotations

import io
import linecache
import os
import stat
import tokenize
from collections.abc import Iterable
from pathlib import Path

from pytest_isolate._sandbox.salvage import Reader

_LARGEST = 16 << 20  # bytes of one file
_MOST = 64 << 20  # bytes of all of one run
_KERNELS = ("/proc", "/sys", "/dev")

_hidden: set[str] = set()  # what a test of this run does not see
_read: dict[str, int] = {}  # what is here for tests' sakes: path -> bytes


def hide(paths: Iterable[str]) -> None:
    """Show no line of these, nor of what is below them, in this run any more: what pytest has read
    once is in the memory of every later test.
    """
    for path in paths:
        directory, name = os.path.split(path.rstrip("/"))
        _hidden.update((os.path.join(os.path.realpath(directory), name), os.path.realpath(path)))


def may_show(path: str, reader: Reader | None) -> bool:
    """Whether pytest may show lines of a file for a test. From here on nobody has to open it.

    ``reader``: whose rights count, None for pytest's own. One that is not there, as one that the
    test itself wrote, has no lines.
    """
    try:
        look = os.stat(path)
    except FileNotFoundError:
        if path not in linecache.cache:
            _keep(path, 0, [])
        return True
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(look.st_mode):  # not opened, which may change a device
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    with open(fd, "rb") as file:
        return _is_for(fd, reader) and (path in linecache.cache or _take_in(path, file))


def _is_for(fd: int, reader: Reader | None) -> bool:
    look, real = os.fstat(fd), os.readlink(f"/proc/self/fd/{fd}")
    if not stat.S_ISREG(look.st_mode) or any(
        real == place or real.startswith(f"{place}/") for place in (*_KERNELS, *_hidden)
    ):
        return False
    if reader is None:
        return True
    try:
        return reader.may(look, 4) and all(
            reader.may(os.stat(above), 1) for above in Path(real).parents
        )
    except OSError:  # it has no path any more
        return False


def _take_in(path: str, file: io.BufferedReader) -> bool:
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST or len(data) + sum(_read.values()) > _MOST:
        return False
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        lines = io.TextIOWrapper(io.BytesIO(data), encoding).readlines()
    except (SyntaxError, UnicodeDecodeError, LookupError):  # no Python
        lines = []
    _keep(path, len(data), lines)
    return True


def _keep(path: str, size: int, lines: list[str]) -> None:
    _read[path] = size
    # Without a time: nobody looks whether it has changed
    linecache.cache[path] = (size, None, lines, path)


def forget() -> None:
    """Forget all when the run is over: what comes next in this process finds its files
    as they are.
    """
    _hidden.clear()
    while _read:
        linecache.cache.pop(_read.popitem()[0], None)
