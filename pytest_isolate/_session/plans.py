"""The plans of a run's sandboxes: each is made once, and again when the machine, or what tests
reach, has changed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec, check_layers
from pytest_isolate._config.topology import Topology
from pytest_isolate._errors import BadValueError
from pytest_isolate._forward.others import NobodyThereError
from pytest_isolate._forward.place import UNIX
from pytest_isolate._forward.server import Server
from pytest_isolate._linux.root import Root
from pytest_isolate._model import Missing
from pytest_isolate._plan import bare, planning, shown, strictness
from pytest_isolate._plan.elsewhere import UnfitRootError
from pytest_isolate._plan.layering import UnfitError
from pytest_isolate._plan.planning import Plan, resolve_user
from pytest_isolate._pytest import directories, fixtures, terminal
from pytest_isolate._session import children, roots
from pytest_isolate._session.roots import Chosen
from pytest_isolate._session.run import Run, working_directory

if TYPE_CHECKING:
    from pytest_isolate._network.way_out import WayOut


def _servers(run: Run, spec: Spec) -> tuple[Server, ...]:
    """Find what a test with these keywords reaches now.

    Raises ``StepFailedError`` and ``BadValueError``.
    """
    found: tuple[Server, ...] = ()
    if spec.reaches_fixtures:
        found = run.forwarding.servers(run.changes, children.foreign(run), spec.named_fresh)
    if not spec.forward.others or spec.strict:
        return found
    try:
        return tuple(dict.fromkeys((*found, *run.forwarding.others(spec.forward.others))))
    except NobodyThereError as error:
        raise BadValueError(
            f"isolate: forward={spec.forward} ({spec.origin('forward')}): {error}"
        ) from None


def plan_for(run: Run, spec: Spec, session: pytest.Session) -> Plan:
    """Make the plan for a spec, once.

    Raises ``StepFailedError``, and ``BadValueError`` where nobody is where it forwards to.
    """
    machine = run.machine
    machine.look_again()
    servers = _servers(run, spec)
    sockets = tuple(server for server in servers if server.place.kind == UNIX)
    hosts = tuple(
        (str(server.place.address), server.name)
        for server in servers
        if server.name is not None and spec.networking.is_own
    )
    if (topology := spec.networking.topology) is not None:
        hosts += topology.names
        _check_mover(run, spec)
    way_out = way_out_of(run, spec)
    no_way, way_out = (way_out, None) if isinstance(way_out, Missing) else (None, way_out)
    hosts += () if way_out is None else way_out.hosts
    chosen = chosen_root(run, spec, session.items)
    root = root_of(run, spec, chosen.root)
    key = (*spec.recipe_key, root, sockets, hosts)
    if key not in machine.plans or not machine.plans[key].layers.is_current():
        plan = _planned(
            run,
            spec,
            places=likely_places(run, session.items),
            root=root,
            chosen=chosen,
            sockets=sockets,
            hosts=hosts,
            way_out=way_out,
        )
        plan.missing += () if no_way is None else (no_way,)
        machine.plans[key] = plan
    relayed = tuple(
        server for server in servers if spec.networking.is_own and server.place.kind != UNIX
    )
    if not relayed:
        return machine.plans[key]
    # The same recipe: what is reached is no part of the sandbox
    known = machine.plans.get(with_servers := (*key, relayed))
    if known is None or known.recipe is not machine.plans[key].recipe:
        machine.plans[with_servers] = replace(machine.plans[key], servers=relayed)
    return machine.plans[with_servers]


def _planned(
    run: Run,
    spec: Spec,
    *,
    places: list[str],
    root: Root,
    chosen: Chosen,
    sockets: tuple[Server, ...],
    hosts: tuple[tuple[str, str], ...],
    way_out: WayOut | None,
) -> Plan:
    """Plan, and say what this machine lacks for it."""
    shown.check(spec, root, _needed_places(run))
    try:
        plan = planning.plan(
            spec,
            run.machine.host,
            root,
            places,
            sockets=sockets,
            hosts=hosts,
            given=chosen.given,
            way_out=way_out,
        )
    except UnfitError as error:
        raise _bad_layers(spec, error) from None
    except UnfitRootError as error:
        raise roots.refusal(spec, str(error)) from None
    if (lacking := strictness.missing(spec)) is not None:
        plan.missing += (lacking,)
        plan.walls = tuple(each for each in plan.walls if each != "strict")
    if spec.strict and strictness.landlock_obstacle() is None:
        plan.walls += ("landlock",)
    topology = spec.networking.topology
    if topology is not None and (lacking := _lacks_for(run, topology)) is not None:
        plan.missing += (lacking,)
    return plan


def chosen_root(run: Run, spec: Spec, items: Sequence[pytest.Item]) -> Chosen:
    """Give the root that a test asks for, once for each directory in which pytest stands."""
    machine = run.machine
    if spec.rootfs is None:
        return Chosen()
    key = ("rootfs", spec.rootfs, working_directory())
    if key not in machine.chosen:
        if not machine.roots.is_ready(spec.rootfs):
            run.changes += 1  # pytest will have loaded what its forks need there
        with terminal.meanwhile(run.config) as tell:
            machine.chosen[key] = machine.roots.choose(
                spec, machine.host, _shown_places(run, items), tell
            )
    return machine.chosen[key]


def root_of(run: Run, spec: Spec, root: Root) -> Root:
    """Give what a test stands on: layers over ``root``.

    Raises ``BadValueError``, also for layers not yet built.
    """
    if not spec.layers:
        return root
    from pytest_isolate._config.layers import LayerError, check_roots  # noqa: PLC0415 - who has some
    from pytest_isolate._session.layers import NotBuiltError  # noqa: PLC0415

    try:
        check_roots(spec.layers, spec.rootfs)
        layers = run.layers.directories(spec.layers)
        return Root((*layers, *root.layers), root.machines)
    except (LayerError, NotBuiltError) as error:
        raise _bad_layers(spec, error) from None


def _bad_layers(spec: Spec, error: Exception) -> BadValueError:
    shown = KEYWORDS["layers"].show(spec.layers)
    return BadValueError(f"isolate: layers={shown} ({spec.origin('layers')}): {error}")


def _check_mover(run: Run, spec: Spec) -> None:
    """Refuse another user: who goes from host to host has rights for it, which as root of the
    machine only root may have.
    """
    if spec.user is not None and not run.machine.host.rootless and resolve_user(spec.user)[0] != 0:
        raise BadValueError(
            f"isolate: user={spec.user!r} ({spec.origin('user')}): with net={spec.net!r} a test has"
            " the right to go from host to host (CAP_SYS_ADMIN), which as root of the machine no"
            " other user may have: run pytest as that user"
        )


def way_out_of(run: Run, spec: Spec) -> WayOut | Missing | None:
    """Find what leads out, if that is asked for, or what this machine lacks for it, once a run.

    Raises ``StepFailedError``, and ``BadValueError`` for a name that nobody knows.
    """
    if not spec.networking.leads_out:
        return None
    found = run.machine.ways_out
    if spec.net not in found:
        from pytest_isolate._network import way_out  # noqa: PLC0415 - for those who want one

        try:
            found[spec.net] = way_out.missing() or way_out.find(
                spec.networking.allowed, rootless=run.machine.host.rootless
            )
        except LookupError as error:
            raise BadValueError(
                f"isolate: net={spec.net!r} ({spec.origin('net')}): {error}"
            ) from None
    return found[spec.net]


def _lacks_for(run: Run, topology: Topology) -> Missing | None:
    from pytest_isolate._network import needs  # noqa: PLC0415 - for those who have one

    machine = run.machine
    if machine.network_kernel is None:
        machine.network_kernel = needs.Kernel(
            (machine.host.uid, machine.host.gid) if machine.host.rootless else None
        )
    return machine.network_kernel.missing(topology)


def _shown_places(run: Run, items: Sequence[pytest.Item]) -> list[str]:
    """Name what is to be there as on the machine, besides Python: the project, temporary files."""
    config = run.config
    told = (
        config.getoption("basetemp", None),
        os.environ.get("PYTEST_DEBUG_TEMPROOT"),
        directories.cache_directory(config),
    )
    found = [
        "/tmp", tempfile.gettempdir(), working_directory(), str(config.rootpath),
        str(config.invocation_params.dir), *map(str, filter(None, told)),
    ]  # fmt: skip
    return [*found, *(str(item.path.parent) for item in items)]


def bare_plan_for(run: Run, spec: Spec) -> Plan:
    """Make the plan for a spec where there are no namespaces, once. Raises ``StepFailedError``."""
    machine = run.machine
    key = ("bare", *spec.recipe_key)
    if key not in machine.plans:
        machine.plans[key] = bare.plan(spec, machine.host, run.config)
    return machine.plans[key]


def _needed_places(run: Run) -> list[str]:
    """Name directories without which no test can run."""
    found = (
        tempfile.gettempdir(), working_directory(), str(run.config.rootpath), sys.prefix,
        sys.base_prefix, os.path.dirname(os.__file__),
    )  # fmt: skip
    return [os.path.realpath(place) for place in found]


def likely_places(run: Run, items: Sequence[pytest.Item] = ()) -> list[str]:
    """Name directories that tests are likely to write in or below, the one for temporary files
    first.
    """
    found = [
        tempfile.gettempdir(),
        working_directory(),
        str(run.config.rootpath),
        os.path.expanduser("~"),
        "/var/tmp",
        sys.prefix,
    ]
    found += dict.fromkeys(str(item.path.parent) for item in items)
    told = (
        run.config.getoption("basetemp", None),
        os.environ.get("PYTEST_DEBUG_TEMPROOT"),
        directories.cache_directory(run.config),
    )
    return [os.path.realpath(place) for place in [*found, *filter(None, told)]]


def with_fixtures(
    spec: Spec, item: pytest.Item, asked: Iterable[str] = (), fresh: Container[str] = ()
) -> Spec:
    """Add the layers that shared fixtures have given, which a test needs or has ``asked`` for.

    Raises ``BadValueError``.
    """
    module = sys.modules.get("pytest_isolate._config.layers")
    if module is None or spec.fixtures == "fresh":  # nobody has any
        return spec
    values = fixtures.wide_values(item, asked)
    found = {
        name: value
        for name, value in values.items()
        if isinstance(value, module.Layer) and name not in fresh and value not in spec.layers
    }
    if not found:
        return spec
    said = spec.origins.get("layers")
    origin = "given by " + ", ".join(f"the fixture {name!r}" for name in found)
    layers = tuple(dict.fromkeys((*spec.layers, *found.values())))
    origins = {**spec.origins, "layers": origin if said is None else f"{said}, and {origin}"}
    check_layers(spec := replace(spec, layers=layers, origins=origins))
    return spec


def foreseen(run: Run, item: pytest.Item | None) -> tuple[Spec, Plan] | None:
    """Tell what the next test will need, as far as this can be known before its turn.

    Whatever is wrong with it is met again when its turn comes, and said there: the present test
    has nothing to do with it.
    """
    try:
        if item is None or not run.is_isolated(item):
            return None
        spec = with_fixtures(run.defaults.spec_of(item), item)
        if not run.machine.roots.is_ready(spec.rootfs):  # while another test runs, nobody waits
            return None
        plan = plan_for(run, spec, item.session)
    except Exception:  # noqa: BLE001 - as above
        return None
    return None if plan.missing else (spec, plan)
