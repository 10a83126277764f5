"""Paths of reports: tried at the start, and nothing that is there is harmed by it."""

import contextlib
import os
import resource

import pytest

from pytest_isolate._report.files import check_directory, check_writable, write_whole


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("file/gone/r.json", "Not a directory"),
        ("file/r.json", "Not a directory"),
        ("loop/r.json", "Too many levels of symbolic links"),
        ("folder", "Is a directory"),
        ("", "Is a directory"),
        ("n" * 260, "File name too long"),
        # A directory that says it can be written to, and cannot
        ("/proc/r.json", "No such file or directory"),
        ("/sys/r.json", "Permission denied"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_reason(tmp_path, monkeypatch, path, why):
    """By trying it: permissions say little on file systems that are none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(os.listdir())
    with pytest.raises(pytest.UsageError) as raised:
        check_writable("--isolate-report", path)
    said = str(raised.value)
    assert said.startswith(f"--isolate-report={path}: ")
    assert f" cannot be written: {why}; name a file in a directory that you may write to" in said
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("file", "Not a directory"),
        ("file/in/it", "Not a directory"),
        ("n" * 260, "File name too long"),
        ("/proc/foo", "No such file or directory"),
        ("/proc", "No such file or directory"),
    ],
)
def test_a_directory_in_which_nothing_can_be_made_is_refused(tmp_path, monkeypatch, path, why):
    """By trying it, in the nearest directory that is there; nothing stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(pytest.UsageError) as raised:
        check_directory("--isolate-oci", path)
    said = str(raised.value)
    assert said.startswith(f"--isolate-oci={path}: nothing can be made in /")
    assert f": {why}; name a directory that you may write to" in said
    for fine in (".", "new", "new/and/new"):
        check_directory("--isolate-oci", fine)
    assert os.listdir() == ["file"]


@pytest.mark.parametrize("path", ["out/r.json", "out/json/of today/r.json", "dangling/r.json"])
def test_missing_folders_are_made_when_there_is_something_to_write(tmp_path, monkeypatch, path):
    """As ``--junitxml`` does; a run that never comes to its report leaves no empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to("not/yet")
    check_writable("--isolate-report", path)
    assert os.listdir() == ["dangling"]
    write_whole(path, "new")
    assert (tmp_path / path).read_text() == "new"


def test_two_runs_that_write_one_file_write_no_half_of_it(tmp_path):
    """Each has a file of its own, of which the last becomes the report: one of a common name was
    what both had written into.
    """
    texts = ["one" * 100_000, "another" * 50_000]
    pids = []
    for text in texts:
        if (pid := os.fork()) == 0:
            for _ in range(50):
                write_whole(tmp_path / "r.json", text)
            os._exit(0)
        pids.append(pid)
    while pids:
        with contextlib.suppress(FileNotFoundError):
            assert (tmp_path / "r.json").read_text() in texts
        pids = [pid for pid in pids if os.waitpid(pid, os.WNOHANG) == (0, 0)]
    assert os.listdir(tmp_path) == ["r.json"]


@pytest.mark.parametrize("before", [None, "old"])
def test_to_try_it_changes_nothing(tmp_path, before):
    """Neither the file of the last run, nor one that another run is writing at this moment."""
    path, beside = tmp_path / "r.json", tmp_path / "r.json.part"
    if before is not None:
        path.write_text(before)
        beside.write_text("another's")
    check_writable("--isolate-report", str(path))
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == (
        {} if before is None else {"r.json": before, "r.json.part": "another's"}
    )


def test_a_disk_that_is_full_leaves_the_old_file_and_no_half_of_a_new_one(tmp_path):
    """A limit on the size of files is one that everybody can have."""
    path = tmp_path / "r.json"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"r.json": "old"}


def test_a_report_behind_a_link_replaces_the_file_and_not_the_link(tmp_path):
    """Somebody put it there on purpose."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "r.json"
    link.symlink_to("there/r.json")
    check_writable("--isolate-report", str(link))
    write_whole(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "there/r.json").read_text() == "new"
