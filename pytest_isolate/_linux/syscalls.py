"""The system calls Python has no wrapper for: flags in the kernel's names, ``errno`` turned into
``OSError``.

Imported by the builder too, which is to start fast: only cheap
modules of the standard library here.
"""

from __future__ import annotations

import errno
import os

from pytest_isolate._linux._libc import ffi

TYPE_CHECKING = False  # importing typing for it would make the builder larger

libc = ffi.dlopen(None)


class Clone:
    """``CLONE_*`` of ``<linux/sched.h>``: which namespaces to make or to join.

    Plain numbers: an ``IntFlag`` cost each fork 0.1 ms.
    """

    NEWNS = 0x00020000
    NEWUTS = 0x04000000
    NEWIPC = 0x08000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000


class Mount:
    """``MS_*`` of ``<linux/mount.h>``."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    REMOUNT = 32
    NOSYMFOLLOW = 256
    BIND = 4096
    REC = 16384
    SLAVE = 1 << 19
    PRIVATE = 1 << 18


MNT_DETACH = 2
_PROT_READ, _PROT_WRITE = 1, 2
_MAP_SHARED = 0x01
_MAP_FIXED = 0x10
_MADV_COLLAPSE = 25
_MOUNT_ATTR_RDONLY = 1
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_SYS_MOUNT_SETATTR = 442  # one number on every architecture, as all calls since 424
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_OPENAT2 = 437
_OPEN_TREE_CLONE = 1
_AT_EMPTY_PATH = 0x1000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 1, 2, 4, 8
_ENV_START = 47  # among the fields of proc(5)'s stat behind the command


def check(result: int, path: str | None = None) -> int:
    if result < 0:
        code: int = ffi.errno
        raise OSError(code, os.strerror(code), path)
    return result


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises ``OSError`` with ``target`` as its file name."""
    encoded = [os.fsencode(text) or ffi.NULL for text in (source, target, fstype)]
    check(libc.mount(*encoded, flags, os.fsencode(data) or ffi.NULL), target)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    check(libc.umount2(os.fsencode(target), flags), target)


def make_read_only(target: str) -> None:
    """Turn ``target`` and every mount below it read-only: mount_setattr(2), Linux 5.12."""
    attr = ffi.new("struct mount_attr *", {"attr_set": _MOUNT_ATTR_RDONLY})
    arguments = (
        ffi.cast("int", _AT_FDCWD),
        ffi.new("char[]", os.fsencode(target)),
        ffi.cast("int", _AT_RECURSIVE),
        attr,
        ffi.cast("size_t", ffi.sizeof("struct mount_attr")),
    )
    check(libc.syscall(_SYS_MOUNT_SETATTR, *arguments), target)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """openat2(2), which leaves ``directory`` by no symbolic link, no ``..`` and no mount: ELOOP,
    EXDEV.
    """
    resolve = _RESOLVE_NO_XDEV | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
    how = ffi.new("struct open_how *", {"flags": flags, "resolve": resolve})
    name, size = (
        ffi.new("char[]", os.fsencode(path)),
        ffi.cast("size_t", ffi.sizeof("struct open_how")),
    )
    try:
        return check(libc.syscall(_SYS_OPENAT2, ffi.cast("int", directory), name, how, size), path)
    except OSError as error:
        # A filter that does not know the call says either
        if error.errno not in {errno.ENOSYS, errno.EPERM}:
            raise
        return open_name_by_name(directory, path, flags)


def open_name_by_name(directory: int, path: str, flags: int) -> int:
    """Open it on a kernel or behind a filter without openat2: a name after the other, each looked
    at before the next.
    """
    names = path.split("/")
    if os.pardir in names or path.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    mount, fd = _mount_of(directory), os.dup(directory)
    try:
        for name in names[:-1]:
            fd, above = (
                os.open(
                    name or ".",
                    os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                    dir_fd=fd,
                ),
                fd,
            )
            os.close(above)
        found = os.open(names[-1] or ".", flags | os.O_NOFOLLOW, dir_fd=fd)
    finally:
        os.close(fd)
    # Whoever left the mount on the way cannot have come back without ``..``
    if _mount_of(found) != mount:
        os.close(found)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    return found


def _mount_of(fd: int) -> bytes:
    with open(f"/proc/self/fdinfo/{fd}", "rb", buffering=0) as file:
        return file.readall().partition(b"mnt_id:")[2].split()[0]


def bind_without_links(source: str, target: str) -> None:
    """Bind ``source`` and all below it on ``target``; ELOOP if any part of ``source`` is a symbolic
    link by now.
    """
    how = ffi.new(
        "struct open_how *", {"flags": os.O_PATH | os.O_CLOEXEC, "resolve": _RESOLVE_NO_SYMLINKS}
    )
    here, empty, path = (
        ffi.cast("int", _AT_FDCWD),
        ffi.new("char[]", b""),
        ffi.new("char[]", os.fsencode(source)),
    )
    fd = check(
        libc.syscall(
            _SYS_OPENAT2, here, path, how, ffi.cast("size_t", ffi.sizeof("struct open_how"))
        ),
        source,
    )
    tree = -1
    try:
        flags = ffi.cast(
            "unsigned int", _OPEN_TREE_CLONE | _AT_EMPTY_PATH | _AT_RECURSIVE | os.O_CLOEXEC
        )
        tree = check(libc.syscall(_SYS_OPEN_TREE, ffi.cast("int", fd), empty, flags), source)
        flags = ffi.cast("unsigned int", _MOVE_MOUNT_F_EMPTY_PATH)
        check(
            libc.syscall(
                _SYS_MOVE_MOUNT,
                ffi.cast("int", tree),
                empty,
                here,
                ffi.new("char[]", os.fsencode(target)),
                flags,
            ),
            target,
        )
    finally:
        for each in {fd, tree} - {-1}:
            os.close(each)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    check(libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), new_root)


def map_shared(fd: int, length: int) -> memoryview:
    """Shared memory of a file, for as long as this process: mmap(2).

    Python's own keeps another descriptor of the file.
    """
    result = libc.mmap(ffi.NULL, length, _PROT_READ | _PROT_WRITE, _MAP_SHARED, fd, 0)
    if result == ffi.cast("void *", -1):
        code: int = ffi.errno
        raise OSError(code, os.strerror(code))
    return memoryview(ffi.buffer(result, length))


def map_again(address: int, length: int, protection: int, fd: int, offset: int) -> None:
    """Put a shared mapping of a file in the place of another one: mmap(MAP_FIXED)."""
    result = libc.mmap(
        ffi.cast("void *", address), length, protection, _MAP_SHARED | _MAP_FIXED, fd, offset
    )
    if result != ffi.cast("void *", address):
        code: int = ffi.errno
        raise OSError(code, os.strerror(code))


def collapse(address: int, length: int) -> None:
    """Put huge pages in the place of small ones: madvise(MADV_COLLAPSE), Linux 6.1."""
    check(libc.madvise(ffi.cast("void *", address), length, _MADV_COLLAPSE))


def setns(fd: int, namespaces: int) -> None:
    """setns(2), with a pidfd Linux 5.8 joins several namespaces at once."""
    check(libc.setns(fd, namespaces))


def unshare(namespaces: int) -> None:
    """unshare(2): of a pid namespace the next child becomes its PID 1."""
    check(libc.unshare(namespaces))


def overwrite_first_environment(variables: list[bytes]) -> None:
    """Overwrite what this process was started with, which /proc/self/environ shows whatever became
    of it.

    As many of ``variables`` are there then as there is room for. No variable may be there any more:
    setenv(3) puts those that are set anew elsewhere. Raises ``OSError``.
    """
    with open("/proc/self/stat", "rb", buffering=0) as file:
        fields = file.readall().rpartition(b")")[2].split()
    begin, end = int(fields[_ENV_START]), int(fields[_ENV_START + 1])
    if 0 < begin < end:  # else the kernel does not say, as to a process that may not look at itself
        shown = b""
        for each in variables:
            shown += each + b"\0" if len(shown) + len(each) < end - begin else b""
        ffi.memmove(ffi.cast("void *", begin), shown.ljust(end - begin, b"\0"), end - begin)
