"""Files of a sandbox that come to where plain pytest would have written them, beside those of other
tests.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from pytest_isolate._sandbox.salvage import (
    DEEPEST,
    NEW,
    Budget,
    Reader,
    copy_data,
    open_directory,
    open_file,
)


def merge_out(private: int, relative: str, target: Path, reader: Reader | None = None) -> str:
    """Bring regular files written to, and removed from, the directory ``relative`` of the private
    file system into ``target``.

    For directories of the machine that a test may write as if it were not isolated; ``target`` and
    the ways to it are made if missing. Other things than directories and files stay inside, and so
    does what is a directory only on one of the two sides: its name is returned. Raises ``OSError``
    if the machine's disk refuses.
    """
    budget = Budget(among=True, reader=reader)
    if (fd := open_directory(private, relative)) is None:
        return ""
    try:
        # .hypothesis/examples: nothing is there before the first run
        target.mkdir(parents=True, exist_ok=True)
        to = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _merge_directory(fd, to, budget)
        finally:
            os.close(to)
    finally:
        os.close(fd)
    return budget.other


def _merge_directory(fd: int, to: int, budget: Budget, depth: int = 0) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            if depth >= DEEPEST or not budget.take_file():
                return
            try:
                look = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(look.st_mode):
                _merge_below(fd, to, entry.name, budget, depth)
            elif stat.S_ISCHR(look.st_mode) and look.st_rdev == 0:
                # overlayfs's whiteout: removed by the test
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(entry.name, dir_fd=to)
            elif (
                stat.S_ISREG(look.st_mode)
                and (source := open_file(fd, entry.name, budget.reader)) is not None
            ):
                try:
                    _merge_file(source, to, entry.name, budget)
                finally:
                    os.close(source)


def _merge_below(fd: int, to: int, name: str, budget: Budget, depth: int) -> None:
    if (below := open_directory(fd, name, budget.reader)) is None:
        return
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=to)
        if (below_to := open_directory(to, name)) is None:
            budget.other = budget.other or name
            return
        try:
            _merge_directory(below, below_to, budget, depth + 1)
        finally:
            os.close(below_to)
    finally:
        os.close(below)


def _merge_file(source: int, to: int, name: str, budget: Budget) -> None:
    """In one step, so that a run beside ours never reads half a file."""
    part = f".{secrets.token_hex(8)}.part"
    copy = os.open(part, NEW, 0o666, dir_fd=to)
    try:
        try:
            whole = copy_data(source, copy, budget)
        finally:
            os.close(copy)
        if whole:
            try:
                os.replace(part, name, src_dir_fd=to, dst_dir_fd=to)
                part = ""
            except IsADirectoryError:
                budget.other = budget.other or name
    finally:
        if part:
            os.unlink(part, dir_fd=to)
