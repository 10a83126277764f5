"""What users write as ``net=Internet(allow=[...])``: the way out of the machine, and to whom it
leads.

As with ``Network`` nothing is checked where it is written: what is wrong is one test's error.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

_TEXT = (
    "it must be a list of destinations: a name, an address or a network, each alone or with a port:"
    " 'pypi.org:443', '10.0.0.0/8', '[2001:db8::/32]:53/udp'"
)
_PORT = re.compile(r"(?P<host>.+?)(?::(?P<port>[0-9]{1,5})(?:/(?P<kind>tcp|udp))?)?")
_NAME = re.compile(r"(?=.{1,253}\.?$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
_LARGEST = 65535
_MOST = 1000  # each is a rule of routing, which the kernel looks at one after the other

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Allowed(NamedTuple):
    """One destination. Without a port it is every port, and whatever is not TCP or UDP too; without
    a kind a port is that of both.
    """

    host: str  # a name, or a network
    is_name: bool = False
    kind: str = ""  # "tcp" or "udp"
    port: int = 0


class Internet:
    """A way out of the machine, as a value of the marker's ``net``: ``Internet()`` is what
    ``"internet"`` says, ``Internet("pypi.org:443")`` and ``Internet(allow=["pypi.org:443"])`` lead
    to these destinations and to nobody else.

    Args:
        destinations: As ``allow``, one by one.
        allow: A list of names, addresses and networks, each alone or with a port of TCP and UDP,
            or of one of these: ``"pypi.org:443"``, ``"10.0.0.0/8"``, ``"[2001:db8::1]:443"``,
            ``"192.0.2.53:53/udp"``. Names are looked up by pytest, once a run, and are in the
            test's /etc/hosts; nobody answers questions for other names.

    What cannot be is one sentence in the error of the test that is marked with it. What this
    machine lacks for it is a matter of ``on_missing``.

    """

    def __init__(
        self, *destinations: str | Sequence[str], allow: Sequence[str] | None = None
    ) -> None:
        named = [
            name
            for each in destinations
            for name in (each if isinstance(each, list | tuple) else [each])
        ]
        both = isinstance(allow, Sequence) and not isinstance(allow, str)
        self.allow = [*named, *(allow or ())] if named and (both or allow is None) else allow
        self._allowed: tuple[Allowed, ...] | None = None

    @property
    def allowed(self) -> tuple[Allowed, ...] | None:
        """Whom it leads to; None for everybody. Raises ``ValueError`` with one sentence."""
        if self._allowed is not None or self.allow is None:
            return self._allowed
        if isinstance(self.allow, str) or not isinstance(self.allow, Sequence):
            raise ValueError(f"allow={self.allow!r}: {_TEXT}")
        if len(self.allow) > _MOST:
            raise ValueError(f"allow: it has {len(self.allow)} destinations; there can be {_MOST}")
        self._allowed = tuple(dict.fromkeys(map(_allowed, self.allow)))
        return self._allowed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Internet) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return "Internet()" if self.allow is None else f"Internet(allow={self.allow!r})"


def _allowed(value: object) -> Allowed:
    if not isinstance(value, str) or (match := _PORT.fullmatch(value.strip())) is None:
        raise ValueError(f"allow: {value!r} is no destination; {_TEXT}")
    network = _network(value.strip())  # as it is: an address of IPv6 has colons of its own
    if network is not None:
        return Allowed(_checked(value, network))
    kind, port = match["kind"] or "", int(match["port"] or 0)
    if match["port"] is not None and not 0 < port <= _LARGEST:
        raise ValueError(f"allow: {value!r}: a port is a number from 1 to {_LARGEST}")
    network = _network(match["host"])
    if network is not None:
        return Allowed(_checked(value, network), False, kind, port)
    if _NAME.fullmatch(match["host"]) is None:
        more = ", and a name stands for itself alone" if "*" in match["host"] else ""
        raise ValueError(f"allow: {value!r} is no destination{more}; {_TEXT}")
    if match["host"].lower().rstrip(".") == "localhost":
        raise ValueError(_loopback(value))
    return Allowed(match["host"].rstrip("."), True, kind, port)


def _network(text: str) -> IpNetwork | None:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _checked(value: str, network: IpNetwork) -> str:
    if network.is_loopback:
        raise ValueError(_loopback(value))
    if network.is_multicast:
        raise ValueError(f"allow: {value!r} is multicast, which stays in the sandbox")
    return str(network)


def _loopback(value: str) -> str:
    return (
        f"allow: {value!r} is the sandbox's own loopback; forward= reaches servers of the machine's"
    )
