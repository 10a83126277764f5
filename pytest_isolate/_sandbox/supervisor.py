"""The parent's side of one running sandbox: wait on events until a test is over, by its own end or
by ours.

A test is over by its end frame, which a byte in a pipe of its own announces, the child's exit
(pidfd), garbled frames, an OOM event of cgroup v1, or for what it has used up: processor time,
memory where only looks limit it, its deadline (``Supervisor._is_over``). An end of the pipe proves
nothing, for a grandchild may hold a copy, so nothing here waits for one. Nor is the exit of a child
waited for that came to its end and left nobody behind: the kernel takes its memory apart while
pytest goes on. One loop looks after any number of tests (``waiting``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Container, Sequence
from typing import Any

from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import native, the_test
from pytest_isolate._sandbox.child import Child
from pytest_isolate._sandbox.ending import is_ready
from pytest_isolate._sandbox.listening import Listener
from pytest_isolate._sandbox.phase import Phase
from pytest_isolate._sandbox.pipes import Ends
from pytest_isolate._sandbox.relay import Relay
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._sandbox.sampling import Sampler
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._sandbox.visits import Doorkeeper, Visits

STACK_SIGNAL = int(signal.SIGRTMAX)
_LOOK_AT_BETWEEN = 1.0
_LOOK_CLOSELY = 0.001
_STACKS_LONGEST = 1.0
# Seconds from the count of an OOM kill to the end of its victim, or to where it can be seen on its
# way there
_KILL_LONGEST = 0.05
# Seconds from an OOM event in which its kill is looked for closely; later ones are seen at the
# usual looks
_COUNT_LONGEST = 1.0
# Seconds from the fork to the test's own code, before which a lock held by a thread of the parent
# can hang it
ENTERING_LONGEST = 30.0
_LAST_WORDS = 2.0  # seconds from the end frame to the exit


class Supervisor:
    """Waits for the tests of one forked child, one after the other.

    Owns its pidfd and the reading ends of its pipes.
    """

    def __init__(
        self, child: Child, sandbox: Sandbox, ends: Ends, *, relays: Sequence[Relay] = (),
        forked: float | None = None,
        debuggable: bool = False, trusted: bool = True, killed_within: float | None = None,
    ) -> None:  # fmt: skip
        self._child, self.pid, self._pidfd = child, child.pid, child.pidfd
        self._sandbox = sandbox
        self._listener = Listener(ends, relays)
        # Whether a person can sit in front of it: then a debugger stops the clock
        self._debuggable = debuggable
        # Seconds from the count of an OOM kill to the end of its victim
        self._killed_within = _KILL_LONGEST if killed_within is None else killed_within
        self._trusted = trusted  # else no tool of ours reads its memory for native stacks
        self._forked = forked  # None from the first of the test's own code on
        self._on_interrupt: Any = None  # what Ctrl-C did before a pause
        self._oom_heard: float | None = None  # when the kernel said that memory's limit was hit
        sandbox.beside.append(self._held)
        self.start(None)

    def start(
        self, timeout: float | None, cpu_time: float | None = None, *,
        alarm: tuple[int, int] | None = None, goes_on: bool = False,
        memory: int | None = None, doorkeeper: Doorkeeper | None = None,
    ) -> None:  # fmt: skip
        """Begin to watch the child's test.

        ``timeout`` is in seconds of wall time, ``cpu_time`` is the sandbox's total of processor
        time to stop at; ``alarm`` and ``memory`` are as of ``Sampler``. With ``goes_on`` a child
        that came to the end of its test stays, for the next one; ``alive`` says whether it did.
        ``doorkeeper`` is who lets people into its sandbox.
        """
        self._result = ProcessResult(self.pid)
        self._phase = Phase.ENTERING
        self._listener.begin()
        self._sampler = Sampler(self._sandbox, alarm, memory)
        self._timeout, self._cpu_time, self._goes_on = timeout, cpu_time, goes_on
        self._began = time.monotonic()
        self._deadline: float | None = self._began + ENTERING_LONGEST
        self._look_at_between_at = self._began + _LOOK_AT_BETWEEN
        self.visits = Visits(self._sandbox, doorkeeper)
        self._alone = True  # whether nobody was left in there when the test was over

    @property
    def known(self) -> ProcessResult:
        """What is known of its present test so far."""
        return self._result

    @property
    def relays(self) -> Sequence[Relay]:
        """What stands in the place of pytest's own output."""
        return self._listener.relays

    @property
    def over(self) -> bool:
        """Whether the test is over, and nobody looks at what is left of it."""
        return self._phase in {Phase.OVER, Phase.GONE} and not self.visits.are_on

    def descriptors(self) -> list[int]:
        """List what wakes whoever waits: the child's exit, an OOM event, what it says of its end
        and on pytest's own output.
        """
        if self.visits.are_on:
            return self.visits.descriptors
        return [
            fd for fd in (self._pidfd, self._sandbox.oom_event) if fd >= 0
        ] + self._listener.waking

    def _held(self) -> tuple[int, ...]:
        return (*([self._pidfd] if self._pidfd >= 0 else ()), *self._listener.descriptors)

    def due(self) -> float:
        """Seconds until a look is due, whatever comes."""
        now = time.monotonic()
        closely = self._oom_heard is not None and now - self._oom_heard < _COUNT_LONGEST
        look_again = _LOOK_CLOSELY if closely else self._sampler.interval
        left = look_again if self._deadline is None else self._deadline - now
        return max(0.0, min(left, look_again))

    def look(self, ready: Container[int]) -> None:
        """Take in what came, of ``ready`` descriptors or not, and see whether the test is over."""
        self._listener.hear(ready, self._result)
        if self._phase is Phase.ENTERING and self._result.frames:
            self._enter()
        if (
            self._debuggable
            and self._phase is Phase.RUNNING
            and self._result.first("debugger") is not None
        ):
            self._pause()
        if self._is_visited(ready) or self._phase is Phase.OVER:
            return
        if self._is_over(ready):
            self._phase = Phase.OVER
            if not self._result.wall_seconds:
                # processor time first: what its process and our own look at it use from here on is
                # not the test's
                self._result.processor = self._sandbox.processor_seconds()
                self._result.wall_seconds = time.monotonic() - self._began
            self.visits.look_behind(self._result)
        elif (now := time.monotonic()) >= self._look_at_between_at:
            self._look_at_between_at = now + _LOOK_AT_BETWEEN
            the_test.see_to_go_between(self.pid, self._pidfd, self._sandbox.recipe.namespaces)
            if self._phase is not Phase.ENTERING:  # before, it is nobody yet
                self.visits.announce()

    def _is_visited(self, ready: Container[int]) -> bool:
        """Whether somebody is in there. No time of theirs is the test's."""
        if not self.visits.are_on and self._phase not in {Phase.RUNNING, Phase.PAUSED}:
            return False
        before = self.visits.seconds
        visited = self.visits.look(ready, self._result)
        if gone := self.visits.seconds - before:
            self._began += gone
            self._sampler.pass_over(gone)
            self._deadline = None if self._deadline is None else self._deadline + gone
        return visited

    def _enter(self) -> None:
        """Begin the test's time, for it is inside.

        When that was, its process says in a frame that our own code writes before any of the
        test's, by the clock that all share; it has no say in the deadline.
        """
        now, entered = time.monotonic(), self._result.frames[0]
        at = entered.get("at")
        if self._forked is not None and isinstance(at, float) and self._forked <= at <= now:
            self._began = at
        self._result.began = self._began
        self._forked = None
        self._sampler.begin(traces=entered.get("traces") is True)
        self._phase = Phase.RUNNING
        self._deadline = None if self._timeout is None else now + self._timeout

    def _pause(self) -> None:
        self._phase, self._deadline = Phase.PAUSED, None
        self._on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _is_over(self, ready: Container[int]) -> bool:
        """Whether the test is over, and why: there is no other end."""
        result, now = self._result, time.monotonic()
        self._see_to_oom(ready)
        if result.ended or result.garbled is not None:
            return True
        if result.out_of_memory or self._pidfd in ready:
            return True
        if self._cpu_time is not None and result.frames:  # inside, where it counts
            result.cpu_exceeded = self._sandbox.cpu_seconds() > self._cpu_time
        if not result.cpu_exceeded:
            self._sampler.look(now, result)
        result.timed_out = (
            not result.was_stopped and self._deadline is not None and now >= self._deadline
        )
        if result.was_stopped:
            self._stop()
        return result.was_stopped

    def _see_to_oom(self, ready: Container[int]) -> None:
        """v1 says that it kills before it counts and before it has killed: the event is remembered,
        the counter alone is believed.
        """
        if self._sandbox.oom_event in ready:
            self._sandbox.hear_oom()
            self._oom_heard = time.monotonic()
        if self._oom_heard is not None and self._sandbox.out_of_memory():
            self._result.out_of_memory = True
            pid = the_test.of(self.pid, self._sandbox.recipe.namespaces)
            ends = is_ready(self._pidfd, self._killed_within) or the_test.is_dying(pid)
            self._result.killed_child = not ends

    def finish(self) -> ProcessResult:
        """End a child that has no further test, list the processes that it left behind, and tell
        all that is known.

        Also of a test that is not over: it ends here.
        """
        stays, result = False, self._result
        try:
            whole = self.over and result.ended and result.garbled is None
            by_itself = self.over and result.came_to_its_end
            stays = self._goes_on and by_itself and result.first("raised") is None
            if (
                whole
                and not stays
                and not (result.finished and self._sandbox.is_empty(but=self.pid))
            ):
                is_ready(self._pidfd, _LAST_WORDS)
                result.left_over, result.left_count, self._alone = self._sandbox.left_over()
        finally:
            self.visits.close(result)
            if self._on_interrupt is not None:
                signal.signal(signal.SIGINT, self._on_interrupt)
                self._on_interrupt = None
            if not stays:
                self._end()
        self._listener.pass_on()  # before anything is said of the test
        result.stacks = self._listener.stacks
        return result

    def ask_where(self) -> None:
        """Have a test that is not over write every thread's stack, for ``where``."""
        self.visits.end(self._result)  # who is stopped says nothing
        if not self.over:
            self._listener.drain(self._result)  # whether it is inside
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                self._ask_for_stacks()

    def where(self, longest: float) -> str:
        """Give what a test that was asked has written, waiting for it for at most so
        many seconds.
        """
        if not self.over:
            self._listener.wait_for_stacks(longest)
        return self._listener.stacks

    def has_ended(self) -> bool:
        """Whether there is nothing left to interrupt, by its own word or because it is gone,
        whether anybody has looked since or not.
        """
        if not self.over:
            self._listener.drain(self._result)
        return self.over or self._result.ended or not self.alive

    @property
    def forked(self) -> int:
        """The pid of the process below pytest that is the test, or above it."""
        return self._child.forked

    @property
    def alive(self) -> bool:
        """Whether there is a child that can go on with another test."""
        return self._pidfd >= 0 and not is_ready(self._pidfd, 0)

    def leave(self) -> None:
        """End a child that stayed.

        It was told to go, by the end of its commands, and may have shared fixtures to take down.
        """
        if self._pidfd >= 0:
            is_ready(self._pidfd, _LAST_WORDS)
            self._end()

    def _end(self) -> None:
        if self._pidfd < 0:
            return  # a Ctrl-C came while it was ended
        self._listener.drain(self._result)  # whether it is inside
        alone = self._result.finished and self._alone
        # Else PID 1 is the builder's to kill, once we let go of its mounts: whoever is the last of
        # them takes them apart
        if not alone:
            self._result.processor = None
            self._sandbox.kill()
        # The go-between is the test's parent, and should be there to reap it
        rootless = self._sandbox.recipe.namespaces & Clone.NEWUSER
        inside = self._result.frames or (rootless and is_ready(self._pidfd, _KILL_LONGEST))
        # A go-between that hangs on its way dies with nobody, and nobody with it
        if not inside or (alone and not rootless):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._result.wall_seconds = self._result.wall_seconds or time.monotonic() - self._began
        if alone:
            # Its status says no more than its end frame did
            self._child.reap_later(self._sandbox.reap_later)
        else:
            self._result.status = self._child.reap()
            self._sandbox.reap_strays()
        if not self._alone:  # with net=False or fs="host" they would disturb the next test
            self._sandbox.wait_dead()
        self._listener.drain(self._result)
        self._phase, pidfd, self._pidfd = Phase.GONE, self._pidfd, -1
        os.close(pidfd)
        self._listener.close()

    def _stop(self) -> None:
        """Its time is over; what follows is ours: see where it stands, in Python and below."""
        self._result.wall_seconds = time.monotonic() - self._began
        if not self._trusted:
            self._result.native = (
                "none under profile='strict': to read them is to parse what a hostile test wrote"
            )
        elif (pid := the_test.of(self.pid, self._sandbox.recipe.namespaces)) is not None:
            self._result.native = native.stacks(pid)
        self._ask_for_stacks()  # the signal for it ends many a call in C, so it comes last
        self._listener.wait_for_stacks(_STACKS_LONGEST)

    def _ask_for_stacks(self) -> None:
        """Have faulthandler, in the child's signal handler, write every thread's stack; it needs no
        interpreter lock.
        """
        entered = self._result.first("entered")
        if entered is None:  # not yet inside: our own child, or the go-between, hangs
            signal.pidfd_send_signal(self._pidfd, STACK_SIGNAL)
        elif isinstance(entered.get("pid"), int):
            self._sandbox.signal(int(entered["pid"]), STACK_SIGNAL)  # type: ignore[call-overload]
