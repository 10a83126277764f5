"""What a test changed that ``fs_allow`` does not name: which files, from which line.

That a file was changed is told by the overlay's upper layers, for Python, C and sub-processes
alike. Which line did it, only the child's own Python can tell, by audit events: hints, that decide
nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_isolate._config.patterns import Paths
from pytest_isolate._config.values import plain
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._verdict import own_lines

_MOST = 200  # different paths that a test says
_MOST_SHOWN = 5
_LONGEST = 4096  # characters of a path
_LONGEST_PLACE = 300
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

#: Audit events (docs.python.org, "Audit events table") -> which arguments are paths, and which
#: the descriptor of the directory that each is relative to.
_EVENTS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, None),),
    "os.removexattr": ((0, None),),
    "sqlite3.connect": ((0, None),),
    "socket.bind": ((1, None),),
}

# Bound before a test can replace them.
_getcwd, _readlink = os.getcwd, os.readlink
_join, _normpath, _realpath, _split = (
    os.path.join,
    os.path.normpath,
    os.path.realpath,
    os.path.split,
)


@dataclass(frozen=True)
class Change:
    """One of them; ``where`` and ``phase`` are what the test's process says, if it says any."""

    kind: str  # "created", "modified" or "deleted"
    path: str
    where: str = ""
    phase: str = ""
    inside: int = 0  # how much was made in a directory that was made

    def __str__(self) -> str:
        where = f" at {self.where}" if self.where else ""
        return f"{self.path!r} {self.kind}{where}" + (f", {self.inside} in it" * bool(self.inside))


@dataclass(frozen=True)
class Changed:
    """All of them."""

    changes: tuple[Change, ...]
    more: bool  # whether there may be others

    def __bool__(self) -> bool:
        return bool(self.changes) or self.more

    @property
    def count(self) -> int:
        """How many paths."""
        return sum(1 + each.inside for each in self.changes)

    @property
    def phase(self) -> str | None:
        """The phase of the first that has one, by the word of the test's process."""
        return next((each.phase for each in self.changes if each.phase), None)

    def __str__(self) -> str:
        if not self.changes:
            return (
                "not all of what the test wrote could be looked at, so that nothing says whether it"
                " kept to that"
            )
        shown = [str(each) for each in self.changes[:_MOST_SHOWN]]
        if (hidden := len(self.changes) - len(shown)) or self.more:
            shown.append(f"{hidden} more" if not self.more else "more")
        count = f"at least {self.count}" if self.more else str(self.count)
        what = "change" if count == "1" else "changes"
        return f"made {count} {what} to files that it may not change: {', '.join(shown)}"


class Recorder:
    """In the child: listens to audit events. They cannot be unheard, so one is made per child."""

    def __init__(self, root: str, allowed: Paths) -> None:
        self._root, self._allowed = root, allowed
        self._found: dict[str, str] = {}
        self._said = 0
        find, writes, hear_write = _EVENTS.get, _WRITES, self._hear

        def hear(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open":  # each import and each file that is read come by here
                flags = arguments[2]
                if isinstance(flags, int) and flags & writes:
                    hear_write(arguments, ((0, None),))
            elif (places := find(event)) is not None:
                hear_write(arguments, places)

        sys.addaudithook(hear)

    def take(self) -> list[list[str]]:
        """Tell what goes over the pipe, once: path, and line."""
        found, self._found = self._found, {}
        self._said += len(found)
        return [[path, where] for path, where in found.items()]

    def clear(self) -> None:
        """Another test begins."""
        self._found.clear()
        self._said = 0

    def _hear(
        self, arguments: tuple[object, ...], places: tuple[tuple[int, int | None], ...]
    ) -> None:
        if self._said + len(self._found) >= _MOST:
            return
        for at, directory in places:
            with contextlib.suppress(
                Exception
            ):  # whatever a test replaced: hints are worth no error
                path = _absolute(arguments[at], None if directory is None else arguments[directory])
                if path is not None and path not in self._found and not self._allowed.hold(path):
                    self._found[path[:_LONGEST]] = own_lines.nearest(self._root)


def _absolute(path: object, directory: object) -> str | None:
    """Give the absolute path of an argument, through no link but its last name."""
    if isinstance(path, int):
        return _readlink(f"/proc/self/fd/{path}")
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(path)
    if not text.startswith("/"):
        is_given = isinstance(directory, int) and directory >= 0
        text = _join(_readlink(f"/proc/self/fd/{directory}") if is_given else _getcwd(), text)
    parent, name = _split(_normpath(text))
    return _join(_realpath(parent), name)


def read(changes: Changes, frames: Iterable[Frame]) -> Changed:
    """In the parent: what was changed, with what the child's frames say of who did it."""
    said: dict[str, tuple[str, str]] = {}
    for frame in frames:
        if frame["kind"] == "writes":
            for path, where in frame["places"]:  # type: ignore[attr-defined] # checked
                said.setdefault(path, (plain(where[:_LONGEST_PLACE]), str(frame["when"])))
    found: dict[str, Change] = {}
    tops: dict[str, str] = {}  # a directory that was made -> the outermost one that it lies in
    for kind in ("created", "modified", "deleted"):
        for path in getattr(changes, kind):
            change = Change(kind, path, *said.get(path, ()))
            top = tops[path] = tops.get(os.path.dirname(path), path) if kind == "created" else path
            if top != path:
                outer = found[top]
                who = outer if outer.where else change
                change = replace(outer, where=who.where, phase=who.phase, inside=outer.inside + 1)
            found[top] = change
    return Changed(tuple(found.values()), changes.more)
