"""Whole runs in places that are not a plain directory: mounts below the project and TMPDIR, a
project in /dev/shm, named namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from running import HEARING, PYTEST

pytestmark = pytest.mark.kernel

ISOLATED = (*PYTEST, "--isolate-all")


@pytest.fixture
def among_mounts(pytester, monkeypatch):
    """Run pytest isolated, behind a script that mounts, in a user namespace: to the kernel no root,
    so directories are taken apart.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT", raising=False)

    def run(
        script: str, *args: str, how: tuple[str, ...] = ("--map-root-user",)
    ) -> pytest.RunResult:
        return pytester.run(
            "unshare",
            *how,
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            f'{script}\nexec "$@"',
            "sh",
            *ISOLATED,
            *args,
            timeout=60,
        )

    return run


#: Waits until the sandbox that was ordered ahead is there: the builder has nothing else to do.
BUILT_AHEAD = (
    HEARING
    + """
from pathlib import Path
builders = []
at("ordered", builders.append)
def wait_for_builder():
    place = Path(f"/proc/{builders[-1]}")
    while "poll" not in (place / "wchan").read_text(): os.sched_yield()
"""
)
COMING_AND_GOING = """
import os, sqlite3
from pathlib import Path
import pytest
from conftest import wait_for_builder

HERE = Path(__file__).parent

@pytest.fixture(scope="session")
def database():
    connection = sqlite3.connect(HERE / "test.db")
    connection.execute("create table numbers as select 42 as n")
    connection.commit()
    connection.close()
    return HERE / "test.db"

@pytest.fixture(scope="module")
def built():
    wait_for_builder()  # or the sandbox sees all this at its first look
    (HERE / "build").mkdir()
    (HERE / "build" / "out.txt").write_text("built")
    (HERE / "stale.txt").unlink()
    (HERE / "settings.txt").write_text("changed by the fixture")
    (HERE / "old").rename(HERE / "renamed")
    (HERE / "old").mkdir()

def test_mount():
    assert (HERE / "mounted" / "file").read_text() == "1\\n"
    assert (HERE / "stale.txt").exists()
    assert (HERE / "old" / "file").exists()

def test_large_file():
    with open("large.bin", "r+b") as file:
        file.write(b"x")
    assert Path("large.bin").read_bytes()[:2] == b"x\\0"

def test_database(database):
    connection = sqlite3.connect(database)
    assert connection.execute("select n from numbers").fetchone() == (42,)
    connection.execute("delete from numbers")
    connection.commit()

def test_database_again(database):
    assert sqlite3.connect(database).execute("select n from numbers").fetchone() == (42,)

def test_built(built):
    assert (HERE / "build" / "out.txt").read_text() == "built"
    assert not (HERE / "stale.txt").exists()
    assert (HERE / "settings.txt").read_text() == "changed by the fixture"
    assert (HERE / "renamed" / "file").exists() and not (HERE / "old" / "file").exists()

def test_built_again(built, tmp_path):
    (HERE / "build" / "out.txt").write_text("mine")
    (HERE / "stale.txt").write_text("back")

def test_last():
    assert not (HERE / "stale.txt").exists()
    assert (HERE / "build" / "out.txt").read_text() == "built"
"""
LAID_OUT = """
mkdir -p mounted old && mount -t tmpfs none mounted && echo 1 > mounted/file
head -c 102400 /dev/zero > large.bin && echo x > stale.txt && echo x > settings.txt && echo x > old/file"""


@pytest.mark.parametrize("more", [[], ["--isolate-jobs=2"]], ids=["alone", "jobs"])
def test_a_directory_with_a_mount_below_is_as_it_is_when_the_test_begins(
    pytester, among_mounts, monkeypatch, more
):
    """Files and directories that fixtures make, replace and remove between tests, though sandboxes
    are built ahead.
    """
    pytester.makeconftest(BUILT_AHEAD)
    pytester.makepyfile(COMING_AND_GOING)
    # The true root may have one in /tmp
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(pytester.mkdir("temporary")))
    result = among_mounts(LAID_OUT, *more)
    result.assert_outcomes(passed=7)
    assert (pytester.path / "build" / "out.txt").read_text() == "built"
    assert not (pytester.path / "stale.txt").exists()


def test_temporary_files_around_a_mount_come_and_go(pytester, among_mounts, monkeypatch):
    """TMPDIR with a mount in it, as WSLg's /tmp: tmp_path, a fixture's directory, a file that
    another program removes.
    """
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("tmp")))
    pytester.makepyfile("""
        import tempfile
        from pathlib import Path
        import pytest

        @pytest.fixture(scope="session")
        def shared(tmp_path_factory):
            path = tmp_path_factory.mktemp("shared") / "data.txt"
            path.write_text("42")
            return path

        @pytest.fixture(scope="module")
        def scratch():
            path = Path(tempfile.mkdtemp(), "model.bin")
            path.write_text("42")
            return path

        @pytest.fixture(scope="module")
        def cleaned_up():
            Path(tempfile.gettempdir(), "editor.tmp").unlink()

        @pytest.mark.parametrize("turn", range(2))
        def test_own(tmp_path, turn):
            (tmp_path / "x").write_text("x")

        def test_shared(shared, scratch):
            assert shared.read_text() == scratch.read_text() == "42"

        def test_after_cleaning(cleaned_up, tmp_path):
            assert not Path(tempfile.gettempdir(), "editor.tmp").exists()
            (tmp_path / "kept.txt").write_text("kept")
            assert False, "on purpose"
        """)
    result = among_mounts(
        "mkdir tmp/.X11-unix && mount -t tmpfs none tmp/.X11-unix && touch tmp/editor.tmp"
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: on purpose", "tmp_path is kept in *"])
    assert [path.read_text() for path in (pytester.path / "tmp").rglob("kept.txt")] == ["kept"]


def test_only_what_a_test_did_around_a_mount_is_told_and_kept(pytester, among_mounts):
    """Copies that nobody touched are no changes, cost nothing of ``disk``, and --isolate-keep
    leaves them out.
    """
    pytester.makepyfile("""
        import os
        from pathlib import Path

        def test_changes():
            Path("changed.txt").write_text("changed")
            Path("same.txt").read_text()
            Path("new.txt").write_text("new")
            Path("gone.txt").unlink()
            Path("folder", "inner.txt").write_text("new")
            Path("fresh").mkdir()
            Path("fresh", "deep.txt").write_text("new")
        """)
    laid_out = """
        mkdir mounted folder && mount -t tmpfs none mounted && echo x > changed.txt && echo x > same.txt && echo x > gone.txt
        ln -s same.txt link && head -c 600000 /dev/zero > large.bin && echo x > folder/there.txt"""
    result = among_mounts(
        laid_out, "--isolate-disk=64K", "--isolate-report=report.json", "--isolate-keep=all"
    )
    result.assert_outcomes(passed=1)
    (entry,) = json.loads((pytester.path / "report.json").read_text())["tests"]
    files = {
        kind: [os.path.relpath(path, pytester.path) for path in paths]
        for kind, paths in entry["files"].items()
        if kind != "more"
    }
    assert files == {
        "created": ["folder/inner.txt", "fresh", "fresh/deep.txt", "new.txt"],
        "modified": ["changed.txt"],
        "deleted": ["gone.txt"],
    }
    assert entry["usage"]["disk_bytes"] <= 32 << 10
    kept = pytester.path / "isolate-artifacts"
    (here,) = [path.parent for path in kept.rglob("new.txt")]
    found = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    assert found == ["changed.txt", "folder/inner.txt", "fresh/deep.txt", "new.txt"]


def test_a_little_directory_beside_a_mount_can_be_removed_and_renamed(pytester, among_mounts):
    """It is no mount point there, as a larger one's overlay is; a fixture's change in it is seen,
    and what a test did is told.
    """
    pytester.makepyfile("""
        import os, shutil
        from pathlib import Path
        import pytest

        @pytest.fixture(scope="module")
        def changed():
            Path("old/inner/file").write_text("by a fixture")

        def test_removed():
            shutil.rmtree("old")
            os.rename("other", "renamed")
            assert Path("renamed/link").resolve() == Path("renamed/file").resolve()

        def test_there_again(changed):
            assert Path("old/inner/file").read_text() == "by a fixture"
            assert not Path("renamed").exists()
            Path("old/inner/file").write_text("by a test")
            Path("old/new").touch()
        """)
    result = among_mounts(
        "mkdir -p mounted old/inner other && mount -t tmpfs none mounted && echo x > old/inner/file"
        " && echo x > old/kept && echo x > other/file && ln -s file other/link",
        "--isolate-report=report.json",
        "--isolate-keep=all",
    )
    result.assert_outcomes(passed=2)
    first, second = (
        each["files"] for each in json.loads((pytester.path / "report.json").read_text())["tests"]
    )
    here = f"{pytester.path}/"
    assert {path.removeprefix(here) for path in first["deleted"]} >= {"old", "other"}
    assert {path.removeprefix(here) for path in first["created"]} == {
        "renamed",
        "renamed/file",
        "renamed/link",
    }
    assert [path.removeprefix(here) for path in second["modified"]] == ["old/inner/file"]
    assert [path.removeprefix(here) for path in second["created"]] == ["old/new"]
    assert not second["deleted"]
    kept = {
        path.name
        for path in (pytester.path / "isolate-artifacts").rglob("old/**/*")
        if path.is_file()
    }
    assert kept == {"file", "new"}


def test_a_file_too_large_to_copy_is_read_only_and_a_failing_write_names_it(pytester, among_mounts):
    """Beside a mount each file is copied for each test, up to a bound; above it the failing test
    says which one, why, and what helps.
    """
    pytester.makepyfile("""
        def test_write():
            with open("large.bin", "r+b") as file:
                file.write(b"x")
        """)
    result = among_mounts(
        "mkdir mounted && mount -t tmpfs none mounted && head -c 9000000 /dev/zero > large.bin"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            (
                f"files: {pytester.path}/large.bin is read-only in the sandbox:"
                f" *{pytester.path}/mounted*bind=*"
            )
        ]
    )


def test_what_root_of_a_user_namespace_is_not_is_said(pytester):
    """``user="root"`` where the machine's root is not to be had: an errno alone would be a riddle."""
    pytester.makepyfile("""
        import os
        from pytest_isolate import isolate
        @isolate(user="root")
        def test_gives_away(tmp_path): os.chown(tmp_path, 5, 5)
        """)
    command = (*map(str, pytester._getpytestargs()), "-p", "isolate", "-p", "no:cacheprovider")
    result = pytester.run("unshare", "--user", "--map-root-user", *command, timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["user: user='root' without the machine's root is *(EINVAL); run *"]
    )


@pytest.fixture
def in_shared_memory():
    """A directory in /dev/shm."""
    directory = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="isolate-"))
    yield directory
    shutil.rmtree(directory)


#: Two overlays on /dev/shm, one over the other: the kernel stacks no third.
STACKED = """
mkdir layers && mount -t tmpfs none layers && cd layers
for n in 1 2; do
    mkdir upper$n work$n
    mount -t overlay -o userxattr,lowerdir=/dev/shm,upperdir=upper$n,workdir=work$n none /dev/shm
done
cd .."""


def test_shared_memory_that_is_too_large_to_copy_is_named_once(
    pytester, among_mounts, in_shared_memory
):
    """Where no overlay can be had each test has copies, and of what is not copied a run says so."""
    (in_shared_memory / "little").write_text("x")
    with (in_shared_memory / "large").open("wb") as large:
        large.truncate(9 << 20)
    pytester.makepyfile(f"""
        import os, pytest
        @pytest.mark.parametrize("number", [1, 2])
        def test_lists(number): assert os.listdir({str(in_shared_memory)!r}) == ["little"]
    """)
    result = among_mounts(STACKED)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        [
            (
                f"*isolate: no sandbox has *{in_shared_memory}/large*: this machine takes no overlay"
                " for /dev/shm*"
            )
        ]
    )


@pytest.mark.needs("root")
@pytest.mark.parametrize("owner", [(12345, 0), (0, 12345)], ids=["user", "group"])
@pytest.mark.parametrize(
    "write",
    ["open('theirs/below/x', 'w')", "subprocess.run(['touch', 'theirs/below/x'], check=True)"],
)
def test_a_directory_of_another_owner_is_named(pytester, monkeypatch, owner, write):
    """Without root the kernel has no owner for what a write copies up, and EOVERFLOW tells nobody
    so.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    below = pytester.path / "theirs" / "below"
    below.mkdir(parents=True)
    (below / "x").touch()
    for path in (below, below / "x"):
        path.chmod(0o777)
    os.chown(below.parent, *owner)
    below.parent.chmod(0o777)
    pytester.makepyfile(
        f"import subprocess\ndef test_write(): {write}\ndef test_other(): open('theirs/none')\n"
    )
    result = pytester.run("unshare", "--user", "--map-root-user", *ISOLATED)
    result.assert_outcomes(failed=2)
    kind = "user" if owner[0] else "group"
    (said,) = [line for line in result.outlines if line.startswith("owner: ")]
    assert said.startswith(f"owner: {below.parent} belongs to {kind} ")
    assert said.endswith(f'bind=["{below.parent}"] has the test write to the machine\'s own')


IN_SHARED_MEMORY = """
import tempfile
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
import pytest

HERE = Path(__file__).parent

@pytest.fixture(scope="session")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "f"
    path.write_text("1")
    return path

@pytest.fixture(scope="session")
def block():
    block = SharedMemory(create=True, size=64)
    block.buf[:5] = b"hello"
    yield block.name
    block.close()
    block.unlink()

def test_project():
    assert (HERE / "data.txt").read_text() == "hello"
    (HERE / "data.txt").write_text("x")

def test_project_again():
    assert (HERE / "data.txt").read_text() == "hello"

def test_of_the_session(made):
    assert made.read_text() == "1"
    made.write_text("2")

def test_of_the_session_again(made, block):
    assert made.read_text() == "1" and tempfile.mkdtemp()
    other = SharedMemory(name=block)
    assert bytes(other.buf[:5]) == b"hello"
    other.close()

def test_own(tmp_path):
    assert Path("/dev/shm") in tmp_path.parents
    (tmp_path / "kept.txt").write_text("kept")
    (HERE / "data.txt").write_text("x")
    assert False, "on purpose"
"""


@pytest.mark.parametrize("way", ["basetemp", "TMPDIR"])
def test_a_project_and_its_temporary_files_may_be_in_shared_memory(
    pytester, in_shared_memory, monkeypatch, way
):
    """It is a directory as every other: what fixtures made is there, writes are private, tmp_path
    of a failing test comes back.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT", raising=False)
    (in_shared_memory / "test_it.py").write_text(IN_SHARED_MEMORY)
    (in_shared_memory / "data.txt").write_text("hello")
    args = [f"--basetemp={in_shared_memory / 'base'}"] if way == "basetemp" else []
    if way == "TMPDIR":
        (in_shared_memory / "tmp").mkdir()
        monkeypatch.setenv("TMPDIR", str(in_shared_memory / "tmp"))
    monkeypatch.chdir(in_shared_memory)
    result = pytester.run(*ISOLATED, *args, f"--rootdir={in_shared_memory}", timeout=60)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: on purpose",
            f"files (discarded): modified '{in_shared_memory}/data.txt'",
        ]
    )
    assert (in_shared_memory / "data.txt").read_text() == "hello"
    assert [path.read_text() for path in in_shared_memory.rglob("kept.txt")] == ["kept"]


@pytest.mark.parametrize(
    "how",
    [("--map-root-user",), pytest.param((), marks=pytest.mark.needs("root"))],
    ids=["user", "root"],
)
def test_a_machine_with_a_named_network_namespace_isolates(pytester, among_mounts, how):
    """``ip netns add`` and every Docker container mount a file of the kernel that nobody can copy;
    a sandbox sees an empty one.
    """
    pytester.makepyfile(
        "import os\ndef test_one(): assert"
        f" os.path.getsize({str(pytester.path / 'netns' / 'blue')!r}) == 0"
    )
    blue = (
        "mkdir netns && touch netns/blue && unshare --net mount --bind /proc/self/ns/net netns/blue"
    )
    among_mounts(blue, how=how).assert_outcomes(passed=1)


def test_the_own_name_is_no_attempt_to_leave(pytester, isolated):
    """``net="deny"`` counts look-ups of names; the own one is in /etc/hosts.

    And the file is not told as the test's change.
    """
    pytester.makepyfile("""
        import socket
        from pytest_isolate import isolate

        @isolate(net="deny")
        def test_own():
            assert socket.gethostbyname(socket.gethostname()) == "127.0.0.1"

        @isolate(net="deny")
        def test_other():
            socket.gethostbyname("example.invalid")
        """)
    result = isolated()
    result.assert_outcomes(passed=1, failed=1)
    assert "/etc/hosts" not in result.stdout.str()


@pytest.mark.needs("root")
def test_a_name_that_a_fixture_adds_is_known_to_the_next_test(pytester, monkeypatch):
    """The sandbox that was built ahead has the file of before; it is not taken then."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT", raising=False)
    pytester.makepyfile("""
        import socket
        import pytest

        @pytest.fixture(scope="module")
        def added():
            with open("/etc/hosts", "a") as file:
                file.write("127.0.0.9 service\\n")

        def test_before():
            with pytest.raises(OSError):
                socket.gethostbyname("service")

        def test_after(added):
            assert socket.gethostbyname("service") == "127.0.0.9"
        """)
    script = (
        f"cp /etc/hosts {pytester.path}/hosts && mount --bind {pytester.path}/hosts /etc/hosts &&"
        ' exec "$@"'
    )
    command = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        script,
        "sh",
        *ISOLATED,
    ]
    pytester.run(*command, timeout=60).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    "body",
    [
        "open('/dev/loop-control')",
        "assert os.path.exists('/dev/loop-control')",
        "subprocess.run(['cat', '/dev/loop-control'], check=True)",
    ],
    ids=["python", "exists", "sub-process"],
)
def test_a_device_that_only_the_machine_has_is_named_with_what_helps(pytester, isolated, body):
    """A sandbox has few devices; a test that fails for one of the machine's reads how it is had.

    Not for one that nobody has.
    """
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this machine has no /dev/loop-control")
    pytester.makepyfile(f"""
        import os, subprocess
        def test_one():
            {body}
        def test_nobody_has_it():
            open("/dev/loop-controls")
        """)
    result = isolated("--isolate-all")
    hint = (
        "device: the machine has /dev/loop-control, a sandbox has it only if it is asked for:"
        ' bind=["/dev/loop-control"]'
    )
    assert [line for line in result.outlines if line.startswith("device:")] == [hint]


def test_a_root_that_may_not_change_the_machine_reads_why(pytester, isolated):
    """By Python and by a program; not where something else is refused, nor for a user, who may not
    do it anywhere.
    """
    pytester.makepyfile("""
        import os, subprocess, time
        def test_python():
            with open("/proc/self/status") as file:
                (rights,) = [int(line.split()[1], 16) for line in file if line.startswith("CapEff")]
            assert not rights >> 25 & 1
            time.clock_settime(time.CLOCK_REALTIME, time.time())
        def test_program():
            subprocess.run(["unshare", "--time", "--boottime", "1", "true"], check=True)
        def test_else():
            os.kill(1, 0)
            raise PermissionError(1, "Operation not permitted", "/some/file")
        """)
    lines = [line for line in isolated("--isolate-all").outlines if line.startswith("rights:")]
    named = ["clock_settime", *(["timens_offsets"] if os.path.exists("/proc/self/ns/time") else [])]
    assert [line.partition(" is refused")[0] for line in lines] == (
        [f"rights: {each}" for each in named] if os.geteuid() == 0 else []
    )


def test_files_mounted_below_etc_are_private_copies(pytester, among_mounts):
    """As Docker mounts them, so that /etc is taken apart: they can be written, the own name
    resolves, the rest is as it was.
    """
    pytester.makepyfile("""
        import os, socket
        from pathlib import Path

        def test_write():
            Path("/etc/resolv.conf").write_text("mine")

        def test_write_again():
            assert Path("/etc/resolv.conf").read_text() == "nameserver 192.0.2.1\\n"
            assert socket.gethostbyname(socket.gethostname()) == "127.0.0.1"
            assert socket.gethostbyname("mounted") == "192.0.2.2"
            assert set(os.listdir("/etc")) >= {"hosts", "passwd", "ssl"}
        """)
    result = among_mounts(
        "echo nameserver 192.0.2.1 > resolv && mount --bind resolv /etc/resolv.conf && "
        "echo 192.0.2.2 mounted > hosts && mount --bind hosts /etc/hosts"
    )
    result.assert_outcomes(passed=2)
    assert (pytester.path / "resolv").read_text() == "nameserver 192.0.2.1\n"


@pytest.mark.needs("root")
def test_temporary_files_in_somebody_elses_directory_fail_as_in_a_plain_run(pytester, monkeypatch):
    """It is tmp_path that cannot be had, and pytest's own words say why; the sandbox is
    not broken.
    """
    pytester.makepyfile("def test_one(tmp_path): pass")
    theirs = pytester.mkdir("temporary") / "pytest-of-root"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(theirs.parent))
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    result = pytester.run(*ISOLATED, timeout=60)  # not pytester's own way, which gives a --basetemp
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*OSError: The temporary directory * is not owned by the current user.*"]
    )
    assert "pytest-isolate itself failed" not in result.stdout.str()
