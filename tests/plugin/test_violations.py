"""What a test overstepped is named in one sentence, in the phase where it happened."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from running import PYTEST


def sentence(result: pytest.RunResult, start: str) -> str:
    """The line of a failure, which pytest draws in red, that begins so; there is only one."""
    found = [line for line in result.outlines if line.startswith(f"E   {start}")]
    assert len(found) == 1, result.stdout.str()
    return found[0]


@pytest.mark.needs("memory")
def test_memory_in_four_children(pytester, isolated):
    """200 MB in four children under 64M: the limit is the tree's."""
    pytester.makepyfile("""
        import multiprocessing, time
        from pytest_isolate import isolate
        def grow(): block = b"x" * (50 << 20); time.sleep(60)
        @isolate(memory="64M")
        def test_spread():
            with multiprocessing.get_context("fork").Pool(4) as pool:
                [call.wait() for call in [pool.apply_async(grow) for _ in range(4)]]
        """)
    result = isolated()
    result.assert_outcomes(failed=1)
    said = sentence(
        result,
        "MemoryExceeded: used 6",
    )
    assert " MiB of 64 MiB and wanted more, so the kernel killed" in said
    name = "test_memory_in_four_children.py::test_spread"
    asked = f" (memory=64 MiB, set by @isolate on function {name})"
    who = ("the test's own process", "a process that the test had started")
    assert said.endswith(tuple(each + asked for each in who))
    if os.geteuid() == 0 and Path("/dev/kmsg").exists():
        (held,) = [
            line
            for line in result.outlines
            if line.startswith("processes when the limit was hit: ")
        ]
        assert held.count("(pid ") >= 5, "the test and its four children, by the kernel's own list"


@pytest.mark.needs("pids")
def test_a_fork_bomb(pytester, isolated):
    """The kernel's refusal is a violation although the test caught the error."""
    pytester.makepyfile("""
        import os, signal
        from pytest_isolate import isolate
        @isolate(pids=20)
        def test_bomb():
            for _ in range(100):
                try:
                    if os.fork() == 0: signal.pause()
                except BlockingIOError: return
        """)
    result = isolated()
    result.assert_outcomes(failed=1, warnings=1)
    assert "(pids=20, set by @isolate on function " in sentence(
        result,
        "PidsExceeded: wanted 1 more than 20 processes and threads, which the kernel refused",
    )


@pytest.mark.needs("cpu")
def test_processor_time_of_the_tree(pytester, isolated):
    """A test and its sub-process share one account: past it they are killed, with stacks; a test
    that ends just past it fails too.
    """
    pytester.makepyfile("""
        import subprocess, sys, time
        from pytest_isolate import isolate
        @isolate(cpu_time="1500ms", timeout=60)
        def test_burns():
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            while True: pass
        @isolate(cpu_time="1s")
        def test_late():
            while time.process_time() < 1.5: pass
        @isolate(cpu_time="1500ms", timeout=60)  # its way into the sandbox counts, and takes a slow kernel 0.4 s
        def test_sleeps(): time.sleep(1.6)
        """)
    result = isolated("--isolate-report=report.json")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        "E   CpuTimeExceeded: used * of 1.5 s of processor time and was killed in call; every"
        " thread's stack is below (cpu_time=1.5 s, set by @isolate on function *test_burns)"
    )
    burns, late, sleeps = json.loads((pytester.path / "report.json").read_text())["tests"]
    for entry in (burns, late):
        assert [(each["resource"], each["phase"]) for each in entry["violations"]] == [
            ("cpu_time", "call")
        ]
        assert entry["violations"][0]["used"] > entry["violations"][0]["limit"]
    assert burns["verdict"] == late["verdict"] == "violation"
    assert sleeps["usage"]["wall_seconds"] > 1.5
    # By the kernel's ticks, at which a busy machine also changes from one process to the next
    for usage in (burns["usage"], late["usage"]):
        ticks = usage["cpu_user_seconds"] + usage["cpu_system_seconds"]
        assert ticks == pytest.approx(usage["cpu_seconds"], rel=0.5, abs=0.3)


@pytest.mark.needs("io")
def test_bandwidth_of_block_devices(pytester, isolated):
    """A limit of 1 MiB a second makes reading 2 MiB from the disk take a second at least, and the
    report counts the bytes.
    """
    device = os.stat(pytester.path).st_dev
    if not os.path.exists(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"):
        pytest.skip("the directory of this test is not on a block device")
    (pytester.path / "file").write_bytes(os.urandom(2 << 20))
    with (pytester.path / "file").open("rb") as file:
        os.fsync(file.fileno())
    pytester.makepyfile("""
        import os, time
        from pytest_isolate import isolate
        @isolate(io_read="1M")
        def test_reads():
            with open("file", "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                started = time.monotonic()
                file.read()
            assert time.monotonic() - started >= 1
        """)
    result = isolated("--isolate-report=report.json")
    result.assert_outcomes(passed=1)
    usage = json.loads((pytester.path / "report.json").read_text())["tests"][0]["usage"]
    assert usage["io_read_bytes"] >= 2 << 20


def test_an_endless_loop(pytester, isolated):
    """A timeout names the limit and shows where every thread stood, threads in native code too."""
    pytester.makepyfile("""
        import threading, time
        from pytest_isolate import isolate
        def sleeper(): time.sleep(60)
        @isolate(timeout="500ms")
        def test_loop():
            threading.Thread(target=sleeper, daemon=True).start()
            print("before the loop")
            while True: pass
        """)
    result = isolated()
    result.assert_outcomes(failed=1)
    assert "(timeout=500 ms, set by @isolate on function " in sentence(
        result, "TimeoutExceeded: took more than 500 ms: it was still in call after "
    )
    result.stdout.fnmatch_lines(
        [
            "*Captured stdout call*",
            "before the loop",
            "*isolate: stacks*",
            "*in sleeper",
            "*in test_loop",
        ]
    )


@pytest.mark.parametrize("last", ["pass", "for path in tmp_path.iterdir(): path.unlink()"])
def test_a_disk_full_of_files(pytester, isolated, last):
    """Empty ones: their number is the limit, whether they are still there when the test is over or
    not.
    """
    pytester.makepyfile(f"""
        from pytest_isolate import isolate
        @isolate(disk="64K")
        def test_many(tmp_path):
            try:
                for number in range(10_000): (tmp_path / str(number)).touch()
            finally:
                {last}
    """)
    result = isolated()
    result.assert_outcomes(failed=1)
    assert re.search(
        r"all 1088 files and directories that it may|it may make 1088 files and directories",
        sentence(result, "DiskExceeded: "),
    )


def test_a_full_disk(pytester, isolated):
    """100 MB under 16M, error caught: DiskExceeded all the same."""
    pytester.makepyfile("""
        from pytest_isolate import isolate
        @isolate(disk="16M")
        def test_write(tmp_path):
            try: (tmp_path / "large").write_bytes(bytes(100 << 20))
            except OSError: pass
        """)
    result = isolated()
    result.assert_outcomes(failed=1)
    assert "(disk=16 MiB, set by @isolate on function" in sentence(
        result, "DiskExceeded: wrote 16 MiB of 16 MiB and wanted more, which the kernel refused"
    )


def test_too_many_files(pytester, isolated):
    """A descriptor that was refused and forgiven is a violation."""
    pytester.makepyfile("""
        from pytest_isolate import isolate
        @isolate(files=48)
        def test_open():
            held = []
            try:
                while True: held.append(open("/dev/null"))
            except OSError: pass
        """)
    result = isolated()
    result.assert_outcomes(failed=1)
    assert "(files=48, set by @isolate on function " in sentence(
        result, "FilesExceeded: opened all 48 files that a process may and wanted one more, "
    )


@pytest.mark.dear
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "import ctypes; ctypes.string_at(0)",
            "was ended by signal 11 (SIGSEGV, Segmentation fault) in call",
        ),
        ("import os; os.abort()", "was ended by signal 6 (SIGABRT, Aborted) in call"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "was ended by signal 9 (SIGKILL, Killed) in call",
        ),
        (
            "import os; os._exit(0)",
            (
                "exited with status 0 (by os._exit, by running another program in its place, or"
                " because its descriptors were closed) in call"
            ),
        ),
        (
            "import os; os.execlp('true', 'true')",
            (
                "exited with status 0 (by os._exit, by running another program in its place, or"
                " because its descriptors were closed) in call"
            ),
        ),
    ],
)
def test_a_crash(pytester, isolated, body, said):
    """A death names its signal, keeps the output before it, and the test after it runs."""
    pytester.makepyfile(
        f"def test_crash():\n    print('before')\n    {body}\ndef test_next(): pass"
    )
    result = isolated("--isolate-all")
    result.assert_outcomes(failed=1, passed=1)
    assert said in sentence(result, "Crashed: its process ")
    result.stdout.fnmatch_lines(["before"])


@pytest.mark.dear
def test_a_crash_shows_its_python_stack(pytester, isolated):
    """The stack of the dying process, without pytest's own frames."""
    pytester.makepyfile("import ctypes\ndef deep(): ctypes.string_at(0)\ndef test_crash(): deep()")
    result = isolated("--isolate-all")
    result.stdout.fnmatch_lines(
        [
            "Fatal Python error: Segmentation fault",
            "*in deep",
            "*in test_crash",
            "  (frames of pytest and pluggy)",
        ]
    )


@pytest.mark.parametrize(
    ("leaks", "expected"),
    [
        ("error", {"passed": 1, "errors": 1}),
        ("warn", {"passed": 1, "warnings": 1}),
        ("ignore", {"passed": 1}),
    ],
)
def test_a_daemon_left_behind(pytester, isolated, leaks, expected):
    """``leaks`` says how a process left behind is taken; it is named by its command."""
    pytester.makepyfile(
        "import subprocess\ndef test_leak(): subprocess.Popen(['sleep', '1234'],"
        " start_new_session=True)"
    )
    result = isolated("--isolate-all", f"--isolate-leaks={leaks}")
    result.assert_outcomes(**expected)
    assert ("sleep 1234 (pid " in result.stdout.str()) is (leaks != "ignore")


def test_phases_are_told_apart(pytester, isolated):
    """A violation in a function fixture's set-up or teardown is an error of that phase."""
    pytester.makepyfile("""
        import pytest
        from pytest_isolate import isolate
        def fill(tmp_path):
            try: (tmp_path / "x").write_bytes(bytes(2 << 20))
            except OSError: pass
        @pytest.fixture
        def early(tmp_path): fill(tmp_path)
        @pytest.fixture
        def late(tmp_path): yield; fill(tmp_path)
        pytestmark = isolate(disk="1M")
        def test_setup(early): pass
        def test_teardown(late): pass
        """)
    result = isolated("--isolate-report=report.json")
    result.assert_outcomes(passed=1, errors=2)
    phases = [
        test["violations"][0]["phase"]
        for test in json.loads((pytester.path / "report.json").read_text())["tests"]
    ]
    assert phases == ["setup", "teardown"]


@pytest.mark.parametrize(
    ("raises", "outcome"),
    [
        ("DiskExceeded", "xfailed"),
        ("Violation", "xfailed"),
        ("TimeoutExceeded", "failed"),
        (None, "xfailed"),
    ],
)
def test_xfail_covers_a_violation_of_its_class(pytester, isolated, raises, outcome):
    """Plain ``xfail`` covers a violation, ``raises`` only its own class and those above it."""
    keyword = "" if raises is None else f"raises=pytest_isolate.{raises}"
    pytester.makepyfile(f"""
        import pytest, pytest_isolate
        @pytest.mark.xfail({keyword})
        @pytest_isolate.isolate(disk="1M")
        def test_write(tmp_path):
            try: (tmp_path / "x").write_bytes(bytes(2 << 20))
            except OSError: pass
        """)
    isolated().assert_outcomes(**{outcome: 1})


def test_the_report_has_the_contracts_schema(pytester, isolated):
    """Every isolated test has an entry with every key, also one that was killed or skipped."""
    pytester.makepyfile("""
        import os, pytest
        from pytest_isolate import isolate
        @isolate(timeout=20, disk="8M")
        def test_pass(): pass
        @isolate
        def test_crash(): os._exit(1)
        @isolate
        def test_skip(): pytest.skip("no")
        @pytest.mark.skip
        @isolate
        def test_skip_mark(): pass
        @isolate(timeout="200ms")
        def test_late(): os.read(os.pipe()[0], 1)
        def test_plain(): pass
        """)
    isolated("--isolate-report=report.json")
    report = json.loads((pytester.path / "report.json").read_text())
    assert report["schema"] == 1
    assert all(set(each) == {"available", "reason"} for each in report["host"].values())
    assert [
        (each["nodeid"].partition("::")[2], each["outcome"], each["verdict"])
        for each in report["tests"]
    ] == [
        ("test_pass", "passed", "ok"),
        ("test_crash", "failed", "crash"),
        ("test_skip", "skipped", "ok"),
        ("test_skip_mark", "skipped", "ok"),
        ("test_late", "failed", "timeout"),
    ]
    first = report["tests"][0]
    assert first["limits"] == {"timeout": 20.0, "disk": 8 << 20}
    assert set(first["usage"]) == {
        "wall_seconds", "cpu_seconds", "memory_peak_bytes", "pids_peak", "disk_bytes",
        "io_read_bytes", "io_write_bytes",
        "cpu_user_seconds", "cpu_system_seconds",
    }  # fmt: skip
    assert report["tests"][4]["violations"][0]["resource"] == "timeout"


@pytest.mark.needs("user_xattr")
def test_removing_a_directory_of_the_machine(pytester, isolated, canary):
    """``rm -rf`` in a test leaves the machine as it was."""
    pytester.makepyfile(
        f"import subprocess\ndef test_rm(): subprocess.run(['rm', '-rf', {str(canary)!r}],"
        " check=True)"
    )
    isolated("--isolate-all").assert_outcomes(passed=1)
    assert (canary / "file").read_text() == "untouched"


def test_forged_frames_do_not_turn_a_failure_green(pytester, isolated):
    """A test that finds the pipe and says its own end, or another test's result, is a crash and not
    a pass.
    """
    pytester.makepyfile("""
        import json, os, struct
        def test_forge():
            for kind in ({"kind": "report", "when": "call", "report": {"nodeid": "other", "outcome": "passed"}}, {"kind": "end"}):
                data = json.dumps(kind).encode()
                for fd in range(3, 60):
                    try: os.write(fd, struct.pack(">I", len(data)) + data)
                    except OSError: pass
            os._exit(0)
        """)
    result = isolated("--isolate-all")
    result.assert_outcomes(failed=1)
    assert "pytest cannot read" in sentence(result, "Crashed: ")


@pytest.mark.needs("root")
def test_mounted_file_systems_and_files_are_private_too(pytester, canary):
    """Writes to a file system or a single file that is mounted somewhere are discarded as well;
    both are visible.
    """
    (canary / "fs").mkdir()
    pytester.makepyfile(f"""
        from pathlib import Path
        CANARY = Path({str(canary)!r})
        def test_change():
            assert (CANARY / "file").read_text() == "mounted"
            (CANARY / "file").write_text("changed")
            (CANARY / "fs" / "source").write_text("changed")
        def test_plain_look():
            assert (CANARY / "file").read_text() == (CANARY / "fs" / "source").read_text() == "mounted"
        """)
    # in a mount namespace of its own: the machine's mounts are nobody's playground
    script = """
        cd "$1" && shift && mount -t tmpfs none fs && printf mounted > fs/source && mount --bind fs/source file && cd "$OLDPWD" && exec "$@"
    """
    pytest_ = [
        *PYTEST,
        "--isolate-all",
    ]
    pytester.run(
        "unshare", "--mount", "sh", "-c", script, "sh", str(canary), *pytest_
    ).assert_outcomes(passed=2)
    assert (canary / "file").read_text() == "untouched"


def test_an_end_without_results_is_no_pass(pytester, isolated):
    """Saying the end is not enough: a test whose call was never reported has crashed."""
    pytester.makepyfile("""
        import json, os, struct
        def test_forge():
            data = json.dumps({"kind": "end"}).encode()
            for fd in range(3, 60):
                if os.path.exists(f"/proc/self/fd/{fd}") and "pipe" in os.readlink(f"/proc/self/fd/{fd}"):
                    try: os.write(fd, struct.pack(">I", len(data)) + data)
                    except OSError: pass
            os._exit(0)
        """)
    result = isolated("--isolate-all")
    result.assert_outcomes(failed=1)
    sentence(result, "Crashed: its process exited with status 0")


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n1")])
def test_a_violation_stands_once_in_red_with_its_place(pytester, isolated, workers):
    """As pytest's short tracebacks have it; the summary line begins with what differs."""
    if workers:
        pytest.importorskip("xdist")
    pytester.makepyfile(
        test_it="""
        import os
        from pytest_isolate import isolate
        def helper(): os._exit(3)

        @isolate
        def test_gone(): helper()
        """
    )
    result = isolated("--color=yes", *workers)
    said = [line for line in result.outlines if "exited with status 3" in line]
    assert len(said) == 2, result.stdout.str()
    assert said[0].startswith("\x1b[1m\x1b[31mE   Crashed: its process exited with status 3")
    assert "- Crashed: its process exited with status 3" in said[1]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in result.outlines]
    assert "test_it.py:5: in test_gone" in plain
