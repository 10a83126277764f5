"""The builder: a small process, exec'd once, that makes and unmakes the kernel's objects off
pytest's path.

Theory of operation. pytest is large and forking it is dear, so it forks only for the test itself.
Everything else that a sandbox needs is made here, in a Python of 10 MB without site-packages: the
control groups, the namespaces and what is in them, and a PID 1 (``holder.py``). pytest asks by a
packet with one end of the sandbox's own channel and may ask ahead; the answers come on that
channel. When the packets end, pytest is gone, by whatever death: the builder kills the PID 1s, and
with each its namespace, removes the groups and leaves.
"""

from __future__ import annotations

import os
import select
import sys
import time

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import signals
from pytest_isolate._linux.cgroup.groups import RunGroups, remove
from pytest_isolate._linux.kin import Kin
from pytest_isolate._sandbox import wire
from pytest_isolate._sandbox.holder import Holder, Nobody
from pytest_isolate._sandbox.left_over import Question, send_signal
from pytest_isolate._sandbox.recipe import Recipe
from pytest_isolate._sandbox.requests import (
    Build,
    Failed,
    Finish,
    GroupsMade,
    Learn,
    ListProcesses,
    MakeGroups,
    Message,
    OfSandbox,
    Ready,
    Release,
    SendSignal,
    receive,
)

_UNMAKING_LONGEST = 5.0  # seconds
_LOOK_AGAIN = 10  # milliseconds; v1 has no event for a group that became empty


class _Sandbox:
    """One of pytest's sandboxes."""

    def __init__(self, channel: wire.Channel, holder: Holder, groups: dict[str, str]) -> None:
        self.channel, self.holder, self.groups = channel, holder, groups
        self.question: Question | None = None
        self.spans: list[float] = []  # when it was worked on: begin and end, in monotonic seconds


class Builder:
    """All that lives in this process: sandboxes by number."""

    def __init__(self, requests: wire.Channel) -> None:
        self._requests = requests
        self._kin = Kin()
        self._groups: RunGroups | None = None
        self._sandboxes: dict[int, _Sandbox] = {}
        self._recipes: dict[int, Recipe] = {}
        self._dying: list[str] = []  # groups to remove as soon as they are empty
        # With a killed PID 1 that is not yet reaped, by pidfd
        self._ending: dict[int, _Sandbox] = {}
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)
        self._parent = os.pidfd_open(os.getppid())
        self._poll.register(self._parent, select.POLLIN)

    def serve(self) -> None:
        """Answer requests until pytest is gone, then unmake everything."""
        try:
            while (received := self._next_request()) is not None:
                self._obey(*received)
        finally:
            for number in list(self._sandboxes):
                self._release(number)
            self._unmake()

    def _obey(self, request: Message, descriptors: list[int]) -> None:
        if isinstance(request, Build):
            self._build(
                request.sandbox, self._recipes[request.recipe], wire.Channel(fileno=descriptors[0])
            )
        elif isinstance(request, Learn):
            self._recipes[request.recipe] = Recipe.unpack(request.packed)
        elif isinstance(request, MakeGroups):
            self._make_groups(request)
        elif (
            isinstance(request, OfSandbox)
            and (sandbox := self._sandboxes.get(request.sandbox)) is not None
        ):  # else it could not be built, which was said
            self._see_to(sandbox, request)

    def _see_to(self, sandbox: _Sandbox, request: OfSandbox) -> None:
        if isinstance(request, Release):
            self._release(request.sandbox)
        elif isinstance(request, Finish):
            self._finish(sandbox)
        elif isinstance(request, SendSignal):
            send_signal(sandbox.holder.proc, request.pid, request.number)
        elif isinstance(request, ListProcesses):
            sandbox.question = Question(sandbox.holder.proc)

    def _next_request(self) -> tuple[Message, list[int]] | None:
        """None once pytest is gone.

        A copy of its socket in some forked child of its own must not hide that: hence the pidfd.
        """
        while True:
            again = self._answer()
            ready = {fd for fd, _ in self._poll.poll(None if again is None else again * 1000)}
            self._reap(ready)
            if self._requests.fileno() in ready:
                return receive(self._requests)
            if self._parent in ready:
                return None

    def _answer(self) -> float | None:
        """Look for what pytest wants to know. In how many seconds to look again."""
        again: list[float] = []
        for sandbox in self._sandboxes.values():
            if sandbox.question is not None:
                found, soon = sandbox.question.look()
                if found is not None:
                    sandbox.question = None
                    _say(sandbox.channel, found)
                else:
                    again.append(soon)
        return min(again, default=None)

    def _make_groups(self, request: MakeGroups) -> None:
        try:
            self._groups = RunGroups(request.places())
        except StepFailedError as error:
            Failed.of(error).send(self._requests)
        else:
            GroupsMade().send(self._requests)

    def _build(self, number: int, recipe: Recipe, channel: wire.Channel) -> None:
        holder = (Holder if recipe.namespaces else Nobody)(self._kin, recipe)
        sandbox = _Sandbox(channel, holder, {})
        sandbox.spans.append(time.monotonic())
        try:
            if self._groups is not None:
                sandbox.groups = self._groups.make(str(number), recipe.limits)
            holder.build()
        except StepFailedError as error:
            self._give_up(sandbox, error)
            return
        self._sandboxes[number] = sandbox
        sandbox.spans.append(time.monotonic())
        if not recipe.waits:
            self._announce(sandbox)

    def _give_up(self, sandbox: _Sandbox, error: StepFailedError) -> None:
        """Say that it could not be built, and leave nothing of it."""
        self._dying += set(sandbox.groups.values())
        sandbox.holder.kill()
        if sandbox.holder.pid:
            sandbox.holder.reap()  # there was nobody else in there
        _say(sandbox.channel, Failed.of(error))
        sandbox.channel.close()

    def _finish(self, sandbox: _Sandbox) -> None:
        begun = time.monotonic()
        try:
            sandbox.holder.finish()
        except StepFailedError as error:
            _say(sandbox.channel, Failed.of(error))  # its release will come
        else:
            sandbox.spans += (begun, time.monotonic())
            self._announce(sandbox)

    def _announce(self, sandbox: _Sandbox) -> None:
        """Give pytest what it needs of a sandbox, or say why it cannot be had: then its "release"
        comes, as for every other.
        """
        joins: list[int] = []
        try:
            for group in dict.fromkeys(sandbox.groups.values()):
                with Step("open", path := _join_file(group)):
                    joins.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
            with Step("send", "the sandbox's descriptors to pytest"):
                ready, descriptors = Ready.of(
                    sandbox.groups, sandbox.holder.handles(joins), tuple(sandbox.spans)
                )
                ready.send(sandbox.channel, descriptors)
        except StepFailedError as error:
            _say(sandbox.channel, Failed.of(error))
        finally:
            for fd in joins:
                os.close(fd)
            sandbox.holder.let_go()

    def _release(self, number: int) -> None:
        sandbox = self._sandboxes.pop(number)
        sandbox.channel.close()
        sandbox.holder.kill()
        self._dying += set(sandbox.groups.values())
        if sandbox.holder.pid:
            self._ending[sandbox.holder.pidfd] = sandbox
            self._poll.register(sandbox.holder.pidfd, select.POLLIN)
        else:  # nobody is in there any more, by pytest's word
            self._clean()

    def _reap(self, ready: set[int]) -> None:
        for pidfd in (ended := ready & self._ending.keys()):
            self._poll.unregister(pidfd)
            self._ending.pop(pidfd).holder.reap()
        if ended:  # not before: a group with somebody in it cannot be removed
            self._clean()

    def _unmake(self) -> None:
        """At the end: remove every group once it is empty.

        What is not empty by then is the next run's to sweep.
        """
        self._poll.unregister(self._requests)
        self._poll.unregister(self._parent)
        until = time.monotonic() + _UNMAKING_LONGEST
        while (self._dying or self._ending) and time.monotonic() < until:
            self._reap({fd for fd, _ in self._poll.poll(_LOOK_AGAIN)})
            self._clean()
            if not self._dying and self._parent_is_gone():
                break  # then init reaps the test in its own time, and with it PID 1
        if self._groups is not None:
            self._groups.close()

    def _parent_is_gone(self) -> bool:
        poll = select.poll()
        poll.register(self._parent, select.POLLIN)
        return bool(poll.poll(0))

    def _clean(self) -> None:
        self._dying = [group for group in self._dying if not remove(group)]


def _say(channel: wire.Channel, message: Message) -> None:
    try:
        message.send(channel)
    except ConnectionError:
        return  # pytest does not want it any more


def _join_file(group: str) -> str:
    """Where a process of one thread writes 0 to join.

    v1's ``tasks`` moves that thread alone and so does without the lock that stops every fork on the
    machine, whose taking waits for an RCU grace period: 0.05 ms instead of up to 7 for four
    hierarchies.
    """
    tasks = f"{group}/tasks"
    return tasks if os.path.exists(tasks) else f"{group}/cgroup.procs"


def main() -> None:
    """Entry point of the process; standard input is the channel of requests."""
    signals.signal(signals.SIGINT, signals.SIG_IGN)  # Ctrl-C is pytest's to answer
    Builder(wire.requests()).serve()
    sys.exit(0)
