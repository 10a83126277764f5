"""Steps that show directories of the machine with a private layer over them.

Imported by the builder: cheap modules only.
"""

from __future__ import annotations

import errno
import os
import stat

from pytest_isolate._linux import names, syscalls
from pytest_isolate._linux.syscalls import Mount as Flag
from pytest_isolate._sandbox import copies
from pytest_isolate._sandbox.records import Record
from pytest_isolate._sandbox.step import Action, Step
from pytest_isolate._sandbox.steps import Bind, Mirror, touch

_MOST_LEFT_OUT = 50
_LONGEST = 2048  # bytes of lower directories, of the 4096 that all options have
_WHITEOUT = stat.S_IFCHR  # with the number 0
_NO_OVERLAY = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ESTALE, errno.EREMOTE})
#: The kernel has none, or not for this caller, who could mount a tmpfs before.
_NO_OVERLAY_AT_ALL = _NO_OVERLAY | {errno.ENODEV, errno.EPERM, errno.EACCES}
#: Behind the names of a directory of the machine's that is a copy: what an overlay would have had.
COPIED = ".unused"


class Hosts(Record):
    """An /etc/hosts of ours, in which our own name means our addresses."""

    place: str  # where it is, in the sandbox
    hostname: str
    addresses: tuple[str, ...]  # one with a tab and a name behind it is that name's
    text: str | None = None  # what is to be in it, where that is not too much to be told each PID 1

    def write(self, source: str, target: str) -> None:
        """Write it to ``target``; the other names are those of ``source``."""
        text = (
            names.with_own(names.read(source), self.hostname, self.addresses)
            if self.text is None
            else self.text
        )
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.write(fd, text.encode("utf-8", "surrogateescape"))
        os.close(fd)


class OwnName(Action):
    """Put our own name into a copy of /etc/hosts."""

    path: str
    hosts: Hosts

    def perform(self) -> None:
        """Write it, and keep its times."""
        look = os.stat(self.path)
        self.hosts.write(self.path, self.path)
        os.utime(self.path, ns=(look.st_atime_ns, look.st_mtime_ns))


class Seed(Record):
    """What a layer has in a directory that can have no overlay with that layer below it."""

    path: str  # in the sandbox
    source: str  # in the layer; empty: the name is not to be there

    def put(self, target: str, user: bool) -> None:
        """Put it into a private directory, as if it had been copied up there."""
        if not self.source:
            os.mknod(target, _WHITEOUT)
            return
        look = os.lstat(self.source)
        if stat.S_ISDIR(look.st_mode):
            Mirror(self.source, target, user).perform()
        else:
            copies.copy(self.source, target, look, user=user)


class PutLayers(Action):
    """Put what layers have right in a directory that is taken apart, or made read-only."""

    seed: Seed
    target: str
    user: bool
    _where = "target"

    def perform(self) -> None:
        """Put it."""
        if self.seed.source:
            self.seed.put(self.target, self.user)


class Overlay(Action):
    """Stack a private, writable layer on directories of the machine, the uppermost first.

    The root of an overlay has the upper directory's owner and mode, so the upper one mirrors the
    lower one. What a mount forbids (``flags``) an overlay over it would not.
    """

    path: str  # in the sandbox
    lowers: tuple[str, ...]
    private: str  # what the names of its own directories begin with
    target: str
    user: bool
    # Directories in it to copy up beforehand, relative to it, outer ones first
    doors: tuple[str, ...] = ()
    flags: int = 0
    hosts: Hosts | None = None  # of this directory, or one below it
    seeds: tuple[Seed, ...] = ()  # of what is below it
    # Whether directories of the machine can be renamed. Their new name then says where they were,
    # which is true in this overlay only: what is to be a layer of others is made without.
    renames: bool = True
    hidden: tuple[str, ...] = ()  # names in it, relative to it, that are not to be there
    _where = "target"

    def perform(self) -> None:
        """Make its directories, and mount it."""
        upper, work = self.private + ".upper", self.private + ".work"
        Mirror(self.lowers[0], upper, self.user).perform()
        for door in self.doors:
            self._copy_up(door)
        if self.hosts is not None:
            self._prepare(self.hosts)
        for seed in self.seeds:
            self._sow(seed)
        for name in self.hidden:
            self._hide(name)
        os.mkdir(work)
        below = ":".join(map(escaped, self.lowers))
        is_long = len(below) > _LONGEST
        if is_long:
            below = self._by_short_names()
        options = f"lowerdir={below},upperdir={escaped(upper)},workdir={escaped(work)},"
        if self.user:
            options += "userxattr"
        else:
            options += f"redirect_dir={'on' if self.renames else 'off'}"
        try:
            syscalls.mount("overlay", self.target, "overlay", Flag.NODEV | self.flags, options)
        finally:
            if is_long:
                os.chdir("/")

    def _by_short_names(self) -> str:
        """Go to a directory in which every lower one has a name of a few digits.

        mount(2) takes a page of options.
        """
        os.mkdir(short := f"{self.private}.lowers")
        for number, lower in enumerate(self.lowers):
            os.symlink(lower, f"{short}/{number}")
        os.chdir(short)
        return ":".join(map(str, range(len(self.lowers))))

    def _sow(self, seed: Seed) -> None:
        """Put what a layer has into the upper layer, and the ways to it."""
        relative = os.path.relpath(seed.path, self.path)
        *way, _ = relative.split("/")
        upper = f"{self.private}.upper"
        for end in range(1, len(way) + 1):
            if not os.path.lexists(f"{upper}/{(part := '/'.join(way[:end]))}"):
                self._copy_up(part)
        if not os.path.lexists(f"{upper}/{relative}"):  # as an /etc/hosts of ours is
            seed.put(f"{upper}/{relative}", self.user)

    def _lower(self, name: str) -> str:
        """Where a name in it is: in the uppermost directory that has it."""
        *over, last = self.lowers
        return next(
            (found for each in over if os.path.lexists(found := f"{each}/{name}")), f"{last}/{name}"
        )

    def _copy_up(self, directory: str) -> None:
        Mirror(self._lower(directory), f"{self.private}.upper/{directory}", self.user).perform()

    def _prepare(self, hosts: Hosts) -> None:
        """Put an /etc/hosts with our own name into the upper layer, as if it had been copied up
        there.
        """
        relative = os.path.relpath(hosts.place, self.path)
        *way, _ = relative.split("/")
        for end in range(1, len(way) + 1):
            if (part := "/".join(way[:end])) not in self.doors:
                self._copy_up(part)
        source, target = self._lower(relative), f"{self.private}.upper/{relative}"
        hosts.write(source, target)
        try:
            copies.look_like(target, os.stat(source), user=self.user)
        except FileNotFoundError:  # a machine without one
            os.chmod(target, 0o644)

    def _hide(self, name: str) -> None:
        """Put a whiteout into the upper layer, as if it had been removed: nobody, not even a test
        that is root and mounts, finds it below.
        """
        upper = f"{self.private}.upper"
        *way, _ = name.split("/")
        for end in range(1, len(way) + 1):
            part = "/".join(way[:end])
            if os.path.isdir(f"{upper}/{part}"):
                continue
            if not os.path.isdir(self._lower(part)):
                return  # there is nothing to hide
            self._copy_up(part)
        copies.remove(f"{upper}/{name}")
        os.mknod(f"{upper}/{name}", stat.S_IFCHR)


class Part(Record):
    """Something that a root lacks, by its path in the sandbox.

    ``form`` is ``"like"`` (a directory that looks like the one that ``what`` names, and shows what
    is in it too), ``"directory"``, ``"file"`` or ``"link"`` (to ``what``).
    """

    path: str
    form: str
    what: str = ""


class Skeleton(Action):
    """Make a lower directory of what a root lacks, to be laid over it.

    The root itself is never written to, and what is here was not written by the test.
    """

    path: str
    root: str  # that it looks like
    parts: tuple[Part, ...]  # outer ones first
    user: bool

    def perform(self) -> None:
        """Make all; directories look like others when nothing more is made in them."""
        os.mkdir(self.path)
        for part in self.parts:
            path = self.path + part.path
            if part.form == "link":
                os.symlink(part.what, path)
            elif part.form == "file":
                touch(path)
            else:
                os.mkdir(path, 0o755)
        likes = [Part("", "like", self.root), *(each for each in self.parts if each.form == "like")]
        for part in reversed(likes):
            copies.look_like(self.path + part.path, os.stat(part.what), user=self.user)


class OverlayOrReadOnly(Overlay):
    """Stack a layer; on a file system that cannot be a lower layer (vfat, some network ones), show
    a read-only view of it.
    """

    def perform(self) -> None:
        """Try the overlay first."""
        try:
            super().perform()
        except OSError as error:
            if error.errno not in _NO_OVERLAY:
                raise
            Bind(self.lowers[-1], self.target, read_only=True).perform()


class PrivateCopy(Overlay):
    """Copy what is in a directory and not too large: old C libraries take no overlay for shared
    memory.
    """

    def perform(self) -> None:
        """Copy it, and show the copy."""
        upper = self.private + ".upper"
        left_out = copies.tree(self.lowers[-1], upper, copies.Budget(), user=self.user)
        for name in self.hidden:
            copies.remove(f"{upper}/{name}")
        if left_out:
            # For pytest to say, which sees the private file system
            with open(f"{self.private}.left_out", "xb", buffering=0) as file:
                file.write(os.fsencode("\0".join(left_out[:_MOST_LEFT_OUT])))
        Bind(upper, self.target).perform()
        if self.flags:
            syscalls.mount(
                "",
                self.target,
                "",
                Flag.REMOUNT | Flag.BIND | Flag.NOSUID | Flag.NODEV | self.flags,
            )


class OverlayOrPrivateCopy(PrivateCopy):
    """Stack a layer; where overlays are stacked too deep for one more, copy what is not
    too large.
    """

    def perform(self) -> None:
        """Try the overlay first."""
        try:
            Overlay.perform(self)
        except OSError as error:
            if error.errno not in _NO_OVERLAY:
                raise
            os.rename(self.private + ".upper", self.private + COPIED)
            super().perform()


class OverlayOrWholeCopy(PrivateCopy):
    """Stack a layer; where this caller has no overlay, copy all that is in the directory, if that
    is little. Where tests write nothing may be missing, so it is all or an error.
    """

    def perform(self) -> None:
        """Try the overlay first."""
        try:
            Overlay.perform(self)
        except OSError as error:
            is_one = len(self.lowers) == 1 and not self.seeds
            if error.errno not in _NO_OVERLAY_AT_ALL or not is_one:
                raise
            if not copies.fits(self.lowers[0], copies.Budget()):
                raise
            os.rename(self.private + ".upper", self.private + COPIED)
            super().perform()


class TakeApart(Step):
    """Make a private directory in which each directory of the machine's has an overlay of its own
    (``apart.Directory`` performs it).
    """

    path: str
    target: str
    layers: str  # where the layers of what is in it are
    mounts: tuple[str, ...] = ()  # names in it that other steps show
    fixed: tuple[str, ...] = ()  # names in it that must not be removed, for a bind lies there
    ways: tuple[str, ...] = ()  # directories in it where tests are likely to write
    flags: int = 0
    hosts: Hosts | None = None
    seeds: tuple[Seed, ...] = ()  # of what is below it, but not right in it
    hidden: tuple[str, ...] = ()  # absolute paths that are not to be there


def escaped(path: str) -> str:
    """Write a path as an option of an overlay."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
