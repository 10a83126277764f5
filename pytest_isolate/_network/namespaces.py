"""The namespaces of one host, held by descriptors of this process, and a way to ask the kernel in
them.
"""

from __future__ import annotations

import _socket
from dataclasses import dataclass, field

from pytest_isolate._linux import netlink

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
        netlink.ask(kernel, data)

    def answer(self, data: bytes) -> bytes:
        """Ask for one thing. Raises ``OSError``."""
        answer = netlink.ask(self.rtnetlink, data)
        if not netlink.is_error(answer):
            self.rtnetlink.recv(_LARGEST_ANSWER)  # the acknowledgement
        return answer
