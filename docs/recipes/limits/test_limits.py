"""One violation of each kind: what docs/limits.md shows of them comes from running this file."""

import ctypes
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

from pytest_isolate import isolate


@isolate(memory="64M")
def test_memory():
    assert len(bytearray(100_000_000)) == 100_000_000


@isolate(memory="64M")
def test_memory_traced():
    kept = []
    while True:
        kept.append(bytearray(100_000))
        time.sleep(0.002)  # as it takes to read that much


@isolate(cpu_time="500ms")
def test_cpu_time():
    while True: pass  # fmt: skip  # noqa: E701 - one line, and it is the one shown


@isolate(timeout="1s")
def test_timeout():
    print("waiting for the queue")
    threading.Event().wait()


@isolate(pids=4)
def test_pids():
    for _ in range(4):
        subprocess.Popen(["sleep", "60"])


@isolate(disk="1M")
def test_disk(tmp_path):
    (tmp_path / "large").write_bytes(bytes(2_000_000))


@isolate(files=32)
def test_files():
    opened = []
    while True:
        opened.append(os.dup(0))


@isolate(leaks="error")
def test_leaks():
    subprocess.Popen(["sleep", "60"])


@isolate
def test_unreachable():
    socket.create_connection(("192.0.2.1", 80))


@isolate
def test_unknown():
    socket.create_connection(("api.example", 443))


@isolate(net="deny")
def test_net():
    for _ in range(2):
        try:
            socket.create_connection(("192.0.2.1", 80))
        except OSError:
            time.sleep(0.01)


@isolate
def test_changed():
    Path("/etc/hostname").write_text("other")
    raise AssertionError


@isolate(fs_allow=["tmp_path", "build/**"])
def test_report():
    Path("report.txt").write_text("done")


@isolate
def test_crash():
    ctypes.string_at(0)


@isolate(memory="64MB")
def test_wrong():
    pass


@isolate(forward=[5433])
def test_nobody_listens():
    pass
