"""What users write as ``net=Network(...)``: hosts, what is between them, and how well that works.

Nothing is checked where it is written, which is while a module is imported: what is wrong is one
test's error, and the others still run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from pytest_isolate._config.conditions import given

if TYPE_CHECKING:
    from pytest_isolate._config.topology import Topology

Duration = float | str
Share = float | str
Addresses = Mapping[str, str | Sequence[str]]
_BOTH = (4, 6)  # families of IP
LAN = "lan"  # the bridge between hosts of which nothing else is said


class Link:
    """A cable between two hosts, routers or bridges.

    The conditions are those of what a host or router *sends* by it: a direct link has them in both
    directions, and on the way from one host over a bridge to another a packet meets those of its
    sender's link.

    Args:
        left: The name of one end.
        right: The name of the other.
        unnamed: Nothing: what else a link has is written with its name.
        addresses: Chosen ones by the name of the end, with prefix: ``{"a": "192.0.2.1/24", "b":
            ["192.0.2.2/24", "2001:db8::2/64"]}``. Who is not named, and a family that is not, gets
            addresses of the same network, or of one in 10.0.0.0/8 and fd00::/48.
        nat: The router, one of the two ends, that hides who is behind it from this link: what it
            sends by it has its own address.
        delay: Seconds, or text such as ``"200ms"``: how long every packet is held; at most 240 s.
        jitter: Seconds by which the delay varies to both sides; no more than the delay.
        loss: Share of packets that are dropped, from 0 to 1, or text such as ``"5%"``.
        duplicate: Share of packets that come twice.
        reorder: Share of packets that overtake those which are held; needs a delay.
        corrupt: Share of packets in which a bit is flipped. Who has a checksum drops them.
        rate: Bits a second, a number or ``"512kbit"``, ``"10mbit"``, ``"1gbit"`` (powers of 1000),
            from 1kbit to 30gbit.
        mtu: Bytes of the largest packet, from 68 (with IPv6 from 1280) to 65535; 1500 by default.

    What cannot be is one sentence in the error of the test that uses it.

    """

    def __init__(
        self,
        left: str,
        right: str,
        *unnamed: NoReturn,
        addresses: Addresses | None = None,
        nat: str | None = None,
        delay: Duration | None = None,
        jitter: Duration | None = None,
        loss: Share | None = None,
        duplicate: Share | None = None,
        reorder: Share | None = None,
        corrupt: Share | None = None,
        rate: int | str | None = None,
        mtu: int | None = None,
    ) -> None:
        self.left, self.right, self.nat = left, right, nat
        self.unnamed: tuple[object, ...] = (
            unnamed  # what is not there, said as all else that cannot be
        )
        self.addresses = addresses
        self.conditions = given(
            delay=delay, jitter=jitter, loss=loss, duplicate=duplicate, reorder=reorder,
            corrupt=corrupt, rate=rate, mtu=mtu,
        )  # fmt: skip

    def __repr__(self) -> str:
        more = "".join(f", {each!r}" for each in self.unnamed)
        return f"Link({self.left!r}, {self.right!r}{more})"


class Network:
    """A network of a test's own, as a value of the marker's ``net``: hosts with names that resolve,
    links, bridges and routers.

    Each host is a network namespace. ``Network("a", "b", "c")`` has three on one bridge, ``"lan"``;
    with ``links`` they stand where those say. The test itself stands beside it, and goes in by the
    fixture ``isolate_network``.

    Args:
        hosts: Names of hosts: letters, digits, hyphens and dots.
        bridges: Names of switches; every link to one is a port of it.
        routers: Names of hosts that pass on what is not for them. Routes to every network are known
            everywhere, but to what is behind a ``nat``.
        links: ``Link("a", "lan", delay="20ms")``, or just ``("a", "lan")``. Without any, every host
            is linked to the bridge ``"lan"``.
        ip: ``4`` or ``6`` for one family alone; both by default.
        capture: Whether what passes the hosts' interfaces is kept, as a pcapng file, when the test
            fails.
        delay, jitter, loss, duplicate, reorder, corrupt, rate, mtu: As those of ``Link``, for every
            link that does not say otherwise.

    What cannot be (a name that nobody has, an address twice, a rate that no kernel can do) is one
    sentence in the error of the test that is marked with it. What this machine's kernel lacks is a
    matter of ``on_missing``.

    """

    def __init__(
        self,
        *hosts: str,
        bridges: Sequence[str] = (),
        routers: Sequence[str] = (),
        links: Sequence[Link | tuple[str, str]] = (),
        ip: int | Sequence[int] = _BOTH,
        capture: bool = False,
        delay: Duration | None = None,
        jitter: Duration | None = None,
        loss: Share | None = None,
        duplicate: Share | None = None,
        reorder: Share | None = None,
        corrupt: Share | None = None,
        rate: int | str | None = None,
        mtu: int | None = None,
    ) -> None:
        self.hosts = hosts
        self.bridges, self.routers, self.links = bridges, routers, links
        self.ip, self.capture = ip, capture
        self.conditions = given(
            delay=delay, jitter=jitter, loss=loss, duplicate=duplicate, reorder=reorder,
            corrupt=corrupt, rate=rate, mtu=mtu,
        )  # fmt: skip
        self._topology: Topology | None = None

    @property
    def topology(self) -> Topology:
        """Who has which interface, address and route. Raises ``ValueError`` with one sentence."""
        if self._topology is None:
            # For those whose test is about to run
            from pytest_isolate._config.topology import Topology  # noqa: PLC0415

            self._topology = Topology.of(self)
        return self._topology

    def __repr__(self) -> str:
        places = {"bridges": self.bridges, "routers": self.routers, "links": self.links}
        named: dict[str, object] = {name: value for name, value in places.items() if value}
        if self.ip != _BOTH:
            named["ip"] = self.ip
        if self.capture:
            named["capture"] = self.capture
        named |= self.conditions
        shown = [*map(repr, self.hosts), *(f"{name}={value!r}" for name, value in named.items())]
        return f"Network({', '.join(shown)})"
