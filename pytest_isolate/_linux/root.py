"""What the root of a sandbox shows below what its test writes: directories of the machine, one over
the other.
"""

from __future__ import annotations

import os
import stat
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
    character device 0/0 is a name that is not there. ``/`` is the machine's own root.
    """

    layers: tuple[str, ...] = ("/",)

    def lowers(self, path: str) -> tuple[str, ...]:
        """Where the machine has a directory, the uppermost first: the lower directories of an
        overlay.
        """
        if len(self.layers) == 1:
            return (_in(self.layers[0], path),)
        found = []
        for layer in self.layers:
            place = _in(layer, path)
            if os.path.isdir(place) and not os.path.islink(place):
                found.append(place)
            if _hides(layer, path):
                break
        return tuple(found) or (_in(self.layers[-1], path),)

    def place(self, path: str) -> str:
        """Where the machine has a path; where it has none, where it would in the lowest layer."""
        *over, last = self.layers
        for layer in over:
            if os.path.lexists(place := _in(layer, path)) or _hides(layer, path):
                return place
        return _in(last, path)

    def lstat(self, path: str) -> os.stat_result | None:
        """Tell what is there; None for nothing, and for what is not for this user to see."""
        try:
            look = os.lstat(self.place(path))
        except OSError:
            return None
        return None if len(self.layers) > 1 and is_whiteout(look) else look

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
        for _ in range(_MOST_LINKS):
            parts = path.strip("/").split("/")
            heads = ["/" + "/".join(parts[:end]) for end in range(1, len(parts) + 1)]
            link = next((head for head in heads if self.kind(head) == "symlink"), None)
            if link is None:
                break
            target = os.path.join(os.path.dirname(link), os.readlink(self.place(link)))
            path = os.path.normpath(target + path[len(link) :])
        return path

    def text(self, path: str) -> str:
        """Tell what is in a small file; nothing where there is none."""
        return names.read(self.place(path))


_MOST_LINKS = 40  # as the kernel


def _in(layer: str, path: str) -> str:
    return path if layer == "/" else layer if path == "/" else layer + path


def is_whiteout(look: os.stat_result) -> bool:
    """Whether overlayfs takes it for a name that is not there."""
    return stat.S_ISCHR(look.st_mode) and look.st_rdev == 0


def _hides(layer: str, path: str) -> bool:
    """Whether a layer lets nothing through of a path that it may not even have: by what is no
    directory on the way, or an opaque one.
    """
    at = layer
    for name in filter(None, path.split("/")):
        at = f"{at.rstrip('/')}/{name}"
        try:
            look = os.lstat(at)
        except OSError:
            return False
        if not stat.S_ISDIR(look.st_mode) or is_marked(at, "opaque"):
            return True
    return False


def is_marked(directory: str | int, name: str) -> bool:
    """Whether overlayfs marked a directory; it uses ``user`` attributes without root."""
    for space in ("trusted", "user"):
        try:
            os.getxattr(directory, f"{space}.overlay.{name}")
        except OSError:  # ENODATA, or a file system that has no such attributes
            continue
        return True
    return False
