"""A test that ``on_missing="warn"`` has run where the machine cannot give what it asked for: what
it has and what it lacks, in words.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.networking import HOST
from pytest_isolate._config.roots import show
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.host import Host
from pytest_isolate._plan import strictness
from pytest_isolate._plan.layout import is_in
from pytest_isolate._plan.planning import Plan, limits_of
from pytest_isolate._pytest import lasting
from pytest_isolate._sandbox.recipe import Recipe

_SHARED_MEMORY = "/dev/shm"


def less(spec: Spec) -> Iterator[Spec]:
    """Leave out, of what it asked for, the one thing, or the two, that some machines cannot give: a
    network, an overlay.
    """
    networks = dict.fromkeys((spec.net, HOST))
    roots = dict.fromkeys((spec.fs, "readonly" if spec.fs == "overlay" else spec.fs))
    yield from (
        replace(spec, net=net, fs=fs)
        for fs in roots
        for net in networks
        if (net, fs) != (spec.net, spec.fs)
    )


def sentence_of_less(spec: Spec, given: Spec, reason: str) -> str:
    """Why, what helps, and what the test has instead."""
    has = [f"net='host' instead of {spec.net!r}"] if spec.net != given.net else []
    has += [f"fs={given.fs!r} instead of {spec.fs!r}"] if spec.fs != given.fs else []
    return (
        f"the test runs with {' and '.join(has)}: {reason}; see also pytest --isolate-doctor and"
        " on_missing="
    )


def plan(spec: Spec, host: Host, config: pytest.Config) -> Plan:
    """Plan a sandbox without namespaces and steps: control groups where they can be had, and what a
    process can do to itself.
    """
    recipe = Recipe(0, None, "", (), limits_of(given(spec, host), host))
    writable = (
        None
        if spec.fs == "host" or strictness.landlock_obstacle() is not None
        else tuple(_writable(spec, config))
    )
    walls = ["process", *(["landlock"] if writable is not None else [])]
    if spec.strict and strictness.obstacle() is None:
        walls.append("strict")
    return Plan(
        recipe, (), walls=tuple(walls), looked=tuple(_looked(spec, host)), writable=writable
    )


def given(spec: Spec, host: Host) -> Spec:
    """Tell what of its keywords the test has: its limits are those that are held."""
    return replace(
        spec, net=HOST, fs="host", disk=None, user=None, fs_allow=None, fs_hide=(), rootfs=None,
        pids=spec.pids if "pids" in host.places else None,
        cpu=spec.cpu if "cpu" in host.places else None,
        io_read=None if "io" in host.obstacles else spec.io_read,
        io_write=None if "io" in host.obstacles else spec.io_write,
    )  # fmt: skip


def _looked(spec: Spec, host: Host) -> Iterator[str]:
    """Limits without a control group, for which a look from outside does."""
    if spec.memory is not None and "memory" not in host.places:
        yield "memory"
    if spec.cpu_time is not None and not host.counts_time:
        yield "cpu_time"


def _writable(spec: Spec, config: pytest.Config) -> Iterator[str]:
    """Where a sandbox would have private files, or shared ones: anywhere else a write would reach
    the machine.
    """
    places = ["/tmp", tempfile.gettempdir(), _SHARED_MEMORY]
    places += filter(
        None, (config.getoption("basetemp", None), os.environ.get("PYTEST_DEBUG_TEMPROOT"))
    )
    if not spec.strict:  # what a hostile test writes there, later runs would read
        places += map(str, lasting.places(config))
    places += [each.source for each in spec.bind if not each.read_only]
    found = dict.fromkeys(map(os.path.realpath, places))
    yield from (path for path in found if not is_in(os.path.dirname(path), list(found)))


def summary(plan: Plan) -> str:
    """Tell what any test has without namespaces, in a line."""
    wall = "" if plan.writable is None else ", Landlock against writes elsewhere"
    return (
        "what on_missing='warn' gives without namespaces: a process of its own with crash,"
        f" timeout, output, left-over processes, files, memory by sampling{wall}"
    )


def sentence(spec: Spec, host: Host, plan: Plan, reason: str) -> str:
    """Why, what helps, what the test has and what it lacks."""
    has = ["a process of its own"]
    if plan.writable is not None:
        has.append(f"Landlock's wall (writes to {', '.join(plan.writable)} only)")
    if plan.looked:
        has.append(f"{' and '.join(plan.looked)} limited by looking at its processes")
    return (
        f"the test runs without namespaces: {reason}; see also pytest --isolate-doctor and"
        f" on_missing=; it has {', '.join(has)}; it lacks {', '.join(_lacking(spec, host, plan))}"
    )


def _lacking(spec: Spec, host: Host, plan: Plan) -> Iterator[str]:
    yield "pids, IPC and a host name of its own"
    if spec.networking.is_own:
        yield f"net={spec.net!r} (it has the machine's network)"
    if spec.fs != "host":
        real = (
            "what it writes there is real"
            if plan.writable is not None
            else f"what it writes is real: {strictness.landlock_obstacle()}"
        )
        yield f"fs={spec.fs!r} ({real})"
    yield from _lacking_files(spec)
    if spec.user is not None:
        yield f"user={spec.user!r}"
    if spec.strict and "strict" not in plan.walls:
        yield f"the filter of profile='strict' ({strictness.obstacle()})"
    held = given(spec, host)
    if lost := [name for name in spec.limits() if getattr(held, name) is None]:
        yield f"the limit{'s' * (len(lost) > 1)} {', '.join(lost)}"


def _lacking_files(spec: Spec) -> Iterator[str]:
    if spec.fs_allow is not None:
        yield "fs_allow (nothing tells its writes from those of others)"
    if spec.fs_hide:
        yield "fs_hide (it sees what its user may see)"
    if moved := [each.target for each in spec.bind if each.target != each.source]:
        yield f"bind at another place ({', '.join(moved)})"
    if spec.layers:
        yield f"layers={KEYWORDS['layers'].show(spec.layers)}"
    if spec.rootfs is not None:
        yield f"rootfs={show(spec.rootfs)!r} (it stands on the machine's own)"
