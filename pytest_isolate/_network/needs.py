"""What a network needs of the kernel besides namespaces: tried once in a process of its own, named
with what helps.
"""

from __future__ import annotations

import errno
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_isolate._errors import Step, StepFailedError, errno_in_words
from pytest_isolate._model import Missing
from pytest_isolate._sandbox import bootstrap

if TYPE_CHECKING:
    from pytest_isolate._config.topology import Topology

_LONGEST = 30.0  # seconds
_MODULES = "linux-modules-extra-$(uname -r) on Ubuntu, kernel-modules-extra on Fedora"


@dataclass(frozen=True)
class Need:
    """Something that a kernel may be without."""

    reason: str
    remedy: str


NEEDS = {
    "veth": Need(
        "this kernel has no links between network namespaces (veth)",
        "sudo modprobe veth, or a kernel with CONFIG_VETH",
    ),
    "bridge": Need(
        "this kernel has no bridges, which a Network without links or with bridges= needs",
        "sudo modprobe bridge, or a kernel with CONFIG_BRIDGE; two hosts can do with a direct link,"
        " links=[('a', 'b')]",
    ),
    "ipv6": Need(
        "this kernel has no IPv6, which a Network has besides IPv4",
        "ip=4 does without it; or boot without ipv6.disable=1",
    ),
    "netem": Need(
        "this kernel has no network emulator (netem), which delay, jitter, loss, duplicate, reorder"
        " and corrupt need",
        f"sudo modprobe sch_netem ({_MODULES}), or a kernel with CONFIG_NET_SCH_NETEM",
    ),
    "tbf": Need(
        "this kernel has no token bucket filter (tbf), which rate needs",
        f"sudo modprobe sch_tbf ({_MODULES}), or a kernel with CONFIG_NET_SCH_TBF",
    ),
    "rules": Need(
        "this kernel has no rules for routing, which partition() needs",
        "a kernel with CONFIG_IP_MULTIPLE_TABLES",
    ),
    "nat": Need(
        "this kernel has no masquerading by nftables, which nat= needs",
        "sudo modprobe nft_masq, or a kernel with CONFIG_NFT_MASQ",
    ),
}


def of(topology: Topology) -> tuple[str, ...]:
    """Names of what a network needs from its beginning."""
    kinds = set(topology.kinds.values())
    found = [
        "veth",
        *(["bridge"] if "bridge" in kinds else []),
        *(["ipv6"] if 6 in topology.families else []),
        *topology.schedulers,
    ]
    return (*found, *(["nat"] if any(end.hides for pair in topology.links for end in pair) else []))


class Kernel:
    """What this machine's has, tried when somebody wants to know."""

    def __init__(self, user: tuple[int, int] | None) -> None:
        self._user = user  # without root: whose user namespace it is tried in
        self._errnos: dict[str, int] = {}

    def missing(self, topology: Topology) -> Missing | None:
        """Name the first thing that it lacks for a network. Raises ``StepFailedError``."""
        for name in of(topology):
            if (code := self.errno(name)) != 0:
                return Missing(
                    "net", f"{NEEDS[name].reason} ({errno_in_words(code)})", NEEDS[name].remedy
                )
        return None

    def errno(self, name: str) -> int:
        """0 if it has it; else what it says.

        Raises ``StepFailedError`` where nothing can be tried.
        """
        if not self._errnos:
            self._errnos = _tried(self._user)
        return self._errnos[name]


def _requests() -> dict[str, list[str]]:
    # Dear, as what it is for
    from pytest_isolate._config.conditions import Conditions  # noqa: PLC0415
    from pytest_isolate._network import masquerade, messages, rules, schedulers  # noqa: PLC0415

    own = messages.flags(1, 1)
    return {
        "veth": [messages.pair().hex()],
        "bridge": [messages.bridge(90).hex()],
        "netem": [own.hex(), schedulers.scheduler(1, Conditions(delay=0.001)).hex()],
        "tbf": [own.hex(), schedulers.scheduler(1, Conditions(rate=8000)).hex()],
        "ipv6": [own.hex(), messages.give(1, "fd00::1", 128).hex()],
        "rules": [rules.blackhole("192.0.2.1").hex()],
        "nat": [each.hex() for each in masquerade.requests("lo")],
    }


def _tried(user: tuple[int, int] | None) -> dict[str, int]:
    import _cffi_backend  # noqa: PLC0415 - not on every system

    asked = json.dumps({"user": user, "requests": _requests()})
    with Step("try", "what this kernel has for networks"):
        process = subprocess.Popen(
            bootstrap.command("pytest_isolate._network.trying",
                              [str(Path(_cffi_backend.__file__).parent)]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    try:
        printed, complaint = process.communicate(asked, timeout=_LONGEST)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise StepFailedError(
            "try", "what this kernel has for networks: no answer", errno.ETIMEDOUT
        ) from error
    if process.returncode:
        raise StepFailedError(
            "try what this kernel has for networks:",
            (complaint.strip().splitlines() or ["?"])[-1],
            errno.EIO,
        )
    found: dict[str, int] = json.loads(printed)
    if (failed := found.pop("", 0)) != 0:
        raise StepFailedError("unshare", "a network", failed)
    return found
