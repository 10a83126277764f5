"""How a sandbox ends, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_isolate._config.paths import Bind
from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux.cgroup import groups
from pytest_isolate._sandbox.builder_client import BuilderClient


def groups_of_ours(host) -> list[Path]:
    return [
        path
        for place in set(host.places.values())
        for path in Path(place.directory).glob(f"pytest-isolate-{os.getpid()}-*/*")
        if path.is_dir()
    ]


def test_an_exit_status_is_no_end(box):
    """``os._exit(0)`` says nothing about success: the end has to be said."""
    result = box.run(lambda: os._exit(0))
    assert not result.process.ended
    assert result.process.status == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
def test_a_death_by_signal_is_seen_as_that(box, number):
    """The wait status is the test's own, also where a go-between stands in between; PID 1 would
    have survived these.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    status = box.run(lambda: os.kill(os.getpid(), number)).process.status
    assert os.WTERMSIG(status) == number


def test_processes_left_behind_are_listed_and_dead(box):
    """A daemon is named by its command, and gone with its namespace."""
    result = box.run(lambda: subprocess.Popen(["sleep", "1234.5"], start_new_session=True).pid)
    assert result.process.left_over == [(result.value, "sleep 1234.5")]
    assert not [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if _command(path) == b"sleep\x001234.5\x00"
    ]


def _command(path: Path) -> bytes:
    with contextlib.suppress(OSError):  # a process that ended while we looked
        return path.read_bytes()
    return b""


def test_a_process_that_is_about_to_end_is_not_left_behind(box):
    """A child that ends within the grace is not held against the test."""

    def start():
        read, write = os.pipe()
        if os.fork() == 0:
            os.close(write)
            os.read(read, 1)  # ends when the test does
            os._exit(0)

    assert box.run(start).process.left_over == []


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\4null", b"\0\0\0\5[[[[["],
    ids=["length", "no kind", "no object", "no json"],
)
def test_garbage_on_the_pipe_ends_the_test_and_is_known(box, garbage):
    """Whatever a test writes to its pipe, pytest only learns that it cannot be read."""

    def scribble():
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if int(name) > 2:
                    os.write(int(name), garbage)
        signal.pause()

    assert box.run(scribble).process.garbled is not None


def pipes() -> list[int]:
    """What a test that looks finds open for writing: its frames and its stacks among them."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                found.append(int(name))
    return found


def say(*chunks: bytes) -> None:
    for fd in pipes():
        for chunk in chunks:
            with contextlib.suppress(BrokenPipeError):
                os.write(fd, chunk)


EMPTY_FRAME = b'\0\0\0\x0c{"kind": ""}'


def test_many_small_frames_end_the_test(box):
    """A hundred thousand is enough: what a test says costs pytest seconds at most, whatever it
    says.
    """
    result = box.run(lambda: [say(EMPTY_FRAME * 10_000) for _ in range(1000)])
    assert result.process.garbled == "more than 100000 frames came from one test"
    assert result.process.wall_seconds < 10


def test_one_endless_frame_does_not_outlast_the_timeout(box):
    """A frame that comes byte by byte, as fast as it is read: the deadline is looked at
    in between.
    """

    def dribble():
        first, *others = pipes()
        os.write(first, b"\x01\xff\xff\xff")
        for other in others:
            os.write(other, b"\x01\xff\xff\xff")
        while True:
            for fd in (first, *others):
                os.write(fd, b" ")

    result = box.run(dribble, timeout=1.0)
    assert result.process.timed_out
    assert result.process.wall_seconds < 5


def test_flooded_stacks_do_not_outlast_the_timeout(box):
    """The other pipe, whose content is only ever shown, has no end either."""

    def flood():
        _, stacks = sorted(pipes())
        for _ in range(4):
            if os.fork() == 0:
                while True:
                    os.write(stacks, b"x" * (1 << 20))
        signal.pause()

    result = box.run(flood, timeout=1.0)
    assert result.process.timed_out
    assert len(result.process.stacks) <= 1 << 16
    assert result.process.wall_seconds < 5


@pytest.mark.parametrize("closing", [True, False], ids=["closed", "open"])
def test_a_frame_that_is_cut_off_is_no_end(box, closing):
    """Half a frame, then death, or an end of the pipe before it: nothing was said."""

    def cut():
        for fd in pipes():
            with contextlib.suppress(OSError):
                os.write(fd, b'\0\0\0\x0e{"kind": "')
                if closing:
                    os.close(fd)
        os._exit(0)

    result = box.run(cut)
    assert not result.process.ended
    assert result.process.garbled is None
    assert not result.process.timed_out


def test_a_closed_pipe_is_waited_out_by_the_deadline_only(box):
    """A test that closes its pipe has said nothing about its end, and may not have ended."""

    def close():
        os.closerange(3, 1000)
        signal.pause()

    result = box.run(close, timeout=0.5)
    assert result.process.timed_out
    assert not result.process.ended


def test_everything_is_unmade(box, host):
    """After its sandbox is closed neither a group nor a mount nor a process of it is left."""
    mounts = Path("/proc/self/mountinfo").read_text()
    box.run(lambda: None)
    box.run(lambda: None)
    until = time.monotonic() + 10
    while groups_of_ours(host) and time.monotonic() < until:
        os.sched_yield()
    assert groups_of_ours(host) == []
    assert Path("/proc/self/mountinfo").read_text() == mounts


@pytest.mark.needs("memory")
def test_a_run_that_died_is_swept_by_the_next(host):
    """Groups of a dead owner go, those of one that lives stay."""
    place = host.places["memory"]
    dead, alive = (Path(place.directory) / f"{groups.PREFIX}1-{name}" for name in ("dead", "alive"))
    for directory in (dead, alive):
        directory.mkdir()
        (directory / "7").mkdir()
    lock = groups._lock(str(alive))
    try:
        builder = BuilderClient({"memory": place})
        builder.close()
        assert not dead.exists()
        assert (alive / "7").exists()
    finally:
        os.close(lock)
        assert groups.remove(str(alive))


def test_a_step_that_fails_is_named_with_its_path(box):
    """A sandbox that cannot be built says which step failed on which path, in words."""
    plan = box.plan(bind=(Bind("/nonexistent/thing", "/nonexistent/thing"),))
    sandbox = box.builder.order(plan.recipe)
    with pytest.raises(
        StepFailedError, match=r"bind /nonexistent/thing: No such file or directory \[ENOENT\]"
    ):
        sandbox.wait_ready()
    sandbox.close()


def test_a_dead_builder_is_a_failed_step(host):
    """No hang and no test result when the builder was killed."""
    builder = BuilderClient({})
    builder._builder.kill()
    builder._builder.wait()
    from pytest_isolate._sandbox.recipe import Recipe

    with pytest.raises(StepFailedError, match="builder process, which has died"):
        builder.order(Recipe(0, None, "/proc", (), {})).wait_ready()
    builder.close()


def test_a_builder_that_does_not_answer_is_replaced(box):
    """A stopped builder is waited for once, then killed; the next one builds."""
    plan = box.plan()
    builder = BuilderClient(box.host.places)
    usual, builder.answers_within = builder.answers_within, 0.5
    os.kill(builder.pid, signal.SIGSTOP)
    sandbox = builder.order(plan.recipe)
    with pytest.raises(StepFailedError, match="wait for the sandbox to be built"):
        sandbox.wait_ready()
    sandbox.close()
    assert "was ended by SIGKILL" in builder.death()
    builder.answers_within = usual
    builder.revive()
    assert builder.death() is None
    sandbox = builder.order(plan.recipe)
    sandbox.wait_ready()
    sandbox.close()
    builder.close()


def test_a_failure_that_nobody_waits_for_any_more_ends_no_builder(box):
    """Of a clone and of a step: pytest has closed the channel before they could say so, as it does
    when both fail.
    """
    builder = BuilderClient(box.host.places)
    good, bad_step = (
        box.plan().recipe,
        box.plan(bind=(Bind("/nonexistent/thing", "/nonexistent/thing"),)).recipe,
    )
    # CLONE_THREAD without CLONE_SIGHAND
    bad_clone = good.replace(namespaces=good.namespaces | 0x10000)
    os.kill(builder.pid, signal.SIGSTOP)
    for recipe in (bad_clone, bad_step):
        builder.order(recipe).close()
    os.kill(builder.pid, signal.SIGCONT)
    sandbox = builder.order(good)
    sandbox.wait_ready()
    sandbox.close()
    assert builder.death() is None
    builder.close()
    assert builder._builder.returncode == 0


def test_a_sandbox_whose_closing_was_interrupted_is_closed_once_more(box):
    """A Ctrl-C between two of its descriptors: the second time none of them is closed again, which
    by then is somebody else's number.
    """
    sandbox = box.builder.order(box.plan().recipe)
    sandbox.wait_ready()
    held = [fd for fd in sandbox.descriptors()[1:] if fd >= 0]

    def interrupt(frame, event, function):
        if event == "c_return" and function is os.close:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(interrupt)
    with pytest.raises(KeyboardInterrupt):
        sandbox.close()
    sandbox.close()
    for fd in held[1:]:
        os.close(fd)


def test_a_stopped_builder_does_not_hold_up_the_end():
    """Nor does one that is stopped when the run is over."""
    builder = BuilderClient({})
    os.kill(builder.pid, signal.SIGSTOP)
    builder.close(within=0.2)
    assert builder._builder.returncode == -signal.SIGKILL


@pytest.mark.parametrize("stopped", [False, True])
def test_a_lock_that_an_interruption_left_in_subprocess_holds_up_nobody(stopped):
    """A Ctrl-C between the taking of that lock and its ``try`` leaves it locked, and whoever waits
    for the process by it would for ever.
    """
    builder = BuilderClient({})
    if stopped:
        os.kill(builder.pid, signal.SIGSTOP)
    builder._builder._waitpid_lock.acquire()
    assert builder.death() is None
    builder.close(**({"within": 0.2} if stopped else {}))
    assert builder._builder.returncode == (-signal.SIGKILL if stopped else 0)


def test_a_killed_pid_1_takes_its_test_along(box):
    """The kernel kills every process of a namespace with its first: the test's death is seen as
    such.
    """
    read, write = os.pipe()

    def kill_pid_1(sandbox):
        os.read(read, 1)
        sandbox.kill()

    def wait_for_it():
        os.write(write, b"x")
        signal.pause()

    result = box.run(wait_for_it, keep=frozenset({write}), meanwhile=kill_pid_1)
    os.close(read)
    os.close(write)
    assert not result.process.timed_out
    assert os.WTERMSIG(result.process.status) == signal.SIGKILL
