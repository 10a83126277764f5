"""A capture of what passes the interfaces of a test's hosts: asked for by
``Network(capture=True)``, kept of a test that failed.
"""

from __future__ import annotations

import _socket
import functools
import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING

from pytest_isolate._config.interfaces import BRIDGE
from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._sandbox import bootstrap

if TYPE_CHECKING:
    from pytest_isolate._config.topology import Topology
    from pytest_isolate._network.namespaces import Namespace

_EVERY = 3  # ETH_P_ALL, from when on a socket hears
_TIMESTAMP, _LARGE = 35, 33  # SO_TIMESTAMPNS, SO_RCVBUFFORCE
_BUFFER = 8 << 20  # bytes of packets for each interface that wait for their writer
_LONGEST = 10.0  # seconds
FILE = "traffic.pcapng"


@functools.cache
def directory() -> str:
    """Where a test's own is, in its sandbox: known before a fork, so that pytest need not believe a
    test.
    """
    return os.path.join(
        os.path.realpath(tempfile.gettempdir()), f"pytest-isolate-capture-{os.getpid()}"
    )


def sockets(topology: Topology, name: str) -> list[_socket.socket]:
    """One for each interface of a host, made in its network; they hear nothing yet."""
    if topology.kinds.get(name, BRIDGE) == BRIDGE:
        return []
    made = [
        _socket.socket(_socket.AF_PACKET, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
        for _ in topology.interfaces(name)
    ]
    for each in made:
        each.setsockopt(_socket.SOL_SOCKET, _TIMESTAMP, 1)
        try:
            each.setsockopt(_socket.SOL_SOCKET, _LARGE, _BUFFER)
        except PermissionError:  # only of the machine's own user namespace
            each.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _BUFFER)
    return made


def start(topology: Topology, namespaces: dict[str, Namespace], where: str) -> _socket.socket:
    """Hear from now on, and have it written.

    Returns the channel to who writes. Raises ``StepFailedError``.
    """
    names, heard = [], []
    for node, namespace in namespaces.items():
        for end, each in zip(
            topology.interfaces(node) if namespace.packets else (), namespace.packets, strict=True
        ):
            with Step("capture at", f"{end.name} of {node}"):
                each.bind((end.name, _EVERY))
            names.append(f"{node}:{end.name}")
            heard.append(each)
    with Step("make", where):
        os.mkdir(where, 0o700)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    told = {
        "path": f"{where}/{FILE}",
        "interfaces": names,
        "sockets": [each.fileno() for each in heard],
    }
    with Step("start", "a process that captures"):
        ours.send(json.dumps(told).encode())
        for each in heard:
            os.set_inheritable(each.fileno(), True)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        actions = [
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, null, 1),
            (os.POSIX_SPAWN_DUP2, null, 2),
        ]
        pid = os.posix_spawn(sys.executable, _command(), {}, file_actions=actions)
        theirs.close()
        os.close(null)
        for each in heard:
            each.close()
        os.waitpid(pid, 0)
    if not _answers(ours):
        raise StepFailedError("start", "a process that captures", 110)
    return ours


def _command() -> list[str]:
    python, *options, dash_c, code = bootstrap.command("pytest_isolate._network.capturing", [])
    return [python, *options, "-B", dash_c, f"# pytest-isolate captures\n{code}"]


def _answers(channel: _socket.socket) -> bool:
    channel.settimeout(_LONGEST)
    try:
        return channel.recv(1) != b""
    except TimeoutError:
        return False


def settle(channel: _socket.socket) -> None:
    """Wait until what has passed by now is written."""
    try:
        channel.send(b"s")
    except OSError:  # it is gone, as a test can have it
        return
    _answers(channel)
