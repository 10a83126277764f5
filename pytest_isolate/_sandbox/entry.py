"""One warm fork of pytest into a ready sandbox.

As root the fork happens with pytest's *future children's* pid namespace set to the sandbox's, so
that the test is pytest's own child, pid 2 in there. Without root only a process that joined the
user namespace may do that, and pytest must stay outside: there a first fork, the go-between, joins,
forks the test and ends as the test ends. The child joins everything else by itself; whatever of
that fails is a broken sandbox, told by a ``broken`` frame.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import privileges, syscalls, tree
from pytest_isolate._linux.cgroup.hierarchy import Hierarchy
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import confine, inherited
from pytest_isolate._sandbox.confine import Confinement, Wall
from pytest_isolate._sandbox.inherited import Inheritance

_getrusage = resource.getrusage  # bound before a test can replace it
_STDERR = 2
_CLEAN = frozenset({"PATH", "HOME", "LANG", "TERM"})


@dataclass(frozen=True)
class Identity:
    """Who the test is, as numbers of its own user namespace.

    ``None`` for the ids: as the caller.
    """

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    drop_capabilities: bool = False
    keep: frozenset[int] = frozenset()  # of them
    given: tuple[str, ...] = ()  # paths that a test under another user must own: its tmp_path base
    # Directories above it that such a user may not pass on the machine
    opened: tuple[str, ...] = ()


@dataclass(frozen=True)
class MemoryLimit:
    """A limit that the child sets itself: only it knows when what it has is the sandbox's cost and
    the test begins.

    Opened before the fork, while the group's files are in sight and writable.
    """

    usage: int
    limits: tuple[int, ...]
    above: int  # bytes that the test may use on top of the present usage

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of it that is open."""
        return (self.usage, *self.limits)

    @classmethod
    def open(cls, group: str, place: Hierarchy, above: int) -> MemoryLimit:
        """Open the files of a memory group. Raises ``StepFailedError``."""
        opened = []
        for name, flags in [
            (place.memory_usage, os.O_RDONLY),
            *((limit, os.O_WRONLY) for limit in place.memory_limits),
        ]:
            path = f"{group}/{name.removesuffix('?')}"
            try:
                opened.append(os.open(path, flags | os.O_CLOEXEC))
            except OSError as error:
                if error.errno == errno.ENOENT and name.endswith("?"):
                    continue
                raise StepFailedError("open", path, error.errno or 0) from error
        return cls(opened[0], tuple(opened[1:]), above)

    def apply(self) -> int:
        """Set the limit and let go of the files. Returns the present usage in bytes."""
        base = int(os.read(self.usage, 32))
        for fd in self.limits:
            os.write(fd, str(base + self.above).encode())
        for fd in self.descriptors:
            os.close(fd)
        return base


@dataclass(frozen=True)
class MemoryLooked:
    """A limit that looks from outside enforce: the child only knows what it holds before the test
    begins.
    """

    above: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """None is needed."""
        return ()

    def apply(self) -> int:
        """Return the present usage in bytes."""
        return tree.own_memory()


@dataclass(frozen=True)
class Entry:
    """All that the child does between its fork and the first line of the test."""

    frames: int
    pidfd: int
    namespaces: int
    joins: tuple[int, ...]
    cwd: str
    replace: dict[int, int]  # descriptor number -> descriptor to put there
    keep: frozenset[int]
    identity: Identity
    inheritance: Inheritance = field(default_factory=lambda: Inheritance([]))
    files: int | None = None
    memory: MemoryLimit | MemoryLooked | None = None
    # Makes what the sandbox's network has besides a loopback; raises StepFailedError
    network: Callable[[], None] | None = None
    environment: dict[str, str | None] = field(default_factory=dict)
    clean_environment: bool = False
    wall: Wall | None = None  # where it has no file system of its own
    confinement: Confinement | None = None  # of profile="strict"
    keeps_terminal: bool = False  # for a debugger: the test stays in pytest's session


@dataclass(frozen=True)
class Before:
    """What was charged to the sandbox's control groups before the test's own code: what the sandbox
    itself costs.
    """

    memory: int  # bytes
    # Seconds that this process had used when its groups began to count, in user mode and in the
    # kernel
    joined: tuple[float, float]

    def processor(self) -> tuple[float, float]:
        """Seconds of processor time up to now, in user mode and in the kernel: while this process
        is the only one in there.
        """
        user, system = processor_time()
        return user - self.joined[0], system - self.joined[1]


def processor_time() -> tuple[float, float]:
    """Seconds of this process, in user mode and in the kernel.

    Asking has the kernel account for what the process used since the last tick, up to this moment
    and in its control groups too.
    """
    used = _getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime


def become(entry: Entry) -> Before:
    """In the child: join the sandbox, let go of pytest's things, be the asked user.

    Raises ``StepFailedError``.
    """
    joined = processor_time()
    with Step("join", "the sandbox's control groups"):
        for join in entry.joins:
            os.write(join, b"0")
    # Else the go-between did it
    if (rest := entry.namespaces & ~Clone.NEWPID) and not entry.namespaces & Clone.NEWUSER:
        with Step("setns into", "the sandbox's namespaces"):
            syscalls.setns(entry.pidfd, rest)
    if not entry.keeps_terminal:
        with Step("setsid in", "the test's process"):  # no controlling terminal
            os.setsid()
    with Step("chdir to", entry.cwd):
        os.chdir(entry.cwd)
        if os.getcwd() != entry.cwd:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    with Step("put", "the output files in place"):
        for number, source in entry.replace.items():
            os.dup2(source, number, inheritable=number <= _STDERR)
    ours = entry.memory.descriptors if entry.memory is not None else ()
    close_all_but(
        {*entry.keep, *entry.replace, *range(_STDERR + 1), *ours, *entry.inheritance.numbers}
    )
    with Step("open anew", "what pytest has open"):
        inherited.take_over(entry.inheritance)
    if entry.network is not None:
        entry.network()
    with Step("give up", "capabilities"):
        _give_up_capabilities(entry.confinement, entry.namespaces)
    with Step("become", f"user {entry.identity.uid}"):
        _take_identity(entry.identity)
    if entry.files is not None:
        with Step("limit", f"open files to {entry.files}"):
            _limit_files(entry.files)
    _set_environment(entry)
    _close_walls(entry)
    if entry.memory is None:
        return Before(0, joined)
    with Step("limit", f"memory to {entry.memory.above} bytes more"):
        return Before(entry.memory.apply(), joined)


def take_rights(identity: Identity, confinement: Confinement | None, namespaces: int) -> None:
    """Have the rights of a test, and no others, in a process that is in its sandbox.

    Raises ``OSError``.
    """
    _give_up_capabilities(confinement, namespaces)
    _take_identity(identity)
    if confinement is not None:
        confine.enclose(confinement)


def _give_up_capabilities(confinement: Confinement | None, namespaces: int) -> None:
    """Make some unreachable, for which one must still be root: all of a strict test's; in the
    machine's own user namespace those that act on the machine.
    """
    if confinement is not None:
        confine.bound(confinement)
    elif not namespaces & Clone.NEWUSER and os.geteuid() == 0:
        confine.spare_the_machine()


def _close_walls(entry: Entry) -> None:
    if entry.wall is not None:
        with Step("close", "Landlock's wall around the test"):
            confine.close_wall(entry.wall)
    if entry.confinement is not None:
        with Step("confine", "the test by profile='strict'"):
            confine.enclose(entry.confinement)


def _limit_files(most: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except ValueError as error:
        # Python's word for EPERM: above what this user, or any process of this machine, may have
        raise OSError(errno.EPERM, os.strerror(errno.EPERM)) from error


def close_all_but(keep: set[int]) -> None:
    """Close every other descriptor of this process."""
    low = 0
    for fd in sorted(keep):
        if low < fd:  # os.closerange(0, 0) closes everything: its last descriptor is -1, unsigned
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, max(low + 1, os.sysconf("SC_OPEN_MAX")))


def _take_identity(identity: Identity) -> None:
    if identity.drop_capabilities:
        privileges.drop_capabilities(identity.keep)
    if identity.uid is None or identity.gid is None:
        return
    for path in identity.opened:
        os.chmod(path, os.stat(path).st_mode & 0o777 | 0o001)
    for path in identity.given:
        os.chown(path, identity.uid, identity.gid)
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    privileges.set_dumpable()


def environment_of(
    before: Mapping[str, str], changes: Mapping[str, str | None], *, clean: bool
) -> dict[str, str]:
    """Give the environment that a test begins with where its pytest has the one of ``before``."""
    kept = (name for name in before if not clean or name in _CLEAN or name.startswith("PYTEST"))
    found: dict[str, str | None] = {**{name: before[name] for name in kept}, **changes}
    return {name: value for name, value in found.items() if value is not None}


def _set_environment(entry: Entry) -> None:
    wanted = environment_of(os.environ, entry.environment, clean=entry.clean_environment)
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name in entry.environment.keys() & wanted.keys():
        os.environ[name] = wanted[name]
    if entry.clean_environment or None in entry.environment.values():
        for name, value in list(os.environ.items()):
            os.environ[name] = value  # setenv(3) copies it to where it is not overwritten
        with Step("overwrite", "what /proc/self/environ shows"):
            syscalls.overwrite_first_environment(
                [name + b"=" + value for name, value in os.environb.items()]
            )
