"""What a test sends to a server in datagrams, and what comes back: for each of its addresses one
socket outside, as a router has it.
"""

from __future__ import annotations

import _socket

from pytest_isolate._forward.loop import IN

TYPE_CHECKING = False  # importing typing for it would make the relay larger
if TYPE_CHECKING:
    from pytest_isolate._forward.loop import Loop

    Address = tuple[str, int]

_MOST = 500  # addresses of one test; then the one that was silent for longest is forgotten
_MOST_AT_ONCE = 64  # datagrams, before others have their turn
_LARGEST = 1 << 16
_ROOM = 64  # bytes for where a datagram went
_PKTINFO = 8  # IP_PKTINFO: index, address that was meant, address that the packet has
_PKTINFO6 = 50  # IPV6_PKTINFO, and IPV6_RECVPKTINFO one before it: address, index


class _Route:
    """From one address of a test to the server, and back."""

    def __init__(self, listener: Datagrams, client: Address, meant: bytes | None) -> None:
        self.client, self.meant = client, meant
        self.outside = _socket.socket(
            listener.family, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        )
        self._listener = listener

    def back(self, _: int) -> None:
        """Pass on what the server says."""
        for _ in range(_MOST_AT_ONCE):
            try:
                self._listener.answer(self, self.outside.recv(_LARGEST))
            except BlockingIOError:
                return
            except OSError as error:  # nobody has the server's port any more
                self._listener.refused = error.errno or 0
                return


class Datagrams:
    """A UDP server's socket in a sandbox."""

    def __init__(self, loop: Loop, inside: _socket.socket, port: int) -> None:
        self._loop, self._inside, self._port = loop, inside, port
        self.family = inside.family
        self.refused = 0
        self._is_closed = False
        self._counted = self._sent = self._received = 0
        # The one that spoke last is the last
        self._routes: dict[tuple[Address, bytes | None], _Route] = {}
        if self.family == _socket.AF_INET6:
            inside.setsockopt(_socket.IPPROTO_IPV6, _PKTINFO6 - 1, 1)
        else:
            inside.setsockopt(_socket.IPPROTO_IP, _PKTINFO, 1)
        loop.want(inside.fileno(), IN, self.there)

    def there(self, _: int = IN) -> None:
        """Pass on what a test says."""
        for _ in range(_MOST_AT_ONCE):
            try:
                data, ancillary, _, client = self._inside.recvmsg(_LARGEST, _ROOM)
            except OSError:
                # Nothing more, or an answer came to an address that nobody has any more
                return
            meant = next(
                (value for level, kind, value in ancillary if kind in {_PKTINFO, _PKTINFO6}), None
            )
            try:
                self._route(client[:2], meant).outside.send(data)
                self._sent += len(data)
            except BlockingIOError:
                continue  # as a full queue has it: a datagram may be lost
            except OSError as error:
                self.refused = error.errno or 0

    def _route(self, client: Address, meant: bytes | None) -> _Route:
        route = self._routes.pop((client, meant), None)
        if route is None:
            if len(self._routes) >= _MOST:
                self._forget(self._routes.pop(next(iter(self._routes))))
            route = _Route(self, client, meant)
            try:
                route.outside.connect((self._address(meant), self._port))
            except OSError:
                route.outside.close()
                raise
            self._loop.want(route.outside.fileno(), IN, route.back)
            self._counted += 1
        self._routes[client, meant] = route
        return route

    def _address(self, meant: bytes | None) -> str:
        """Where a datagram was sent to."""
        if meant is None:
            return str(self._inside.getsockname()[0])
        return _socket.inet_ntop(
            self.family, meant[:16] if self.family == _socket.AF_INET6 else meant[8:12]
        )

    def answer(self, route: _Route, data: bytes) -> None:
        """Have a test read it from where it had sent to."""
        level, kind = (
            (_socket.IPPROTO_IPV6, _PKTINFO6)
            if self.family == _socket.AF_INET6
            else (_socket.IPPROTO_IP, _PKTINFO)
        )
        meant = route.meant
        if meant is not None and self.family == _socket.AF_INET:
            # The address to send from stands where that which was meant for us stood
            meant = bytes(4) + meant[8:12] + bytes(4)
        try:
            self._inside.sendmsg(
                [data], [] if meant is None else [(level, kind, meant)], 0, route.client
            )
            self._received += len(data)
        except OSError:  # nobody is there any more
            return

    def _forget(self, route: _Route) -> None:
        self._loop.forget(route.outside.fileno())
        route.outside.close()

    def used(self) -> tuple[int, int, int, int]:
        """Addresses that sent something, bytes to the server and from it, and the errno where
        nobody took them.
        """
        if not self._is_closed:
            self.there()
        return self._counted, self._sent, self._received, self.refused

    def close(self) -> None:
        """End when the test is over, or wants the port: what it has sent goes to the server."""
        if self._is_closed:
            return
        self.there()
        self._is_closed = True
        for route in self._routes.values():
            self._forget(route)
        self._routes.clear()
        self._loop.forget(self._inside.fileno())
        self._inside.close()
