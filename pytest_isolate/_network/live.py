"""What the fixture ``isolate_network`` gives: a test's network, to look at, to go into and to
damage.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_isolate._config.interfaces import BRIDGE, ROUTER
from pytest_isolate._network import needs, rules
from pytest_isolate._network.hosts import Host
from pytest_isolate._network.links import UNCHANGED, Link, NetworkUnavailable

if TYPE_CHECKING:
    from pytest_isolate._network.building import Built


class LiveNetwork:
    """The network that the marker asked for, while the test runs."""

    def __init__(self, built: Built) -> None:
        self._built = built
        kinds = built.topology.kinds
        self._hosts = {name: Host(name, built) for name, kind in kinds.items() if kind != BRIDGE}
        #: Every link, in the order in which they were written.
        self.links = tuple(Link(pair, built) for pair in built.topology.links)
        self._dropped: list[tuple[str, str]] = []  # at a host, what comes from an address
        self._moved: set[str] = set()  # hosts whose own rules come behind those of a partition

    def __repr__(self) -> str:
        return f"<network of {', '.join(self._hosts)}>"

    @property
    def hosts(self) -> dict[str, Host]:
        """Hosts and routers by name."""
        return dict(self._hosts)

    def host(self, name: str) -> Host:
        """One host or router. Raises ``ValueError`` if there is none of that name."""
        try:
            return self[name]
        except KeyError as error:
            raise ValueError(error.args[0]) from None

    def __getitem__(self, name: str) -> Host:
        """Give the same, as a mapping does: ``isolate_network["a"]``. Raises ``KeyError``."""
        if name not in self._hosts:
            there = ", ".join(self._hosts)
            raise KeyError(f"there is no host {name!r} in this network; there are {there}")
        return self._hosts[name]

    def link(self, one: str, other: str | None = None) -> Link:
        """Give the link between two, or the only one that somebody has.

        Raises ``ValueError`` if there is none, or several.
        """
        found = [
            each
            for each in self.links
            if one in each.ends and (other is None or other in each.ends)
        ]
        if len(found) != 1:
            between = f"{one!r} and {other!r}" if other is not None else f"{one!r} and others"
            all_ = ", ".join(" to ".join(each.ends) for each in self.links)
            raise ValueError(
                f"there are {len(found) or 'no'} links between {between}; there are {all_}"
            )
        return found[0]

    def set(
        self,
        *,
        delay: float | str | None = UNCHANGED,
        jitter: float | str | None = UNCHANGED,
        loss: float | str | None = UNCHANGED,
        duplicate: float | str | None = UNCHANGED,
        reorder: float | str | None = UNCHANGED,
        corrupt: float | str | None = UNCHANGED,
        rate: int | str | None = UNCHANGED,
        mtu: int | None = UNCHANGED,
    ) -> None:
        """Change conditions of every link, as its own ``set`` does:
        ``isolate_network.set(delay="200ms", loss="1%")``.
        """
        for link in self.links:
            link.set(
                delay=delay, jitter=jitter, loss=loss, duplicate=duplicate, reorder=reorder,
                corrupt=corrupt, rate=rate, mtu=mtu
            )  # fmt: skip

    def partition(self, *groups: str | Iterable[str]) -> None:
        """From now on hosts of different groups do not hear each other; connections that stand stay
        open, and silent.

        ``partition(["a"], ["b", "c"])``, or ``partition("a")``: hosts that no group names are one
        more. Bridges and routers pass on as before; a router that a group names is as a host. It
        comes in the place of a partition that there was. What is dropped is IPv4 and IPv6 from one
        address to one, at whom it is for: multicast and broadcast still come through. Raises
        ``ValueError`` for unknown names and for one in two groups, ``NetworkUnavailable`` where the
        kernel cannot.
        """
        whose = self._whose(
            [[group] if isinstance(group, str) else list(group) for group in groups]
        )
        self._undo()
        addresses = {
            name: [str(each.ip) for each in self._built.topology.addresses(name)] for name in whose
        }
        for name, group in whose.items():
            for other, its in whose.items():
                if its != group:
                    for address in addresses[other]:
                        self._drop(name, address)

    def _whose(self, groups: list[list[str]]) -> dict[str, int]:
        if not groups:
            raise ValueError("partition: it must name a host: partition(['a'], ['b', 'c'])")
        whose: dict[str, int] = {}
        for number, group in enumerate(groups):
            for name in group:
                self.host(name)
                if whose.setdefault(name, number) != number:
                    raise ValueError(f"partition: {name!r} is in two groups")
        kinds = self._built.topology.kinds
        return whose | {
            name: len(groups) for name in self._hosts if name not in whose and kinds[name] != ROUTER
        }

    def _drop(self, name: str, address: str) -> None:
        namespace = self._built.namespaces[name]
        try:
            # Or what is for this host is its own before any rule is looked at
            if name not in self._moved:
                for family in self._built.topology.families:
                    namespace.ask(rules.local_rule(ipv6=family == 6, first=False, remove=False))
                    namespace.ask(rules.local_rule(ipv6=family == 6, first=True, remove=True))
                self._moved.add(name)
            namespace.ask(rules.blackhole(address))
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.ENOENT, errno.EAFNOSUPPORT}:
                raise
            need = needs.NEEDS["rules"]
            raise NetworkUnavailable(
                f"{need.reason}: {os.strerror(error.errno)}; remedy: {need.remedy}"
            ) from error
        self._dropped.append((name, address))

    def _undo(self) -> None:
        while self._dropped:
            name, address = self._dropped.pop()
            self._built.namespaces[name].ask(rules.blackhole(address, remove=True))

    def heal(self) -> None:
        """Take back every partition, and plug in every link that is down."""
        self._undo()
        for link in self.links:
            link.heal()

    def reset(self) -> None:
        """Have everything again as the marker has it. So it is at each test's beginning."""
        self.heal()
        for link in self.links:
            link.reset()
