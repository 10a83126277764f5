"""Addresses and routes of a topology: those that are given, checked, and those that are chosen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from pytest_isolate._config.interfaces import (
    BRIDGE,
    ROUTER,
    Interface,
    IpNetwork,
    Route,
    root,
)


def segments(
    links: list[tuple[Interface, Interface]], kinds: dict[str, str]
) -> Iterator[list[Interface]]:
    """Who hears whom without a router in between: all on linked bridges, or the two ends of a
    direct link.
    """
    group = {name: name for name in kinds}
    for left, right in links:
        if kinds[left.node] == kinds[right.node] == BRIDGE:
            group[root(group, left.node)] = root(group, right.node)
    found: dict[object, list[Interface]] = {}
    for left, right in links:
        bridges = [end.node for end in (left, right) if kinds[end.node] == BRIDGE]
        ends = [end for end in (left, right) if kinds[end.node] != BRIDGE]
        found.setdefault(root(group, bridges[0]) if bridges else left.link, []).extend(ends)
    yield from (segment for segment in found.values() if segment)


def check_given(segment: list[Interface]) -> None:
    whose: dict[object, str] = {}
    networks: dict[int, tuple[IpNetwork, str]] = {}
    for end in segment:
        for address in end.addresses:
            if address.ip in whose:
                raise ValueError(
                    f"{whose[address.ip]!r} and {end.node!r} both have the address {address.ip}"
                )
            whose[address.ip] = end.node
            known, first = networks.setdefault(address.version, (address.network, end.node))
            if known != address.network:
                raise ValueError(
                    f"{first!r} and {end.node!r} are on one link or bridge, and {address} is not of"
                    f" the network {known}: they would not hear each other"
                )


def know_networks(segment: list[Interface], used: list[IpNetwork]) -> None:
    """Collect the networks that were given: each on one segment."""
    for network in dict.fromkeys(address.network for end in segment for address in end.addresses):
        for other in used:
            if network.version == other.version and network.overlaps(other):
                raise ValueError(
                    f"the networks {other} and {network} overlap, and are not on one link or"
                    " bridge: nobody could tell where to send"
                )
        used.append(network)


def give_addresses(
    segment: list[Interface], families: tuple[int, ...], used: list[IpNetwork]
) -> None:
    for family in families:
        network = next(
            (
                address.network
                for end in segment
                for address in end.addresses
                if address.version == family
            ),
            None,
        )
        if network is None:
            network = _free(family, used)
            used.append(network)
        taken = {address.ip for end in segment for address in end.addresses}
        free = (each for each in network.hosts() if each not in taken)
        for end in segment:
            if any(address.version == family for address in end.addresses):
                continue
            if (chosen := next(free, None)) is None:
                raise ValueError(f"the network {network} has no address left for {end.node!r}")
            end.addresses.append(ipaddress.ip_interface(f"{chosen}/{network.prefixlen}"))
    for end in segment:
        end.addresses.sort(key=lambda address: address.version)


def _free(family: int, used: list[IpNetwork]) -> IpNetwork:
    for number in range(1 << 16):
        network = ipaddress.ip_network(
            f"10.{number >> 8}.{number & 255}.0/24" if family == 4 else f"fd00:0:0:{number:x}::/64"
        )
        if not any(network.version == other.version and network.overlaps(other) for other in used):
            return network
    raise ValueError("there is no free network left for all links: give some of them addresses")


def routes(node: str, segments: list[list[Interface]], kinds: dict[str, str]) -> tuple[Route, ...]:
    """By the fewest routers. A router is not entered from where it hides who is behind it."""
    own = [
        number
        for number, segment in enumerate(segments)
        if any(end.node == node for end in segment)
    ]
    # A segment -> the neighbour by which one gets there
    reached: dict[int, Interface | None] = dict.fromkeys(own)
    queue = list(own)
    while queue:
        here = queue.pop(0)
        for router in segments[here]:
            if kinds[router.node] != ROUTER or router.hides or router.node == node:
                continue
            for number, segment in enumerate(segments):
                if number not in reached and any(end.node == router.node for end in segment):
                    reached[number] = reached[here] or router
                    queue.append(number)
    found = []
    for number, by in reached.items():
        if by is not None:
            networks = {
                address.version: address.network
                for end in segments[number]
                for address in end.addresses
            }
            found += [
                Route(networks[address.version], address.ip)
                for address in by.addresses
                if address.version in networks
            ]
    return tuple(found)
