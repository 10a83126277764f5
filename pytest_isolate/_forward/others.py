"""Servers that a test names, and that were there before: where they are, or that nobody
is there.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence

from pytest_isolate._config.destinations import Destination
from pytest_isolate._forward.place import ABSTRACT, UDP, UNIX, Place
from pytest_isolate._forward.server import Server
from pytest_isolate._linux import lookup
from pytest_isolate._linux.listening import Listening

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


class NobodyThereError(Exception):
    """A destination that leads to no server: why, in words."""


class Others:
    """Of one run.

    ``listening`` gives the kernel's list; it raises ``OSError`` and ``StepFailedError``.
    """

    def __init__(self, listening: Callable[[], Sequence[Listening]]) -> None:
        self._listening = listening
        # Of names, or why there are none: asked once a run
        self._addresses: dict[str, tuple[str, ...] | str] = {}

    def find(self, destinations: Sequence[Destination]) -> tuple[Server, ...]:
        """All of them. Raises ``NobodyThereError``, ``OSError``, ``StepFailedError``."""
        found: dict[Server, None] = {}
        for each in destinations:
            found |= dict.fromkeys(self._servers(each))
        return tuple(found)

    def _servers(self, wanted: Destination) -> Iterator[Server]:
        if wanted.kind == UNIX:
            yield Server(Place(UNIX, _socket_at(wanted.host)), _NAMED)
        elif wanted.kind == ABSTRACT:
            if not any(
                each.address == f"\0{wanted.host}" and each.type == socket.SOCK_STREAM
                for each in self._listening()
            ):
                raise NobodyThereError(f"nobody listens at the abstract socket @{wanted.host}")
            yield Server(Place(ABSTRACT, wanted.host), _NAMED)
        else:
            yield from self._at_port(wanted)

    def _at_port(self, wanted: Destination) -> Iterator[Server]:
        waiting = [
            each
            for each in self._listening()
            if (each.kind, each.port) == (wanted.kind, wanted.port)
        ]
        kind = "UDP port" if wanted.kind == UDP else "port"
        if not wanted.host:
            if not waiting:
                raise NobodyThereError(f"nobody listens at {kind} {wanted.port} of this machine")
            yield from (
                Server(Place(each.kind, each.address, each.port, each.only_v6), _NAMED)
                for each in waiting
            )
            return
        addresses = self._resolve(wanted.host)
        here = [each for each in addresses if ipaddress.ip_address(each).is_loopback]
        reached = [each for each in here if any(_reaches(one, each) for one in waiting)]
        if here and not reached and len(here) == len(addresses):
            raise NobodyThereError(
                f"nobody listens at {kind} {wanted.port} of {wanted.host} on this machine"
            )
        for address in addresses:
            if address in reached or address not in here:
                yield Server(
                    Place(wanted.kind, address, wanted.port, only_v6=True),
                    _NAMED,
                    name=_name_of(wanted.host),
                )

    def _resolve(self, host: str) -> tuple[str, ...]:
        if host not in self._addresses:
            try:
                self._addresses[host] = lookup.addresses(host)
            except LookupError as error:
                self._addresses[host] = str(error)
        found = self._addresses[host]
        if isinstance(found, str):
            raise NobodyThereError(found)
        return found


_NAMED = "named by forward"


def _name_of(host: str) -> str | None:
    """Return a name that the sandbox has to know."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None if host == "localhost" else host
    return None


def _reaches(each: Listening, address: str) -> bool:
    if each.address in _ANY:
        return (":" in each.address) == (":" in address) or (
            each.address == "::" and not each.only_v6
        )
    return each.address == address


def _socket_at(path: str) -> str:
    real = os.path.realpath(path)
    try:
        if not stat.S_ISSOCK(os.stat(real).st_mode):
            raise NobodyThereError(f"{path} is no socket")
    except OSError as error:
        raise NobodyThereError(
            f"there is no socket {path} on this machine: {error.strerror}"
        ) from None
    return real
