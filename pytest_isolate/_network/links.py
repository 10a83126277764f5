"""One link of a test's network, as the test has it in its hands."""

from __future__ import annotations

import errno
import os
import struct
import unittest
from typing import TYPE_CHECKING, Any

from pytest_isolate._config.conditions import Conditions, conditions, given
from pytest_isolate._config.interfaces import BRIDGE
from pytest_isolate._network import messages, needs, schedulers, statistics

if TYPE_CHECKING:
    from pytest_isolate._config.interfaces import Interface
    from pytest_isolate._network.building import Built

UNCHANGED: Any = object()  # as an argument: what is not named stays


class NetworkUnavailable(Exception):  # noqa: N818 - the name says what it is
    """A condition needs what the kernel of this machine lacks; the sentence names it and the
    remedy.
    """


class Link:
    """A link between two hosts, routers or bridges.

    Changes are in force when the call returns, for packets that are sent from then on.
    """

    def __init__(self, ends: tuple[Interface, Interface], built: Built) -> None:
        self._ends = ends
        self._built = built
        self._now = {end.node: end.conditions for end in ends}
        self._is_up = True

    def __repr__(self) -> str:
        left, right = (end.node for end in self._ends)
        return f"<link {left} to {right}>"

    @property
    def ends(self) -> tuple[str, str]:
        """The names of its two ends."""
        return self._ends[0].node, self._ends[1].node

    def conditions(self, sender: str) -> Conditions:
        """Say what happens now to what ``sender``, one of its ends, sends by it."""
        return self._now[self._end(sender).node]

    def set(
        self,
        *,
        sender: str | None = None,
        delay: float | str | None = UNCHANGED,
        jitter: float | str | None = UNCHANGED,
        loss: float | str | None = UNCHANGED,
        duplicate: float | str | None = UNCHANGED,
        reorder: float | str | None = UNCHANGED,
        corrupt: float | str | None = UNCHANGED,
        rate: int | str | None = UNCHANGED,
        mtu: int | None = UNCHANGED,
    ) -> None:
        """Change conditions of what hosts and routers send by this link, in the units of
        ``pytest_isolate.Link``; ``None`` takes one back.

        ``sender``: one end alone; else both, but no bridge. Raises ``ValueError`` for what cannot
        be, ``NetworkUnavailable`` where this kernel cannot do it (``on_missing="skip"`` skips the
        test there).
        """
        wanted = given(
            UNCHANGED, delay=delay, jitter=jitter, loss=loss, duplicate=duplicate, reorder=reorder,
            corrupt=corrupt, rate=rate, mtu=mtu,
        )  # fmt: skip
        if sender is not None and not self._can_send(self._end(sender)):
            raise ValueError(
                f"{sender!r} is a bridge, which passes on: conditions are those of who sends"
            )
        for end in self._ends if sender is None else [self._end(sender)]:
            if self._can_send(end):
                self._change(end, conditions(wanted, self._now[end.node]))

    def down(self) -> None:
        """Unplug it, so that nothing passes.

        At a bridge a host keeps its address, and what it sends is lost. A direct link has both of
        its ends set down, so that who uses it is told "Network is unreachable".
        """
        for end in self._plugs:
            self._ask(end, messages.flags(end.index, 0))
        self._is_up = False

    def up(self) -> None:
        """Plug it in again, with the addresses and routes that were lost."""
        for end in self._plugs:
            self._ask(end, messages.flags(end.index, 1))
        for end in self._plugs:
            for request in (*messages.addresses(end), *self._routes(end)):
                self._ask(end, request)
        self._is_up = True

    @property
    def _plugs(self) -> list[Interface]:
        return [end for end in self._ends if not self._can_send(end)] or list(self._ends)

    def _routes(self, end: Interface) -> list[bytes]:
        """Those by neighbours on this link; others may be down themselves."""
        networks = [address.network for address in end.addresses]
        found = [
            each
            for each in self._built.topology.routes.get(end.node, ())
            if any(each.via in network for network in networks)
        ]
        return [
            messages.route(str(each.to.network_address), each.to.prefixlen, str(each.via))
            for each in found
        ]

    def heal(self) -> None:
        """Up, if it is down."""
        if not self._is_up:
            self.up()

    def reset(self) -> None:
        """As the marker has it."""
        self.heal()
        for end in self._ends:
            if self._can_send(end) and self._now[end.node] != end.conditions:
                self._change(end, end.conditions)

    def counters(self, sender: str) -> statistics.Counters:
        """Count what ``sender``, one of its ends, has sent by it so far."""
        return statistics.sent(self._built, self._end(sender))

    def _end(self, name: str) -> Interface:
        for end in self._ends:
            if end.node == name:
                return end
        raise ValueError(
            f"{name!r} is no end of the link from {self._ends[0].node!r} to {self._ends[1].node!r}"
        )

    def _can_send(self, end: Interface) -> bool:
        return self._built.topology.kinds[end.node] != BRIDGE

    def _change(self, end: Interface, wanted: Conditions) -> None:
        before = self._now[end.node]
        if wanted.mtu != before.mtu:
            size = wanted.mtu or 1500
            for each in self._ends:
                self._ask(each, messages.mtu(each.index, size))
        if (wanted.scheduler, _scheduled(wanted)) != (before.scheduler, _scheduled(before)):
            try:
                self._ask(end, schedulers.scheduler(end.index, wanted))
            except OSError as error:
                if wanted.scheduler is None or error.errno not in {errno.ENOENT, errno.EOPNOTSUPP}:
                    raise
                self._unavailable(wanted.scheduler, error)
        self._now[end.node] = wanted

    def _unavailable(self, scheduler: str, error: OSError) -> None:
        need = needs.NEEDS[scheduler]
        sentence = f"{need.reason}: {os.strerror(error.errno or 0)}; remedy: {need.remedy}"
        if self._built.on_missing == "skip":
            raise unittest.SkipTest(sentence)  # which every test runner knows
        raise NetworkUnavailable(sentence)

    def _ask(self, end: Interface, data: bytes) -> None:
        self._built.namespaces[messages.namespace_of(self._built.topology, end.node)].ask(data)


def _scheduled(what: Conditions) -> bytes:
    numbers = (
        what.delay,
        what.jitter,
        what.loss,
        what.duplicate,
        what.reorder,
        what.corrupt,
        float(what.rate or 0),
    )
    return struct.pack("=7d", *numbers)
