"""What tests write to pytest's own output, passed on by pytest: in a test the end of a pipe stands
in its place.

A copy of the descriptor itself would be the same open file for both: whoever sets O_NONBLOCK or
O_DIRECT on it, moves its offset, takes a lease, stops the terminal's output or shuts the socket
down does so to pytest, which would wait for ever or end the run by its next word. Of a pipe each
end is its own, and pytest never waits for the other one.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
from collections.abc import Iterable

_READ = 1 << 16
# At each look: a test that writes as fast as we read must not keep us from its deadline
_MOST_READS = 16
_ACCESS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_NULL = os.makedev(1, 3)

Identity = str  # of an open file, whatever its numbers


class Relay:
    """Pytest's side of one: owns the reading end, not the ``target`` that it writes to."""

    def __init__(self, fd: int, target: int) -> None:
        self.fd, self._target = fd, target
        self.at_end = False  # nobody can write any more
        self.failed: OSError | None = None  # of pytest's own output
        os.set_blocking(fd, False)

    def pass_on(self) -> None:
        """Write what there is.

        The output's own failure is kept, and what comes behind it read and dropped, for the test to
        go on.
        """
        for _ in range(_MOST_READS):
            if self.at_end or self.fd < 0:
                return
            try:
                data = os.read(self.fd, _READ)
            except BlockingIOError:
                return
            self.at_end = not data
            if self.failed is None:
                try:
                    _write(self._target, data)
                except OSError as error:
                    self.failed = error

    def close(self) -> None:
        """Let go of it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # whoever started pytest set O_NONBLOCK
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def outputs(numbers: Iterable[int], *, but_terminals: bool) -> dict[Identity, int]:
    """Those of the descriptors that something can be written to, one for each open file: the
    highest, which is no standard stream.

    Not /dev/null, which can be opened anew; ``but_terminals``: nor a person's terminal.
    """
    found = {}
    for number in sorted(numbers):
        identity = identity_of(number)
        if identity is not None and not (but_terminals and os.isatty(number)):
            found[identity] = number
    return found


def identity_of(number: int) -> Identity | None:
    """Which file it is; None for one that cannot be written to, and for /dev/null."""
    try:
        look, flags = os.fstat(number), fcntl.fcntl(number, fcntl.F_GETFL)
    except OSError:  # closed, as pytest >&- has it
        return None
    if flags & _ACCESS == os.O_RDONLY or flags & os.O_PATH or _is_null(look):
        return None
    return f"{look.st_dev}:{look.st_ino}:{look.st_rdev}"


def is_null(number: int) -> bool:
    """Whether a descriptor is of /dev/null."""
    try:
        return _is_null(os.fstat(number))
    except OSError:  # closed
        return False


def is_file(number: int) -> bool:
    """Whether a descriptor is of a regular file."""
    try:
        return stat.S_ISREG(os.fstat(number).st_mode)
    except OSError:  # closed
        return False


def _is_null(look: os.stat_result) -> bool:
    return stat.S_ISCHR(look.st_mode) and look.st_rdev == _NULL
