"""The steps that build a sandbox, performed in order by its future PID 1.

A step is ``[name, argument, ...]``, as ``planning.planning`` wrote it. A step that fails raises ``StepFailedError`` with
its name and path, and ends the sandbox; nothing here goes on with less than was asked.
Imported by the builder: only cheap modules of the standard library here.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys

from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux import names, syscalls
from pytest_isolate._linux.syscalls import Mount
from pytest_isolate._sandbox import copies

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Extra = Any  # flags of mount(2), then where and what an /etc/hosts with our own name is, or None

_NLMSG_ERROR = 2


def mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2) as written."""
    syscalls.mount(source, target, fstype, flags, data)


def bind(source: str, target: str, read_only: bool) -> None:
    """Show ``source`` and all below it at ``target``, which is made when it is missing."""
    _make_room(source, target)
    syscalls.mount(source, target, "", Mount.BIND | Mount.REC)
    if read_only:
        syscalls.make_read_only(target)


def bind_without_links(source: str, target: str, read_only: bool) -> None:
    """The same for a ``source`` that an earlier test may have turned into a link: then ELOOP."""
    _make_room(source, target)
    syscalls.bind_without_links(source, target)
    if read_only:
        syscalls.make_read_only(target)


def device(source: str, target: str) -> None:
    """Show a device of the machine in a directory that we have just made. Read-only, for its mode and times are the machine's."""
    touch(target)
    syscalls.mount(source, target, "", Mount.BIND)
    syscalls.make_read_only(target)


def _make_room(source: str, target: str) -> None:
    if not os.path.lexists(target):
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            touch(target)


def read_only(path: str) -> None:
    """Turn a mount and those below it read-only."""
    syscalls.make_read_only(path)


def protect(path: str, *own: str) -> None:
    """Bind a path of /proc on itself, read-only, but for what the sandbox has of its own. Not every kernel has every one of them."""
    if not os.path.exists(path):
        return
    if own:
        os.chdir(path)  # from where the unprotected ones can still be named
    bind(path, path, read_only=True)
    for name in own:
        try:
            syscalls.mount(name, f"{path}/{name}", "", Mount.BIND)
        except FileNotFoundError:
            continue
    os.chdir("/")


def mask(path: str) -> None:
    """Show nothing at a path of /proc or /sys. Not every kernel has every one of them."""
    if os.path.isdir(path):
        syscalls.mount("tmpfs", path, "tmpfs", Mount.RDONLY | Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
    elif os.path.exists(path):
        syscalls.mount("/dev/null", path, "", Mount.BIND)


def mkdir(path: str, mode: int) -> None:
    """Make a directory with exactly this mode, whatever the umask."""
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)


def symlink(target: str, path: str) -> None:
    """symlink(2)."""
    os.symlink(target, path)


def touch(path: str) -> None:
    """Make an empty file to bind something on."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))


def copy(source: str, target: str, user: bool) -> None:
    """A private copy of a small host file, for where no overlay fits: a file that is a mount point itself."""
    copies.copy(source, target, os.stat(source), user=user)


def mirror(source: str, target: str, user: bool) -> None:
    """Make a directory that looks like ``source``; where its owner has no name in our user namespace, with our own rights."""
    os.mkdir(target)
    copies.look_like(target, os.stat(source), user=user)


def overlay(lower: str, private: str, target: str, user: bool, doors: Sequence[str], *more: Extra) -> None:
    """Stack a private, writable layer on a host directory.

    The root of an overlay has the upper directory's owner and mode, so the upper one mirrors the lower one. What a mount forbids
    (``flags``) an overlay over it would not. ``hosts``: this directory is, or is above, that of /etc/hosts.
    """
    flags, hosts = more
    upper, work = private + ".upper", private + ".work"
    mirror(lower, upper, user)
    for door in doors:
        mirror(f"{lower}/{door}", f"{upper}/{door}", user)
    if hosts is not None:
        _prepare_hosts(lower, upper, user, doors, hosts)
    os.mkdir(work)
    options = f"lowerdir={_escaped(lower)},upperdir={_escaped(upper)},workdir={_escaped(work)},"
    syscalls.mount("overlay", target, "overlay", Mount.NODEV | flags, options + ("userxattr" if user else "redirect_dir=on"))


def _prepare_hosts(lower: str, upper: str, user: bool, doors: Sequence[str], hosts: Sequence[Any]) -> None:
    """Put an /etc/hosts with our own name into an upper layer, as if it had been copied up there."""
    place, *known = hosts
    *way, name = os.path.relpath(place, lower).split("/")
    for end in range(1, len(way) + 1):
        if (part := "/".join(way[:end])) not in doors:
            mirror(f"{lower}/{part}", f"{upper}/{part}", user)
    target = "/".join([upper, *way, name])
    _write_hosts(place, target, *known)
    try:
        copies.look_like(target, os.stat(place), user=user)
    except FileNotFoundError:  # a machine without one
        os.chmod(target, 0o644)


def _write_hosts(source: str, target: str, hostname: str, addresses: Sequence[str], text: str | None) -> None:
    if text is None:  # too long to be told
        text = names.with_own(names.read(source), hostname, tuple(addresses))
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    os.write(fd, text.encode("utf-8", "surrogateescape"))
    os.close(fd)


def own_name(path: str, hostname: str, addresses: Sequence[str], text: str | None) -> None:
    """The same in a copy of that file."""
    look = os.stat(path)
    _write_hosts(path, path, hostname, addresses, text)
    os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns))


_MOST_LEFT_OUT = 50
_NO_OVERLAY = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ESTALE, errno.EREMOTE})


def overlay_or_read_only(lower: str, private: str, target: str, user: bool, doors: Sequence[str], *more: Extra) -> None:
    """An overlay; on a file system that cannot be a lower layer (vfat, some network ones), a read-only view of it."""
    try:
        overlay(lower, private, target, user, doors, *more)
    except OSError as error:
        if error.errno not in _NO_OVERLAY:
            raise
        bind(lower, target, read_only=True)


def overlay_or_private_copy(lower: str, private: str, target: str, user: bool, doors: Sequence[str], *more: Extra) -> None:
    """An overlay; where overlays are stacked too deep for one more, copies of what is not too large."""
    try:
        overlay(lower, private, target, user, doors, *more)
    except OSError as error:
        if error.errno not in _NO_OVERLAY:
            raise
        os.rename(private + ".upper", private + ".unused")
        private_copy(lower, private, target, user, doors, *more)


def private_copy(lower: str, private: str, target: str, user: bool, doors: Sequence[str], *more: Extra) -> None:
    """Copies of what is in a directory and not too large: old C libraries take no overlay for shared memory."""
    del doors
    flags, upper = more[0], private + ".upper"
    if left_out := copies.tree(lower, upper, copies.Budget(), user=user):
        with open(f"{private}.left_out", "xb", buffering=0) as file:  # for pytest to say, which sees the private file system
            file.write(os.fsencode("\0".join(left_out[:_MOST_LEFT_OUT])))
    bind(upper, target, read_only=False)
    if flags:
        syscalls.mount("", target, "", Mount.REMOUNT | Mount.BIND | Mount.NOSUID | Mount.NODEV | flags)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def limit_disk(path: str, size: int, files: int) -> None:
    """Limit the private file system to what is in it by now and ``size`` more."""
    look = os.statvfs(path)
    size += (look.f_blocks - look.f_bfree) * look.f_frsize
    files += look.f_files - look.f_ffree
    syscalls.mount("", path, "", Mount.REMOUNT | Mount.NOSUID | Mount.NODEV, f"size={size},nr_inodes={files}")


def write(path: str, text: str) -> None:
    """Write to a file of /proc."""
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode("ascii"))


def count_from(path: str, number: int) -> None:
    """Have the next process of this pid namespace take the number behind one. A kernel without CHECKPOINT_RESTORE counts on."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, str(number).encode("ascii"))
    finally:
        os.close(fd)


def hostname(name: str) -> None:
    """sethostname(2)."""
    _socket.sethostname(name)


def loopback(messages: list[str]) -> None:
    """Send prepared rtnetlink requests (hexadecimal) and read the kernel's answer to each."""
    rtnetlink = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
    try:
        for message in messages:
            rtnetlink.send(bytes.fromhex(message))
            answer = rtnetlink.recv(8192)
            kind = int.from_bytes(answer[4:6], sys.byteorder)
            code = int.from_bytes(answer[16:20], sys.byteorder, signed=True)
            if kind == _NLMSG_ERROR and code:
                raise OSError(-code, os.strerror(-code))
    finally:
        rtnetlink.close()


def pivot(new_root: str) -> None:
    """Make ``new_root`` the root of this mount namespace and let go of the old one: pivot_root(2), its last example."""
    os.chdir(new_root)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".")
    os.chdir("/")


_ALL = (
    mount,
    bind,
    bind_without_links,
    device,
    read_only,
    protect,
    mask,
    mkdir,
    symlink,
    touch,
    copy,
    mirror,
    overlay,
    overlay_or_read_only,
    overlay_or_private_copy,
    private_copy,
    own_name,
    limit_disk,
    write,
    count_from,
)
PERFORMERS = {step.__name__: step for step in (*_ALL, hostname, loopback, pivot)}
_PATH_ARGUMENT = {
    "mount": 1, "device": 1, "overlay": 2, "overlay_or_read_only": 2, "overlay_or_private_copy": 2, "private_copy": 2, "symlink": 1,
    "copy": 1, "mirror": 1,
}  # fmt: skip


def perform(step: Sequence[Any]) -> None:
    """Perform one step. Raises ``StepFailedError``."""
    name, *arguments = step
    try:
        PERFORMERS[name](*arguments)
    except OSError as error:
        path = str(arguments[_PATH_ARGUMENT.get(name, 0)]) if name != "loopback" else "lo"
        shown = f"mount {arguments[2] or 'bind'} on" if name == "mount" else name.replace("_", " ")
        raise StepFailedError(shown, path, error.errno or errno.EIO) from error
