"""What the parent has open is open inside, under the same number, and a write to it stays there."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_isolate._config.paths import Bind
from pytest_isolate._linux import mappings
from pytest_isolate._linux.descriptors import Look
from pytest_isolate._sandbox.entry import Identity
from pytest_isolate._sandbox.inherited import Inheritance

MOST = 1 << 20


@contextmanager
def opened(path: str | Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)


def of_numbers(*numbers: int, most: int = MOST) -> Inheritance:
    """What to do with these descriptors alone."""
    found = Look().now(set(range(3)))
    shown = tuple(each for each in mappings.shared() if not each.gone and each.writable)
    return Inheritance([each for each in found.files if each.number in numbers], (), shown, most)


def errno_of(action) -> int:
    try:
        action()
    except OSError as error:
        return error.errno
    return 0


@pytest.fixture
def file(canary: Path) -> Path:
    path = canary / "opened"
    path.write_text("first\nsecond\n")
    return path


@pytest.mark.parametrize("extra", [0, os.O_APPEND, os.O_NONBLOCK | os.O_NOATIME, os.O_DSYNC])
def test_a_file_has_its_number_offset_and_flags_and_writes_are_private(box, file, extra):
    """The test goes on where pytest stood, and neither the machine's file nor pytest's offset
    moves.
    """
    with opened(file, os.O_RDWR | os.O_CREAT | extra) as fd:
        os.lseek(fd, 6, os.SEEK_SET)
        before = fcntl.fcntl(fd, fcntl.F_GETFL)

        def use():
            where, flags = os.lseek(fd, 0, os.SEEK_CUR), fcntl.fcntl(fd, fcntl.F_GETFL)
            os.write(fd, b"inside")
            return [where, flags, os.get_inheritable(fd), file.read_text()]

        written = "first\nsecond\ninside" if extra == os.O_APPEND else "first\ninside\n"
        for _ in range(2):
            assert box.run(use, inherit=of_numbers(fd)).value == [6, before, False, written]
        assert os.lseek(fd, 0, os.SEEK_CUR) == 6
    assert file.read_text() == "first\nsecond\n"


@pytest.mark.parametrize(
    "made",
    [lambda _: os.pipe()[0], lambda path: os.open(path.parent, os.O_RDONLY)],
    ids=["pipe", "directory"],
)
def test_a_number_that_was_given_away_before_the_fork_is_not_taken_for_the_file(box, file, made):
    """A thread of pytest may close a file and open something else: what fork makes of that stays, a
    door to files does not.
    """
    fd = os.open(file, os.O_RDWR)
    inherit = of_numbers(fd)
    os.close(fd)
    other = made(file)
    try:
        os.dup2(other, fd)
        kept = stat.S_ISFIFO(os.fstat(fd).st_mode)
        assert box.run(lambda: errno_of(lambda: os.fstat(fd)), inherit=inherit).value == (
            0 if kept else errno.EBADF
        )
    finally:
        os.close(other)
        if other != fd:
            os.close(fd)


def test_numbers_of_one_description_share_their_offset_and_others_do_not(box, file):
    """As dup(2) and two calls of open(2) made them; the copy that programs get stays theirs."""
    with opened(file, os.O_RDWR) as first, opened(file, os.O_RDWR) as other:
        twin = os.dup(first)
        os.set_inheritable(twin, True)

        def use():
            os.read(first, 6)
            return [os.read(fd, 5).decode() for fd in (twin, other)] + [
                os.get_inheritable(twin),
                os.get_inheritable(first),
            ]

        assert box.run(use, inherit=of_numbers(first, other, twin)).value == [
            "secon",
            "first",
            True,
            False,
        ]
        os.close(twin)


def test_a_reader_sees_what_a_writer_of_the_same_file_writes(box, file):
    """Also when it was opened before, and the file was not copied up yet."""
    with opened(file, os.O_RDONLY) as reader, opened(file, os.O_WRONLY | os.O_APPEND) as writer:

        def use():
            os.write(writer, b"third")
            return os.read(reader, 100).decode()

        assert box.run(use, inherit=of_numbers(reader, writer)).value == "first\nsecond\nthird"


def test_a_directory_is_the_one_inside(box, canary):
    """It lists what the test made, and is no way to the machine's."""
    with opened(canary, os.O_RDONLY | os.O_DIRECTORY) as fd, opened("/", os.O_PATH) as root:

        def use():
            (canary / "new").write_text("x")
            os.close(os.open("through", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            return [sorted(os.listdir(fd)), os.stat(f"{str(canary)[1:]}/new", dir_fd=root).st_size]

        value = box.run(use, inherit=of_numbers(fd, root)).value
        assert value == [
            (
                ["file", "new", "secret", "through"]
                if (canary / "secret").exists()
                else ["file", "new", "through"]
            ),
            1,
        ]
    assert not (canary / "through").exists()


@pytest.mark.parametrize("memory", [False, True])
def test_a_file_without_a_name_is_a_copy(box, memory):
    """With its holes, for each test."""
    fd = (
        os.memfd_create("mine", os.MFD_CLOEXEC)
        if memory
        else os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR)
    )
    os.pwrite(fd, b"begin", 0)
    os.pwrite(fd, b"end", 16 << 20)
    os.lseek(fd, 5, os.SEEK_SET)

    def use():
        os.write(fd, b"!")
        about = os.fstat(fd)
        return [
            os.pread(fd, 7, 0).decode(),
            os.pread(fd, 4, 16 << 20).decode(),
            about.st_size,
            about.st_blocks * 512 < MOST,
        ]

    for _ in range(2):
        assert box.run(use, inherit=of_numbers(fd)).value == [
            "begin!\0",
            "end",
            (16 << 20) + 3,
            True,
        ]
    assert [os.pread(fd, 6, 0), os.lseek(fd, 0, os.SEEK_CUR)] == [b"begin\0", 5]
    os.close(fd)


def test_descriptors_of_one_file_without_a_name_are_of_one_copy(box, file):
    """What one writes the other reads, each with its own rights."""
    with opened(file, os.O_RDONLY) as reader, opened(file, os.O_WRONLY) as writer:
        file.unlink()

        def use():
            os.write(writer, b"THERE")
            return [
                os.read(reader, 6).decode(),
                errno_of(lambda: os.write(reader, b"x")),
                errno_of(lambda: os.read(writer, 1)),
            ]

        assert box.run(use, inherit=of_numbers(reader, writer)).value == [
            "THERE\n",
            errno.EBADF,
            errno.EBADF,
        ]
        assert os.pread(reader, 5, 0) == b"first"


def test_a_file_whose_name_another_file_has_by_now_is_the_old_one(box, file, canary):
    """As pytest has it: it was rotated, say."""
    with opened(file, os.O_RDWR) as fd:
        (canary / "newer").write_text("newer")
        (canary / "newer").rename(file)
        box_value = box.run(
            lambda: [os.read(fd, 5).decode(), os.write(fd, b"x")], inherit=of_numbers(fd)
        ).value
        assert box_value == ["first", 1]
        assert os.pread(fd, 20, 0) == b"first\nsecond\n"
    assert file.read_text() == "newer"


def test_a_removed_directory_is_empty(box, canary):
    """And nothing leads out of it."""
    (canary / "removed").mkdir()
    with opened(canary / "removed", os.O_RDONLY | os.O_DIRECTORY) as fd:
        (canary / "removed").rmdir()

        def use():
            return [os.listdir(fd), errno_of(lambda: os.open("../file", os.O_WRONLY, dir_fd=fd))]

        assert box.run(use, inherit=of_numbers(fd)).value == [[], errno.ENOENT]


def test_a_file_too_large_to_copy_can_be_read_and_is_said(box, file):
    """A write to it fails, and two of its descriptors cost one copy."""
    inherit = of_numbers(most=12)
    with opened(file, os.O_RDWR) as fd:
        inherit.files = of_numbers(fd).files

        def use():
            return [os.read(fd, 5).decode(), errno_of(lambda: os.write(fd, b"x")), inherit.lost]

        assert box.run(use, inherit=inherit).value == [
            "first",
            errno.EBADF,
            [[str(file), errno.EFBIG]],
        ]
        with opened(file, os.O_WRONLY) as other:
            both = of_numbers(fd, other, most=13)
            assert box.run(
                lambda: [os.write(fd, b"x"), os.write(other, b"y"), both.lost], inherit=both
            ).value == [1, 1, []]


def test_a_file_in_a_bound_directory_is_the_machines(box, file, canary):
    """Of any size: nothing is copied."""
    with opened(file, os.O_WRONLY) as fd:
        assert (
            box.run(
                lambda: os.write(fd, b"FIRST"),
                inherit=of_numbers(fd, most=0),
                bind=(Bind(str(canary), str(canary)),),
            ).value
            == 5
        )
    assert file.read_text() == "FIRST\nsecond\n"


def test_on_a_read_only_machine_a_file_can_be_read_and_that_is_said(box):
    """``fs="readonly"``."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix=".written-") as kept:
        inherit = of_numbers(kept.fileno())
        body = lambda: [errno_of(lambda: os.write(kept.fileno(), b"x")), inherit.lost]  # noqa: E731
        assert box.run(body, inherit=inherit, fs="readonly").value == [
            errno.EBADF,
            [[kept.name, errno.EROFS]],
        ]


def test_memory_that_shows_a_file_shows_the_tests(box, file):
    """A write to a shared mapping is private, seen through the file inside, and by nobody else."""
    with file.open("r+b") as open_file, mmap.mmap(open_file.fileno(), 0) as memory:
        inherit = of_numbers(open_file.fileno())
        assert [each.path for each in inherit.mappings if each.path == str(file)] == [str(file)]

        def use():
            memory[:5] = b"FIRST"
            return [file.read_text(), inherit.lost]

        for _ in range(2):
            assert box.run(use, inherit=inherit).value == ["FIRST\nsecond\n", []]
        assert memory[:5] == b"first"
    assert file.read_text() == "first\nsecond\n"


def test_a_closed_number_fails_and_leads_nowhere(box, canary):
    """Nobody else's file comes to stand there, and it opens nothing."""
    with (
        opened(canary, os.O_RDONLY | os.O_DIRECTORY) as directory,
        opened(canary / "file", os.O_RDWR) as fd,
    ):

        def use():
            return [
                errno_of(lambda: os.read(fd, 1)),
                errno_of(lambda: os.write(fd, b"x")),
                errno_of(lambda: os.listdir(directory)),
                errno_of(lambda: os.open("file", os.O_RDONLY, dir_fd=directory)),
                errno_of(lambda: os.fchdir(directory)),
                os.readlink(f"/proc/self/fd/{directory}"),
                os.open("/dev/null", os.O_RDONLY) in {fd, directory},
            ]

        bad, none = errno.EBADF, errno.ENOTDIR
        assert box.run(use, inherit=Inheritance([], (directory, fd))).value == [
            bad,
            bad,
            none,
            none,
            none,
            "/dev/null",
            False,
        ]


def test_a_file_of_proc_is_the_tests_own(box):
    """What pytest's own number leads to is the test's."""
    with (
        opened("/proc/self/status", os.O_RDONLY) as own,
        opened("/proc/meminfo", os.O_RDONLY) as machines,
    ):

        def use():
            status = os.pread(own, 4096, 0).decode()
            return [f"\nPid:\t{os.getpid()}\n" in status, os.pread(machines, 8, 0).decode()]

        assert box.run(use, inherit=of_numbers(own, machines)).value == [True, "MemTotal"]


@pytest.mark.needs("root")
def test_another_user_goes_on_with_what_root_opened(box, canary):
    """As after setuid(2): the descriptor is what counts."""
    (canary / "file").chmod(0o600)
    with opened(canary / "file", os.O_RDWR) as fd:
        value = box.run(
            lambda: [os.getuid(), os.write(fd, b"x")],
            inherit=of_numbers(fd),
            identity=Identity(65534, 65534),
        ).value
        assert value == [65534, 1]


def test_a_number_above_the_limit_of_files_stays(box, file):
    """``files`` is about what the test opens."""
    with opened(file, os.O_RDONLY) as fd:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 300)
        assert (
            box.run(lambda: os.read(high, 5).decode(), inherit=of_numbers(fd, high), files=20).value
            == "first"
        )
        os.close(high)


def test_memory_that_shows_a_file_too_large_to_copy_stays_shared_and_is_said(box, file):
    """What no copy can be made of is as fork leaves it, and by its name in what is told."""
    with file.open("r+b") as open_file, mmap.mmap(open_file.fileno(), 0) as memory:
        inherit = of_numbers(most=0)

        def use():
            memory[:5] = b"FIRST"
            return inherit.lost

        assert [str(file), errno.EFBIG] in box.run(use, inherit=inherit).value
        assert memory[:5] == b"FIRST"


def test_a_look_sees_a_file_that_was_renamed_and_a_number_that_was_given_away(canary, file):
    """What was noted before a fork is believed for the next one only as long as it is true."""
    look = Look()
    with opened(file, os.O_RDONLY) as fd:
        paths = lambda: {each.path for each in look.now(set(range(3))).files if each.number == fd}  # noqa: E731
        assert paths() == paths() == {str(file)}
        file.rename(canary / "renamed")
        assert paths() == {str(canary / "renamed")}
        with opened(canary / "file", os.O_RDONLY) as other:
            os.dup2(other, fd)
            assert paths() == {str(canary / "file")}
