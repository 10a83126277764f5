"""Opening what a test may have put there leaves a directory by no link, no ``..`` and no mount,
with openat2(2) and without.
"""

from __future__ import annotations

import os

import pytest

from pytest_isolate._linux import syscalls


@pytest.fixture
def tree(tmp_path):
    """A directory to stay beneath, and a secret beside it."""
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "file").write_text("mine")
    (tmp_path / "secret").write_text("theirs")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to("..")
    (inside / "sub" / "self").symlink_to("file")
    fd = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


WAYS = pytest.mark.parametrize("way", [syscalls.open_beneath, syscalls.open_name_by_name])


@WAYS
@pytest.mark.parametrize("path", ["sub/file", "sub//file", "./sub/file"])
def test_what_is_beneath_is_opened(tree, way, path):
    """Whatever way its path is written."""
    before = len(os.listdir("/proc/self/fd"))
    with open(way(tree, path, os.O_RDONLY), encoding="ascii") as file:
        assert file.read() == "mine"
    assert len(os.listdir("/proc/self/fd")) == before


@WAYS
@pytest.mark.parametrize(
    "path",
    [
        "link",
        "up/secret",
        "sub/self",
        "../secret",
        "sub/../../secret",
        "/etc/passwd",
        "/",
        "missing",
        "sub/file/on",
    ],
)
def test_what_is_not_is_refused(tree, way, path):
    """And nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"\[Errno"):
        way(tree, path, os.O_RDONLY)
    assert len(os.listdir("/proc/self/fd")) == before


@WAYS
def test_a_mount_is_refused(way):
    """/proc is one, below the root."""
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="cross-device"):
            way(root, "proc/version", os.O_RDONLY)
    finally:
        os.close(root)
