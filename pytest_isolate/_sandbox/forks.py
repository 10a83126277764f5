"""Fork pytest, or a fork of it, into a sandbox: as root by setns(2), else through a go-between."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import warnings

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import syscalls
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import ending
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._sandbox.frames import Writer


def fork(entry: Entry) -> int:
    """Fork this process into the sandbox.

    Returns the child's pid, 0 in the child. Raises ``StepFailedError``.
    """
    if entry.namespaces & Clone.NEWUSER:
        return _fork_through_go_between(entry)
    with Step("open", "pytest's own pid namespace"):
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    pid = -1
    try:
        with Step("setns into", "the sandbox's pid namespace"):
            syscalls.setns(entry.pidfd, Clone.NEWPID)
        try:
            with Step("fork", "pytest"):
                pid = warm_fork()
        finally:
            if pid:
                _set_back(own, pid)
    finally:
        if pid:
            os.close(own)
    return pid


def _set_back(own: int, pid: int) -> None:
    """Have pytest's further children in its own pid namespace again.

    A child that is there already must not run if that fails.
    """
    for last in (False, True):
        try:
            with Step("setns back into", "pytest's own pid namespace"):
                syscalls.setns(own, Clone.NEWPID)
        except StepFailedError:
            # Once more: a machine short of memory may have some by now, and else pytest can start
            # nothing any more
            if last:
                if pid > 0:
                    end(pid)
                raise
        else:
            return


def end(pid: int) -> None:
    """Kill and reap a child that nobody will watch."""
    with contextlib.suppress(ProcessLookupError):  # reaped by somebody else in this process
        os.kill(pid, signal.SIGKILL)
    ending.reap(pid, "a child of pytest that was killed")


def warm_fork() -> int:
    """fork(2) with nothing for the collector to write to in the child."""
    # Python 3.12 warns when threads are alive; we know, see docs/architecture.md
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        collects = gc.isenabled()
        gc.disable()
        try:
            pid = os.fork()
            # A collection would write to, and so copy, every page of what pytest holds
            if pid == 0:
                # Not before the fork: that and thawing reset the collector's counts, and pytest
                # would never collect again
                gc.freeze()
        finally:
            if collects:
                gc.enable()
    return pid


def _fork_through_go_between(entry: Entry) -> int:
    with Step("fork", "pytest"):
        pid = warm_fork()
    if pid:
        return pid
    try:  # from here on in the go-between, which must never return but as the test
        if not entry.keeps_terminal:
            os.setsid()
        on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        syscalls.setns(entry.pidfd, entry.namespaces)
        child = os.fork()
    except OSError as error:
        say_broken(
            entry.frames, StepFailedError("join", "the sandbox's namespaces", error.errno or 0)
        )
        os._exit(1)
    if child == 0:
        signal.signal(signal.SIGINT, on_interrupt)
        return 0
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    _end_as(os.waitpid(child, 0)[1])
    raise AssertionError("a process outlived its own SIGKILL")


def _end_as(status: int) -> None:
    """End as the test ended, so that pytest reads one wait status, however many forks
    there were.
    """
    if os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = os.WTERMSIG(status)
    if number not in {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGKILL)


def say_broken(frames: int, error: StepFailedError) -> None:
    """Tell pytest that the sandbox, not the test, is broken."""
    with contextlib.suppress(BrokenPipeError):  # it is not there any more
        Writer(frames).send(
            {"kind": "broken", "step": error.step, "path": error.path, "errno": error.errno}
        )
