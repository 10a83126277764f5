"""Waiting for processes of ours to end: never for ever, and what would not end is said with what it
waits for.

SIGKILL ends everything but a process that stands in the kernel where nothing interrupts it, as at a
file system that does not answer. A helper that somebody has stopped ends by it, but nothing told us
that it was stopped.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

# Seconds that a process has to end by itself, where it should, and again after it was killed
LONGEST = 10.0
_LOOK_AGAIN = 0.01  # seconds, where no pidfd can be had

TEST = "the process of a test, or its go-between, a helper process of pytest-isolate,"

#: What did not end as it should, in sentences, for whoever tells people.
troubles: list[str] = []

_STATES = {
    "T": "was stopped by a signal (SIGSTOP)",
    "t": "was stopped by a debugger",
    "D": "is in the kernel, where nothing interrupts it",
    "Z": "has ended, but was not reaped",
}


def is_ready(fd: int, seconds: float | None) -> bool:
    """Whether a descriptor becomes readable; of a pidfd: whether its process ends.

    None waits for it.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def is_reaped(pid: int) -> bool:
    """Whether a child of ours is gone by now."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # by somebody else in this process
        return True


def state(pid: int) -> str:
    """Say what a process does that should have ended, in words; nothing if it is gone
    or at work.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            letter = file.readall().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return ""
    words = _STATES.get(letter, "")
    if letter == "D":
        with contextlib.suppress(OSError), open(f"/proc/{pid}/wchan", encoding="ascii") as file:
            words += f" ({file.read() or 'unknown'})"
    return words


def is_stopped(found: str) -> bool:
    """Whether that is what ``state`` said."""
    return found.startswith("was stopped")


def has_ended(found: str) -> bool:
    """Say how one ended."""
    return found == _STATES["Z"]


def reap(pid: int, what: str, longest: float = LONGEST) -> int | None:
    """Wait until a child of ours ends, and reap it.

    One that has not ended within so many seconds is killed, and said.

    Its status, as of wait(2). None when somebody else in this process reaped it, or it cannot even
    be killed: then it is left.
    """
    for last in (False, True):
        until = time.monotonic() + longest
        with contextlib.suppress(ChildProcessError):
            while not (ended := _wait(pid, until))[0] and time.monotonic() < until:
                pass
            if ended[0]:
                return ended[1]
            found = state(pid) or "did not end"
            done = "is left behind" if last else "was killed"
            troubles.append(f"isolate: {what} (pid {pid}) {found}: after {longest:.0f} s it {done}")
            if not last:
                os.kill(pid, signal.SIGKILL)
            continue
        return None
    return None


def _wait(pid: int, until: float) -> tuple[int, int]:
    ended = os.waitpid(pid, os.WNOHANG)
    if not ended[0]:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor is left
            time.sleep(_LOOK_AGAIN)
            return ended
        try:
            is_ready(pidfd, max(0.0, until - time.monotonic()))
        finally:
            os.close(pidfd)
        ended = os.waitpid(pid, os.WNOHANG)
    return ended


def wait_dead(pidfd: int, what: str) -> None:
    """Wait for the end of a process that was killed and is another's child."""
    if not is_ready(pidfd, LONGEST):
        troubles.append(f"isolate: {what} did not end within {LONGEST:.0f} s of being killed")


def told() -> list[str]:
    """Take the sentences."""
    found, troubles[:] = list(troubles), []
    return found
