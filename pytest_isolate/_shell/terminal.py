"""A person's terminal, and the one that a shell has in a sandbox: what is typed here goes there.

The process of this module is started by pytest or by ``pytest-isolate enter``, on the person's
terminal. It has that open and is never in a sandbox; what comes out of there is bytes to be shown.
The terminal is as it was when this process ends, however the shell does and whatever becomes of
pytest; that it is so when this process itself is killed, who started it sees to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Iterator

from pytest_isolate._config.values import plain
from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import tree
from pytest_isolate._shell import inside
from pytest_isolate._shell.door import Door

CANNOT_ENTER = 125  # exit status, as env(1) and docker(1) have it for what is their own failure
_CHUNK = 1 << 16  # bytes
_ENTERING_LONGEST = 10.0  # seconds until the sandbox has given a terminal
_DYING_LONGEST = 1.0  # seconds that one look waits for those that it has killed
_LOOK_AGAIN = 100  # milliseconds, at a terminal that nobody has open
_LAST_WORDS = 16  # chunks of what a shell has said that are shown behind its end
_LEAVE, _TIMES, _WITHIN = b"\x1d", 3, 1.0  # Ctrl-], how often, in how many seconds
_TIOCGPTN = 0x80045430  # the number of a terminal: who answers is a master
_KILLED = 128 + signal.SIGKILL
# What a program that was killed may have left the terminal in: soft reset, the alternate screen,
# bracketed paste, reports of the mouse; DECSTR alone leaves the last three.
_RESET = b"\x1b[?1049l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[!p"


class _LeftError(Exception):
    """The shell is over for the person: by what, as an exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def main() -> None:
    """Entry point of the process: descriptor of the packed door, pid of whoever waits for us."""
    number, parent = map(int, sys.argv[1:])
    with open(number, "rb", closefd=True) as file:
        file.seek(0)
        door = Door.unpack(file.read())
    try:
        sys.exit(attend(door, _writable(0), parent))
    except StepFailedError as error:
        sys.stderr.write(f"\r\nisolate: no shell in the sandbox of {plain(door.test)}: {error}\n")
        sys.exit(CANNOT_ENTER)


def attend(door: Door, terminal: int, parent: int) -> int:
    """Let the person in, and wait until it is over. Returns the shell's exit status; raises
    ``StepFailedError`` where there was none.
    """
    pidfd = door.open()
    with Step("open a pidfd of", "whoever waits for the shell"):
        waiting = os.pidfd_open(parent)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    between = os.fork()
    if between == 0:
        inside.go_between(door, pidfd, theirs)
    theirs.close()
    os.close(pidfd)
    status = _KILLED
    try:
        master = _receive_master(ours)
        if not door.command:
            _write(terminal, f"\r\n{_sentence(door)}\r\n".encode("utf-8", "replace"))
        with _raw(terminal):
            status = Relay(terminal, master, ours, waiting).run()
            if status >= _KILLED:
                _write(terminal, _RESET)
        if status == _KILLED and not door.goes_on:
            _write(terminal, b"\r\nisolate: the sandbox is gone: its test is over\r\n")
    finally:
        end_all(between)
    if door.goes_on:
        _write(terminal, b"isolate: the shell has ended, the run goes on\r\n")
    return status


def _sentence(door: Door) -> str:
    then = ", and the run goes on" if door.goes_on else ""
    return (
        f"isolate: a shell in the sandbox of {plain(door.test)}, {plain(door.why)}: leave it by"
        f" exit or Ctrl-D, or by Ctrl-] pressed three times{then}"
    )


def _writable(fd: int) -> int:
    """Give a terminal's descriptor by which one can write to it too."""
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:
        return fd
    with Step("open", "/dev/tty"):
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)


def _receive_master(channel: socket.socket) -> int:
    """Wait for the master of the sandbox's terminal. Raises ``StepFailedError``."""
    channel.settimeout(_ENTERING_LONGEST)
    with Step("wait for", "a terminal in the sandbox"):
        said, descriptors, _, _ = socket.recv_fds(channel, _CHUNK, 1)
        if not descriptors:
            why = said.removeprefix(inside.BROKEN).decode("utf-8", "replace") or "it is gone"
            raise OSError(errno.EPIPE, why)
        (master,) = descriptors
        # It comes from where the test may have put anything in its place
        fcntl.ioctl(master, _TIOCGPTN, bytes(4))
        os.set_blocking(master, False)
    return master


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Have every key go to the shell's terminal, which knows what Ctrl-C and Ctrl-Z are there."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal, termios.TCSADRAIN)  # what was typed ahead stays
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


class Relay:
    """What is typed on one terminal goes to the master of another, what comes from there is shown.

    It never waits for whoever is in the sandbox: what is not read there waits here, and then at the
    person's terminal.
    """

    def __init__(self, terminal: int, master: int, channel: socket.socket, waiting: int) -> None:
        self._terminal, self._master = terminal, master
        self._channel, self._waiting = channel, waiting
        self._typed = b""  # and not taken
        self._leaving: list[float] = []  # when Ctrl-] was pressed
        self._is_hung_up = False  # nobody has the other end open: poll(2) would say so for ever
        self._told = 0  # a signal that ends us

    def run(self) -> int:
        """Relay until the shell is over. Returns its exit status, as a shell gives it."""
        wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGWINCH, lambda *_: self._pass_on_size())
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._tell)
        self._pass_on_size()
        try:
            while True:
                self._look(wake)
        except _LeftError as left:
            return left.status

    def _tell(self, number: int, _: object) -> None:
        self._told = number

    def _pass_on_size(self) -> None:
        with contextlib.suppress(OSError):  # a terminal of none
            size = fcntl.ioctl(self._terminal, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _look(self, wake: int) -> None:
        poll = select.poll()
        if len(self._typed) < _CHUNK:
            poll.register(self._terminal, select.POLLIN)
        if not self._is_hung_up:
            poll.register(self._master, select.POLLIN | (select.POLLOUT if self._typed else 0))
        for fd in (self._channel.fileno(), self._waiting, wake):
            poll.register(fd, select.POLLIN)
        ready = dict(poll.poll(_LOOK_AGAIN if self._is_hung_up else None))
        self._is_hung_up = False
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, _CHUNK)
        if self._told or self._waiting in ready:
            raise _LeftError(128 + (self._told or signal.SIGHUP))
        if self._terminal in ready:
            self._take()
        if ready.get(self._master, 0) & select.POLLOUT:
            with contextlib.suppress(BlockingIOError):
                self._typed = self._typed[os.write(self._master, self._typed) :]
        if self._channel.fileno() in ready:
            self._end()
        if ready.get(self._master, 0) & ~select.POLLOUT:
            self._show()

    def _take(self) -> None:
        try:
            data = os.read(self._terminal, _CHUNK)
        except OSError:  # it was hung up
            data = b""
        now = time.monotonic()
        self._leaving = [at for at in self._leaving if now - at < _WITHIN]
        self._leaving += [now] * data.count(_LEAVE)
        if not data or len(self._leaving) >= _TIMES:
            raise _LeftError(128 + signal.SIGHUP)
        self._typed += data

    def _show(self) -> bool:
        """Show what has come. Whether there was anything."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # nobody has its other end open, for now or for good
            self._is_hung_up = True
            return False
        _write(self._terminal, data)
        return bool(data)

    def _end(self) -> None:
        said = self._channel.recv(_CHUNK)
        for _ in range(_LAST_WORDS):  # what it left behind may talk for ever
            if not self._show():
                break
        code = None
        if said.startswith(inside.ENDED):
            # Else a test that is root in there has had its hands on who says it
            with contextlib.suppress(ValueError, OverflowError):
                code = os.waitstatus_to_exitcode(int(said.removeprefix(inside.ENDED)))
        raise _LeftError(_KILLED if code is None else code if code >= 0 else 128 - code)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def end_all(between: int) -> None:
    """Kill all that came in with the shell, and wait for it; who adopts and reaps them last."""
    until = time.monotonic() + _ENTERING_LONGEST
    while (below := tree.descendants(between)) and time.monotonic() < until:
        keeper, *others = below
        _kill(others or [keeper], {between, *below})
        if not others:
            break
    _kill([between], {os.getpid()})
    os.waitpid(between, 0)


def _kill(pids: list[int], ours: set[int]) -> None:
    poll, killed = select.poll(), []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended, or is a program with more rights
            killed.append(tree.kill(pid, ours))
            poll.register(killed[-1], select.POLLIN)
    until = time.monotonic() + _DYING_LONGEST
    while killed and (left := until - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            killed.remove(fd)
            os.close(fd)
    for fd in killed:
        os.close(fd)
