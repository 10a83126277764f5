"""Attempts to leave a network namespace that has loopback only: who was to be reached, from which
line.

That there were attempts is the kernel's to say: it counts, for Python, C and sub-processes alike,
what had no route (``_linux.counters.unroutable``). Who was meant and which line did it, only the
child's own Python can tell, by audit events.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_isolate._config.values import counted, plain
from pytest_isolate._forking.own_ports import claim
from pytest_isolate._verdict import own_lines

_MOST = 100  # different destinations of one test
_LONGEST = 300  # characters of a name or a place
_LARGEST = 1 << 32  # numbers that a child may say: pytest adds and writes them
# Connections to one port of loopback, which a client makes that does not get through; or one that
# does
_OFTEN = 5
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", ""})


@dataclass(frozen=True)
class Attempt:
    """``address`` is a number or, for a look-up, a name; ``None`` for what no Python code of the
    test's own process did.
    """

    address: str | None
    port: int | None
    count: int
    where: str = ""
    is_name: bool = False

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        times = "" if self.count == 1 else f" ({self.count} times)"
        return f"{self.address}{port}{times}" + (f" at {self.where}" if self.where else "")


class Recorder:
    """In the child: listens to audit events (docs.python.org, "Audit events table").

    They cannot be unheard, so one is made per child.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._found: dict[tuple[str, int | None, bool], list[object]] = {}
        self.refused_port: int | None = None  # of the last connection to loopback that was tried
        self.refused_path: str | None = None  # the same of a Unix socket, if that was later
        # Of a port that is tried again and again
        self.tell_tries: Callable[[int], None] | None = None
        self._tries: dict[int, int] = {}
        handlers: dict[str, Callable[..., None]] = {
            "socket.connect": self._socket,
            "socket.sendto": self._socket,
            "socket.sendmsg": self._socket,
            "socket.getaddrinfo": self._look_up,
            "socket.gethostbyname": self._look_up,
            "socket.bind": claim,
        }
        find = handlers.get

        # Every open and import comes by: no look at self for those
        def hear(event: str, arguments: tuple[object, ...]) -> None:
            if (handler := find(event)) is not None:
                handler(*arguments)

        sys.addaudithook(hear)

    def clear(self) -> None:
        """Another test begins."""
        self._found.clear()
        self._tries.clear()
        self.refused_port = self.refused_path = None

    def as_json(self) -> list[list[object]]:
        """Tell what goes over the pipe: [address, port, is a name, count, where]."""
        return [[*key, *value] for key, value in list(self._found.items())]

    def _socket(self, _socket: object, address: object = None, *_: object) -> None:
        if (
            isinstance(address, tuple)
            and len(address) >= 2
            and isinstance(address[0], str)
            and isinstance(address[1], int)
        ):
            # A name: connect(2) looks it up without an event of its own
            if not _is_number(address[0]):
                self._look_up(*address[:2])
            elif _is_local(address[0]):
                self._try(address[1])
            else:
                self._note(address[0], address[1], is_name=False)
        elif isinstance(address, str) and address.startswith("/"):
            self.refused_port, self.refused_path = None, address

    def _try(self, port: int) -> None:
        self.refused_port, self.refused_path = port, None
        self._tries[port] = self._tries.get(port, 0) + 1
        if self._tries[port] == _OFTEN and self.tell_tries is not None:
            self.tell_tries(port)

    def _look_up(self, host: object, port: object = None, *_: object) -> None:
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        if (
            isinstance(host, str)
            and host.lower() not in _LOCAL_NAMES
            and not _is_number(host)
            and not _is_own(host)
        ):
            self._note(host, port if isinstance(port, int) else None, is_name=True)

    def _note(self, address: str, port: int | None, *, is_name: bool) -> None:
        key = (address[:_LONGEST], port, is_name)
        if key in self._found:
            self._found[key][0] = int(str(self._found[key][0])) + 1
        elif len(self._found) < _MOST:
            self._found[key] = [1, own_lines.nearest(self._root)]


def _is_number(address: str) -> bool:
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_own(name: str) -> bool:
    """Whether it is the sandbox's own name, which /etc/hosts has."""
    own = os.uname().nodename.lower()
    return name.lower() in {own, own.partition(".")[0]}


def _is_local(address: str) -> bool:
    number = ipaddress.ip_address(address.partition("%")[0])
    return number.is_loopback or number.is_unspecified


def read(
    frame: object, unroutable: int | None, counts: Callable[[Attempt], bool] = lambda _: True
) -> tuple[Attempt, ...]:
    """In the parent: what a child named, as far as it has the form and the kernel bears it out, and
    what nobody named. ``counts``: what of it, where there is a way to some.

    A look-up counts without the kernel's word too: a resolver on the machine's own loopback is
    refused, not unroutable.
    """
    named = list(filter(counts, _valid(frame)))
    if not unroutable:
        return tuple(attempt for attempt in named if attempt.is_name)
    rest = unroutable - sum(attempt.count for attempt in named)
    # One look-up asks several servers several times
    unnamed = Attempt(None, None, rest)
    if rest > 0 and counts(unnamed) and not any(attempt.is_name for attempt in named):
        named.append(unnamed)
    return tuple(named)


def _valid(frame: object) -> Iterator[Attempt]:
    for each in frame[:_MOST] if isinstance(frame, list) else []:
        if not isinstance(each, list) or len(each) != 5:
            continue
        address, port, is_name, count, where = each
        if (
            isinstance(address, str)
            and (port is None or (type(port) is int and abs(port) < _LARGEST))
            and isinstance(is_name, bool)
            and type(count) is int
            and 0 < count < _LARGEST
            and isinstance(where, str)
        ):
            yield Attempt(plain(address[:_LONGEST]), port, count, plain(where[:_LONGEST]), is_name)


def sentence(attempts: tuple[Attempt, ...]) -> str:
    """All of them, for people."""
    count = sum(attempt.count for attempt in attempts)
    shown = [str(attempt) for attempt in attempts if attempt.address is not None][:5]
    hidden = len([attempt for attempt in attempts if attempt.address is not None]) - len(shown)
    if hidden:
        shown.append(f"{hidden} more destinations")
    shown += [
        f"{attempt.count} by sub-processes or C code"
        for attempt in attempts
        if attempt.address is None
    ]
    return f"made {counted(count, 'attempt')} to leave its network: {', '.join(shown)}"
