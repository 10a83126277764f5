"""Which sockets of this network namespace wait for somebody to come: the kernel's own list, by
sock_diag(7).

pyroute2 encodes the requests (``diag_requests.py``), in a process of its own; the answers have one
fixed form each and are read here.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_HEADER = struct.Struct("=IHHII")
_INET_ANSWER = struct.Struct("=4B2s2s16s16sIQ5I")  # struct inet_diag_msg
_UNIX_ANSWER = struct.Struct("=4BIQ")  # struct unix_diag_msg
_ATTRIBUTE = struct.Struct("=HH")
_ONLY_V6 = 11  # INET_DIAG_SKV6ONLY
_UNIX_NAME = 0  # UNIX_DIAG_NAME
_ROOM = 1 << 17  # bytes; the kernel fills at most 32 KiB of it


class Listening(NamedTuple):
    """One socket."""

    kind: str  # "tcp", "udp", "unix"
    address: str  # of a Unix socket its path, or NUL and its abstract name
    port: int
    only_v6: bool
    type: int  # as of socket(2)
    inode: int


def listening(requests: Sequence[bytes]) -> list[Listening]:
    """All that there are.

    Raises ``OSError``: ENOENT where this kernel cannot list sockets of a kind.
    """
    with contextlib.closing(
        _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _SOCK_DIAG)
    ) as diag:
        found: list[Listening] = []
        for number, request in enumerate(requests):
            diag.send(request)
            kind = "unix" if number == 4 else "udp" if number >= 2 else "tcp"
            read = _unix if kind == "unix" else _inet
            found += [each for body in _answers(diag) if (each := read(kind, body)) is not None]
        return found


def _answers(diag: _socket.socket) -> Iterator[bytes]:
    while True:
        data = diag.recv(_ROOM)
        at = 0
        while at < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            body = data[at + _HEADER.size : at + length]
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -int(struct.unpack_from("=i", body)[0])
                raise OSError(code, os.strerror(code))
            yield body
            at += length + 3 & ~3


def _inet(kind: str, body: bytes) -> Listening | None:
    family, _, _, _, port, _, source, *_, inode = _INET_ANSWER.unpack_from(body)
    only_v6 = bool(_attribute(body, _INET_ANSWER.size, _ONLY_V6).strip(b"\0"))
    address = _socket.inet_ntop(family, source if family == _socket.AF_INET6 else source[:4])
    kind_of_socket = _socket.SOCK_STREAM if kind == "tcp" else _socket.SOCK_DGRAM
    number = int.from_bytes(port, "big")
    return Listening(kind, address, number, only_v6, kind_of_socket, inode) if number else None


def _unix(kind: str, body: bytes) -> Listening | None:
    _, type_, *_, inode, _ = _UNIX_ANSWER.unpack_from(body)
    name = _attribute(body, _UNIX_ANSWER.size, _UNIX_NAME)
    if not name:
        return None
    text = os.fsdecode(name if name[0] == 0 else name.rstrip(b"\0"))
    return Listening(kind, text, 0, False, type_, inode)


def _attribute(body: bytes, at: int, wanted: int) -> bytes:
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if kind == wanted:
            return body[at + _ATTRIBUTE.size : at + length]
        at += max(length + 3 & ~3, _ATTRIBUTE.size)
    return b""
