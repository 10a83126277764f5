"""Values of ``forward``: which servers of the machine a test reaches."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_TEXT = (
    "it must be 'fixtures' (the servers that shared fixtures started), a list that adds others to"
    " these, each a port, 'HOST:PORT', 'PORT/udp', the path of a socket or '@NAME' of an abstract"
    " one, or None"
)
_PORT = re.compile(
    r"(?:(?P<host>[^\s/:@\[\]]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):)?(?P<port>[0-9]{1,5})(?P<udp>/udp|/tcp)?"
)
_LARGEST = 65535
_LONGEST = 107  # bytes of a socket's name, as of unix(7)


class Destination(NamedTuple):
    """One that was asked for.

    ``host`` is a name or a number, or nothing for whoever has the port on this machine.
    """

    kind: str  # "tcp", "udp", "unix", "abstract"
    host: str  # or a path, or an abstract name
    port: int

    def __str__(self) -> str:
        if self.kind in {"unix", "abstract"}:
            return f"{'@' if self.kind == 'abstract' else ''}{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".lstrip(":") + ("/udp" if self.kind == "udp" else "")


class Forward(NamedTuple):
    """What one test asked for."""

    fixtures: bool = True  # whether those of shared fixtures
    others: tuple[Destination, ...] = ()

    def __str__(self) -> str:
        return (
            repr([str(each) for each in self.others])
            if self.others
            else "'fixtures'"
            if self.fixtures
            else "None"
        )


def forward(value: object) -> Forward:
    """``"fixtures"``, ``None``, or a list of destinations."""
    if value is None:
        return Forward(fixtures=False)
    if isinstance(value, (str, int)):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(_TEXT)
    words = [each for each in value if each in ("fixtures", "none")]
    if "none" in words:
        if len(value) > 1:
            raise ValueError("'none' stands alone")
        return Forward(fixtures=False)
    return Forward(
        others=tuple(dict.fromkeys(_destination(each) for each in value if each not in words))
    )


def _destination(value: object) -> Destination:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        raise ValueError(
            _TEXT if not isinstance(value, (int, str)) else f"{_TEXT}; {value!r} is none of these"
        )
    text = str(value).strip()
    if text.startswith(("/", "@")):
        if "\0" in text or len(os.fsencode(text)) > _LONGEST:
            raise ValueError(
                f"a socket's name has at most {_LONGEST} bytes and no NUL; {text!r} is none"
            )
        return (
            Destination("unix", text, 0) if text[0] == "/" else Destination("abstract", text[1:], 0)
        )
    match = _PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"{_TEXT}; {value!r} is none of these")
    port = int(match["port"])
    if not 0 < port <= _LARGEST:
        raise ValueError(f"a port is a number from 1 to {_LARGEST}; {value!r} is not")
    return Destination(
        "udp" if match["udp"] == "/udp" else "tcp", (match["host"] or "").strip("[]"), port
    )


def format_forward(value: Forward) -> str:
    """Write the keyword's value as users do."""
    return ", ".join([*(["fixtures"] if value.fixtures else []), *map(str, value.others)]) or "none"
