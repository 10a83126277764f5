"""A root that is not the machine's own: what of the machine's is shown on it, and where.

A test there is a fork of pytest: its Python, its project and its temporary files are the machine's,
each with a private layer over it, at the paths that they have. What the root lacks for that (mount
points, and names by which the machine's own programs find their libraries) is made, for each
sandbox, in a lowest layer that lies over the root: the root itself is never written to. Touches
nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.mounts import MountPoint
from pytest_isolate._linux.own_python import Libraries, most_of_glibc
from pytest_isolate._linux.root import Root
from pytest_isolate._plan.layout import PRIVATE, REBUILT, ROOT, Layout, below, inside, is_in
from pytest_isolate._sandbox.overlays import Part
from pytest_isolate._sandbox.step import Step
from pytest_isolate._sandbox.steps import Bind, Copy, Mkdir, ReadOnly

#: Where the machine's libraries are, to which links lead.
_LIBRARIES = "/run/pytest-isolate"
_RESOLVER = "/etc/resolv.conf"


class UnfitRootError(Exception):
    """A root on which no test can stand: a clause that says what of it, and why."""


@dataclass(frozen=True)
class Given:
    """What of the machine's is shown on another root, besides directories at their own path."""

    links: tuple[tuple[str, str], ...] = ()  # a path, and where it leads
    libraries: tuple[tuple[str, str], ...] = ()  # a directory of the machine, and where it is shown
    said: tuple[str, ...] = ()  # sentences on what is not as it was


def seen_from(root: Root, host: Host) -> Host:
    """Give the machine as a plan has it for another root: its mounts are those of what is shown."""
    lowest = replace(_mount_of(root.layers[-1], host), path="/")
    mounts = {"/": lowest}
    for path in sorted(root.machines):
        mounts[path] = replace(_mount_of(path, host), path=path)
    for mount in host.mounts:
        if is_in(mount.path, root.machines) and mount.path not in root.machines:
            mounts[mount.path] = mount
    return replace(host, mounts=tuple(mounts.values()))


def _mount_of(path: str, host: Host) -> MountPoint:
    """Give the mount that a path of the machine lies on."""
    over = [each for each in host.mounts if each.path == "/" or is_in(path, (each.path,))]
    return max(over, key=lambda each: len(each.path))


def check(root: Root, host: Host) -> None:
    """Refuse a directory that no overlay can show. Raises ``UnfitRootError``."""
    for layer in root.layers:
        inner = [mount.path for mount in host.mounts if mount.path.startswith(f"{layer}/")]
        if inner and host.rootless:
            raise UnfitRootError(
                f"{inner[0]} is mounted in it, and without root no overlay shows what lies below "
                f"a mount: umount {inner[0]}"
            )


def parts(root: Root, given: Given, spec: Spec) -> tuple[Part, ...]:
    """List what has to be made over a root, outer directories first. Raises ``UnfitRootError``."""
    own = Root(root.layers)
    found: dict[str, Part] = {}
    for path, is_directory in _points(root, given, spec):
        _ways(own, path, found)
        kind = own.kind(path)
        if not is_directory:
            found[path] = Part(path, "file")
        elif kind in {"none", "symlink"}:
            found[path] = Part(path, "directory")
        elif kind != "directory":
            raise UnfitRootError(f"its {path} is a file, where a directory has to be")
    for path, target in given.links:
        _ways(own, path, found)
        found[path] = Part(path, "link", target)
    return tuple(found[path] for path in sorted(found))


def _points(root: Root, given: Given, spec: Spec) -> Iterator[tuple[str, bool]]:
    """Give what something is mounted on, and whether that is a directory."""
    for path in (*REBUILT, *root.machines):
        yield path, os.path.isdir(path)
    for _, path in given.libraries:
        yield path, True
    if spec.networking.leaves and os.path.isfile(_RESOLVER):
        yield _RESOLVER, False


def _ways(own: Root, path: str, found: dict[str, Part]) -> None:
    names = path.split("/")[1:-1]
    for end in range(1, len(names) + 1):
        way = "/" + "/".join(names[:end])
        if way in found:
            continue
        kind = own.kind(way)
        if kind == "directory":
            found[way] = Part(way, "like", own.place(way))
        elif kind == "none":
            found[way] = Part(way, "directory")
        else:
            what = "a symbolic link" if kind == "symlink" else "a file"
            raise UnfitRootError(f"its {way} is {what}, where {path} has to be")


def show(layout: Layout, spec: Spec, temporary: str) -> None:
    """Show another root, and on it what of the machine's a test needs there."""
    layout.steps.append(Mkdir(ROOT))
    layout.overlay("/")
    private = list(dict.fromkeys(("/tmp", temporary))) if spec.fs == "readonly" else []
    done = [*REBUILT, *private, *layout.hidden]
    mounts = {mount.path: mount for mount in layout.host.mounts}
    for path in sorted(mounts.keys() | layout.points):
        if path == "/" or is_in(path, done):
            continue
        before = len(layout.steps)
        if path in layout.points:
            layout.overlay(path)
        elif layout.host.rootless and below(layout.host.mounts, path):
            layout.temporary(path)
            done.append(path)
        else:
            layout.cover(path, mounts[path])
        last = layout.steps[-1]
        if len(layout.steps) == before or (isinstance(last, Bind) and last.read_only):
            done.append(path)
    if spec.fs == "readonly":
        layout.steps.append(ReadOnly(ROOT))
    for path in private:
        layout.temporary(path)


def last_steps(given: Given, layout: Layout) -> Iterator[Step]:
    """Show the machine's libraries, and who answers for names where its network is had."""
    for source, path in given.libraries:
        yield Bind(source, inside(path), read_only=True)
    if any(part.path == _RESOLVER for part in layout.parts):
        copy = f"{PRIVATE}/resolv.conf"
        yield Copy(os.path.realpath(_RESOLVER), copy, layout.host.rootless)
        yield Bind(copy, inside(_RESOLVER))


def libraries(root: Root, needed: Libraries) -> Given:
    """Tell how the machine's own Python, started as a program on another root, finds what it needs.

    Its loader, by the path that is written in it, and its libraries. Where the root has a glibc
    those that it has are its own, and what it lacks are the machine's; where it has none (musl, or
    nothing) all are. One that is too old for this Python is said.
    """
    own = Root(root.layers)
    if not needed.loader:
        return Given()
    place = _libc_place(own, needed)
    if place is None:
        place = own.real(os.path.dirname(os.path.realpath(needed.loader)))
        return _linked(own, needed, place, has_libc=False)
    has = most_of_glibc(own.place(own.real(f"{place}/{needed.libc}")))
    given = _linked(own, needed, place, has_libc=True, newest=has)
    if has < needed.glibc:
        most = f"none above GLIBC_{_dotted(has)}" if has else "none of glibc's versions"
        said = (
            f"{needed.program} cannot run there as a program (sys.executable): it needs "
            f"GLIBC_{_dotted(needed.glibc)}, and the root's {place}/{needed.libc} has {most}; the "
            "test itself is a fork, which needs none of it"
        )
        given = replace(given, said=(said,))
    return given


def _libc_place(own: Root, needed: Libraries) -> str | None:
    """Find where a root has the C library that this Python's program would run with there."""
    loader = own.real(needed.loader)
    if not _is_file(own, loader):
        return None
    machines = (place for place, names in needed.names.items() if needed.libc in names)
    for each in (os.path.dirname(loader), *machines, "/usr/lib64", "/usr/lib", "/lib64", "/lib"):
        if _is_file(own, f"{(place := own.real(each))}/{needed.libc}"):
            return place
    return None


def _linked(
    own: Root, needed: Libraries, place: str, *, has_libc: bool, newest: tuple[int, ...] = ()
) -> Given:
    links, shown = [], []
    for number, (directory, names) in enumerate(needed.names.items()):
        there = f"{_LIBRARIES}/{number}"
        lacking = [
            name
            for name in names
            if own.kind(f"{place}/{name}") == "none"
            and (not has_libc or most_of_glibc(f"{directory}/{name}") <= newest)
        ]
        if lacking:
            shown.append((directory, there))
            links += [(f"{place}/{name}", f"{there}/{name}") for name in lacking]
    if not has_libc:
        directory, name = os.path.split(os.path.realpath(needed.loader))
        number = list(needed.names).index(directory)
        path = os.path.join(
            own.real(os.path.dirname(needed.loader)), os.path.basename(needed.loader)
        )
        links.append((path, f"{_LIBRARIES}/{number}/{name}"))
    return Given(tuple(dict(links).items()), tuple(shown))


def _is_file(root: Root, path: str) -> bool:
    look = root.lstat(root.real(path))
    return look is not None and stat.S_ISREG(look.st_mode)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
