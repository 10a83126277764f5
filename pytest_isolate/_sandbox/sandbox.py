"""One sandbox from pytest's side: its handles, what they tell, and its end.

Everything opened here is pytest's alone: close-on-exec, and never among what a test inherits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import counters
from pytest_isolate._linux.cgroup.files import number, write
from pytest_isolate._linux.counters import Processor
from pytest_isolate._linux.proc_net import NetworkCounters
from pytest_isolate._sandbox import ending, forks, strays, wire
from pytest_isolate._sandbox.builders_side import BuildersSide
from pytest_isolate._sandbox.child import Child
from pytest_isolate._sandbox.ending import is_ready
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._sandbox.recipe import Recipe
from pytest_isolate._sandbox.requests import (
    Failed,
    Finish,
    ListProcesses,
    Message,
    Processes,
    Ready,
    SendSignal,
    receive,
)

_LOOK_AT_BUILDER = 1.0  # seconds after which one that says nothing is looked at
_STOPPED = 3  # looks that find it stopped, which a debugger does for a moment too
BUILDING_LONGEST = 30.0  # seconds; a mount that hangs (a dead NFS server) must not hang pytest
# Seconds from the death of a builder's sandboxes and sockets to its own, which come first
DYING_LONGEST = 0.05


class Sandbox:
    """One sandbox, ordered or ready. Close it to let the builder unmake it."""

    def __init__(
        self, builder: BuildersSide[Sandbox], number: int, recipe: Recipe, channel: wire.Channel
    ) -> None:
        self.recipe = recipe
        self.groups: dict[str, str] = {}
        self.joins: tuple[int, ...] = ()
        self._held: tuple[int, ...] = ()  # files of the groups, against leases
        self.network = NetworkCounters()
        self.pidfd = self.private = self.stdout = self.stderr = self.oom_event = -1
        # When the builder worked on it: begin and end, in monotonic seconds
        self.spans: tuple[float, ...] = ()
        self.relayed = 0  # its number with the relay, where it has servers to reach
        self._disk_base = 0  # bytes in the private file system that are not the test's
        # What else is open for the sake of its tests
        self.beside: list[Callable[[], Iterable[int]]] = []
        self._builder, self._number, self._channel = builder, number, channel
        channel.settimeout(builder.answers_within)

    def wait_ready(self) -> None:
        """Wait for the builder's answer.

        Raises ``StepFailedError``: the sandbox could not be built.
        """
        if self.recipe.waits:
            with contextlib.suppress(ConnectionError):  # the builder died, which the answer says
                self._builder.tell(Finish(self._number))
        received = self._hear("the sandbox to be built")
        if received is None:
            died = self._builder.death(DYING_LONGEST) or "the builder let go of it"
            raise StepFailedError("wait for", f"the sandbox to be built: {died}", 32)
        ready, descriptors = received
        if isinstance(ready, Failed):
            raise ready.error()
        assert isinstance(ready, Ready)
        self.groups, handles = ready.groups(), ready.handles(descriptors)
        self.spans = ready.spans()
        self.joins, self.network = handles.joins, NetworkCounters(handles.network)
        self.pidfd, self.private, self.stdout, self.stderr = (
            handles.pidfd,
            handles.private,
            handles.stdout,
            handles.stderr,
        )
        self._disk_base = self._disk_blocks()
        self._held = counters.hold(self.groups, self._builder.places)
        sys.audit("pytest_isolate.ready", self._builder.pid, self.pidfd)

    def fork(self, entry: Entry) -> Child | None:
        """Fork this process into it.

        None in the child, which has yet to ``become`` what its entry says.

        Raises ``StepFailedError``, with no child left.
        """
        pid = forks.fork(entry)
        if pid == 0:
            return None
        try:
            return Child(pid)
        except StepFailedError:
            self.kill()
            forks.end(pid)
            raise

    def _hear(self, what: str) -> tuple[Message, list[int]] | None:
        """Wait for the builder's answer; None when it is gone.

        One that says nothing is killed. Raises ``StepFailedError``.
        """
        longest = self._builder.answers_within
        until = time.monotonic() + longest
        stopped = 0  # looks in a row
        while not is_ready(
            self._channel.fileno(), min(_LOOK_AT_BUILDER, max(0.0, until - time.monotonic()))
        ):
            found = ending.state(self._builder.pid)
            stopped = stopped + 1 if found and ending.is_stopped(found) else 0
            if stopped >= _STOPPED or time.monotonic() >= until:
                self._builder.kill()
                builder = (
                    f"the builder, a helper process of pytest-isolate, {found or 'said nothing'}"
                )
                raise StepFailedError(
                    "wait for", f"{what} (at most {longest:.0f} s): {builder}", 110
                )
        return receive(self._channel)

    @property
    def has_answer(self) -> bool:
        """Whether the builder has answered."""
        return is_ready(self._channel.fileno(), 0)

    def first(self) -> tuple[int, int]:
        """Give the pid of its PID 1, as this process counts, and the inode of its pid namespace.

        Raises ``StepFailedError`` when it is gone.
        """
        with Step("look at", "PID 1 of the sandbox"):
            pid = strays.pid_of(self.pidfd)
            return pid, os.stat(f"/proc/{pid}/ns/pid").st_ino

    def watch_memory(self) -> None:
        """Ask cgroup v1 to say when the limit is hit; v2 kills the whole group by itself
        (memory.oom.group). Raises ``StepFailedError``.
        """
        if "memory" not in self.groups or self._builder.places["memory"].kills_whole_groups:
            return
        group = self.groups["memory"]
        with Step("open", "an event for the memory limit"):
            self.oom_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with Step("open", path := f"{group}/memory.oom_control"):
            control = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            write(f"{group}/cgroup.event_control", f"{self.oom_event} {control}")
        finally:
            os.close(control)

    def hear_oom(self) -> None:
        """Take the event that came.

        It comes before the kernel has chosen a victim: there may be a kill, or not.
        """
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.oom_event)

    def out_of_memory(self) -> bool:
        """Whether somebody in there was killed for the limit of memory: the kernel's counter says
        so.
        """
        return bool(self._builder.places["memory"].oom_kills(self.groups["memory"]))

    @property
    def oom_file(self) -> str:
        """The file of the memory group that counts kills."""
        return f"{self.groups['memory']}/{self._builder.places['memory'].oom_counter}"

    def counters(self, processor: Processor | None = None) -> counters.Counters:
        """Read what was used and denied so far; ``processor`` seconds as they were read when the
        test was over.
        """
        return counters.read(self.groups, self._builder.places, processor)

    def memory_now(self) -> int | None:
        """Bytes charged to the sandbox now; None where that is not counted."""
        group = self.groups.get("memory")
        return (
            None
            if group is None
            else number(f"{group}/{self._builder.places['memory'].memory_usage}")
        )

    def largest_process(self) -> tuple[str, int] | None:
        """Who holds most of it now: command and bytes; None where that is not counted."""
        group = self.groups.get("memory")
        return None if group is None else counters.largest_process(group)

    def processor_seconds(self) -> Processor:
        """Processor time used so far, in all, in user mode, in the kernel."""
        return counters.processor_seconds(self.groups, self._builder.places)

    def cpu_seconds(self) -> float:
        """Processor time used so far; 0 where that is not counted."""
        return counters.cpu_seconds(self.groups, self._builder.places) or 0.0

    def disk_used(self) -> int | None:
        """Bytes that the test has in the sandbox's private file system now; None where
        it has none.
        """
        return max(0, self._disk_blocks() - self._disk_base)

    def pass_over_disk(self, size: int) -> None:
        """Leave out bytes that somebody else has written there."""
        self._disk_base += size

    def _disk_blocks(self) -> int:
        look = os.statvfs(self.private)
        return (look.f_blocks - look.f_bfree) * look.f_frsize

    def disk_full(self) -> str:
        """Of what not one more can be had on the private file system: ``"bytes"``, ``"files"``, or
        nothing.
        """
        look = os.statvfs(self.private)
        return "bytes" if look.f_bfree == 0 else "files" if look.f_ffree == 0 else ""

    def is_empty(self, but: int | None = None) -> bool:
        """Whether surely nobody is alive in there besides PID 1 and ``but``; False where that takes
        a question.
        """
        return "pids" in self.groups and counters.is_empty(self.groups["pids"], but)

    def left_over(self) -> tuple[list[tuple[int, str]], int, bool]:
        """Who is still alive besides PID 1 once the test itself is over: some as (pid inside,
        command), how many, and whether nobody is.

        Helpers that end with their interpreter are not counted, but they are alive.
        """
        if self.is_empty():
            return [], 0, True  # the usual case: one read instead of a question
        try:
            self._builder.tell(ListProcesses(self._number))
            received = self._hear("the list of who is left in a sandbox")
        except ConnectionError:
            received = None
        except StepFailedError as error:
            ending.troubles.append(
                "isolate: pytest cannot tell which processes this test left behind:"
                f" {error.step} {error.path}"
            )
            received = None
        if received is None:
            return [], 0, True  # the builder is dead, and with it every process in there
        return self._listed(received[0])

    @staticmethod
    def _listed(found: Message) -> tuple[list[tuple[int, str]], int, bool]:
        assert isinstance(found, Processes)
        return found.listed(), found.count, found.nobody

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process in there, by its number in there."""
        try:
            self._builder.tell(SendSignal(self._number, pid, number))
        except ConnectionError:
            return  # the builder is dead, and with it every process in there

    def kill(self) -> None:
        """Kill PID 1, and with it every process in there, at once."""
        if self.pidfd >= 0:
            try:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return  # dead already

    def reap_strays(self) -> None:
        """Reap what ``strays.of`` finds: before that PID 1 does not end, and pytest might wait for
        it.
        """
        while found := strays.of(self.pidfd, self.recipe.namespaces):
            self.kill()  # one of them may be alive, and wait for ever
            for pid in found:
                ending.reap(pid, "a process that a test made pytest's child")

    def wait_dead(self) -> None:
        """Wait until not one process of the sandbox is alive; the test itself must be reaped
        before.
        """
        ending.wait_dead(self.pidfd, "a process of a sandbox")

    def descriptors(self) -> tuple[int, ...]:
        """Everything of ours that is open for this sandbox."""
        held = (
            self._channel.fileno(),
            self.pidfd,
            self.private,
            self.stdout,
            self.stderr,
            self.oom_event,
            *self.joins,
            *self._held,
            *self.network.descriptors,
        )
        return (*held, *(fd for others in self.beside for fd in others()))

    def reap_later(self, pid: int) -> None:
        """Reap, at some later time, a child of ours that is on its way out of there."""
        self._builder.unreaped.append(pid)

    def close_later(self) -> None:
        """Let go of everything while the next test runs: some of it wakes the builder or PID 1,
        which then want a processor.
        """
        self._builder.closing.append(self)

    def close(self) -> None:
        """Let go of everything; the builder unmakes the rest behind our back, as soon as the test
        is reaped.
        """
        if self.pidfd >= 0:
            self.reap_strays()
        self.beside.clear()
        held = self.descriptors()[1:]
        # First: a Ctrl-C may have it closed once more
        self.pidfd = self.private = self.stdout = self.stderr = self.oom_event = -1
        self.joins, self._held, self.network = (), (), NetworkCounters()
        for fd in held:
            if fd >= 0:
                os.close(fd)
        self._channel.close()
        self._builder.open.discard(self)
        self._builder.release(self._number)
