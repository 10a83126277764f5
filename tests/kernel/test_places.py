"""Where things are in a sandbox: shared memory, the own name, the own settings of the kernel,
programs that may not run, notifications.
"""

from __future__ import annotations

import _multiprocessing
import _posixshmem
import contextlib
import ctypes
import errno
import mmap
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

LIBC = ctypes.CDLL(None, use_errno=True)


def shared_memory(name: str, flags: int = os.O_RDWR, size: int = 1 << 16) -> mmap.mmap:
    """By the C library's shm_open(3); multiprocessing's would talk to a process of ours outside."""
    fd = _posixshmem.shm_open(name, flags, mode=0o600)
    if flags & os.O_CREAT:
        os.ftruncate(fd, size)
    return mmap.mmap(fd, size)


@pytest.fixture
def segment():
    """Shared memory of the machine, with something in it, and its name."""
    name = f"/isolate-segment-{os.getpid()}"
    made = shared_memory(name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    made[:] = b"hello".ljust(len(made), b".")  # all of it: holes are not copied
    yield made, name
    _posixshmem.shm_unlink(name)


def test_shared_memory_of_the_machine_is_found_by_its_name_and_a_write_is_private(box, segment):
    """What was there when the test began is there, and is the machine's still when it is over."""
    memory, name = segment

    def use():
        other = shared_memory(name)
        before = other[:5]
        other[:5] = b"write"
        return [before.decode(), shared_memory(name)[:5].decode()]

    assert box.run(use).value == ["hello", "write"]
    assert memory[:5] == b"hello"


def test_shared_memory_and_semaphores_of_its_own_work_and_are_gone(box):
    """POSIX shared memory and semaphores between two processes, and a nameless file."""
    name = f"/isolate-own-{os.getpid()}"

    def use():
        made = shared_memory(name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        # A semaphore at 0 of 1: the parent waits
        lock = _multiprocessing.SemLock(1, 0, 1, name, unlink=False)
        if os.fork() == 0:
            shared_memory(name)[0] = 7
            lock.release()
            os._exit(0)
        taken = lock.acquire(timeout=10)
        os.wait()
        names = sorted(each for each in os.listdir("/dev/shm") if each.endswith(name[1:]))
        return [taken, made[0], names, tempfile.TemporaryFile(dir="/dev/shm").write(b"x")]

    assert box.run(use).value == [True, 7, [name[1:], f"sem.{name[1:]}"], 1]
    assert not os.path.exists(f"/dev/shm{name}")


def test_disk_bounds_what_is_copied_of_shared_memory(box, segment):
    """A segment is copied when it is opened for writing, whole, and counts as written."""
    name = segment[1]
    assert "No space left" in box.run(lambda: len(shared_memory(name)), disk=1 << 15).value
    assert box.run(lambda: len(shared_memory(name)), disk=1 << 20).value == 1 << 16


def test_an_empty_test_has_written_nothing(box):
    """What the sandbox itself puts into the private file system is not the test's, and not part of
    its limit.
    """
    assert box.run(lambda: None).disk_used == 0
    written = box.run(lambda: Path("/tmp/mine").write_bytes(b"x" * (1 << 16)), disk=1 << 16)
    assert (written.value, written.disk_used) == (1 << 16, 1 << 16)


@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
@pytest.mark.parametrize("net", [True, False])
def test_the_own_name_resolves_to_an_address_to_listen_on(box, fs, net):
    """As on every machine; and 127.0.0.1 still is "localhost", and the machine's own file is as it
    was.
    """
    before = Path("/etc/hosts").read_bytes()

    def resolve():
        with socket.create_server((socket.gethostname(), 0)) as server:
            socket.create_connection(server.getsockname()).close()
        found = {each[4][0] for each in socket.getaddrinfo(socket.gethostname(), 80)}
        return [socket.gethostname(), sorted(found - {"::1"}), socket.gethostbyaddr("127.0.0.1")[0]]

    expected = [socket.gethostbyaddr("127.0.0.1")[0]]
    assert box.run(resolve, fs=fs, net=net, hostname="db").value == ["db", ["127.0.0.1"], *expected]
    assert Path("/etc/hosts").read_bytes() == before


@pytest.mark.needs("root")
def test_the_file_of_names_can_be_replaced(box):
    """Programs write it anew and rename, which a mount would not allow."""

    def replace():
        Path("/etc/hosts.new").write_text("127.0.0.1 other\n")
        os.rename("/etc/hosts.new", "/etc/hosts")
        return socket.gethostbyname("other")

    assert box.run(replace).value == "127.0.0.1"


OWN = {
    "net/core/somaxconn": "77",
    "net/ipv4/ip_local_port_range": "40000\t40100",
    "kernel/shmmax": "123456",
    "kernel/sem": "10\t20\t30\t40",
    "fs/mqueue/msg_max": "11",
    "kernel/hostname": "renamed",
}


@pytest.mark.needs("root")
def test_settings_of_its_own_namespaces_can_be_written_and_are_not_the_machines(box):
    """Network, ipc and host name are the sandbox's, and so are their settings."""
    before = {name: Path("/proc/sys", name).read_text() for name in OWN}

    def write():
        for name, value in OWN.items():
            Path("/proc/sys", name).write_text(value)
        return {name: Path("/proc/sys", name).read_text().strip() for name in OWN}

    try:
        assert box.run(write).value == OWN
        assert {name: Path("/proc/sys", name).read_text() for name in OWN} == before
    finally:
        for name, value in before.items():
            if Path("/proc/sys", name).read_text() != value:
                Path("/proc/sys", name).write_text(value)


@pytest.mark.needs("root")
def test_no_setting_that_can_be_written_is_the_machines(box):
    """Every number of /proc/sys that opens for writing is written, one higher: the machine's is as
    before.
    """
    machine = Path("/proc/sys")

    def numbers():
        found = {}
        for path in machine.rglob("*"):
            with contextlib.suppress(OSError, ValueError):
                if path.is_file() and path.stat().st_mode & 0o200:
                    found[str(path)] = int(path.read_text())
        return found

    def raise_all():
        raised = []
        for path, value in numbers().items():
            with contextlib.suppress(OSError):
                Path(path).write_text(str(value + 1 if value < 2**31 - 1 else value - 1))
                raised.append(path)
        return raised

    before = numbers()
    raised = box.run(raise_all).value
    after = numbers()
    changed = [path for path in raised if path in before and after.get(path) != before[path]]
    for path in changed:
        Path(path).write_text(str(before[path]))
    assert changed == []
    assert len(raised) > 50


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("changes", "name"),
    [({"net": False}, "net/core/somaxconn"), ({"profile": "strict"}, "kernel/shmmax")],
)
def test_other_settings_stay_closed(box, changes, name):
    """The machine's network has the machine's settings, and a strict test has none to write."""
    assert (
        "Read-only file system"
        in box.run(lambda: os.close(os.open(f"/proc/sys/{name}", os.O_WRONLY)), **changes).value
    )


IN_MODIFY, IN_CREATE, IN_DELETE, IN_MOVED_TO = 2, 0x100, 0x200, 0x80


def test_a_watcher_inside_sees_what_the_test_writes(box, canary):
    """Inotify on a directory of the machine: a file is made, one of the machine's is written,
    renamed and removed.
    """

    def watch():
        fd = LIBC.inotify_init1(os.O_NONBLOCK)
        assert (
            LIBC.inotify_add_watch(
                fd, os.fsencode(canary), IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO
            )
            > 0
        )
        (canary / "new").write_text("x")
        (canary / "file").write_text("changed")
        (canary / "file").rename(canary / "moved")
        (canary / "moved").unlink()
        assert select.select([fd], [], [], 5)[0]
        data, seen = os.read(fd, 65536), set()
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            seen.add((mask, data[16 : 16 + length].rstrip(b"\0").decode()))
            data = data[16 + length :]
        return sorted(seen)

    assert {
        (IN_CREATE, "new"),
        (IN_MODIFY, "file"),
        (IN_MOVED_TO, "moved"),
        (IN_DELETE, "moved"),
    } <= {tuple(each) for each in box.run(watch).value}


def test_a_program_on_a_machines_mount_that_allows_none_does_not_run(tmp_path):
    """An overlay over a noexec mount is noexec, without root too, also where a directory on it is
    taken apart.
    """
    body = """
import os, subprocess, sys
sys.path[:0] = sys.argv[1:3]
from conftest import Box
from pytest_isolate._linux import host
from pytest_isolate._linux.mounts import MountTable

os.environ["TMPDIR"] = sys.argv[3]

def run(path):
    try:
        return subprocess.run([path]).returncode
    except OSError as error:
        return error.errno

box = Box(host.look(MountTable().visible()))
print([box.run(lambda path=path: run(path)).value for path in sys.argv[4:]])
box.builder.close()
"""
    script = """mount -t tmpfs -o noexec none "$0"; cd "$0"; mkdir -p a b/c b/d; mount -t tmpfs none b/d
for each in a b b/c b/d; do cp /bin/true $each/true; done; exec "$@" """
    (tmp_path / "there").mkdir()
    tests = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    programs = [str(tmp_path / "there" / each / "true") for each in ("a", "b", "b/c", "b/d")]
    for how in (
        ["unshare", "--mount"] if os.geteuid() == 0 else [],
        ["unshare", "--map-root-user", "--mount"],
    ):
        if how:
            command = [
                *how,
                "--propagation",
                "private",
                "sh",
                "-ec",
                script,
                str(tmp_path / "there"),
                sys.executable,
                "-c",
                body,
            ]
            command += [*tests, tempfile.gettempdir(), *programs]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.stdout, done.stderr) == (f"{[errno.EACCES] * 3 + [0]}\n", ""), how
