"""The way into a sandbox for a shell: three processes, one inside the other.

Theory of operation. Who has the person's terminal open never enters, and nobody who enters has ever
had it. It forks a *go-between*, which closes everything but a channel, joins the user namespace if
there is one, and has its children in the sandbox's pid namespace. The one child, the *keeper*, is
therefore seen in there with nothing of the person's open. It joins the other namespaces, makes a
terminal from the sandbox's own ``/dev/ptmx``, sends the master's end out, and forks the *shell*,
which takes on the test's rights and nothing else before its first instruction. The keeper adopts
whatever the shell leaves behind (PR_SET_CHILD_SUBREAPER), so all that came in with a shell is below
the go-between: it can be told from what is the test's, and ended.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import struct
import termios
from typing import NoReturn

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import privileges, syscalls
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import entry as entry_module
from pytest_isolate._shell.door import Door

#: What comes over the channel: a terminal's master beside the first, a wait status behind the
#: second, a sentence behind the third.
TERMINAL, ENDED, BROKEN = b"terminal ", b"ended ", b"broken "
_STANDARD = (0, 1, 2)
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441  # of asm-generic/ioctls.h; not in Python's termios
_NO_SHELL = 127  # as a shell says of a command that is not there
_FIRST_WALLS = Clone.NEWUSER | Clone.NEWPID


def go_between(door: Door, pidfd: int, channel: socket.socket) -> NoReturn:
    """In a fork of whoever has the terminal: let go of it, start the keeper, and wait for it."""
    try:
        with Step("let go of the terminal in", "the process outside of the sandbox"):
            os.setsid()
            _let_go({pidfd, channel.fileno()})
            spare = os.openpty()  # for a sandbox whose own is broken
        if door.owner is not None:
            with Step("become", f"user {door.owner[0]}, who started the run"):
                _become_owner(*door.owner)
        with Step("prctl(PR_SET_PDEATHSIG) in", "the process outside of the sandbox"):
            privileges.die_with_parent_thread(signal.SIGKILL)
        with Step("setns into", "the sandbox's namespaces"):
            syscalls.setns(pidfd, door.namespaces & _FIRST_WALLS)
        with Step("fork", "the process that keeps the shell"):
            pid = os.fork()
        if pid == 0:
            _keep(door, pidfd, channel, spare)
        channel.close()
        for fd in spare:
            os.close(fd)
        os.waitpid(pid, 0)
    except StepFailedError as error:
        _say_broken(channel, error)
    finally:
        os._exit(0)


def _become_owner(uid: int, gid: int, groups: list[int]) -> None:
    """Be another user: what a run says of itself is its user's word, which root must not follow.

    Who relays the terminal stays root, for that user could look into a process of its own.
    """
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _let_go(keep: set[int]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in _STANDARD:
        os.dup2(null, fd)
    entry_module.close_all_but({*_STANDARD, *keep})
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH):
        signal.signal(number, signal.SIG_DFL)


def _say_broken(channel: socket.socket, error: StepFailedError) -> None:
    with contextlib.suppress(OSError):  # who has the terminal is gone
        channel.send(BROKEN + str(error).encode("utf-8", "replace"))


def _keep(door: Door, pidfd: int, channel: socket.socket, spare: tuple[int, int]) -> NoReturn:
    """In the sandbox's pid namespace: start the shell, tell of its end, and reap until killed."""
    try:
        with Step("prctl in", "the process that keeps the shell"):
            privileges.die_with_parent_thread(signal.SIGKILL)
            privileges.adopt_orphans()
        with Step("setns into", "the sandbox's namespaces"):
            syscalls.setns(pidfd, door.namespaces & ~_FIRST_WALLS)
        try:
            master, slave = _own_terminal()
        except OSError:  # the test has removed or covered it; programs ask this one's name in vain
            master, slave = spare
        with Step("hand out", "the shell's terminal"):
            if door.identity.uid is not None:
                os.fchown(slave, door.identity.uid, -1)
            socket.send_fds(channel, [TERMINAL], [master])
        with Step("fork", "the shell"):
            shell = os.fork()
        if shell == 0:
            _be_shell(door, slave)
        entry_module.close_all_but({*_STANDARD, channel.fileno()})
        while True:
            ended, status = os.waitpid(-1, 0)
            if ended == shell:
                channel.send(ENDED + str(status).encode("ascii"))
    except StepFailedError as error:
        _say_broken(channel, error)
    except ChildProcessError:  # all are gone, and the end was said
        signal.pause()
    except OSError:  # who has the terminal is gone, and kills us
        signal.pause()
    finally:
        os._exit(0)


def _own_terminal() -> tuple[int, int]:
    """Make one in the sandbox, where programs find it by its name. Raises ``OSError``.

    The test may have put anything in the place of ``/dev/ptmx``; what is no such thing answers
    neither request.
    """
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        # Not by its name, which somebody could give to another
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        os.close(master)
        raise
    return master, slave


def _be_shell(door: Door, slave: int) -> NoReturn:
    """Have the test's rights, and become the shell. What fails is said on its terminal."""
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in _STANDARD:
            os.dup2(slave, fd)
        entry_module.close_all_but(set(_STANDARD))
        _stand_where_the_test_does(door)
        entry_module.take_rights(door.identity, door.confinement, door.namespaces)
        _execute(door)
    except OSError as error:
        os.write(2, f"isolate: {error.strerror}\r\n".encode("utf-8", "replace"))
    finally:
        os._exit(_NO_SHELL)


def _stand_where_the_test_does(door: Door) -> None:
    of_process = (f"/proc/{door.process}/cwd",) if door.process else ()
    for directory in (*of_process, door.directory, "/"):
        with contextlib.suppress(OSError):  # it was removed, or covered
            os.chdir(directory)
            return


def _execute(door: Door) -> NoReturn:
    """Become the command that was asked for, or $SHELL, or /bin/sh where that is not in the
    sandbox. Raises ``OSError``.
    """
    environment = dict(door.environment)
    if door.command:
        name, path = door.command[0], environment.get("PATH", os.defpath)
        try:
            # Not by execvp(3), which says of a name that is nowhere what it met on its way
            if (program := name if "/" in name else shutil.which(name, path=path)) is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            os.execve(program, list(door.command), environment)
        except OSError as error:
            what = f"{name} cannot be run in this sandbox: {error.strerror}"
            raise OSError(error.errno, what) from error
    wanted = environment.get("SHELL", "")
    if os.path.isabs(wanted):
        with contextlib.suppress(OSError):
            os.execve(wanted, [wanted], environment)
    try:
        os.execve("/bin/sh", ["/bin/sh"], environment)
    except OSError as error:
        both = f"neither $SHELL ({wanted or 'not set'}) nor /bin/sh can be run in this sandbox"
        raise OSError(error.errno, f"{both}: {error.strerror}") from error
