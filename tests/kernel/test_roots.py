"""Other roots, as sandboxes show them: nothing in one leads out of it, and it is never written to."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from pytest_isolate._config.paths import Bind
from pytest_isolate._config.roots import RootFs
from pytest_isolate._linux import own_python
from pytest_isolate._linux.root import Root
from pytest_isolate._plan import elsewhere
from pytest_isolate._plan.elsewhere import Given, UnfitRootError
from pytest_isolate._plan.layout import REBUILT

pytestmark = pytest.mark.kernel


def listed(directory: Path) -> list[tuple[str, int, float]]:
    """Everything in a directory, with what changes when somebody writes."""
    return sorted(
        (str(path), (look := path.lstat()).st_size, look.st_mtime) for path in directory.rglob("*")
    )


@pytest.fixture
def stand(box, tmp_path):
    """Run a body on a directory, which must come out of it as it was."""
    root = tmp_path / "root"

    def run(body, **more):
        before = listed(root)
        machines = (*REBUILT, *own_python.directories([os.getcwd(), "/tmp"]))
        ran = box.run(
            body,
            root=Root((str(root),), machines),
            rootfs=RootFs("directory", str(root)),
            **more,
        )
        assert listed(root) == before
        return ran

    root.mkdir()
    return run


def test_a_root_needs_nothing_but_a_directory(stand, tmp_path):
    """What it lacks is made in a layer over it: no change of the test's, and nothing of the root's."""

    def look():
        Path("/new").write_text("x")
        return sorted(os.listdir("/")), [os.path.ismount(each) for each in REBUILT]

    ran = stand(look)
    top, mounts = ran.value
    assert {"dev", "new", "proc", "sys", "tmp"} <= set(top)
    assert mounts == [True] * 3
    assert ran.changes.created == ["/new"]
    assert not ran.changes.modified


def test_links_of_a_root_lead_inside(stand, tmp_path, canary):
    """Links that on the machine lead to a directory of the machine, at every place that we use."""
    root = tmp_path / "root"
    for name in ("etc", "tmp", "run", "proc", "sys", "dev"):
        (root / name).symlink_to("/inner" if name == "etc" else canary)
    (root / "inner").mkdir()
    (root / "up").symlink_to("../../../../../../../../../" + str(canary))
    before = listed(canary)

    def look():
        Path("/etc/of_the_test").write_text("x")
        for name in ("dev", "proc", "sys"):
            assert os.path.ismount(f"/{name}")
        return Path("/inner/of_the_test").exists(), "isolate" in Path("/inner/hosts").read_text()

    assert stand(look).value == [True, True]
    assert listed(canary) == before


def test_a_link_that_leads_to_itself_is_left_alone(stand, tmp_path):
    """Where /etc/hosts would be."""
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/etc/hosts").symlink_to("/etc/hosts")
    assert stand(lambda: os.path.islink("/etc/hosts")).value is True


def test_a_read_only_root_has_private_temporary_files(stand, tmp_path):
    """And the network's resolver where the test has the machine's."""
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/etc/resolv.conf").write_text("nameserver 192.0.2.1\n")

    def look():
        Path("/tmp/of_the_test").write_text("x")
        try:
            Path("/etc/new").write_text("x")
        except OSError as error:
            return error.errno
        return None

    ran = stand(look, fs="readonly")
    assert ran.value == errno.EROFS
    assert not Path("/tmp/of_the_test").exists()
    if os.path.isfile("/etc/resolv.conf"):
        shown = stand(lambda: Path("/etc/resolv.conf").read_text(), net=False).value
        assert shown == Path("/etc/resolv.conf").read_text()
    assert "192.0.2.1" in stand(lambda: Path("/etc/resolv.conf").read_text()).value


def test_what_is_bound_is_bound_inside(stand, tmp_path, canary):
    """Also through a link of the root; what is written there stays, as it was asked for."""
    (tmp_path / "root" / "srv").symlink_to("/var/srv")

    def look():
        Path("/srv/data/more").write_text("x")
        return Path("/var/srv/data/file").read_text()

    ran = stand(look, bind=(Bind(str(canary), "/srv/data", read_only=False),))
    assert ran.value == "untouched"
    assert (canary / "more").read_text() == "x"
    assert not any(path.startswith(("/srv", "/var")) for path in ran.changes.created)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("dev", "its /dev is a file, where a directory has to be"),
        ("tmp", "its /tmp is a file, where a directory has to be"),
        ("run", "its /run is a file, where /run/pytest-isolate/0 has to be"),
        ("run@/elsewhere", "its /run is a symbolic link, where /run/pytest-isolate/0 has to be"),
    ],
)
def test_a_root_that_has_something_else_there_is_refused(box, tmp_path, made, said):
    """In words that name it."""
    name, _, target = made.partition("@")
    if target:
        (tmp_path / name).symlink_to(target)
    else:
        (tmp_path / name).write_text("")
    given = Given(libraries=(("/usr/lib", "/run/pytest-isolate/0"),))
    with pytest.raises(UnfitRootError, match=f"^{said}$"):
        elsewhere.parts(Root((str(tmp_path),), ("/tmp",)), given, box.spec())


def test_a_root_with_a_mount_in_it_is_refused_without_root(box, tmp_path):
    """For whom an overlay of it is forbidden; with root what is mounted there is not seen."""
    inner = next(mount.path for mount in box.host.mounts if mount.path.count("/") > 1)
    root = Root((os.path.dirname(inner),))
    if box.host.rootless:
        with pytest.raises(UnfitRootError, match=f"umount {inner}"):
            elsewhere.check(root, box.host)
    else:
        elsewhere.check(root, box.host)


def test_a_socket_of_a_server_is_reached_on_another_root(stand, tmp_path):
    """A path below the machine's temporary files is there, whatever root is below it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        assert stand(lambda: os.path.exists(tmp_path / "socket")).value is True
