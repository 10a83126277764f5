"""Files come out of a sandbox as they are, and nothing else does."""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._sandbox.merging import merge_out
from pytest_isolate._sandbox.salvage import (
    Budget,
    Reader,
    copy_out,
    open_file,
    private_path,
)


@pytest.fixture
def private(tmp_path):
    """The private file system: a directory with ``tmp/it`` in it, by descriptor, and a secret
    beside it.
    """
    (tmp_path / "private/tmp/it").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    fd = os.open(tmp_path / "private", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def it(tmp_path):
    return tmp_path / "private/tmp/it"


def test_a_tree_comes_out_with_content_and_modes(private, it, tmp_path):
    """Directories, files and their permissions are what the test left."""
    (it / "a/b").mkdir(parents=True)
    (it / "a/b/data").write_bytes(b"\0\xff" * 5000)
    (it / "script").write_text("#!/bin/sh\n")
    (it / "script").chmod(0o750)
    (it / "a").chmod(0o711)
    (it / "empty").mkdir()
    budget = copy_out(private, "tmp/it", tmp_path, "out")
    assert budget is not None
    assert not budget.spent
    assert sorted(
        os.path.relpath(each, tmp_path / "out") for each in (tmp_path / "out").rglob("*")
    ) == [
        "a",
        "a/b",
        "a/b/data",
        "empty",
        "script",
    ]
    assert (tmp_path / "out/a/b/data").read_bytes() == b"\0\xff" * 5000
    assert stat.S_IMODE((tmp_path / "out/script").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "out/a").stat().st_mode) == 0o711


def test_links_come_out_as_links_and_are_not_followed(private, it, tmp_path):
    """A link to a file, to a directory, or to nothing is that text again; what it points to stays
    where it is.
    """
    links = {
        "key": f"{tmp_path}/secret/key",
        "directory": f"{tmp_path}/secret",
        "up": "../../../secret",
        "dangling": "nowhere",
    }
    for name, where in links.items():
        (it / name).symlink_to(where)
    copy_out(private, "tmp/it", tmp_path, "out")
    assert {each.name: os.readlink(each) for each in (tmp_path / "out").iterdir()} == links


@pytest.mark.parametrize("relative", ["tmp/link", "tmp/link/deeper", "link/it"])
def test_a_link_on_the_way_leads_nowhere(private, it, tmp_path, relative):
    """A test that puts a link where its directory was gets nothing out, least of all of
    the host.
    """
    (tmp_path / "secret/deeper").mkdir()
    (it.parent / "link").symlink_to(tmp_path / "secret")
    (it.parent.parent / "link").symlink_to("tmp")
    assert copy_out(private, relative, tmp_path, "out") is None
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("relative", ["tmp/gone", "gone/it", "tmp/it/file"])
def test_where_no_directory_is_nothing_comes_out(private, it, tmp_path, relative):
    """Neither what is missing nor a file is a directory."""
    (it / "file").touch()
    assert copy_out(private, relative, tmp_path, "out") is None
    assert not (tmp_path / "out").exists()


def test_special_files_stay_inside(private, it, tmp_path, monkeypatch):
    """Pipes and sockets are not opened, which could wait for ever, and do not come out; what lies
    beside them does.
    """
    os.mkfifo(it / "pipe")
    monkeypatch.chdir(it)  # a socket's path has 107 bytes at most
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    (it / "file").write_text("x")
    copy_out(private, "tmp/it", tmp_path, "out")
    assert os.listdir(tmp_path / "out") == ["file"]


def test_a_program_comes_out_without_its_set_uid_bit(private, it, tmp_path):
    """What a test wrote as root inside must not be root's outside."""
    (it / "program").touch()
    (it / "program").chmod(0o6755)
    copy_out(private, "tmp/it", tmp_path, "out")
    assert stat.S_IMODE((tmp_path / "out/program").stat().st_mode) == 0o755


def test_a_target_that_exists_is_not_touched(private, it, tmp_path):
    """Nothing is mixed with what pytest or somebody else left there."""
    (it / "file").touch()
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        copy_out(private, "tmp/it", tmp_path, "out")
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("most", [2, 3, 4])
def test_no_more_files_come_out_than_the_cap(private, it, tmp_path, most):
    """Exactly as many as the cap come out whole; only with one more is it said that something
    stayed inside.
    """
    for name in "abc":
        (it / name).touch()
    budget = copy_out(private, "tmp/it", tmp_path, "out", most_files=most)
    assert len(os.listdir(tmp_path / "out")) == min(most, 3)
    assert budget.spent is (most < 3)


@pytest.mark.parametrize("most", [999, 1000, 1001])
def test_no_more_bytes_come_out_than_the_cap(private, it, tmp_path, most):
    """Exactly as many as the cap come out whole; only with one more is it said that something
    stayed inside.
    """
    (it / "file").write_bytes(b"x" * 1000)
    budget = copy_out(private, "tmp/it", tmp_path, "out", most_bytes=most)
    assert (tmp_path / "out/file").stat().st_size == min(most, 1000)
    assert budget.spent is (most < 1000)


def test_the_caps_hold_across_directories(private, it, tmp_path):
    """A tree cannot get round what a directory could not."""
    for name in "abcdef":
        (it / name).mkdir()
        (it / name / "file").write_bytes(b"x" * 10)
    budget = copy_out(private, "tmp/it", tmp_path, "out", most_files=6, most_bytes=25)
    assert budget.spent
    found = list((tmp_path / "out").rglob("*"))
    assert len(found) <= 6
    assert sum(each.stat().st_size for each in found if each.is_file()) <= 25


@pytest.mark.parametrize("mode", [0o000, 0o200])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_may_not_be_read_does_not_keep_the_rest_inside(private, it, tmp_path, mode, kind):
    """A test may take away its own rights to a file, which stops an ordinary user's copy of that
    one, not of its neighbours.
    """
    closed = it / "m-closed"
    closed.touch() if kind == "file" else closed.mkdir()
    for name in [*"abc", *"xyz"]:
        (it / name).touch()
    closed.chmod(mode)
    try:
        copy_out(private, "tmp/it", tmp_path, "out")
    finally:
        closed.chmod(0o700)
    assert set("abcxyz") <= set(os.listdir(tmp_path / "out"))


def test_a_very_deep_tree_does_no_harm(private, it, tmp_path):
    """However deep a test digs, what comes of it is a copy or an ``OSError``, which the caller
    expects.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fd = os.open(it, os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        with contextlib.suppress(OSError):  # the machine's limits on descriptors and paths
            copy_out(private, "tmp/it", tmp_path, "out")
        assert (tmp_path / "out/d/d/d").is_dir()
    finally:
        os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        subprocess.run(["rm", "-rf", it, tmp_path / "out"], check=True)


def test_copying_leaves_no_descriptor_open(private, it, tmp_path):
    """Neither a whole copy nor one that a cap cut short leaves anything open in
    pytest's process.
    """
    (it / "a").mkdir()
    (it / "a/file").write_text("x")
    before = os.listdir("/proc/self/fd")
    copy_out(private, "tmp/it", tmp_path, "whole")
    copy_out(private, "tmp/it", tmp_path, "part", most_files=1)
    assert os.listdir("/proc/self/fd") == before


parts = st.lists(st.sampled_from(["tmp", "tmp2", "home", "a"]), max_size=4)


@given(tops=st.lists(parts, min_size=1, max_size=5), path=parts)
def test_a_path_is_looked_for_in_the_layer_that_covers_it_most_closely(tops, path):
    """The longest of the covering directories, by whole names, and the path below it; none where
    nothing covers.
    """
    uppers = {"/" + "/".join(top): f"{number}.upper" for number, top in enumerate(tops)}
    covering = [top for top in tops if path[: len(top)] == top]
    found = private_path(tuple(uppers.items()), "/" + "/".join(path))
    if not covering:
        assert found is None
    else:
        nearest = max(covering, key=len)
        assert os.path.normpath(found) == os.path.join(
            uppers["/" + "/".join(nearest)], *path[len(nearest) :]
        )


def test_a_name_that_begins_alike_is_another_directory():
    """/tmp2 is not in /tmp."""
    assert private_path((("/tmp", "1.upper"),), "/tmp2/x") is None
    assert private_path((("/", "0.upper"), ("/tmp", "1.upper")), "/tmp2/x") == "0.upper/tmp2/x"


def test_layers_of_one_tree_do_not_lead_out_of_it(private, it, tmp_path):
    """What came out of one layer may be a link, where another layer has a directory below."""
    (tmp_path / "victim").mkdir()
    (it / "sub").symlink_to(tmp_path / "victim")
    (tmp_path / "private/second/deep").mkdir(parents=True)
    (tmp_path / "private/second/deep/planted").touch()
    (tmp_path / "private/third/sub/deep").mkdir(parents=True)
    (tmp_path / "private/third/sub/deep/planted").touch()
    (tmp_path / "out").mkdir()
    assert not copy_out(private, "tmp/it", tmp_path / "out", "tree", among=True).spent
    assert copy_out(private, "second", tmp_path / "out", "tree/sub/node_modules", among=True).spent
    assert copy_out(private, "third", tmp_path / "out", "tree", among=True).spent
    assert os.listdir(tmp_path / "victim") == []
    assert os.listdir(tmp_path / "out/tree") == ["sub"]


def test_a_file_that_is_swapped_for_a_fifo_or_leased_holds_up_nobody(private, it, tmp_path):
    """Whoever opens such a file waits, at a lease for 45 seconds: a test that shares its sandbox
    may be at work there.
    """
    os.mkfifo(it / "fifo")
    (it / "leased").write_text("x")
    fd = os.open(it / "leased", os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    assert open_file(private, "tmp/it/fifo") is None
    assert copy_out(private, "tmp/it", tmp_path, "out").spent
    assert os.listdir(tmp_path / "out") == []
    os.close(fd)


def test_holes_stay_holes(private, it, tmp_path):
    """They cost neither memory nor disk, however large a test says that its file is."""
    with (it / "sparse").open("wb") as file:
        file.seek(1 << 40)
        file.write(b"end")
    with (it / "endless").open("wb") as file:
        file.truncate(1 << 40)
    budget = copy_out(private, "tmp/it", tmp_path, "out")
    look = (tmp_path / "out/sparse").stat()
    assert look.st_size == (1 << 40) + 3
    assert look.st_blocks * 512 < 1 << 20
    assert budget.bytes > (1 << 30) - (1 << 20)
    (tmp_path / "cache").mkdir()
    merge_out(private, "tmp/it", tmp_path / "cache")
    assert (tmp_path / "cache/sparse").stat().st_blocks * 512 < 1 << 20
    assert sorted(os.listdir(tmp_path / "cache")) == ["endless", "sparse"]


@pytest.mark.parametrize("on_the_machine", ["file", "directory"])
def test_what_is_a_directory_on_one_side_only_stays_inside(private, it, tmp_path, on_the_machine):
    """And costs no descriptor: one a test ended a run after some hundred of them."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "lastfailed").touch() if on_the_machine == "file" else (cache / "lastfailed").mkdir()
    (it / "lastfailed").mkdir() if on_the_machine == "file" else (it / "lastfailed").touch()
    (it / "other").touch()
    before = os.listdir("/proc/self/fd")
    assert merge_out(private, "tmp/it", cache) == "lastfailed"
    assert os.listdir("/proc/self/fd") == before
    assert sorted(os.listdir(cache)) == ["lastfailed", "other"]
    assert (cache / "lastfailed").is_file() == (on_the_machine == "file")


@pytest.mark.parametrize(
    ("mode", "owner", "group", "may"),
    [
        (0o600, 1000, 0, True), (0o600, 0, 0, False), (0o640, 0, 1000, True), (0o640, 0, 50, True),
        (0o640, 0, 0, False),
        (0o604, 0, 0, True), (0o004, 1000, 0, False), (0o604, 0, 1000, False),
    ],
)  # fmt: skip
def test_whose_rights_count(mode, owner, group, may):
    """The owner's bits are the owner's alone, as the kernel has it."""
    look = os.stat_result((mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    assert Reader(1000, frozenset({1000, 50})).may(look, 4) is may


@pytest.mark.skipif(os.geteuid() != 0, reason="for the run as root")
def test_what_a_user_could_not_read_is_not_copied_for_it(private, it, tmp_path):
    """A rename in a directory of its own brings another's file into the layer of a test, whole."""
    (it / "secret").write_text("secret")
    (it / "secret").chmod(0o600)
    (it / "closed").mkdir(0o700)
    (it / "own").write_text("x")
    os.chown(it / "own", 65534, 65534)
    reader = Reader(65534, frozenset({65534}))
    assert copy_out(private, "tmp/it", tmp_path, "out", reader=reader).spent
    (tmp_path / "cache").mkdir()
    merge_out(private, "tmp/it", tmp_path / "cache", reader)
    assert os.listdir(tmp_path / "out") == os.listdir(tmp_path / "cache") == ["own"]


def test_names_of_one_file_stay_names_of_one_file(private, it, tmp_path):
    """In the sandbox a name costs nothing: copied one by one a file of 16 MiB was a gigabyte
    outside.
    """
    (it / "a").mkdir()
    (it / "file").write_bytes(b"x" * 4096)
    for number in range(100):
        os.link(it / "file", it / f"a/{number}")
    budget = copy_out(private, "tmp/it", tmp_path, "out")
    assert budget is not None
    assert not budget.spent
    assert budget.bytes == Budget().bytes - 4096
    out = tmp_path / "out"
    assert {os.stat(each).st_ino for each in [out / "file", *(out / "a").iterdir()]} == {
        os.stat(out / "file").st_ino
    }
    assert len(list((out / "a").iterdir())) == 100
