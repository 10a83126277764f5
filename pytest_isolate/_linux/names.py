"""How the host name of a sandbox resolves: its lines in ``/etc/hosts``.

Imported by the builder: cheap modules only.
"""

from __future__ import annotations

import os
import stat

HOSTS = "/etc/hosts"
RESOLVER = "/etc/resolv.conf"
_LARGEST = 16 << 20  # bytes; lists of advertisers have three
_LOCAL = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def own(hostname: str) -> list[str]:
    """Give the names of a host: all of it and, of one with a domain, the first label."""
    return list(dict.fromkeys((hostname, hostname.partition(".")[0])))


def fits(hostname: str) -> bool:
    """Whether a name can be in a line of the file."""
    return bool(hostname) and not set(hostname) & set(" \t\n\r\f\v#\0") and hostname[0] != "."


def with_own(text: str, hostname: str, addresses: tuple[str, ...]) -> str:
    """``text``, of an ``/etc/hosts``, in which a host's own names mean ``addresses`` and nothing
    else.

    Of the addresses one with a tab and a name behind it is that name's.

    Ours come last: a look-up by address finds its first line, and 127.0.0.1 is "localhost" on every
    machine.
    """
    names = own(hostname)
    lines = (text or _LOCAL).splitlines()
    kept = [
        line if not set(names) & set(line.partition("#")[0].split()[1:]) else _without(line, names)
        for line in lines
    ]
    ours = [
        address if "\t" in address else f"{address}\t{' '.join(names)}" for address in addresses
    ]
    return "\n".join([line for line in kept if line is not None] + ours) + "\n"


def _without(line: str, names: list[str]) -> str | None:
    """Give a line without some of its names; None if no other is left."""
    address, *others = line.partition("#")[0].split()
    left = [name for name in others if name not in names]
    return "\t".join([address, " ".join(left)]) if left else None


def read(path: str) -> str:
    """Give the text of an ``/etc/hosts``; empty where there is none, or none that anybody should
    read whole.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return ""
    look = os.fstat(fd)
    if not stat.S_ISREG(look.st_mode) or look.st_size > _LARGEST:
        os.close(fd)
        return ""
    with open(fd, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def seen() -> tuple[int, ...]:
    """Tell what changes when the machine's ``/etc/hosts`` does: a sandbox built before has the old
    one.
    """
    try:
        look = os.stat(HOSTS)
    except OSError:
        return ()
    return (look.st_dev, look.st_ino, look.st_size, look.st_mtime_ns)
