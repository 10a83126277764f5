"""Which sockets of this network namespace wait for somebody to come: the kernel's own list, by
sock_diag(7).

pyroute2 encodes the requests (``diag_requests.py``), in a process of its own; the answers have one
fixed form each and are read here.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import struct
from collections.abc import Iterator, Sequence

from pytest_isolate._linux import netlink, proc_sockets
from pytest_isolate._linux.listening import Listening

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_INET_ANSWER = struct.Struct("=4B2s2s16s16sIQ5I")  # struct inet_diag_msg
_UNIX_ANSWER = struct.Struct("=4BIQ")  # struct unix_diag_msg
_ONLY_V6 = 11  # INET_DIAG_SKV6ONLY
_UNIX_NAME = 0  # UNIX_DIAG_NAME


# What a kernel says that was built without it, for a kind of sockets or for all
_ABSENT = frozenset({errno.ENOENT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP})
# As ``diag_requests`` has them: what each asks for, and whether for IPv6
_KINDS = (("tcp", False), ("tcp", True), ("udp", False), ("udp", True), ("unix", False))


def listening(requests: Sequence[bytes]) -> list[Listening]:
    """All that there are. What this kernel does not list so is read from /proc/net.

    Raises ``OSError``: there is no such file either.
    """
    found: list[Listening] = []
    with contextlib.ExitStack() as stack:
        diag = _opened()
        if diag is not None:
            stack.enter_context(contextlib.closing(diag))
        for (kind, ipv6), request in zip(_KINDS, requests, strict=True):
            listed = None if diag is None else _listed(diag, kind, request)
            found += _by_proc(kind, ipv6=ipv6) if listed is None else listed
    return found


def _by_proc(kind: str, *, ipv6: bool) -> Iterator[Listening]:
    return proc_sockets.unix() if kind == "unix" else proc_sockets.inet(kind, ipv6=ipv6)


def _opened() -> _socket.socket | None:
    try:
        return _socket.socket(
            _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _SOCK_DIAG
        )
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _listed(diag: _socket.socket, kind: str, request: bytes) -> list[Listening] | None:
    """Ask for one kind; None where this kernel does not know it."""
    read = _unix if kind == "unix" else _inet
    try:
        found = [read(kind, body) for body in netlink.listed(diag, request)]
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    return [each for each in found if each is not None]


def _inet(kind: str, body: bytes) -> Listening | None:
    family, _, _, _, port, _, source, *_, inode = _INET_ANSWER.unpack_from(body)
    only_v6 = bool(netlink.attributes(body, _INET_ANSWER.size).get(_ONLY_V6, b"").strip(b"\0"))
    address = _socket.inet_ntop(family, source if family == _socket.AF_INET6 else source[:4])
    kind_of_socket = _socket.SOCK_STREAM if kind == "tcp" else _socket.SOCK_DGRAM
    number = int.from_bytes(port, "big")
    return Listening(kind, address, number, only_v6, kind_of_socket, inode) if number else None


def _unix(kind: str, body: bytes) -> Listening | None:
    _, type_, *_, inode, _ = _UNIX_ANSWER.unpack_from(body)
    name = netlink.attributes(body, _UNIX_ANSWER.size).get(_UNIX_NAME)
    if not name:
        return None
    text = os.fsdecode(name if name[0] == 0 else name.rstrip(b"\0"))
    return Listening(kind, text, 0, False, type_, inode)
