"""A way out of a sandbox, ``net="internet"``: what it needs of this machine, whom it leads to, and
what the builder does for it. pytest's side.

Theory of operation. slirp4netns, a program of the machine, is to a sandbox what a router is: it
takes packets from an interface in the sandbox's network, and does with sockets of its own what they
say. So nothing of the machine is changed, by root and users alike. Who is reached is a matter of
routing in the sandbox: a destination without a way is "Network is unreachable", which the kernel
counts as it does without any way out.
"""

from __future__ import annotations

import _socket
import ipaddress
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pytest_isolate._errors import Step
from pytest_isolate._linux import lookup, names, netlink
from pytest_isolate._model import Missing
from pytest_isolate._network import outward
from pytest_isolate._network.outward import Reached
from pytest_isolate._sandbox.recipe import Uplink

if TYPE_CHECKING:
    from pytest_isolate._config.internet import Allowed

TOOL = "slirp4netns"
_TUN = "/dev/net/tun"
_INTERFACE = "tap0"
_BEYOND = {4: "203.0.113.1", 6: "2001:db8::1"}  # nobody's (RFC 5737, RFC 3849), and nothing is sent
_FAMILIES = {4: _socket.AF_INET, 6: _socket.AF_INET6}
_REMEDY = {
    "tool": f"apt-get install {TOOL} (Fedora: dnf install {TOOL})",
    "tun": "sudo modprobe tun; in a container: docker run --device /dev/net/tun",
    "route": "connect this machine, or run the test elsewhere",
}


class WayOut(NamedTuple):
    """Of the sandboxes of one value of ``net``."""

    uplink: Uplink
    hosts: tuple[tuple[str, str], ...]  # addresses and their names, of allowed ones
    resolver: str | None  # what is in the test's /etc/resolv.conf; None: as in the machine's
    reached: tuple[Reached, ...] | None
    own: tuple[str, ...]  # addresses of this machine, to which it does not lead

    def has_denied(self, address: str | None, port: int | None, *, is_name: bool) -> bool:
        """Whether who tried to get there was told that there is no way.

        ``None`` is nobody in particular. All is a test's word.
        """
        if self.reached is None:
            return address in self.own
        if address is None:
            return True
        if is_name:
            known = {name.lower() for _, name in self.hosts}
            return address.lower().rstrip(".") not in known
        try:
            number = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return True
        return not any(
            number in ipaddress.ip_network(each.network) and each.port in {0, port}
            for each in self.reached
        )


def families() -> tuple[int, ...]:
    """Versions of IP in which this machine has a way to others itself."""
    return tuple(version for version in (4, 6) if _leads_beyond(version))


def _leads_beyond(version: int) -> bool:
    try:
        each = _socket.socket(_FAMILIES[version], _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    except OSError:  # a kernel without IPv6
        return False
    try:
        each.connect((_BEYOND[version], 9))
    except OSError:
        return False
    finally:
        each.close()
    return True


def missing() -> Missing | None:
    """Say what this machine lacks for it, a way to others of its own included."""
    if (lacks := lacking()) is None and not families():
        return Missing("net", "this machine itself has no default route", _REMEDY["route"])
    return lacks


def lacking() -> Missing | None:
    """Say what it lacks to have one, whatever it is connected to."""
    if shutil.which(TOOL) is None:
        return Missing("net", f"{TOOL} is not installed", _REMEDY["tool"])
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Missing("net", f"{_TUN} cannot be opened: {error.strerror}", _REMEDY["tun"])
    return None


def find(allowed: tuple[Allowed, ...] | None, *, rootless: bool) -> WayOut:
    """Plan it, on a machine that lacks nothing. Raises ``StepFailedError``, and ``LookupError`` for
    a name that nobody knows.
    """
    versions = families()
    own = tuple(_own_addresses())
    reached, hosts = (None, ()) if allowed is None else _reached(allowed, versions)
    requests = outward.requests(versions, own, reached)
    resolver = _resolver(versions) if allowed is None else None
    return WayOut(
        Uplink(_command(versions, rootless=rootless), _INTERFACE, requests),
        hosts,
        resolver,
        reached,
        own,
    )


def _command(versions: tuple[int, ...], *, rootless: bool) -> tuple[str, ...]:
    """Say how the program is started. What is in braces the builder knows: descriptors of the
    sandbox's namespaces, where it is told that the interface is there, and what lives as long as
    it does. As root it gives up all rights, and what it can see of the file system.
    """
    return (
        shutil.which(TOOL) or TOOL, "--disable-host-loopback",
        *(() if rootless else ("--enable-sandbox",)),
        f"--cidr={outward.NETWORKS[4]}", f"--mtu={outward.MTU}",
        *(("--enable-ipv6",) if 6 in versions else ()), "--netns-type=path",
        "--ready-fd={ready}", "--exit-fd={life}", "--userns-path=/proc/self/fd/{user}",
        "/proc/self/fd/{net}", _INTERFACE,
    )  # fmt: skip


def _own_addresses() -> Iterator[str]:
    """List those of this machine that others could reach it by."""
    with Step("list", "the addresses of this machine"):
        kernel = netlink.rtnetlink()
        try:
            found = [outward.address_in(body) for body in netlink.listed(kernel, outward.listing())]
        finally:
            kernel.close()
    taken = [ipaddress.ip_network(each) for each in outward.NETWORKS.values()]
    for each in dict.fromkeys(found):
        number = ipaddress.ip_address(each)
        # The interface's own network ends at the tool, which leads to no address of the machine
        if not (number.is_loopback or number.is_link_local or any(number in one for one in taken)):
            yield each


def _reached(
    allowed: tuple[Allowed, ...], versions: tuple[int, ...]
) -> tuple[tuple[Reached, ...], tuple[tuple[str, str], ...]]:
    found: dict[Reached, None] = {}
    hosts: dict[tuple[str, str], None] = {}
    for each in allowed:
        for network in lookup.addresses(each.host) if each.is_name else (each.host,):
            number = ipaddress.ip_network(network)
            if number.version not in versions:
                continue
            found[Reached(str(number), each.kind, each.port)] = None
            if each.is_name:
                hosts[network, each.host] = None
    return tuple(found), tuple(hosts)


def _resolver(versions: tuple[int, ...]) -> str:
    """Have the tool asked, which asks whom the machine asks, on its loopback too."""
    try:
        with open(names.RESOLVER, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:  # then the C library asks the loopback, as it does on the machine
        lines = []
    asked = [
        line.split()[1] for line in lines if line.startswith("nameserver") and line.split()[1:]
    ]
    version = 6 if asked and all(":" in each for each in asked) and 6 in versions else 4
    kept = [
        line
        for line in lines
        if line.isascii() and line.startswith(("search", "domain", "options"))
    ]
    return "\n".join([f"nameserver {outward.NAMES[version]}", *kept]) + "\n"
