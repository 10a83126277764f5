"""An internet of namespaces, with addresses that are nobody's: nothing is sent beyond the machine.

It is a ``Network`` of ours, in one host of which, ``machine``, a whole pytest can run. That host has
a name server on its own loopback, as machines with systemd-resolved do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable

from networking import within

from pytest_isolate import Link, LiveNetwork, Network
from pytest_isolate._linux import syscalls
from pytest_isolate._linux.syscalls import Clone, Mount

MACHINE, OUTSIDE, OTHER = "192.0.2.2", "203.0.113.7", "198.51.100.9"
OUTSIDE6 = "2001:db8::7"
NAMES = {"outside.example": (OUTSIDE, OUTSIDE6), "other.example": (OTHER,)}
_LINKS = [
    Link("machine", "provider", addresses={"machine": f"{MACHINE}/24"}),
    Link("provider", "outside", addresses={"outside": [f"{OUTSIDE}/24", f"{OUTSIDE6}/64"]}),
    Link("provider", "other", addresses={"other": f"{OTHER}/24"}),
]


def internet(families: tuple[int, ...] = (4, 6)) -> Network:
    """Three hosts and who connects them."""
    links = _LINKS if 6 in families else [
        Link(each.left, each.right, addresses={
            name: found[0] if isinstance(found, list) else found
            for name, found in (each.addresses or {}).items()
        })
        for each in _LINKS
    ]  # fmt: skip
    return Network("machine", "outside", "other", routers=["provider"], links=links, ip=families)


def on_a_machine_with_internet(
    function: Callable[[LiveNetwork], None], families: tuple[int, ...] = (4, 6)
) -> None:
    """Call a function in a process beside that network, with everybody at work."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write("search example\nnameserver 127.0.0.53\n")
        resolver.flush()
        os.chmod(resolver.name, 0o644)

        def begin(network: LiveNetwork) -> None:
            syscalls.unshare(Clone.NEWNS)
            syscalls.mount("", "/", "", Mount.SLAVE | Mount.REC, "")
            asked = os.path.realpath("/etc/resolv.conf")
            syscalls.mount(resolver.name, asked, "", Mount.BIND, "")
            _begin(network, families)
            function(network)

        within(internet(families), begin)


def _begin(network: LiveNetwork, families: tuple[int, ...]) -> None:
    with network["machine"]:
        names = socket.socket(type=socket.SOCK_DGRAM)
        names.bind(("127.0.0.53", 53))
        _started(_answer_for_names, names)
        for address in ("127.0.0.1", MACHINE):
            _started(_serve, socket.create_server((address, 9000)), "machine")
    family = socket.AF_INET6 if 6 in families else socket.AF_INET
    for name in ("outside", "other"):
        with network[name]:
            for port in (8080, 8081):
                server = socket.create_server(
                    ("", port), family=family, dualstack_ipv6=6 in families
                )
                _started(_serve, server, name)
            echo = socket.socket(family, socket.SOCK_DGRAM)
            echo.bind(("", 7))
            _started(_echo, echo)


def _started(function: Callable[..., None], *args: object) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def _serve(server: socket.socket, name: str) -> None:
    while True:
        client, _ = server.accept()
        with client, contextlib.suppress(OSError):
            client.sendall(f"hello from {name}".encode())


def _echo(server: socket.socket) -> None:
    while True:
        data, client = server.recvfrom(1 << 16)
        server.sendto(data, client)


def _answer_for_names(server: socket.socket) -> None:
    """As RFC 1035 has it, for addresses."""
    while True:
        query, client = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack_from(">H", query, at + 1)[0]
        known = NAMES.get(".".join(labels).lower())
        family = socket.AF_INET6 if kind == 28 else socket.AF_INET
        numbers = [
            socket.inet_pton(family, each)
            for each in known or ()
            if kind in {1, 28} and (":" in each) == (kind == 28)
        ]
        flags = 0x8180 if known else 0x8183
        head = query[:2] + struct.pack(">5H", flags, 1, len(numbers), 0, 0)
        answers = [
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(each)) + each for each in numbers
        ]
        server.sendto(head + query[12 : at + 5] + b"".join(answers), client)
