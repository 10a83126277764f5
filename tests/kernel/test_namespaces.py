"""Who is in a sandbox, and what of the machine can be seen from there."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import subprocess
import sys

import pytest


def test_the_test_is_not_pid_1_and_sees_nobody_else(box):
    """A test that is PID 1 survives its own SIGKILL; here PID 1 is ours and the test is the second
    process.
    """
    pid, seen = box.run(
        lambda: [os.getpid(), sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())]
    ).value
    assert seen == [1, pid]
    # A kernel with CHECKPOINT_RESTORE can be told
    assert pid == (2 if os.path.exists("/proc/sys/kernel/ns_last_pid") else 3)


def pid_1_of(sandbox) -> int:
    with open(f"/proc/self/fdinfo/{sandbox.pidfd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))


def test_pid_1_has_nothing_open_and_stands_in_the_sandbox(box):
    """A test that is root reaches whatever its PID 1 has: that is no directory of the machine and
    no channel, but where it waits.
    """
    sandbox = box.builder.order(box.plan().recipe)
    sandbox.wait_ready()
    pid = pid_1_of(sandbox)
    opened = [
        os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2
    ]
    assert len(opened) == 1
    assert opened[0].startswith("socket:")
    inside = os.stat(f"/proc/{pid}/root/")
    assert (inside.st_dev, inside.st_ino) != (os.stat("/").st_dev, os.stat("/").st_ino)
    assert os.path.samestat(os.stat(f"/proc/{pid}/cwd/"), inside)
    sandbox.close()


@pytest.mark.parametrize(("user", "shares"), [(None, True), ("root", False)])
def test_who_could_change_the_memory_of_pid_1_finds_a_copy(box, user, shares):
    """PID 1 shares the builder's memory, unless a test has all capabilities of the user namespace:
    the builder acts outside of it.
    """
    if not box.host.rootless or os.geteuid() == 0:
        pytest.skip("for the run as user")
    if platform.machine() != "x86_64":
        pytest.skip("the number of kcmp(2) is that of x86-64")
    sandbox = box.builder.order(box.plan(user=user).recipe)
    sandbox.wait_ready()
    vm, kcmp = 1, 312
    compared = ctypes.CDLL(None, use_errno=True).syscall(
        kcmp, box.builder.pid, pid_1_of(sandbox), vm, 0, 0
    )
    code = ctypes.get_errno()
    sandbox.close()
    if compared < 0 and code == errno.ENOSYS:
        pytest.skip("this kernel has no kcmp(2)")
    assert compared >= 0, os.strerror(code)
    assert (compared == 0) == shares


@pytest.mark.parametrize("kind", ["pid", "net", "ipc", "mnt", "uts"])
def test_every_namespace_is_a_fresh_one(box, kind):
    """No namespace is shared with the machine or with the sandbox before."""
    inside = [box.run(lambda: os.readlink(f"/proc/self/ns/{kind}")).value for _ in range(2)]
    assert os.readlink(f"/proc/self/ns/{kind}") not in inside
    assert "Error" not in str(inside)


def test_net_false_shares_the_hosts_network(box):
    """``net=False`` is the host's own network namespace."""
    assert box.run(lambda: os.readlink("/proc/self/ns/net"), net=False).value == os.readlink(
        "/proc/self/ns/net"
    )


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_loopback_carries_both_protocols(box, family, address):
    """A server and its client meet on 127.0.0.1 and on ::1."""

    def talk():
        with (
            socket.create_server((address, 8080), family=family) as server,
            socket.create_connection((address, 8080)) as client,
        ):
            peer, _ = server.accept()
            peer.sendall(b"hello")
            peer.close()
            return client.recv(5).decode()

    assert box.run(talk).value == "hello"


def test_nothing_but_loopback_is_there(box):
    """No interface leads out, so an address of the outside cannot be reached."""

    def look():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            try:
                out.connect(("192.0.2.1", 9))
            except OSError as error:
                return [sorted(os.listdir("/sys/class/net")), error.errno]
        return "connected"

    assert box.run(look).value == [["lo"], 101]  # ENETUNREACH


def test_the_host_name_is_its_own(box):
    """A changed host name stays inside."""
    before = socket.gethostname()
    assert box.run(socket.gethostname, hostname="somewhere").value == "somewhere"
    assert socket.gethostname() == before


def test_orphans_are_adopted_and_reaped(box):
    """PID 1 reaps: no zombie of a double-forked process stays in the table."""

    def orphan():
        read, write = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                os.close(read)
                os._exit(0)  # closing the last write end says that the grandchild is over
            os._exit(0)
        os.wait()
        os.close(write)
        os.read(read, 1)
        deadline, known = os.times().elapsed + 5, {"1", str(os.getpid())}
        while (
            left := [name for name in os.listdir("/proc") if name.isdecimal() and name not in known]
        ) and os.times().elapsed < deadline:
            os.sched_yield()
        return left

    assert box.run(orphan).value == []


def test_there_is_no_controlling_terminal(box):
    """Opening /dev/tty fails: a test cannot type into the terminal that pytest runs on."""

    def look():
        try:
            os.close(os.open("/dev/tty", os.O_RDWR))
        except OSError as error:
            return error.errno
        return "opened"

    assert box.run(look).value == 6  # ENXIO


def test_parents_descriptors_are_closed(box):
    """Of what the parent had open only the standard streams and the two pipes of ours are left."""
    with open("/dev/null", "rb") as leaked:
        value = box.run(lambda: sorted(int(name) for name in os.listdir("/proc/self/fd"))).value
        assert leaked.fileno() not in value
    assert len(value) <= 3 + 2 + 1  # and the listing's own


def test_a_kept_descriptor_is_the_parents_file(box, tmp_path):
    """What a shared fixture opened goes on working in a copy of the fixture."""
    with (tmp_path / "log").open("w+b", buffering=0) as log:
        box.run(lambda: os.write(log.fileno(), b"from inside"), keep=frozenset({log.fileno()}))
        assert (tmp_path / "log").read_bytes() == b"from inside"


def test_subprocesses_and_extensions_work(box):
    """A child Python starts, finds the same packages and loads C extensions."""
    code = "import json, _cffi_backend, sys; print(json.dumps(sys.prefix))"
    run = lambda: subprocess.run(  # noqa: E731
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert box.run(run).value == f'"{sys.prefix}"'


def test_the_working_directory_is_the_same(box):
    """Relative paths mean inside what they mean outside."""
    assert box.run(os.getcwd).value == os.getcwd()


@pytest.mark.needs("root")
def test_root_stays_root_with_its_capabilities(box):
    """Who runs pytest as root needs root: a low port, a mount of its own."""

    def use():
        with socket.create_server(("127.0.0.1", 80)):
            return subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True).returncode

    assert box.run(use).value == 0


@pytest.mark.needs("user")
def test_an_ordinary_user_has_no_capability(box):
    """What plain pytest may not, an isolated test may not: permission errors stay what they are."""

    def look():
        with open("/proc/self/status") as status:
            return [line.split()[1] for line in status if line.startswith(("CapEff", "CapPrm"))]

    assert box.run(look).value == ["0" * 16, "0" * 16]


def test_the_user_is_the_caller(box):
    """Without ``user`` the ids inside are those outside."""
    assert box.run(lambda: [os.getuid(), os.getgid()]).value == [os.getuid(), os.getgid()]
