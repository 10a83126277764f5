"""The machine's files, seen from a sandbox: all there, and nothing written to them stays."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from pytest_isolate._config.paths import Bind
from pytest_isolate._linux.root import Root


@pytest.mark.needs("user_xattr")
def test_a_removed_directory_of_the_machine_is_still_there(box, canary):
    """``rm -rf`` inside is gone inside and untouched outside."""

    def remove():
        shutil.rmtree(canary)
        return canary.exists()

    assert box.run(remove).value is False
    assert (canary / "file").read_text() == "untouched"


@pytest.mark.parametrize("where", ["/tmp", "/dev/shm", str(Path(tempfile.gettempdir()))])
def test_writes_are_private_and_gone(box, where):
    """What is written in one sandbox is neither on the machine nor in the next sandbox."""
    path = Path(where) / f"written-inside-{os.getpid()}"

    def write():
        there = path.exists()
        path.write_text("x")
        return there

    assert [box.run(write).value for _ in range(2)] == [False, False]
    assert not path.exists()


def test_changed_files_of_the_machine_are_unchanged(box, canary):
    """Writing, renaming and changing modes happen on the overlay."""

    def change():
        (canary / "file").write_text("changed")
        (canary / "file").chmod(0)
        (canary / "file").rename(canary / "moved")
        return (canary / "moved").stat().st_size

    assert box.run(change).value == len("changed")
    assert (canary / "file").read_text() == "untouched"


def test_a_bound_path_is_shared(box, canary):
    """``bind`` is the one way out for a write."""
    box.run(lambda: (canary / "new").write_text("kept"), bind=(Bind(str(canary), str(canary)),))
    assert (canary / "new").read_text() == "kept"


def test_a_path_bound_read_only_refuses_writes(box, canary):
    """``bind="path:ro"`` shows the machine's file and keeps it."""
    value = box.run(
        lambda: (canary / "new").write_text("x"),
        bind=(Bind(str(canary), str(canary), read_only=True),),
    ).value
    assert "Read-only file system" in value
    assert not (canary / "new").exists()


def test_readonly_refuses_writes_outside_of_temporary_files(box):
    """``fs="readonly"`` is a machine whose disk cannot be written, with a private /tmp."""
    elsewhere = Path("/etc/written-inside")

    def write():
        Path("/tmp/mine").write_text("x")
        return elsewhere.write_text("x")

    assert "Read-only file system" in box.run(write, fs="readonly").value
    assert not Path("/tmp/mine").exists()


def test_host_shares_everything_but_tmp(box, tmp_path_factory):
    """``fs="host"`` writes to the machine; /tmp stays private."""
    shared = Path(__file__).parent / f".written-{os.getpid()}"
    if not os.access(shared.parent, os.W_OK):
        pytest.skip("this user may not write to the project's folder")
    if shared.is_relative_to("/tmp"):
        pytest.skip("the project's folder is in /tmp, which no sandbox shares")

    def write():
        Path("/tmp/mine").write_text("x")
        return shared.write_text("x")

    try:
        assert box.run(write, fs="host").value == 1
        assert shared.read_text() == "x"
        assert not Path("/tmp/mine").exists()
    finally:
        shared.unlink(missing_ok=True)


def test_every_mount_of_the_machine_is_visible(box, host):
    """An overlay does not show what is mounted below its lower directory: each is put back."""
    paths = [
        mount.path
        for mount in host.mounts
        if not mount.path.startswith(("/proc", "/sys", "/dev")) and Path(mount.path).is_dir()
    ]
    listed = {
        path: sorted(os.listdir(path)) for path in paths if os.access(path, os.R_OK) and path != "/"
    }
    assert box.run(lambda: {path: sorted(os.listdir(path)) for path in listed}).value == listed


@pytest.mark.needs("user")
def test_a_place_below_somebody_elses_directory_can_be_written(box):
    """Copying up a directory of root, whom a user namespace has no name for, is impossible: it is
    there beforehand.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        assert box.run(lambda: Path(directory, "x").write_text("mine")).value == 4
        assert os.listdir(directory) == []


def test_device_files_work_and_disks_are_absent(box):
    """/dev has what programs expect and none of the machine's disks."""

    def look():
        Path("/dev/null").write_bytes(b"x")
        master, slave = os.openpty()
        os.close(master)
        os.close(slave)
        blocks = [name for name in os.listdir("/dev") if Path("/dev", name).is_block_device()]
        return [len(Path("/dev/urandom").open("rb").read(4)), os.path.realpath("/dev/ptmx"), blocks]

    assert box.run(look).value == [4, "/dev/pts/ptmx", []]


def test_disk_bounds_every_private_place_together(box):
    """Half a limit in /tmp and half in /dev/shm is the whole limit."""

    def fill():
        Path("/tmp/half").write_bytes(b"x" * (600 << 10))
        Path("/dev/shm/half").write_bytes(b"x" * (600 << 10))

    assert "No space left" in box.run(fill, disk=1 << 20).value


def test_disk_is_measured(box):
    """Bytes written are counted in whole pages."""
    used = box.run(
        lambda: Path("/tmp/isolate-written").write_bytes(b"x" * (3 << 20)), disk=8 << 20
    ).disk_used
    assert 3 << 20 <= used < (3 << 20) + (256 << 10)


@pytest.mark.needs("root")
def test_a_directory_of_the_machine_can_be_renamed(box, canary):
    """As root the overlay redirects; without root the kernel has no such overlay and rename(2)
    gives EXDEV.
    """

    def rename():
        canary.rename(canary.with_name("moved"))
        return (canary.with_name("moved") / "file").read_text()

    assert box.run(rename).value == "untouched"
    assert canary.exists()


@pytest.mark.needs("root")
def test_kernel_wide_settings_cannot_be_written(box):
    """/proc/sys and /sys are the whole machine's: read-only, also for root, also the control
    groups.
    """

    def write():
        refused = []
        for path in (
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/vm/drop_caches",
            "/sys/kernel/uevent_helper",
            "/sys/power/state",
        ):
            try:
                os.close(os.open(path, os.O_WRONLY))
            except OSError as error:
                refused += [error.errno] if error.errno != errno.ENOENT else []
            else:
                refused.append(path)
        # Which come and go meanwhile
        places = [place for place, _, names in os.walk("/sys/fs/cgroup") if "cgroup.procs" in names]
        groups = [place for place in places if os.access(f"{place}/cgroup.procs", os.W_OK)]
        return [sorted(set(refused)), len(groups)]

    assert box.run(write).value == [[errno.EROFS], 0]


def test_ipc_objects_stay_inside(box):
    """A POSIX message queue's file system and SysV segments are the sandbox's own."""

    def look():
        Path("/dev/mqueue/mine").touch()
        return Path("/proc/sysvipc/shm").read_text().count("\n")

    assert box.run(look).value == 1
    assert not Path("/dev/mqueue/mine").exists()


@pytest.fixture
def layer():
    """A directory on another file system than the root: the kernel takes no lower directory that
    lies in another one (ELOOP).
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        (Path(directory) / "etc").mkdir()
        (Path(directory) / "etc/of-the-layer").write_text("layer")
        (Path(directory) / "etc/passwd").write_text("also a layer's")
        yield Path(directory)


@pytest.mark.needs("root", "overlay")
def test_several_lower_directories_are_one_root(box, layer):
    """A layer over the machine's root is seen before it, what is written lands in neither, and both
    are told from what is new.
    """

    def look():
        found = [
            Path("/etc/of-the-layer").read_text(),
            Path("/etc/passwd").read_text(),
            os.path.exists("/etc/group"),
        ]
        Path("/etc/of-the-layer").write_text("changed")
        Path("/etc/passwd").unlink()
        Path("/etc/new").write_text("new")
        return found

    ran = box.run(look, root=Root((str(layer), "/")))
    assert ran.value == ["layer", "also a layer's", True]
    assert (ran.changes.created, ran.changes.modified, ran.changes.deleted) == (
        ["/etc/new"],
        ["/etc/of-the-layer"],
        ["/etc/passwd"],
    )
    assert (layer / "etc/of-the-layer").read_text() == "layer"
    assert os.path.exists("/etc/passwd")
    assert not os.path.exists("/etc/new")
