"""Sockets in a sandbox's network, at the places where a test looks for its servers.

Made by a process that shares this one's memory and descriptors (``_linux/kin.py``), joins the
sandbox's network for it and is gone
then: the sockets are this process's. Root and user take the same way.
"""

from __future__ import annotations

import _socket
import fcntl
import sys

from pytest_isolate._errors import Step
from pytest_isolate._forward.place import ABSTRACT, RELAY, TCP, UDP
from pytest_isolate._linux import syscalls
from pytest_isolate._linux.kin import FILES, Kin

TYPE_CHECKING = False  # importing typing for it would make the relay larger
if TYPE_CHECKING:
    from pytest_isolate._forward.place import Place

_EVERY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what servers asked for
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
_LOOPBACK = (1).to_bytes(4, sys.byteorder)  # the first interface of every network namespace
_WHOLE = (128).to_bytes(4, sys.byteorder)  # bits of an address
_INET = int(_socket.AF_INET).to_bytes(2, sys.byteorder) + bytes(2)
_QUEUE = 1024  # connections that wait for the relay
_FLAGS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


def open_sockets(
    kin: Kin, pidfd: int, namespaces: int, places: list[Place]
) -> list[_socket.socket]:
    """One for each place. Raises ``StepFailedError``, with none left open."""
    made: list[_socket.socket] = []

    def body() -> None:
        with Step("setns into", "the sandbox's network"):
            syscalls.setns(pidfd, namespaces)
        _have_addresses(places)
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


def _have_addresses(places: list[Place]) -> None:
    """Give the sandbox's loopback the addresses of servers that are not at the machine's:
    127.0.0.0/8 and ::1 it has.
    """
    numbers = dict.fromkeys(
        place.address
        for place in places
        if place.kind in {TCP, UDP} and place.address not in _EVERY
    )
    own = [number for number in numbers if not (number == "::1" or number.startswith("127."))]
    for at, number in enumerate(own):
        with Step("give the sandbox the address", number):
            if ":" in number:
                _ioctl(
                    _socket.AF_INET6,
                    _SIOCSIFADDR,
                    _socket.inet_pton(_socket.AF_INET6, number) + _WHOLE + _LOOPBACK,
                )
                continue
            # A further address of an interface has a name of its own
            name = (b"lo:%d" % (at + 1)).ljust(16, b"\0")
            for call, value in ((_SIOCSIFADDR, number), (_SIOCSIFNETMASK, "255.255.255.255")):
                _ioctl(_socket.AF_INET, call, name + _INET + _socket.inet_aton(value) + bytes(16))


def _ioctl(family: int, call: int, request: bytes) -> None:
    any_ = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        fcntl.ioctl(any_.fileno(), call, request)
    finally:
        any_.close()


def _listen(place: Place) -> _socket.socket:
    family = (
        _socket.AF_UNIX
        if place.kind in {ABSTRACT, RELAY}
        else _socket.AF_INET6
        if ":" in place.address
        else _socket.AF_INET
    )
    made = _socket.socket(
        family, (_socket.SOCK_DGRAM if place.kind in {UDP, RELAY} else _socket.SOCK_STREAM) | _FLAGS
    )
    try:
        if place.kind in {ABSTRACT, RELAY}:
            made.bind(b"\0" + place.address.encode("utf-8", "surrogateescape"))
        else:
            # A test before this one in the same sandbox may have left connections that are not
            # quite over
            if place.kind == TCP:
                made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if family == _socket.AF_INET6:
                made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, place.only_v6)
            made.bind((place.address, place.port))
        if place.kind not in {UDP, RELAY}:
            made.listen(_QUEUE)
    except BaseException:
        made.close()
        raise
    return made
