"""Attempts to get out of a sandbox, each harmless when it succeeds: canaries, bogus arguments,
files opened and never written.

``OPEN`` says where an attempt is known to succeed: then the test fails when it does *not*, so that
``docs/security.md`` can be trusted in both directions. Everywhere else it has to fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_isolate._config.paths import Bind
from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux import privileges
from pytest_isolate._plan import strictness
from pytest_isolate._sandbox.entry import Identity

pytestmark = [pytest.mark.dear, pytest.mark.hostile]

ROOT = os.geteuid() == 0
LEVELS = [
    "default",
    pytest.param("strict", marks=pytest.mark.needs("strict")),
    pytest.param("strict, user=root", marks=pytest.mark.needs("strict")),
]
ABSTRACT = f"\0pytest-isolate-{os.getpid()}"
SEGMENT = f"/dev/shm/{ABSTRACT[1:]}"
LIBC = ctypes.CDLL(None, use_errno=True)
MS_REMOUNT, MS_BIND, MNT_DETACH = 32, 4096, 2
NS_GET_PARENT = 0xB702


@dataclass
class Outside:
    """What stands on the machine for an attempt to reach."""

    canary: Path
    pid: int
    terminal: int  # a pseudo-terminal's end, as pytest's own under -s
    port: int
    shared: mmap.mmap
    namespaces: dict[str, str]
    secret: int  # a descriptor of pytest's
    numbers: dict[str, int]  # of system calls
    partition: tuple[int, int] | None
    handle: bytes
    reached: list[str] = field(default_factory=list)

    def call(self, name: str, *arguments: object) -> int:
        """A system call by name. Raises ``OSError``."""
        result = LIBC.syscall(
            ctypes.c_long(self.numbers[name]),
            *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments],
        )
        if result < 0:
            raise OSError(ctypes.get_errno(), name)
        return result


def mount(source: bytes, target: str, kind: bytes | None, flags: int) -> None:
    if LIBC.mount(source, target.encode(), kind, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), f"mount on {target}")


def mounts() -> list[tuple[str, str]]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [(line.split()[4], line.split(" - ")[1].split()[0]) for line in lines]


def overwrite(path: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"reached")
    os.close(fd)


def each(paths: list[str], attempt) -> str | None:
    """Try all; what one of them reached, or the last error."""
    refused = None
    for path in paths:
        try:
            attempt(path)
        except OSError as error:
            refused = error
        else:
            return path
    raise refused or FileNotFoundError(errno.ENOENT, "nothing to try")


def pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdecimal()] + ["self"]


# Each attempt returns what it reached, returns None when the canary on the machine tells, or raises
# OSError.


def through_root_cwd_and_fd(out: Outside):
    """Write to the machine's canary through every /proc/PID/root, cwd and fd."""
    for pid in pids():
        doors = [f"/proc/{pid}/root", f"/proc/{pid}/cwd/" + "../" * 12]
        try:
            doors += [f"/proc/{pid}/fd/{fd}/" + "../" * 12 for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError as error:
            out.reached.append(f"{pid}: {error}")
        for door in doors:
            try:
                overwrite(f"{door}{out.canary}/file")
            except OSError as error:
                out.reached.append(f"{door}: {error}")


def through_exe(out: Outside):
    """Open a running program's file for writing, as in CVE-2019-5736."""
    return each([f"/proc/{pid}/exe" for pid in pids()], lambda path: os.open(path, os.O_RDWR))


def through_map_files(out: Outside):
    """Open a file that pytest has mapped, through /proc/self/map_files."""
    lines = [
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(f"{out.canary}/mapped")
    ]
    first, _, last = lines[0].split()[0].partition("-")
    overwrite(f"/proc/self/map_files/{int(first, 16):x}-{int(last, 16):x}")
    return "the mapped file"


def through_a_file_handle(out: Outside):
    """open_by_handle_at(2) beside the running program's file, which lies on the machine's own
    mount.
    """
    fd = os.open("/proc/self/exe", os.O_RDONLY)
    os.close(
        out.call("open_by_handle_at", fd, ctypes.create_string_buffer(out.handle), os.O_RDONLY)
    )
    return "the directory of the program"


def write_beside_mounts(out: Outside):
    """Unmount whatever can be unmounted, then write where the canary is."""
    for path, _ in reversed(mounts()):
        LIBC.umount2(path.encode(), MNT_DETACH)
    overwrite(f"{out.canary}/file")


def out_of_a_chroot(out: Outside):
    """The classic: chroot below, climb above."""
    os.makedirs("/tmp/below", exist_ok=True)
    here = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/below")
    os.fchdir(here)
    for _ in range(12):
        os.chdir("..")
    overwrite(f"{str(out.canary).lstrip('/')}/file")


def parents_descriptors(out: Outside):
    """Find what pytest has open."""
    wanted = os.stat(out.canary / "secret").st_ino
    for fd in range(1024):
        try:
            if os.fstat(fd).st_ino == wanted:
                return f"descriptor {fd}"
        except OSError as error:
            out.reached.append(str(error))
    return None


def parents_memory_and_environment(out: Outside):
    """Read pytest's own memory and environment by its number."""
    return each(
        [f"/proc/{out.pid}/{name}" for name in ("mem", "environ", "maps", "cwd/")],
        lambda path: os.open(path, os.O_RDONLY),
    )


def parents_shared_memory(out: Outside):
    """Write to a mapping that pytest shares with its children."""
    out.shared[:7] = b"reached"


def memory_of_pid_1(out: Outside):
    """Read the memory of the sandbox's own PID 1."""
    return each(["/proc/1/mem", "/proc/1/environ"], lambda path: os.open(path, os.O_RDONLY))


def ptrace_pid_1(out: Outside):
    """Take hold of PID 1, whose channel pytest trusts."""
    seize, detach = 0x4206, 17
    out.call("ptrace", seize, 1, 0, 0)
    LIBC.ptrace(detach, 1, 0, 0)
    return "PID 1"


def descriptors_of_pid_1(out: Outside):
    """Copy PID 1's channel to pytest."""
    pidfd = os.pidfd_open(1)
    return each(
        [str(fd) for fd in range(3, 12)], lambda fd: out.call("pidfd_getfd", pidfd, int(fd), 0)
    )


def stop_pid_1(out: Outside):
    """Stop PID 1, so that nobody reaps."""
    os.kill(1, signal.SIGSTOP)
    return "PID 1 stopped" if ") T " in Path("/proc/1/stat").read_text() else None


def signal_the_machine(out: Outside):
    """Reach processes of the machine by number, or all at once (signal 0: nobody is hurt)."""
    return each([str(out.pid), "-1"], lambda pid: os.kill(int(pid), 0))


def trace_the_machine(out: Outside):
    """ptrace(2) pytest by its number."""
    out.call("ptrace", 0x4206, out.pid, 0, 0)
    return "pytest"


def limit_the_machine(out: Outside):
    """Read pytest's limits by its number."""
    return str(resource.prlimit(out.pid, resource.RLIMIT_NOFILE))


def join_namespaces(out: Outside):
    """setns(2) to whatever /proc shows, then see where we are."""
    for pid in pids():
        for kind in ("mnt", "pid", "net", "ipc", "uts"):
            try:
                out.call("setns", os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), 0)
            except OSError as error:
                out.reached.append(str(error))
    return next(
        (
            kind
            for kind, name in out.namespaces.items()
            if os.readlink(f"/proc/self/ns/{kind}") == name
        ),
        None,
    )


def parents_pid_namespace(out: Outside):
    """Ask a pid namespace for the one above it."""
    return str(fcntl.ioctl(os.open("/proc/self/ns/pid", os.O_RDONLY), NS_GET_PARENT))


def new_user_namespace(out: Outside):
    """unshare(2): full capabilities over a namespace of one's own, and with them much more of the
    kernel.
    """
    out.call("unshare", 0x10000000)
    return "a user namespace"


def clone_user_namespace(out: Outside):
    """The same by clone(2)."""
    pid = out.call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a user namespace"


def child_of_pytest(out: Outside):
    """clone(2) with CLONE_PARENT: not a child of the test, but of whoever forked it.

    Without a reaper PID 1 would never end.
    """
    if out.call("clone", 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        signal.pause()
        os._exit(0)
    return "a child of pytest or of the go-between"


def mount_something(out: Outside):
    """mount(2) a tmpfs."""
    mount(b"none", "/mnt", b"tmpfs", 0)
    return "/mnt"


def disks_in_dev(out: Outside):
    """Look for disks in /dev."""
    return next(
        (name for name in os.listdir("/dev") if stat.S_ISBLK(os.stat(f"/dev/{name}").st_mode)), None
    )


def make_a_disk(out: Outside):
    """mknod(2) a disk of the machine and open it for reading."""
    os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(*out.partition))
    os.close(os.open("/tmp/disk", os.O_RDONLY))
    return "the disk"


def make_devices_on_a_mount(out: Outside):
    """The same on a file system without nodev, and with the kernel's log, where the machine keeps
    its disks even from root.
    """
    mount(b"none", "/mnt", b"tmpfs", 0)
    os.mknod("/mnt/log", stat.S_IFCHR | 0o600, os.makedev(1, 11))
    if out.partition:
        os.mknod("/mnt/disk", stat.S_IFBLK | 0o600, os.makedev(*out.partition))
    ways = {"/mnt/disk": os.O_RDONLY, "/mnt/log": os.O_WRONLY}  # nobody keeps root from the second
    return each(list(ways), lambda path: os.open(path, ways[path]))


def own_groups() -> list[str]:
    return [path for path, kind in mounts() if kind.startswith("cgroup")] or [
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup",
    ]


def leave_the_group(out: Outside):
    """Move to the root of each hierarchy."""
    return each(own_groups(), lambda path: Path(f"{path}/cgroup.procs").write_text("0"))


def release_agent(out: Outside):
    """Open release_agent for writing (CVE-2022-0492)."""
    return each(own_groups(), lambda path: os.open(f"{path}/release_agent", os.O_WRONLY))


def raise_the_limit(out: Outside):
    """Open limits of the own group for writing."""
    names = [
        (line.split(":")[1], line.split(":")[2])
        for line in Path("/proc/self/cgroup").read_text().splitlines()
    ]
    files = ["memory.limit_in_bytes", "memory.max", "pids.max"]
    tried = [
        f"{group}{path}/{file}" for group in own_groups() for _, path in names for file in files
    ]
    return each(tried, lambda path: os.open(path, os.O_WRONLY))


def leave_the_group_after_a_remount(out: Outside):
    """Make the hierarchies writable again, then leave."""

    def leave(path):
        mount(b"none", path, None, MS_REMOUNT | MS_BIND)
        Path(f"{path}/cgroup.procs").write_text("0")

    return each(own_groups(), leave)


def kernel_settings(out: Outside):
    """Open what the whole machine shares for writing."""
    tried = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/kernel/mm/ksm/run",
        "/sys/power/state",
        "/sys/kernel/uevent_helper",
    ]
    return each(tried, lambda path: os.open(path, os.O_WRONLY))


def kernel_settings_after_a_remount(out: Outside):
    """The same behind a fresh /proc."""
    os.makedirs("/tmp/proc")
    mount(b"proc", "/tmp/proc", b"proc", 0)
    os.close(os.open("/tmp/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "core_pattern"


def type_into_the_terminal(out: Outside):
    """TIOCSTI: put a character where the shell behind pytest would read it."""
    fcntl.ioctl(out.terminal, 0x5412, b"x")
    return "the terminal"


def type_with_high_bits(out: Outside):
    """The same with a request whose upper half a filter may compare and the kernel does not
    (CVE-2019-10063).
    """
    out.call("ioctl", out.terminal, 1 << 32 | 0x5412, ctypes.create_string_buffer(b"x"))
    return "the terminal"


def abstract_socket(out: Outside):
    """Connect to an abstract socket of the machine."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(ABSTRACT)
    return "the abstract socket"


def socket_file(out: Outside):
    """Connect to a socket of the machine that has a path."""
    with socket.socket(socket.AF_UNIX) as client, _short(out.canary) as directory:
        client.connect(f"{directory}/socket")
    return "the socket"


@contextlib.contextmanager
def _short(directory):
    """Another path of it: a socket's has 107 bytes at most."""
    fd = os.open(directory, os.O_PATH)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def fifo(out: Outside):
    """Open a FIFO of the machine, at which somebody reads."""
    os.close(os.open(out.canary / "fifo", os.O_WRONLY | os.O_NONBLOCK))
    return "its reader"


def is_locked(path: object) -> str | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "the machine's lock"
    return None


def lock_of_a_file(out: Outside):
    """Meet a lock (flock) that somebody on the machine holds: then one could be held against
    everybody, too.
    """
    return is_locked(out.canary / "file")


def lock_of_a_group(out: Outside):
    """The same on the directory of control groups, by whose locks a run of this plugin knows what a
    dead one left.
    """
    return is_locked("/sys/fs/cgroup")


def pidfd_of_pytest(out: Outside):
    """Take hold of pytest by its number."""
    os.close(os.pidfd_open(out.pid))
    return "pytest"


def mount_for_the_machine(out: Outside):
    """Make all mounts shared, and one more, which could spread to where they came from."""
    mount(b"none", "/", None, 1 << 20 | 1 << 14)  # MS_SHARED, MS_REC
    mount(b"none", str(out.canary), b"tmpfs", 0)


def raise_the_limit_of_files(out: Outside):
    """Raise the hard limit of open descriptors, which is the keyword ``files``."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    except ValueError as error:  # how Python says EPERM here
        raise PermissionError(errno.EPERM, str(error)) from error
    return "128 instead of 64"


def real_time(out: Outside):
    """Run before everybody else on a processor: SCHED_FIFO."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "real time"


def nicer_than_others(out: Outside):
    """Take a higher priority."""
    return str(os.nice(-5))


def port_of_the_machine(out: Outside):
    """Connect to a port of the machine's loopback."""
    socket.create_connection(("127.0.0.1", out.port), timeout=5).close()
    return "the port"


def packets(out: Outside):
    """Open a packet socket."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    return "packets"


def keyring(out: Outside):
    """Search pytest's session keyring."""
    key = out.call(
        "keyctl",
        10,
        ctypes.c_long(-3),
        ctypes.c_char_p(b"user"),
        ctypes.c_char_p(ABSTRACT[1:].encode()),
        0,
    )
    text = ctypes.create_string_buffer(32)
    out.call("keyctl", 11, key, text, 32)
    return text.value.decode()


def system_v_memory(out: Outside):
    """Find the machine's shared memory by its key."""
    if LIBC.shmget(out.pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    return "shared memory"


def posix_memory(out: Outside):
    """Read the machine's shared memory by name."""
    return Path(SEGMENT).read_text()


def write_to_posix_memory(out: Outside):
    """Write to it, through a file and through a mapping."""
    with contextlib.suppress(FileNotFoundError):
        overwrite(SEGMENT)
        with open(SEGMENT, "r+b") as file:
            mmap.mmap(file.fileno(), 7)[:7] = b"reached"


def posix_queues(out: Outside):
    """Find the machine's message queues by name."""
    return each([f"/dev/mqueue/{ABSTRACT[1:]}"], lambda path: os.open(path, os.O_RDONLY))


def unusual_protocols(out: Outside):
    """Have the kernel look for protocols that are modules: SCTP, DCCP and Multipath TCP are, or
    were, and NETLINK_USERSOCK is in every kernel.
    """
    asked = ["2 1 132", "2 5 132", "2 6 33", "2 1 262", "10 1 262", "16 3 4", "16 3 2"]
    return each(asked, lambda words: socket.socket(*map(int, words.split())).close())


def line_discipline(out: Outside):
    """Choose one of a terminal, for which the kernel loads modules."""
    _, terminal = os.openpty()
    fcntl.ioctl(terminal, 0x5423, struct.pack("i", 0))
    return "N_TTY"


def lease(out: Outside):
    """Take a lease on a file, for the end of which everybody waits who opens it."""
    with tempfile.TemporaryFile() as file:
        fcntl.fcntl(file.fileno(), fcntl.F_SETLEASE, fcntl.F_WRLCK)
    return "a lease"


def access_list(out: Outside):
    """Give a file an access list of a thousand entries: memory of the kernel that nobody counts."""
    entries = [(1, 6, -1), *[(2, 6, os.getuid())] * 1000, (4, 6, -1), (16, 6, -1), (32, 6, -1)]
    text = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *each) for each in entries)
    Path("/tmp/listed").write_text("x")
    os.setxattr("/tmp/listed", "system.posix_acl_access", text)
    return "an access list"


ROOT_ONLY = frozenset({"root"})
BOTH = frozenset({"root", "user"})
#: Each attempt, and for whom it succeeds by default.
ATTEMPTS = [
    (through_root_cwd_and_fd, ()), (through_exe, ()), (through_map_files, ROOT_ONLY),
    (through_a_file_handle, ROOT_ONLY),
    (write_beside_mounts, ()), (out_of_a_chroot, ()), (parents_descriptors, ()),
    (parents_memory_and_environment, ()),
    (memory_of_pid_1, ROOT_ONLY), (ptrace_pid_1, ROOT_ONLY), (descriptors_of_pid_1, ROOT_ONLY),
    (stop_pid_1, ()),
    (signal_the_machine, ()), (trace_the_machine, ()), (limit_the_machine, ()),
    (join_namespaces, ()), (parents_pid_namespace, ()),
    (new_user_namespace, BOTH), (clone_user_namespace, BOTH), (child_of_pytest, BOTH),
    (mount_something, ROOT_ONLY), (disks_in_dev, ()), (make_a_disk, ()),
    (make_devices_on_a_mount, ROOT_ONLY), (leave_the_group, ()), (release_agent, ()),
    (raise_the_limit, ()),
    (leave_the_group_after_a_remount, ROOT_ONLY), (kernel_settings, ()),
    (kernel_settings_after_a_remount, ROOT_ONLY), (type_into_the_terminal, ROOT_ONLY),
    (type_with_high_bits, ROOT_ONLY),
    (abstract_socket, ()), (socket_file, ()), (port_of_the_machine, ()), (packets, ROOT_ONLY),
    (keyring, BOTH), (system_v_memory, ()),
    (posix_memory, BOTH), (write_to_posix_memory, ()), (posix_queues, ()),
    (fifo, ()), (lock_of_a_file, ()), (lock_of_a_group, BOTH), (pidfd_of_pytest, ()),
    (mount_for_the_machine, ()), (real_time, ROOT_ONLY), (nicer_than_others, ROOT_ONLY),
    (unusual_protocols, BOTH), (line_discipline, BOTH), (lease, BOTH),
    (access_list, BOTH),
]  # fmt: skip


@pytest.fixture(scope="module")
def numbers() -> dict[str, int]:
    pyseccomp = pytest.importorskip("pyseccomp") if strictness.obstacle() is None else None
    if pyseccomp is None:
        pytest.skip("the numbers of system calls are libseccomp's")
    names = {
        *CALLS,
        "open_by_handle_at",
        "name_to_handle_at",
        "ptrace",
        "pidfd_getfd",
        "setns",
        "unshare",
        "clone",
        "ioctl",
        "keyctl",
        "add_key",
    }
    return {name: pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in names}


@pytest.fixture
def outside(canary, numbers):
    canary.chmod(0o777)
    (canary / "file").chmod(0o666)
    for name in ("mapped", "secret"):
        (canary / name).write_bytes(b"untouched")
    label = ABSTRACT[1:].encode()
    with contextlib.ExitStack() as stack:
        abstract, named = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        abstract.bind(ABSTRACT)
        named.bind(f"{stack.enter_context(_short(canary))}/socket")
        os.mkfifo(canary / "fifo")
        for path, flags in (
            (canary / "fifo", os.O_RDONLY | os.O_NONBLOCK),
            (canary / "file", os.O_RDONLY),
            ("/sys/fs/cgroup", os.O_RDONLY),
        ):
            fd = os.open(path, flags)
            stack.callback(os.close, fd)
            if path != canary / "fifo":
                fcntl.flock(fd, fcntl.LOCK_EX)
        abstract.listen()
        named.listen()
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        main, terminal = os.openpty()
        mapped, secret = (
            os.open(canary / "mapped", os.O_RDONLY),
            os.open(canary / "secret", os.O_RDWR),
        )
        queue = LIBC.mq_open(b"/" + label, os.O_CREAT | os.O_RDWR, 0o600, None)
        stack.callback(LIBC.mq_unlink, b"/" + label)
        for fd in (main, terminal, mapped, secret, queue):
            stack.callback(os.close, fd)
        stack.callback(LIBC.shmctl, LIBC.shmget(os.getpid(), 4096, 0o1666), 0, None)
        shared = Path(SEGMENT)
        shared.write_text("untouched")
        stack.callback(shared.unlink)
        out = Outside(
            canary, os.getpid(), terminal, port.getsockname()[1], mmap.mmap(-1, 4096),
            {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid", "net", "ipc", "uts")}, secret, numbers, partition(), b"",
        )  # fmt: skip
        out.handle = handle_of_the_program(out)
        key = out.call(
            "add_key",
            ctypes.c_char_p(b"user"),
            ctypes.c_char_p(label),
            ctypes.c_char_p(b"secret"),
            6,
            ctypes.c_long(-3),
        )
        stack.callback(out.call, "keyctl", 9, key, ctypes.c_long(-3))
        stack.enter_context(mmap.mmap(mapped, 0, access=mmap.ACCESS_READ))
        yield out


def handle_of_the_program(out: Outside) -> bytes:
    """A handle of the directory that the interpreter is in; empty on file systems without such."""
    handle = ctypes.create_string_buffer((128).to_bytes(4, sys.byteorder) + bytes(132))
    directory = os.path.dirname(os.path.realpath(sys.executable)).encode()
    try:
        out.call(
            "name_to_handle_at",
            ctypes.c_int(-100),
            ctypes.c_char_p(directory),
            handle,
            ctypes.byref(ctypes.c_int()),
            0,
        )
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return b""
    return handle.raw


def partition() -> tuple[int, int] | None:
    lines = [line.split() for line in Path("/proc/partitions").read_text().splitlines()[2:]]
    return (int(lines[0][0]), int(lines[0][1])) if lines else None


def who(level: str, host) -> dict[str, object]:
    """The keywords and the identity of a level."""
    strict = {} if level == "default" else {"profile": "strict"}
    if level.endswith("root"):
        return {
            **strict,
            "user": "root",
            "identity": Identity() if host.rootless else Identity(0, 0, ()),
        }
    return {**strict, "identity": Identity(drop_capabilities=host.rootless)}


def run(box, level, out, attempt, **changes):
    """What an attempt reached: text, or None when it was refused."""

    def body():
        try:
            return ["reached" if (found := attempt(out)) else "nothing", found]
        except OSError as error:
            return ["refused", f"{errno.errorcode[error.errno or 0]}: {error}"]

    keep = frozenset({out.terminal})
    value = box.run(body, keep=keep, files=64, **{**who(level, box.host), **changes}).value
    assert isinstance(value, list), value
    if str(out.canary) in Path("/proc/self/mountinfo").read_text():
        return "the machine's mounts"
    touched = [
        path.name
        for path in (out.canary / "file", out.canary / "mapped", Path(SEGMENT))
        if path.read_text() != "untouched"
    ]
    if touched or out.shared[:7] == b"reached":
        return f"the machine's {touched or 'shared memory'}"
    return value[1] if value[0] == "reached" else None


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("attempt", "open_for"), ATTEMPTS, ids=[attempt.__name__ for attempt, _ in ATTEMPTS]
)
def test_nobody_gets_out(box, outside, level, attempt, open_for):
    """An attempt reaches the machine only where docs/security.md says that it does, and never under
    the strict profile.
    """
    if outside.partition is None and attempt is make_a_disk:
        pytest.skip("this machine has no disk")
    if not outside.handle and attempt is through_a_file_handle:
        pytest.skip("the file system of this Python has no file handles")
    reached = run(box, level, outside, attempt)
    known = level == "default" and ("root" if ROOT else "user") in open_for
    assert (reached is not None) == known, reached


def test_children_that_a_test_made_for_pytest_are_reaped(box, outside):
    """Neither a zombie stays, nor a PID 1 that waits for it, nor a pytest that waits for that."""
    children = Path("/proc/thread-self/children")
    before = children.read_text()
    assert run(box, "default", outside, child_of_pytest) is not None
    assert children.read_text() == before


@pytest.mark.parametrize("level", LEVELS)
def test_the_limit_of_files_holds_but_for_a_root_who_may_raise_limits(box, outside, level):
    """Not every root may: it takes CAP_SYS_RESOURCE, which Docker does not give."""
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    ]
    may = level == "default" and not box.host.rootless and bool(int(line.split()[1], 16) >> 24 & 1)
    assert (run(box, level, outside, raise_the_limit_of_files) is not None) == may


@pytest.mark.parametrize("level", LEVELS)
def test_attributes_of_the_interpreter_are_its_owners(box, outside, level):
    """Through /proc/self/exe an owner changes mode and times of the machine's own file (here to the
    mode that it has), strict or not.
    """
    program = os.path.realpath("/proc/self/exe")

    def change():
        fd = os.open("/proc/self/exe", os.O_RDONLY)
        os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode))

    before = os.stat(program)
    box.run(change, **who(level, box.host))
    reached = os.stat(program).st_ctime_ns != before.st_ctime_ns
    assert reached == (
        before.st_uid == os.geteuid() and not before.st_mode & (stat.S_ISUID | stat.S_ISGID)
    )


@pytest.mark.parametrize("level", LEVELS)
def test_settings_of_a_terminal_that_pytest_has_can_be_changed(box, outside, level):
    """No profile takes pytest's standard streams away, and docs/security.md says so."""
    before = termios.tcgetattr(outside.terminal)

    def change(out):
        settings = termios.tcgetattr(out.terminal)
        settings[3] ^= termios.ECHO
        termios.tcsetattr(out.terminal, termios.TCSANOW, settings)

    run(box, level, outside, change)
    assert termios.tcgetattr(outside.terminal)[3] == before[3] ^ termios.ECHO


@pytest.mark.needs("strict")
@pytest.mark.parametrize("level", ["strict", "strict, user=root"])
def test_a_strict_test_sets_no_set_id_bits_and_dumps_no_core(box, level):
    """A set-user-ID program would be the machine's; and for a core dump the kernel starts a program
    of the machine, as root.
    """

    def body():
        answers = []
        fd = os.open("/tmp/program", os.O_CREAT | os.O_RDWR, 0o700)
        for bits in (0o4000, 0o2000):
            for attempt in (
                lambda bits=bits: os.chmod("/tmp/program", 0o700 | bits),
                lambda bits=bits: os.fchmod(fd, 0o700 | bits),
                lambda bits=bits: (
                    LIBC.fchmodat(-100, b"/tmp/program", 0o700 | bits, 0)
                    and answers.append(errno.errorcode[ctypes.get_errno()])
                ),
                lambda bits=bits: os.open("/tmp/made", os.O_CREAT | os.O_WRONLY, 0o700 | bits),
                lambda bits=bits: os.open("/tmp", os.O_TMPFILE | os.O_WRONLY, 0o700 | bits),
                lambda bits=bits: os.mknod("/tmp/node", stat.S_IFREG | 0o700 | bits),
                lambda bits=bits: (
                    LIBC.creat(b"/tmp/created", 0o700 | bits) < 0
                    and answers.append(errno.errorcode[ctypes.get_errno()])
                ),
            ):
                try:
                    attempt()
                except OSError as error:
                    answers.append(errno.errorcode[error.errno])
        os.chmod("/tmp/program", 0o755)
        # 0 is none for a file, and as many bytes as it likes for a program (core(5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        resource.prlimit(0, resource.RLIMIT_CORE, (2, 2))
        mode = 0o4700
        if LIBC.mq_open(b"/set-id", os.O_CREAT | os.O_RDWR, mode, None) < 0:
            answers.append(f"queue {errno.errorcode[ctypes.get_errno()]}")
        LIBC.syscall(437, -100, b"/tmp/second", bytes(24), 24)
        answers.append(errno.errorcode[ctypes.get_errno()])
        os.open("/tmp/program", os.O_RDONLY, 0o6755)  # nothing is made, and the mode means nothing
        return [*answers, oct(os.fstat(fd).st_mode), *resource.getrlimit(resource.RLIMIT_CORE)]

    limit = 1 if ROOT else min(resource.getrlimit(resource.RLIMIT_CORE)[1] & 0xFFFF, 1)
    assert box.run(body, **who(level, box.host)).value == [
        *["EPERM"] * 14,
        "queue EPERM",
        "ENOSYS",
        "0o100755",
        limit,
        limit,
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_memory_that_pytest_shares_stays_shared(box, outside, level):
    """Fork copies private memory only: no profile takes a shared mapping from a child, and
    docs/security.md says so.
    """
    assert run(box, level, outside, parents_shared_memory) == "the machine's shared memory"


@pytest.mark.parametrize("level", LEVELS)
def test_the_machines_network_has_its_abstract_sockets(box, outside, level):
    """With ``net=False`` an abstract socket is reached, but by a strict test on a kernel whose
    Landlock has scopes (version 6).
    """
    walled = level != "default" and privileges.landlock_version() >= 6
    assert (run(box, level, outside, abstract_socket, net=False) is None) == walled


#: System calls that a strict test does not have, whatever the kernel; without the filter each of
#: them complains of its arguments instead.
CALLS = (
    "mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
    "mount_setattr", "setns", "chroot",
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "bpf",
    "perf_event_open", "keyctl", "add_key",
    "request_key", "kexec_load", "init_module", "finit_module", "delete_module", "io_uring_setup",
    "io_uring_enter", "io_uring_register",
    "userfaultfd", "open_by_handle_at", "clock_settime", "settimeofday", "adjtimex", "reboot",
    "swapon", "swapoff", "acct", "quotactl",
    "syslog", "fanotify_init", "mbind", "move_pages",
)  # fmt: skip


@pytest.mark.needs("strict")
@pytest.mark.parametrize("level", ["strict", "strict, user=root"])
def test_a_strict_test_has_none_of_these_calls(box, outside, level):
    """Bogus arguments (a module that is none, descriptors that are not open): the filter answers
    before the kernel looks at them.
    """

    def body():
        answers = {}
        for name in CALLS:
            try:
                answers[name] = str(outside.call(name, -1, -1, -1, -1, -1, -1))
            except OSError as error:
                answers[name] = errno.errorcode[error.errno]
        return answers

    # Not every processor has every one
    there = [name for name in CALLS if outside.numbers[name] >= 0]
    assert box.run(body, **who(level, box.host)).value == {
        **dict.fromkeys(CALLS, "ENOSYS"),
        **dict.fromkeys(there, "EPERM"),
    }


@pytest.mark.needs("strict")
@pytest.mark.parametrize(
    ("name", "number"),
    [("clone3", 435), ("younger than the list", 463), ("no call at all", 100_000)],
)
def test_calls_whose_arguments_nobody_can_judge_do_not_exist(box, name, number):
    """ENOSYS has programs fall back to what they did before; 463 is setxattrat of Linux 6.13."""

    def body():
        LIBC.syscall(ctypes.c_long(number), ctypes.c_long(-1), ctypes.c_long(-1))
        return errno.errorcode[ctypes.get_errno()]

    assert box.run(body, profile="strict").value == "ENOSYS"


@pytest.mark.needs("strict")
@pytest.mark.parametrize(
    "family", [socket.AF_PACKET, 38, 40, 44, 1 << 31], ids=["packet", "alg", "vsock", "xdp", "none"]
)
def test_a_strict_test_has_few_kinds_of_sockets(box, family):
    """EPERM, not EAFNOSUPPORT: it is the filter that answers."""

    def body():
        LIBC.socket(ctypes.c_int(family), 1, 0)
        return errno.errorcode[ctypes.get_errno()]

    assert box.run(body, profile="strict").value == "EPERM"


@pytest.mark.needs("strict")
@pytest.mark.parametrize(("level", "kept"), [("strict", 0), ("strict, user=root", 0b101_1111_1011)])
def test_a_strict_test_has_no_capabilities_and_gains_none(box, level, kept):
    """All five sets; with ``user="root"`` those nine that a root needs among its own files.

    Programs it starts gain nothing.
    """

    def body():
        words = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
        return {
            word[0].rstrip(":"): int(word[1], 16)
            for word in words
            if word[0].startswith(("Cap", "NoNew", "Seccomp:"))
        }

    value = box.run(body, **who(level, box.host)).value
    assert value == {
        "CapInh": 0,
        "CapPrm": kept,
        "CapEff": kept,
        "CapBnd": kept,
        "CapAmb": 0,
        "NoNewPrivs": 1,
        "Seccomp": 2,
    }


@pytest.mark.needs("strict")
def test_a_strict_test_sees_little_of_the_machine(box):
    """Masked files of /proc are empty, masked directories of /sys too."""

    def body():
        files = [
            name
            for name in ("kallsyms", "keys", "interrupts", "modules", "kmsg")
            if os.path.exists(f"/proc/{name}")
        ]
        shown = [name for name in files if Path(f"/proc/{name}").read_bytes()]
        return shown + [name for name in ("fs", "firmware", "kernel") if os.listdir(f"/sys/{name}")]

    assert box.run(body, profile="strict").value == []


@pytest.mark.needs("strict")
def test_landlock_is_a_second_wall(box):
    """Where the kernel has it, a strict test writes nowhere in the root directory itself, /proc and
    /sys, and elsewhere as always.
    """

    def body():
        refused = []
        for path in ("/file", "/proc/self/oom_score_adj"):
            try:
                Path(path).write_text("0")
            except OSError as error:
                refused.append(errno.errorcode[error.errno])
        Path("/tmp/file").write_text("")
        os.makedirs("/tmp/directory")
        os.rename("/tmp/file", "/tmp/directory/file")
        os.truncate("/tmp/directory/file", 0)
        return refused

    if privileges.landlock_version() < 2:
        assert strictness.landlock_obstacle()
    else:
        assert strictness.landlock_obstacle() is None
        assert box.run(body, profile="strict").value == ["EACCES", "EACCES"]


@pytest.mark.needs("strict")
def test_ordinary_work_goes_on_under_strict(box):
    """Processes, threads, servers, pipes, terminals and shared memory work as without
    the profile.
    """
    code = """
import concurrent.futures, multiprocessing, os, pty, socket, subprocess, sys, tempfile
with concurrent.futures.ThreadPoolExecutor() as pool: assert list(pool.map(abs, [-1])) == [1]
with multiprocessing.get_context("spawn").Pool(1) as pool: assert pool.map(abs, [-1]) == [1]
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()): pass
with tempfile.TemporaryFile() as file: file.write(b"x")
os.close(pty.openpty()[0])
print(subprocess.run(["sh", "-c", "echo fine"], capture_output=True, text=True, check=True).stdout.strip())
"""

    def body():
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or done.stderr

    assert box.run(body, profile="strict").value == "fine"


@pytest.mark.needs("strict")
@pytest.mark.parametrize("part", ["the source", "a directory above it"])
def test_a_source_swapped_for_a_link_at_the_last_moment_is_not_bound(box, outside, tmp_path, part):
    """Between the check of ``bind`` and the mount the kernel itself looks again: the sandbox is
    broken, the canary is not.
    """
    source = tmp_path / "real/source"
    if part == "the source":
        source.parent.mkdir()
        source.symlink_to(outside.canary)
    else:
        (tmp_path / "real").symlink_to(outside.canary.parent)
        source = tmp_path / "real" / outside.canary.name
    sandbox = box.builder.order(
        box.plan(profile="strict", bind=(Bind(str(source), str(source)),)).recipe
    )
    with pytest.raises(StepFailedError) as raised:
        sandbox.wait_ready()
    sandbox.close()
    assert (raised.value.step, raised.value.errno) == ("bind without links", errno.ELOOP)


@pytest.mark.needs("strict")
@pytest.mark.parametrize("read_only", [False, True])
def test_a_strict_bind_is_a_bind(box, outside, read_only):
    """A directory and a file that are no links are shared, or shown read-only."""
    for path in (outside.canary, outside.canary / "file"):
        (outside.canary / "file").write_text("untouched")
        box.run(
            lambda: overwrite(f"{outside.canary}/file"),
            profile="strict",
            bind=(Bind(str(path), str(path), read_only),),
        )
        assert (outside.canary / "file").read_text() == ("untouched" if read_only else "reacheded")
