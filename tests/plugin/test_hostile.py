"""Tests that break what they can reach: each has one right verdict, and the test after
it passes.
"""

from __future__ import annotations

import json
import os
import sys

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.hostile]

ROOT = os.geteuid() == 0
#: Name -> what the test does, and the one right outcome and verdict.
CASES = {
    # what a test replaces and does not put back is its own copy: it passes, as it would in a plain
    # run that put it back
    "fork": ("os.fork = None", "passed", "ok"),
    "exit": ("os._exit = lambda status: None", "passed", "ok"),
    "write": ("os.write = None", "passed", "ok"),
    "getpid": ("os.getpid = lambda: 1", "passed", "ok"),
    "stdout": ("sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = 5", "passed", "ok"),
    "no-stdout": ("del sys.stdout, sys.__stdout__", "passed", "ok"),
    "json": ("import json; json.dumps = json.JSONEncoder = None; sys.modules['json'] = None",
             "passed", "ok"),
    "clock": ("time.monotonic = time.time = time.perf_counter = None", "passed", "ok"),
    "looks": ("os.fstatvfs = os.pread = os.close = os.dup = None", "passed", "ok"),
    "environment": ("os.environ.clear()", "passed", "ok"),
    "handlers": ("for number in range(1, 32): number in {9, 19} or signal.signal(number, signal.SIG_IGN)", "passed", "ok"),
    "mask": ("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))", "passed", "ok"),
    "user": ("os.setgroups([]); os.setgid(65534); os.setuid(65534)" if ROOT else "os.setuid(os.getuid())", "passed", "ok"),
    "cwd": ("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "passed", "ok"),
    "thread": ("threading.Thread(target=signal.pause).start()", "passed", "ok"),
    # its life
    "closes": ("os.closerange(0, 4096)", "failed", "crash"),
    "closes-but-output": ("os.closerange(3, 4096)", "failed", "crash"),
    "execs": ("os.execv('/bin/true', ['true'])", "failed", "crash"),
    "execs-sleep": ("os.execv('/bin/sleep', ['sleep', '98765'])", "failed", "timeout"),
    "kills-itself": ("os.kill(os.getpid(), 9)", "failed", "crash"),
    # The first process of a namespace, whom nobody in it kills
    "kills-its-parent": ("os.kill(os.getppid(), 9)", "passed", "ok"),
    "kills-pid-1": ("[os.kill(1, number) for number in (9, 15, 19, 11, 2)]", "passed", "ok"),
    "kills-all": ("sleeper(); os.kill(-1, 9)", "passed", "ok"),
    "stops": ("os.kill(os.getpid(), signal.SIGSTOP)", "failed", "timeout"),
    "deaf": ("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); faulthandler.disable(); signal.sigwait({10})", "failed", "timeout"),
    # its processes
    "daemons": ("os.fork() or (os.setsid(), os.fork() or os.execv('/bin/sleep', ['sleep', '98765']), os._exit(0)); os.wait()",
                "error", "violation"),
    "orphans": ("subprocess.run('for i in $(seq 2000); do sleep 98765 & done', shell=True)",
                "error", "violation"),
    # its limits
    "files": ("[open('/dev/null') for _ in range(10_000)]", "failed", "violation"),
    "disk": ("open('fill', 'wb').write(bytes(32 << 20))", "failed", "violation"),
    "deep": ("sys.setrecursionlimit(200_000); f = lambda n: n and f(n - 1); f(100_000)", "passed",
             "ok"),
    # its file system
    "deletes": ("[shutil.rmtree(path, ignore_errors=True) for path in ('/etc', '/home', '/var', '/opt', '/srv', os.getcwd())]",
                "passed", "ok"),
    "deletes-pytest": ("[shutil.rmtree(os.path.dirname(each.__file__), ignore_errors=True) for each in (pytest, pytest_isolate)]",
                       "passed", "ok"),
    "renames": ("os.rename(os.getcwd(), os.getcwd() + '.away')", "passed", "ok"),
    "unmounts": ("[libc.umount2(line.split()[4].encode(), 2) for line in reversed(open('/proc/self/mountinfo').readlines())]",
                 "passed", "ok"),
    "remounts": ("[libc.mount(b'none', line.split()[4].encode(), None, 4128, None) for line in open('/proc/self/mountinfo')]",
                 "passed", "ok"),
    "mounts-over": ("[libc.mount(b'none', path, b'tmpfs', 0, None) for path in (b'/', b'/tmp', b'/proc', b'/usr', b'/dev')]",
                    "passed", "ok"),
    "hides-daemon": ("subprocess.Popen(['sleep', '98765']); libc.umount2(b'/proc', 2)",
                     "error", "violation"),
    "false-proc": ("libc.mount(b'none', b'/proc', b'tmpfs', 0, None) or (os.mkdir('/proc/77'), os.mkfifo('/proc/77/stat'), sleeper())",
                   "error" if ROOT else "passed", "violation" if ROOT else "ok"),
    "chroot": ("os.chroot('/tmp')" if ROOT else "pass", "passed", "ok"),
}  # fmt: skip
# Where a call of Python's is a call of C's: the stack of the process ends first
if sys.version_info < (3, 11):
    CASES["deep"] = (CASES["deep"][0], "failed", "crash")
LIMITS = {
    "files": "files=64, ",
    "disk": "disk='1M', ",
    "execs-sleep": "timeout='1s', ",
    "stops": "timeout='1s', ",
    "deaf": "timeout='1s', ",
    "handlers": "timeout='30s', ",
}
HEAD = """
import ctypes, faulthandler, os, pytest, pytest_isolate, shutil, signal, subprocess, sys, threading, time
from pytest_isolate import isolate
libc = ctypes.CDLL(None)
def sleeper(): subprocess.Popen(["sleep", "98765"])
"""


def test_each_has_its_verdict_and_the_next_test_passes(pytester, isolated, canary):
    """One run of all of them, each followed by a test that writes, forks, prints and
    has a child.
    """
    source = HEAD
    for number, (name, (body, _, _)) in enumerate(CASES.items()):
        source += f"""
@isolate({LIMITS.get(name, "")}leaks="error")
def test_{number}(tmp_path):
    os.chdir(tmp_path)
    {body}
@isolate(leaks="error")
def test_after_{number}(tmp_path, capfd):
    (tmp_path / "file").write_text("x")
    print(subprocess.run(["echo", "child"], stdout=subprocess.PIPE, text=True).stdout)
    assert "child" in capfd.readouterr().out
"""
    pytester.makepyfile(test_it=source)
    result = isolated("--isolate-report=report.json", "-rA")
    tests = {
        each["nodeid"].partition("::")[2]: each
        for each in json.loads((pytester.path / "report.json").read_text())["tests"]
    }
    assert len(tests) == 2 * len(CASES), result.stdout.str()[-3000:]
    found = {
        name: (tests[f"test_{number}"]["outcome"], tests[f"test_{number}"]["verdict"])
        for number, name in enumerate(CASES)
    }
    after = {name: tests[f"test_after_{number}"]["verdict"] for number, name in enumerate(CASES)}
    assert found == {name: (outcome, verdict) for name, (_, outcome, verdict) in CASES.items()}, (
        result.stdout.str()
    )
    assert after == dict.fromkeys(CASES, "ok")
    assert {each["outcome"] for name, each in tests.items() if "after" in name} == {"passed"}
    assert (canary / "file").read_text() == "untouched"
    assert "left 2000 processes behind" in result.stdout.str()


@pytest.mark.parametrize("keywords", ["", "profile='strict'"])
def test_a_test_that_writes_to_all_its_descriptors_has_run(pytester, isolated, keywords):
    """Its first word came at once with the noise: it is a crash of its call, which xfail covers,
    and no sandbox that broke.
    """
    pytester.makepyfile(f"""
        import os, pytest
        from pytest_isolate import isolate
        def write():
            for fd in range(300):
                try: os.write(fd, b"~~~~{{}}\\n" * 100)
                except OSError: pass
        @isolate({keywords})
        def test_writes(): write()
        @pytest.mark.xfail
        @isolate({keywords})
        def test_is_expected_to(): write()
    """)
    result = isolated("--isolate-report=report.json")
    result.assert_outcomes(failed=1, xfailed=1)
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [(test["verdict"], test["violations"][0]["phase"]) for test in tests] == [
        ("crash", "call")
    ] * 2
    assert (
        "its process wrote what cannot be read: a frame says that it has "
        in tests[0]["violations"][0]["message"]
    )
