"""The parts of a topology: nodes' kinds, interfaces, routes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from pytest_isolate._config.conditions import Conditions

HOST, ROUTER, BRIDGE = "host", "router", "bridge"
IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass
class Interface:
    """One end of a link."""

    node: str
    name: str  # of the interface, in its namespace
    index: int
    mac: str
    link: int
    conditions: Conditions
    addresses: list[IpInterface] = field(default_factory=list)
    hides: bool = False  # who is behind it


@dataclass(frozen=True)
class Route:
    """To a network, by a neighbour."""

    to: IpNetwork
    via: ipaddress.IPv4Address | ipaddress.IPv6Address


def root(group: dict[str, str], name: str) -> str:
    """Return the one node by which a group of linked ones is known."""
    while group[name] != name:
        name = group[name]
    return name
