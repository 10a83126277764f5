"""A port that a test binds itself is the test's: before it does, the relay is asked to let go of
it.

In the child, by an audit event of Python's. The relay listens in each sandbox's network that has
one, at an abstract name; where it does not, the kernel says so at once.
"""

from __future__ import annotations

import _socket

_RELAY = b"\0pytest-isolate-relay"  # as of _forward.place, which knows nothing of pytest's process
_LONGEST = 5.0  # seconds that it may take; it waits for nobody but a processor
_FAMILIES = frozenset({_socket.AF_INET, _socket.AF_INET6})
_Socket = _socket.socket  # bound before a test can replace it


def claim(sock: object, address: object = None, *_: object) -> None:
    """Before ``bind(2)``. Whatever is wrong with the two, that says."""
    if (
        isinstance(sock, _Socket)
        and sock.family in _FAMILIES
        and isinstance(address, tuple)
        and len(address) >= 2
        and isinstance(address[1], int)
        and 0 < address[1] < 1 << 16
    ):
        _ask(b"%d:%d" % (sock.type, address[1]))


def _ask(message: bytes) -> None:
    relay = _Socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        relay.bind("")  # the kernel gives it a name to answer to
        relay.settimeout(_LONGEST)
        relay.connect(_RELAY)
        relay.send(message)
        relay.recv(1)
    except OSError:  # there is none, or it is gone, and every port is free
        return
    finally:
        relay.close()
