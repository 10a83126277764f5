"""Layers over the machine's root, wherever they lie: seen as one, written to by nobody."""

import os
import stat
from pathlib import Path

import pytest

from pytest_isolate._linux.root import Root
from pytest_isolate._plan.layering import UnfitError
from pytest_isolate._sandbox import copies

pytestmark = [pytest.mark.kernel, pytest.mark.needs("overlay")]
SPACE = "user" if os.geteuid() else "trusted"


@pytest.fixture
def layer(tmp_path):
    """A directory to fill: on the file system of temporary files, as a rule the machine's own."""

    def make(name, **files):
        for path, text in files.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return str(tmp_path / name)

    return make


def whiteout(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.mknod(path, stat.S_IFCHR)


def run(box, body, *layers, **keywords):
    """Run it on the machine's root and layers, the uppermost first."""
    return box.run(body, root=Root((*layers, "/")), **keywords)


def changed(ran):
    return ran.changes.created, ran.changes.modified, ran.changes.deleted


def test_a_layer_and_what_is_below_it_are_one_tree(box, layer):
    """Read, changed and removed; the report has what the test did and nothing of the layer's."""
    one = layer("one", **{"etc/of-the-layer": "layer", "etc/gone": "", "usr/share/x/deep": "deep"})

    def look():
        found = [Path("/etc/of-the-layer").read_text(), Path("/usr/share/x/deep").read_text()]
        found += [os.path.exists("/etc/passwd"), os.path.isdir("/usr/share/doc")]
        Path("/etc/of-the-layer").write_text("changed")
        Path("/usr/share/x/new").write_text("new")
        Path("/etc/gone").unlink()
        return found

    ran = run(box, look, one)
    assert ran.value == ["layer", "deep", True, True]
    assert changed(ran) == (["/usr/share/x/new"], ["/etc/of-the-layer"], ["/etc/gone"])
    assert Path(one, "etc/of-the-layer").read_text() == "layer"
    assert sorted(os.listdir(f"{one}/etc")) == ["gone", "of-the-layer"]
    assert not os.path.exists("/etc/of-the-layer")


def test_layers_stack_the_uppermost_first(box, layer):
    """What one has hides what those below have, a whiteout too."""
    under = layer("under", **{"etc/both": "under", "etc/gone": "under", "etc/under": "under"})
    over = layer("over", **{"etc/both": "over", "etc/over": "over"})
    whiteout(f"{over}/etc/gone")

    def look():
        return [Path("/etc", name).read_text() for name in ("both", "under", "over")] + [
            os.path.lexists("/etc/gone")
        ]

    assert run(box, look, over, under).value == ["over", "under", "over", False]


@pytest.mark.needs("overlay", "user_xattr")
def test_a_layer_removes_and_replaces_what_the_machine_has(box, layer):
    """A whiteout over a file, an opaque directory over a full one."""
    one = layer("one", **{"usr/share/doc/only": "only"})
    os.setxattr(f"{one}/usr/share/doc", f"{SPACE}.overlay.opaque", b"y")
    whiteout(f"{one}/etc/passwd")
    ran = run(box, lambda: [os.path.lexists("/etc/passwd"), os.listdir("/usr/share/doc")], one)
    assert ran.value == [False, ["only"]]
    assert changed(ran) == ([], [], [])


def test_what_lies_right_beside_the_layer_itself_is_there_too(box, layer, tmp_path):
    """No overlay can have a directory of the machine that the layer lies in: file, link, new
    directory, whiteout, and names right below the root.
    """
    here = str(tmp_path)
    (tmp_path / "machines").write_text("machine's")
    (tmp_path / "kept").write_text("kept")
    inner = {"file": "beside", "new/below/file": "new", "machines": "the layer's"}
    files = {f"{here[1:]}/{name}": text for name, text in inner.items()}
    one = layer("one", **files, **{"of-root/file": "root's", "file-of-root": "also"})
    os.symlink("file", f"{one}{here}/link")
    os.mkfifo(f"{one}{here}/fifo")
    (tmp_path / "gone").write_text("")
    whiteout(f"{one}{here}/gone")

    def look():
        names = ("file", "new/below/file", "link", "machines", "kept")
        found = [(tmp_path / name).read_text() for name in names]
        found += [Path("/of-root/file").read_text(), Path("/file-of-root").read_text()]
        found += [(tmp_path / "gone").exists(), (tmp_path / "fifo").is_fifo()]
        (tmp_path / "new/below/more").write_text("")
        (tmp_path / "file").write_text("longer than it was")
        return found

    ran = run(box, look, one)
    expected = ["beside", "new", "beside", "the layer's", "kept", "root's", "also", False, True]
    assert ran.value == expected
    assert changed(ran) == ([f"{here}/new/below/more"], [f"{here}/file"], [])
    assert (tmp_path / "machines").read_text() == "machine's"


def test_a_large_file_beside_the_layer_is_refused_in_a_sentence(box, layer, tmp_path):
    """It would be copied for each test."""
    one = layer("one", **{f"{str(tmp_path)[1:]}/small": ""})
    place = f"{one}{tmp_path}/large"
    with open(place, "wb") as file:
        file.truncate(copies.LARGEST + 1)
    with pytest.raises(UnfitError, match=r"large is too large.*at most 8 MiB.*XDG_CACHE_HOME"):
        box.plan(root=Root((one, "/")))


def test_a_link_in_a_layer_leads_nowhere_outside_of_it(box, layer, tmp_path):
    """A layer of somebody else's: its own links are links, and nothing is read through them."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_text("secret")
    one = layer("one", **{"usr/share/x": ""})
    os.symlink(tmp_path / "secret", f"{one}/usr/share/out")
    os.symlink("../../../../../../../../../../../../etc", f"{one}/usr/share/up")
    root = Root((one, "/"))
    assert root.lstat("/usr/share/out/file") is None
    assert root.kind("/usr/share/up/passwd") == "none"
    assert root.text("/usr/share/out/file") == ""
    assert root.lowers("/usr/share/out") == ("/usr/share/out",)
    assert run(box, lambda: os.readlink("/usr/share/out"), one).value == str(tmp_path / "secret")


def test_hundreds_of_layers_are_a_stack(box, layer):
    """mount(2) takes a page of options, so their names are short ones."""
    layers = [
        layer(f"{number:03}-{'long' * 20}", **{f"etc/l{number}": ""}) for number in range(300)
    ]
    names = run(box, lambda: os.listdir("/etc"), *layers).value
    assert {f"l{number}" for number in range(300)} <= set(names)


def test_a_read_only_root_has_layers_and_takes_no_write(box, layer):
    """``fs="readonly"``."""

    def look():
        try:
            Path("/etc/of-the-layer").write_text("changed")
        except OSError as error:
            return [Path("/etc/of-the-layer").read_text(), error.errno]
        return "written"

    one = layer("one", **{"etc/of-the-layer": "layer"})
    assert run(box, look, one, fs="readonly").value == ["layer", 30]
