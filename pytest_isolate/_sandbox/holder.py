"""PID 1 of one sandbox: builds it, says so, reaps, lists who is left, and dies with pytest.

Theory of operation. The builder clones this process straight into new namespaces. It performs the steps
of the recipe, opens what pytest wants to keep hold of (the private file system, two files for output)
and sends these. From then on it waits for packets on its channel; it ignores SIGCHLD, by which the kernel reaps
for it whoever is left to it. The end of the channel is the end of pytest, or its wish that the sandbox end: PID 1 leaves, and the
kernel kills every other process of the namespace.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import signals, syscalls
from pytest_isolate._linux.proc_net import network_files
from pytest_isolate._sandbox import apart, copies, steps, wire

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Iterator

GRACE = 0.1  # seconds that a process which is about to end has before it counts as left behind
LONGEST_GRACE = 2.0  # seconds, of which one that wants a processor and gets none has as many as it needs to run for a GRACE
_LOOK_AGAIN, _SOON = GRACE / 10, GRACE / 100
_TICK = 1 / os.sysconf("SC_CLK_TCK")
# What multiprocessing and joblib start once, for as long as their interpreter lives: a tracker of resources, which the end of its last
# user's pipe ends, and loky's pool, which the next Parallel() takes. By (option, beginning of its value) of a Python's command. A test can
# call a process of its own so: then nobody names it, and it is killed as all are.
_HELPERS = (
    ("-c", "from multiprocessing.resource_tracker import main"),
    ("-c", "from loky.backend.resource_tracker import main"),
    ("-c", "from joblib.externals.loky.backend.resource_tracker import main"),
    ("-m", "loky.backend.popen_loky_posix"),
    ("-m", "joblib.externals.loky.backend.popen_loky_posix"),
)
_LONGEST_COMMAND = 200  # characters
_MOST_LISTED = 50


def main(channel: wire.Channel, recipe: wire.Recipe) -> None:
    """Run as PID 1 until the channel ends. Never returns, whatever happens: above it is the builder's code, which it is a fork of."""
    try:
        _run(channel, recipe)
    except ConnectionError:  # pytest closed its end without waiting for our answer
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, it ends here
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _run(channel: wire.Channel, recipe: wire.Recipe) -> None:
    signals.signal(signals.SIGCHLD, signals.SIG_IGN)
    try:
        with Step("prctl(PR_SET_PDEATHSIG) in", "PID 1"):
            syscalls.die_with_parent_thread(signals.SIGKILL)
        kept = _build(channel, recipe)
    except StepFailedError as error:
        wire.send(channel, "failed", error.step, error.path, error.errno)
        return
    wire.send(channel, "ready", descriptors=kept)
    for descriptor in kept:
        os.close(descriptor)
    _serve(channel)


def _build(channel: wire.Channel, recipe: wire.Recipe) -> tuple[int, ...]:
    user = recipe["user_map"]
    if user is not None:  # rootless: nobody but ourselves has a name in here
        inside_uid, inside_gid, uid, gid = user
        steps.perform(["write", "/proc/self/setgroups", "deny"])
        steps.perform(["write", "/proc/self/uid_map", f"{inside_uid} {uid} 1\n"])
        steps.perform(["write", "/proc/self/gid_map", f"{inside_gid} {gid} 1\n"])
    os.umask(0)
    private: str = recipe["private"]
    kept: tuple[int, ...] = ()
    directories: list[apart.Directory] = []
    budget = copies.Budget()
    for step in recipe["steps"]:
        if step[0] == "apart":
            directories.append(apart.Directory(step[1:], budget))
            continue
        if step[0] in {"limit_disk", "pivot"} and not kept:  # the last ones, after which no path leads to the private file system
            with Step("open", f"the private file system at {private}"):
                directory = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            kept = (directory, *(_unnamed_file(private) for _ in range(2)), *_network_files(recipe, f"{private}/root"))
            if recipe["waits"]:
                _wait_for_test(channel, directories)
        steps.perform(step)
    return kept


def _wait_for_test(channel: wire.Channel, directories: list[apart.Directory]) -> None:
    """All is built ahead; when pytest takes the sandbox for its test, look at what may have changed since."""
    for directory in directories:
        directory.write_down()
    if wire.receive(channel, wire.SHORT) is None:
        os._exit(0)  # nobody wanted it
    for directory in directories:
        if directory.look_again():
            directory.write_down()


def _network_files(recipe: wire.Recipe, root: str) -> list[int]:
    """What the namespace counts can be read from these after its end too."""
    if not recipe["namespaces"] & syscalls.Clone.NEWNET:
        return []
    with Step("open", f"the network's counters in {root}/proc"):
        return [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in network_files(f"{root}/proc")]


def _unnamed_file(directory: str) -> int:
    with Step("make an output file in", directory):
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _serve(channel: wire.Channel) -> None:
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # the true one, whatever a test that is root mounts there
    while (received := wire.receive(channel, wire.SHORT)) is not None:
        kind, *fields = received[0]
        if kind == "signal":
            _send_signal(*map(int, fields))
        else:
            found, alone = _left_over(proc)
            listed = [field for each in found[:_MOST_LISTED] for field in (each.pid, each.command)]
            wire.send(channel, "processes", len(found), int(alone), *listed)
    os._exit(0)


def _read(directory: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), "rb") as file:
        return os.fsdecode(file.read())


def _send_signal(pid: int, number: int) -> None:
    if pid <= 1:  # 0 is our process group, in which the builder is
        return
    try:
        os.kill(pid, number)  # a number of our own namespace: whatever the test said its pid was, it cannot aim outside
    except (ProcessLookupError, OverflowError):
        return  # it ended meanwhile, or a test of a group said that it is a process that cannot be, which pytest sees by itself


class _Process:
    """What /proc says of one process."""

    def __init__(self, pid: int, stat: str, arguments: list[str]) -> None:
        fields = stat[stat.rindex(")") + 2 :].split()  # from the third of proc(5) on
        comm = stat[stat.index("(") + 1 : stat.rindex(")")]
        self.pid = pid
        self.command = (" ".join(arguments).strip() or f"[{comm}]")[:_LONGEST_COMMAND]
        self.dead = fields[0] in "ZX"
        self.wants_processor = fields[0] in "RD"
        self.used = (int(fields[11]) + int(fields[12])) * _TICK  # seconds of processor time
        self.born = fields[19]
        self.is_helper = any(
            option == arguments[at] and arguments[at + 1].startswith(value)
            for option, value in _HELPERS
            for at in range(1, len(arguments) - 1)
        )


def _left_over(proc: int) -> tuple[list[_Process], bool]:
    """Who is alive besides us and counts, after a grace in which every death is waited for; and whether really nobody is.

    One that sleeps when the grace is over stays. One that runs, or would if it were its turn, may be about to end on a machine that is
    busy: it has its grace in time of a processor.
    """
    begin = time.monotonic()
    first: dict[tuple[int, str], float] = {}  # what each had used when we first saw it
    while found := list(_processes(proc)):
        for each in found:
            first.setdefault((each.pid, each.born), each.used)
        waited = time.monotonic() - begin
        ending = any(each.wants_processor and each.used - first[each.pid, each.born] < GRACE for each in found)
        if waited >= (LONGEST_GRACE if ending else GRACE):
            break
        time.sleep(min(waited + _SOON, _LOOK_AGAIN))  # most of those who are about to end do so at once
    return [each for each in found if not each.is_helper], not found


def _processes(proc: int) -> Iterator[_Process]:
    for name in os.listdir(proc):
        if not name.isdecimal() or name == "1":
            continue
        try:
            process = _Process(int(name), _read(proc, f"{name}/stat"), _read(proc, f"{name}/cmdline").split("\0"))
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ESRCH}:
                raise
            continue  # it ended between the two looks
        if not process.dead:
            yield process
