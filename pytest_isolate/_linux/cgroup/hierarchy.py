"""A hierarchy of control groups: one interface, and what cgroup v1 and v2 do by it, each in a class
of its own.

Imported by the builder: cheap modules only.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod  # which every Python has imported at its start

from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux.cgroup.files import content, keyed, number, read, write

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Sequence

    # Seconds in all, in user mode, in the kernel
    Processor = tuple[float | None, float | None, float | None]
    # File -> what to write; with a question mark behind it: a file that not every kernel has
    Settings = dict[str, str]

LEAF = "pytest-isolate.leaf"
# A process that forks while we move it out of an inner group is seen at the next pass
_RETRIES = 50
_QUOTA_PERIOD = 100_000  # microseconds, the kernel's default
_NANOSECOND, _MICROSECOND = 1e-9, 1e-6
_LARGEST_OF_DISKS = 1 << 16  # bytes: some lines a disk


class Hierarchy(ABC):
    """Where some controllers of this process are: this process's own directory, and what the
    version's files are called.
    """

    version = 0
    memory_usage = memory_peak = oom_counter = ""
    #: Files that limit memory; what has a question mark behind it not every kernel has.
    memory_limits: tuple[str, ...] = ()
    #: Whether the kernel kills all of a group that is out of memory, and not one process of it.
    kills_whole_groups = False
    #: The controller that counts processor time, and the files in which it does.
    counts_time = ""
    processor_files: tuple[str, ...] = ()

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, Hierarchy)
            and self.directory == other.directory
        )

    def __hash__(self) -> int:
        return hash((self.version, self.directory))

    def __repr__(self) -> str:
        return f"V{self.version}({self.directory!r})"

    def settings(
        self, controller: str, *, memory: int | None, pids: int | None, cpu: float | None,
        read: int | None, write: int | None,
        disks: Sequence[str],
    ) -> Settings | None:  # fmt: skip
        """Tell what to write into a new group for these limits (bytes, processes, cores, bytes a
        second); None: no group is needed.
        """
        if controller == "memory":
            return {} if memory is None else self._memory_settings(memory)
        if controller == "pids":
            return {} if pids is None else {"pids.max": str(pids)}
        if controller in {"io", "blkio"}:
            return self._disk_settings(
                [
                    (name, rate)
                    for name, rate in (("read", read), ("write", write))
                    if rate is not None
                ],
                disks,
            )
        if controller == "cpu":
            return self._cpu_settings(None if cpu is None else int(cpu * _QUOTA_PERIOD))
        return {}

    @abstractmethod
    def _memory_settings(self, limit: int) -> Settings:
        """Besides the limit itself, which the child sets."""

    @abstractmethod
    def _disk_settings(self, rates: list[tuple[str, int]], disks: Sequence[str]) -> Settings:
        """One line for each block device: which of them a file is on nobody can know beforehand."""

    @abstractmethod
    def _cpu_settings(self, quota: int | None) -> Settings | None:
        """``quota``: microseconds of each period."""

    def oom_kills(self, group: str) -> int | None:
        """How many processes of a memory group the kernel killed for its limit: the one proof of
        it.
        """
        return keyed(f"{group}/{self.oom_counter}", "oom_kill")[0]

    @abstractmethod
    def processor(self, group: str) -> Processor:
        """Processor time of all that are or were in a group of the controller ``counts_time``."""

    @abstractmethod
    def disk_bytes(self, group: str) -> tuple[int, int]:
        """Bytes that block devices read and wrote for a group."""

    def needed(self) -> list[str]:
        """Tell what this process must be able to write to make groups."""
        return [self.directory, os.path.join(self.directory, "cgroup.procs")]

    def enable(self, directory: str, controllers: list[str]) -> None:  # noqa: B027 - v1 need not
        """Have groups below ``directory`` be of these controllers."""

    def leave(self) -> None:  # noqa: B027 - nothing is moved on v1
        """Put back what was moved to make groups, when no run stands on it any more."""


class V1(Hierarchy):
    """A hierarchy of cgroup v1: few controllers, often one."""

    version = 1
    memory_usage, memory_peak = "memory.usage_in_bytes", "memory.max_usage_in_bytes"
    oom_counter = "memory.oom_control"
    # A kernel that does not account for swap lacks the second
    memory_limits = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes?")
    counts_time = "cpuacct"
    processor_files = ("cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys")

    def _memory_settings(self, limit: int) -> Settings:
        # Buffers of TCP are counted by themselves
        return {"memory.kmem.tcp.limit_in_bytes?": str(limit)}

    def _disk_settings(self, rates: list[tuple[str, int]], disks: Sequence[str]) -> Settings:
        return {
            f"blkio.throttle.{name}_bps_device": "\n".join(f"{disk} {rate}" for disk in disks)
            for name, rate in rates
        }

    def _cpu_settings(self, quota: int | None) -> Settings | None:
        return None if quota is None else {"cpu.cfs_quota_us": str(quota)}

    def processor(self, group: str) -> Processor:
        """As ``cpuacct`` counts it."""
        used, user, system = (number(f"{group}/{name}") for name in self.processor_files)
        return _scaled(used, _NANOSECOND), _scaled(user, _NANOSECOND), _scaled(system, _NANOSECOND)

    def disk_bytes(self, group: str) -> tuple[int, int]:
        """From lines such as "254:0 Read 4096", the last of them a total."""
        total = {"Read": 0, "Write": 0}
        for line in (
            (content(f"{group}/blkio.throttle.io_service_bytes", _LARGEST_OF_DISKS) or b"")
            .decode("ascii")
            .splitlines()
        ):
            words = line.split()
            if words[1] in total:
                total[words[1]] += int(words[2])
        return total["Read"], total["Write"]


class V2(Hierarchy):
    """The unified hierarchy. Its inner groups have no processes of their own."""

    version = 2
    memory_usage, memory_peak, oom_counter = "memory.current", "memory.peak", "memory.events.local"
    memory_limits = ("memory.max",)
    kills_whole_groups = True  # by memory.oom.group
    counts_time = "cpu"
    processor_files = ("cpu.stat",)

    def _memory_settings(self, limit: int) -> Settings:
        del limit
        return {"memory.oom.group": "1", "memory.swap.max?": "0"}

    def _disk_settings(self, rates: list[tuple[str, int]], disks: Sequence[str]) -> Settings:
        each = " ".join(f"{name[0]}bps={rate}" for name, rate in rates)
        return {"io.max": "\n".join(f"{disk} {each}" for disk in disks)} if rates else {}

    def _cpu_settings(self, quota: int | None) -> Settings | None:
        return {} if quota is None else {"cpu.max": f"{quota} {_QUOTA_PERIOD}"}

    def processor(self, group: str) -> Processor:
        """As ``cpu.stat`` has it."""
        used, user, system = keyed(f"{group}/cpu.stat", "usage_usec", "user_usec", "system_usec")
        return (
            _scaled(used, _MICROSECOND),
            _scaled(user, _MICROSECOND),
            _scaled(system, _MICROSECOND),
        )

    def disk_bytes(self, group: str) -> tuple[int, int]:
        """From lines such as "254:0 rbytes=4096 wbytes=0 ..."."""
        read_ = written = 0
        for line in (
            (content(f"{group}/io.stat", _LARGEST_OF_DISKS) or b"").decode("ascii").splitlines()
        ):
            values = dict(pair.split("=") for pair in line.split()[1:])
            read_ += int(values.get("rbytes", 0))
            written += int(values.get("wbytes", 0))
        return read_, written

    def needed(self) -> list[str]:
        """Add the file by which controllers are handed down."""
        # Every group but the root has this file
        is_root = not os.path.exists(os.path.join(self.directory, "cgroup.type"))
        return [*super().needed(), *([] if is_root else [self._control(self.directory)])]

    def enable(self, directory: str, controllers: list[str]) -> None:
        """Hand controllers down, moving processes to a leaf where they are in the way.

        Raises ``StepFailedError``.
        """
        control = self._control(directory)
        for name in controllers:
            for _ in range(_RETRIES):
                if name in read(control).split():
                    break
                try:
                    write(control, f"+{name}")
                except StepFailedError as error:
                    # EBUSY: the group still has processes of its own
                    if error.errno != errno.EBUSY:
                        raise
                    _move_processes(directory, os.path.join(directory, LEAF))
            else:
                raise StepFailedError(f"write '+{name}' to", control, errno.EBUSY)

    def leave(self) -> None:
        """Move the processes back from the leaf. It is the caller's to remove."""
        leaf, control = os.path.join(self.directory, LEAF), self._control(self.directory)
        if os.path.isdir(leaf):
            write(control, " ".join(f"-{name}" for name in read(control).split()))
            _move_processes(leaf, self.directory)

    @staticmethod
    def _control(directory: str) -> str:
        return os.path.join(directory, "cgroup.subtree_control")


_VERSIONS: dict[int, type[Hierarchy]] = {1: V1, 2: V2}


def of(version: int, directory: str) -> Hierarchy:
    """One of a version."""
    return _VERSIONS[version](directory)


def _scaled(count: int | None, unit: float) -> float | None:
    return None if count is None else count * unit


def _move_processes(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    for pid in read(os.path.join(source, "cgroup.procs")).split():
        try:
            write(os.path.join(target, "cgroup.procs"), pid)
        except StepFailedError as error:
            if error.errno != errno.ESRCH:
                raise
