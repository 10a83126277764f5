"""What the kernel wrote about an out-of-memory kill: the one place that says who was chosen and who
held what.

``/dev/kmsg`` (Documentation/ABI/testing/dev-kmsg) gives one record a read. For a control group at
its limit the kernel writes a table of the group's processes (``vm.oom_dump_tasks``), a line with
the group and the victim, and when it has counted and killed one more line with the victim: whoever
reads as soon as the kill is counted may come before that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_PAGE = os.sysconf("SC_PAGE_SIZE")
_RECORD = 8192  # bytes; the kernel's longest
_MOST_RECORDS = 20_000
# Newer kernels have more columns
_ROW = re.compile(r"\[ *(\d{1,10})\] +\d+ +\d+ +\d+ +(\d{1,15})(?: +-?\d{1,20}){3,8} +(\S.{0,15})")
_CHOSEN = re.compile(r"oom-kill:.*,pid=(\d{1,10}),uid=\d+")  # a task's name may have commas in it
_KILLED = re.compile(r"Memory cgroup out of memory: Killed process (\d{1,10}) \((.{0,15})\)")


@dataclass(frozen=True)
class Task:
    """A process when the limit was hit: pid of the machine, name as of comm(5), resident bytes."""

    pid: int
    name: str
    resident: int


@dataclass(frozen=True)
class Kill:
    """One decision: who was killed, and who was there, the largest first."""

    victim: int
    tasks: tuple[Task, ...]


class KernelLog:
    """The log from now on."""

    def __init__(self) -> None:
        """Open it.

        Raises ``OSError`` where this caller may not read it (``kernel.dmesg_restrict``), or a
        container has none.
        """
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self.fd, 0, os.SEEK_END)

    def first_kill(self, group: str) -> Kill | None:
        """Give the first kill in a control group since the last question, if the kernel wrote it
        down (it does not when there are many).
        """
        return parse(self._records(), group)

    def _records(self) -> Iterator[str]:
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(self.fd, _RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:
                # Records were overwritten before we came: the next read goes on behind them
                continue
            yield record.decode("utf-8", "replace").partition(";")[2].split("\n")[0]

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def parse(records: Iterable[str], group: str) -> Kill | None:
    """Find the first kill in ``group``, a directory of the cgroup file system, whose last two parts
    are a run's and a sandbox's.
    """
    name = "/" + "/".join(group.rstrip("/").split("/")[-2:])
    tasks: list[Task] = []
    ours, found = False, None
    for record in records:
        if record.startswith("Tasks state"):
            tasks = []
        elif (row := _ROW.fullmatch(record)) is not None:
            tasks.append(Task(int(row[1]), _printable(row[3]), int(row[2]) * _PAGE))
        elif record.startswith("oom-kill:"):
            ours = record.partition("oom_memcg=")[2].partition(",")[0].endswith(name)
            if ours and found is None and (chosen := _CHOSEN.fullmatch(record)) is not None:
                found = _kill(chosen[1], tasks)
        elif (killed := _KILLED.match(record)) is not None:
            if ours and found is None:
                found = _kill(killed[1], tasks)
            ours = False
    return found


def _kill(victim: str, tasks: list[Task]) -> Kill:
    return Kill(int(victim), tuple(sorted(tasks, key=lambda task: -task.resident)))


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)
