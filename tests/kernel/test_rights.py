"""What a root's test may do to the whole machine: nothing that a right alone gives and that no
namespace confines.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pytest_isolate._config import networking
from pytest_isolate._config.paths import Bind
from pytest_isolate._linux import host as host_module
from pytest_isolate._linux import privileges
from pytest_isolate._linux.mounts import MountTable
from pytest_isolate._sandbox.entry import Identity

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_TIME, AUDIT_CONTROL = 25, 30
AUDIT_GET, NLM_F_REQUEST, NLM_F_ACK = 1000, 1, 4
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
GONE = sum(1 << number for number in privileges.MACHINE_WIDE)
NOBODY = 65534
NETLINK_AUDIT = BOOTTIME_ALARM = 9
MODULE = f"/usr/lib/uml/modules/{os.uname().release}/kernel/drivers/net/dummy.ko"
OLD = tuple(map(int, os.uname().release.split(".")[:2])) < (6, 18)
OF_UML = ["/proc/exitcode", "/proc/sysemu"]
IPC = ("max", "mnb", "mni", "all", "_rmid_forced")
KINDS = ("plain", "set-id", "of a capability")
# A wish of a program's file for CAP_SYS_TIME (struct vfs_cap_data, version 2), permitted alone
WISH = struct.pack("=IIIII", 0x02000000, 1 << SYS_TIME, 0, 0, 0)


def sets(status: str) -> dict[str, int]:
    lines = dict(line.split(":\t", 1) for line in status.splitlines())
    return {name: int(lines[name], 16) for name in SETS}


def own() -> dict[str, int]:
    return sets(Path("/proc/self/status").read_text())


def of_a_program(path: str) -> dict[str, int]:
    """A copy of cat(1) says what it has."""
    return sets(subprocess.check_output([path, "/proc/self/status"], text=True))


@pytest.fixture
def programs():
    """Copies of a program on the machine: a plain one, one with root's set-id bit, one with a
    capability of its own.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        made = [shutil.copy(shutil.which("cat"), f"{name}/{each}") for each in KINDS]
        for path, mode in zip(made, (0o755, 0o4755, 0o755), strict=True):
            os.chmod(path, mode)
        os.setxattr(made[2], "security.capability", WISH)
        yield made


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "identity",
    [Identity(), Identity(0, 0), Identity(NOBODY, NOBODY)],
    ids=["as the caller", "user=root", "user=nobody"],
)
def test_a_roots_test_has_no_right_over_the_machine(box, programs, identity):
    """Nor does any program that it starts; all other rights stay as they were."""
    machines = own()
    found = box.run(lambda: [own(), *map(of_a_program, programs)], identity=identity).value
    assert isinstance(found, list), found
    assert [value & GONE for each in found for value in each.values()] == [0] * 4 * len(SETS)
    mine, _, set_id, _ = found
    kept = machines["CapPrm"] & ~GONE
    assert (mine["CapEff"], mine["CapPrm"]) == ((0, 0) if identity.uid else (kept, kept))
    assert mine["CapBnd"] == set_id["CapEff"] == machines["CapBnd"] & ~GONE


def call(name: str, *arguments: object) -> None:
    """A function of the C library. Raises ``OSError``."""
    if getattr(LIBC, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def set_the_clock() -> None:
    """To the time that it has, and only behind a look at who may."""
    assert not own()["CapEff"] & GONE
    time.clock_settime(time.CLOCK_REALTIME, time.time())


def hear_the_machines_audit() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT) as heard:
        heard.bind((0, 1))


def ask_the_machines_audit() -> None:
    """For its state, which takes what its rules take; CAP_AUDIT_CONTROL is there, the first pid
    namespace is not.
    """
    assert own()["CapEff"] >> AUDIT_CONTROL & 1
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT) as asked:
        asked.send(struct.pack("=IHHII", 16, AUDIT_GET, NLM_F_REQUEST | NLM_F_ACK, 1, 0))
        code = -struct.unpack_from("=i", asked.recv(8192), 16)[0]
    if code:
        raise OSError(code, "AUDIT_GET")


#: What only such a right lets pass. Where the right is there (a look at the test's own process
#: comes before), the arguments are for nothing, or for the test's own process.
ATTEMPTS = {
    "clock": set_the_clock,
    "module": lambda: call("delete_module", b"no module of this name", 0),
    "ports": lambda: call("iopl", 3),
    "log": lambda: call("klogctl", 9, None, 0),  # how much of it nobody has read
    "kmsg": lambda: os.close(os.open("/proc/kmsg", os.O_RDONLY)),
    "alarm": lambda: call("timerfd_create", BOOTTIME_ALARM, 0),
    "reboot": lambda: call("reboot", 1),  # no command of this number
    "audit": hear_the_machines_audit,
    "audit's rules": ask_the_machines_audit,
}
ON_SOME = ("module", "ports", "kmsg", "audit", "audit's rules")  # kernels, not on all
# Of these, kernels of before 2024 take CAP_SYS_ADMIN for CAP_SYSLOG
LOG = ("log", "kmsg")


@pytest.mark.needs("root")
@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_kernel_refuses_a_roots_test_the_machine(box, name):
    """EPERM, as in a container."""

    def body():
        try:
            ATTEMPTS[name]()
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "done"

    found = box.run(body).value
    if found in {"ENOSYS", "ENOENT", "EPROTONOSUPPORT"} and name in ON_SOME:
        pytest.skip("this kernel has no such thing")
    if found == "done" and name in LOG and OLD:
        pytest.skip("to this kernel who may mount is who may read its log")
    assert found == "EPERM"


@pytest.mark.needs("root")
def test_a_roots_test_keeps_what_it_needs_in_its_sandbox(box):
    """A priority, a raw socket, a mount, a look at the clock's state."""

    def body():
        os.setpriority(os.PRIO_PROCESS, 0, -1)
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
        call("mount", b"none", b"/mnt", b"tmpfs", 0, None)
        call("adjtimex", bytes(1024))  # no mode: it says what is
        return "done"

    assert box.run(body).value == "done"


def writable(top: str) -> list[str]:
    """Files of /proc that are no process's, and not on a read-only mount."""
    found = []
    for directory, names, files in os.walk(top):
        if directory == top:
            names[:] = [each for each in names if not each.isdecimal()]
        for path in (f"{directory}/{each}" for each in files):
            if os.path.islink(path) or not os.stat(path).st_mode & stat.S_IWUSR:
                continue
            if not os.statvfs(path).f_flag & os.ST_RDONLY:
                found.append(path)
    return found


@pytest.mark.needs("root")
@pytest.mark.parametrize("net", [True, networking.HOST])
def test_a_roots_test_writes_to_no_file_of_proc_that_is_the_machines(box, net):
    """But to those that the kernel has for each network, ipc and uts namespace, and to those by
    which a process asks to be told of pressure.
    """
    found = box.run(lambda: writable("/proc"), net=net).value
    assert isinstance(found, list), found
    own_ones = ("/proc/sys/net/", "/proc/sys/kernel/", "/proc/sys/fs/mqueue/", "/proc/pressure/")
    assert [path for path in found if not path.startswith(own_ones) and path not in OF_UML] == []
    settings = {os.path.basename(path) for path in found if path.startswith("/proc/sys/kernel/")}
    assert settings <= {"domainname", "hostname", "sem"} | {
        f"{kind}{name}" for kind in ("msg", "shm") for name in IPC
    }
    assert any(path.startswith("/proc/sys/net/") for path in found) == (net is True)


#: By which a root changes a machine.
COMMANDS = (
    "date -s 2001-01-01",
    f"insmod {MODULE}",
    "echo 1 > /proc/sys/vm/swappiness",
    "echo b > /proc/sysrq-trigger",
    f"{sys.executable} -c 'import ctypes; exit(ctypes.CDLL(None).reboot(0x1234567) != 0)'",
    "swapoff /dev/vda",
    "losetup -f /etc/hostname",
    "cat /dev/mem",
    "hwclock --systohc",
)


@pytest.mark.needs("root", "own_clock")
def test_commands_of_an_administrator_change_nothing(box):
    """Tried where a machine may be lost. None of them is done, and the test goes on."""
    now, about = time.time(), Path("/proc/sys/vm/swappiness").read_text()

    def body():
        return [
            each
            for each in COMMANDS
            if not subprocess.run(each, shell=True, check=False).returncode
        ]

    assert box.run(body).value == []
    assert 0 <= time.time() - now < 120
    assert "dummy" not in Path("/proc/modules").read_text()
    assert Path("/proc/sys/vm/swappiness").read_text() == about


MS_RDONLY, MS_REMOUNT, MNT_DETACH = 1, 32, 2


@pytest.fixture
def mounted():
    """A file system of the machine, for this test alone."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        call("mount", b"none", path.encode(), b"tmpfs", 0, None)
        yield path
        call("umount2", path.encode(), MNT_DETACH)


@pytest.mark.needs("root")
@pytest.mark.parametrize("shares", ["nothing", "fs=host", "fs=readonly", "bind"])
def test_remounting_reaches_a_file_system_of_the_machine_that_is_shared(
    box, monkeypatch, mounted, shares
):
    """``mount -o remount,ro`` changes it for everybody, as docs/security.md says; an overlay's is
    the sandbox's own.
    """
    with contextlib.closing(MountTable()) as table:
        monkeypatch.setattr(box, "host", host_module.look(table.visible()))

    def body():
        call("mount", None, mounted.encode(), None, MS_REMOUNT | MS_RDONLY, None)
        return "done"

    changes = {
        "nothing": {},
        "fs=host": {"fs": "host"},
        "fs=readonly": {"fs": "readonly"},
        "bind": {"bind": (Bind(mounted, mounted),)},
    }
    assert box.run(body, **changes[shares]).value == "done"
    assert bool(os.statvfs(mounted).f_flag & os.ST_RDONLY) == (shares != "nothing")
