"""The namespaces of one host, held by descriptors of this process, and a way to ask the kernel in
them.
"""

from __future__ import annotations

import _socket
import os
import struct
from dataclasses import dataclass, field

_ERROR = 2  # NLMSG_ERROR
_LARGEST_ANSWER = 1 << 16


@dataclass
class Namespace:
    """Of one host, or of all bridges: a network and a host name."""

    net: int
    uts: int
    rtnetlink: _socket.socket

    netfilter: _socket.socket | None = None  # of a router that hides who is behind it
    # At each of its interfaces, if they are captured
    packets: list[_socket.socket] = field(default_factory=list)

    def ask(self, data: bytes, *, netfilter: bool = False) -> None:
        """Have the kernel do something in there. Raises ``OSError``."""
        kernel = self.netfilter if netfilter else self.rtnetlink
        assert kernel is not None
        kernel.send(data)
        _check(kernel.recv(_LARGEST_ANSWER))

    def answer(self, data: bytes) -> bytes:
        """Ask for one thing. Raises ``OSError``."""
        self.rtnetlink.send(data)
        answer = self.rtnetlink.recv(_LARGEST_ANSWER)
        _check(answer)
        if struct.unpack_from("=H", answer, 4)[0] != _ERROR:
            self.rtnetlink.recv(_LARGEST_ANSWER)  # the acknowledgement
        return answer


def _check(answer: bytes) -> None:
    kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind == _ERROR and code:
        raise OSError(-code, os.strerror(-code))
