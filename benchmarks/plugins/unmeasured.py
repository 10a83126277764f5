"""A pytest plugin (``-p plugins.unmeasured``) that takes out what only measures: what is left holds
limits and tells outcomes.

Taken out: the control groups that count processor time and block I/O, every counter but those of
denials, the network's counters and the audit hook that names attempts, the looks at memory on the
way, and the figures in each report. What the builder does for it, two open files of the network,
stays: it happens beside the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_isolate._child import reporting
from pytest_isolate._linux.cgroup import locate
from pytest_isolate._linux.cgroup.files import keyed
from pytest_isolate._linux.cgroup.hierarchy import Hierarchy
from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.proc_net import NetworkCounters
from pytest_isolate._sandbox.sampling import Sampler
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._test import judge

if TYPE_CHECKING:
    from pytest_isolate._verdict.judging import Verdict

_LIMITING = ("memory", "pids", "cpu", "io")


class _Deaf:
    refused_port: int | None = None

    def __init__(self, root: str) -> None:
        """Hear nothing."""

    def as_json(self) -> list[list[object]]:
        """Nothing was heard."""
        return []

    def clear(self) -> None:
        """Nothing to forget."""


def _denials(sandbox: Sandbox, processor: object) -> Counters:
    del processor
    places = {
        name: each for name, each in sandbox._builder.places.items() if name in sandbox.groups
    }
    return Counters(
        oom_kills=(
            places["memory"].oom_kills(sandbox.groups["memory"]) if "memory" in places else None
        ),
        pids_denied=(
            keyed(f"{sandbox.groups['pids']}/pids.events", "max")[0] if "pids" in places else None
        ),
    )


def _unsaid(verdict: Verdict) -> list[tuple[str, object]]:
    return [("isolate.verdict", verdict.kind)]


def _found() -> dict[str, Hierarchy]:
    return {
        name: each
        for name, each in _own_hierarchies().items()
        if name in _LIMITING or each.version == 2
    }


_own_hierarchies = locate.own_hierarchies
_TAKEN_OUT: tuple[tuple[object, str, object], ...] = (
    (locate, "own_hierarchies", _found),
    (Sandbox, "counters", _denials),
    (NetworkCounters, "unroutable", lambda _: None),
    (Sandbox, "disk_used", lambda _: 0),
    (Sampler, "look", lambda *_: None),
    (reporting, "Recorder", _Deaf),
    (judge, "_figures", _unsaid),
)
for _where, _name, _instead in _TAKEN_OUT:
    getattr(_where, _name)  # or it would be taken out of nowhere
    setattr(_where, _name, _instead)
