"""A store over TCP: one JSON object a line, an answer for each."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pantry.store import Store


class Server(socketserver.ThreadingTCPServer):
    """Listens from the moment it is made. Port 0 takes any free port; ``port`` says which."""

    allow_reuse_address = True  # a restart need not wait for old connections to time out
    daemon_threads = True  # a client that never hangs up does not keep the process alive

    def __init__(self, store: Store, host: str = "127.0.0.1", port: int = 0) -> None:
        self.store = store
        self.idle = False
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Connection)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def serve_until_idle(self, seconds: float) -> None:
        """Serve until nobody has connected for that long."""
        self.timeout = seconds
        while not self.idle:
            self.handle_request()

    def handle_timeout(self) -> None:
        """Called by ``handle_request`` when nobody came."""
        self.idle = True


@contextmanager
def serving(store: Store, host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """Serve from a thread of this process for as long as the block lasts."""
    with Server(store, host, port) as server:
        # The default of half a second is what shutdown() would wait for.
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        store = cast("Server", self.server).store
        for line in self.rfile:
            self.wfile.write(json.dumps(_answer(store, line)).encode() + b"\n")


def _answer(store: Store, line: bytes) -> dict[str, Any]:
    try:
        return _carried_out(store, json.loads(line))
    except ValueError as error:
        return {"error": f"not a request: {error}"}
    except OSError as error:
        return {"error": f"the store is broken: {error.strerror}"}


def _carried_out(store: Store, request: object) -> dict[str, Any]:
    match request:
        case {"do": "get", "key": str(key)}:
            return {"value": store.get(key)}
        case {"do": "put", "key": str(key), "value": str(value)}:
            store.put(key, value)
        case {"do": "remove", "key": str(key)}:
            store.remove(key)
        case {"do": "keys"}:
            return {"keys": store.keys()}
        case _:
            raise ValueError(
                "there are get KEY, put KEY VALUE, remove KEY and keys; KEY and VALUE are text"
            )
    return {}
