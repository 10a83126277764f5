"""Where a server waits. Imported by the relay, which is to start fast: cheap modules only."""

from __future__ import annotations

from collections import namedtuple

TCP, UDP, UNIX, ABSTRACT = "tcp", "udp", "unix", "abstract"
RELAY = "relay"  # itself: where a test says which ports are its own


class Place(namedtuple("Place", ("kind", "address", "port", "only_v6"), defaults=(0, False))):  # noqa: PYI024 - typing is dear to import
    """``address``: a number, a path, or an abstract name without its NUL."""

    __slots__ = ()

    def __str__(self) -> str:
        if self.kind == UNIX:
            return str(self.address)
        if self.kind in {ABSTRACT, RELAY}:
            return f"@{self.address}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}" + ("/udp" if self.kind == UDP else "")
