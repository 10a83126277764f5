"""Files that are written at the end of a run: refused at its start if they cannot be, and never
half there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from pathlib import Path

import pytest

_PART = ".{}.part"
_LONGEST_NAME = 255  # bytes


def check_writable(option: str, path: str) -> None:
    """Try it at the start, not after an hour of tests; nothing that is there changes.

    Raises ``pytest.UsageError``.
    """
    target = _target(path)
    try:
        if os.path.isdir(target) or not path:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_special(target):
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        _make_one_beside(_nearest(target))
    except OSError as error:
        raise pytest.UsageError(
            f"{option}={path}: {target} cannot be written: {error.strerror}; "
            "name a file in a directory that you may write to; missing folders are made"
        ) from None


def check_directory(option: str, path: str, base: str | Path = "") -> None:
    """Try the same with a directory that files are to be made in, which need not be there yet.

    Raises ``pytest.UsageError``.
    """
    target = _target(os.path.join(base, path))
    try:
        if os.path.lexists(target) and not os.path.isdir(target):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _make_one_beside(target / "new" if target.is_dir() else _nearest(target))
    except OSError as error:
        raise pytest.UsageError(
            f"{option}={path}: nothing can be made in {target}: {error.strerror}; "
            "name a directory that you may write to; it is made if it is not there"
        ) from None


def _make_one_beside(path: Path) -> None:
    fd, beside = _new_beside(path)
    os.close(fd)
    beside.unlink()


def check_no_other(option: str, path: str, words: str, sign: bytes) -> None:
    """Refuse to replace what is no earlier one: who forgets the path names the file of tests that
    follows. Raises ``pytest.UsageError``.
    """
    target = _target(path)
    if _is_special(target):
        return
    with contextlib.suppress(OSError), target.open("rb") as file:
        there = file.read(1 << 10)
        if there.strip() and re.match(sign, there) is None:
            raise pytest.UsageError(
                f"{option}={path}: what is there is no {words}, and it would be lost: remove it if"
                f" that is meant, or name another file ({option}=PATH)"
            )


def write_whole(path: str | Path, text: str) -> None:
    """Replace a regular file in one step: a reader never sees half of one. Raises ``OSError``."""
    target = _target(path)
    if _is_special(target):
        target.write_text(text, "utf-8")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fd, beside = _new_beside(target)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _target(path: str | Path) -> Path:
    return Path(os.path.realpath(path))  # behind a symbolic link the file changes, not the link


def _nearest(target: Path) -> Path:
    """Find the first thing on the way to a file that is not there yet: in its directory something
    will be made.
    """
    while not os.path.lexists(target.parent):
        target = target.parent
    return target


def _is_special(target: Path) -> bool:
    # A pipe, /dev/stdout: written to, never replaced
    return os.path.exists(target) and not os.path.isfile(target)


def _new_beside(target: Path) -> tuple[int, Path]:
    """Open a new file for what will replace another, which no run beside ours writes to.

    Raises ``OSError``.
    """
    with contextlib.suppress(FileNotFoundError):
        os.lstat(target)  # whose own name may be too long
    short = os.fsencode(target.name)[: _LONGEST_NAME - len(_PART.format(secrets.token_hex(4)))]
    path = target.with_name(os.fsdecode(short) + _PART.format(secrets.token_hex(4)))
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666), path
