"""What this machine has for networks of hosts and a way out, for the doctor: tried, the kernel's
parts each in a namespace of its own.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pytest_isolate._errors import StepFailedError, errno_in_words
from pytest_isolate._linux.environment import Environment
from pytest_isolate._network import way_out
from pytest_isolate._network.needs import NEEDS, Kernel
from pytest_isolate._plan.remedies import remedy

_BASIC = ("veth", "bridge", "rules")  # without which hardly any network can be had
_WORDS = {"tbf": "rates", "nat": "NAT"}


class Row(NamedTuple):
    """One extra: what there is of it, or what is missing and what helps."""

    name: str
    available: bool
    reason: str
    remedy: str


def rows(here: Environment, *, has_network: bool) -> list[Row]:
    """Try them: hosts with links between them, and the emulator of bad ones."""
    if not has_network:
        return [
            Row(name, False, "a test has no network of its own here: see net", "")
            for name in ("hosts", "netem", "internet")
        ]
    kernel = Kernel((os.geteuid(), os.getegid()) if here.rootless else None)
    try:
        found = {name: kernel.errno(name) for name in NEEDS}
    except StepFailedError as error:
        return [
            Row("hosts", False, str(error), remedy(error, here) or ""),
            Row("netem", False, "no network can be had to try it in", ""),
            _internet(),
        ]
    return [
        _hosts(found),
        _missing("netem", "netem", found)
        or Row("netem", True, "delay, jitter, loss, duplicate, reorder, corrupt", ""),
        _missing("internet", "rules", found) or _internet(),
    ]


def _hosts(found: dict[str, int]) -> Row:
    for name in _BASIC:
        if (row := _missing("hosts", name, found)) is not None:
            return row
    more = [word if not found[name] else f"no {word}" for name, word in _WORDS.items()]
    return Row(
        "hosts", True, f"net=Network(...): links, bridges, partitions, {', '.join(more)}", ""
    )


def _internet() -> Row:
    if (lacks := way_out.missing()) is not None:
        return Row("internet", False, lacks.reason, lacks.remedy)
    versions = " and ".join(f"IPv{version}" for version in way_out.families())
    return Row("internet", True, f"net='internet', net=Internet(...): {versions}", "")


def _missing(row: str, name: str, found: dict[str, int]) -> Row | None:
    if not (code := found[name]):
        return None
    return Row(row, False, f"{NEEDS[name].reason} ({errno_in_words(code)})", NEEDS[name].remedy)
