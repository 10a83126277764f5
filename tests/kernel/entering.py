"""How to get into the environments of environments.py: steps of the process that then becomes
pytest, and what stands in between.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_isolate._linux import privileges, syscalls
from pytest_isolate._linux.environment import look
from pytest_isolate._linux.mounts import MountTable
from pytest_isolate._linux.syscalls import Clone, Mount
from pytest_isolate._sandbox import steps

if TYPE_CHECKING:
    import pyseccomp

USER = 1000
# In the environment: control groups that the test made for whoever goes in, colons between them
JOIN = "ISOLATE_TEST_GROUPS"
NESTED = "ISOLATE_TEST_NESTED"  # what a test of an outer run starts, as JSON
#: The outer test of the nested environments.
OUTER = f"""
import json, os, subprocess
def test_outer():
    command = json.loads(os.environ["{NESTED}"])
    print(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout)
"""
_NEW_CGROUP = 0x02000000  # CLONE_NEWCGROUP
_REMOUNT = 32  # MS_REMOUNT
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*: the mask of Docker's rule for clone(2)
#: Docker's 14, by number: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
#: NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
DOCKERS_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})
NET_ADMIN, SYS_ADMIN = 12, 21
#: What Docker's default profile allows nobody, or those alone who have a capability that is not
#: among the 14.
_FORBIDDEN = (
    "acct", "add_key", "create_module", "delete_module", "finit_module", "get_kernel_syms",
    "init_module", "ioperm", "iopl", "kcmp",
    "kexec_file_load", "kexec_load", "keyctl", "migrate_pages", "move_pages", "nfsservctl",
    "open_by_handle_at", "pidfd_getfd",
    "pivot_root", "process_madvise", "query_module", "quotactl", "reboot", "request_key",
    "settimeofday", "clock_settime", "swapoff",
    "swapon", "_sysctl", "sysfs", "uselib", "userfaultfd", "ustat", "vhangup", "get_mempolicy",
    "mbind", "set_mempolicy",
)  # fmt: skip
#: What it allows to CAP_SYS_ADMIN.
_OF_ADMIN = (
    "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
    "mount_setattr", "move_mount",
    "open_tree", "perf_event_open", "quotactl_fd", "setdomainname", "sethostname", "setns",
    "syslog", "umount2", "unshare",
)  # fmt: skip


# How to get there. Each step is done by the process that becomes pytest.


def _unshare(flag: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flag):
        raise OSError(ctypes.get_errno(), f"unshare({flag:#x})")


def own_mounts() -> None:
    """A mount namespace whose mounts nobody else sees, for what root does there."""
    if os.geteuid() != 0:
        return
    _unshare(Clone.NEWNS)
    syscalls.mount("", "/", "", Mount.PRIVATE | Mount.REC)


def overlay_root() -> None:
    """Stand on an overlay of the present root, as in a container's image.

    Raises ``OSError`` where no further one can be stacked.
    """
    deep = look().overlay_root
    syscalls.mount("tmpfs", "/mnt", "tmpfs")
    for name in ("upper", "work", "root"):
        os.mkdir(f"/mnt/{name}")
    os.chmod("/mnt/upper", 0o755)
    with open("/mnt/upper/.dockerenv", "w", encoding="ascii"):
        pass
    syscalls.mount(
        "overlay", "/mnt/root", "overlay", 0, "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work"
    )
    shown: list[str] = ["/mnt"]
    table = MountTable()
    for mount in sorted(table.visible(), key=lambda each: each.path):
        if mount.path != "/" and not any(f"{mount.path}/".startswith(f"{each}/") for each in shown):
            syscalls.mount(mount.path, f"/mnt/root{mount.path}", "", Mount.BIND | Mount.REC)
            shown.append(mount.path)
    table.close()
    here = os.getcwd()
    steps.Pivot("/mnt/root").perform()
    os.chdir(here)
    if deep:
        tmp_of_its_own()


def overlay_root_as_deep_as_can_be() -> None:
    """Overlays on overlays, until the kernel has enough: two."""
    while True:
        try:
            overlay_root()
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            syscalls.umount("/mnt")
            return


def _control_groups(*kinds: str) -> list[str]:
    table = MountTable()
    paths = [mount.path for mount in table.visible() if mount.fstype in kinds]
    table.close()
    return paths


def only_v1() -> None:
    for path in _control_groups("cgroup2"):
        syscalls.umount(path)


def hybrid() -> None:
    if not _control_groups("cgroup2"):
        os.makedirs("/sys/fs/cgroup/unified", exist_ok=True)
        syscalls.mount("cgroup2", "/sys/fs/cgroup/unified", "cgroup2")


def no_control_groups() -> None:
    for path in _control_groups("cgroup", "cgroup2"):
        syscalls.umount(path)


def join() -> None:
    """Go into the control groups that the test made."""
    for group in filter(None, os.environ.get(JOIN, "").split(":")):
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as procs:
            procs.write("0")


def own_control_groups() -> None:
    """See the present group as the root of all: docker run --cgroupns=private, on v2."""
    _unshare(_NEW_CGROUP)
    syscalls.umount("/sys/fs/cgroup")
    syscalls.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")


def no_proc() -> None:
    """An empty directory."""
    syscalls.mount("tmpfs", "/proc", "tmpfs", Mount.RDONLY)


@contextmanager
def _needed_below(directory: str) -> Iterator[None]:
    """What hides a directory hides neither the interpreter nor this project, should they be in
    there.
    """
    needed = {
        path: os.open(path, os.O_PATH) for path in _needed() if path.startswith(f"{directory}/")
    }
    yield
    for path, fd in needed.items():
        if not os.path.exists(path):
            os.makedirs(path)
            syscalls.mount(f"/proc/self/fd/{fd}", path, "", Mount.BIND | Mount.REC)
        os.close(fd)


def mount_in_tmp() -> None:
    """Below /tmp, as AppImages have theirs."""
    tmp_of_its_own()
    os.mkdir("/tmp/mounted")
    syscalls.mount("tmpfs", "/tmp/mounted", "tmpfs")


def tmp_on_root() -> None:
    """Whatever /tmp is on this machine, here it is a directory of the root."""
    os.mkdir("/tmp-on-root", 0o777)
    os.chmod("/tmp-on-root", 0o1777)
    with _needed_below("/tmp"):
        syscalls.mount("/tmp-on-root", "/tmp", "", Mount.BIND)


def tmp_with_too_much() -> None:
    """More than is copied for a test."""
    for number in range(5):
        with open(f"/tmp/large{number}", "wb") as file:
            file.truncate(8 << 20)


def tmp_of_its_own() -> None:
    with _needed_below("/tmp"):
        syscalls.mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777")


def ubuntus_sysctl() -> None:
    """Shown beside the others that the plugin reads."""
    kernel = "/proc/sys/kernel"
    kept = {
        name: os.open(f"{kernel}/{name}", os.O_PATH)
        for name in ("seccomp", "cap_last_cap", "overflowuid", "overflowgid")
    }
    syscalls.mount("tmpfs", kernel, "tmpfs", 0, "mode=0755")
    for name, fd in kept.items():
        source = f"/proc/self/fd/{fd}"
        if os.path.isdir(source):
            os.mkdir(f"{kernel}/{name}")
        else:
            steps.touch(f"{kernel}/{name}")
        syscalls.mount(source, f"{kernel}/{name}", "", Mount.BIND)
        os.close(fd)
    with open(f"{kernel}/apparmor_restrict_unprivileged_userns", "w", encoding="ascii") as file:
        file.write("1\n")


def read_only_control_groups() -> None:
    syscalls.make_read_only("/sys/fs/cgroup")


def read_only_sys() -> None:
    syscalls.make_read_only("/sys")


def read_only_root() -> None:
    """Of the root alone, not what is mounted below it."""
    syscalls.mount("", "/", "", Mount.BIND | Mount.RDONLY | _REMOUNT)


def dockers_mounts() -> None:
    """Make /sys and parts of /proc read-only, and mask others."""
    read_only_sys()
    here = os.getcwd()  # which a step of PID 1 need not keep
    for name in ("bus", "fs", "irq", "sys", "sysrq-trigger"):
        steps.Protect(f"/proc/{name}").perform()
    masked = (
        "acpi",
        "asound",
        "interrupts",
        "kcore",
        "keys",
        "latency_stats",
        "sched_debug",
        "scsi",
        "timer_list",
        "timer_stats",
    )
    for path in (
        *(f"/proc/{name}" for name in masked),
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ):
        steps.Mask(path).perform()
    os.chdir(here)


def _rules() -> pyseccomp.SyscallFilter:
    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.set_attr(pyseccomp.Attr.CTL_NNP, 0)
    return rules


def _load(rules: pyseccomp.SyscallFilter) -> None:
    if os.geteuid() != 0:
        privileges.no_new_privileges()
    rules.load()


def _refuse(rules: pyseccomp.SyscallFilter, code: int, names: tuple[str, ...]) -> None:
    import pyseccomp

    for name in names:
        # One that this libseccomp has heard of
        if (number := pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)) != -1:
            rules.add_rule(pyseccomp.ERRNO(code), number)


def dockers_filter(*, admin: bool = False) -> Callable[[], None]:
    """Docker's default profile, turned round: what it does not allow is refused."""

    def step() -> None:
        import pyseccomp

        rules = _rules()
        _refuse(rules, errno.EPERM, _FORBIDDEN)
        if not admin:
            _refuse(rules, errno.EPERM, _OF_ADMIN)
            _refuse(rules, errno.ENOSYS, ("clone3",))
            for flag in (1 << bit for bit in range(32) if _NEW_NAMESPACES >> bit & 1):
                rules.add_rule(
                    pyseccomp.ERRNO(errno.EPERM),
                    "clone",
                    pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag),
                )
        _load(rules)

    return step


def lacks(*names: str) -> Callable[[], None]:
    """A kernel without these system calls."""

    def step() -> None:
        rules = _rules()
        _refuse(rules, errno.ENOSYS, names)
        _load(rules)

    return step


def capabilities(kept: frozenset[int]) -> Callable[[], None]:
    """What root has after the next exec."""
    return lambda: privileges.drop_bounding_set(kept)


def _needed() -> list[str]:
    """The interpreter, and this project."""
    project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return sorted({sys.base_prefix, sys.prefix, project})


def readable_python() -> None:
    """What lies in a directory that is closed to others is shown to them."""
    needed = {path: os.open(path, os.O_PATH) for path in _needed()}
    closed = {
        next((each for each in _parents(path) if os.stat(each).st_mode & 0o005 != 0o005), "")
        for path in needed
    }
    for directory in closed - {""}:
        syscalls.mount("tmpfs", directory, "tmpfs", 0, "mode=0755")
    for path, fd in needed.items():
        if not os.path.exists(path):
            os.makedirs(path)
            syscalls.mount(f"/proc/self/fd/{fd}", path, "", Mount.BIND | Mount.REC)
        os.close(fd)


def ordinary_user() -> None:
    """Become one, with a Python."""
    if os.geteuid() != 0:
        return
    readable_python()
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


def _parents(path: str) -> list[str]:
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[:end]) for end in range(1, len(parts) + 1)]


# What stands between the process and its command.


def as_root_of_a_user_namespace(command: list[str]) -> list[str]:
    """As in rootless Podman."""
    return ["unshare", "--user", "--map-root-user", *command]


def without_user_namespaces(command: list[str]) -> list[str]:
    """In a user namespace that allows no further one."""
    shell = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell, "sh", *command]


def under_strace(*options: str) -> Callable[[list[str]], list[str]]:
    """With the kernel's answers changed, and no filter to be seen."""
    return lambda command: ["strace", "-f", "-qq", "-o", os.devnull, *options, *command]


def with_an_old_name(command: list[str]) -> list[str]:
    """The kernel says that it is a 2.6."""
    return ["setarch", "--uname-2.6", *command]


def nested(*options: str) -> Callable[[list[str]], list[str]]:
    """In an isolated test."""

    def within(command: list[str]) -> list[str]:
        os.environ[NESTED] = json.dumps(command)
        return [*PYTEST, "-q", "-s", "--isolate-all", *options, "outer.py"]

    return within


def as_it_is(command: list[str]) -> list[str]:
    """Nothing."""
    return command


PYTEST = [
    sys.executable,
    "-m",
    "pytest",
    "-p",
    "isolate",
    "-p",
    "no:cacheprovider",
    "-c",
    os.devnull,
    "--rootdir=.",
]
