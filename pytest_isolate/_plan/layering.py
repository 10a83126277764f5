"""Where layers lie over the machine's root, for a kernel that takes no lower directory in another.

Theory of operation. A layer lies somewhere below ``/``, so no overlay can have both. The root is
therefore the overlay that it is without layers, and what layers change has overlays of its own,
each on a *point*: the deepest directory that holds all of it, or several, where a layer changes
things far apart. A directory in which a layer itself lies (the user's cache), and one that is taken
apart, can be none. What a layer has right there is put into the private directory beforehand, as
if it had been copied up: a *seed*, of which only a directory has an overlay over it again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_isolate._config.paths import may, refusal
from pytest_isolate._config.values import format_size
from pytest_isolate._errors import errno_in_words
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.root import Root, is_marked, is_whiteout
from pytest_isolate._plan.layout import REBUILT, below
from pytest_isolate._sandbox import copies
from pytest_isolate._sandbox.overlays import Seed


class UnfitError(ValueError):
    """Layers that cannot lie over this machine's root, in a sentence."""


@dataclass(frozen=True)
class Layering:
    """Where layers lie over what is below them. All paths are those of the sandbox."""

    points: tuple[str, ...] = ()
    seeds: tuple[Seed, ...] = ()
    seen: tuple[tuple[str, object], ...] = ()  # directories of layers, and what they looked like

    def is_current(self) -> bool:
        """Whether what it was made from is as it was."""
        return all(_signature(path) == look for path, look in self.seen)


def over(root: Root, host: Host) -> Layering:
    """Find them. Raises ``UnfitError``."""
    if len(root.layers) == 1:
        return Layering()
    search = _Search(root, host)
    try:
        search.visit("/")
    except OSError as error:
        raise UnfitError(_unreadable(error)) from None
    return Layering(tuple(sorted(search.points)), tuple(search.seeds), tuple(search.seen.items()))


def _unreadable(error: OSError) -> str:
    path = str(error.filename)
    if error.errno != errno.EACCES:
        return f"{path} cannot be read: {errno_in_words(error.errno or 0)}"
    closed = path if os.path.isdir(path) and not may(path, os.R_OK | os.X_OK) else None
    return refusal(closed or os.path.dirname(path), "rx")


class _Search:
    def __init__(self, root: Root, host: Host) -> None:
        self._root, self._host = root, host
        self._over, self._base = Root(root.layers[:-1]), root.base
        self.points: list[str] = []
        self.seeds: list[Seed] = []
        self.seen: dict[str, object] = {}

    def visit(self, path: str) -> None:
        """Find them in a directory that layers have and that what is below them has, too."""
        lowers = self._root.lowers(path)
        self.seen |= {each: _signature(each) for each, _ in self._over.versions(path)}
        entries = dict(self._entries(path))
        if self._is_closed(path, lowers):
            for name, (place, look) in sorted(entries.items()):
                self._put(f"{path.rstrip('/')}/{name}", place, look)
        elif (only := self._only_directory(path, entries)) is not None:
            self.visit(only)
        elif entries or self._changes(path):
            self.points.append(path)
            self._visit_mounts(path)

    def _visit_mounts(self, point: str) -> None:
        """Find them in what is mounted below a point, which hides there what the point shows."""
        mounts = [each.path for each in below(self._host.mounts, point) if each.path != point]
        for path in mounts:
            is_outer = not any(path.startswith(f"{each}/") for each in mounts)
            found = self._over.lstat(path) if is_outer else None
            if found is not None and stat.S_ISDIR(found.st_mode):
                self.visit(path)

    def _entries(self, path: str) -> Iterator[tuple[str, tuple[str, os.stat_result]]]:
        """Give what layers have in a directory, the lowest first: the uppermost is the last."""
        for layer in reversed(self._over.versions(path)):
            with os.scandir(layer[0]) as entries:
                for entry in entries:
                    yield entry.name, (entry.path, entry.stat(follow_symlinks=False))

    def _is_closed(self, path: str, lowers: tuple[str, ...]) -> bool:
        """Whether no overlay can have a directory of the machine and those of the layers."""
        is_apart = path == "/" or bool(below(self._host.mounts, path))
        if self._host.rootless and is_apart and self._base.is_machines(path):
            return True
        return any(
            one.startswith(other.rstrip("/") + "/")
            for one in lowers
            for other in lowers
            if one != other
        )

    def _only_directory(
        self, path: str, entries: dict[str, tuple[str, os.stat_result]]
    ) -> str | None:
        """Give the directory that holds all that layers change in this one."""
        if len(entries) != 1 or self._changes(path):
            return None
        ((name, (_, look)),) = entries.items()
        child = f"{path.rstrip('/')}/{name}"
        found = self._base.lstat(child)
        both = stat.S_ISDIR(look.st_mode) and found is not None and stat.S_ISDIR(found.st_mode)
        return child if both else None

    def _changes(self, path: str) -> bool:
        """Whether a layer has a directory with other rights, or in the place of another."""
        found, look = self._over.lstat(path), self._base.lstat(path)
        if found is None or look is None:
            return found is not None
        if any(is_marked(place, "opaque") for place, _ in self._over.versions(path)):
            return True
        return not copies.looks_like(found, look, user=self._host.rootless)

    def _put(self, path: str, place: str, look: os.stat_result) -> None:
        """See to a name in a directory that can be no point."""
        if path in REBUILT:
            return
        found = self._base.lstat(path)
        if stat.S_ISDIR(look.st_mode):
            if found is not None and stat.S_ISDIR(found.st_mode):
                self.visit(path)
                return
            self.points.append(path)
        elif is_whiteout(look):
            if found is not None:
                self.seeds.append(Seed(path, ""))
            return
        elif stat.S_ISREG(look.st_mode) and look.st_size > copies.LARGEST:
            raise UnfitError(
                f"{place} is too large to be copied for each test, as it would be for its layer "
                f"lies below {os.path.dirname(path)} too, or mounts do (at most "
                f"{format_size(copies.LARGEST)}): XDG_CACHE_HOME names another place for layers"
            )
        elif stat.S_IFMT(look.st_mode) not in _COPIED:
            return
        self.seeds.append(Seed(path, place))


_COPIED = frozenset({stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO})


def _signature(path: str) -> object:
    """Tell what is another when a directory is, or has other names in it."""
    try:
        look = os.stat(path)
    except OSError:
        return None
    return look.st_dev, look.st_ino, look.st_mode, look.st_mtime_ns
