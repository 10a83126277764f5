"""Requests of rtnetlink, encoded by pyroute2's own classes.

pyroute2 is imported in pytest when a test asks for a ``Network``, which takes 0.2 s once, so that
the test's process, its fork, has it when conditions change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

_REQUEST = 0x1 | 0x4  # with an acknowledgement
CREATE, EXCLUSIVE, REPLACE, DUMP = 0x400, 0x200, 0x100, 0x300
INET, INET6 = 2, 10


@cache
def classes() -> dict[str, Callable[..., Any]]:
    """Import them, which is to be done before a fork that needs them."""
    from pyroute2.netlink.rtnl.fibmsg import fibmsg  # noqa: PLC0415 - dear, see above
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.tcmsg import tcmsg  # noqa: PLC0415

    return {"link": ifinfmsg, "address": ifaddrmsg, "route": rtmsg, "rule": fibmsg, "qdisc": tcmsg}


def encoded(
    what: str, kind: int, flags: int, fields: dict[str, object], *attributes: tuple[str, object]
) -> bytes:
    """Encode one request by pyroute2's class of this name."""
    message = classes()[what]()
    message["header"]["type"], message["header"]["flags"], message["header"]["sequence_number"] = (
        kind,
        _REQUEST | flags,
        1,
    )
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = [list(each) for each in attributes]
    message.encode()
    return bytes(message.data)
