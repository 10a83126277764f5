"""Run a command in a pure cgroup-v2 kernel, over this machine's own files: ``python tools/vm.py
[--user] -- COMMAND ARG...``.

The kernel is Debian's user-mode-linux, an ordinary process, and its root an overlay in memory, so
nothing that the command writes reaches the disk; /tmp, /run and /dev are empty ones of its own. The
command gets this environment and working directory, and is root there, or with ``--user`` uid 1000
in a control group delegated to it.

Three channels: the kernel's log is a file that only failures show, the command's output is the
terminal tty1, and ``vm_init.sh`` writes the exit status to tty2 when all the output is out. Both
terminals are pipes that we read. The status becomes ours; 125 is our own failure, in words on
stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

INIT = Path(__file__).with_name("vm_init.sh")
MODULES = "/usr/lib/uml/modules"
INSTALL = "apt-get install user-mode-linux kmod iproute2"
# Seen through hostfs and hidden from the command; not /dev/shm, which the kernel's own /dev hides
PRIVATE_PARENT = "/tmp"
PREFIX = "pytest-isolate-vm-"
DAY = 86400  # seconds
FAILED = 125  # as env(1) and timeout(1) have it, for their own failures
LOG_LINES = 15
STDOUT = 1
PIPE_CAPACITY = 1 << 20  # no pipe holds more unless root raised it
PR_SET_CHILD_SUBREAPER = 36
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class VmError(Exception):
    """What the user reads when there is no exit status to pass on."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    user: bool
    memory: str
    timeout: float
    command: Sequence[str]


@dataclass(frozen=True)
class Kernel:
    """A running kernel, the pipes it writes to, and its log."""

    process: subprocess.Popen[bytes]
    output: int
    status: int
    log: Path


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; argparse exits with 2 when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="vm.py",
        description="Run a command in a pure cgroup-v2 kernel over this machine's own files.",
    )
    parser.add_argument(
        "--user",
        action="store_true",
        help="as uid 1000 in a delegated control group, rather than as root",
    )
    parser.add_argument(
        "--memory",
        default="2G",
        type=_memory,
        help="of that kernel, as in 512M or 2G (default %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        default=900,
        type=float,
        help="seconds until that kernel is killed (default %(default)s)",
    )
    parser.add_argument(
        "command", nargs="+", metavar="COMMAND", help="behind --, with its arguments"
    )
    return Options(**vars(parser.parse_args(arguments)))


def _memory(text: str) -> str:
    if text[-1:] not in UNITS or not text[:-1].isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 512M or 2G")
    return text


def check_host() -> None:
    """Raise ``VmError`` when this machine cannot boot the kernel, with the command that helps."""
    if platform.machine() != "x86_64":
        raise VmError(
            f"Debian's user-mode-linux is for x86-64 alone and this is {platform.machine()}: use an"
            " x86-64 machine"
        )
    for program in ("linux", "insmod", "ip"):
        if shutil.which(program, path=_path()) is None:
            raise VmError(f"{program!r} is not installed: {INSTALL}")
    version = subprocess.run(
        ["linux", "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    module = f"{MODULES}/{version}/kernel/fs/overlayfs/overlay.ko"
    if not os.path.exists(module):
        raise VmError(f"{module} is missing: {INSTALL}")


def _path() -> str:
    # Ordinary users' own path often lacks these
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def script(options: Options) -> str:
    """What a shell inside runs: the command, with our directory and environment."""
    environment = dict(os.environ)
    if not sys.stdout.isatty():
        # Its output is a terminal in there, but nobody looks at one out here
        environment["TERM"] = "dumb"
    if options.user:
        environment |= {"HOME": "/tmp"}
    words = [
        "env",
        "-i",
        *(f"{name}={value}" for name, value in environment.items()),
        *options.command,
    ]
    return f"cd {shlex.quote(os.getcwd())} || exit {FAILED}\nexec {shlex.join(words)} </dev/null\n"


def memory_directory(memory: str) -> str:
    """Where the kernel keeps its memory, a file it unlinks at once: not on a disk if that can be
    had.

    Docker's /dev/shm is small and noexec, and the kernel would die of either.
    """
    with contextlib.suppress(FileNotFoundError):
        shm = os.statvfs("/dev/shm")
        if (
            shm.f_bavail * shm.f_frsize > int(memory[:-1]) * UNITS[memory[-1]]
            and not shm.f_flag & os.ST_NOEXEC
        ):
            return "/dev/shm"
    return PRIVATE_PARENT


def sweep() -> None:
    """Remove what killed ones of ours have left: older than any command takes."""
    for left in Path(PRIVATE_PARENT).glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # its own kernel has just ended
            look = left.lstat()
            if look.st_uid == os.getuid() and time.time() - look.st_mtime > DAY:
                shutil.rmtree(left)


@contextlib.contextmanager
def boot(options: Options) -> Iterator[Kernel]:
    """Start the kernel; at the end, however it comes, kill it with all its processes and leave
    nothing behind.
    """
    sweep()
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=PRIVATE_PARENT) as private,
        contextlib.ExitStack() as pipes,
    ):
        Path(private, "tmpfs").mkdir()
        Path(private, "command").write_text(
            script(options), encoding="utf-8", errors="surrogateescape"
        )
        # A kernel's command line has no quotes, and our own path might need them
        shutil.copy(INIT, Path(private, "init"))
        output, their_output = _pipe(pipes)
        status, their_status = _pipe(pipes)
        log = Path(private, "log")
        with log.open("wb") as log_file:
            process = subprocess.Popen(
                [
                    *_arguments(private, options),
                    f"con1=null,fd:{their_output}",
                    f"con2=null,fd:{their_status}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                pass_fds=(their_output, their_status),
                env={"PATH": _path(), "TMPDIR": memory_directory(options.memory)},
                # One process group for the kernel, its helpers and a process for each address space
                start_new_session=True,
            )
        try:
            yield Kernel(process, output, status, log)
        finally:
            _kill(process)


def _pipe(pipes: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        pipes.callback(os.close, end)
    return ends


def _arguments(private: str, options: Options) -> list[str]:
    return [
        # Should we be killed, the kernel takes its processes down itself
        *("setpriv", "--pdeathsig", "TERM"),
        *(
            "linux",
            f"mem={options.memory}",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            f"init={private}/init",
        ),
        *(f"uml_dir={private}/", "umid=vm"),  # else in ~/.uml
        *("con=null", "con0=null,fd:1"),  # the log, kernel's and init's
        # What the kernel does not know is its init's environment
        *(["vm_user=1"] if options.user else []),
    ]


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.suppress(ChildProcessError):
        while True:  # the others are ours to reap since main() asked for orphans
            os.wait()


def relay(kernel: Kernel, timeout: float) -> int:
    """Copy the command's output until its status comes, and return that. Raises ``VmError``."""
    deadline = time.monotonic() + timeout
    died = os.pidfd_open(kernel.process.pid)
    with selectors.DefaultSelector() as selector:
        for fd in (kernel.output, kernel.status, died):
            selector.register(fd, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            ready = {key.fd for key, _ in selector.select(left)}
            if kernel.output in ready:  # first, for what comes with the status is the last of it
                _copy(kernel.output)
            if kernel.status in ready:
                return int(os.read(kernel.status, 16))
            if ready == {died}:
                raise VmError(
                    "the kernel ended without an exit status; the end of its"
                    f" log:\n{_tail(kernel.log)}"
                )
    raise VmError(
        f"killed after {timeout:g} seconds (--timeout); the end of the kernel's"
        f" log:\n{_tail(kernel.log)}"
    )


def _copy(output: int) -> None:
    data = os.read(output, PIPE_CAPACITY)
    while data:
        data = data[os.write(STDOUT, data) :]


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    # What follows is registers and addresses
    panics = [number for number, line in enumerate(lines, 1) if "Kernel panic" in line]
    return "\n".join(f"  {line}" for line in lines[: panics[0] if panics else None][-LOG_LINES:])


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)  # through the finally clauses


def main() -> int:
    """Return the command's exit status, or 125 with a sentence."""
    options = parse()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _leave)
    # The kernel's orphans become our children: we can see that none is left
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        check_host()
        with boot(options) as kernel:
            return relay(kernel, options.timeout)
    except BrokenPipeError:  # nobody reads on, as behind `| head`
        return 128 + signal.SIGPIPE
    except VmError as error:
        print(f"vm.py: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
