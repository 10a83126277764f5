"""The parent's side of one running sandbox: wait on events until a test is over, by its own end or by ours.

What ends it: its end frame, which a byte in a pipe of its own announces, the child's exit (pidfd), the deadline, an OOM event of cgroup v1,
garbled frames, or pytest's own interruption. An end of the pipe proves nothing, for a grandchild may hold a copy, so nothing here
waits for one. Nor is the exit of a child waited for that came to its end and left nobody behind: the kernel takes its memory apart
while pytest goes on. One loop looks after any number of tests (``wait_for_one``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_isolate._linux.counters import Processor
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import ending, native
from pytest_isolate._sandbox.child import Child
from pytest_isolate._sandbox.ending import is_ready
from pytest_isolate._sandbox.frames import Decoder, Frame, GarbledError
from pytest_isolate._sandbox.relay import Relay
from pytest_isolate._sandbox.sandbox import Sandbox

STACK_SIGNAL = int(signal.SIGRTMAX)
_READ = 1 << 18
_MOST_READS = 16  # at each wake-up: a test that writes as fast as we read must not keep us from its deadline
# The pipes are emptied this often rather than at each write: waking for every frame cost as much as reading all of them at
# the end. A writer that fills one (1 MiB where the kernel allows) waits at most this long, in seconds.
_LOOK_AGAIN = 0.02
_LOOK_AT_BETWEEN = 1.0
_LOOK_CLOSELY = 0.001  # while tracemalloc is on and there is a limit to its memory: allocating 16 MiB takes some milliseconds
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031  # in Python's fcntl since 3.10 only where libc's headers had it
_MOST_SAMPLES = 200
_NEW_PEAK = 1 << 20  # bytes above the last one, or an eighth of it: then it is worth 0.1 ms or more to see who holds them
_MOST_STACKS = 1 << 16
_STACKS_QUIET = 0.05  # seconds without a further line after which a dump of stacks is complete
_STACKS_LONGEST = 1.0
_KILL_LONGEST = 0.05  # seconds from the count of an OOM kill to the end of its victim, or to where it can be seen on its way there
_COUNT_LONGEST = 1.0  # seconds from an OOM event in which its kill is looked for closely; later ones are seen at the usual looks
_PF_EXITING = 0x4  # of include/linux/sched.h, in the flags of proc(5)'s stat
ENTERING_LONGEST = 30.0  # seconds from the fork to the test's own code, before which a lock held by a thread of the parent can hang it
_LAST_WORDS = 2.0  # seconds from the end frame to the exit


@dataclass
class Exit:
    """Everything known of a test's process once it is over."""

    pid: int
    status: int | None = None  # as of wait(2); None when somebody else in this process reaped it
    frames: list[Frame] = field(default_factory=list)
    garbled: str | None = None
    timed_out: bool = False
    cpu_exceeded: bool = False
    memory_exceeded: int | None = None  # bytes that a look found, above the limit, where looks alone limit it
    out_of_memory: bool = False
    killed_child: bool = False  # the kernel chose another process than the test's own
    stacks: str = ""
    native: str = ""  # stacks in C of one that was stopped, or why there are none
    left_over: list[tuple[int, str]] = field(default_factory=list)  # the first fifty
    left_count: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)  # (seconds since the start, bytes), some of the way
    largest: tuple[str, int] | None = None  # (command, bytes) of the process that held most when memory was at its highest
    wall_seconds: float = 0.0
    processor: Processor | None = None  # seconds at the same moment; None if somebody used more until all was ended

    @property
    def ended(self) -> bool:
        """Whether the child said that it had come to its end. An exit status, of whatever number, means nothing without."""
        return any(frame["kind"] == "end" for frame in self.frames)

    @property
    def was_stopped(self) -> bool:
        """Whether we ended it, for what it has used up."""
        return self.timed_out or self.cpu_exceeded or self.memory_exceeded is not None

    @property
    def finished(self) -> bool:
        """Whether it said all that a test says; else how it leaves is worth waiting for."""
        torn_down = any(frame["kind"] == "report" and frame.get("when") == "teardown" for frame in self.frames)
        return self.ended and self.garbled is None and (torn_down or self.first("raised") is not None)

    def first(self, kind: str) -> Frame | None:
        """The first frame of a kind."""
        return next((frame for frame in self.frames if frame["kind"] == kind), None)

    def last(self, kind: str) -> Frame | None:
        """The last frame of a kind."""
        return next((frame for frame in reversed(self.frames) if frame["kind"] == kind), None)


def wait_for_one(watches: Sequence[Watch]) -> None:
    """Wait until at least one test is over, looking after all of them."""
    while not any(watch.over for watch in watches):
        poll = select.poll()
        for watch in watches:
            for fd in watch.descriptors():
                poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(min(watch.due() for watch in watches) * 1000 + 1)}
        for watch in watches:
            watch.look(ready)


class Watch:
    """Waits for the tests of one forked child, one after the other. Owns its pidfd and the reading ends of its pipes.

    Whatever is read here is read from an open file that no test shares, so no test can have us wait for it.
    """

    def __init__(
        self, child: Child, sandbox: Sandbox, frames: int, stacks: int, ended: int = -1, *, door: int = -1,
        relays: Sequence[Relay] = (), forked: float | None = None, debuggable: bool = False, trusted: bool = True,
    ) -> None:  # fmt: skip
        self._sandbox = sandbox
        self._debuggable = debuggable  # whether a person can sit in front of it: then a debugger stops the clock
        self._trusted = trusted  # else no tool of ours reads its memory for native stacks
        self._on_interrupt: Any = None
        self._frames, self._stacks, self._ended, self._door = frames, stacks, ended, door
        self._at_the_door, self._waits_at_the_door = Decoder(), door >= 0
        self.relays = relays
        self._decoder = Decoder()
        self._stack_bytes = bytearray()
        self._child, self.pid, self._pidfd = child, child.pid, child.pidfd
        sandbox.beside.append(self._held)
        self._exit = Exit(self.pid)
        self._started = time.monotonic()
        self._forked = forked  # None from the first of the test's own code on
        self._began = self._started
        self._timeout: float | None = None
        self._cpu_time: float | None = None
        self._alarm: tuple[int, int] | None = None
        self._memory: int | None = None
        self._look_again = _LOOK_AGAIN
        self._sample_at = self._look_at_between_at = self._started
        self._deadline: float | None = None
        self._goes_on = False
        self._false_words = 0  # in the pipe for the last one
        self._oom_heard: float | None = None  # when the kernel last said that the limit of memory was hit
        self._entered = False
        self.over = False
        self._looked_at = 0  # bytes of memory at which we looked who holds them
        self._alone = True  # whether nobody was left in there when the test was over
        for fd in (frames, stacks, *(each for each in (ended, door) if each >= 0)):
            os.set_blocking(fd, False)
        with contextlib.suppress(OSError):  # the user's share of large pipes is used up, or memory: a small one does as well
            fcntl.fcntl(frames, _F_SETPIPE_SZ, _PIPE_SIZE)

    def start(
        self, timeout: float | None, cpu_time: float | None = None, *, alarm: tuple[int, int] | None = None, goes_on: bool = False,
        memory: int | None = None,
    ) -> None:  # fmt: skip
        """Begin to watch the child's test.

        ``timeout`` is in seconds of wall time, ``cpu_time`` is the sandbox's total of processor time to stop at, ``memory`` the bytes of
        the test's own, where nobody but us looks. ``alarm``: at so many bytes of memory the child gets this signal, once, if it can
        say where they were allocated. With ``goes_on`` a child that came to the end of its test stays, for the next one; ``alive``
        says whether it did.
        """
        self._exit = Exit(self.pid)
        self._started = self._began = time.monotonic()
        self._stack_bytes.clear()
        self._decoder.begin()
        self._timeout, self._cpu_time, self._alarm, self._look_again = timeout, cpu_time, alarm, _LOOK_AGAIN
        self._memory = memory
        self._deadline = self._started + ENTERING_LONGEST
        self._sample_at = self._started + _LOOK_AGAIN
        self._look_at_between_at = self._started + _LOOK_AT_BETWEEN
        self._goes_on, self._false_words = goes_on, 0
        self._entered = self.over = False
        self._looked_at = 0
        self._alone = True

    def descriptors(self) -> list[int]:
        """What wakes whoever waits: the child's exit, an OOM event, the child's word that it sent its end frame."""
        last_word = self._ended if self._false_words <= 1 else -1
        relays = (relay.fd for relay in self.relays if not relay.at_end)
        return [fd for fd in (self._pidfd, self._sandbox.oom_event, last_word, *relays) if fd >= 0]

    def _held(self) -> tuple[int, ...]:
        held = (self._pidfd, self._frames, self._stacks, self._ended, self._door, *(relay.fd for relay in self.relays))
        return tuple(fd for fd in held if fd >= 0)

    def due(self) -> float:
        """Seconds until a look is due, whatever comes."""
        now = time.monotonic()
        look_again = _LOOK_CLOSELY if self._oom_heard is not None and now - self._oom_heard < _COUNT_LONGEST else self._look_again
        left = look_again if self._deadline is None else self._deadline - now
        return max(0.0, min(left, look_again))

    def look(self, ready: Container[int]) -> None:
        """Take in what came, of ``ready`` descriptors or not, and see whether the test is over."""
        self._hear_last_word(ready)
        self._drain()
        if (
            self._ended in ready and not self._exit.ended
        ):  # the word of the test before came late, or a test wrote there, to wake us for ever
            self._false_words += 1
        if not self._entered and self._exit.frames:
            self._entered, self._deadline = True, self._begin()
        if self._is_over(ready):
            self.over = True
            if not self._exit.wall_seconds:
                # processor time first: what its process and our own look at it use from here on is not the test's
                self._exit.processor = self._sandbox.processor_seconds()
                self._exit.wall_seconds = time.monotonic() - self._began
            return
        if (now := time.monotonic()) >= self._sample_at:  # with several in flight others wake us more often
            self._sample_at = now + self._look_again
            self._sample_memory()
            if self._exit.memory_exceeded is not None:
                self._stop()
                self.over = True
                return
        if now >= self._look_at_between_at:
            self._look_at_between_at = now + _LOOK_AT_BETWEEN
            self._look_at_between()
        if self._debuggable and self._exit.first("debugger") is not None:
            self._stand_back()
            self._deadline = None
        if self._deadline is not None and now >= self._deadline:
            self._time_out()
            self.over = True

    def _hear_last_word(self, ready: Container[int]) -> None:
        """Empty its pipe. A test may have been there first, or have closed it, which would wake us for ever."""
        if self._ended not in ready:
            return
        try:
            if not os.read(self._ended, _READ):
                self._false_words += 2
        except BlockingIOError:
            return

    def finish(self) -> Exit:
        """End a child that has no further test, list the processes that it left behind, and tell all that is known.

        Also of a test that is not over: it ends here.
        """
        stays = False
        try:
            whole = self.over and self._exit.ended and self._exit.garbled is None
            stays = self._goes_on and whole and not self._exit.out_of_memory and self._exit.first("raised") is None
            if whole and not stays and not (self._exit.finished and self._sandbox.is_empty(but=self.pid)):
                is_ready(self._pidfd, _LAST_WORDS)
                self._exit.left_over, self._exit.left_count, self._alone = self._sandbox.left_over()
        finally:
            if self._on_interrupt is not None:
                signal.signal(signal.SIGINT, self._on_interrupt)
                self._on_interrupt = None
            if not stays:
                self._end()
        for relay in self.relays:  # before anything is said of the test
            relay.pass_on()
        self._exit.stacks = self._stack_bytes.decode("utf-8", "replace")
        return self._exit

    def ask_where(self) -> None:
        """Have a test that is not over write every thread's stack, for ``where``."""
        if self._pidfd >= 0 and not self.over:
            self._drain()  # whether it is inside
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                self._ask_for_stacks()

    def where(self, longest: float) -> str:
        """What a test that was asked has written, waiting for it for at most so many seconds."""
        if self._pidfd >= 0 and not self.over:
            self._hear_stacks(longest)
        return self._stack_bytes.decode("utf-8", "replace")

    def has_ended(self) -> bool:
        """Whether there is nothing left to interrupt, by its own word or because it is gone, whether anybody has looked since or not."""
        if self._pidfd >= 0 and not self.over:
            self._drain()
        return self.over or self._exit.ended or not self.alive

    @property
    def forked(self) -> int:
        """The pid of the process below pytest that is the test, or above it."""
        return self._child.forked

    @property
    def alive(self) -> bool:
        """Whether there is a child that can go on with another test."""
        return self._pidfd >= 0 and not is_ready(self._pidfd, 0)

    def leave(self) -> None:
        """End a child that stayed. It was told to go, by the end of its commands, and may have shared fixtures to take down."""
        if self._pidfd >= 0:
            is_ready(self._pidfd, _LAST_WORDS)
            self._end()

    def _end(self) -> None:
        if self._pidfd < 0:
            return  # a Ctrl-C came while it was ended
        self._drain()  # whether it is inside
        alone = self._exit.finished and self._alone
        if not alone:  # else PID 1 is the builder's to kill, once we let go of its mounts: whoever is the last of them takes them apart
            self._exit.processor = None
            self._sandbox.kill()
        rootless = self._sandbox.recipe.namespaces & Clone.NEWUSER  # the go-between is the test's parent, and should be there to reap it
        inside = self._exit.frames or (rootless and is_ready(self._pidfd, _KILL_LONGEST))
        if not inside or (alone and not rootless):  # a go-between that hangs on its way dies with nobody, and nobody with it
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._exit.wall_seconds = self._exit.wall_seconds or time.monotonic() - self._began
        if alone:
            self._child.reap_later(self._sandbox)  # its status says no more than its end frame did
        else:
            self._exit.status = self._child.reap()
            self._sandbox.reap_strays()
        if not self._alone:  # with net=False or fs="host" they would disturb the next test
            self._sandbox.wait_dead()
        self._drain()
        held = (self._pidfd, self._frames, self._stacks, self._ended, self._door)
        self._pidfd = self._frames = self._stacks = self._ended = self._door = -1
        for fd in held:
            if fd >= 0:
                os.close(fd)
        for relay in self.relays:
            relay.pass_on()
            relay.close()

    def _sample_memory(self) -> None:
        """Note how much is used; past ``alarm`` bytes of the test's own have a child that can say where it is allocated say so."""
        bytes_now = self._sandbox.memory_now()
        if bytes_now is None:
            return
        samples = self._exit.memory
        samples.append((time.monotonic() - self._started, bytes_now))
        if bytes_now > self._looked_at + max(_NEW_PEAK, self._looked_at >> 3):
            self._looked_at, self._exit.largest = bytes_now, self._sandbox.largest_process() or self._exit.largest
        if len(samples) > _MOST_SAMPLES:  # of a long test every second one, and so on
            del samples[::2]
        entered = self._exit.first("entered") or {}
        base, pid = entered.get("base"), entered.get("pid")
        if self._memory is not None and isinstance(base, int) and bytes_now - base > self._memory:
            self._exit.memory_exceeded = bytes_now - base
        if self._alarm is None or entered.get("traces") is not True or not isinstance(base, int) or not isinstance(pid, int):
            return
        if bytes_now - base > self._alarm[0]:
            self._sandbox.signal(pid, self._alarm[1])
            self._alarm, self._look_again = None, _LOOK_AGAIN

    def _begin(self) -> float | None:
        """The test's time begins when it is inside. Returns its end.

        When that was, its process says in a frame that our own code writes before any of the test's, by the clock that all share; it has
        no say in the deadline.
        """
        at = self._exit.frames[0].get("at")
        if self._forked is not None and isinstance(at, float) and self._forked <= at <= time.monotonic():
            self._began = at
        self._forked = None
        if self._alarm is not None and self._exit.frames[0].get("traces") is True:
            self._look_again, self._sample_at = _LOOK_CLOSELY, self._started
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _look_at_between(self) -> None:
        """End a go-between that somebody has stopped and whose test has ended: it is the one who would say so."""
        if not self._sandbox.recipe.namespaces & Clone.NEWUSER or not ending.is_stopped(found := ending.state(self.pid)):
            return
        if (test := self._test()) is not None and ending.has_ended(ending.state(test)):
            ending.troubles.append(f"isolate: {ending.TEST} (pid {self.pid}) {found} behind its test: it was killed")
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _stand_back(self) -> None:
        """A person talks to the test's debugger: Ctrl-C is for it."""
        if self._on_interrupt is None:
            self._on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _is_over(self, ready: Container[int]) -> bool:
        if self._sandbox.oom_event in ready:
            self._sandbox.hear_oom()
            self._oom_heard = time.monotonic()
        # v1 says that it kills before it counts and before it has killed: the event is remembered, the counter alone is believed
        if self._oom_heard is not None and self._sandbox.out_of_memory():
            self._exit.out_of_memory = True
            self._exit.killed_child = not is_ready(self._pidfd, _KILL_LONGEST) and not self._is_dying()
        dead = self._exit.garbled is not None or self._exit.out_of_memory or self._pidfd in ready
        if dead or self._exit.ended:
            return True
        if self._cpu_time is not None and self._exit.frames and self._sandbox.cpu_seconds() > self._cpu_time:  # inside, where it counts
            self._exit.cpu_exceeded = True
            self._stop()
        return self._exit.cpu_exceeded

    def _time_out(self) -> None:
        self._exit.timed_out = True
        self._stop()

    def _stop(self) -> None:
        """Its time is over; what follows is ours: see where it stands, in Python and below."""
        self._exit.wall_seconds = time.monotonic() - self._began
        if not self._trusted:
            self._exit.native = "none under profile='strict': to read them is to parse what a hostile test wrote"
        elif (pid := self._test()) is not None:
            self._exit.native = native.stacks(pid)
        self._ask_for_stacks()  # the signal for it ends many a call in C, so it comes last
        self._hear_stacks(_STACKS_LONGEST)

    def _is_dying(self) -> bool:
        """Whether the test's own process is on its way out, which takes longer the more memory it holds."""
        try:
            with open(f"/proc/{self._test()}/stat", "rb", buffering=0) as file:
                fields = file.readall().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return bool(int(fields[6]) & _PF_EXITING)

    def _test(self) -> int | None:
        """The test's own process: without root it is the go-between's child."""
        if not self._sandbox.recipe.namespaces & Clone.NEWUSER:
            return self.pid
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return next(map(int, file.read().split()), None)

    def _drain(self) -> bool:
        """Take in what is there. False at the end of the frames."""
        for relay in self.relays:
            relay.pass_on()
        self._drain_stacks()
        more = self._drain_frames()
        self._hear_at_the_door()
        return more

    def _drain_frames(self) -> bool:
        for _ in range(_MOST_READS):
            if self._exit.garbled is not None or self._exit.was_stopped:
                return False  # what a late test still says does not count
            try:
                data = os.read(self._frames, _READ)
            except BlockingIOError:
                return True
            try:
                self._exit.frames += self._decoder.feed(data)
            except GarbledError as error:
                self._exit.frames += error.before  # by which it is known to have come inside, and how far it had come
                self._exit.garbled = str(error)
            if not data:
                return False
        return True

    def _hear_at_the_door(self) -> None:
        """Hear that the child is inside: after its frames, for what is there by now came before any of them.

        It has a pipe of its own, which our code closes before any of the test's. What lies in a pipe can be read by everybody who
        has it open, whichever end: a test would take it back, and so had the whole time for getting inside, and looked as if its
        sandbox had broken.
        """
        while self._waits_at_the_door:
            try:
                data = os.read(self._door, _READ)
            except BlockingIOError:
                return
            self._exit.frames[:0] = self._at_the_door.feed(data)
            self._waits_at_the_door = bool(data)

    def _drain_stacks(self) -> bool:
        for _ in range(_MOST_READS):
            try:
                data = os.read(self._stacks, _READ)
            except BlockingIOError:
                return True
            self._stack_bytes += data[: _MOST_STACKS - len(self._stack_bytes)]
            if not data:
                return False
        return True

    def _ask_for_stacks(self) -> None:
        """Have faulthandler, in the child's signal handler, write every thread's stack; it needs no interpreter lock."""
        entered = self._exit.first("entered")
        if entered is None:  # not yet inside: our own child, or the go-between, hangs
            signal.pidfd_send_signal(self._pidfd, STACK_SIGNAL)
        elif isinstance(entered.get("pid"), int):
            self._sandbox.signal(int(entered["pid"]), STACK_SIGNAL)  # type: ignore[call-overload]

    def _hear_stacks(self, longest: float) -> None:
        self._drain_stacks()  # what came while another test was heard
        poll = select.poll()
        poll.register(self._stacks, select.POLLIN)
        until = time.monotonic() + longest
        while (left := until - time.monotonic()) > 0:
            quiet = _STACKS_QUIET if self._stack_bytes else left
            if not poll.poll(min(left, quiet) * 1000) or not self._drain_stacks():
                return
