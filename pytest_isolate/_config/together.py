"""Keywords that contradict each other."""

from __future__ import annotations

from typing import Any

from pytest_isolate._config import networking, paths, roots
from pytest_isolate._config.keywords import STRICT
from pytest_isolate._errors import BadValueError


def check(values: dict[str, Any], origins: dict[str, str], written: object) -> None:
    """Refuse keywords that contradict each other. Raises ``BadValueError``."""
    if values["profile"] == STRICT and (link := paths.first_link(written)) is not None:
        raise BadValueError(
            f"isolate: bind={link[0]!r} ({origins['bind']}): it is or leads through a symbolic"
            " link, which profile='strict' does not follow, because an earlier test may have"
            f" made it; name {link[1]!r} itself if that is what you mean"
        )
    if values["fs_allow"] is not None and values["fs"] == "host":
        raise BadValueError(
            f"isolate: fs_allow={list(values['fs_allow'])!r} ({origins['fs_allow']}): with"
            f" fs='host' ({origins.get('fs', 'by default')}) a test writes to the machine"
            " itself, where nothing tells its writes from those of others; it takes"
            " fs='overlay' or 'readonly'"
        )
    if values["rootfs"] is not None and values["fs"] == "host":
        raise BadValueError(
            f"isolate: rootfs={roots.show(values['rootfs'])!r} ({origins['rootfs']}): with"
            f" fs='host' ({origins.get('fs', 'by default')}) what a test writes would stay in"
            " that root for all others; it takes fs='overlay' or 'readonly'"
        )
    if values["profile"] == STRICT and networking.is_network(values["net"]):
        raise BadValueError(
            f"isolate: net={values['net']!r} ({origins['net']}): profile='strict' takes away"
            " the right by which a test goes from host to host (CAP_SYS_ADMIN in its sandbox);"
            " a test can have one of the two"
        )
    if (topology := networking.of(values["net"]).topology) is not None and values[
        "hostname"
    ] in topology.kinds:
        raise BadValueError(
            f"isolate: net={values['net']!r} ({origins['net']}): {values['hostname']!r} is the"
            " test's own host name, which stands beside that network; hostname= gives it"
            " another one"
        )
