"""Tests that overstep on purpose: each must fail, with a sentence that names what it overstepped.

Without isolation they do no harm to the machine. Without control groups those of memory and pids
are skipped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_isolate import isolate

from pantry import daemon
from pantry.workers import run_jobs

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
FORGOTTEN: list[daemon.Daemon] = []  # what a careless test keeps in a global, and so never ends


def _hold(mebibytes: int) -> int:
    held = b"x" * (mebibytes * MIB)
    time.sleep(1)  # until the other workers hold theirs, too
    return len(held)


@isolate(memory="64M", on_missing="skip")
def test_uses_200_mb_in_four_children() -> None:
    """MemoryExceeded: each of them alone would stay below the limit, which is for the tree."""
    run_jobs(_hold, [50] * 4, workers=4)


@isolate(pids=20, on_missing="skip")
def test_is_a_fork_bomb() -> None:
    """PidsExceeded, though the test itself never hears of it: 200 attempts at most, and all
    children are ended.
    """
    children = []
    try:
        for _ in range(200):
            try:
                child = os.fork()
            except BlockingIOError:
                break
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@isolate(timeout="1s")
def test_never_ends() -> None:
    """TimeoutExceeded, with the stack. Without isolation it would end after ten seconds."""
    end = time.monotonic() + 10
    while True:
        if time.monotonic() > end:
            break


@isolate(disk="16M")
def test_writes_100_mb(tmp_path: Path) -> None:
    """DiskExceeded."""
    with (tmp_path / "large").open("wb") as file:
        for _ in range(100):
            file.write(b"x" * MIB)


@isolate(disk="16M")
def test_shrugs_off_a_full_disk(tmp_path: Path) -> None:
    """DiskExceeded, also when the test catches the error and goes on."""
    with suppress(OSError):
        (tmp_path / "large").write_bytes(b"x" * (100 * MIB))


@isolate(files=64)
def test_opens_too_many_files() -> None:
    """FilesExceeded."""
    opened = []
    try:
        for _ in range(200):
            opened.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - what was opened is closed below
    finally:
        for descriptor in opened:
            os.close(descriptor)


@isolate
def test_crashes() -> None:
    """Crashed, with the signal and the stack: it reads address 0.

    Without isolation this ends pytest itself.
    """
    ctypes.string_at(0)


@isolate
def test_leaves_without_a_word() -> None:
    """Crashed: an exit status of 0 means nothing. Without isolation this ends pytest itself."""
    os._exit(0)


@isolate(leaks="error")
def test_leaves_a_daemon_behind(tmp_path: Path) -> None:
    """ProcessesLeaked. Without isolation the daemon would leave by itself after ten seconds."""
    FORGOTTEN.append(daemon.start(tmp_path, idle=10))
