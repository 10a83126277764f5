"""Whole directories: what they take of the disk, and their end."""

from __future__ import annotations

import os
import shutil
import stat


def measure(tree: str) -> tuple[int, int]:
    """Count the files of a directory, and the bytes that they take of the disk."""
    files, size, below, seen = 0, 0, [tree], set()
    while below:
        directory = below.pop()
        if not os.access(directory, os.R_OK | os.X_OK):  # as its author wanted it
            continue
        with os.scandir(directory) as entries:
            for entry in entries:
                look = entry.stat(follow_symlinks=False)
                files += 1
                if look.st_nlink == 1 or (look.st_dev, look.st_ino) not in seen:
                    size += look.st_blocks * 512
                seen |= {(look.st_dev, look.st_ino)} if look.st_nlink > 1 else set()
                if stat.S_ISDIR(look.st_mode):
                    below.append(entry.path)
    return files, size


def remove_tree(path: str) -> None:
    """Remove a directory of ours, whatever the modes of those in it."""
    below = [path] if os.geteuid() != 0 else []
    while below:
        os.chmod(directory := below.pop(), 0o700)
        with os.scandir(directory) as entries:
            below += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    shutil.rmtree(path)
