"""Files that are written at the end of a run: refused at its start if they cannot be, and never half there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def check_writable(option: str, path: str) -> None:
    """Fail at the start, not after an hour of tests. Raises ``pytest.UsageError``."""
    directory = Path(path).absolute().parent
    if not directory.is_dir() or not os.access(directory, os.W_OK) or Path(path).is_dir():
        raise pytest.UsageError(f"{option}={path}: no file can be written there; {directory} must be a directory that you may write to")


def write_whole(path: Path, text: str) -> None:
    """Replace a regular file in one step: a reader never sees half of one. Raises ``OSError``."""
    path = path.resolve()  # behind a symbolic link the file changes, not the link
    if path.exists() and not path.is_file():  # a pipe, /dev/stdout: written to, never replaced
        path.write_text(text, "utf-8")
        return
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, "utf-8")
    beside.replace(path)
