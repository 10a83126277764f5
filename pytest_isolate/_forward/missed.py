"""Who on the machine has a port or a socket, asked only for a test that failed without it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pytest_isolate._forward import owners
from pytest_isolate._forward.server import Server
from pytest_isolate._linux.listening import Listening


class Missed:
    """The kernel's list at one moment, and what is known of fixtures' servers."""

    def __init__(
        self, listening: Sequence[Listening], known: Sequence[Server], fixtures: Mapping[int, str]
    ) -> None:
        self._listening, self._known, self._fixtures = listening, known, fixtures

    def at_port(self, port: int) -> str | None:
        """Who has a TCP port, in words; None if nobody has."""
        server = next(
            (each for each in self._known if each.place.kind == "tcp" and each.place.port == port),
            None,
        )
        each = next(
            (each for each in self._listening if (each.kind, each.port) == ("tcp", port)), None
        )
        return self._who(server, each)

    def at_path(self, path: str) -> str | None:
        """Who listens at a Unix socket, in words; None if nobody does."""
        real = os.path.realpath(path)
        server = next((each for each in self._known if each.place.address in {path, real}), None)
        return self._who(
            server,
            next(
                (
                    each
                    for each in self._listening
                    if each.kind == "unix" and each.address in {path, real}
                ),
                None,
            ),
        )

    def _who(self, server: Server | None, listening: Listening | None) -> str | None:
        if server is not None:
            return server.process + _by(server.fixture)
        if listening is None:
            return None
        if listening.inode in self._fixtures:
            return f"pytest itself{_by(self._fixtures[listening.inode])}"
        return owners.holder(listening.inode) or "a process of another user"


def _by(fixture: str | None) -> str:
    return f", by the shared fixture {fixture!r}," if fixture is not None else ""
