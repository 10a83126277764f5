"""Ask the kernel by a netlink socket, with requests that pyroute2 has encoded elsewhere.

Imported by the builder: cheap modules only.
"""

from __future__ import annotations

import _socket
import os
import struct

_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_HEAD = 16  # bytes of a message before its body
_ROOM = 1 << 16  # the kernel fills at most 32 KiB of it

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Iterator


def rtnetlink() -> _socket.socket:
    """Open a socket in the network that this process is in."""
    return _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)


def ask(kernel: _socket.socket, data: bytes) -> bytes:
    """Have it do something; what is said first of it is returned. Raises ``OSError``."""
    kernel.send(data)
    answer = kernel.recv(_ROOM)
    if is_error(answer):
        _check(answer, _HEAD)
    return answer


def is_error(answer: bytes) -> bool:
    """Whether it is an errno, or the acknowledgement, which has none."""
    return bool(struct.unpack_from("=H", answer, 4)[0] == _ERROR)


def listed(kernel: _socket.socket, data: bytes) -> Iterator[bytes]:
    """Ask for a list: each of its messages, without what is before its body. Raises ``OSError``."""
    answer = ask(kernel, data)
    while True:
        at = 0
        while at < len(answer):
            length, kind = struct.unpack_from("=IH", answer, at)
            if kind in {_ERROR, _DONE}:
                _check(answer, at + _HEAD)  # of a list that could not be made both may have one
                return
            yield answer[at + _HEAD : at + length]
            at += length + 3 & ~3
        answer = kernel.recv(_ROOM)


def _check(answer: bytes, at: int) -> None:
    if len(answer) >= at + 4 and (code := -int(struct.unpack_from("=i", answer, at)[0])) > 0:
        raise OSError(code, os.strerror(code))


def attributes(body: bytes, at: int) -> dict[int, bytes]:
    """Read those of a message, which begin at a place of its body."""
    found: dict[int, bytes] = {}
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        found[kind & 0x3FFF] = body[at + 4 : at + length]
        at += max(4, length + 3 & ~3)
    return found
