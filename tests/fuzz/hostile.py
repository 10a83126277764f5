"""A test that plays a whole child, badly: ``play(request, seed)`` does what a random number says,
through everything that it can reach.

Imported by tests of the project that ``play.py`` makes. Nothing of what it does may matter to
pytest or to the test after it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from pytest_isolate._messages import reading

_MOST_ACTIONS = 12
_KINDS = [*sorted(reading._FRAMES), "surprise"]
_TEXTS = [
    "", "a", "call", "setup", "teardown", "passed", "failed", "skipped", "\0", "\ud800",
    "\n::error::x", "\x1b[2J", "../..", "/etc/shadow",
    "x" * 70_000,
]  # fmt: skip
_NAMES = ["a", "x" * 255, "\u00e9" * 100, "n\n::error::x", "v", "cache"]
_STOPPING = {signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_SIGNALS = sorted(signal.valid_signals() - _STOPPING)
_LIMITS = [
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_AS,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_CORE,
]


class Hostile:
    """One test's doings."""

    def __init__(self, request: Any, tmp_path: Any, seed: str) -> None:
        self.request, self.tmp_path, self.random = request, tmp_path, random.Random(seed)
        self.inside = request.config.pluginmanager.getplugin("isolate-run").side.child
        self.fd = self.inside._line.writer.fd
        self.held: list[object] = []

    def play(self) -> None:
        for _ in range(self.random.randint(1, _MOST_ACTIONS)):
            action = self.random.choice(ACTIONS)
            if os.environ.get("HOSTILE_TOLD"):
                os.write(2, f"{action.__name__}\n".encode())
            with contextlib.suppress(Exception):
                action(self)
        if self.random.random() < 0.6:
            self.random.choice(ENDS)(self)

    # -- what it says

    def value(self, depth: int = 3) -> Any:
        pick = self.random.randint(0, 9 if depth else 6)
        if pick == 7:
            return [self.value(depth - 1) for _ in range(self.random.randint(0, 4))]
        if pick >= 8:
            return {
                self.random.choice(_TEXTS): self.value(depth - 1)
                for _ in range(self.random.randint(0, 4))
            }
        return (
            None, True, self.random.choice(_TEXTS), self.random.randint(-3, 3),
            self.random.choice([1 << 70, 10**300, -1]),
            self.random.choice([float("nan"), float("inf"), 1e300, 0.5]),
            self.random.choice(_TEXTS),
        )[pick]  # fmt: skip

    def true_report(self) -> dict[str, Any]:
        item = self.request.node
        report = pytest.TestReport(
            item.nodeid, item.location, {}, self.random.choice(["passed", "failed"]), "why", "call"
        )  # type: ignore[arg-type]
        found = self.request.config.hook.pytest_report_to_serializable(
            config=self.request.config, report=report
        )
        return {"kind": "report", "when": "call", "report": found, "seen": []}

    def frame(self) -> dict[str, Any]:
        kind = self.random.choice(_KINDS)
        if kind == "report" or self.random.random() < 0.3:
            made = self.true_report()
        else:
            made = {name: self.value(2) for name in reading._FRAMES.get(kind, {"x": None})} | {
                "kind": kind
            }
        for _ in range(self.random.randint(0, 2)):  # at some place another value
            where: Any = made
            while isinstance(where, dict) and where:
                key = self.random.choice(sorted(where))
                if not isinstance(where[key], dict) or self.random.random() < 0.4:
                    where[key] = self.value()
                    break
                where = where[key]
        return made

    def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self.fd, left) :]

    def say_frame(self) -> None:
        payload = json.dumps(self.frame()).encode("utf-8", "surrogatepass")
        self.send(struct.pack(">I", len(payload)) + payload)

    def say_frames(self) -> None:
        for _ in range(self.random.randint(2, 200)):
            self.say_frame()

    def say_end(self) -> None:
        payload = self.random.choice(
            [
                b'{"kind":"end","live":false}',
                b'{"kind":"need","fixture":"x"}',
                b'{"kind":"entered","pid":1}',
            ]
        )
        self.send(struct.pack(">I", len(payload)) + payload)
        if self.random.random() < 0.5:
            os.write(self.inside.ended, b"x" * self.random.randint(1, 70_000))

    def say_bytes(self) -> None:
        self.send(self.random.randbytes(self.random.choice([1, 3, 4, 5, 100, 100_000])))

    def say_half(self) -> None:
        self.send(
            struct.pack(">I", self.random.choice([0, 5, 1 << 20, 33 << 20, 0xFFFFFFFF])) + b"{"
        )

    def say_much(self) -> None:
        payload = b'{"kind":"warning","x":[' + b"{}," * (self.random.randint(1, 4) << 19) + b"{}]}"
        self.send(struct.pack(">I", len(payload)) + payload)

    # -- what it has open

    def number(self) -> int:
        return int(self.random.choice(os.listdir("/proc/self/fd")))

    def close(self) -> None:
        os.close(self.number())

    def dup(self) -> None:
        os.dup2(self.number(), self.number())

    def flip_flags(self) -> None:
        fd = self.number()
        flags = self.random.choice(
            [os.O_NONBLOCK, os.O_APPEND, os.O_DIRECT, getattr(os, "O_ASYNC", 0x2000), os.O_NOATIME]
        )
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) ^ flags)

    def own(self) -> None:
        fd = self.number()
        fcntl.fcntl(fd, fcntl.F_SETOWN, self.random.choice([os.getpid(), -os.getpid(), 1]))
        fcntl.fcntl(fd, fcntl.F_SETSIG, self.random.choice(_SIGNALS))

    def lease(self) -> None:
        fcntl.fcntl(
            self.number(), fcntl.F_SETLEASE, self.random.choice([fcntl.F_RDLCK, fcntl.F_WRLCK])
        )

    def lock(self) -> None:
        fcntl.flock(self.number(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def resize(self) -> None:
        fd = self.number()
        if self.random.random() < 0.5:
            fcntl.fcntl(fd, 1031, self.random.choice([1, 4096, 1 << 16, 1 << 20]))
        else:
            os.ftruncate(fd, self.random.choice([0, 1, 1 << 20, 1 << 40]))

    def seek(self) -> None:
        os.lseek(self.number(), self.random.choice([0, 1, 1 << 40]), os.SEEK_SET)

    def open_anew(self) -> int:
        flags = self.random.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
        fd = os.open(f"/proc/self/fd/{self.number()}", flags | os.O_NONBLOCK)
        self.held.append(fd)
        return fd

    def fill(self) -> None:
        fd = self.open_anew()
        for _ in range(1000):
            os.write(fd, b"\xff" * 4096)

    def empty(self) -> None:
        fd = self.open_anew()
        for _ in range(1000):
            os.read(fd, 65536)

    def shut(self) -> None:
        socket.socket(fileno=os.dup(self.number())).shutdown(socket.SHUT_RDWR)

    def terminal(self) -> None:
        termios.tcflow(self.number(), termios.TCOOFF)

    def pass_on(self) -> None:
        one, other = socket.socketpair()
        socket.send_fds(one, [b"x"], [self.number() for _ in range(5)])
        self.held += [one, other]

    # -- signals and processes

    def signal(self) -> None:
        os.kill(self.random.choice([os.getpid(), os.getppid(), 1]), self.random.choice(_SIGNALS))

    def signal_all(self) -> None:
        os.kill(
            self.random.choice([0, -1]),
            self.random.choice([signal.SIGCONT, signal.SIGWINCH, signal.SIGURG, signal.SIGCHLD]),
        )

    def ignore(self) -> None:
        signal.signal(
            self.random.choice(_SIGNALS),
            self.random.choice([signal.SIG_IGN, signal.SIG_DFL, lambda *_: time.sleep(0.01)]),
        )

    def block(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, self.random.sample(_SIGNALS, 10))

    def alarm(self) -> None:
        signal.setitimer(
            self.random.choice([signal.ITIMER_REAL, signal.ITIMER_PROF]), self.random.random() / 10
        )

    def limit(self) -> None:
        kind = self.random.choice(_LIMITS)
        resource.setrlimit(
            kind, (self.random.choice([0, 10, 1 << 20]), resource.getrlimit(kind)[1])
        )

    def fork(self) -> None:
        if os.fork() == 0:
            if self.random.random() < 0.5:
                os.setsid()
            what = self.random.choice(
                [
                    lambda: time.sleep(100),
                    self.say_bytes,
                    self.say_end,
                    lambda: None,
                    self.fill,
                    lambda: os.kill(os.getppid(), 9),
                ]
            )
            with contextlib.suppress(BaseException):
                what()
            os._exit(0)

    def forks(self) -> None:
        for _ in range(20):
            self.fork()

    def program(self) -> None:
        subprocess.Popen(
            ["\x1b[31m\n::error::x", "100"],
            executable="/bin/sleep",
            close_fds=self.random.random() < 0.5,
        )

    def thread(self) -> None:
        what = self.random.choice([self.say_frames, lambda: time.sleep(100), self.fill])

        def run() -> None:
            with contextlib.suppress(BaseException):
                what()

        threading.Thread(target=run, daemon=self.random.random() < 0.5).start()

    def wait(self) -> None:
        time.sleep(self.random.random() / 20)

    def spin(self) -> None:
        until = time.monotonic() + self.random.random() / 20
        while time.monotonic() < until:
            pass

    # -- files and memory

    def place(self) -> str:
        cache = f"{os.getcwd()}/.pytest_cache"
        return str(
            self.random.choice(
                [
                    self.tmp_path,
                    os.getcwd(),
                    os.path.dirname(self.tmp_path),
                    "/tmp",
                    "/dev/shm",
                    cache,
                ]
            )
        )

    def make(self) -> None:
        os.makedirs(self.place(), exist_ok=True)
        path = f"{self.place()}/{self.random.choice(_NAMES)}"
        self.random.choice(
            [
                lambda: os.mkfifo(path), lambda: os.mkdir(path), lambda: os.symlink("/etc", path),
                lambda: os.symlink(path, path),
                lambda: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 40),
                lambda: open(path, "w").write("x" * 1000),
                lambda: os.link("/etc/hostname", path),
                lambda: socket.socket(socket.AF_UNIX).bind(path),
            ]
        )()  # fmt: skip

    def dig(self) -> None:
        here = os.open(self.tmp_path, os.O_RDONLY)
        for _ in range(self.random.randint(2, 300)):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below

    def many(self) -> None:
        for number in range(1500):
            os.close(os.open(f"{self.tmp_path}/{number}", os.O_CREAT))

    def move(self) -> None:
        os.rename(self.place(), f"{self.place()}.away{self.random.randint(0, 9)}")

    def close_door(self) -> None:
        os.chmod(self.place(), self.random.choice([0, 0o111, 0o777]))

    def go(self) -> None:
        os.chdir(self.place())

    def memory(self) -> None:
        held = mmap.mmap(-1, 32 << 20)
        held.write(b"x" * (32 << 20))
        self.held.append(held)

    def mirror(self) -> None:
        for each in self.inside.mirrors.values():
            each._memory[: len(each._memory)] = self.random.randbytes(len(each._memory))

    # -- pytest's and Python's own

    def report(self) -> None:
        self.request.node.user_properties.append((self.random.choice(_TEXTS), self.value()))
        when, kind, text = (
            self.random.choice(["setup", "call", ""]),
            self.random.choice(_TEXTS),
            self.random.choice(_TEXTS),
        )
        self.request.node.add_report_section(when, kind, text)

    def rename(self) -> None:
        self.request.node._nodeid = self.random.choice(_TEXTS)

    def stop(self) -> None:
        setattr(
            self.request.session, self.random.choice(["shouldstop", "shouldfail"]), "by the test"
        )

    def warn(self) -> None:
        path = self.random.choice(["/etc/shadow", "/dev/zero", "/proc/self/mem", *_TEXTS])
        warnings.warn_explicit(
            self.random.choice(_TEXTS), UserWarning, path, self.random.randint(0, 5)
        )

    def replace(self) -> None:
        name = self.random.choice(
            ["write", "read", "close", "_exit", "getpid", "fork", "waitpid", "stat", "open", "dup2"]
        )
        setattr(os, name, self.random.choice([None, lambda *_, **__: 0]))

    def write_all(self) -> None:
        for fd in range(self.random.randint(3, 64)):
            with contextlib.suppress(OSError):
                os.set_blocking(fd, False)
                os.write(fd, b"~" * 100)

    def scribble(self) -> None:
        self.inside._commands = self.number()
        self.inside.ended = self.number()

    def say_hook(self) -> None:
        self.inside.forward_report(self.value())

    # -- how it ends

    def leave(self) -> None:
        os._exit(self.random.choice([0, 1, 3, 4, 255]))

    def die(self) -> None:
        os.kill(
            os.getpid(),
            self.random.choice(
                [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGINT]
            ),
        )

    def stop_itself(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def crash(self) -> None:
        ctypes.string_at(8)

    def execute(self) -> None:
        os.execv(self.random.choice(["/bin/true", "/bin/sleep", "/bin/false"]), ["x", "100"])

    def fail(self) -> None:
        raise AssertionError(self.random.choice(_TEXTS) + "\n::error::x")

    def end_run(self) -> None:
        raise self.random.choice(
            [KeyboardInterrupt, SystemExit, GeneratorExit, pytest.exit.Exception, BaseException]
        )("x")

    def return_twice(self) -> None:
        os.fork()

    def close_all(self) -> None:
        os.closerange(self.random.randint(0, 5), 4096)

    def hang(self) -> None:
        time.sleep(1000)

    def skip(self) -> None:
        pytest.skip(self.random.choice(_TEXTS))

    def recurse(self) -> None:
        sys.setrecursionlimit(100_000)
        self.recurse()


_Action = Callable[[Hostile], object]
ENDS: list[_Action] = [
    Hostile.leave, Hostile.die, Hostile.stop_itself, Hostile.crash, Hostile.execute, Hostile.fail,
    Hostile.end_run, Hostile.return_twice,
    Hostile.close_all, Hostile.hang, Hostile.skip, Hostile.recurse,
]  # fmt: skip
_NO_ACTIONS = {
    "play",
    "value",
    "true_report",
    "frame",
    "send",
    "number",
    "open_anew",
    "place",
    *(each.__name__ for each in ENDS),
}
ACTIONS: list[_Action] = [
    each
    for name, each in vars(Hostile).items()
    if callable(each) and name not in _NO_ACTIONS and not name.startswith("_")
]
