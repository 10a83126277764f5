"""What the kernel denied a test: seen while it runs, for only the child can tell in which phase it
was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

from pytest_isolate._linux.proc_net import NetworkCounters

# Bound before a test can replace them.
_close, _dup, _pread, _fstatvfs = os.close, os.dup, os.pread, os.fstatvfs
_DENIED = {errno.ENOSPC: "ENOSPC", errno.EDQUOT: "ENOSPC", errno.EMFILE: "EMFILE"}
_MONITORING_TOOL = 4  # sys.monitoring's numbers 0 to 2 and 5 have names, 4 is free

#: What the control groups count as denied: a kind of violation -> an open file of the group and the
#: word before its count. Opened before the groups went out of sight. Only used to say in which
#: phase it was.
Events = dict[str, tuple[int, str]]


class Denials:
    """The kinds of what was denied so far."""

    def __init__(self, private: int, events: Events, probe: int) -> None:
        self.seen: set[str] = set()
        self._private = private  # any descriptor on the private file system
        self._events = events
        self._probe = probe  # any descriptor, to see whether there may be one more
        self._network = NetworkCounters()  # where an attempt is a violation
        self._network_before = 0

    def count_attempts(self) -> None:
        """Have every attempt at a network that is denied counted."""
        self._network = NetworkCounters.open("/proc")

    def begin_anew(self) -> None:
        """Forget what an earlier test was denied."""
        self.seen.clear()
        self._network_before = self._network.unroutable() or 0

    @contextlib.contextmanager
    def not_counting(self) -> Iterator[None]:
        """Leave out what a person tries on the test's network meanwhile."""
        before = self._network.unroutable() or 0
        yield
        self._network_before += (self._network.unroutable() or 0) - before

    def look(self) -> None:
        """See what the kernel counts."""
        look = _fstatvfs(self._private)
        if look.f_bfree == 0 or look.f_ffree == 0:
            self.seen.add("ENOSPC")
        if (self._network.unroutable() or 0) > self._network_before:
            self.seen.add("network")
        for kind, (fd, key) in self._events.items():
            words = _pread(fd, 256, 0).decode("ascii").split()
            if int(words[words.index(key) + 1]):
                self.seen.add(kind)

    def see(self, error: BaseException | None, visited: set[int] | None = None) -> None:
        """See what an exception, and what is behind it, says."""
        visited = set() if visited is None else visited
        while error is not None and id(error) not in visited:
            visited.add(id(error))
            if isinstance(error, OSError) and error.errno in _DENIED:
                self.seen.add(_DENIED[error.errno])
            for each in getattr(error, "exceptions", ()):
                self.see(each, visited)
            self.see(error.__context__, visited)
            error = error.__cause__

    def watch(self) -> None:
        """Watch what is raised: a denial that the test catches is a violation too, and the kernel
        has no counter for these two.
        """
        sys.addaudithook(self._before_open)
        if sys.version_info >= (3, 12):
            monitoring = sys.monitoring
            if monitoring.get_tool(_MONITORING_TOOL) is None:
                monitoring.use_tool_id(_MONITORING_TOOL, "pytest-isolate")
                monitoring.register_callback(
                    _MONITORING_TOOL, monitoring.events.RAISE, self._raised
                )
                monitoring.set_events(_MONITORING_TOOL, monitoring.events.RAISE)

    def _raised(self, code: object, offset: int, error: BaseException) -> None:
        del code, offset
        if isinstance(error, OSError) and error.errno in _DENIED:
            self.seen.add(_DENIED[error.errno])

    def _before_open(self, event: str, arguments: tuple[object, ...]) -> None:
        del arguments
        if event in {"open", "socket.__new__"}:
            try:
                _close(_dup(self._probe))
            except OSError as error:
                if error.errno == errno.EMFILE:
                    self.seen.add("EMFILE")


def is_refused(error: BaseException | None) -> bool:
    """Whether a refused connection is behind an exception, through whatever libraries."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ConnectionRefusedError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
