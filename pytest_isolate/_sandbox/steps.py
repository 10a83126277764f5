"""The steps that build a sandbox: records that say what is to be done, written by a plan and
performed in order by its future PID 1.

A step that fails raises ``StepFailedError`` with its name and path, and ends the sandbox; nothing
here goes on with less than was asked. A further step is a class with its fields and ``perform``:
its name in errors is that of the class. Those with layers are in ``overlays``. Imported by the
builder: only cheap modules of the standard library here.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys

from pytest_isolate._linux import syscalls
from pytest_isolate._linux.syscalls import Mount as Flag
from pytest_isolate._sandbox import copies
from pytest_isolate._sandbox.step import Action

_IFF_UP, _IFNAMSIZ, _SIOCSIFFLAGS = 1, 16, 0x8914  # of <linux/if.h> and <linux/sockios.h>


class Mount(Action):
    """mount(2) as written."""

    source: str
    target: str
    fstype: str
    flags: int
    data: str
    _where = "target"

    def perform(self) -> None:
        """Mount it."""
        syscalls.mount(self.source, self.target, self.fstype, self.flags, self.data)

    @property
    def said(self) -> str:
        """Say which file system."""
        return f"mount {self.fstype or 'bind'} on"


class Bind(Action):
    """Show ``source`` and all below it at ``target``, which is made when it is missing."""

    source: str
    target: str
    read_only: bool = False
    _where = "source"

    def perform(self) -> None:
        """Make room, bind, and protect."""
        self._make_room()
        self._bind()
        if self.read_only:
            syscalls.make_read_only(self.target)

    def _bind(self) -> None:
        syscalls.mount(self.source, self.target, "", Flag.BIND | Flag.REC)

    def _make_room(self) -> None:
        if not os.path.lexists(self.target):
            if os.path.isdir(self.source):
                os.makedirs(self.target)
            else:
                os.makedirs(os.path.dirname(self.target), exist_ok=True)
                touch(self.target)


class BindWithoutLinks(Bind):
    """Show a ``source`` that an earlier test may have turned into a link: then ELOOP."""

    def _bind(self) -> None:
        syscalls.bind_without_links(self.source, self.target)


class Device(Action):
    """Show a device of the machine in a directory that we have just made.

    Read-only, for its mode and times are the machine's.
    """

    source: str
    target: str
    _where = "target"

    def perform(self) -> None:
        """Bind it, and protect it."""
        touch(self.target)
        syscalls.mount(self.source, self.target, "", Flag.BIND)
        syscalls.make_read_only(self.target)


class ReadOnly(Action):
    """Turn a mount and those below it read-only."""

    path: str

    def perform(self) -> None:
        """Turn them."""
        syscalls.make_read_only(self.path)


class Protect(Action):
    """Bind a path of /proc on itself, read-only, but for what the sandbox has of its own.

    Not every kernel has every one of them.
    """

    path: str
    own: tuple[str, ...] = ()

    def perform(self) -> None:
        """Bind it, and what is the sandbox's own over it."""
        if not os.path.exists(self.path):
            return
        if self.own:
            os.chdir(self.path)  # from where the unprotected ones can still be named
        Bind(self.path, self.path, read_only=True).perform()
        for name in self.own:
            try:
                syscalls.mount(name, f"{self.path}/{name}", "", Flag.BIND)
            except FileNotFoundError:
                continue
        os.chdir("/")


class Mask(Action):
    """Show nothing at a path of /proc or /sys. Not every kernel has every one of them."""

    path: str

    def perform(self) -> None:
        """Mount nothing over it."""
        if os.path.isdir(self.path):
            syscalls.mount(
                "tmpfs", self.path, "tmpfs", Flag.RDONLY | Flag.NOSUID | Flag.NODEV | Flag.NOEXEC
            )
        elif os.path.exists(self.path):
            syscalls.mount("/dev/null", self.path, "", Flag.BIND)


class Hide(Mask):
    """Show nothing at a path that no layer of ours hides: in what is bound, or shown as it is."""

    def perform(self) -> None:
        """Mount nothing over it, unless it is a link: what that leads to is hidden by itself."""
        if not os.path.islink(self.path):
            super().perform()


class Mkdir(Action):
    """Make a directory with exactly this mode, whatever the umask."""

    path: str
    mode: int = 0o755

    def perform(self) -> None:
        """Make it, and those above it."""
        os.makedirs(self.path, exist_ok=True)
        os.chmod(self.path, self.mode)


class Symlink(Action):
    """symlink(2)."""

    target: str
    path: str

    def perform(self) -> None:
        """Link it."""
        os.symlink(self.target, self.path)


def touch(path: str) -> None:
    """Make an empty file to bind something on."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))


class Touch(Action):
    """Make an empty file."""

    path: str

    def perform(self) -> None:
        """Make it."""
        touch(self.path)


class Copy(Action):
    """Make a private copy of a small file, for where no overlay fits: a file that is a mount point
    itself.
    """

    source: str
    target: str
    user: bool
    _where = "target"

    def perform(self) -> None:
        """Copy it."""
        copies.copy(self.source, self.target, os.stat(self.source), user=self.user)


class Mirror(Action):
    """Make a directory that looks like ``source``; where its owner has no name in our user
    namespace, with our own rights.
    """

    source: str
    target: str
    user: bool
    _where = "target"

    def perform(self) -> None:
        """Make it."""
        os.mkdir(self.target)
        copies.look_like(self.target, os.stat(self.source), user=self.user)


class LimitDisk(Action):
    """Limit the private file system to what is in it by now and so much more."""

    path: str
    size: int
    files: int
    is_last = True

    def perform(self) -> None:
        """Look, and mount it anew."""
        look = os.statvfs(self.path)
        size = self.size + (look.f_blocks - look.f_bfree) * look.f_frsize
        files = self.files + look.f_files - look.f_ffree
        syscalls.mount(
            "",
            self.path,
            "",
            Flag.REMOUNT | Flag.NOSUID | Flag.NODEV,
            f"size={size},nr_inodes={files}",
        )


class Write(Action):
    """Write to a file of /proc."""

    path: str
    text: str

    def perform(self) -> None:
        """Write all of it at once."""
        with open(self.path, "wb", buffering=0) as file:
            file.write(self.text.encode("ascii"))


class CountFrom(Action):
    """Have the next process of this pid namespace take the number behind one.

    A kernel without CHECKPOINT_RESTORE counts on.
    """

    path: str
    number: int

    def perform(self) -> None:
        """Tell the kernel."""
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.write(fd, str(self.number).encode("ascii"))
        finally:
            os.close(fd)


class Hostname(Action):
    """sethostname(2)."""

    name: str
    _where = "name"

    def perform(self) -> None:
        """Set it."""
        _socket.sethostname(self.name)


class Loopback(Action):
    """Bring the loopback interface up; the kernel then gives it 127.0.0.1 and ::1 by itself.

    By ioctl(2) on any socket, as ifconfig does: a message of rtnetlink would have to be encoded by
    pyroute2 in another process, whose start takes longer than a whole sandbox.
    """

    def perform(self) -> None:
        """Set its flag."""
        any_socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
        try:
            fcntl.ioctl(
                any_socket,
                _SIOCSIFFLAGS,
                b"lo".ljust(_IFNAMSIZ, b"\0") + _IFF_UP.to_bytes(2, sys.byteorder).ljust(24, b"\0"),
            )
        finally:
            any_socket.close()

    @property
    def path_said(self) -> str:
        """Name the interface."""
        return "lo"


class Pivot(Action):
    """Make ``path`` the root of this mount namespace and let go of the old one: pivot_root(2), its
    last example.
    """

    path: str
    is_last = True

    def perform(self) -> None:
        """Pivot, and unmount what is below."""
        os.chdir(self.path)
        syscalls.pivot_root(".", ".")
        syscalls.umount(".")
        os.chdir("/")
