"""A connection to a pantry server."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, cast

_POLL_SECONDS = 0.02


class RefusedError(Exception):
    """The server answered with an error."""


class Client:
    """One connection; not to be shared between threads, and to be closed
    (``contextlib.closing``).
    """

    def __init__(self, host: str, port: int, timeout: float = 5) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()

    def get(self, key: str) -> str | None:
        """The value of a key, or None."""
        return cast("str | None", self._ask(do="get", key=key)["value"])

    def put(self, key: str, value: str) -> None:
        """Set a key."""
        self._ask(do="put", key=key, value=value)

    def remove(self, key: str) -> None:
        """Forget a key."""
        self._ask(do="remove", key=key)

    def keys(self) -> list[str]:
        """All keys, sorted."""
        return cast("list[str]", self._ask(do="keys")["keys"])

    def wait_for(self, key: str, seconds: float) -> str:
        """The value of a key, as soon as somebody sets it. Raises ``TimeoutError``."""
        deadline = time.monotonic() + seconds
        while (value := self.get(key)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody set {key!r} within {seconds} s")
            time.sleep(_POLL_SECONDS)
        return value

    def _ask(self, **request: str) -> dict[str, Any]:
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        line = self._answers.readline()
        if not line:
            raise ConnectionResetError("the server hung up")
        answer = cast("dict[str, Any]", json.loads(line))
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer
