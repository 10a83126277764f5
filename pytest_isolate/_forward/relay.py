"""The relay: a small process, exec'd once, that stands between tests and the servers of their
shared fixtures.

Theory of operation. A sandbox's network has nothing but a loopback of its own. For each server this
process has a socket there, at the server's own address and port (``inside.py``); who comes there is
connected to the server outside, and what they say to each other is carried (``streams.py``,
``datagrams.py``). One process for a run, and not a thread of pytest: no flood holds pytest up.
Nothing here waits for anybody but in one epoll(7); each sandbox has so many connections and no
more, and then its own tests wait. It forgets a sandbox when that's PID 1 ends, and leaves when
pytest does, by whatever death. No test's code runs in it.
"""

from __future__ import annotations

import _socket
import os
import resource
import sys

from pytest_isolate._errors import StepFailedError
from pytest_isolate._forward.datagrams import Datagrams
from pytest_isolate._forward.inside import open_sockets
from pytest_isolate._forward.loop import IN, Loop
from pytest_isolate._forward.place import RELAY, UDP, Place
from pytest_isolate._forward.requests import AskUsed, Opened, OpenServers, Places, Used
from pytest_isolate._forward.streams import Connection
from pytest_isolate._linux import signals
from pytest_isolate._linux.kin import Kin
from pytest_isolate._sandbox import wire
from pytest_isolate._sandbox.requests import Failed, Message, receive

TYPE_CHECKING = False  # importing typing for it would make the relay larger
if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CONNECTIONS = 1000  # of one sandbox at a time; the next ones wait in the queue of their socket
_DESK = Place(RELAY, "pytest-isolate-relay")  # as of _own_ports
_UNTIL_THERE_IS_ROOM = 0.05  # seconds; other sandboxes may let go of descriptors
_MOST_AT_ONCE = 32  # that are taken before others have their turn
_DRAINING_LONGEST = 5.0  # seconds that a server has to read what a test said before it was over


class _Listener:
    """A stream's socket in a sandbox."""

    def __init__(self, loop: Loop, inside: _socket.socket, sandbox: _Sandbox) -> None:
        self._loop, self._inside, self._sandbox = loop, inside, sandbox
        self._open: set[Connection] = set()
        self._counted = self._sent = self._received = self._refused = 0
        self._is_closed = False
        self.resume()

    def resume(self) -> None:
        """Take who comes."""
        if not self._is_closed:
            self._loop.want(self._inside.fileno(), IN, self.accept)

    def accept(self, _: int = IN) -> None:
        """Take who has come, if there is room."""
        for _ in range(_MOST_AT_ONCE):
            if not self._sandbox.has_room:
                self._loop.want(self._inside.fileno(), 0, self.accept)
                return
            try:
                self._take()
            except BlockingIOError:
                return
            except OSError:  # this process has no descriptor left
                self._loop.want(self._inside.fileno(), 0, self.accept)
                self._loop.after(_UNTIL_THERE_IS_ROOM, self.resume)
                return

    def _take(self) -> None:
        client = _socket.socket(fileno=self._inside._accept()[0])  # type: ignore[attr-defined]  # as socket.socket.accept does
        self._counted += 1
        to = client.getsockname()
        try:
            connection = Connection(
                self._loop, client, to if isinstance(to, bytes) else to[:2], self._ended
            )
        except OSError:
            client.close()
            raise
        self._open.add(connection)
        self._sandbox.connections.add(connection)
        connection.connect()

    def _ended(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._sent += connection.there.carried
        self._received += connection.back.carried
        self._refused = connection.refused or self._refused
        self._sandbox.ended(connection)

    def used(self) -> tuple[int, int, int, int]:
        """Return connections, bytes to the server and from it, and the errno of one that it would
        not have.
        """
        if not self._is_closed:
            self.accept()
        sent = self._sent + sum(each.there.carried for each in self._open)
        return (
            self._counted,
            sent,
            self._received + sum(each.back.carried for each in self._open),
            self._refused,
        )

    def close(self) -> None:
        """Nobody comes any more: who has come already is taken."""
        if self._is_closed:
            return
        self.accept()
        self._is_closed = True
        self._loop.forget(self._inside.fileno())
        self._inside.close()


class _Desk:
    """Where a test says which ports are its own. Whatever else it says there is nothing."""

    def __init__(self, loop: Loop, inside: _socket.socket, let_go: Callable[[bytes], None]) -> None:
        self._loop, self._inside, self._let_go = loop, inside, let_go
        loop.want(inside.fileno(), IN, self._hear)

    def _hear(self, _: int) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                message, sender = self._inside.recvfrom(32)
                self._let_go(message)
                if sender is not None:  # else nobody waits for an answer
                    self._inside.sendto(b"1", sender)
            except OSError:  # no more, or nobody who listens
                return

    def close(self) -> None:
        """End it when the test is over."""
        self._loop.forget(self._inside.fileno())
        self._inside.close()


class _Sandbox:
    """What the relay has for one sandbox, until its PID 1 ends."""

    def __init__(
        self, loop: Loop, pidfd: int, places: list[Place], sockets: list[_socket.socket]
    ) -> None:
        self._loop, self._pidfd = loop, pidfd
        self.connections: set[Connection] = set()
        self._desk = _Desk(loop, sockets.pop(), self._let_go)
        self._places = places
        self.listeners: list[_Listener | Datagrams] = [
            (
                Datagrams(loop, inside, place.port)
                if place.kind == UDP
                else _Listener(loop, inside, self)
            )
            for place, inside in zip(places, sockets)  # noqa: B905 - one for each
        ]

    def _let_go(self, message: bytes) -> None:
        """Of a port that the test wants itself."""
        for place, listener in zip(self._places, self.listeners):  # noqa: B905 - one for each
            if message == b"%d:%d" % (
                _socket.SOCK_DGRAM if place.kind == UDP else _socket.SOCK_STREAM,
                place.port,
            ):
                listener.close()

    @property
    def has_room(self) -> bool:
        """Whether one more connection may be."""
        return len(self.connections) < MOST_CONNECTIONS

    def ended(self, connection: Connection) -> None:
        """There is room again."""
        was_full = not self.has_room
        self.connections.discard(connection)
        if was_full:
            for each in self.listeners:
                if isinstance(each, _Listener):
                    each.resume()

    def leave(self) -> None:
        """Its PID 1 has ended."""
        self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._desk.close()
        for each in self.listeners:
            each.close()
        for connection in list(self.connections):
            connection.orphan()
        if self.connections:
            self._loop.after(_DRAINING_LONGEST, self._cut)

    def _cut(self) -> None:
        for connection in list(self.connections):
            connection.close(reset=True)


class Relay:
    """All that lives in this process."""

    def __init__(self, requests: wire.Channel) -> None:
        self._requests = requests
        self._kin = Kin()
        self._loop = Loop()
        self._sandboxes: dict[int, _Sandbox] = {}
        self._is_needed = True
        self._loop.want(requests.fileno(), IN, self._hear)
        # A copy of pytest's socket in some child of its own must not hide its end
        self._parent = os.pidfd_open(os.getppid())
        self._loop.want(self._parent, IN, self._on_end)

    def serve(self) -> None:
        """Until pytest is gone."""
        while self._is_needed:
            self._loop.turn()

    def _on_end(self, _: int) -> None:
        self._is_needed = False

    def _hear(self, _: int) -> None:
        received = receive(self._requests)
        if received is None:
            self._is_needed = False
            return
        request, descriptors = received
        if isinstance(request, OpenServers):
            self._open(request, descriptors[0])
        elif isinstance(request, AskUsed):
            self._say_used(request.sandbox)

    def _open(self, request: OpenServers, pidfd: int) -> None:
        places, number = (
            [Place(*each) for each in Places.unpack(request.packed).places],
            request.sandbox,
        )
        try:
            sockets = open_sockets(self._kin, pidfd, request.namespaces, [*places, _DESK])
        except StepFailedError as error:
            os.close(pidfd)
            self._say(Failed.of(error))
            return
        sandbox = self._sandboxes[number] = _Sandbox(self._loop, pidfd, places, sockets)

        def leave(_: int) -> None:
            self._sandboxes.pop(number, None)
            sandbox.leave()

        self._loop.want(pidfd, IN, leave)
        self._say(Opened())

    def _say_used(self, number: int) -> None:
        listeners = self._sandboxes[number].listeners if number in self._sandboxes else []
        self._say(Used(tuple(str(figure) for each in listeners for figure in each.used())))

    def _say(self, message: Message) -> None:
        try:
            message.send(self._requests)
        except OSError:
            self._is_needed = False


def main() -> None:
    """Entry point of the process; standard input is the channel of requests."""
    signals.signal(signals.SIGINT, signals.SIG_IGN)  # Ctrl-C is pytest's to answer
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Relay(wire.requests()).serve()
    sys.exit(0)
