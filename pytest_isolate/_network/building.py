"""In a test's process, inside its sandbox and before the test's code: namespaces of hosts, and what
is in them.

Whoever made a namespace holds it by descriptors, and nobody else does: when the test's processes
end, however they end, the kernel takes everything apart, and nothing of it had a name anywhere.
"""

from __future__ import annotations

import _socket
import errno
import os
from collections.abc import Sequence

from pytest_isolate._config.interfaces import BRIDGE, ROUTER
from pytest_isolate._config.topology import Topology
from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import syscalls
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._network import capture
from pytest_isolate._network.messages import FABRIC, Request
from pytest_isolate._network.namespaces import Namespace

_KIND, _NETFILTER = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 12  # NETLINK_NETFILTER
NET, UTS = "net", "uts"
_FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")


class Built:
    """All that there is of one network in this process."""

    def __init__(self, topology: Topology, on_missing: str) -> None:
        self.topology = topology
        self.on_missing = on_missing
        self.namespaces: dict[str, Namespace] = {}
        self.capture: _socket.socket | None = None  # the channel to who writes it

    def settle(self) -> None:
        """Have what is captured written."""
        if self.capture is not None:
            capture.settle(self.capture)


_built: list[Built] = []  # of this process and its forks: one, or none


def built() -> Built | None:
    """Give the network of this test, if it has one."""
    return _built[-1] if _built else None


def build(topology: Topology, requests: Sequence[Request], on_missing: str) -> None:
    """Make it. This process is where it was, then. Raises ``StepFailedError``."""
    made = Built(topology, on_missing)
    with Step("open", "the sandbox's own network"):
        own = [
            (os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), flag)
            for name, flag in ((NET, Clone.NEWNET), (UTS, Clone.NEWUTS))
        ]
    nodes = [name for name, kind in topology.kinds.items() if kind != BRIDGE]
    try:
        for name in [*nodes, *([FABRIC] if len(nodes) < len(topology.kinds) else [])]:
            made.namespaces[name] = _namespace(name, topology)
    finally:
        for fd, flag in own:
            with Step("setns back into", "the sandbox's own network"):
                syscalls.setns(fd, flag)
            os.close(fd)
    descriptors = {name: each.net for name, each in made.namespaces.items()}
    for request in requests:
        try:
            made.namespaces[request.node].ask(
                request.bytes_for(descriptors), netfilter=request.netfilter
            )
        except OSError as error:
            if (
                request.is_condition
                and on_missing == "warn"
                and error.errno in {errno.ENOENT, errno.EOPNOTSUPP}
            ):
                continue  # pytest has warned of it
            raise StepFailedError(request.step, request.path, error.errno or 0) from error
    if topology.captures:
        made.capture = capture.start(topology, made.namespaces, capture.directory())
        for namespace in made.namespaces.values():
            namespace.packets.clear()
    _built[:] = [made]


def _namespace(name: str, topology: Topology) -> Namespace:
    with Step("unshare a network for", name or "the bridges"):
        syscalls.unshare(Clone.NEWNET | Clone.NEWUTS)
        net, uts = (
            os.open(f"/proc/self/ns/{each}", os.O_RDONLY | os.O_CLOEXEC) for each in (NET, UTS)
        )
        rtnetlink = _socket.socket(_socket.AF_NETLINK, _KIND, 0)
        hides = any(end.hides for end in topology.interfaces(name))
        packets = capture.sockets(topology, name) if topology.captures else []
        netfilter = _socket.socket(_socket.AF_NETLINK, _KIND, _NETFILTER) if hides else None
    if name == FABRIC:
        # Bridges and their ports say nothing of their own
        _write("ipv6/conf/default/disable_ipv6", "1")
    else:
        with Step("sethostname", name):
            _socket.sethostname(name)
        _settings(name, topology)
    return Namespace(net, uts, rtnetlink, netfilter, packets)


def _settings(name: str, topology: Topology) -> None:
    """As in a container: every port is for everybody, and whoever runs here may ping.

    A router passes on. IPv6 is there at once, or not.
    """
    # Nobody else has our addresses, and asking takes the kernel a second
    _write("ipv6/conf/default/accept_dad", "0")
    if 6 not in topology.families:
        _write("ipv6/conf/default/disable_ipv6", "1")
    own = os.getgid()
    _write("ipv4/ip_unprivileged_port_start", "0")
    _write("ipv4/ping_group_range", f"{own} {own}")
    if topology.kinds[name] == ROUTER:
        for setting in _FORWARDING:
            _write(setting, "1")


def _write(setting: str, text: str) -> None:
    path = f"/proc/sys/net/{setting}"
    with Step("write", path):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # a kernel without IPv6
            return
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
