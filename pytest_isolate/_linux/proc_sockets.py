"""Which sockets wait for somebody to come, by the files of /proc/net: for a kernel that was built
without sock_diag for sockets of their kind, or has it in a module that is not loaded.

They say the same, but for two things. Of a socket of IPv6 they do not say whether it takes IPv4
too: it does not, where one of IPv4 has the same port. A name with "@" first is an abstract one.
"""

from __future__ import annotations

import _socket
import os
import struct
from collections.abc import Iterator

from pytest_isolate._linux.listening import Listening

_LISTENS, _BOUND = "0A", "07"  # states, as of <net/tcp_states.h>; of a datagram socket the second
_ACCEPTS = 1 << 16  # the flag of a Unix socket
_DATAGRAMS = _socket.SOCK_DGRAM


def inet(kind: str, *, ipv6: bool) -> Iterator[Listening]:
    """List those of "tcp" or "udp" in one family. Raises ``OSError`` where there is no /proc."""
    state, type_ = (
        (_LISTENS, int(_socket.SOCK_STREAM)) if kind == "tcp" else (_BOUND, int(_DATAGRAMS))
    )
    others = {each.port for each in inet(kind, ipv6=False)} if ipv6 else set()
    for line in _lines(f"/proc/net/{kind}{'6' if ipv6 else ''}"):
        fields = line.split()
        address, _, port = fields[1].partition(":")
        if fields[3] == state and (number := int(port, 16)):
            text = _address(bytes.fromhex(address))
            yield Listening(kind, text, number, number in others, type_, int(fields[9]))


def unix() -> Iterator[Listening]:
    """List those with a name. Raises ``OSError`` where there is no /proc."""
    for line in _lines("/proc/net/unix"):
        fields = line.split(None, 7)
        if len(fields) < 8:
            continue
        flags, type_, name = int(fields[3], 16), int(fields[4], 16), fields[7]
        if flags & _ACCEPTS or (type_ == _DATAGRAMS and fields[5] == "01"):
            text = f"\0{name[1:]}" if name.startswith("@") else name
            yield Listening("unix", text, 0, False, type_, int(fields[6]))


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()[1:]
    except FileNotFoundError:
        if os.path.exists("/proc/net"):  # a kernel without this kind of sockets, such as IPv6
            return []
        raise


def _address(words: bytes) -> str:
    """Read words of 32 bits in the processor's order."""
    numbers = struct.unpack(f">{len(words) // 4}I", words)
    family = _socket.AF_INET6 if len(words) > 4 else _socket.AF_INET
    return _socket.inet_ntop(family, struct.pack(f"={len(numbers)}I", *numbers))
