"""One store on several servers: what a majority has is what there is, whoever is away."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pantry.client import Client, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Versioned = tuple[int, str | None]
_NOTHING: Versioned = (0, None)


class NoMajorityError(Exception):
    """Too few servers answered in time. What was to be put may be there or not."""


class Replicated:
    """A client of all of them. ``timeout`` is for each server, in seconds."""

    def __init__(self, servers: Sequence[str], port: int, timeout: float = 5) -> None:
        self._servers, self._port, self._timeout = servers, port, timeout

    def put(self, key: str, value: str) -> None:
        """Set a key on a majority of servers."""
        version, _ = self._newest(key)
        self._store(key, (version + 1, value))

    def get(self, key: str) -> str | None:
        """The value of a key that was put last. Whoever asks later gets no older one."""
        version, value = newest = self._newest(key)
        if version:
            self._store(key, newest)
        return value

    def _newest(self, key: str) -> Versioned:
        return max(
            self._of_majority(lambda client: _versioned(client.get(key))), key=lambda each: each[0]
        )

    def _store(self, key: str, what: Versioned) -> None:
        def store(client: Client) -> Versioned:
            if _versioned(client.get(key))[0] < what[0]:
                client.put(key, json.dumps(what))
            return what

        self._of_majority(store)

    def _of_majority(self, ask: Callable[[Client], Versioned]) -> list[Versioned]:
        answers: SimpleQueue[Versioned | None] = SimpleQueue()

        def ask_one(server: str) -> None:
            try:
                with closing(Client(server, self._port, self._timeout)) as client:
                    answers.put(ask(client))
            except (OSError, RefusedError):
                answers.put(None)

        for server in self._servers:
            threading.Thread(target=ask_one, args=(server,), daemon=True).start()
        found: list[Versioned] = []
        for _ in self._servers:
            if (answer := answers.get()) is not None:
                found.append(answer)
            if 2 * len(found) > len(self._servers):
                return found
        raise NoMajorityError(
            f"{len(found)} of {len(self._servers)} servers answered within {self._timeout} s"
        )


def _versioned(text: str | None) -> Versioned:
    if text is None:
        return _NOTHING
    version, value = json.loads(text)
    return int(version), value
