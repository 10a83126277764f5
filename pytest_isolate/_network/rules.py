"""Rules for routing, which come before routes, as requests of rtnetlink."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

from pytest_isolate._network.encoding import CREATE, EXCLUSIVE, INET, INET6, encoded

_BLACKHOLE, _LOOKUP, _UNREACHABLE = 6, 1, 7
_NEWRULE, _DELRULE = 32, 33
_LOCAL_TABLE = 255
_BEFORE_LOCAL, _NEW_LOCAL = 1, 100  # priorities
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}


class Then(NamedTuple):
    """What a rule does, and which it comes before."""

    action: int
    table: int
    priority: int


def unreachable(priority: int) -> Then:
    """Answer ENETUNREACH, which the kernel counts."""
    return Then(_UNREACHABLE, 0, priority)


def look_up(table: int, priority: int) -> Then:
    """Take the routes of a table."""
    return Then(_LOOKUP, table, priority)


def blackhole(address: str, *, remove: bool = False) -> bytes:
    """Drop, unheard, what comes from an address."""
    where: list[tuple[str, object]] = [("FRA_SRC", address)]
    ipv6 = ":" in address
    fields: dict[str, object] = {"src_len": 128 if ipv6 else 32}
    return _rule(ipv6, Then(_BLACKHOLE, 0, _BEFORE_LOCAL), fields, where, remove=remove)


def local_rule(*, ipv6: bool, first: bool, remove: bool) -> bytes:
    """Have the kernel's rule for what is for this host itself before all others, or behind those
    of a partition.
    """
    then = look_up(_LOCAL_TABLE, 0 if first else _NEW_LOCAL)
    return _rule(ipv6, then, {}, [], remove=remove)


def towards(network: str, kind: str, port: int, then: Then) -> bytes:
    """Say what becomes of what is sent to a network, or to a port of TCP or UDP there."""
    to = ipaddress.ip_network(network)
    where: list[tuple[str, object]] = []
    if to.prefixlen:
        where.append(("FRA_DST", str(to.network_address)))
    if kind:
        where.append(("FRA_IP_PROTO", PROTOCOLS[kind]))
        where.append(("FRA_DPORT_RANGE", f"{port}:{port}"))
    fields: dict[str, object] = {"dst_len": to.prefixlen}
    return _rule(to.version == 6, then, fields, where, remove=False)


def _rule(
    ipv6: bool,
    then: Then,
    fields: dict[str, object],
    where: list[tuple[str, object]],
    *,
    remove: bool,
) -> bytes:
    return encoded(
        "rule",
        _DELRULE if remove else _NEWRULE,
        0 if remove else CREATE | EXCLUSIVE,
        {"family": INET6 if ipv6 else INET, "action": then.action, "table": then.table, **fields},
        ("FRA_PRIORITY", then.priority),
        ("FRA_TABLE", then.table),
        *where,
    )
