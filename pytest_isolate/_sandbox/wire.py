"""Messages between pytest and the builder: a kind and fields of text in one packet, descriptors
beside it.

These two trust each other: no test's code runs in them. Imported by the builder, which is to start
fast: this does without ``json``, ``socket`` and what these import.
"""

from __future__ import annotations

import _socket
import os
import sys

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    Message = list[str]  # what it is, then its fields

# Not socket.socket, in whose place pytest-socket puts a class that refuses and gevent one that
# switches greenlets.
Channel = _socket.socket

LARGEST = 1 << 20  # bytes; a sandbox's steps with hundreds of mounts are a fifth of it
MOST_DESCRIPTORS = 40
_INT = 4  # bytes of a descriptor's number
_ROOM = _socket.CMSG_SPACE(MOST_DESCRIPTORS * _INT)


def requests() -> Channel:
    """In a process of ours, at its beginning: the channel that it was started with as standard
    input, which is /dev/null from here on.
    """
    channel = Channel(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return channel


def send(
    channel: Channel, kind: str, *fields: str | int, descriptors: tuple[int, ...] = ()
) -> None:
    """Send one message. Raises ``OSError`` when the other end is gone."""
    data = "\0".join([kind, *map(str, fields)]).encode("utf-8", "surrogateescape")
    numbers = b"".join(fd.to_bytes(_INT, sys.byteorder) for fd in descriptors)
    channel.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)] if numbers else [])


def receive(channel: Channel) -> tuple[Message, list[int]] | None:
    """Wait for one message; None when the other end is gone. The descriptors come close-on-exec."""
    try:
        data, ancillary, *_ = channel.recvmsg(LARGEST, _ROOM, _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # It left without reading what we had said, which the kernel tells once, before what it had
        # said itself
        data, ancillary, *_ = channel.recvmsg(LARGEST, _ROOM, _socket.MSG_CMSG_CLOEXEC)
    descriptors = [
        int.from_bytes(numbers[at : at + _INT], sys.byteorder)
        for level, kind, numbers in ancillary
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS
        for at in range(0, len(numbers) - _INT + 1, _INT)
    ]
    if not data:
        return None
    return data.decode("utf-8", "surrogateescape").split("\0"), descriptors


def pair() -> tuple[Channel, Channel]:
    """Two ends of one channel that keeps packets apart, with room for a long recipe."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, LARGEST)
    return ours, theirs
