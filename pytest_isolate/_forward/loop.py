"""Who in the relay waits for which descriptor."""

from __future__ import annotations

import fcntl
import os
import select
import time

TYPE_CHECKING = False  # importing typing for it would make the relay larger
if TYPE_CHECKING:
    from collections.abc import Callable

    Pipe = tuple[int, int]

IN, OUT = select.EPOLLIN, select.EPOLLOUT
# Bytes that one splice(2) carries at most; with 64 KiB half as many go through in a second
PIPE = 1 << 20
_MOST_PIPES = 16  # that are kept for whoever comes next


class Loop:
    """epoll(7), with a function for each descriptor, and a few that are called after a time."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._events: dict[int, int] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._pipes: list[Pipe] = []

    def want(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Have ``handler`` called with what has come of ``events``.

        Without any it is not called at all.
        """
        before = self._events.get(fd, 0)
        self._handlers[fd] = handler
        if events == before:
            return
        if not events:
            self._epoll.unregister(fd)  # else it would hear of a hang-up again and again
        elif before:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._events[fd] = events

    def forget(self, fd: int) -> None:
        """Before it is closed."""
        if self._events.pop(fd, 0):
            self._epoll.unregister(fd)
        self._handlers.pop(fd, None)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something once, later."""
        self._later.append((time.monotonic() + seconds, call))

    def turn(self) -> None:
        """Wait for something to come, and see to it."""
        timeout = (
            None
            if not self._later
            else max(0.0, min(at for at, _ in self._later) - time.monotonic())
        )
        for fd, events in self._epoll.poll(timeout):
            # Else another one's handler closed it
            if (handler := self._handlers.get(fd)) is not None:
                handler(events)
        now = time.monotonic()
        due = [call for at, call in self._later if at <= now]
        self._later = [each for each in self._later if each[0] > now]
        for call in due:
            call()

    def take_pipe(self) -> Pipe:
        """Make an empty one. Raises ``OSError``."""
        if self._pipes:
            return self._pipes.pop()
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE)
        except OSError:
            # A user may have so much memory in pipes and no more: what it has by itself is enough
            return ends
        return ends

    def give_back(self, pipe: Pipe, *, is_empty: bool) -> None:
        """Let go of what is not needed any more."""
        if is_empty and len(self._pipes) < _MOST_PIPES:
            self._pipes.append(pipe)
        else:
            for fd in pipe:
                os.close(fd)
