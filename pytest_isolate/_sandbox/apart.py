"""Directories with mounts below them, without root: private ones, in which each directory of the
machine's has an overlay of its own.

The kernel lets nobody look below a mount that a user namespace inherited, so no overlay may have
one in its lower layer. Theory of operation. PID 1 builds such a directory ahead of its test, keeps
the machine's tree in view, and when pytest takes the sandbox looks once more: what came is added,
what went is removed, what changed is copied anew. What is in an existing directory needs no look:
its overlay shows the machine's. But it is a mount point, which nobody can remove or rename; so
where tests make and remove directories, next to their own, a little one is copied. Imported by the
builder: cheap modules only.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux import syscalls
from pytest_isolate._sandbox import copies
from pytest_isolate._sandbox.overlays import Overlay, OverlayOrReadOnly, OwnName, Seed, TakeApart
from pytest_isolate._sandbox.steps import Bind

# Nanoseconds; a directory that changed later than that before a look may have changed behind it in
# the same tick
_SETTLED = 50_000_000
_COPY, _TREE, _OVERLAY, _READ_ONLY = "copy", "tree", "overlay", "read_only"


class Directory:
    """One of them. Raises ``StepFailedError``."""

    def __init__(self, step: TakeApart, budget: copies.Budget) -> None:
        self._path, self._target, self._layers = step.path, step.target, step.layers
        self._mounts, self._fixed, self._ways = (
            frozenset(step.mounts),
            frozenset(step.fixed),
            step.ways,
        )
        self._flags, self._hosts, self._seeds = step.flags, step.hosts, step.seeds
        self._hidden = frozenset(step.hidden)
        self._budget = budget
        # Name -> how it is shown, what it looked like, bytes copied
        self._entries: dict[str, tuple[str, object, int]] = {}
        self._gone = 0
        self._looked: tuple[int, ...] = ()  # the directory's times at the last look
        os.mkdir(self._layers)
        self._list()

    def look_again(self) -> bool:
        """Make it the directory that the machine's is now. Whether that took anything."""
        look = os.stat(self._path)
        if (look.st_mtime_ns, look.st_ctime_ns) == self._looked and all(
            map(self._is_as_it_was, self._entries)
        ):
            return False
        return self._list()

    def _is_as_it_was(self, name: str) -> bool:
        how, seen, _ = self._entries[name]
        if how == _OVERLAY:  # replacing it would have changed the directory
            return True
        try:
            return self._signature(name, os.lstat(self._source(name)), how) == seen
        except OSError:
            return False

    def _signature(self, name: str, look: os.stat_result, how: str) -> object:
        """Tell what is another when what is shown of a name has to be."""
        if how != _TREE:
            return _signature(look)
        found = copies.little(self._source(name), self._budget)
        return (
            None
            if found is None
            else (
                _signature(look),
                sorted((path, _signature(each)) for path, each in found.items()),
            )
        )

    def _source(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    def _list(self) -> bool:
        now, look = time.time_ns(), os.stat(self._path)
        self._looked = (
            (look.st_mtime_ns, look.st_ctime_ns)
            if max(look.st_mtime_ns, look.st_ctime_ns) + _SETTLED < now
            else ()
        )
        found: dict[str, os.stat_result] = {}
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if (
                        entry.name not in self._mounts
                        and self._source(entry.name) not in self._hidden
                    ):
                        try:
                            found[entry.name] = entry.stat(follow_symlinks=False)
                        except OSError:  # it went meanwhile
                            continue
        except PermissionError:  # may be entered but not listed: its mounts are there all the same
            found = {}
        changed = False
        for name in self._entries.keys() - found.keys():
            changed |= self._remove(name)
        # What is small first: more of it is copied
        for name, entry_look in sorted(found.items(), key=lambda item: item[1].st_size):
            known = self._entries.get(name)
            if known is not None and self._signature(name, entry_look, known[0]) == known[1]:
                continue
            if known is None or self._remove(name):
                self._add(name, entry_look)
                changed = True
        copies.look_like(self._target, look, user=True)
        return changed

    def _add(self, name: str, look: os.stat_result) -> None:
        source, target = self._source(name), f"{self._target}/{name}"
        if os.path.lexists(target):  # put there by another step: a bind's
            return
        try:
            how, copied = self._show(name, look, source, target)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ESTALE} and not os.path.lexists(source):
                copies.remove(target)  # it went meanwhile, which the next look sees
                self._looked = ()
                return
            # As the step of that name says it
            step = ("overlay", target) if stat.S_ISDIR(look.st_mode) else ("show", source)
            raise StepFailedError(*step, error.errno or errno.EIO) from error
        self._entries[name] = (how, self._signature(name, look, how), copied)

    def _show(self, name: str, look: os.stat_result, source: str, target: str) -> tuple[str, int]:
        """Show a name of the machine's. Returns how, and the bytes copied."""
        mode = look.st_mode
        if stat.S_ISDIR(mode):
            return self._show_directory(name, source, target)
        if stat.S_ISREG(mode) and self._budget.allows(look) and os.access(source, os.R_OK):
            copies.copy(source, target, look, user=True)
            self._budget.take(look)
            if self._hosts is not None and self._hosts.place == source:
                OwnName(target, self._hosts).perform()
            return _COPY, look.st_size
        if stat.S_ISLNK(mode) or stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
            copies.copy(source, target, look, user=True)
            return _COPY, 0
        Bind(source, target, read_only=True).perform()
        return _READ_ONLY, 0

    def _show_directory(self, name: str, source: str, target: str) -> tuple[str, int]:
        if (inside := self._little(source)) is None:
            self._overlay(name, source, target)
            return _OVERLAY, 0
        copies.tree(source, target, self._budget, user=True)
        for hidden in self._hidden_in(source):
            copies.remove(f"{target}/{hidden}")
        return _TREE, sum(each.st_size for each in inside.values() if stat.S_ISREG(each.st_mode))

    def _hidden_in(self, source: str) -> tuple[str, ...]:
        start = f"{source}/"
        return tuple(each.removeprefix(start) for each in self._hidden if each.startswith(start))

    def _little(self, source: str) -> dict[str, os.stat_result] | None:
        if self._path not in self._ways or any(
            way == source or way.startswith(source + "/") for way in self._ways
        ):
            return None
        if self._seeds_below(source):
            return None
        return copies.little(source, self._budget)

    def _seeds_below(self, source: str) -> tuple[Seed, ...]:
        return tuple(seed for seed in self._seeds if seed.path.startswith(source + "/"))

    def _overlay(self, name: str, source: str, target: str) -> None:
        os.mkdir(target)
        start = source + "/"
        doors: dict[str, None] = {}
        for way in self._ways:
            if way.startswith(start):
                parts = way.removeprefix(start).split("/")
                doors |= dict.fromkeys("/".join(parts[: end + 1]) for end in range(len(parts)))
        real = tuple(
            door
            for door in doors
            if os.path.isdir(start + door) and not os.path.islink(start + door)
        )
        hosts = (
            self._hosts if self._hosts is not None and self._hosts.place.startswith(start) else None
        )
        seeds = self._seeds_below(source)
        written = seeds or any(way == source or way.startswith(start) for way in self._ways)
        kind = Overlay if written else OverlayOrReadOnly
        private = f"{self._layers}/{name}/"
        os.mkdir(private)
        kind(
            source, (source,), private, target, True, real, self._flags, hosts, seeds,
            hidden=self._hidden_in(source),
        ).perform()  # fmt: skip

    def _remove(self, name: str) -> bool:
        """Remove what was shown of a name, unless a bind lies there. Whether it is gone."""
        if name in self._fixed:
            return False
        how, _, copied = self._entries.pop(name)
        target = f"{self._target}/{name}"
        if how in {_OVERLAY, _READ_ONLY}:
            syscalls.umount(target)
        copies.remove(target)
        self._budget.give_back(copied)
        if how == _OVERLAY:
            self._gone += 1
            os.rename(f"{self._layers}/{name}", f"{self._layers}.{self._gone}")
        return True

    def write_down(self) -> None:
        """Say what is in it now, for whoever asks what the test changed."""
        made: dict[str, tuple[int, int]] = {}
        others = []
        for name in os.listdir(self._target):
            how = self._entries.get(name, ("",))[0]
            if how == _TREE:
                made |= _made(self._target, name)
                continue
            look = os.lstat(f"{self._target}/{name}") if how != _OVERLAY else None
            if look is None or how == _READ_ONLY or stat.S_ISDIR(look.st_mode):
                others.append(name)
            else:
                made[name] = (look.st_ino, look.st_ctime_ns)
        lines = [f"copy {inode} {changed} {name}" for name, (inode, changed) in made.items()]
        lines += [f"other 0 0 {name}" for name in others]
        lines += [
            f"read_only 0 0 {name}"
            for name, (how, *_) in self._entries.items()
            if how == _READ_ONLY
        ]
        with open(f"{self._layers}.known", "wb", buffering=0) as file:
            file.write(os.fsencode("\0".join(lines)))


def _made(directory: str, name: str) -> dict[str, tuple[int, int]]:
    """Inode and change time of a copy and of all that is in it."""
    look = os.lstat(f"{directory}/{name}")
    found = {name: (look.st_ino, look.st_ctime_ns)}
    if stat.S_ISDIR(look.st_mode):
        for below in os.listdir(f"{directory}/{name}"):
            found |= _made(directory, f"{name}/{below}")
    return found


def _signature(look: os.stat_result) -> tuple[int, ...]:
    """Tell what is another when a file is another or was written; of a directory, when it is
    another: its overlay shows the rest.
    """
    if stat.S_ISDIR(look.st_mode):
        return (look.st_dev, look.st_ino, look.st_mode)
    return (
        look.st_dev,
        look.st_ino,
        look.st_mode,
        look.st_size,
        look.st_mtime_ns,
        look.st_ctime_ns,
    )
