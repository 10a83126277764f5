"""One socket that waits for somebody to come."""

from __future__ import annotations

from typing import NamedTuple


class Listening(NamedTuple):
    """As the kernel lists it."""

    kind: str  # "tcp", "udp", "unix"
    address: str  # of a Unix socket its path, or NUL and its abstract name
    port: int
    only_v6: bool
    type: int  # as of socket(2)
    inode: int
