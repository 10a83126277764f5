"""All that makes a network of hosts, as requests of rtnetlink: interfaces, addresses, routes."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pytest_isolate._config.interfaces import BRIDGE
from pytest_isolate._network import masquerade
from pytest_isolate._network.encoding import CREATE, EXCLUSIVE, INET, INET6, REPLACE, encoded
from pytest_isolate._network.schedulers import scheduler

if TYPE_CHECKING:
    from pytest_isolate._config.interfaces import Interface
    from pytest_isolate._config.topology import Topology

FABRIC = ""  # the name of the namespace that the bridges stand in: no host's
_LOOPBACK = 1
_UP = 1  # IFF_UP
_GETLINK, _NEWLINK, _NEWADDR, _NEWROUTE = 18, 16, 20, 24
_NODAD = 0x02  # an address of ours alone is used at once
_MAIN_TABLE, _STATIC, _UNIVERSE, _UNICAST = 254, 4, 0, 1
_SENTINEL = 0x5EED0000  # where the number of a descriptor comes when it is known


@dataclass(frozen=True)
class Request:
    """One message to the kernel in one namespace."""

    node: str  # whose namespace
    data: bytes
    step: str  # in words, for when it fails
    path: str
    namespace: str | None = None  # whose descriptor is to be written at ``at``
    at: int = 0
    netfilter: bool = False  # it is for nftables
    is_condition: bool = False  # it needs a scheduler that a kernel may be without

    def bytes_for(self, descriptors: dict[str, int]) -> bytes:
        """Fill in the descriptors of this process."""
        if self.namespace is None:
            return self.data
        return (
            self.data[: self.at]
            + struct.pack("=I", descriptors[self.namespace])
            + self.data[self.at + 4 :]
        )


def build(topology: Topology) -> list[Request]:
    """Encode all that makes a network, in order; namespaces are there, their loopbacks down."""
    made = list(_bridges(topology))
    for left, right in topology.links:
        made.append(_cable(topology, left, right))
    for node, kind in topology.kinds.items():
        if kind != BRIDGE:
            made.append(Request(node, _up(_LOOPBACK), "set up the loopback of", node))
    for pair in topology.links:
        for end in pair:
            made += _end(topology, end)
    for node in topology.kinds:
        made += _routes(topology, node)
    for pair in topology.links:
        made += [
            Request(end.node, each, "masquerade by", f"{end.name} of {end.node}", netfilter=True)
            for end in pair
            if end.hides
            for each in masquerade.requests(end.name)
        ]
    return made


def namespace_of(topology: Topology, node: str) -> str:
    """Say where it stands."""
    return FABRIC if topology.kinds[node] == BRIDGE else node


def bridge_indexes(topology: Topology) -> dict[str, int]:
    """Give each bridge the number of its interface, in the namespace that they share."""
    return {
        name: 2 + number
        for number, name in enumerate(
            each for each, kind in topology.kinds.items() if kind == BRIDGE
        )
    }


def _bridges(topology: Topology) -> Iterator[Request]:
    for name, index in bridge_indexes(topology).items():
        yield Request(FABRIC, bridge(index), "add the bridge", name)


def bridge(index: int) -> bytes:
    """Add a bridge that is up and passes on at once."""
    data = (
        "IFLA_LINKINFO",
        {
            "attrs": [
                ["IFLA_INFO_KIND", "bridge"],
                ["IFLA_INFO_DATA", {"attrs": [["IFLA_BR_FORWARD_DELAY", 0]]}],
            ]
        },
    )
    fields: dict[str, object] = {"index": index, "flags": _UP, "change": _UP}
    return encoded(
        "link", _NEWLINK, CREATE | EXCLUSIVE, fields, ("IFLA_IFNAME", f"bridge{index - 2}"), data
    )


def _cable(topology: Topology, left: Interface, right: Interface) -> Request:
    here, there = namespace_of(topology, left.node), namespace_of(topology, right.node)
    known = {"index": right.index}
    mtu = [] if left.conditions.mtu is None else [["IFLA_MTU", left.conditions.mtu]]
    peer = {
        **known,
        "attrs": [
            ["IFLA_IFNAME", right.name],
            ["IFLA_ADDRESS", right.mac],
            *mtu,
            ["IFLA_NET_NS_FD", _SENTINEL],
        ],
    }
    info = {
        "attrs": [
            ["IFLA_INFO_KIND", "veth"],
            ["IFLA_INFO_DATA", {"attrs": [["VETH_INFO_PEER", peer]]}],
        ]
    }
    own: list[tuple[str, object]] = [
        ("IFLA_IFNAME", left.name),
        ("IFLA_ADDRESS", left.mac),
        *(("IFLA_MTU", each[1]) for each in mtu),
    ]
    data = encoded(
        "link", _NEWLINK, CREATE | EXCLUSIVE, {"index": left.index}, *own, ("IFLA_LINKINFO", info)
    )
    at = data.index(_SENTINEL.to_bytes(4, sys.byteorder))
    return Request(here, data, "add the link", f"{left.node} to {right.node}", there, at)


def pair() -> bytes:
    """Add a pair of interfaces in one namespace, to see whether the kernel has them."""
    return encoded(
        "link",
        _NEWLINK,
        CREATE | EXCLUSIVE,
        {},
        ("IFLA_LINKINFO", {"attrs": [["IFLA_INFO_KIND", "veth"]]}),
    )


def _up(index: int) -> bytes:
    return flags(index, _UP)


def flags(index: int, value: int) -> bytes:
    """Set an interface up (1) or down (0)."""
    return encoded("link", _NEWLINK, 0, {"index": index, "flags": value, "change": _UP})


def mtu(index: int, value: int) -> bytes:
    """Set another MTU."""
    return encoded("link", _NEWLINK, 0, {"index": index}, ("IFLA_MTU", value))


def _end(topology: Topology, end: Interface) -> Iterator[Request]:
    where = f"{end.name} of {end.node}"
    if topology.kinds[end.node] == BRIDGE:
        master = bridge_indexes(topology)[end.node]
        fields: dict[str, object] = {"index": end.index, "flags": _UP, "change": _UP}
        yield Request(
            FABRIC,
            encoded("link", _NEWLINK, 0, fields, ("IFLA_MASTER", master)),
            "plug in",
            f"a port of {end.node}",
        )
        return
    yield Request(end.node, _up(end.index), "set up", where)
    for address in end.addresses:
        yield Request(
            end.node,
            give(end.index, str(address.ip), address.network.prefixlen),
            f"give {where} the address",
            str(address),
        )
    if end.conditions.scheduler is not None:
        yield Request(
            end.node,
            scheduler(end.index, end.conditions),
            f"schedule ({end.conditions.scheduler})",
            where,
            is_condition=True,
        )


def addresses(end: Interface) -> Iterator[bytes]:
    """Give those of IPv6, which an interface loses when it is set down."""
    for address in end.addresses:
        if address.version == 6:
            yield give(end.index, str(address.ip), address.network.prefixlen)


def give(index: int, address: str, prefix: int) -> bytes:
    """Give an interface an address, in use at once."""
    family = INET6 if ":" in address else INET
    fields: dict[str, object] = {
        "index": index,
        "family": family,
        "prefixlen": prefix,
        "flags": _NODAD if family == INET6 else 0,
    }
    own = () if family == INET6 else (("IFA_LOCAL", address),)
    return encoded("address", _NEWADDR, CREATE | REPLACE, fields, ("IFA_ADDRESS", address), *own)


def _routes(topology: Topology, node: str) -> Iterator[Request]:
    for each in topology.routes.get(node, ()):
        yield Request(
            node,
            route(str(each.to.network_address), each.to.prefixlen, str(each.via)),
            f"give {node} the route",
            f"{each.to} by {each.via}",
        )


def routes(topology: Topology, node: str) -> Iterator[bytes]:
    """Give all of a host's or router's, which those of an interface that was down are not among."""
    for each in topology.routes.get(node, ()):
        yield route(str(each.to.network_address), each.to.prefixlen, str(each.via))


def route(to: str, prefix: int, via: str, table: int = _MAIN_TABLE) -> bytes:
    """Lead to a network by a neighbour."""
    fields: dict[str, object] = {
        "family": INET6 if ":" in to else INET, "dst_len": prefix, "table": table,
        "proto": _STATIC, "scope": _UNIVERSE,
        "type": _UNICAST,
    }  # fmt: skip
    where = [("RTA_GATEWAY", via), *((("RTA_DST", to),) if prefix else ())]
    return encoded("route", _NEWROUTE, CREATE | REPLACE, fields, *where)


@cache
def link(index: int) -> bytes:
    """Ask what the kernel knows of an interface."""
    return encoded("link", _GETLINK, 0, {"index": index})
