"""What the root of a sandbox shows below what its test writes: directories of the machine, one over
the other.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_isolate._linux import names

# Bytes; larger files that no overlay can cover are shown read-only instead of copied
_SMALL = 1 << 16


@dataclass(frozen=True)
class Root:
    """The caller's view of the files below, as far as a plan or a comparison asks for it.

    All paths are those of the sandbox.

    ``layers`` are directories of the machine, the uppermost first, as overlayfs has them: what one
    has hides what those below it have of that name, but directories are shown together, and a
    character device 0/0 is a name that is not there. ``/`` is the machine's own root. In every
    other one a path is followed name by name: a link in it leads nowhere, least of all out of it.
    ``machines`` are paths at which the machine's own are shown instead, with all below them.
    """

    layers: tuple[str, ...] = ("/",)
    machines: tuple[str, ...] = ()

    @property
    def base(self) -> Root:
        """What is below all layers."""
        return Root(self.layers[-1:], self.machines)

    def is_machines(self, path: str) -> bool:
        """Whether a path is the machine's own."""
        return self.layers == ("/",) or any(
            path == each or path.startswith(f"{each}/") for each in self.machines
        )

    def lowers(self, path: str) -> tuple[str, ...]:
        """Where the machine has a directory, the uppermost first: an overlay's lower ones."""
        if self.layers == ("/",):
            return (path,)
        places = tuple(place for place, look in self.versions(path) if stat.S_ISDIR(look.st_mode))
        return places or (_in(self.layers[-1], path),)

    def versions(self, path: str) -> list[tuple[str, os.stat_result]]:
        """Where layers have a path and what is there, the uppermost first.

        Up to the first that hides what those below it have.
        """
        found: list[tuple[str, os.stat_result]] = []
        for layer in (*self.layers[:-1], "/" if self.is_machines(path) else self.layers[-1]):
            place, look, hides = _follow(layer, path)
            if look is not None:
                found.append((place, look))
            if hides:
                break
        return found

    def place(self, path: str) -> str:
        """Where the machine has a path; where it has none, a place at which nothing is."""
        if self.layers == ("/",):
            return path
        found = self.versions(path)
        return found[0][0] if found else _NOWHERE

    def lstat(self, path: str) -> os.stat_result | None:
        """Tell what is there; None for nothing, and for what is not for this user to see."""
        if self.layers == ("/",):
            try:
                return os.lstat(path)
            except OSError:
                return None
        found = self.versions(path)
        return found[0][1] if found and not is_whiteout(found[0][1]) else None

    def kind(self, path: str) -> str:
        """``"directory"``, ``"small"`` (a file to copy), ``"node"`` (a socket or FIFO),
        ``"symlink"``, ``"other"`` or ``"none"``.
        """
        look = self.lstat(path)
        if look is None:
            return "none"
        if stat.S_ISLNK(look.st_mode):
            return "symlink"
        if stat.S_ISDIR(look.st_mode):
            return "directory"
        if stat.S_ISSOCK(look.st_mode) or stat.S_ISFIFO(look.st_mode):
            return "node"
        small = (
            stat.S_ISREG(look.st_mode)
            and look.st_size <= _SMALL
            and os.access(self.place(path), os.R_OK)
        )
        return "small" if small else "other"

    def real(self, path: str) -> str:
        """Give a path without symbolic links."""
        if self.layers == ("/",):
            return os.path.realpath(path)
        asked = path
        for _ in range(_MOST_LINKS):
            parts = path.strip("/").split("/")
            heads = ["/" + "/".join(parts[:end]) for end in range(1, len(parts) + 1)]
            link = next((head for head in heads if self.kind(head) == "symlink"), None)
            if link is None:
                return path
            target = os.path.join(os.path.dirname(link), os.readlink(self.place(link)))
            path = os.path.normpath(target + path[len(link) :])
        return asked  # it leads nowhere

    def text(self, path: str) -> str:
        """Tell what is in a small file; nothing where there is none."""
        return names.read(self.place(path))


_MOST_LINKS = 40  # as the kernel
_NOWHERE = "/proc/self/fd/nowhere"  # the kernel has no file of that name


def _in(layer: str, path: str) -> str:
    return path if layer == "/" else layer if path == "/" else layer + path


def is_whiteout(look: os.stat_result) -> bool:
    """Whether overlayfs takes it for a name that is not there."""
    return stat.S_ISCHR(look.st_mode) and look.st_rdev == 0


def _follow(layer: str, path: str) -> tuple[str, os.stat_result | None, bool]:
    """Go from a layer to a path, through directories only.

    Gives where that is, what is there, and whether it lets nothing through of what layers below it
    have: what is no directory on the way or at the end, or an opaque one.
    """
    if layer == "/":  # where links lead on, as for everybody on the machine
        try:
            return path, os.lstat(path), False
        except OSError:
            return path, None, False
    if path == "/":
        return layer, os.lstat(layer), False
    hides = _hides(layer, path.rpartition("/")[0])
    place = f"{layer}{path}"
    if hides is None:
        return place, None, True
    try:
        look = os.lstat(place)
    except OSError:
        return place, None, hides
    is_directory = stat.S_ISDIR(look.st_mode)
    return place, look, hides or not is_directory or is_marked(place, "opaque")


def _hides(layer: str, path: str) -> bool | None:
    """Whether directories of a layer on the way to a path, and there, let nothing through.

    None: one of them is none.
    """
    if (layer, path) in _remembered:
        return _remembered[layer, path]
    hides: bool | None = False
    at = layer
    for name in filter(None, path.split("/")):
        at = f"{at}/{name}"
        try:
            look = os.lstat(at)
        except OSError:
            break
        if not stat.S_ISDIR(look.st_mode):
            hides = None
            break
        hides = hides or is_marked(at, "opaque")
    if _remembers:
        _remembered[layer, path] = hides
    return hides


_remembered: dict[tuple[str, str], bool | None] = {}
_remembers: list[object] = []


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """While thousands of files are looked up: remember what directories of layers are."""
    _remembers.append(None)
    try:
        yield
    finally:
        _remembers.pop()
        _remembered.clear()


def is_marked(directory: str | int, name: str) -> bool:
    """Whether overlayfs marked a directory; it uses ``user`` attributes without root."""
    for space in ("trusted", "user"):
        try:
            os.getxattr(directory, f"{space}.overlay.{name}")
        except OSError:  # ENODATA, or a file system that has no such attributes
            continue
        return True
    return False
