"""Sockets in a sandbox's network, at the places where a test looks for its servers.

Made by a process that shares this one's memory and descriptors (``_linux/kin.py``), joins the sandbox's network for it and is gone
then: the sockets are this process's. Root and user take the same way.
"""

from __future__ import annotations

import _socket

from pytest_isolate._errors import Step
from pytest_isolate._forward.place import ABSTRACT, TCP, UDP
from pytest_isolate._linux import syscalls
from pytest_isolate._linux.kin import FILES, Kin

TYPE_CHECKING = False  # importing typing for it would make the relay larger
if TYPE_CHECKING:
    from pytest_isolate._forward.place import Place

_QUEUE = 1024  # connections that wait for the relay
_FLAGS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


def open_sockets(kin: Kin, pidfd: int, namespaces: int, places: list[Place]) -> list[_socket.socket]:
    """One for each place. Raises ``StepFailedError``, with none left open."""
    made: list[_socket.socket] = []

    def body() -> None:
        with Step("setns into", "the sandbox's network"):
            syscalls.setns(pidfd, namespaces)
        for place in places:
            with Step("listen in the sandbox at", str(place)):
                made.append(_listen(place))

    try:
        with Step("clone", "a process for the sandbox's network"):
            kin.run(body, FILES)
    except BaseException:
        for each in made:
            each.close()
        raise
    return made


def _listen(place: Place) -> _socket.socket:
    family = _socket.AF_UNIX if place.kind == ABSTRACT else _socket.AF_INET6 if ":" in place.address else _socket.AF_INET
    made = _socket.socket(family, (_socket.SOCK_DGRAM if place.kind == UDP else _socket.SOCK_STREAM) | _FLAGS)
    try:
        if place.kind == ABSTRACT:
            made.bind(b"\0" + place.address.encode("utf-8", "surrogateescape"))
        else:
            if place.kind == TCP:  # a test before this one in the same sandbox may have left connections that are not quite over
                made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if family == _socket.AF_INET6:
                made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, place.only_v6)
            made.bind((place.address, place.port))
        if place.kind != UDP:
            made.listen(_QUEUE)
    except BaseException:
        made.close()
        raise
    return made
