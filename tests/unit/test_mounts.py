"""What mountinfo says, read from real samples and from nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._linux.mounts import parse_mountinfo

BARE_METAL = """\
22 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard,errors=remount-ro
96 27 8:17 / /media/my\\040disk ro,nosuid shared:49 - vfat /dev/sdb1 rw,fmask=0022
"""
DOCKER = """\
1024 900 0:52 / / rw,relatime master:300 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/d/diff,workdir=/d/work
1031 1024 254:1 /docker/containers/4f/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda1 rw
1032 1024 254:1 /docker/volumes/v/_data /data ro,relatime master:1 propagate_from:2 unbindable - ext4 /dev/vda1 rw
"""


def test_a_line_of_mountinfo_becomes_a_mount_point():
    """Every field of a real machine's lines is where proc(5) says it is."""
    proc, root, disk = parse_mountinfo(BARE_METAL)
    assert (proc.id, proc.parent, proc.root, proc.path, proc.fstype) == (
        22,
        27,
        "/",
        "/proc",
        "proc",
    )
    assert proc.options == {"rw", "nosuid", "nodev", "noexec", "relatime"}
    assert (root.id, root.parent, root.path, root.super_options) == (
        27,
        1,
        "/",
        {"rw", "discard", "errors=remount-ro"},
    )
    assert (disk.path, disk.fstype) == ("/media/my disk", "vfat")


def test_a_bind_mount_keeps_the_directory_it_is_made_from():
    """Docker's files and volumes have a root of their own, and mount options apart from the file
    system's.
    """
    _, file, volume = parse_mountinfo(DOCKER)
    assert (file.root, file.path, file.read_only) == (
        "/docker/containers/4f/resolv.conf",
        "/etc/resolv.conf",
        False,
    )
    assert (volume.root, volume.path, volume.read_only) == (
        "/docker/volumes/v/_data",
        "/data",
        True,
    )


@pytest.mark.parametrize(
    "optional", ["", "shared:1 ", "master:1 ", "shared:1 master:2 propagate_from:3 unbindable "]
)
def test_any_number_of_optional_fields_moves_nothing(optional):
    """proc(5): zero or more optional fields, ended by a hyphen."""
    (mount,) = parse_mountinfo(
        f"36 35 98:0 /mnt1 /mnt2 rw,noatime {optional}- ext3 /dev/root rw,errors=continue\n"
    )
    assert (mount.path, mount.fstype, mount.super_options) == (
        "/mnt2",
        "ext3",
        {"rw", "errors=continue"},
    )


@pytest.mark.parametrize(
    ("mount", "super_", "read_only"),
    [("rw", "rw", False), ("ro", "rw", True), ("rw", "ro", True), ("rw,errors=ro", "rw", False)],
)
def test_a_mount_is_read_only_by_itself_or_by_its_file_system(mount, super_, read_only):
    """Either makes writes fail; an option that merely contains the letters does not."""
    (found,) = parse_mountinfo(f"36 35 98:0 / /a {mount} - ext4 /dev/root {super_}\n")
    assert found.read_only is read_only


def test_an_empty_source_moves_nothing():
    """mount(2) takes an empty source, which leaves two spaces in a row."""
    (mount,) = parse_mountinfo("36 35 0:40 / /a rw - tmpfs  rw,size=4k\n")
    assert (mount.fstype, mount.super_options) == ("tmpfs", {"rw", "size=4k"})


@given(path=st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_a_path_comes_out_as_the_kernel_was_given_it(path):
    """The kernel escapes space, tab, newline and backslash only: whatever else is in a path is read
    as it stands.
    """
    escaped = "/" + "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in path)
    found = parse_mountinfo(f"36 35 98:0 {escaped} {escaped} rw - ext4 /dev/root rw\n")
    assert [(mount.root, mount.path) for mount in found] == [("/" + path, "/" + path)]


@pytest.mark.parametrize(
    "line",
    ["", " - ", "garbage", "36 35 98:0 / /a rw ext4 /dev/root rw",
     "36 35 98:0 / /a - ext4 /dev/root rw", "x 35 98:0 / /a rw - ext4 d rw",
     "36 x 98:0 / /a rw - ext4 d rw", "36 35 98:0 / /a rw - ext4", "36  98:0 / /a rw - ext4 d rw",
     " 35 98:0 / /a rw - ext4 d rw",
     "9" * 5000 + " 35 98:0 / /a rw - ext4 d rw"],
    ids=["empty", "hyphen", "word", "no hyphen", "too few", "id", "parent", "tail", "no parent",
         "no id", "huge id"],
)  # fmt: skip
def test_a_line_that_is_not_of_the_kernels_form_is_left_out(line):
    """Garbage is left out and takes nothing with it: the lines around it are read."""
    assert [mount.path for mount in parse_mountinfo(f"{BARE_METAL}{line}\n{DOCKER}")] == [
        "/proc", "/", "/media/my disk", "/", "/etc/resolv.conf", "/data",
    ]  # fmt: skip


@given(text=st.text())
def test_no_text_makes_it_raise(text):
    """Whatever stands in the file, the answer is a list."""
    assert isinstance(parse_mountinfo(text), list)


ids = st.sampled_from(["", "1", "²", "٣", "-"])
fields = st.lists(
    st.sampled_from(["", "1", "-", "a", "/", "\\040", "\\999", "rw"]), min_size=4, max_size=6
)


@given(id_=ids, parent=ids, middle=fields, tail=fields)
def test_no_fields_make_it_raise(id_, parent, middle, tail):
    """Lines that look almost right make no exception either."""
    assert len(parse_mountinfo(" ".join([id_, parent, *middle, "-", *tail]))) <= 1
