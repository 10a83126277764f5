"""From what a user wrote as a ``Network`` to interfaces, addresses and routes: pure, and the place
where it is checked.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_isolate._config import addressing
from pytest_isolate._config.conditions import SMALLEST_MTU_OF_IPV6, Conditions, conditions
from pytest_isolate._config.interfaces import (
    BRIDGE,
    HOST,
    ROUTER,
    Interface,
    IpInterface,
    IpNetwork,
    Route,
    root,
)
from pytest_isolate._config.network import LAN, Link

if TYPE_CHECKING:
    from pytest_isolate._config.network import Network

_NAME = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?"
_TAKEN = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})
_MOST_NODES = 100  # each has three descriptors
_FIRST_INDEX = 2  # of an interface: the loopback has 1


@dataclass(frozen=True)
class Topology:
    """All of a network."""

    kinds: dict[str, str]  # of nodes by name, in the order in which they were written
    links: tuple[tuple[Interface, Interface], ...]
    routes: dict[str, tuple[Route, ...]]
    families: tuple[int, ...]
    captures: bool = False

    @classmethod
    def of(cls, network: Network) -> Topology:
        """Read it. Raises ``ValueError`` with one sentence."""
        families = _families(network.ip)
        kinds = _nodes(network)
        links = _links(network, kinds, families)
        _check_rings(links, kinds)
        segments = list(addressing.segments(links, kinds))
        for segment in segments:
            addressing.check_given(segment)
        used: list[IpNetwork] = []
        for segment in segments:
            addressing.know_networks(segment, used)
        for segment in segments:
            addressing.give_addresses(segment, families, used)
        routes = {
            node: addressing.routes(node, segments, kinds)
            for node in kinds
            if kinds[node] != BRIDGE
        }
        return cls(kinds, tuple(links), routes, families, bool(network.capture))

    def interfaces(self, node: str) -> list[Interface]:
        """Of a host, a router, or the ports of a bridge."""
        return [end for pair in self.links for end in pair if end.node == node]

    def addresses(self, node: str) -> list[IpInterface]:
        """Of a host or router, in the order of its links."""
        return [each for end in self.interfaces(node) for each in end.addresses]

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Lines for /etc/hosts: an address and whose it is."""
        return tuple(
            (str(each.ip), node)
            for node, kind in self.kinds.items()
            if kind != BRIDGE
            for each in self.addresses(node)
        )

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Those of the kernel's that its conditions need."""
        found = (
            end.conditions.scheduler
            for pair in self.links
            for end in pair
            if self.kinds[end.node] != BRIDGE
        )
        return tuple(sorted({each for each in found if each is not None}))


def _families(ip: object) -> tuple[int, ...]:
    given = (ip,) if isinstance(ip, int) else tuple(ip) if isinstance(ip, Sequence) else ()
    if not given or isinstance(ip, str) or any(each not in {4, 6} for each in given):
        raise ValueError(f"ip={ip!r}: it must be 4, 6 or both, (4, 6)")
    return tuple(sorted(set(given)))


def _nodes(network: Network) -> dict[str, str]:
    kinds: dict[str, str] = {}
    if not network.hosts:
        raise ValueError("it must have a host: Network('a', 'b')")
    bridges = list(network.bridges) if network.links or network.bridges else [LAN]
    for kind, given in ((ROUTER, network.routers), (BRIDGE, network.bridges)):
        if isinstance(given, str):
            raise ValueError(f"{kind}s={given!r}: it must be a list of names")
    for kind, names in ((HOST, network.hosts), (ROUTER, network.routers), (BRIDGE, bridges)):
        for name in names:
            if not isinstance(name, str) or not re.fullmatch(_NAME, name):
                raise ValueError(
                    f"{name!r} cannot be the name of a {kind}: it must be 1 to 63 letters, digits,"
                    " hyphens and dots"
                )
            if name.lower() in _TAKEN:
                raise ValueError(f"{name!r} cannot be the name of a {kind}: it is every host's own")
            if name in kinds:
                raise ValueError(
                    f"there are a {kinds[name]} and a {kind} with the name {name!r}"
                    if kinds[name] != kind
                    else f"{name!r} is there twice"
                )
            kinds[name] = kind
    if len(kinds) > _MOST_NODES:
        raise ValueError(
            f"it has {len(kinds)} hosts, routers and bridges; there can be {_MOST_NODES}"
        )
    return kinds


def _links(
    network: Network, kinds: dict[str, str], families: tuple[int, ...]
) -> list[tuple[Interface, Interface]]:
    given: Sequence[Link | tuple[str, str]] = network.links or [
        (host, network.bridges[0] if network.bridges else LAN) for host in network.hosts
    ]
    if not network.links and (len(network.bridges) > 1 or network.routers):
        raise ValueError(
            "with routers or several bridges it must say who is linked to whom: links=[('a',"
            " 'lan'), ...]"
        )
    defaults = conditions(network.conditions)
    made: list[tuple[Interface, Interface]] = []
    counts = dict.fromkeys(kinds, 0)
    seen: set[frozenset[str]] = set()
    for number, each in enumerate(given):
        link, ends = _checked(each, kinds)
        if link.unnamed:
            raise ValueError(
                f"{link!r}: a link has two ends, and what else it has needs its name, such as"
                f" delay={link.unnamed[0]!r}"
            )
        if link.left == link.right:
            raise ValueError(f"{link!r}: a link has two ends")
        if frozenset(ends) in seen:
            raise ValueError(f"{link!r}: these two are linked already")
        seen.add(frozenset(ends))
        made.append(_cable(link, number, kinds, counts, _conditions_of(link, defaults, families)))
        for text in (
            address
            for end in made[-1]
            for address in end.addresses
            if address.version not in families
        ):
            raise ValueError(
                f"{link!r}: {str(text)!r} is of IPv{text.version}, and the network has"
                f" ip={families[0]}"
            )
    for name, count in counts.items():
        if not count and kinds[name] != BRIDGE:
            raise ValueError(f"the {kinds[name]} {name!r} has no link")
    return made


def _checked(each: object, kinds: dict[str, str]) -> tuple[Link, tuple[str, str]]:
    if not (isinstance(each, Link) or (isinstance(each, tuple | list) and len(each) == 2)):
        raise ValueError(
            f"links: {each!r} is no link: it must be Link('a', 'b', ...) or ('a', 'b')"
        )
    link = each if isinstance(each, Link) else Link(*each)
    ends = (link.left, link.right)
    for end in ends:
        if end not in kinds:
            raise ValueError(f"{link!r}: there is no {end!r}; there are {', '.join(kinds)}")
    return link, ends


def _conditions_of(link: Link, defaults: Conditions, families: tuple[int, ...]) -> Conditions:
    try:
        asked = conditions(link.conditions, defaults)
    except ValueError as error:
        raise ValueError(f"{link!r}: {error}") from None
    if asked.mtu is not None and asked.mtu < SMALLEST_MTU_OF_IPV6 and 6 in families:
        raise ValueError(
            f"{link!r}: mtu={asked.mtu}: IPv6 needs at least {SMALLEST_MTU_OF_IPV6}; ip=4 does"
            " without it"
        )
    return asked


def _cable(
    link: Link, number: int, kinds: dict[str, str], counts: dict[str, int], asked: Conditions
) -> tuple[Interface, Interface]:
    ends = (link.left, link.right)
    if link.nat is not None and (link.nat not in ends or kinds[link.nat] != ROUTER):
        raise ValueError(
            f"{link!r}: nat={link.nat!r}: it must be a router that is one of its two ends"
        )
    given = link.addresses or {}
    for name in given:
        if name not in ends:
            raise ValueError(f"{link!r}: addresses: {name!r} is none of its ends")
        if kinds[name] == BRIDGE:
            raise ValueError(f"{link!r}: addresses: {name!r} is a bridge, which has no addresses")
    made = []
    for side, name in enumerate(ends):
        bridge = kinds[name] == BRIDGE
        index = (
            number * 2 + side + _FIRST_INDEX + _MOST_NODES
            if bridge
            else _FIRST_INDEX + counts[name]
        )
        mac = f"02:00:00:{number >> 8:02x}:{number & 255:02x}:{side:02x}"
        interface = Interface(
            name,
            f"port{number}{'ab'[side]}" if bridge else f"eth{counts[name]}",
            index,
            mac,
            number,
            asked,
        )
        interface.hides = link.nat == name
        counts[name] += 1
        addresses = given.get(name, ())
        for text in (addresses,) if isinstance(addresses, str) else addresses:
            interface.addresses.append(_address(link, name, text))
        made.append(interface)
    return made[0], made[1]


def _address(link: Link, name: str, text: object) -> IpInterface:
    try:
        found = ipaddress.ip_interface(text) if isinstance(text, str) and "/" in text else None
    except ValueError:
        found = None
    if found is None:
        raise ValueError(
            f"{link!r}: {text!r} is no address of {name!r}: it must be one with its prefix, such as"
            " '192.0.2.1/24'"
        )
    network = found.network
    if (
        found.ip.is_loopback
        or found.ip.is_multicast
        or found.ip.is_unspecified
        or found.ip.is_link_local
    ):
        raise ValueError(f"{link!r}: {text!r} cannot be an address of {name!r}: it is reserved")
    if network.num_addresses > 2 and (
        found.ip == network.network_address
        or (found.version == 4 and found.ip == network.broadcast_address)
    ):
        raise ValueError(
            f"{link!r}: {text!r} cannot be an address of {name!r}: it means the network, not"
            " somebody in it"
        )
    return found


def _check_rings(links: list[tuple[Interface, Interface]], kinds: dict[str, str]) -> None:
    group = {name: name for name in kinds}
    for left, right in links:
        if kinds[left.node] == kinds[right.node] == BRIDGE:
            one, other = root(group, left.node), root(group, right.node)
            if one == other:
                raise ValueError(
                    f"the link of the bridges {left.node!r} and {right.node!r} closes a ring, in"
                    " which packets would go round for ever"
                )
            group[one] = other
