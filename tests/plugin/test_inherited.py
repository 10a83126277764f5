"""What pytest, its conftests and its fixtures have open is open in each test, and what a test
writes to it stays in the test.
"""

from __future__ import annotations

import os
import re

import pytest

OPENED = """
    import asyncio, dbm.dumb, logging, logging.handlers, mmap, multiprocessing, os, select, socket, sqlite3, tempfile, zipfile
    from pathlib import Path
    HERE = Path(__file__).parent

    def database(name, journal):
        connection = sqlite3.connect(HERE / name)
        assert connection.execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
        connection.execute("create table numbers (n)")
        connection.execute("insert into numbers values (0)")
        connection.commit()
        return connection

    rollback, ahead = database("rollback.db", "delete"), database("ahead.db", "wal")
    log = logging.getLogger("app")
    log.setLevel("INFO")
    log.addHandler(logging.FileHandler(HERE / "app.log", mode="w"))
    log.addHandler(logging.handlers.RotatingFileHandler(HERE / "rotating.log", maxBytes=30, backupCount=2))
    with zipfile.ZipFile(HERE / "data.zip", "w") as new:
        new.writestr("a.txt", "hello")
    archive = zipfile.ZipFile(HERE / "data.zip")
    shelf = dbm.dumb.open(str(HERE / "shelf"), "c")
    shelf["a"] = "1"
    scratch = tempfile.TemporaryFile("w+")
    (HERE / "words.txt").write_text("first\\nsecond\\n")
    words = open(HERE / "words.txt")
    words.readline()
    shown = mmap.mmap(words.fileno(), 0, access=mmap.ACCESS_READ)
    folder = os.open(HERE, os.O_RDONLY | os.O_DIRECTORY)
    loop = asyncio.new_event_loop()
    queue = multiprocessing.SimpleQueue()
    left, right = socket.socketpair()
    poll = select.epoll()
    poll.register(right, select.EPOLLIN)
    null = open(os.devnull, "w")
"""
USED = """
    import asyncio, os
    import pytest
    import opened as o
    again = pytest.mark.parametrize("turn", range(2))

    def add(connection):
        connection.execute("insert into numbers values (1)")
        connection.commit()
        return connection.execute("select count(*) from numbers").fetchone()

    @again
    def test_databases(turn):
        assert add(o.rollback) == add(o.ahead) == (2,)
        assert add(o.rollback) == add(o.ahead) == (3,)

    @again
    def test_logs(tmp_path, turn):
        others = [(tmp_path / str(number)).open("w") for number in range(30)]
        for _ in range(2):
            o.log.info("a line of twenty chars")
        for each in others:
            each.close()
        assert not any(path.read_text() for path in tmp_path.iterdir())
        assert (o.HERE / "app.log").read_text() == "a line of twenty chars\\n" * 2
        assert (o.HERE / "rotating.log.1").read_text() == "a line of twenty chars\\n"

    @again
    def test_files(turn):
        assert o.archive.read("a.txt") == b"hello"
        assert (o.words.readline(), o.shown[:5]) == ("second\\n", b"first")
        o.scratch.write("text")
        o.scratch.seek(0)
        assert o.scratch.read() == "text"
        o.shelf["b"] = "2"
        o.shelf.sync()
        assert (o.HERE / "shelf.dir").read_text().count("\\n") == 2
        o.null.write("x")

    @again
    def test_directory(turn):
        (o.HERE / "new").write_text("x")
        assert "new" in os.listdir(o.folder)
        with open(os.open("new", os.O_RDONLY, dir_fd=o.folder)) as file:
            assert file.read() == "x"

    def test_what_is_no_file():
        assert o.loop.run_until_complete(asyncio.sleep(0, "done")) == "done"
        o.queue.put("x")
        assert o.queue.get() == "x"
        o.left.send(b"x")
        assert o.poll.poll(1) and o.right.recv(1) == b"x"
"""


@pytest.mark.parametrize(
    "options",
    [(), ("--isolate-jobs=2",), ("--isolate-scope=module",), ("--isolate-fixtures=fresh",)],
)
def test_what_was_opened_at_import_works_in_each_test(pytester, isolated, options):
    """Databases, logs, archives, queues and loops go on; neither the next test nor the machine sees
    a write. Nothing is warned of.
    """
    pytester.makepyfile(opened=OPENED)
    pytester.makepyfile(
        USED
        if "scope" not in str(options)
        else USED.replace('("turn", range(2))', '("turn", range(1))')
    )
    result = isolated("--isolate-all", *options)
    result.assert_outcomes(passed=9 if "scope" not in str(options) else 5)
    assert (pytester.path / "app.log").read_text() == ""
    assert not (pytester.path / "rotating.log.1").exists()
    assert not (pytester.path / "new").exists()


def test_a_shared_database_is_as_the_fixture_left_it(pytester, isolated):
    """A session fixture's connection: two tests insert, each sees its own row alone, and the
    fixture sees none when it is torn down.
    """
    pytester.makepyfile("""
        import sqlite3, pytest
        @pytest.fixture(scope="session", params=["delete", "wal"])
        def db(tmp_path_factory, request):
            connection = sqlite3.connect(tmp_path_factory.mktemp("db") / "shop.db")
            connection.execute(f"pragma journal_mode={request.param}")
            connection.execute("create table orders (id)")
            connection.commit()
            yield connection
            assert connection.execute("select count(*) from orders").fetchone() == (0,)
            connection.close()
        @pytest.mark.parametrize("turn", range(2))
        def test_insert(db, turn):
            db.execute("insert into orders values (1)")
            db.commit()
            assert db.execute("select count(*) from orders").fetchone() == (1,)
    """)
    isolated("--isolate-all").assert_outcomes(passed=4)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--isolate-jobs=2",),
        ("--isolate-scope=module",),
        pytest.param(
            ("--isolate-memory=1G", "--isolate-pids=50"), marks=pytest.mark.needs("memory", "pids")
        ),
    ],
)
def test_nothing_of_ours_is_among_what_a_test_has_open(pytester, isolated, options):
    """What stays is what pytest itself has, and what a child needs to report; the builder's
    channel, other sandboxes and pidfds do not.
    """
    pytester.makepyfile("""
        import os, pytest
        kept = os.open("/dev/null", os.O_RDONLY)
        def opened():
            names = []
            for name in os.listdir("/proc/self/fd"):
                try: names.append(os.readlink(f"/proc/self/fd/{name}"))
                except FileNotFoundError: pass
            return names
        at_import = opened()
        @pytest.mark.parametrize("turn", range(4))
        def test_it(turn):
            now = opened()
            assert not [name for name in now if "pidfd" in name or "kmsg" in name or "mountinfo" in name]
            assert sum(name.startswith("socket:") for name in now) == sum(name.startswith("socket:") for name in at_import)
            extra = [name for name in now if name not in at_import]
            pipes = {name for name in extra if name.startswith("pipe:")}
            assert len(pipes) <= 6, now  # frames, stacks, commands, the last word, and what it says on pytest's two streams
            assert not [name for name in extra if not name.startswith(("pipe:", "/")) ], now
            assert len([name for name in extra if name.startswith("/") and "cgroup" not in name]) <= 5, now
    """)
    isolated("--isolate-all", *options).assert_outcomes(passed=4)


def test_a_file_too_large_to_copy_is_said_once(pytester, isolated):
    """It can be read, a write fails, and one warning of the run has its name, its size and the
    keyword; another test may bind it.
    """
    (pytester.path / "large").touch()
    os.truncate(pytester.path / "large", 100 << 20)
    pytester.makepyfile("""
        import errno, os, pytest
        from pytest_isolate import isolate
        HERE = os.path.dirname(__file__)
        large = open(HERE + "/large", "r+b", buffering=0)
        @pytest.mark.parametrize("turn", range(2))
        def test_read(turn):
            assert large.read(1) == b"\\0"
            with pytest.raises(OSError) as caught:
                large.write(b"x")
            assert caught.value.errno == errno.EBADF
        @isolate(bind=[HERE])
        def test_bound():
            assert large.write(b"bound") == 5
    """)
    result = isolated("--isolate-all")
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(
        [
            (
                "*isolate: */large (100 MiB), which pytest has open for writing, can in tests only be"
                " read*bind=*"
            )
        ]
    )
    assert (pytester.path / "large").read_bytes()[:5] == b"bound"


def test_memory_without_a_name_is_shared_and_said_with_its_fixture(pytester, isolated):
    """Nobody can make a copy of it for a test: the run says whose it is, once, and what helps."""
    pytester.makepyfile("""
        import mmap, os, pytest
        @pytest.fixture(scope="session")
        def counter(): return mmap.mmap(-1, 4096)
        @pytest.fixture(scope="session")
        def by_number():
            fd = os.memfd_create("by_number")
            os.ftruncate(fd, 4096)
            return fd, mmap.mmap(fd, 4096)
        @pytest.mark.parametrize("turn", range(2))
        def test_it(counter, turn):
            counter[0] += 1
            assert counter[0] == turn + 1
        def test_its_descriptor(by_number):
            by_number[1][0] = 7
            assert os.pread(by_number[0], 1, 0) == b"\\7"
    """)
    result = isolated("--isolate-all")
    result.assert_outcomes(passed=3, warnings=2)
    result.stdout.fnmatch_lines(
        [
            (
                "*isolate: /memfd:by_number is shared memory, made by the session-scoped fixture"
                " 'by_number', *"
            )
        ]
    )
    result.stdout.fnmatch_lines(
        [
            (
                "*isolate: */dev/zero is shared memory, made by the session-scoped fixture 'counter',"
                " *fixtures='fresh'*"
            )
        ]
    )


def test_a_mapping_that_a_hook_makes_between_two_tests_is_the_tests_own(pytester, isolated):
    """No fixture made it, and it was not there before the first test."""
    (pytester.path / "shown").write_bytes(b"first")
    pytester.makeconftest("""
        import mmap
        def pytest_runtest_logstart(nodeid):
            global file, memory
            if nodeid.endswith("test_last"):
                file = open("shown", "r+b")
                memory = mmap.mmap(file.fileno(), 0)
    """)
    pytester.makepyfile("""
        import conftest
        def test_first(): pass
        def test_last():
            conftest.memory[:5] = b"FIRST"
            assert open("shown").read() == "FIRST"
    """)
    isolated("--isolate-all").assert_outcomes(passed=2)
    assert (pytester.path / "shown").read_bytes() == b"first"


def test_pytests_own_logs_stay_the_machines(pytester, isolated):
    """``--debug``'s trace and ``--log-file`` are written by all tests, each line once."""
    pytester.makepyfile("""
        import logging, pytest
        @pytest.mark.parametrize("turn", range(3))
        def test_it(turn, tmp_path): logging.getLogger().warning("of test %s", turn)
    """)
    isolated("--isolate-all", "--debug=trace.log", "--log-file=log").assert_outcomes(passed=3)
    trace, lines = (pytester.path / "trace.log").read_text(), (pytester.path / "log").read_text()
    for turn in range(3):
        assert lines.count(f"of test {turn}") == 1
        assert (
            len(
                re.findall(
                    rf" pytest_pyfunc_call \[hook\]\n +pyfuncitem: <Function test_it\[{turn}\]>",
                    trace,
                )
            )
            == 1
        )


def test_a_redirected_output_is_written_by_all_tests(pytester, monkeypatch):
    """With pytest's standard streams in a file what tests print with ``-s`` comes one after the
    other, whoever else has that file open.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile("""
        import os, pytest
        same = os.dup(1)
        @pytest.mark.parametrize("turn", range(3))
        def test_it(turn): os.write(same, f"said by {turn}\\n".encode())
    """)
    result = pytester.run(
        "sh",
        "-c",
        'exec "$@" >output 2>&1',
        "sh",
        *pytester._getpytestargs(),
        "-p",
        "isolate",
        "--isolate-all",
        "-s",
    )
    assert result.ret == 0
    text = (pytester.path / "output").read_text()
    assert [text.count(f"said by {turn}\n") for turn in range(3)] == [1, 1, 1]
    assert "3 passed" in text


def test_shared_memory_with_a_name_is_the_tests_own(pytester, isolated):
    """A session fixture's SharedMemory: its buffer and what is attached by its name are one memory,
    in each test another one.
    """
    pytester.makepyfile("""
        import multiprocessing, pytest
        from multiprocessing import shared_memory
        lock = multiprocessing.Lock()
        @pytest.fixture(scope="session")
        def memory():
            made = shared_memory.SharedMemory(create=True, size=100)
            yield made
            assert made.buf[0] == 0
            made.close()
            made.unlink()
        @pytest.mark.parametrize("turn", range(2))
        def test_it(memory, turn):
            with lock:
                assert memory.buf[0] == 0
                memory.buf[0] = 1
            attached = shared_memory.SharedMemory(memory.name)
            assert attached.buf[0] == 1
            attached.close()
    """)
    isolated("--isolate-all").assert_outcomes(passed=2, warnings=0)


def test_memory_of_a_file_that_was_given_back_is_nobodys(pytester, isolated):
    """What pytest has at the same address by the next test is not replaced by the file that was
    shown there.
    """
    pytester.makepyfile("""
        import mmap, pytest
        SIZE = 4 << 20
        @pytest.fixture(scope="class")
        def shown(tmp_path_factory):
            path = tmp_path_factory.mktemp("shown") / "file"
            path.write_bytes(b"F" * SIZE)
            with path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory:
                yield memory
            global other
            other = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            other[:] = b"O" * SIZE
        class TestShown:
            def test_it(self, shown): assert shown[:1] == b"F"
        def test_after(): assert other[:1] == b"O"
    """)
    isolated("--isolate-all").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    "there", ["os.mkfifo", "lambda path: os.symlink(OTHER, path)"], ids=["fifo", "link"]
)
def test_what_a_test_puts_in_the_place_of_an_open_file_is_not_opened(pytester, isolated, there):
    """Below a bind, by a directory of another name: nobody waits for a FIFO's other end, and the
    next test has the file that was open.
    """
    pytester.makepyfile(f"""
        import os
        from pytest_isolate import isolate
        FOLDER = os.path.abspath("shared/folder")
        os.makedirs(FOLDER)
        with open(FOLDER + "/file", "w") as new:
            new.write("text")
        OTHER = os.path.abspath("of the same size")
        with open(OTHER, "w") as new:
            new.write("evil")
        file = open(FOLDER + "/file")
        @isolate
        def test_before(): assert file.read() == "text"
        @isolate(bind=[os.path.abspath("shared")])
        def test_replaces():
            os.rename(FOLDER, FOLDER + ".old")
            os.mkdir(FOLDER)
            ({there})(FOLDER + "/file")
        @isolate
        def test_after(): assert file.read() == "text"
    """)
    isolated("--isolate-all").assert_outcomes(passed=3)


@pytest.mark.needs("strict")
def test_shared_memory_of_a_strict_test_is_a_copy(pytester, isolated):
    """It does not see the machine's /dev/shm, so there is no file to show: what the memory held is
    its own from then on.
    """
    pytester.makepyfile("""
        import pytest
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=5000)
        memory.buf[:] = b"m" * len(memory.buf)
        @pytest.fixture(scope="module")
        def unlinked():
            yield
            assert bytes(memory.buf[:2]) == b"mm"
            memory.close()
            memory.unlink()
        @pytest.mark.parametrize("turn", range(2))
        def test_it(turn, unlinked):
            assert bytes(memory.buf[:5000]) == b"m" * 5000
            memory.buf[0] = 0
            assert memory.buf[0] == 0
    """)
    isolated("--isolate-all", "--isolate-profile=strict").assert_outcomes(passed=2)


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "profile", ["default", pytest.param("strict", marks=pytest.mark.needs("strict"))]
)
def test_the_machines_null_device_keeps_its_mode_and_times(pytester, isolated, profile):
    """Root owns it, and by its name there are its data alone; under strict also by every number
    that is open.
    """
    pytester.makepyfile(f"""
        import os
        def test_it():
            open("/dev/null", "w").write("x")
            numbers = [int(name) for name in os.listdir("/proc/self/fd")] if {profile == "strict"} else []
            for path in ("/dev/null", *numbers):
                try:
                    if os.stat(path).st_rdev == os.makedev(1, 3):
                        os.utime(path, (1, 1))
                except OSError:
                    pass
    """)
    before = os.stat("/dev/null").st_mtime_ns
    options = () if profile == "default" else ("--isolate-profile=strict",)
    try:
        isolated("--isolate-all", *options).assert_outcomes(passed=1)
        assert os.stat("/dev/null").st_mtime_ns == before
    finally:
        os.utime("/dev/null", ns=(before, before))


@pytest.mark.needs("root")
def test_what_lies_below_a_later_mount_is_no_door_to_the_machine(pytester, monkeypatch):
    """Its path leads elsewhere: a directory is an empty one, and a file that can be
    written a copy.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    hidden = pytester.mkdir("hidden")
    (hidden / "file").write_text("text")
    pytester.makepyfile("""
        import os, pytest
        def test_it():
            assert os.listdir(7) == []
            with pytest.raises(FileNotFoundError):
                os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=7)
            assert os.read(8, 9) == b"text"
            os.write(8, b"planted")
    """)
    script = 'exec 7<hidden 8<>hidden/file; mount -t tmpfs none hidden; exec "$@"'
    command = ("unshare", "-m", "sh", "-c", script, "sh", *pytester._getpytestargs())
    pytester.run(
        *command, "-p", "isolate", "-p", "no:cacheprovider", "--isolate-all"
    ).assert_outcomes(passed=1)
    assert [path.name for path in hidden.iterdir()] == ["file"]
    assert (hidden / "file").read_text() == "text"
