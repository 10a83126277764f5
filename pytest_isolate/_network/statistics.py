"""What the kernel counts of each end of a link: read by rtnetlink."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from pytest_isolate._linux import netlink
from pytest_isolate._network import messages

if TYPE_CHECKING:
    from pytest_isolate._config.interfaces import Interface
    from pytest_isolate._network.building import Built

_HEADS = 32  # bytes of nlmsghdr and ifinfomsg, before the attributes
_STATS = 23  # IFLA_STATS64


class Counters(NamedTuple):
    """What one end of a link has sent: the kernel's own figures."""

    packets: int
    bytes: int
    dropped: int  # by the interface; packets that a condition lost are not among them


def sent(built: Built, end: Interface) -> Counters:
    """By one end, so far."""
    node = messages.namespace_of(built.topology, end.node)
    answer = built.namespaces[node].answer(messages.link(end.index))
    if (figures := netlink.attributes(answer, _HEADS).get(_STATS)) is not None:
        # Struct rtnl_link_stats64: received and sent packets, bytes, errors, dropped, in pairs
        numbers = struct.unpack_from("=8Q", figures)
        return Counters(numbers[1], numbers[3], numbers[7])
    raise OSError(0, f"the kernel has no figures of {end.name} of {end.node}")


class Meter:
    """Of one test: what every end has sent since it began."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._before: dict[tuple[str, str], Counters] = {}

    def begin(self) -> None:
        """Another test begins in the same sandbox."""
        self._before = self._now()

    def as_json(self) -> list[list[object]]:
        """From whom, to whom, packets, bytes, dropped."""
        nothing = Counters(0, 0, 0)
        found = self._now().items()
        return [
            [
                *ends,
                *(new - old for new, old in zip(now, self._before.get(ends, nothing), strict=True)),
            ]
            for ends, now in found
        ]

    def _now(self) -> dict[tuple[str, str], Counters]:
        pairs = [
            pair
            for left, right in self._built.topology.links
            for pair in ((left, right), (right, left))
        ]
        return {(end.node, other.node): sent(self._built, end) for end, other in pairs}
