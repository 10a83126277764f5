"""A network of hosts in namespaces of a process of its own, without a sandbox and
pytest around it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

from pytest_isolate import LiveNetwork, Network
from pytest_isolate._linux import syscalls
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._network import building, messages


def within(network: Network, function: Callable[[LiveNetwork], None]) -> None:
    """Build it in a child and call the function there.

    Raises ``AssertionError`` with whatever that raised.
    """
    topology = network.topology
    requests = messages.build(topology)
    uid, gid = os.getuid(), os.getgid()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            syscalls.unshare(Clone.NEWNET | Clone.NEWUTS | (Clone.NEWUSER if uid else 0))
            for name, text in (
                (
                    ("setgroups", "deny"),
                    ("uid_map", f"{uid} {uid} 1"),
                    ("gid_map", f"{gid} {gid} 1"),
                )
                if uid
                else ()
            ):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(text)
            building.build(topology, requests, "error")
            built = building.built()
            assert built is not None
            function(LiveNetwork(built))
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:
        text = said.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise AssertionError(text or f"the process ended with status {status:#x}")
