"""What a sandbox used and what the kernel denied it, read from the files of its control groups.

``None`` always means: this kernel has no such file, or a test holds a lease on it. A figure is
never made up. What the files are called each version of control groups says
itself (``cgroup.hierarchy``).
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import TypeVar

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux.cgroup.files import READING, content, keyed, number
from pytest_isolate._linux.cgroup.hierarchy import Hierarchy

Number = TypeVar("Number", int, float)
Processor = tuple[float | None, float | None, float | None]


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
        """Tell what a further test in the same groups added.

        A peak that it did not exceed says nothing of it: ``None``.
        """
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


_MOST_PROCESSES = 32  # that are asked for what they hold
_PRIVATE = re.compile(rb"^Private_(?:Clean|Dirty): +(\d+) kB", re.MULTILINE)


def largest_process(group: str) -> tuple[str, int] | None:
    """Give the process of a memory group that holds most that it shares with nobody: its command's
    name, and bytes.

    Not its resident size: of a forked Python that is mostly its parent's. None where the kernel
    tells none.
    """
    found: list[tuple[int, str]] = []
    for pid in (content(f"{group}/cgroup.procs") or b"").split()[:_MOST_PROCESSES]:
        try:
            private = _PRIVATE.findall(content(f"/proc/{int(pid)}/smaps_rollup") or b"")
            name = content(f"/proc/{int(pid)}/comm")
        except (ProcessLookupError, PermissionError):
            # It has just ended, or is not ours to look into
            continue
        if name is None:  # gone while we looked, perhaps the one
            return None
        if private:
            found.append(
                (
                    sum(map(int, private)) << 10,
                    name.decode("utf-8", "backslashreplace").rstrip("\n"),
                )
            )
    return max(found)[::-1] if found else None


def hold(groups: dict[str, str], places: dict[str, Hierarchy]) -> tuple[int, ...]:
    """Open the files by which pytest enforces limits, for as long as the test lives.

    Of a file that somebody reads nobody gets the lease that keeps readers out (fcntl(2), F_WRLCK).
    Those that an earlier test leased, while it still runs, are left out. Raises
    ``StepFailedError``.
    """
    paths = [
        f"{group}/{file}"
        for name, group in groups.items()
        if places[name].counts_time == name
        for file in places[name].processor_files
    ]
    if "memory" in groups and not places["memory"].kills_whole_groups:
        paths.append(f"{groups['memory']}/{places['memory'].oom_counter}")
    opened: list[int] = []
    try:
        for path in paths:
            with Step("open", path), contextlib.suppress(BlockingIOError):
                opened.append(os.open(path, READING))
    except StepFailedError:
        for fd in opened:
            os.close(fd)
        raise
    return tuple(opened)


def is_empty(group: str, but: int | None = None) -> bool:
    """Whether no living process is in a group, or that one alone."""
    found = content(f"{group}/cgroup.procs")
    return not found or (but is not None and found == b"%d\n" % but)


def read(
    groups: dict[str, str], places: dict[str, Hierarchy], processor: Processor | None = None
) -> Counters:
    """Read everything that the groups of one sandbox, by controller, have to say; ``processor``
    where that was read before.
    """
    memory, pids = groups.get("memory"), groups.get("pids")
    cpu = processor_seconds(groups, places) if processor is None else processor
    disks = next((name for name in ("io", "blkio") if name in groups), None)
    io_read, io_write = (None, None) if disks is None else places[disks].disk_bytes(groups[disks])
    return Counters(
        memory_peak=number(f"{memory}/{places['memory'].memory_peak}") if memory else None,
        oom_kills=places["memory"].oom_kills(memory) if memory else None,
        pids_peak=number(f"{pids}/pids.peak") if pids else None,
        pids_denied=keyed(f"{pids}/pids.events", "max")[0] if pids else None,
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
    """Processor time of theirs in all, in user mode, in the kernel."""
    for name in ("cpuacct", "cpu"):
        if name in groups and places[name].counts_time == name:
            return places[name].processor(groups[name])
    return None, None, None
