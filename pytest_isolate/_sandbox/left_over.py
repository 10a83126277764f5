"""Who is still alive in a sandbox, and a signal to somebody in there: by its own /proc, whose
numbers mean nobody outside.

Where it has none of its own the machine's is looked at, for those whom somebody names who knows
that they are in there.

Imported by the builder: only cheap modules of the standard library here.
"""

from __future__ import annotations

import errno
import os
import time

from pytest_isolate._linux import signals
from pytest_isolate._linux.cgroup.files import READING
from pytest_isolate._sandbox.requests import Processes

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

GRACE = 0.1  # seconds that a process which is about to end has before it counts as left behind
# Seconds, of which one that wants a processor and gets none has as many as it needs to run for a
# GRACE
LONGEST_GRACE = 2.0
_LOOK_AGAIN, _SOON = GRACE / 10, GRACE / 100
_TICK = 1 / os.sysconf("SC_CLK_TCK")
# What multiprocessing and joblib start once, for as long as their interpreter lives: a tracker of
# resources, which the end of its last user's pipe ends, and loky's pool, which the next Parallel()
# takes; and ours, which captures packets. By (option, beginning of its value) of a Python's
# command. A test can call a process of its own so: then nobody names it, and it is killed as all
# are.
_HELPERS = (
    ("-c", "from multiprocessing.resource_tracker import main"),
    ("-c", "from loky.backend.resource_tracker import main"),
    ("-c", "from joblib.externals.loky.backend.resource_tracker import main"),
    ("-c", "# pytest-isolate captures"),
    ("-m", "loky.backend.popen_loky_posix"),
    ("-m", "joblib.externals.loky.backend.popen_loky_posix"),
)
#: What the command of the process begins with that keeps a person's shell in a sandbox, and is the
#: child of one outside, which nobody in there can be.
VISITOR = "# pytest-isolate lets a person in"
_LONGEST_COMMAND = 200  # characters
_MOST_LISTED = 50


def _read(directory: int, name: str) -> str:
    with open(os.open(name, READING, dir_fd=directory), "rb") as file:
        return os.fsdecode(file.read())


# What is believed of one on whose file in /proc somebody in there holds a lease: it is there
_LEASED = f"0 (its /proc is leased) S{' 0' * 40}"


class _Process:
    """What /proc says of one process."""

    def __init__(self, pid: int, stat: str, arguments: list[str]) -> None:
        fields = stat[stat.rindex(")") + 2 :].split()  # from the third of proc(5) on
        comm = stat[stat.index("(") + 1 : stat.rindex(")")]
        self.pid, self.parent = pid, int(fields[1])
        self.command = (" ".join(arguments).strip() or f"[{comm}]")[:_LONGEST_COMMAND]
        self.dead = fields[0] in "ZX"
        self.wants_processor = fields[0] in "RD"
        self.used = (int(fields[11]) + int(fields[12])) * _TICK  # seconds of processor time
        self.born = fields[19]
        self.is_visitor = not self.parent and any(each.startswith(VISITOR) for each in arguments)
        self.is_helper = any(
            option == arguments[at] and arguments[at + 1].startswith(value)
            for option, value in _HELPERS
            for at in range(1, len(arguments) - 1)
        )


class Question:
    """Who is alive besides PID 1 and counts, after a grace in which every death is waited for; and
    whether really nobody is.

    One that sleeps when the grace is over stays. One that runs, or would if it were its turn, may
    be about to end on a machine that is
    busy: it has its grace in time of a processor.
    """

    def __init__(self, proc: int, names: Callable[[], Iterable[str]] | None = None) -> None:
        self._proc = proc
        self._names = names or (lambda: _but_first(proc))
        self._begin = time.monotonic()
        self._first: dict[tuple[int, str], float] = {}  # what each had used when we first saw it

    def look(self) -> tuple[Processes | None, float]:
        """Look once: the answer, or None and in how many seconds to look again."""
        found = list(_processes(self._proc, self._names()))
        for each in found:
            self._first.setdefault((each.pid, each.born), each.used)
        waited = time.monotonic() - self._begin
        ending = any(
            each.wants_processor and each.used - self._first[each.pid, each.born] < GRACE
            for each in found
        )
        if found and waited < (LONGEST_GRACE if ending else GRACE):
            # Most of those who are about to end do so at once
            return None, min(waited + _SOON, _LOOK_AGAIN)
        visitors = _visitors(found)
        left = [each for each in found if not each.is_helper and each.pid not in visitors]
        listed = tuple(
            field for each in left[:_MOST_LISTED] for field in (str(each.pid), each.command)
        )
        return Processes(len(left), not found, listed), 0.0


def _visitors(found: list[_Process]) -> set[int]:
    """Give those who came in with a person's shell: they are nothing that the test has left."""
    visitors = {each.pid for each in found if each.is_visitor}
    while more := {each.pid for each in found if each.parent in visitors} - visitors:
        visitors |= more
    return visitors


def send_signal(proc: int, pid: int, number: int) -> None:
    """Send a signal to one of them, but never to PID 1.

    Whatever the test said its pid was, it cannot aim outside.
    """
    if pid <= 1:
        return
    try:
        fd = os.open(str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        # It ended meanwhile, or a test of a group said that it is a process that cannot be, which
        # pytest sees by itself
        return
    try:
        signals.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


def _but_first(proc: int) -> Iterator[str]:
    return (name for name in os.listdir(proc) if name.isdecimal() and name != "1")


def _processes(proc: int, names: Iterable[str]) -> Iterator[_Process]:
    for name in names:
        try:
            try:
                said = _read(proc, f"{name}/stat"), _read(proc, f"{name}/cmdline").split("\0")
            except BlockingIOError:
                said = _LEASED, []
            process = _Process(int(name), *said)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ESRCH}:
                raise
            continue  # it ended between the two looks
        if not process.dead:
            yield process
