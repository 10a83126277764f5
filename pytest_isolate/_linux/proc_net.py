"""What network namespaces count. Imported by the builder: cheap modules only."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Iterable

_LARGEST = 1 << 14  # bytes of a file
_NO_ROUTE_6 = b"Ip6OutNoRoutes"


class NetworkCounters:
    """The counters of the network namespaces of one sandbox, none or several, from files opened in
    each: they tell after its end too.
    """

    def __init__(self, descriptors: Iterable[int] = ()) -> None:
        self.descriptors = tuple(descriptors)

    @classmethod
    def open(cls, proc: str) -> NetworkCounters:
        """Open those of one namespace, in the /proc of a process in it.

        A kernel without IPv6 has one file. Raises ``OSError``.
        """
        paths = [path for path in (f"{proc}/net/snmp", f"{proc}/net/snmp6") if os.path.exists(path)]
        return cls([os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths])

    def unroutable(self) -> int | None:
        """Count packets and connections that had no route out (``OutNoRoutes``); None where there
        is no namespace.
        """
        return sum(map(_unroutable, self._read())) if self.descriptors else None

    def refused(self) -> int:
        """Count TCP connections that were refused (``AttemptFails``)."""
        return sum(
            _of_table(data, b"Tcp: ", b"AttemptFails")
            for data in self._read()
            if data.startswith(b"Ip: ")
        )

    def _read(self) -> list[bytes]:
        return [os.pread(fd, _LARGEST, 0) for fd in self.descriptors]


def _unroutable(data: bytes) -> int:
    if data.startswith(b"Ip: "):
        return _of_table(data, b"Ip: ", b"OutNoRoutes")
    at = data.find(_NO_ROUTE_6)
    return int(data[at + len(_NO_ROUTE_6) :].split(None, 1)[0]) if at >= 0 else 0


def _of_table(data: bytes, begin: bytes, name: bytes) -> int:
    """One number of snmp, where each protocol has a line of names and a line of values."""
    names, values = [line for line in data.split(b"\n") if line.startswith(begin)][:2]
    return int(values.split()[names.split().index(name)])
