"""A process beside a test that writes what passes its hosts' interfaces to a file, packet by
packet, whatever the test comes to.

The sockets are open and hear before it starts: nothing of the test's is lost by that. It leaves
when the test's process has.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator

from pytest_isolate._network import pcapng

_TIMESTAMP = 35  # SO_TIMESTAMPNS, and the kind of its message
_ROOM = socket.CMSG_SPACE(16)


class _Capture:
    def __init__(self, file: int, sockets: list[int]) -> None:
        self._file = file
        self._sockets = {
            fd: (number, socket.socket(fileno=fd)) for number, fd in enumerate(sockets)
        }

    def drain(self, ready: Iterable[int]) -> None:
        """Write what these interfaces have for us, in the order of time."""
        found = [each for fd in ready for each in self._heard(fd)]
        for at, number, data in sorted(found):
            os.write(self._file, pcapng.packet(number, at, data, len(data)))

    def _heard(self, fd: int) -> Iterator[tuple[int, int, bytes]]:
        number, source = self._sockets[fd]
        while True:
            try:
                data, ancillary, _, _ = source.recvmsg(
                    pcapng.LARGEST, _ROOM, socket.MSG_DONTWAIT | socket.MSG_TRUNC
                )
            except BlockingIOError:
                return
            except OSError:  # ENETDOWN: it was set down, which is said once
                continue
            at = time.time_ns()
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _TIMESTAMP:
                    seconds, rest = struct.unpack("=qq", value[:16])
                    at = seconds * 10**9 + rest
            yield at, number, data

    def serve(self, control: socket.socket) -> None:
        """Until the test's process is gone.

        A word of it is answered when all is written that came before it.
        """
        poll = select.poll()
        for fd in (*self._sockets, control.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            self.drain(self._sockets if control.fileno() in ready else ready)
            if control.fileno() in ready:
                if not (word := control.recv(1)):
                    return
                control.send(word)


def main() -> None:
    """Be told what to do by the first line of standard input's socket; the process that was started
    ends, and its child goes on.
    """
    control = socket.socket(fileno=os.dup(0))
    asked = json.loads(control.recv(1 << 16))
    if os.fork():
        os._exit(0)
    os.setsid()
    file = os.open(asked["path"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.write(file, pcapng.head(asked["interfaces"]))
    for fd in (0, 1, 2):
        os.close(fd)
    control.send(b"r")
    _Capture(file, asked["sockets"]).serve(control)
    sys.exit(0)
