"""What the kernel counts of an end of a link: read by rtnetlink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_isolate._network import messages
from pytest_isolate._network.links import Counters

if TYPE_CHECKING:
    from pytest_isolate._config.topology import Interface
    from pytest_isolate._network.building import Built


def sent(built: Built, end: Interface) -> Counters:
    """By one end, so far."""
    node = messages.namespace_of(built.topology, end.node)
    numbers = messages.statistics(built.namespaces[node].answer(messages.link(end.index)))
    return Counters(numbers["tx_packets"], numbers["tx_bytes"], numbers["tx_dropped"])
