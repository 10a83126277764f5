"""Messages between pytest, the builder and the holders: one JSON object a packet, descriptors beside it.

These three trust each other: no test's code runs in them. Imported by the builder: cheap modules only.
"""

from __future__ import annotations

import _socket
import json
import os
import socket
from collections.abc import Mapping

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]

# Not socket.socket, in whose place pytest-socket puts a class that refuses and gevent one that switches greenlets.
Channel = _socket.socket

LARGEST = 1 << 20  # bytes; a sandbox's steps with hundreds of mounts are a tenth of it
MOST_DESCRIPTORS = 16


def send(channel: Channel, message: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> None:
    """Send one message. Raises ``OSError`` when the other end is gone."""
    socket.send_fds(channel, [json.dumps(message).encode()], descriptors)  # type: ignore[arg-type] # it only calls its sendmsg


def receive(channel: Channel) -> tuple[Message, list[int]] | None:
    """Wait for one message; None when the other end is gone. The descriptors come close-on-exec."""
    try:
        data, descriptors, _, _ = socket.recv_fds(channel, LARGEST, MOST_DESCRIPTORS)  # type: ignore[arg-type]
    except ConnectionResetError:  # it left without reading what we had said, which the kernel tells once, before what it had said itself
        data, descriptors, _, _ = socket.recv_fds(channel, LARGEST, MOST_DESCRIPTORS)  # type: ignore[arg-type]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if not data:
        return None
    message: Message = json.loads(data)
    return message, descriptors


def pair() -> tuple[Channel, Channel]:
    """Two ends of one channel that keeps packets apart, with room for a long recipe."""
    ours, theirs = _socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
    return ours, theirs
