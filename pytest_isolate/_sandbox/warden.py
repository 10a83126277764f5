"""Where there is no PID 1: a fork of pytest above a test, to which the kernel gives whom the test
leaves behind, and who ends them.

It forks the test, tells pytest of it and of its end, says who is left, and kills whoever is. No
test's code runs in it. When pytest says so, or is gone, it kills everybody below itself and leaves.
Its own end, by whatever death, is the test's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import privileges, tree
from pytest_isolate._sandbox import wire
from pytest_isolate._sandbox.entry import Entry, close_all_but
from pytest_isolate._sandbox.left_over import Question
from pytest_isolate._sandbox.requests import Ended, Failed, Forked, KillAll, Message, receive

# Seconds; who is still there then is not ours to kill, as a program with more rights is not
_KILLING_LONGEST = 5.0
_LOOK_AGAIN = 10  # milliseconds, while they die
_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


def fork(entry: Entry, channel: wire.Channel, pytest: int) -> None:
    """In a new fork of pytest: fork the test, which comes back from here.

    This process stays above it and never does.

    ``pytest`` is a pidfd of it.
    """
    try:
        with Step("setsid in", "the process above the test's"):
            if not entry.keeps_terminal:
                os.setsid()
        with Step("prctl(PR_SET_CHILD_SUBREAPER) in", "the process above the test's"):
            privileges.adopt_orphans()
        with Step("fork", "pytest"):
            pid = os.fork()
        if pid == 0:
            with Step("prctl(PR_SET_PDEATHSIG) in", "the test's process"):
                privileges.die_with_parent_thread(signal.SIGKILL)
            return
    except StepFailedError as error:
        with contextlib.suppress(OSError):  # pytest is not there any more to be told
            Failed.of(error).send(channel)
        os._exit(1)
    try:
        Warden(channel, pytest, pid).watch()
    finally:
        os._exit(0)


class Warden:
    """That process, from its fork of the test to its end."""

    def __init__(self, channel: wire.Channel, pytest: int, test: int) -> None:
        self._channel, self._pytest, self._test = channel, pytest, test
        self._pid = os.getpid()
        self._question: Question | None = None
        self._has_children = True

    def watch(self) -> None:
        """Answer pytest until it wants no more, then end everybody."""
        for number in _DEAF_TO:
            signal.signal(number, signal.SIG_IGN)
        self._wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        test = os.pidfd_open(self._test)
        self._say(Forked(self._test), (test,))
        close_all_but({self._channel.fileno(), self._pytest, self._wake, woken, self._proc})
        self._reap()  # who ended before there was anybody to be woken
        while self._look():
            pass
        self._end_all()

    def _say(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        # pytest is gone, or wants no more of it: the next look sees that
        with contextlib.suppress(OSError):
            message.send(self._channel, descriptors)

    def _look(self) -> bool:
        ready = self._wait(self._answer())
        if self._wake in ready:
            self._reap()
        if self._channel.fileno() in ready:
            try:
                received = receive(self._channel)
            except ConnectionError:
                received = None
            if received is None or isinstance(received[0], KillAll):
                return False
            self._question = Question(self._proc, lambda: map(str, tree.descendants(self._pid)))
        return self._pytest not in ready

    def _wait(self, milliseconds: float | None) -> set[int]:
        poll = select.poll()
        for fd in (self._channel.fileno(), self._pytest, self._wake):
            poll.register(fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(milliseconds)}

    def _answer(self) -> float | None:
        """Look for who is left, if pytest wants to know. In how many milliseconds to look again."""
        if self._question is None:
            return None
        found, soon = self._question.look()
        if found is None:
            return soon * 1000
        self._question = None
        self._say(found)
        return None

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._test:
                    self._say(Ended(ended[1]))
        except ChildProcessError:
            self._has_children = False

    def _end_all(self) -> None:
        """Kill until nobody is left: whoever loses its parent is a child of ours."""
        until = time.monotonic() + _KILLING_LONGEST
        self._reap()
        while self._has_children and time.monotonic() < until:
            below = tree.descendants(self._pid)
            for pid in below:
                # It ended meanwhile, or is a program with more rights than we have
                with contextlib.suppress(OSError):
                    os.close(tree.kill(pid, {self._pid, *below}))
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            poll.poll(_LOOK_AGAIN)
            self._reap()
