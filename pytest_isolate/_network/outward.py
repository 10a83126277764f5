"""What a sandbox's network has on its side of the way out, as rtnetlink requests: an interface with
addresses, a route by it, and rules for whom it is.

Without a list everybody is reached by the ordinary table of routes. With one the route stands in a
table of its own, which only the rules for allowed destinations lead to. Rules before all that make
the addresses of this machine unreachable. A rule, unlike a route, can be for a port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pytest_isolate._linux import netlink
from pytest_isolate._network import messages, rules
from pytest_isolate._network.encoding import DUMP, encoded
from pytest_isolate._sandbox.recipe import INDEX

MTU = 65520  # there is no cable: the larger a packet, the fewer system calls
#: Networks of the interface. The program that leads out has no other for IPv6.
NETWORKS = {4: "10.249.7.0/24", 6: "fd00::/64"}
_OWN = {4: "10.249.7.100", 6: "fd00::100"}
_ROUTER = {4: "10.249.7.2", 6: "fd00::2"}
NAMES = {4: "10.249.7.3", 6: "fd00::3"}
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_TABLE, _MAIN = 51, 254
_BEFORE, _ALLOWED = 1, 10  # priorities of rules; the main table has 32766
_GETADDR = 22
_LOCAL, _ADDRESS = 2, 1  # IFA_LOCAL, IFA_ADDRESS
_HEAD = 8  # bytes of an ifaddrmsg


class Reached(NamedTuple):
    """An allowed destination as a number."""

    network: str
    kind: str
    port: int


def requests(
    versions: Iterable[int], own: Iterable[str], reached: Iterable[Reached] | None
) -> tuple[bytes, ...]:
    """All, in order; where the interface's index comes is ``INDEX``."""
    return tuple(_requests(tuple(versions), own, reached))


def _requests(
    versions: tuple[int, ...], own: Iterable[str], reached: Iterable[Reached] | None
) -> Iterator[bytes]:
    yield messages.mtu(INDEX, MTU)
    yield messages.flags(INDEX, 1)
    for version in versions:
        prefix = ipaddress.ip_network(NETWORKS[version]).prefixlen
        yield messages.give(INDEX, _OWN[version], prefix)
    for address in own:
        network = ipaddress.ip_network(address)
        if network.version in versions:
            yield rules.towards(str(network), "", 0, rules.unreachable(_BEFORE))
    allowed = rules.look_up(_TABLE, _ALLOWED)
    for each in reached or ():
        both = each.port and not each.kind
        for kind in rules.PROTOCOLS if both else (each.kind,):
            yield rules.towards(each.network, kind, each.port, allowed)
    for version in versions:
        table = _MAIN if reached is None else _TABLE
        yield messages.route(_ANYWHERE[version].split("/")[0], 0, _ROUTER[version], table)


def listing() -> bytes:
    """Ask for all addresses of a network."""
    return encoded("address", _GETADDR, DUMP, {})


def address_in(body: bytes) -> str:
    """Read one of the answers to that."""
    found = netlink.attributes(body, _HEAD)
    return str(ipaddress.ip_address(found.get(_LOCAL) or found[_ADDRESS]))
