"""Nothing stays: after a run, and after a run that was killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import PYTEST

pytestmark = pytest.mark.alone


def alive_with(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended while we looked
            if word.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(path.parent.name)
    return found


def groups(host) -> set[Path]:
    return {
        path
        for place in set(host.places.values())
        for path in Path(place.directory).glob("pytest-isolate-*")
    }


def test_a_run_leaves_nothing(pytester, isolated, host):
    """No group, no mount, no process, no temporary file."""
    before = groups(host), Path("/proc/self/mountinfo").read_text(), set(os.listdir("/dev/shm"))
    pytester.makepyfile(
        "import os, subprocess\ndef test_a(tmp_path): open('/dev/shm/x', 'w')\ndef test_b():"
        " subprocess.Popen(['sleep', '4321'])\ndef test_c(): os._exit(3)"
    )
    isolated("--isolate-all")
    assert (
        groups(host),
        Path("/proc/self/mountinfo").read_text(),
        set(os.listdir("/dev/shm")),
    ) == before
    assert alive_with("4321") == []


def start(pytester, *args: str) -> subprocess.Popen[bytes]:
    fifo = pytester.path / "started"
    os.mkfifo(fifo)
    pytester.makepyfile(f"""
        import signal, subprocess
        def test_wait():
            subprocess.Popen(["sleep", "87654"])
            with open({str(fifo)!r}, "w") as started: started.write("x")
            signal.pause()
        """)
    command = [
        *PYTEST,
        "--isolate-all",
        f"--isolate-bind={fifo}",
        *args,
    ]
    run = subprocess.Popen(
        command,
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with fifo.open() as started:
        assert started.read(1) == "x"
    return run


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_no_process_and_no_group(pytester, host, number):
    """Two seconds after its death nothing of a killed pytest is there."""
    before = groups(host)
    with start(pytester) as run:
        run.send_signal(number)
        run.wait()
    deadline = time.monotonic() + 2
    while (alive_with("87654") or groups(host) - before) and time.monotonic() < deadline:
        os.sched_yield()
    assert alive_with("87654") == []
    assert groups(host) - before == set()


def test_ctrl_c_ends_the_run_like_a_plain_one(pytester, host):
    """SIGINT to pytest's group: the sandbox dies, the summary comes, the exit status is
    pytest's.
    """
    with start(pytester) as run:
        os.killpg(run.pid, signal.SIGINT)
        ready, _, _ = select.select([run.stdout], [], [], 20)
        assert ready
        output = run.stdout.read().decode()
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    assert alive_with("87654") == []
