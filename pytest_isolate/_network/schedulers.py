"""Packet schedulers of the kernel, which make a link's conditions, as requests of rtnetlink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_isolate._network.encoding import CREATE, REPLACE, encoded

if TYPE_CHECKING:
    from pytest_isolate._config.conditions import Conditions

_NEWQDISC, _DELQDISC = 36, 37
_ROOT = 0xFFFFFFFF
_TICK = 64e-9  # seconds, of the kernel's schedulers
_WHOLE = 0xFFFFFFFF  # as a share
_QUEUE = 10_000  # packets that a link holds
# Bytes at once and seconds in its queue, of a link with only a rate
_BURST, _LONGEST_QUEUE = 1600 * 20, 0.5


def scheduler(index: int, conditions: Conditions) -> bytes:
    """Make conditions of what an interface sends; without any, what the kernel does by itself."""
    fields: dict[str, object] = {"index": index, "parent": _ROOT, "handle": 0}
    if conditions.scheduler is None:
        return encoded("qdisc", _DELQDISC, 0, fields)
    options = _netem(conditions) if conditions.scheduler == "netem" else _tbf(conditions)
    return encoded(
        "qdisc",
        _NEWQDISC,
        CREATE | REPLACE,
        fields,
        ("TCA_KIND", conditions.scheduler),
        ("TCA_OPTIONS", options),
    )


def _netem(conditions: Conditions) -> dict[str, object]:
    def share(value: float) -> int:
        return round(value * _WHOLE)

    rate = {
        "rate": (conditions.rate or 0) // 8,
        "packet_overhead": 0,
        "cell_size": 0,
        "cell_overhead": 0,
    }
    return {
        "delay": round(conditions.delay / _TICK), "jitter": round(conditions.jitter / _TICK),
        "limit": _QUEUE,
        "loss": share(conditions.loss),
        "gap": 1 if conditions.reorder else 0, "duplicate": share(conditions.duplicate),
        "attrs": [
            ["TCA_NETEM_REORDER", {"prob_reorder": share(conditions.reorder), "corr_reorder": 0}],
            ["TCA_NETEM_CORRUPT", {"prob_corrupt": share(conditions.corrupt), "corr_corrupt": 0}],
            ["TCA_NETEM_RATE", rate],
        ],
    }  # fmt: skip


def _tbf(conditions: Conditions) -> dict[str, object]:
    from pyroute2.netlink.rtnl.tcmsg import sched_tbf  # noqa: PLC0415

    assert conditions.rate is not None
    given = {
        "rate": conditions.rate // 8,
        "burst": max(_BURST, conditions.rate // 8 // 250),
        "latency": int(_LONGEST_QUEUE * 1e6),
    }
    options: dict[str, object] = sched_tbf.get_parameters(given)
    return options
