"""The builder's part of a way out: a program of the machine that stands outside, with an interface
in the sandbox's network.

The program is the builder's child, has nothing of ours open but two descriptors of namespaces and
two pipes, and leaves when the second of these ends, which is at the builder's death too. What is
to be said to the kernel in the sandbox pytest has encoded. Imported by the builder: cheap modules
only.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select
import sys

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import netlink, signals, syscalls
from pytest_isolate._linux.kin import FILES, Kin
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox.recipe import INDEX, Recipe, Uplink

_LONGEST = 10.0  # seconds until it has made its interface
_FIRST = 10  # descriptors of the program: behind the standard ones
_SETTINGS = (("accept_ra", "0"), ("autoconf", "0"))  # or it would say which routes there are
_LARGEST = 1 << 12  # bytes of what it says


class WayOut:
    """Of one sandbox."""

    def __init__(self) -> None:
        self._pid = 0
        self._lifeline = -1  # as long as this is open the program stays

    def open(self, kin: Kin, pidfd: int, recipe: Recipe) -> None:
        """Start the program, and have the sandbox's network use it. Raises ``StepFailedError``."""
        uplink = recipe.uplink
        assert uplink is not None
        namespaces: list[int] = []

        def enter() -> None:
            with Step("setns into", "the sandbox's network"):
                syscalls.setns(pidfd, recipe.namespaces & (Clone.NEWNET | Clone.NEWUSER))

        def look() -> None:
            enter()
            with Step("open", "the sandbox's network"):
                for name in ("net", "user"):
                    path = f"/proc/self/ns/{name}"
                    namespaces.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

        def configure() -> None:
            enter()
            with Step("configure", f"the interface {uplink.interface} of the sandbox"):
                _configure(uplink)

        try:
            with Step("clone", "a process for the sandbox's network"):
                kin.run(look, FILES)
            self._start(namespaces, uplink)
        finally:
            for fd in namespaces:
                os.close(fd)
        with Step("clone", "a process for the sandbox's network"):
            kin.run(configure, FILES)

    def _start(self, namespaces: list[int], uplink: Uplink) -> None:
        program = os.path.basename(uplink.command[0])
        opened: list[int] = []
        try:
            with Step("open pipes for", program):
                ready, ready_end = os.pipe2(os.O_CLOEXEC)
                opened += [ready, ready_end]
                life, self._lifeline = os.pipe2(os.O_CLOEXEC)
                opened.append(life)
                said = os.memfd_create(program, os.MFD_CLOEXEC)
                opened.append(said)
            with Step("start", program):
                self._pid = _spawned(uplink.command, [ready_end, life, *namespaces], said)
            opened.remove(ready_end)
            os.close(ready_end)
            _wait(ready, said, program)
        finally:
            for fd in opened:
                os.close(fd)

    def close(self) -> None:
        """End it. What it still carries is lost, for nobody is there who would have it."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._pid:
            os.kill(self._pid, signals.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _spawned(command: tuple[str, ...], opened: list[int], said: int) -> int:
    names = ("ready", "life", "net", "user")
    numbers = {
        name: fcntl.fcntl(fd, fcntl.F_DUPFD, _FIRST)
        for name, fd in zip(names, opened)  # noqa: B905 - as many
    }
    words = [word.format(**numbers) for word in command]
    actions = [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
    try:
        return os.posix_spawn(words[0], words, {}, file_actions=actions)
    finally:
        for fd in numbers.values():
            os.close(fd)


def _wait(ready: int, said: int, program: str) -> None:
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    code = 0 if poll.poll(_LONGEST * 1000) else errno.ETIMEDOUT
    if code or not os.read(ready, 1):  # it has ended
        words = os.pread(said, _LARGEST, 0).decode("utf-8", "replace").strip().splitlines()
        raise StepFailedError(
            "start", f"{program} ({words[-1] if words else 'it says nothing'})", code or errno.EPIPE
        )


def _configure(uplink: Uplink) -> None:
    for name, value in _SETTINGS:
        try:
            path = f"/proc/sys/net/ipv6/conf/{uplink.interface}/{name}"
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # a kernel without IPv6
            continue
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    index = _socket.if_nametoindex(uplink.interface).to_bytes(4, sys.byteorder)
    kernel = netlink.rtnetlink()
    try:
        for request in uplink.requests:
            netlink.ask(kernel, request.replace(INDEX.to_bytes(4, sys.byteorder), index))
    finally:
        kernel.close()
