"""What the kernel refuses a sandbox, and how that is known."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import subprocess
import threading
import time

import pytest

from pytest_isolate._sandbox.ending import is_ready


@pytest.mark.needs("memory")
@pytest.mark.parametrize(("size", "killed"), [(30 << 20, False), (100 << 20, True)])
def test_memory_is_what_the_test_itself_uses(box, size, killed):
    """Below the limit nothing happens, whatever pytest itself is large; above it the kernel kills,
    and counts it.
    """
    result = box.run(lambda: len(b"x" * size), memory=64 << 20)
    assert bool(result.counters.oom_kills) is killed
    assert result.process.ended is not killed


@pytest.mark.needs("memory")
def test_memory_is_the_whole_trees(box):
    """Four children of 30 MiB each are more than 64 MiB."""

    def spread():
        pids = []
        for _ in range(4):
            if (pid := os.fork()) == 0:
                block = b"x" * (30 << 20)
                signal.pause()
                os._exit(len(block) & 1)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)

    result = box.run(spread, memory=64 << 20)
    assert result.counters.oom_kills
    assert not result.process.timed_out


def _beside_a_sleep(until: int) -> None:
    """Wait for a child that sleeps, while another one takes more than the limit as soon as
    ``until`` says so.
    """
    pid = os.fork()
    if pid == 0:
        os.read(until, 1)
        os._exit(len(bytearray(b"x" * (300 << 20))) & 1)
    sleep = subprocess.Popen(["sleep", "40"])
    os.close(until)
    sleep.wait()


@pytest.mark.needs("memory")
@pytest.mark.parametrize("early", [False, True], ids=["as-it-comes", "early"])
def test_a_kill_that_is_counted_after_its_event_ends_the_tree(box, early):
    """The kernel says that the limit was hit, then chooses, counts and kills: with ``early`` it is
    heard long before the rest.
    """
    until, begin = os.pipe()

    def meanwhile(sandbox):
        # Cgroup v1's; from here on the kernel's own word reaches nobody
        if early and sandbox.oom_event >= 0:
            ours = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            heard = os.dup2(ours, sandbox.oom_event, inheritable=False)
            while is_ready(heard, 0):
                time.sleep(0.001)
            os.close(ours)
        os.close(begin)

    result = box.run(
        lambda: _beside_a_sleep(until),
        memory=64 << 20,
        keep=frozenset({until}),
        meanwhile=meanwhile,
    )
    os.close(until)
    assert result.counters.oom_kills
    assert not result.process.timed_out
    assert result.process.wall_seconds < 10
    if box.host.places["memory"].version == 1:
        assert result.process.out_of_memory
        assert result.process.killed_child


@pytest.mark.needs("memory")
def test_an_event_without_a_kill_ends_nothing(box):
    """Somebody freed memory in time, or the control group went away."""
    until, begin = os.pipe()

    def meanwhile(sandbox):
        if sandbox.oom_event >= 0:
            os.eventfd_write(sandbox.oom_event, 1)
            while is_ready(sandbox.oom_event, 0):
                time.sleep(0.001)
        os.write(begin, b"x")

    result = box.run(
        lambda: os.read(until, 1).decode(),
        memory=64 << 20,
        keep=frozenset({until}),
        meanwhile=meanwhile,
    )
    os.close(until)
    os.close(begin)
    assert result.value == "x"
    assert not result.process.out_of_memory


@pytest.mark.needs("memory")
def test_a_large_test_that_was_killed_is_no_child_of_its_own(box):
    """Its end takes longer than it is waited for, as with gigabytes: it is seen on its
    way there.
    """
    result = box.run(
        lambda: len(bytearray(b"x" * (300 << 20))), memory=64 << 20, killed_within=0.01
    )
    assert result.counters.oom_kills
    assert not result.process.killed_child


@pytest.mark.needs("pids")
@pytest.mark.parametrize(("count", "denied"), [(4, 0), (5, 1)])
def test_pids_counts_the_test_and_not_our_helper(box, count, denied):
    """``pids=5`` is the test and four children; PID 1 is not counted."""

    def fork():
        read, write = os.pipe()
        for _ in range(count):
            try:
                if os.fork() == 0:
                    os.close(write)
                    os.read(read, 1)
                    os._exit(0)
            except BlockingIOError:
                break
        os.close(write)

    result = box.run(fork, pids=5)
    assert result.counters.pids_denied == denied
    assert result.counters.pids_peak in {None, 5}


@pytest.mark.needs("cpu")
def test_cpu_is_a_bandwidth(box):
    """A quarter of a core gives about a quarter of the wall time."""

    def burn():
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            pass

    result = box.run(burn, cpu=0.25)
    assert result.counters.cpu_seconds is not None
    assert result.counters.cpu_seconds < 0.6


def test_files_is_per_process(box):
    """The limit of open descriptors is soft and hard: a test cannot raise it."""
    assert box.run(lambda: list(resource.getrlimit(resource.RLIMIT_NOFILE)), files=64).value == [
        64,
        64,
    ]


def test_a_late_test_is_killed_and_its_stacks_are_dumped(box):
    """A busy loop ends at its deadline, with the line it was in."""

    def spin_for_ever():
        while True:
            pass

    result = box.run(spin_for_ever, timeout=0.3)
    assert result.process.timed_out
    assert "spin_for_ever" in result.process.stacks
    assert result.process.wall_seconds < 5


def test_a_late_test_in_native_code_is_killed_with_its_stack(box):
    """The dump needs no interpreter lock: a sleep in C that holds it is seen as well."""
    import ctypes

    libc = ctypes.PyDLL(None)  # PyDLL keeps the interpreter lock

    def sleep_with_lock():
        libc.sleep(60)

    result = box.run(sleep_with_lock, timeout=0.3)
    assert result.process.timed_out
    assert "sleep_with_lock" in result.process.stacks


@pytest.mark.needs("eu-stack")
def test_a_late_test_shows_where_in_c_it_stands(box):
    """The C functions between Python and the kernel, of every thread; what is below the interpreter
    is left to Python's stacks.
    """

    def sleep_in_c():
        threading.Thread(target=time.sleep, args=[60], daemon=True).start()
        ctypes.CDLL(None).sleep(60)

    stacks = box.run(sleep_in_c, timeout=0.5).process.native
    assert stacks.startswith("by eu-stack, down to Python's interpreter:\nThread ")
    frames = [line.split()[0] for line in stacks.splitlines() if line.startswith("  ")]
    assert sum(frame.startswith("clock_nanosleep") for frame in frames) == 2
    assert "ffi_call" in frames
    assert "(Python)" in frames
    assert "_start" not in frames


def test_native_stacks_that_nothing_reads_are_named(box, monkeypatch):
    """A machine without a tool for it, and a process that is gone: a line with what helps, and the
    timeout as ever.
    """
    monkeypatch.setenv("PATH", "/nonexistent")
    result = box.run(signal.pause, timeout=0.3)
    assert result.process.timed_out
    assert (
        result.process.native
        == "none: eu-stack shows where in C a test stands (apt-get install elfutils), or gdb"
    )


def test_a_stopped_test_is_killed_at_its_deadline(box):
    """A test that stopped itself cannot answer; it is killed all the same and the missing stack is
    known.
    """
    result = box.run(lambda: os.kill(os.getpid(), signal.SIGSTOP), timeout=0.3)
    assert result.process.timed_out
    assert result.process.stacks == ""


_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE3, _CLONE_INTO_CGROUP = 435, 0x200000000


def _other_groups() -> list[str]:
    """Groups into which this process can fork, besides its own."""
    with open("/proc/self/cgroup") as file:
        own = next(line for line in file if line.startswith("0::"))
    found = []
    for directory, _, _ in os.walk("/sys/fs/cgroup"):
        group = os.open(directory, os.O_RDONLY)
        asked = struct.pack("11Q", _CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, *[0] * 5, group)
        pid = _LIBC.syscall(_CLONE3, ctypes.create_string_buffer(asked, len(asked)), len(asked))
        if pid == 0:
            with open("/proc/self/cgroup") as file:
                os._exit(own in file.read())
        if pid > 0 and os.waitpid(pid, 0)[1] == 0:
            found.append(directory)
    return found


@pytest.mark.needs("memory")
def test_no_test_of_a_user_forks_into_another_group(box):
    """A descriptor of a group's directory suffices, on a read-only mount too; root may."""
    if all(place.version == 1 for place in box.host.places.values()):
        pytest.skip("cgroup v1 has no such call")
    assert bool(box.run(_other_groups, memory=64 << 20).value) != box.host.rootless
