"""A sandbox without namespaces, from pytest's side: the same handles, by what needs no privilege.

Who is in there is whoever comes from the test, below a process that keeps them together
(``warden``). What a namespace or a control group would have limited or counted is looked at from
outside, where that can be seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import tree
from pytest_isolate._linux.counters import Counters, Processor
from pytest_isolate._sandbox import ending, forks, warden, wire
from pytest_isolate._sandbox.child import Child
from pytest_isolate._sandbox.ending import is_ready
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._sandbox.requests import (
    Ended,
    Failed,
    Forked,
    KillAll,
    ListLeft,
    Message,
    Processes,
    receive,
)
from pytest_isolate._sandbox.sandbox import Sandbox

_WARDEN = "the process above a test without namespaces, a helper process of pytest-isolate,"
# Seconds, in which the warden has forked, looked for who is left, or killed them
_ANSWER_LONGEST = 10.0


class _Warded(Child):
    """A test's process that its warden reaps."""

    def __init__(self, pid: int, pidfd: int, sandbox: Bare, warden_pid: int) -> None:
        self.pid, self.pidfd, self.forked = pid, pidfd, warden_pid
        self._sandbox = sandbox

    def reap(self) -> int | None:
        return self._sandbox.status()

    def reap_later(self, later: Callable[[int], None]) -> None:
        """Leave it to the warden."""

    def end(self) -> None:
        self._sandbox.kill()
        os.close(self.pidfd)


class Bare(Sandbox):
    """One whose recipe has no namespaces."""

    _line: wire.Channel | None = None  # to the warden, from the fork on
    _warden = _warden_fd = _test = -1  # its pid, pidfds of both
    _status: int | None = None
    _samples = False  # whether memory is limited by looks at it
    _largest: tuple[str, int] | None = None
    _processor: Processor = (None, None, None)

    def wait_ready(self) -> None:
        """Wait for the builder's answer. There is no PID 1 and no private file system."""
        super().wait_ready()
        for stand_in in (self.pidfd, self.private):
            os.close(stand_in)
        self.pidfd = self.private = -1

    def fork(self, entry: Entry) -> Child | None:
        """Fork this process twice: its warden, and the test."""
        with Step("open a channel to", "the process above the test's"):
            self._line, theirs = wire.pair()
        own = -1
        try:
            with Step("pidfd_open of", "pytest"):
                own = os.pidfd_open(os.getpid())
            with Step("fork", "pytest"):
                self._warden = forks.warm_fork()
            if self._warden == 0:
                warden.fork(entry, theirs, own)
                return None
            return self._meet()
        except StepFailedError:
            self.kill()
            raise
        finally:  # in the test too
            theirs.close()
            if own >= 0:
                os.close(own)

    def _meet(self) -> Child:
        assert self._line is not None
        self._line.settimeout(_ANSWER_LONGEST)
        with Step("pidfd_open of", "the process above the test's"):
            self._warden_fd = os.pidfd_open(self._warden)
        answer = self._hear_warden(Forked, Failed)
        if answer is None:
            raise StepFailedError(
                "fork",
                "the test's process: the one above it, a helper of pytest-isolate, is gone",
                32,
            )
        forked, descriptors = answer
        if isinstance(forked, Failed):
            raise forked.error()
        assert isinstance(forked, Forked)
        with Step("keep a pidfd of", "the test's process"):
            self._test = os.dup(descriptors[0])
        return _Warded(forked.pid, descriptors[0], self, self._warden)

    def _hear_warden(self, *kinds: type[Message]) -> tuple[Message, list[int]] | None:
        """Wait for a message of these kinds.

        None when the warden is gone, or is killed for it does not answer.
        """
        while self._line is not None:
            try:
                received = receive(self._line)
            except TimeoutError:
                self._say_stuck()
                received = None
            except ConnectionError:
                received = None
            if received is None:
                self._end_warden()
                return None
            if isinstance(received[0], Ended):
                self._status = received[0].status
            if isinstance(received[0], kinds):
                return received
        return None

    def status(self) -> int | None:
        """Wait until the test is reaped. Its status, as of wait(2); None when nobody can say it."""
        if self._status is None:
            self._hear_warden(Ended)
        return self._status

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the test's own process, whatever number it said it had: here that could
        be anybody's.
        """
        del pid
        if self._test >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._test, number)

    def watch_memory(self) -> None:
        """Without a control group, look what they hold."""
        super().watch_memory()
        self._samples = "memory" not in self.groups

    def memory_now(self) -> int | None:
        """Bytes that they hold now; None where nobody wants to know."""
        if not self._samples or self._warden <= 0:
            return super().memory_now()
        held, self._largest = tree.memory(self._warden)
        return held

    def largest_process(self) -> tuple[str, int] | None:
        """Who held most of it at the last look."""
        return self._largest if self._samples else super().largest_process()

    def counters(self, processor: Processor | None = None) -> Counters:
        """Read what was used and denied so far, as far as anything counts that."""
        return super().counters(processor or self.processor_seconds())

    def processor_seconds(self) -> Processor:
        """Processor time used so far, as their clocks tick."""
        counted = super().processor_seconds()
        if counted[0] is not None:
            return counted
        if self._warden > 0:
            user, system = tree.processor(self._warden)
            # Else some of them are gone, and what they used with them
            if user + system >= (self._processor[0] or 0.0):
                self._processor = user + system, user, system
        return self._processor

    def cpu_seconds(self) -> float:
        """Read the processor time so far, in all."""
        return self.processor_seconds()[0] or 0.0

    def disk_used(self) -> int | None:
        """None: what they write is on the machine's disk, with everybody's."""
        return None

    def disk_full(self) -> str:
        """There is none of their own."""
        return ""

    def _disk_blocks(self) -> int:
        return 0

    def left_over(self) -> tuple[list[tuple[int, str]], int, bool]:
        """Who is still alive once the test is over, with the machine's pids."""
        if self.is_empty() or self._line is None:
            return [], 0, True
        with contextlib.suppress(OSError):  # the warden is gone, which its answer says
            ListLeft().send(self._line)
        received = self._hear_warden(Processes)
        return ([], 0, False) if received is None else self._listed(received[0])

    def kill(self) -> None:
        """Have the warden kill everybody, and leave."""
        if self._line is not None:
            self.processor_seconds()  # while they are there
            with contextlib.suppress(OSError):  # it is gone
                KillAll().send(self._line)

    def reap_strays(self) -> None:
        """Whoever a test makes its sibling is the warden's child."""

    def wait_dead(self) -> None:
        """Wait until the warden has killed everybody, which it does before it leaves."""
        if self._warden_fd >= 0 and not is_ready(self._warden_fd, _ANSWER_LONGEST):
            self._say_stuck()
            self._end_warden()

    def _say_stuck(self) -> None:
        found = ending.state(self._warden) or "did not answer"
        ending.troubles.append(
            f"isolate: {_WARDEN} (pid {self._warden}) {found}: after {_ANSWER_LONGEST:.0f} s it was"
            " killed, and with it its test"
        )

    def _end_warden(self) -> None:
        """End one that does not answer, as one that a test has stopped. With it ends the test."""
        if self._warden > 0:
            if self._warden_fd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._warden_fd, signal.SIGKILL)
            else:
                os.kill(self._warden, signal.SIGKILL)
            ending.reap(self._warden, _WARDEN)
            self._warden = -1
        if self._line is not None:
            self._line.close()
            self._line = None

    def descriptors(self) -> tuple[int, ...]:
        """Everything of ours that is open for this sandbox."""
        line = -1 if self._line is None else self._line.fileno()
        return (*super().descriptors(), line, self._warden_fd, self._test)

    def close(self) -> None:
        """Let go of everything: the end of its line is the warden's, and of all below it."""
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self.wait_dead()
        self._end_warden()
        for fd in (self._warden_fd, self._test):
            if fd >= 0:
                os.close(fd)
        self._warden_fd = self._test = -1
        super().close()
