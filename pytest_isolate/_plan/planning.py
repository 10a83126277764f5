"""From what a test asked for and what the machine is to the list of steps that builds its sandbox.

Touches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import most_files
from pytest_isolate._forward.server import Server
from pytest_isolate._linux import names
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.root import Root
from pytest_isolate._linux.syscalls import Clone, Mount
from pytest_isolate._model import Missing
from pytest_isolate._plan import elsewhere, kernel_files, layering, shown
from pytest_isolate._plan.elsewhere import Given
from pytest_isolate._plan.layering import Layering
from pytest_isolate._plan.layout import PRIVATE, REBUILT, ROOT, Layout, inside, is_in
from pytest_isolate._plan.remedies import group_remedy
from pytest_isolate._sandbox import steps
from pytest_isolate._sandbox.overlays import Hosts, OwnName
from pytest_isolate._sandbox.recipe import Apart, Recipe
from pytest_isolate._sandbox.step import Step
from pytest_isolate._sandbox.written import Written

if TYPE_CHECKING:
    from pytest_isolate._network.way_out import WayOut


@dataclass
class Plan:
    """A recipe, where its private directories are, and what the machine cannot give of what was
    asked.
    """

    recipe: Recipe
    # (path inside, path in the private file system), for reading what was written
    uppers: tuple[tuple[str, str], ...]
    missing: tuple[Missing, ...] = ()
    apart: tuple[Apart, ...] = ()  # those of ``uppers`` that are taken apart
    hosts: Hosts | None = None  # the /etc/hosts that we wrote
    walls: tuple[str, ...] = ()  # that a test has by it, by the doctor's names
    looked: tuple[str, ...] = ()  # limits that only looks from outside enforce
    # Where a test without a file system of its own may write; None: wherever its user may
    writable: tuple[str, ...] | None = None
    servers: tuple[Server, ...] = ()  # that the test reaches through the relay
    sockets: tuple[Server, ...] = ()  # that it reaches by a path
    root: Root = field(default_factory=Root)  # what is below what it writes
    layers: Layering = field(default_factory=Layering)  # where layers of it lie
    hidden: frozenset[str] = frozenset()  # what is not there
    nowhere: tuple[str, ...] = ()  # what was to be hidden, and is not on the machine either
    made: frozenset[str] = frozenset()  # what is there because something is bound there
    is_users: bool = False  # whether it has a user namespace of its own
    way_out: WayOut | None = None

    @property
    def is_bare(self) -> bool:
        """Whether it has no namespaces."""
        return not self.recipe.namespaces

    @property
    def written(self) -> Written:
        """Where what a test wrote is found."""
        return Written(
            self.uppers, self.apart, self.hosts, self.root, self.hidden, self.made, self.is_users
        )


def plan(
    spec: Spec,
    host: Host,
    root: Root,
    places: list[str],
    *,
    sockets: tuple[Server, ...] = (),
    hosts: tuple[tuple[str, str], ...] = (),
    makes_layer: bool = False,
    given: Given = Given(),  # noqa: B008 - it never changes
    way_out: WayOut | None = None,
) -> Plan:
    """Plan one sandbox. Raises ``UnfitError`` for layers that this machine's root cannot have.

    ``sockets``: servers of the machine that it is to reach by a path; ``hosts``: addresses and
    names of others; ``makes_layer``: what is written in it is to be a layer of others;
    ``way_out``: of the machine.

    ``places`` are directories that the test is likely to write in or below; the first is that of
    temporary files, which is private whatever ``fs`` says.
    """
    seen = elsewhere.seen_from(root, host) if spec.rootfs is not None else host
    shared, hidden = shown.binds(spec, root), shown.hidden(spec, root)
    sockets_bound = shown.sockets(sockets, spec, root)
    made = shown.made((*shared, *sockets_bound), root)
    ways = [os.path.dirname(place) for place in made]
    resolver = None if way_out is None else shown.resolver(spec, root, way_out)
    targets = (*(each.target for each in shared), *(() if resolver is None else (resolver,)))
    layout = Layout(seen, root, (*places, *ways), spec.strict, targets, hidden)
    layers = layering.over(root, seen)
    layout.points, layout.seeds = frozenset(layers.points), layers.seeds
    layout.renames = not makes_layer
    _hosts(layout, spec, hosts)
    if spec.rootfs is not None:
        layout.parts = elsewhere.parts(root, given, spec)
    _file_system(layout, spec, places[0])
    layout.steps += elsewhere.last_steps(given, layout)
    layout.steps += (steps.Hide(inside(path)) for path in hidden)
    layout.steps += shown.bound(spec, shared, hidden, sockets_bound)
    if way_out is not None and resolver is not None:
        layout.steps += shown.asks(spec, resolver, way_out)
    layout.steps += _last_steps(spec)
    namespaces, user_map = _namespaces(spec, host)
    recipe = Recipe(
        namespaces,
        user_map,
        PRIVATE,
        tuple(layout.steps),
        limits_of(spec, host),
        waits=bool(layout.apart),
        uplink=None if way_out is None else way_out.uplink,
    )
    missing, apart = tuple(_missing(spec, host)), tuple(layout.apart)
    return Plan(
        recipe,
        tuple(layout.uppers),
        missing,
        apart,
        layout.hosts,
        tuple(_walls(spec)),
        sockets=sockets,
        root=root,
        layers=layers,
        hidden=frozenset(hidden),
        nowhere=shown.not_there(spec, root),
        made=made,
        is_users=host.rootless,
        way_out=way_out,
    )


def _file_system(layout: Layout, spec: Spec, temporary: str) -> None:
    """Put together all that is below the sandbox's root, but for what users share."""
    host, root = layout.host, layout.root
    layout.steps += _private_file_system()
    if spec.rootfs is not None:
        elsewhere.show(layout, spec, temporary)
    elif spec.fs == "overlay":
        _overlay_root(layout)
    else:
        _shared_root(layout, spec, temporary)
    if spec.fs != "host":
        layout.steps += kernel_files.devices(host, root)
    # A machine without one need not be given it
    if spec.fs != "host" or root.kind(kernel_files.SHARED_MEMORY) != "none":
        kernel_files.shared_memory(layout)
    layout.steps += kernel_files.processes(spec, host)
    layout.steps += kernel_files.sysfs(spec, host)
    if spec.strict:
        layout.steps += [steps.Mask(f"{ROOT}/proc/{name}") for name in kernel_files.MASKED]
        layout.steps += [steps.Mask(f"{ROOT}/sys/{name}") for name in kernel_files.MASKED_SYS]
    elif host.rootless and any(place.version > 1 for place in host.places.values()):
        # Who owns a group and has a descriptor of it can fork into it (clone3(2),
        # CLONE_INTO_CGROUP), whether its mount is read-only or not
        layout.steps.append(steps.Mask(f"{ROOT}/sys/fs/cgroup"))


def _last_steps(spec: Spec) -> Iterator[Step]:
    yield steps.Hostname(spec.hostname)
    if spec.networking.is_own:
        yield steps.Loopback()
    if spec.disk is not None:  # at the very last: what is in there by then is not the test's
        yield steps.LimitDisk(PRIVATE, spec.disk, most_files(spec.disk))
    yield steps.Pivot(ROOT)


def _namespaces(spec: Spec, host: Host) -> tuple[int, tuple[int, int, int, int] | None]:
    """Tell which are new, and who is who in a user namespace, where one is needed."""
    namespaces = (
        Clone.NEWPID
        | Clone.NEWNS
        | Clone.NEWIPC
        | Clone.NEWUTS
        | (Clone.NEWNET if spec.networking.is_own else 0)
    )
    if not host.rootless:
        return namespaces, None
    uid, gid, _ = resolve_user(spec.user) if spec.user is not None else (host.uid, host.gid, ())
    return namespaces | Clone.NEWUSER, (uid, gid, host.uid, host.gid)


def _walls(spec: Spec) -> Iterator[str]:
    """List what keeps the test apart, by the doctor's names."""
    yield from ("process", "namespaces")
    if spec.networking.is_own:
        yield "net"
    if spec.fs != "host":
        yield spec.fs
    if spec.strict:
        yield "strict"


def resolve_user(user: str | int) -> tuple[int, int, tuple[int, ...]]:
    """Give a checked ``user`` as uid, gid and supplementary groups."""
    import pwd  # noqa: PLC0415 - not on every system this module is imported on

    try:
        entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:  # a uid that nobody has a name for: as `docker run --user 1234`
        return int(user), int(user), ()
    return entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))


def _private_file_system() -> Iterator[Step]:
    yield steps.Mount("", "/", "", Mount.SLAVE | Mount.REC, "")
    yield steps.Mount("tmpfs", PRIVATE, "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=0755")


def _hosts(layout: Layout, spec: Spec, others: tuple[tuple[str, str], ...]) -> None:
    """Where the own name and those of ``others`` are to resolve, and to what.

    Not a name that no line of a file can hold.
    """
    host, root, place = layout.host, layout.root, layout.root.real(names.HOSTS)
    if not names.fits(spec.hostname) or root.kind(os.path.dirname(place)) != "directory":
        return
    if root.kind(place) == "symlink":  # it leads to itself
        return
    own = spec.networking.is_own
    addresses = (
        ("127.0.0.1", "::1")
        if own and host.knows_ipv6
        else ("127.0.0.1",)
        if own
        else host.loopback
    )
    addresses += tuple("\t".join(each) for each in others)
    text = (
        None
        if root.kind(place) == "other"
        else names.with_own(root.text(place), spec.hostname, addresses)
    )
    layout.hosts = Hosts(place, spec.hostname, addresses, text)


def _overlay_root(layout: Layout) -> None:
    if layout.host.rootless:
        layout.directory("/")
        layout.lay_points()
        return
    layout.steps.append(steps.Mkdir(ROOT))
    layout.overlay("/")
    done: list[str] = []
    mounts = {mount.path: mount for mount in layout.host.mounts}
    for path in sorted(mounts.keys() | layout.points):
        if path == "/" or is_in(path, (*REBUILT, *layout.hidden)):
            continue
        if path in layout.points:
            layout.overlay(path)
        elif not is_in(path, done):
            before = len(layout.steps)
            layout.cover(path, mounts[path])
            last = layout.steps[-1]
            if len(layout.steps) == before or (isinstance(last, steps.Bind) and last.read_only):
                done.append(path)  # it is left out, or came, with everything below it


def _shared_root(layout: Layout, spec: Spec, temporary: str) -> None:
    is_overlay = spec.fs == "readonly" and (layout.strict or len(layout.root.layers) > 1)
    if is_overlay:
        _overlay_root(layout)
        layout.steps.append(steps.ReadOnly(ROOT))
    else:
        layout.steps += [steps.Mkdir(ROOT), steps.Bind("/", ROOT, spec.fs == "readonly")]
    for path in dict.fromkeys(("/tmp", temporary)):
        if layout.root.kind(path) == "directory":
            layout.temporary(path)
            layout.lay_points_again(path)
    hosts = layout.hosts
    if not is_overlay and hosts is not None and layout.root.kind(hosts.place) == "small":
        # On the host's root a file of ours: what is written to it stays here, also with fs="host"
        copy = f"{PRIVATE}/hosts"
        layout.steps += [steps.Copy(hosts.place, copy, layout.host.rootless), OwnName(copy, hosts)]
        layout.steps.append(steps.Bind(copy, inside(hosts.place), spec.fs == "readonly"))


def limits_of(spec: Spec, host: Host) -> dict[str, dict[str, str]]:
    """Files to write for each controller, always made where they can be, for what they measure."""
    disks = host.disks if spec.io_read is not None or spec.io_write is not None else ()
    found = {
        name: place.settings(
            name,
            memory=spec.memory,
            pids=spec.pids,
            cpu=spec.cpu,
            read=spec.io_read,
            write=spec.io_write,
            disks=disks,
        )
        for name, place in host.places.items()
    }
    return {name: settings for name, settings in found.items() if settings is not None}


def _missing(spec: Spec, host: Host) -> Iterator[Missing]:
    for keyword in ("memory", "pids", "cpu"):
        if getattr(spec, keyword) is not None and keyword not in host.places:
            yield Missing(keyword, host.obstacles[keyword], group_remedy(host, keyword))
    if spec.cpu_time is not None and not host.counts_time:
        name = "cpuacct" if "cpuacct" in host.obstacles else "cpu"
        yield Missing("cpu_time", host.obstacles[name], group_remedy(host, name))
    for keyword in ("io_read", "io_write"):
        if getattr(spec, keyword) is not None and "io" in host.obstacles:
            yield Missing(keyword, host.obstacles["io"], group_remedy(host, "io"))
        elif getattr(spec, keyword) is not None and not host.disks:
            yield Missing(
                keyword,
                "there is no block device to limit",
                "run it on a machine with one, or without this limit",
            )
