"""Which servers shared fixtures have started: in pytest's own threads, in its processes and in
those that left these.

Theory of operation. Only the kernel knows who listens (``_linux/sock_diag.py``), and only /proc
whose that is. Before each test it is asked as little as possible: nothing where no code of fixtures
ran since the last look and pytest has neither processes nor threads that could have begun to listen
meanwhile; else the kernel's list, 0.3 ms; and who has what, where that list has changed.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pytest_isolate._forward import owners
from pytest_isolate._forward.owners import SetUp
from pytest_isolate._forward.place import ABSTRACT, UNIX, Place
from pytest_isolate._forward.server import Server
from pytest_isolate._linux import sock_diag
from pytest_isolate._linux.listening import Listening

_STREAM = 1  # SOCK_STREAM
_MOST_SET_UPS = 1000  # of fixtures in which a process was started; nobody has more servers


class Started(NamedTuple):
    """What there was before a fixture was set up."""

    pids: set[int]
    reaped: tuple[int, int]
    tick: int

    @classmethod
    def here(cls, pids: set[int]) -> Started:
        """Now, with these children."""
        return cls(pids, _reaped(), owners.now())


class Finder:
    """Of one run.

    ``requests`` gives the encoded questions, when they are needed first; it raises
    ``StepFailedError``.
    """

    def __init__(
        self, requests: Callable[[], Sequence[bytes]], began: int, before: frozenset[int]
    ) -> None:
        self._requests = requests
        self._began, self._before = began, before  # when the run did, and which sockets there were
        self._state: object = None
        self._list: list[Listening] = []
        self.found: tuple[Server, ...] = ()  # as of the last look
        # Inodes -> the fixture in whose set-up this process got them
        self.sockets: dict[int, str] = {}
        self._processes: dict[int, str] = {}  # pids -> the fixture that started them
        self._set_ups: list[SetUp] = []  # in which processes were started, which may have left us
        self._others: set[int] = set()  # inodes of sockets that are nobody's of these
        self.unknown: str | None = None  # why the kernel could not be asked

    def note(self, fixture: str, before: Started, pids: set[int], sockets: set[int]) -> None:
        """Remember what a fixture started that was set up."""
        new = pids - before.pids
        self._processes.update(dict.fromkeys(new, fixture))
        self.sockets.update(dict.fromkeys(sockets, fixture))
        if new or _reaped() != before.reaped:
            said = os.environ.get("PYTEST_CURRENT_TEST", "")
            self._set_ups = [
                *self._set_ups[-_MOST_SET_UPS:],
                SetUp(fixture, said, before.tick, owners.now()),
            ]

    def listening(self) -> list[Listening]:
        """Ask for the kernel's list. Raises ``OSError`` and ``StepFailedError``."""
        return sock_diag.listening(self._requests())

    def look(self, changes: int, children: set[int]) -> tuple[Server, ...]:
        """All that there are now.

        ``changes``: a number that is another when code of fixtures ran. Raises ``StepFailedError``.
        """
        live = bool(children or self._set_ups or threading.active_count() > 1)
        state = changes, children
        if (state == self._state and not live) or self.unknown is not None:
            return self.found
        if not live and not owners.own_servers() - self._before:
            self._list, self.found = [], ()
        else:
            try:
                now = self.listening()
            except OSError as error:  # a /proc that is not there
                self.unknown = error.strerror or str(error)
                return ()
            if now != self._list or state != self._state:
                self._list = now
                self.found = tuple(
                    dict.fromkeys(self._servers({each.inode: each for each in now}, children))
                )
        self._state = state
        return self.found

    def _servers(self, waiting: dict[int, Listening], children: set[int]) -> Iterator[Server]:
        for inode in self._before:
            waiting.pop(inode, None)
        for inode in waiting.keys() & owners.own_servers():
            yield from _server(
                waiting.pop(inode), os.getpid(), "pytest itself", self.sockets.get(inode)
            )
        for pid, root in owners.tree(children, self._began):
            for inode in waiting.keys() & owners.sockets_of(pid):
                yield from _server(
                    waiting.pop(inode), pid, owners.command(pid), self._processes.get(root)
                )
        if self._set_ups and not waiting.keys() <= self._others:
            for pid, fixture in owners.daemons(self._set_ups):
                for inode in waiting.keys() & owners.sockets_of(pid):
                    yield from _server(waiting.pop(inode), pid, owners.command(pid), fixture)
            self._others = set(waiting)


def _reaped() -> tuple[int, int]:
    """Return what changes when a process of this one was waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_minflt, used.ru_nvcsw


def _server(each: Listening, pid: int, process: str, fixture: str | None) -> Iterator[Server]:
    if each.kind != UNIX:
        yield Server(Place(each.kind, each.address, each.port, each.only_v6), process, fixture)
    elif each.address.startswith("\0"):
        if each.type == _STREAM:
            yield Server(Place(ABSTRACT, each.address[1:]), process, fixture)
    elif each.address != _forkserver() and (path := _real(each.address, pid)) is not None:
        yield Server(Place(UNIX, path), process, fixture)


def _real(path: str, pid: int) -> str | None:
    """Return a socket's path without symbolic links; None if there is no socket by that name any
    more.
    """
    if not path.startswith("/"):
        base = owners.directory(pid)
        if base is None:
            return None
        path = os.path.join(base, path)
    try:
        return os.path.realpath(path) if stat.S_ISSOCK(os.stat(path).st_mode) else None
    except OSError:
        return None


def _forkserver() -> str | None:
    """multiprocessing's: what it starts would be outside, so no test has it."""
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    return getattr(server, "_forkserver_address", None)
