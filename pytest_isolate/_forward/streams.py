"""What a test says to a server over a stream, and back: carried by splice(2), so that no byte of it
comes into this process's memory.
"""

from __future__ import annotations

import _socket
import errno
import os

from pytest_isolate._forward.loop import IN, OUT, PIPE

TYPE_CHECKING = False  # importing typing for it would make the relay larger
if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_isolate._forward.loop import Loop, Pipe

_MOST_AT_ONCE = 4  # pipes full that one connection may carry before others have their turn
_NOT_YET = frozenset({errno.EINPROGRESS, errno.EAGAIN})
_TRY_AGAIN = 0.01  # seconds until a Unix server's queue may have room
_SPLICE_MOVE, _SPLICE_NONBLOCK = 1, 2
_FLAGS = _SPLICE_MOVE | _SPLICE_NONBLOCK
_RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: on, no time: the other side reads ECONNRESET
_NO_DELAY = 1  # TCP_NODELAY
_TCP = 6


class _Way:
    """One of a connection's two directions."""

    def __init__(self, source: _socket.socket, sink: _socket.socket) -> None:
        self.source, self.sink = source, sink
        self.pipe: Pipe | None = None
        self.held = 0  # bytes in the pipe
        self.is_over = False  # the source has said that no more will come
        self.is_done = False  # and the sink has been told
        self.carried = 0

    def carry(self, loop: Loop) -> None:
        """Carry what there is. Raises ``OSError`` when one of the two ends is broken."""
        for _ in range(_MOST_AT_ONCE):
            try:
                if not self.held and not self._fetch(loop):
                    break
                assert self.pipe is not None
                sent = os.splice(self.pipe[0], self.sink.fileno(), self.held, flags=_FLAGS)
            except BlockingIOError:
                break
            self.held -= sent
            self.carried += sent
        if not self.held:
            self.let_go(loop)
            if self.is_over and not self.is_done:
                self.is_done = True
                self.sink.shutdown(_socket.SHUT_WR)

    def _fetch(self, loop: Loop) -> bool:
        if self.is_over:
            return False
        if self.pipe is None:
            self.pipe = loop.take_pipe()
        self.held = os.splice(self.source.fileno(), self.pipe[1], PIPE, flags=_FLAGS)
        self.is_over = not self.held
        return not self.is_over

    def let_go(self, loop: Loop) -> None:
        """Of its pipe."""
        if self.pipe is not None:
            loop.give_back(self.pipe, is_empty=not self.held)
            self.pipe, self.held = None, 0


class Connection:
    """One of a test's, and the one to the server that answers it."""

    def __init__(
        self,
        loop: Loop,
        client: _socket.socket,
        to: tuple[str, int] | bytes,
        ended: Callable[[Connection], None],
    ) -> None:
        self._loop, self._client, self._to, self._ended = loop, client, to, ended
        self._server = _socket.socket(
            client.family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        )
        client.setblocking(False)
        if client.family != _socket.AF_UNIX:
            for each in (client, self._server):
                each.setsockopt(_TCP, _NO_DELAY, 1)
        self.there = _Way(client, self._server)
        self.back = _Way(self._server, client)
        self._is_connected = self._is_orphan = self._is_closed = False
        self.refused = 0  # errno, where the server would not have it

    def connect(self) -> None:
        """Reach the server."""
        if self._is_closed:
            return
        code = self._server.connect_ex(self._to)
        if code == errno.EAGAIN:  # a Unix server with a full queue
            self._loop.after(_TRY_AGAIN, self.connect)
        elif code in _NOT_YET:
            self._loop.want(self._server.fileno(), OUT, self._on_server)
        elif code:
            self._refuse(code)
        else:
            self._begin()

    def _refuse(self, code: int) -> None:
        self.refused = code
        self.close(reset=True)

    def _begin(self) -> None:
        self._is_connected = True
        self._carry(self.there, self.back)

    def _on_server(self, events: int) -> None:
        if self._is_connected:
            self._carry(*self._ways(events, self.back, self.there))
        elif code := self._server.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            self._refuse(code)
        else:
            self._begin()

    def _on_client(self, events: int) -> None:
        self._carry(*self._ways(events, self.there, self.back))

    @staticmethod
    def _ways(events: int, source: _Way, sink: _Way) -> tuple[_Way, ...]:
        if events & ~(IN | OUT):  # an error or a hang-up: whoever tries is told
            return source, sink
        return (*(() if not events & IN else (source,)), *(() if not events & OUT else (sink,)))

    def _carry(self, *ways: _Way) -> None:
        try:
            for way in ways:
                way.carry(self._loop)
        except OSError as error:
            # one of the two has gone without a word, or this process has no descriptor left for a
            # pipe
            self.close(reset=error.errno != errno.ENOTCONN)
            return
        if self.there.is_done and (self.back.is_done or self._is_orphan):
            self.close()
        else:
            self._want()

    def _want(self) -> None:
        for each, source, sink, handler in (
            (self._client, self.there, self.back, self._on_client),
            (self._server, self.back, self.there, self._on_server),
        ):
            reads = not source.held and not source.is_over
            self._loop.want(
                each.fileno(), (IN if reads else 0) | (OUT if sink.held else 0), handler
            )

    def orphan(self) -> None:
        """End when the test is over: what it has said still goes to the server, and nobody waits
        for an answer.
        """
        self._is_orphan = True
        if self.there.is_done:
            self.close()

    def close(self, *, reset: bool = False) -> None:
        """End it; with ``reset`` so that both sides read an error, not an end."""
        if self._is_closed:
            return
        self._is_closed = True
        for way in (self.there, self.back):
            way.let_go(self._loop)
        for each in (self._client, self._server):
            self._loop.forget(each.fileno())
            if reset and each.family != _socket.AF_UNIX:
                each.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
            each.close()
        self._ended(self)
