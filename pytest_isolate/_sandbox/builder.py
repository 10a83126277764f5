"""The builder: a small process, exec'd once, that makes and unmakes the kernel's objects off pytest's path.

Theory of operation. pytest is large and forking it is dear, so it forks only for the test itself. Everything else
that a sandbox needs is made here, in a Python of 10 MB without site-packages: the control groups and, by clone(2), a
holder that becomes PID 1 of the new namespaces. pytest asks by a packet with one end of the sandbox's own channel and
may ask ahead. Both the builder (pid, pidfd, groups) and the holder (ready) answer on that channel. When the packets end, pytest is
gone, by whatever death: the builder kills the holders, and with each its namespace, removes the groups and leaves.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import time

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import cgroup, signals, syscalls
from pytest_isolate._sandbox import holder, wire

_UNMAKING_LONGEST = 5.0  # seconds
_LOOK_AGAIN = 10  # milliseconds; v1 has no event for a group that became empty


class Builder:
    """All that lives in this process: sandboxes by number, each a pidfd and its groups."""

    def __init__(self, requests: wire.Channel) -> None:
        self._requests = requests
        self._groups: cgroup.RunGroups | None = None
        self._sandboxes: dict[str, tuple[int, int, dict[str, str]]] = {}
        self._recipes: dict[str, wire.Recipe] = {}
        self._dying: list[str] = []  # groups to remove as soon as they are empty
        self._ending: dict[int, int] = {}  # killed holders not yet reaped: pidfd -> pid
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)
        self._parent = os.pidfd_open(os.getppid())
        self._poll.register(self._parent, select.POLLIN)

    def serve(self) -> None:
        """Answer requests until pytest is gone, then unmake everything."""
        try:
            while (received := self._next_request()) is not None:
                (kind, *fields), descriptors = received
                if kind == "build":
                    self._build(fields[0], fields[1], descriptors[0])
                elif kind == "learn":
                    self._recipes[fields[0]] = wire.unpacked(fields[1])
                elif kind == "release":
                    self._release(*fields)
                elif kind == "groups":
                    self._open_groups(fields)
        finally:
            for number in list(self._sandboxes):
                self._release(number)
            self._unmake()

    def _next_request(self) -> tuple[wire.Message, list[int]] | None:
        """None once pytest is gone. A copy of its socket in some forked child of its own must not hide that: hence the pidfd."""
        while True:
            ready = {fd for fd, _ in self._poll.poll()}
            self._reap(ready)
            if self._requests.fileno() in ready:
                return wire.receive(self._requests)
            if self._parent in ready:
                return None

    def _open_groups(self, fields: list[str]) -> None:
        places = zip(fields[::3], fields[1::3], fields[2::3])  # noqa: B905 - pytest's word
        try:
            self._groups = cgroup.RunGroups({name: cgroup.Hierarchy(int(version), directory) for name, version, directory in places})
        except StepFailedError as error:
            wire.send(self._requests, "failed", error.step, error.path, error.errno)
        else:
            wire.send(self._requests, "ready")

    def _build(self, number: str, name: str, descriptor: int) -> None:
        channel = wire.Channel(fileno=descriptor)
        recipe = self._recipes[name]
        groups: dict[str, str] = {}
        try:
            if self._groups is not None:
                groups = self._groups.make(number, recipe["limits"])
            with Step("clone into", "new namespaces"):
                pid, pidfd = syscalls.clone(recipe["namespaces"])
        except StepFailedError as error:
            self._dying += set(groups.values())
            _say_failed(channel, error)
            channel.close()
            return
        if pid == 0:
            # Directories of the machine, pytest's pidfd and others' sandboxes are open here, and a test that is root can reach
            # whatever its PID 1 has open, through /proc/1/fd.
            self._requests.close()
            os.closerange(3, channel.fileno())
            os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
            holder.main(channel, recipe)
        self._sandboxes[number] = (pid, pidfd, groups)
        self._announce(channel, pidfd, groups)
        channel.close()
        self._clean()

    def _announce(self, channel: wire.Channel, pidfd: int, groups: dict[str, str]) -> None:
        """Give pytest what it needs of a sandbox, or say why it cannot be had: then its "release" comes, as for every other."""
        joins: list[int] = []
        try:
            for group in dict.fromkeys(groups.values()):
                with Step("open", path := _join_file(group)):
                    joins.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
            with Step("send", "the sandbox's descriptors to pytest"):
                wire.send(channel, "groups", *[field for group in groups.items() for field in group], descriptors=(pidfd, *joins))
        except StepFailedError as error:
            _say_failed(channel, error)
        finally:
            for fd in joins:
                os.close(fd)

    def _release(self, number: str) -> None:
        if (sandbox := self._sandboxes.pop(number, None)) is None:
            return  # it was never built
        pid, pidfd, groups = sandbox
        signals.pidfd_send_signal(pidfd, signals.SIGKILL)
        # Not waited for: PID 1 ends after every process of its namespace is reaped, and the test itself is another's child.
        self._ending[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._dying += set(groups.values())
        self._clean()

    def _reap(self, ready: set[int]) -> None:
        for pidfd in ready & self._ending.keys():
            os.waitpid(self._ending.pop(pidfd), 0)
            self._poll.unregister(pidfd)
            os.close(pidfd)
        self._clean()

    def _unmake(self) -> None:
        """At the end: remove every group once it is empty. What is not empty by then is the next run's to sweep."""
        self._poll.unregister(self._requests)
        self._poll.unregister(self._parent)
        until = time.monotonic() + _UNMAKING_LONGEST
        while (self._dying or self._ending) and time.monotonic() < until:
            self._reap({fd for fd, _ in self._poll.poll(_LOOK_AGAIN)})
            if not self._dying and self._parent_is_gone():
                break  # then init reaps the test in its own time, and with it the holder
        if self._groups is not None:
            self._groups.close()

    def _parent_is_gone(self) -> bool:
        poll = select.poll()
        poll.register(self._parent, select.POLLIN)
        return bool(poll.poll(0))

    def _clean(self) -> None:
        self._dying = [group for group in self._dying if not cgroup.remove(group)]


def _say_failed(channel: wire.Channel, error: StepFailedError) -> None:
    try:
        wire.send(channel, "failed", error.step, error.path, error.errno)
    except ConnectionError:
        return  # pytest does not want it any more: PID 1 may have failed too, and said so first


def _join_file(group: str) -> str:
    """Where a process of one thread writes 0 to join.

    v1's ``tasks`` moves that thread alone and so does without the lock that stops every fork on the machine, whose taking
    waits for an RCU grace period: 0.05 ms instead of up to 7 for four hierarchies.
    """
    tasks = f"{group}/tasks"
    return tasks if os.path.exists(tasks) else f"{group}/cgroup.procs"


def main() -> None:
    """Entry point of the process; standard input is the channel of requests."""
    signals.signal(signals.SIGINT, signals.SIG_IGN)  # Ctrl-C is pytest's to answer
    gc.disable()  # a collection in a holder would write to, and so copy, every page of this process; nothing here makes many cycles
    requests = wire.Channel(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    Builder(requests).serve()
    sys.exit(0)
