"""rtnetlink requests for interfaces, addresses, routes, rules and schedulers, encoded by pyroute2's
own classes.

pyroute2 is imported in pytest when a test asks for a ``Network``, which takes 0.2 s once, so that
the test's process, its fork, has it when conditions change.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_isolate._config.topology import BRIDGE
from pytest_isolate._network import masquerade

if TYPE_CHECKING:
    from pytest_isolate._config.conditions import Conditions
    from pytest_isolate._config.topology import Interface, Topology

FABRIC = ""  # the name of the namespace that the bridges stand in: no host's
_LOOPBACK = 1
_UP = 1  # IFF_UP
_REQUEST, _CREATE, _EXCLUSIVE, _REPLACE = 0x1 | 0x4, 0x400, 0x200, 0x100  # with an acknowledgement
_GETLINK = 18
_NEWLINK, _NEWADDR, _NEWROUTE, _NEWRULE, _DELRULE, _NEWQDISC, _DELQDISC = 16, 20, 24, 32, 33, 36, 37
_INET, _INET6 = 2, 10
_NODAD = 0x02  # an address of ours alone is used at once
_MAIN_TABLE, _STATIC, _UNIVERSE, _LINK, _UNICAST = 254, 4, 0, 253, 1
_BLACKHOLE, _LOOKUP, _LOCAL_TABLE = 6, 1, 255
_BEFORE_LOCAL, _NEW_LOCAL = 1, 100  # priorities of rules
_ROOT = 0xFFFFFFFF
_TICK = 64e-9  # seconds, of the kernel's schedulers
_WHOLE = 0xFFFFFFFF  # as a share
_QUEUE = 10_000  # packets that a link holds
# Bytes at once and seconds in its queue, of a link with only a rate
_BURST, _LONGEST_QUEUE = 1600 * 20, 0.5
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
        """With the descriptors of this process."""
        if self.namespace is None:
            return self.data
        return (
            self.data[: self.at]
            + struct.pack("=I", descriptors[self.namespace])
            + self.data[self.at + 4 :]
        )


@cache
def _classes() -> dict[str, Callable[..., Any]]:
    from pyroute2.netlink.rtnl.fibmsg import fibmsg  # noqa: PLC0415 - dear, see above
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.tcmsg import tcmsg  # noqa: PLC0415

    return {"link": ifinfmsg, "address": ifaddrmsg, "route": rtmsg, "rule": fibmsg, "qdisc": tcmsg}


def prepare() -> None:
    """Import what ``encode`` needs, in pytest, before it forks."""
    _classes()


def encoded(
    what: str, kind: int, flags: int, fields: dict[str, object], *attributes: tuple[str, object]
) -> bytes:
    """Encode one request by pyroute2's class of this name."""
    message = _classes()[what]()
    message["header"]["type"], message["header"]["flags"], message["header"]["sequence_number"] = (
        kind,
        _REQUEST | flags,
        1,
    )
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = [list(each) for each in attributes]
    message.encode()
    return bytes(message.data)


def build(topology: Topology) -> list[Request]:
    """All that makes a network, in order; namespaces are there, with a loopback that is down."""
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
    """Where it stands."""
    return FABRIC if topology.kinds[node] == BRIDGE else node


def bridge_indexes(topology: Topology) -> dict[str, int]:
    """The interface of each bridge, in the namespace that they share."""
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
    """A bridge that is up and passes on at once."""
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
        "link", _NEWLINK, _CREATE | _EXCLUSIVE, fields, ("IFLA_IFNAME", f"bridge{index - 2}"), data
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
        "link", _NEWLINK, _CREATE | _EXCLUSIVE, {"index": left.index}, *own, ("IFLA_LINKINFO", info)
    )
    at = data.index(_SENTINEL.to_bytes(4, sys.byteorder))
    return Request(here, data, "add the link", f"{left.node} to {right.node}", there, at)


def pair() -> bytes:
    """A pair of interfaces in one namespace, to see whether the kernel has them."""
    return encoded(
        "link",
        _NEWLINK,
        _CREATE | _EXCLUSIVE,
        {},
        ("IFLA_LINKINFO", {"attrs": [["IFLA_INFO_KIND", "veth"]]}),
    )


def _up(index: int) -> bytes:
    return flags(index, _UP)


def flags(index: int, value: int) -> bytes:
    """Set an interface up (1) or down (0)."""
    return encoded("link", _NEWLINK, 0, {"index": index, "flags": value, "change": _UP})


def mtu(index: int, value: int) -> bytes:
    """Another MTU."""
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
    """Those of IPv6, which an interface loses when it is set down."""
    for address in end.addresses:
        if address.version == 6:
            yield give(end.index, str(address.ip), address.network.prefixlen)


def give(index: int, address: str, prefix: int) -> bytes:
    """An address of an interface, in use at once."""
    family = _INET6 if ":" in address else _INET
    fields: dict[str, object] = {
        "index": index,
        "family": family,
        "prefixlen": prefix,
        "flags": _NODAD if family == _INET6 else 0,
    }
    own = () if family == _INET6 else (("IFA_LOCAL", address),)
    return encoded("address", _NEWADDR, _CREATE | _REPLACE, fields, ("IFA_ADDRESS", address), *own)


def _routes(topology: Topology, node: str) -> Iterator[Request]:
    for each in topology.routes.get(node, ()):
        yield Request(
            node,
            route(str(each.to.network_address), each.to.prefixlen, str(each.via)),
            f"give {node} the route",
            f"{each.to} by {each.via}",
        )


def routes(topology: Topology, node: str) -> Iterator[bytes]:
    """All of a host's or router's, which those of an interface that was down are not among."""
    for each in topology.routes.get(node, ()):
        yield route(str(each.to.network_address), each.to.prefixlen, str(each.via))


def route(to: str, prefix: int, via: str, table: int = _MAIN_TABLE) -> bytes:
    """A way to a network by a neighbour."""
    fields: dict[str, object] = {
        "family": _INET6 if ":" in to else _INET, "dst_len": prefix, "table": table,
        "proto": _STATIC, "scope": _UNIVERSE,
        "type": _UNICAST,
    }  # fmt: skip
    where = [("RTA_GATEWAY", via), *((("RTA_DST", to),) if prefix else ())]
    return encoded("route", _NEWROUTE, _CREATE | _REPLACE, fields, *where)


def scheduler(index: int, conditions: Conditions) -> bytes:
    """Conditions of what an interface sends; without any, what the kernel does by itself."""
    fields: dict[str, object] = {"index": index, "parent": _ROOT, "handle": 0}
    if conditions.scheduler is None:
        return encoded("qdisc", _DELQDISC, 0, fields)
    options = _netem(conditions) if conditions.scheduler == "netem" else _tbf(conditions)
    return encoded(
        "qdisc",
        _NEWQDISC,
        _CREATE | _REPLACE,
        fields,
        ("TCA_KIND", conditions.scheduler),
        ("TCA_OPTIONS", options),
    )


def _netem(conditions: Conditions) -> dict[str, object]:
    def share(value: float) -> int:
        return round(value * _WHOLE)

    rate = {
        "rate": (conditions.rate or 0) // 8,
        "packet_overhead": 0,
        "cell_size": 0,
        "cell_overhead": 0,
    }
    return {
        "delay": round(conditions.delay / _TICK), "jitter": round(conditions.jitter / _TICK),
        "limit": _QUEUE,
        "loss": share(conditions.loss),
        "gap": 1 if conditions.reorder else 0, "duplicate": share(conditions.duplicate),
        "attrs": [
            ["TCA_NETEM_REORDER", {"prob_reorder": share(conditions.reorder), "corr_reorder": 0}],
            ["TCA_NETEM_CORRUPT", {"prob_corrupt": share(conditions.corrupt), "corr_corrupt": 0}],
            ["TCA_NETEM_RATE", rate],
        ],
    }  # fmt: skip


def _tbf(conditions: Conditions) -> dict[str, object]:
    from pyroute2.netlink.rtnl.tcmsg import sched_tbf  # noqa: PLC0415

    assert conditions.rate is not None
    given = {
        "rate": conditions.rate // 8,
        "burst": max(_BURST, conditions.rate // 8 // 250),
        "latency": int(_LONGEST_QUEUE * 1e6),
    }
    options: dict[str, object] = sched_tbf.get_parameters(given)
    return options


def blackhole(address: str, *, remove: bool = False) -> bytes:
    """Drop, unheard, what comes from an address."""
    return _rule(":" in address, _BLACKHOLE, 0, _BEFORE_LOCAL, address, remove=remove)


def local_rule(*, ipv6: bool, first: bool, remove: bool) -> bytes:
    """The kernel's rule for what is for this host itself, before all others or behind those of a
    partition.
    """
    return _rule(ipv6, _LOOKUP, _LOCAL_TABLE, 0 if first else _NEW_LOCAL, None, remove=remove)


def _rule(
    ipv6: bool, action: int, table: int, priority: int, source: str | None, *, remove: bool
) -> bytes:
    length = 0 if source is None else 128 if ipv6 else 32
    fields: dict[str, object] = {
        "family": _INET6 if ipv6 else _INET,
        "src_len": length,
        "action": action,
        "table": table,
    }
    attributes = [
        ("FRA_PRIORITY", priority),
        ("FRA_TABLE", table),
        *(() if source is None else (("FRA_SRC", source),)),
    ]
    return encoded(
        "rule",
        _DELRULE if remove else _NEWRULE,
        0 if remove else _CREATE | _EXCLUSIVE,
        fields,
        *attributes,
    )


@cache
def link(index: int) -> bytes:
    """What of an interface the kernel knows."""
    return encoded("link", _GETLINK, 0, {"index": index})
