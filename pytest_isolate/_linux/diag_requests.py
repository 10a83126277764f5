"""The sock_diag requests by which listening sockets are listed, encoded by pyroute2's own classes.

pyroute2's modules would make every fork of pytest dearer, so this runs as a process of its own,
once, started by the first shared fixture that has a server.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import PathFinder
from types import ModuleType

# States, as of <net/tcp_states.h>; a datagram socket that is bound is "closed"
_LISTEN, _CLOSE = 1 << 10, 1 << 7
_TCP, _UDP = 6, 17
_INET, _INET6, _UNIX = 2, 10, 1


def _import_without_init(name: str) -> None:
    """Have a package's modules imported without all others, which its ``__init__`` imports: 15 ms
    instead of 80. In this process only.
    """
    spec = PathFinder.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package


def requests() -> list[bytes]:
    """TCP, UDP of both families and Unix: each a whole message. Its answers end with NLMSG_DONE."""
    from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST  # noqa: PLC0415 - dear, see above
    from pyroute2.netlink.diag import (  # noqa: PLC0415
        SOCK_DIAG_BY_FAMILY,
        UDIAG_SHOW_NAME,
        inet_diag_req,
        unix_diag_req,
    )

    made = []
    for family, protocol, states in (
        (_INET, _TCP, _LISTEN),
        (_INET6, _TCP, _LISTEN),
        (_INET, _UDP, _CLOSE),
        (_INET6, _UDP, _CLOSE),
    ):
        message = inet_diag_req()
        message["sdiag_family"], message["sdiag_protocol"], message["idiag_states"] = (
            family,
            protocol,
            states,
        )
        made.append(message)
    message = unix_diag_req()
    message["sdiag_family"], message["udiag_states"], message["udiag_show"] = (
        _UNIX,
        _LISTEN | _CLOSE,
        UDIAG_SHOW_NAME,
    )
    made.append(message)
    for message in made:
        message["header"]["type"] = SOCK_DIAG_BY_FAMILY
        message["header"]["flags"] = NLM_F_REQUEST | NLM_F_DUMP
        message["header"]["sequence_number"] = 1
        message.encode()
    return [bytes(message.data) for message in made]


def main() -> None:
    """Print the messages as JSON for the process that asked."""
    _import_without_init("pyroute2")
    json.dump([message.hex() for message in requests()], sys.stdout)
