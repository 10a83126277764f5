"""One server of the machine, as pytest and the report know it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_isolate._forward.place import Place


@dataclass(frozen=True)
class Server:
    """Two that wait at the same place are equal, whoever they are."""

    place: Place
    process: str = field(default="", compare=False)  # who has it, in words
    fixture: str | None = field(default=None, compare=False)  # that started it, where that was seen
    name: str | None = None  # of its host, by which a test finds it


@dataclass(frozen=True)
class Used:
    """What one test had of a server. ``None``: it needs no relay, and so nobody counts."""

    server: Server
    connections: int | None  # of UDP: addresses that sent something
    sent: int | None  # bytes to the server
    received: int | None
    refused: int = 0  # errno of a connection that the server would not have
