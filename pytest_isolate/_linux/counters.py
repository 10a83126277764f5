"""What a sandbox used and what the kernel denied it, read from the files of its control groups.

``None`` always means: this kernel has no such file. A figure is never made up.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TypeVar

from pytest_isolate._linux.cgroup import Hierarchy

Number = TypeVar("Number", int, float)
Processor = tuple[float | None, float | None, float | None]
_NANOSECOND, _MICROSECOND = 1e-9, 1e-6


@dataclass(frozen=True)
class Counters:
    """One reading. Bytes, seconds, counts since the group was made."""

    memory_peak: int | None = None
    oom_kills: int | None = None
    pids_peak: int | None = None
    pids_denied: int | None = None
    cpu_seconds: float | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
    io_read: int | None = None
    io_write: int | None = None

    def since(self, before: Counters) -> Counters:
        """What a further test in the same groups added. A peak that it did not exceed says nothing of it: ``None``."""
        return Counters(
            _if_above(self.memory_peak, before.memory_peak),
            _difference(self.oom_kills, before.oom_kills),
            _if_above(self.pids_peak, before.pids_peak),
            _difference(self.pids_denied, before.pids_denied),
            _difference(self.cpu_seconds, before.cpu_seconds),
            _difference(self.cpu_user_seconds, before.cpu_user_seconds),
            _difference(self.cpu_system_seconds, before.cpu_system_seconds),
            _difference(self.io_read, before.io_read),
            _difference(self.io_write, before.io_write),
        )


def _if_above(now: int | None, before: int | None) -> int | None:
    return now if now is not None and (before is None or now > before) else None


def _difference(now: Number | None, before: Number | None) -> Number | None:
    return None if now is None else now - (before or 0)


_LARGEST = 1 << 12  # bytes of a file
_LARGEST_OF_DISKS = 1 << 16  # some lines a disk


def _content(path: str, largest: int = _LARGEST) -> bytes | None:
    """A whole file; None if this kernel has none. Ten are read for every test, and a file object costs as much as the kernel's part."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, largest)
    finally:
        os.close(fd)


def _number(path: str) -> int | None:
    content = _content(path)
    return None if content is None else int(content)


def _keyed(path: str, *keys: str) -> list[int | None]:
    """Values of a flat keyed file such as ``memory.events`` (cgroup-v2.rst, "Format")."""
    words = (_content(path) or b"").decode("ascii").split()
    found = dict(zip(words[::2], words[1::2], strict=False))
    return [int(found[key]) if key in found else None for key in keys]


def oom_file(group: str, version: int) -> str:
    """The file of a memory group that counts the processes which the kernel killed for its limit: the one proof of it."""
    return f"{group}/{'memory.events.local' if version == 2 else 'memory.oom_control'}"


def oom_kills(group: str, version: int) -> int | None:
    """How many were killed."""
    return _keyed(oom_file(group, version), "oom_kill")[0]


def memory_now(group: str, version: int) -> int | None:
    """Bytes charged to a memory group now."""
    return _number(f"{group}/{'memory.current' if version == 2 else 'memory.usage_in_bytes'}")


_MOST_PROCESSES = 32  # that are asked for what they hold
_PRIVATE = re.compile(rb"^Private_(?:Clean|Dirty): +(\d+) kB", re.MULTILINE)


def largest_process(group: str) -> tuple[str, int] | None:
    """The process of a memory group that holds most that it shares with nobody: its command's name, and bytes.

    Not its resident size: of a forked Python that is mostly its parent's. None where the kernel tells none.
    """
    found: list[tuple[int, str]] = []
    for pid in (_content(f"{group}/cgroup.procs") or b"").split()[:_MOST_PROCESSES]:
        try:
            private = _PRIVATE.findall(_content(f"/proc/{int(pid)}/smaps_rollup") or b"")
            name = _content(f"/proc/{int(pid)}/comm")
        except (ProcessLookupError, PermissionError):  # it has just ended, or is not ours to look into
            continue
        if name is None:  # gone while we looked, perhaps the one
            return None
        if private:
            found.append((sum(map(int, private)) << 10, name.decode("utf-8", "backslashreplace").rstrip("\n")))
    return max(found)[::-1] if found else None


def is_empty(group: str, but: int | None = None) -> bool:
    """Whether no living process is in a group, or that one alone."""
    content = _content(f"{group}/cgroup.procs")
    return not content or (but is not None and content == b"%d\n" % but)


def read(groups: dict[str, str], places: dict[str, Hierarchy], processor: Processor | None = None) -> Counters:
    """Read everything that the groups of one sandbox, by controller, have to say; ``processor`` where that was read before."""
    memory, pids = groups.get("memory"), groups.get("pids")
    version = places["memory"].version if memory else 0
    cpu = processor_seconds(groups, places) if processor is None else processor
    io_read, io_write = _io(groups)
    return Counters(
        memory_peak=_number(f"{memory}/{'memory.peak' if version == 2 else 'memory.max_usage_in_bytes'}") if memory else None,
        oom_kills=oom_kills(memory, version) if memory else None,
        pids_peak=_number(f"{pids}/pids.peak") if pids else None,
        pids_denied=_keyed(f"{pids}/pids.events", "max")[0] if pids else None,
        cpu_seconds=cpu[0],
        cpu_user_seconds=cpu[1],
        cpu_system_seconds=cpu[2],
        io_read=io_read,
        io_write=io_write,
    )


def cpu_seconds(groups: dict[str, str], places: dict[str, Hierarchy]) -> float | None:
    """Processor time of all processes that are or were in the groups."""
    return processor_seconds(groups, places)[0]


def processor_seconds(groups: dict[str, str], places: dict[str, Hierarchy]) -> Processor:
    """The same, in all, in user mode, in the kernel."""
    if "cpuacct" in groups:  # v1 only; v2 counts in cpu.stat
        numbers = [_number(f"{groups['cpuacct']}/cpuacct.usage{kind}") for kind in ("", "_user", "_sys")]
        unit = _NANOSECOND
    elif "cpu" in groups and places["cpu"].version == 2:
        numbers = _keyed(f"{groups['cpu']}/cpu.stat", "usage_usec", "user_usec", "system_usec")
        unit = _MICROSECOND
    else:
        return None, None, None
    used, user, system = (None if number is None else number * unit for number in numbers)
    return used, user, system


def _io(groups: dict[str, str]) -> tuple[int | None, int | None]:
    """Bytes that block devices read and wrote for the groups: blkio.throttle.io_service_bytes, or v2's io.stat."""
    read = write = 0
    if "io" in groups:
        for line in (_content(f"{groups['io']}/io.stat", _LARGEST_OF_DISKS) or b"").decode("ascii").splitlines():
            values = dict(pair.split("=") for pair in line.split()[1:])
            read += int(values.get("rbytes", 0))
            write += int(values.get("wbytes", 0))
    elif "blkio" in groups:
        for line in (_content(f"{groups['blkio']}/blkio.throttle.io_service_bytes", _LARGEST_OF_DISKS) or b"").decode("ascii").splitlines():
            words = line.split()  # "254:0 Read 4096", and a last line with a total
            read += int(words[2]) if words[1] == "Read" else 0
            write += int(words[2]) if words[1] == "Write" else 0
    else:
        return None, None
    return read, write
