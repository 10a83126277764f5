"""Runs of pytest in processes of their own that need not import pytest again: each is forked from a
process that has, and nothing else.

What a new interpreter does and a fork does not is done here: arguments, environment, directory, the
first entry of ``sys.path``, the standard streams. Variables that only a new interpreter reads
(PYTHON*, LD_*, the locale) choose which process to fork from. Who needs /proc/PID/environ or
cmdline to be the run's own starts an interpreter.
"""

from __future__ import annotations

import array
import atexit
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

#: The process that is forked from. It imports what every run of pytest imports and what it is told
#: to, and begins nothing: no plugin, no thread.
_SERVER = """
import array, gc, importlib, json, os, pdb, runpy, socket, sys
import pytest
from _pytest.config import default_plugins
for name in default_plugins:
    if name not in {"pytester", "pytester_assertions"}: importlib.import_module(f"_pytest.{name}")
for name in sys.argv[2:]: importlib.import_module(name)
requests = socket.socket(fileno=int(sys.argv[1]))
gc.freeze()
while True:
    length, ancillary, _, _ = requests.recvmsg(8, socket.CMSG_SPACE(12))
    if not length: break
    streams = array.array("i", ancillary[0][2])
    text = b""
    while len(text) < int(length): text += requests.recv(int(length) - len(text))
    pid = os.fork()
    if pid == 0: break
    for fd in streams: os.close(fd)
    requests.sendall(b"%8d" % pid)
    requests.sendall(b"%8d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
if length:
    requests.close()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    sys.argv[1:], environment, directory = json.loads(text)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.path[:1] = [os.getcwd(), *filter(None, environment.get("PYTHONPATH", "").split(":"))]
    del requests, streams, text, length, ancillary, environment, directory, pid, number, fd
    gc.unfreeze()
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)
"""
_OF_THE_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_")
#: What every run imports whose first isolated test has begun; with it go those that they import.
_OF_ISOLATED_RUNS = tuple(
    f"pytest_isolate.{name}"
    for name in (
        "plugin", "_report.reporting", "_report.terminal", "_session.machine", "_test.entry",
        "_test.nurse", "_test.report", "_test.start",
    )
)  # fmt: skip
_Key = tuple[tuple[tuple[str, str], ...], bool]
_servers: dict[_Key, tuple[socket.socket, subprocess.Popen[bytes]]] = {}


def _server(args: Sequence[str], environment: Mapping[str, str]) -> socket.socket:
    """Where to ask for a fork for such a run in this environment."""
    chosen = {
        name: value
        for name, value in environment.items()
        if name.startswith(_OF_THE_INTERPRETER) and name != "PYTHONPATH"
    }
    isolates = ("-p", "isolate") in itertools.pairwise(args)
    key = tuple(sorted(chosen.items())), isolates
    if key not in _servers:
        ours, theirs = socket.socketpair()
        with theirs:
            bare = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
            process = subprocess.Popen(
                [
                    sys.executable, "-c", _SERVER, str(theirs.fileno()),
                    *(_OF_ISOLATED_RUNS if isolates else ()),
                ],
                env=bare, cwd="/", pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        _servers[key] = ours, process
    return _servers[key][0]


@atexit.register
def _end() -> None:
    for ours, process in _servers.values():
        ours.close()
        process.wait()
    _servers.clear()


class Pytest:
    """``python -m pytest ARGS`` with these standard streams: as much of a ``subprocess.Popen`` as
    is needed here.
    """

    stdin = None

    def __init__(
        self,
        args: Sequence[str],
        cwd: str,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
    ) -> None:
        self.args = list(args)
        self.returncode: int | None = None
        self._server = _server(self.args, environment)
        text = json.dumps([self.args, dict(environment), cwd]).encode()
        self._server.sendmsg(
            [b"%8d" % len(text)],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))],
        )
        self._server.sendall(text)
        self.pid = self._number()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, negative for a signal."""
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired(["pytest", *self.args], timeout)
            self.returncode = self._number()
        return self.returncode

    def kill(self) -> None:
        """Its number is its own until the server has told its end, which nobody has read."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def _number(self) -> int:
        text = b""
        while len(text) < 8:
            if not (more := self._server.recv(8 - len(text))):
                raise AssertionError("the process that runs of pytest are forked from has ended")
            text += more
        return int(text)


def run(
    args: Sequence[str], cwd: str, environment: Mapping[str, str], timeout: float
) -> tuple[int, bytes, bytes]:
    """Run pytest to its end. Returns status, output and errors."""
    pipes = [os.pipe() for _ in range(3)]
    (stdin, empty), (output, stdout), (errors, stderr) = pipes
    os.close(empty)
    try:
        pytest = Pytest(args, cwd, environment, (stdin, stdout, stderr))
    finally:
        for fd in (stdin, stdout, stderr):
            os.close(fd)
    with open(output, "rb") as one, open(errors, "rb") as other, ThreadPoolExecutor(2) as threads:
        reading = [threads.submit(file.read) for file in (one, other)]
        try:
            return pytest.wait(timeout), reading[0].result(), reading[1].result()
        except BaseException:
            pytest.kill()
            pytest.wait()
            raise
