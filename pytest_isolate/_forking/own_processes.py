"""Processes that pytest has when it forks a test: a shared fixture's server, say.

They are not the test's children.

Their numbers mean nothing inside, or somebody else. So pytest opens what the kernel says of each
before the fork, and in the child the objects of ``subprocess``, ``multiprocessing`` and ``asyncio``
that were made before it read that: a process is alive while it is. The kernel takes no signal from
inside of a sandbox for a process outside: that is refused in words, and no process that happens to
have the same number inside is ever signalled. The private names are those of Python 3.10 to 3.14;
where one is missing, nothing is done.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from pytest_isolate._errors import Step, StepFailedError

# Bound before a test can replace them.
_pread, _sleep, _monotonic = os.pread, time.sleep, time.monotonic
_EXIT_CODE = 52 - 3  # of proc(5)'s fields behind the name, the first of which is the third
_LONGEST_NAP = 0.05  # seconds between two looks, as of subprocess itself
_INSIDE = "_isolate_inside"  # an attribute of each Popen made behind the fork
# Exit status 255, which multiprocessing gives where the forkserver does not say one
_UNKNOWN = 0xFF00


class Children:
    """In pytest: its children. None on a kernel that does not list them."""

    def __init__(self) -> None:
        self.fd = -1  # of the list of the main thread's, which is all where no other thread is
        self._listed = True

    def pids(self) -> set[int]:
        """Return the processes that any of its threads started. Raises ``StepFailedError``."""
        with Step("read", "pytest's children in /proc/self/task"):
            if self.fd < 0 and self._listed:
                try:
                    self.fd = os.open(
                        f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC
                    )
                except FileNotFoundError:
                    self._listed = False
            return self._pids() if self._listed else set()

    def _pids(self) -> set[int]:
        found = set(_read_pids(self.fd))
        if threading.active_count() > 1:
            for thread in os.listdir("/proc/self/task"):
                # It has just ended: its children are another thread's
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    fd = os.open(f"/proc/self/task/{thread}/children", os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        found.update(_read_pids(fd))
                    finally:
                        os.close(fd)
        return found

    def close(self) -> None:
        """Let go of it."""
        if self.fd >= 0:
            os.close(self.fd)


def _read_pids(fd: int) -> Iterator[int]:
    # A page of them at most, some 700, as seq_file gives them
    return map(int, os.pread(fd, 1 << 20, 0).split())


def ended(pids: Iterable[int]) -> set[int]:
    """Which of pytest's children are over, and wait for somebody to ask for their status."""
    found = set()
    for pid in pids:
        # Somebody has just asked
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
            if file.read().rpartition(b") ")[2][:1] in b"ZX":
                found.add(pid)
    return found


class Stat(NamedTuple):
    """What the kernel says of a process."""

    fd: int  # /proc/PID/stat
    # Its status as of wait(2), where it was over before the fork; a user is not told it inside of a
    # user namespace
    ended: int | None


Stats = dict[int, Stat]


def stats(pids: Iterable[int]) -> Stats:
    """In pytest: how it stands with each of its children that is there."""
    found: Stats = {}
    try:
        for pid in pids:
            # Just reaped, by a thread
            with (
                Step("open", f"/proc/{pid}/stat"),
                contextlib.suppress(FileNotFoundError, ProcessLookupError),
            ):
                fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
                found[pid] = Stat(fd, _ended(fd))
    except StepFailedError:
        for stat in found.values():
            os.close(stat.fd)
        raise
    return found


def _ended(fd: int) -> int | None:
    """Status of a process, as of wait(2); None while it runs. 0, as ``subprocess`` has it, where
    nobody can say it any more.
    """
    try:
        fields = _pread(fd, 4096, 0).rpartition(b")")[2].split()
    except ProcessLookupError:  # reaped
        return 0
    return int(fields[_EXIT_CODE]) if fields[0] in {b"Z", b"X"} else None


class _Outside:
    """A process of pytest's, seen from inside."""

    def __init__(self, stats: Stats, pid: int, name: object) -> None:
        self._stat = stats.get(pid)
        self._pid, self._name = pid, name

    def status(self) -> int | None:
        """As of wait(2); None while it runs."""
        if self._stat is None:  # it was reaped before the fork
            return 0
        return _ended(self._stat.fd) if self._stat.ended is None else self._stat.ended

    def refuse(self) -> NoReturn:
        """No signal gets there."""
        said = (
            f"isolate: process {self._pid} ({self._name}) runs outside of this test's sandbox,"
            " where pytest started it, and gets no signal from inside: a test that signals it"
            " needs one of its own, as fixtures='fresh' starts for it"
        )
        raise PermissionError(errno.EPERM, said)


def adopt(stats: Stats) -> None:
    """In the child: have what was started before the fork answer for processes outside, and what is
    started from now on as ever.
    """
    answers = _Answers(stats)
    if all(
        hasattr(subprocess.Popen, name) for name in ("_execute_child", "_internal_poll", "_wait")
    ):
        _mark_own(subprocess.Popen)
        for name in ("_internal_poll", "_wait", "send_signal"):
            _divert(subprocess.Popen, name, lambda popen: popen, getattr(answers, name))
        transport = getattr(
            sys.modules.get("asyncio.base_subprocess"), "BaseSubprocessTransport", None
        )
        if hasattr(transport, "send_signal"):  # from 3.13 on it does not ask the Popen
            _divert(
                transport,
                "send_signal",
                lambda transport: getattr(transport, "_proc", None),
                answers.send_signal,
            )
    for process in getattr(sys.modules.get("multiprocessing.process"), "_children", ()):
        if hasattr(getattr(process, "_popen", None), "pid"):
            _answer_for_process(process, stats)


def _mark_own(cls: Any) -> None:  # noqa: ANN401 - its private method is no attribute to mypy
    method = cls._execute_child

    def _execute_child(self: object, *args: object, **kwargs: object) -> None:
        __tracebackhide__ = True  # where there is no such program
        setattr(self, _INSIDE, True)
        method(self, *args, **kwargs)

    cls._execute_child = _execute_child


def _divert(
    cls: Any,  # noqa: ANN401
    name: str,
    popen_of: Callable[[Any], Any],
    answer: Callable[..., object],
) -> None:
    method = getattr(cls, name)

    def diverted(self: object, *args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        popen = popen_of(self)
        return (
            method(self, *args, **kwargs)
            if popen is None or hasattr(popen, _INSIDE)
            else answer(popen, *args, **kwargs)
        )

    diverted.__name__, diverted.__doc__ = name, method.__doc__
    setattr(cls, name, diverted)


class _Answers:
    """What a ``subprocess.Popen`` from before the fork says."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def _internal_poll(self, popen: subprocess.Popen[Any], *_: object, **__: object) -> int | None:
        if (
            popen.returncode is None
            and (status := _Outside(self._stats, popen.pid, popen.args).status()) is not None
        ):
            popen.returncode = os.waitstatus_to_exitcode(status)
        return popen.returncode

    def _wait(self, popen: subprocess.Popen[Any], timeout: float | None) -> int:
        if not _ends(popen.poll, timeout):
            raise subprocess.TimeoutExpired(popen.args, timeout or 0.0)
        return popen.returncode

    def send_signal(self, popen: subprocess.Popen[Any], sig: int) -> None:
        del sig
        if popen.poll() is None:
            _Outside(self._stats, popen.pid, popen.args).refuse()


def _answer_for_process(process: Any, stats: Stats) -> None:  # noqa: ANN401 - of a module that may not be loaded
    """For a ``multiprocessing.Process``, which else fails an assertion: not a child of this
    process.
    """
    popen = process._popen
    outside = _Outside(stats, popen.pid, process.name)
    # Its child, which tells its end, and nothing but once, by a pipe
    forkserver = popen.pid not in stats

    def ended() -> int | None:
        if not forkserver:
            return outside.status()
        look = select.poll()
        look.register(popen.sentinel, select.POLLIN)
        return _UNKNOWN if look.poll(0) else None

    def poll(flag: int = os.WNOHANG) -> int | None:
        del flag
        if popen.returncode is None and (status := ended()) is not None:
            popen.returncode = os.waitstatus_to_exitcode(status)
        code: int | None = popen.returncode
        return code

    def wait(timeout: float | None = None) -> int | None:
        _ends(poll, timeout)
        return poll()

    def send(number: int) -> None:
        del number
        if poll() is None:
            outside.refuse()

    process._parent_pid = os.getpid()
    popen.poll, popen.wait, popen._send_signal = poll, wait, send


def _ends(poll: Callable[[], int | None], timeout: float | None) -> bool:
    """Whether a process ends in time.

    Looked for as ``subprocess`` does: it is nobody's child that could be waited for.
    """
    until, nap = None if timeout is None else _monotonic() + timeout, 0.0005
    while poll() is None:
        left = _LONGEST_NAP if until is None else until - _monotonic()
        if left <= 0:
            return False
        nap = min(nap * 2, left, _LONGEST_NAP)
        _sleep(nap)
    return True
