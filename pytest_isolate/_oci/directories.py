"""The directories of a bundle: what is mounted on, and what private layers begin with."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pytest_isolate._linux.root import Root
from pytest_isolate._plan.layout import PRIVATE, ROOT, is_in
from pytest_isolate._sandbox import copies
from pytest_isolate._sandbox.overlays import Overlay

OWN = ".isolate"
HERE = ".here"
_LOWER = f"{HERE}/{OWN}/lower"
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
NEW = ("/proc", "/sys", "/dev")  # of the container's own


class Directories:
    """They, while they are made. Raises ``OSError``."""

    def __init__(self, bundle: Path, root: Root, *, user: bool) -> None:
        self.rootfs = bundle / "rootfs"
        self.own = self.rootfs / OWN
        self.modes: dict[str, int] = {}  # of directories, to be set inside
        self.places = {"/": self.rootfs}  # directories that are made here -> where
        self._layers = [layer for layer in root.layers if layer != "/"]
        self._user = user
        self._count = 0
        self.own.mkdir(parents=True)
        os.symlink("/", self.own / "lower")
        os.symlink("rootfs", bundle / HERE)
        os.symlink("../rootfs", self.rootfs / HERE)

    def number(self) -> int:
        """Give a number that nothing in the private file system has."""
        self._count += 1
        return self._count

    def size(self) -> tuple[int, int]:
        """Bytes and files that the private file system begins with."""
        return _sizes(self.own)

    def place(self, path: str) -> Path:
        """Where in the bundle a path is that a step names."""
        place = inside(path)
        if place is None:
            return self.own / path.removeprefix(f"{PRIVATE}/")
        best = max((each for each in self.places if is_in(place, (each.rstrip("/"),))), key=len)
        return self.places[best] / os.path.relpath(place, best)

    def prepare(self, step: Overlay, upper: Path) -> None:
        """Make what the private layer begins with."""
        self.make(step.lowers[0], upper, step.path)
        for door in step.doors:
            self._copy_up(step, upper, door)
        if (hosts := step.hosts) is not None:
            relative = os.path.relpath(hosts.place, step.path)
            self._copy_up(step, upper, os.path.dirname(relative))
            hosts.write(self._first(step, relative), str(upper / relative))
            os.chmod(upper / relative, 0o644)
        for seed in step.seeds:
            relative = os.path.relpath(seed.path, step.path)
            self._copy_up(step, upper, os.path.dirname(relative))
            if not os.path.lexists(upper / relative):
                seed.put(str(upper / relative), self._user)

    def _copy_up(self, step: Overlay, upper: Path, directory: str) -> None:
        names = directory.split("/") if directory else []
        for end in range(1, len(names) + 1):
            part = "/".join(names[:end])
            if not os.path.lexists(upper / part):
                self.make(self._first(step, part), upper / part, f"{step.path}/{part}")

    @staticmethod
    def _first(step: Overlay, name: str) -> str:
        """Where a name in an overlay is: in the uppermost directory that has it."""
        places = [f"{lower}/{name}" for lower in step.lowers]
        return next((place for place in places if os.path.lexists(place)), places[-1])

    def make(self, source: str, target: Path, path: str = "") -> None:
        """Make a directory of the bundle that looks like the machine's, or will inside, at
        ``path``.
        """
        look = os.stat(source)
        target.mkdir()
        if not self._user:
            copies.look_like(str(target), look, user=False)
            return
        mode = copies.mode(look, user=True)
        target.chmod(mode | 0o700)
        if path and mode & 0o700 != 0o700:
            self.modes[path] = mode

    def lowest(self, path: str) -> str:
        """Where a lower directory is: one of ours is in the bundle."""
        return str(self.place(path)) if is_in(path, (PRIVATE,)) else path

    def lower(self, path: str) -> str:
        """Name a lower directory for a mount; the machine's so that it can be another root's."""
        if is_in(path, (str(self.own),)):
            return f"{HERE}/{OWN}{path.removeprefix(str(self.own))}"
        return path if is_in(path, self._layers) else f"{_LOWER}{path if path != '/' else ''}"

    def names(self, root: Root, path: str = "/") -> Iterator[tuple[str, str]]:
        """Give what is in a directory of a root, and of what kind; make what is the container's."""
        found: dict[str, None] = {}
        for lower in root.lowers(path):
            try:
                found |= dict.fromkeys(sorted(os.listdir(lower)))
            except PermissionError:  # may be entered but not listed
                continue
        for name in found:
            if (place := os.path.join(path, name)) not in NEW:
                yield name, root.kind(place)
            elif not os.path.lexists(self.rootfs / name):
                (self.rootfs / name).mkdir()


def inside(path: str) -> str | None:
    """Give the sandbox's name of what a step names; None for what is private."""
    if path == ROOT:
        return "/"
    return path.removeprefix(ROOT) if is_in(path, (ROOT,)) else None


def part(
    whole: Overlay, path: str, lowers: tuple[str, ...], ways: tuple[str, ...], *, user: bool
) -> Overlay:
    """Make the overlay of a directory right in one that is taken apart."""
    start = f"{path}/"

    def below(names: tuple[str, ...]) -> tuple[str, ...]:
        inside = (
            each if each.startswith("/") else os.path.join(whole.path, each) for each in names
        )
        return tuple(each.removeprefix(start) for each in inside if each.startswith(start))

    doors: dict[str, None] = {}
    for way in below(ways):
        parts = way.split("/")
        doors |= dict.fromkeys("/".join(parts[: end + 1]) for end in range(len(parts)))
    real = [door for door in doors if _is_real_directory(f"{lowers[0]}/{door}")]
    hosts = whole.hosts if whole.hosts is not None and whole.hosts.place.startswith(start) else None
    return Overlay(
        path, lowers, "", "", user, tuple(dict.fromkeys((*below(whole.doors), *real))),
        whole.flags, hosts,
        tuple(each for each in whole.seeds if each.path.startswith(start)), whole.renames,
        below(whole.hidden),
    )  # fmt: skip


def _is_real_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _sizes(directory: Path) -> tuple[int, int]:
    """Bytes and files that the skeleton takes of a tmpfs: pages of regular files, and each name."""
    pages = files = 0
    for folder, names, others in os.walk(directory):
        files += len(names) + len(others)
        looks = (os.lstat(os.path.join(folder, name)) for name in others)
        pages += sum(-(-look.st_size // _PAGE_SIZE) for look in looks if stat.S_ISREG(look.st_mode))
    return pages * _PAGE_SIZE, files
