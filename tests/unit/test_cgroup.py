"""Where the controllers are, from two files of /proc; and what the sweeper of old groups leaves
alone.
"""

import fcntl
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux.cgroup import files, groups, hierarchy
from pytest_isolate._linux.cgroup.locate import locate

V2 = (
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2"
    " rw,nsdelegate,memory_recursiveprot\n"
)
V1 = """\
40 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
41 31 0:32 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory
42 31 0:36 / /sys/fs/cgroup/pids rw shared:12 - cgroup cgroup rw,pids
43 31 0:37 / /sys/fs/cgroup/systemd rw shared:13 - cgroup cgroup rw,xattr,name=systemd
"""
UNIFIED = "44 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_on_v2_everything_is_in_the_unified_hierarchy():
    """The usual machine with systemd: one line, entered under the empty name."""
    found = locate("0::/user.slice/user-1000.slice/session-2.scope\n", V2)
    assert found == {"": hierarchy.V2("/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope")}


def test_the_root_group_is_the_mount_point_itself():
    """In a cgroup namespace, as in Docker by default, one's own path is "/"."""
    assert locate("0::/\n", V2) == {"": hierarchy.V2("/sys/fs/cgroup")}


def test_on_v1_each_controller_has_its_own_place():
    """Controllers mounted together share a directory; the others have theirs."""
    found = locate("4:pids:/a\n3:memory:/b/c\n2:cpu,cpuacct:/\n1:name=systemd:/d\n", V1)
    assert found == {
        "pids": hierarchy.V1("/sys/fs/cgroup/pids/a"),
        "memory": hierarchy.V1("/sys/fs/cgroup/memory/b/c"),
        "cpu": hierarchy.V1("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": hierarchy.V1("/sys/fs/cgroup/cpu,cpuacct"),
        "name=systemd": hierarchy.V1("/sys/fs/cgroup/systemd/d"),
    }


def test_a_hybrid_machine_has_both():
    """v1 controllers beside a unified hierarchy: each line goes to its own kind of mount."""
    found = locate("3:memory:/m\n0::/u\n", V1 + UNIFIED)
    assert found == {
        "memory": hierarchy.V1("/sys/fs/cgroup/memory/m"),
        "": hierarchy.V2("/sys/fs/cgroup/unified/u"),
    }


@pytest.mark.parametrize(
    ("path", "directory"),
    [("/docker/4f", "/sys/fs/cgroup/memory"), ("/docker/4f/sub/x", "/sys/fs/cgroup/memory/sub/x")],
)
def test_a_path_is_relative_to_the_group_that_is_mounted(path, directory):
    """Docker without a cgroup namespace mounts the container's own group, while /proc says the
    machine's path.
    """
    mountinfo = "41 31 0:32 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert locate(f"3:memory:{path}\n", mountinfo) == {"memory": hierarchy.V1(directory)}


@pytest.mark.parametrize("path", ["/docker", "/docker/5a", "/docker/4f2", "/", "/../outside"])
def test_a_group_outside_of_what_is_mounted_is_not_there(path):
    """A process whose group is not below the mounted one has no directory to work in."""
    mountinfo = "41 31 0:32 /docker/4f /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert locate(f"3:memory:{path}\n", mountinfo) == {}


@pytest.mark.parametrize(
    ("root", "path"), [("/", "/../outside"), ("/..", "/"), ("/../..", "/sub"), ("/../sibling", "/")]
)
def test_a_root_above_ones_own_cgroup_namespace_leads_nowhere(root, path):
    """cgroup_namespaces(7): ".." stands for a group without a name in here, so one's own directory
    below it cannot be known.
    """
    assert (
        locate(f"0::{path}\n", f"35 24 0:30 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n") == {}
    )


@pytest.mark.parametrize("name", ["..data", "...", ".hidden"])
def test_a_group_may_have_a_name_that_begins_with_dots(name):
    """Only ".." by itself leads upwards."""
    assert locate(f"0::/{name}\n", V2) == {"": hierarchy.V2(f"/sys/fs/cgroup/{name}")}


def test_escapes_of_mountinfo_are_undone():
    """Backslashes and spaces, which mountinfo escapes and /proc/self/cgroup does not: systemd's
    scopes are full of them.
    """
    mountinfo = "35 24 0:30 /app-org\\134x2dterm.scope /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert locate("0::/app-org\\x2dterm.scope/sub\n", mountinfo) == {
        "": hierarchy.V2("/mnt/my groups/sub")
    }


def test_a_colon_belongs_to_the_path():
    """Only the first two colons of a line separate."""
    assert locate("0::/a:b/c:d\n", V2) == {"": hierarchy.V2("/sys/fs/cgroup/a:b/c:d")}


@pytest.mark.parametrize(
    "mountinfo",
    ["", "garbage\n", "22 27 0:21 / /proc rw - proc proc rw\n", "35 24 0:30 / /x rw - cgroup2\n"],
)
def test_without_a_mounted_hierarchy_there_is_none(mountinfo):
    """Controllers that are nowhere mounted are not found, and lines of other things are passed
    over.
    """
    assert locate("3:memory:/a\n0::/b\nnonsense\n", mountinfo) == {}


@given(own=st.text(), mountinfo=st.text())
def test_no_text_makes_locate_raise(own, mountinfo):
    """Whatever stands in the two files, the answer is a map."""
    assert isinstance(locate(own, mountinfo), dict)


pieces = st.sampled_from(
    [
        "",
        "/",
        "/a",
        "/a/b",
        "..",
        "/..",
        "/a/../b",
        "\\040",
        "\\134",
        "²",
        ":",
        ",",
        "memory",
        "name=x",
        "0",
        "cgroup",
        "rw",
        "-",
    ]
)
lines = st.lists(pieces, max_size=5)


@given(own=st.lists(lines, max_size=3), mounts=st.lists(st.tuples(lines, lines), max_size=3))
def test_no_line_that_looks_almost_right_makes_locate_raise(own, mounts):
    """Fields too many, too few and in each other's place."""
    mountinfo = "\n".join(f"{' '.join(before)} - {' '.join(after)}" for before, after in mounts)
    for place in locate("\n".join(":".join(line) for line in own), mountinfo).values():
        assert place.version in {1, 2}


names = st.text(st.characters(exclude_characters="\0\n/"), min_size=1).filter(
    lambda name: name not in {".", ".."}
)


def escaped(path):
    return "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in path)


@given(
    root=st.lists(names, max_size=3),
    below=st.lists(names, max_size=3),
    mount=st.lists(names, min_size=1, max_size=2),
    v2=st.booleans(),
)
def test_a_group_is_found_below_its_mount_whatever_its_name(root, below, mount, v2):
    """Any names: the group is the mount point and what lies between the mounted group and one's
    own.
    """
    top, point = "/" + "/".join(root), "/" + "/".join(mount)
    kind, controller = ("cgroup2", "") if v2 else ("cgroup", "memory")
    mountinfo = f"35 24 0:30 {escaped(top)} {escaped(point)} rw - {kind} x rw,memory\n"
    found = locate(f"3:{controller}:/{'/'.join([*root, *below])}\n", mountinfo)
    assert found == {controller: hierarchy.of(2 if v2 else 1, "/".join([point, *below]))}


def test_remove_takes_groups_from_the_innermost_outwards(tmp_path):
    """rmdir(2) takes empty directories only, so the children go first."""
    (tmp_path / "run/a/b").mkdir(parents=True)
    (tmp_path / "run/c").mkdir()
    assert groups.remove(str(tmp_path / "run")) is True
    assert os.listdir(tmp_path) == []


def test_remove_of_what_is_gone_is_done(tmp_path):
    """Somebody else may have been faster."""
    assert groups.remove(str(tmp_path / "gone")) is True


def test_remove_says_what_is_in_its_way(tmp_path):
    """Whatever is not "busy" is a failed step with its path."""
    (tmp_path / "file").touch()
    with pytest.raises(StepFailedError) as caught:
        groups.remove(str(tmp_path))
    assert str(caught.value) == f"rmdir {tmp_path}: Directory not empty [ENOTEMPTY]"


def test_remove_does_not_follow_a_link(tmp_path):
    """What a link points to is not below the group."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/link").symlink_to("../outside")
    with pytest.raises(StepFailedError):
        groups.remove(str(tmp_path / "run"))
    assert (tmp_path / "outside").is_dir()


def test_sweep_touches_neither_others_groups_nor_those_of_the_living(tmp_path):
    """Groups of other names, the leaf too, and a run's directory whose lock is held stay."""
    held = tmp_path / f"{groups.PREFIX}1-abcd"
    for directory in (held / "sandbox", tmp_path / "system.slice", tmp_path / hierarchy.LEAF):
        directory.mkdir(parents=True)
    fd = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert groups.sweep(str(tmp_path)) == []
    finally:
        os.close(fd)
    assert sorted(os.listdir(tmp_path)) == sorted([held.name, "system.slice", hierarchy.LEAF])
    assert (held / "sandbox").is_dir()


def test_a_failed_write_names_what_and_where(tmp_path):
    """The kernel's refusal of a setting says the setting and the file."""
    with pytest.raises(StepFailedError) as caught:
        files.write(str(tmp_path / "pids.max"), "5")
    assert (
        str(caught.value)
        == f"write '5' to {tmp_path / 'pids.max'}: No such file or directory [ENOENT]"
    )


def test_groups_are_removed_however_deep_and_wide(tmp_path):
    """A test that may make groups in its own ended the builder, and every later run, by a path that
    is too long for the kernel.
    """
    (group := tmp_path / "group").mkdir()
    for name, levels in (("n" * 250, 40), ("n", 2000)):
        here = os.open(group, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        for number in range(100):
            os.mkdir(f"wide{number}", dir_fd=here)
        os.close(here)
    assert groups.remove(str(group))
    assert os.listdir(tmp_path) == []
    assert groups.remove(str(group))
