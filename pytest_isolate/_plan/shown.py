"""What users share with a sandbox by path, and what they hide from it. Touches nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_isolate._config.paths import Bind, barrier
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import BadValueError
from pytest_isolate._forward.server import Server
from pytest_isolate._linux import names
from pytest_isolate._linux.root import Root
from pytest_isolate._plan.layout import PRIVATE, inside, is_in
from pytest_isolate._sandbox import steps
from pytest_isolate._sandbox.step import Step

if TYPE_CHECKING:
    from pytest_isolate._network.way_out import WayOut


def binds(spec: Spec, root: Root) -> tuple[Bind, ...]:
    """Give what stays shared, with the place of each through no link of the sandbox's root."""
    return tuple(
        each
        if each.target == each.source and spec.rootfs is None
        else each._replace(target=root.real(each.target))
        for each in spec.bind
    )


def hidden(spec: Spec, root: Root) -> tuple[str, ...]:
    """Give the places that are hidden, through no link; of a link what it leads to as well."""
    found: dict[str, None] = {}
    for path in spec.fs_hide:
        parent, name = os.path.split(path)
        found[os.path.join(root.real(parent), name)] = None
        found[root.real(path)] = None
    return tuple(found)


def not_there(spec: Spec, root: Root) -> tuple[str, ...]:
    """Give what is to be hidden and is nowhere, as far as this user sees."""
    return tuple(
        path
        for path in spec.fs_hide
        if root.lstat(root.real(path)) is None
        and root.lstat(os.path.join(root.real(os.path.dirname(path)), os.path.basename(path)))
        is None
        and barrier(root.place(path)) is None
    )


def check(spec: Spec, root: Root, needed: list[str]) -> None:
    """Refuse to hide what a test needs, and to bind where nothing can be. Raises
    ``BadValueError``.
    """
    for path in hidden(spec, root):
        if (inside_it := next((each for each in needed if is_in(each, (path,))), None)) is not None:
            raise BadValueError(
                f"isolate: fs_hide={path!r} ({spec.origin('fs_hide')}): {inside_it} is in there,"
                " which the test needs"
            )
    for each in binds(spec, root):
        kind = root.kind(each.target)
        if kind == "none" and spec.fs != "overlay":
            raise BadValueError(
                f"isolate: bind={f'{each.source}:{each.target}'!r} ({spec.origin('bind')}): there"
                f" is no {each.target}, which is made only with fs='overlay'; this is"
                f" fs={spec.fs!r} ({spec.origin('fs')})"
            )
        if kind != "none" and (kind == "directory") != os.path.isdir(each.source):
            what = "a directory" if kind == "directory" else "no directory"
            raise BadValueError(
                f"isolate: bind={f'{each.source}:{each.target}'!r} ({spec.origin('bind')}):"
                f" {each.target} is {what}, unlike {each.source}"
            )


def made(shared: tuple[Bind, ...], root: Root) -> frozenset[str]:
    """Give the paths that are made because something is bound there."""
    found = set()
    for each in shared:
        place = each.target
        while root.kind(place) == "none" and place != "/":
            found.add(place)
            place = os.path.dirname(place)
    return frozenset(found)


def bound(
    spec: Spec, shared: tuple[Bind, ...], gone: tuple[str, ...], others: tuple[Bind, ...]
) -> Iterator[Step]:
    """Bind what stays shared, in which what is hidden is hidden too, and what servers have."""
    kind = steps.BindWithoutLinks if spec.strict else steps.Bind
    for each in shared:
        yield kind(each.source, inside(each.target), each.read_only)
        for path in gone:
            if path != each.source and is_in(path, (each.source,)):
                yield steps.Hide(inside(each.target) + path.removeprefix(each.source))
    for each in others:
        yield steps.Bind(each.source, inside(each.target), each.read_only)


def sockets(servers: tuple[Server, ...], spec: Spec, root: Root) -> tuple[Bind, ...]:
    """Give the sockets of servers: through an overlay each would be another one, to which nobody
    listens. They are to be connected to, not to be changed.
    """
    paths = [str(server.place.address) for server in servers]
    return tuple(
        Bind(each, each if spec.rootfs is None else root.real(each), read_only=True)
        for each in paths
    )


def resolver(spec: Spec, root: Root, way_out: WayOut) -> str | None:
    """Where the file that says whom to ask for names is, if it is to be another one, and can."""
    place = root.real(names.RESOLVER)
    parent = root.kind(os.path.dirname(place))
    can = root.kind(place) != "none" or (spec.fs == "overlay" and parent == "directory")
    return place if can and way_out.resolver is not None else None


def asks(spec: Spec, place: str, way_out: WayOut) -> Iterator[Step]:
    """Show another one there."""
    copy = f"{PRIVATE}/resolv.conf"
    yield steps.Write(copy, way_out.resolver or "")
    yield steps.Bind(copy, inside(place), spec.fs == "readonly")
