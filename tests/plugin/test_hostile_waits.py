"""Tests that would have pytest wait for them, or change under its hands what it has open: it waits
for nobody and shares nothing.
"""

from __future__ import annotations

import json
import os
import pty
import re
from pathlib import Path

import pytest
from running import Started

pytestmark = [pytest.mark.kernel, pytest.mark.hostile]

FLIPPING = """
import fcntl, os, pytest, signal
@pytest.mark.parametrize("number", range(4))
def test_before(number): pass  # from the third on the nursery forks
def test_it():
    with open("started", "w") as file: file.write("x")
    open("go").read()
    for fd in map(int, os.listdir("/proc/self/fd")):
        for change in (os.O_APPEND, os.O_NONBLOCK, os.O_DIRECT):
            try: fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) ^ change)
            except OSError: pass
        try: os.lseek(fd, 7, os.SEEK_CUR)
        except OSError: pass
        try: fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGWINCH)
        except OSError: pass
    with open("flipped", "w") as file: file.write("x")
    open("go").read()
"""
#: How pytest's standard streams are open, as a shell says it.
STREAMS = {"pipe": "", "file": ">out 2>&1 <test_it.py", "null": "</dev/null >/dev/null 2>&1"}


def opened(pid: int) -> dict[str, str]:
    """What the kernel says of each open file of a process: flags and offset.

    Not of what it looks into now and then, to measure.
    """
    found = {}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            where = os.readlink(f"/proc/{pid}/fd/{path.name}")
            if not where.startswith(("/proc/", "/sys/")):
                found[path.name] = f"{where} {' '.join(path.read_text().split()[:4])}"
        except OSError:
            continue
    return found


@pytest.mark.needs("strict")
@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("capture", ["fd", "no"])
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_no_open_file_of_pytests_is_a_tests(tmp_path, streams, capture, profile):
    """Flags and offsets belong to an open file, so whoever shares one can have pytest's own write
    fail or its read wait.
    """
    chosen = ["--isolate-profile=strict"] if profile == "strict" else []
    within = ["sh", "-c", f'exec "$@" {STREAMS[streams]}', "sh"]
    run = Started(
        tmp_path / "project",
        FLIPPING,
        "",
        f"--capture={capture}",
        "--log-file=log",
        "--debug=trace",
        *chosen,
        within=within,
    )
    os.mkfifo(run.directory / "go")
    os.mkfifo(run.directory / "flipped")
    run.wait_for_test()
    before = opened(run.process.pid)
    (run.directory / "go").write_text("x")
    assert (run.directory / "flipped").read_text() == "x"
    after = opened(run.process.pid)
    (run.directory / "go").write_text("x")
    output = run.end()
    assert {fd: after.get(fd) for fd in before} == before
    assert run.process.returncode == 0, output


@pytest.mark.needs("strict")
def test_no_strict_test_has_pytests_terminal(tmp_path):
    """What a terminal does with output and input is a state of it, which whoever has it open can
    change: stop its output, for one.
    """
    main, terminal = pty.openpty()
    source = """
import os
def test_it():
    assert not [fd for fd in range(256) if os.isatty(fd)]
    assert os.read(0, 1) == b""
"""
    run = Started(
        tmp_path / "project", source, "", "--isolate-profile=strict", "-s",
        within=["sh", "-c", 'exec "$@" <$0 >$0', os.ttyname(terminal)],
    )  # fmt: skip
    said = b""
    while re.search(rb"\d (passed|failed|error)", said) is None:
        said += os.read(main, 4096)
    run.end()
    assert b"1 passed" in said
    for fd in (main, terminal):
        os.close(fd)


SAYING = """
import logging, os, sys, pytest
@pytest.mark.parametrize("number", range(6))
def test_says(number, capfd):
    logging.getLogger().warning("logged %s", number)
    with capfd.disabled():
        print("printed", number, flush=True)
        print("and to stderr", number, file=sys.stderr)
        os.write(1, b"written %d\\n" % number)
def test_floods(capfd):
    with capfd.disabled():
        print("x" * (1 << 20))
        print("end of the flood")
"""


@pytest.mark.needs("strict")
@pytest.mark.parametrize("stdout", ["", ">out 2>&1"])
@pytest.mark.parametrize("profile", [None, "strict"])
@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_what_a_test_says_uncaptured_comes_in_its_place(tmp_path, stdout, profile, capture):
    """Pytest passes it on: behind its own word of the test, before its next, and all of it."""
    options = [
        "--log-file=log",
        f"--capture={capture}",
        *(["--isolate-profile=strict"] if profile else []),
    ]
    run = Started(
        tmp_path / "project", SAYING, "", *options, within=["sh", "-c", f'exec "$@" {stdout}', "sh"]
    )
    output = run.end() or (run.directory / "out").read_text()
    found = re.findall(r"test_says\[\d\] |printed \d|stderr \d|written \d|PASSED", output)
    expected = [
        word
        for n in range(6)
        for word in (f"test_says[{n}] ", f"printed {n}", f"stderr {n}", f"written {n}", "PASSED")
    ]
    assert found == [*expected, "PASSED"], output
    assert f"{'x' * (1 << 20)}\nend of the flood\n" in output
    assert re.findall(r"logged \d", (run.directory / "log").read_text()) == [
        f"logged {n}" for n in range(6)
    ]


def test_a_live_log_comes_in_its_place(pytester, isolated):
    pytester.makepyfile("import logging\ndef test_it(): logging.getLogger().warning('said live')")
    result = isolated("--isolate-all", "--log-cli-level=INFO")
    result.stdout.fnmatch_lines(["*live log call*", "WARNING *said live*", "PASSED*"])


FILLING = """
import fcntl, os
def test_one():
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:") or fcntl.fcntl(fd, fcntl.F_GETFL) & 3 != os.O_RDONLY:
                continue
        except OSError:
            continue
        filled = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
        os.dup2(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 250)  # so that it stays open
        os.pipe2(0)
        reading, _ = os.pipe()
        os.dup2(reading, fd)  # where nothing comes
        try:
            while os.write(filled, b"\\xff" * 4096): pass
        except BlockingIOError: pass
def test_two(): pass
def test_three(): pass
"""


@pytest.mark.needs("strict")
@pytest.mark.parametrize("profile", [None, "strict"])
def test_a_test_that_fills_the_pipe_of_commands(pytester, isolated, profile):
    """Pytest tells it of the next test by that pipe, before any clock has begun."""
    pytester.makepyfile(
        "from pytest_isolate import isolate\npytestmark = isolate(scope='module',"
        f" profile={profile!r})\n{FILLING}"
    )
    isolated().assert_outcomes(passed=3)


TAKES_BACK = """
import os, pytest, signal
def take_back():
    for name in os.listdir("/proc/self/fd"):
        try:
            os.read(os.open(f"/proc/self/fd/{name}", os.O_RDONLY | os.O_NONBLOCK), 1 << 20)
        except OSError:
            continue
@pytest.mark.parametrize("number", range(4))
def test_dies(number):
    take_back()
    os.kill(os.getpid(), signal.SIGKILL)
def test_hangs():
    take_back()
    signal.pause()
def test_after(): pass
"""


@pytest.mark.needs("strict")
@pytest.mark.parametrize("jobs", [(), ("--isolate-jobs=2",)])
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_no_test_takes_back_that_it_came_inside(pytester, isolated, profile, jobs):
    """What lies in a pipe can be read at either end: it looked as if the sandbox had broken, and
    had 30 seconds in spite of its timeout.
    """
    pytester.makepyfile(test_it=TAKES_BACK)
    options = () if profile == "default" else (f"--isolate-profile={profile}",)
    isolated(
        "--isolate-all", "--isolate-timeout=2", "--isolate-report=report.json", *options, *jobs
    )
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [test["verdict"] for test in tests] == ["crash"] * 4 + ["timeout", "ok"]
    assert tests[4]["usage"]["wall_seconds"] < 10


LEASING = """
import fcntl, os, signal
from pytest_isolate import isolate
def lease(*places):
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel's request to give it back
    for path in [f"{place}/{name}" for place in places for name in os.listdir(place)]:
        try:
            fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            continue
@isolate(leaks="error", timeout=20)
def test_leaves_somebody():
    told, tell = os.pipe()
    if os.fork() == 0:
        lease("/proc/self")
        os.close(tell)
        signal.pause()
    os.close(tell)
    os.read(told, 1)
@isolate(cpu_time=60)
def test_hangs():
    for line in open("/proc/self/cgroup").read().splitlines():
        _, controllers, path = line.split(":", 2)
        place = f"/sys/fs/cgroup/{controllers}{path}"
        if "pytest-isolate" in path and os.path.isdir(place): lease(place)
    signal.pause()
def test_after(): pass
"""


@pytest.mark.needs("strict", "cpu")
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_nobody_waits_for_the_end_of_a_lease(pytester, isolated, profile):
    """Whoever opens a leased file waits for 45 seconds: the builder looked into /proc so, after 30
    seconds pytest killed it, and nobody was left behind; a test with a limit had no timeout.
    """
    pytester.makepyfile(test_it=LEASING)
    options = () if profile == "default" else (f"--isolate-profile={profile}",)
    isolated("--isolate-all", "--isolate-timeout=2", "--isolate-report=report.json", *options)
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [test["verdict"] for test in tests] == ["violation", "timeout", "ok"]
    assert all(test["usage"]["wall_seconds"] < 10 for test in tests)
