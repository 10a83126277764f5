"""Images: what their documents and layers come to, and what is refused, in one sentence."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imaging import MACHINE, Layout, docker_archive, entry, hard_link, layer, link

from pytest_isolate._images import images
from pytest_isolate._images.broken import BrokenImageError
from pytest_isolate._images.streams import Bounds

PLAIN = layer(entry("etc"), entry("etc/hello", b"hello"), link("bin", "usr/bin"))


class Unpacked:
    """A tree, and what was said of it."""

    def __init__(self, path: Path, said: list[str], key: str, environment: dict[str, str]) -> None:
        self.path, self.said, self.key, self.environment = path, said, key, environment

    def names(self) -> list[str]:
        return sorted(str(each.relative_to(self.path)) for each in self.path.rglob("*"))


@pytest.fixture
def unpacked(tmp_path):
    """Unpack an image to a directory, which must be beside a file that nothing reaches."""
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    tree = tmp_path / "tree"
    tree.mkdir()

    def run(path: Path, tag: str = "", **bounds: int) -> Unpacked:
        shutil.rmtree(tree)
        tree.mkdir()
        kind = "oci" if path.is_dir() else "archive"
        try:
            with images.opened(kind, str(path), tag, str(tmp_path)) as image:
                left = image.unpack(str(tree), Bounds(**bounds))
                return Unpacked(tree, left, image.key, dict(image.environment))
        finally:
            assert outside.read_text() == "untouched"
            assert sorted(os.listdir(tmp_path)) in (
                sorted({"outside", "tree", path.name}),
                ["outside", "tree"],
            )

    return run


@pytest.fixture
def of_layers(tmp_path, unpacked):
    """Unpack an image of these layers."""

    def run(*layers: bytes, **bounds: int) -> Unpacked:
        shutil.rmtree(tmp_path / "image", ignore_errors=True)
        layout = Layout(tmp_path / "image")
        layout.add(layout.manifest(layers))
        return unpacked(layout.directory, **bounds)

    return run


def refusal(run, *args, **bounds) -> str:
    with pytest.raises(BrokenImageError) as caught:
        run(*args, **bounds)
    return str(caught.value)


#: Variables of which one can be had.
ODD = ["LANG=C", "broken", "=x", "A=\0", "B=\ud800", "C=" + "x" * (1 << 17), 5, None, ["D=x"]]


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_a_layout_and_an_archive_of_docker_are_one_image(tmp_path, unpacked, pack):
    """Compressed or not, whole or in an archive that is compressed: the same tree by the same key."""
    layout = Layout(tmp_path / "image")
    layout.add(layout.manifest([PLAIN], pack, config={"Env": ODD}), "latest")
    found = unpacked(layout.directory, "latest")
    assert found.names() == ["bin", "etc", "etc/hello"]
    assert found.environment == {"LANG": "C"}
    assert os.readlink(found.path / "bin") == "usr/bin"
    assert (found.path / "etc").stat().st_mtime == 1_000_000_000
    key = found.key
    shutil.rmtree(layout.directory)
    archive = docker_archive(tmp_path / "image.tar", [PLAIN])
    if pack is gzip.compress:
        archive.write_bytes(gzip.compress(archive.read_bytes()))
    found = unpacked(archive)
    assert (found.key, found.names()) == (key, ["bin", "etc", "etc/hello"])


def test_a_newer_archive_of_docker_is_a_layout_in_an_archive(tmp_path, unpacked):
    """Docker 25 and podman write manifest.json beside a layout, skopeo's oci-archive a layout."""
    layout = Layout(tmp_path / "image")
    layout.add(layout.manifest([PLAIN], bytes))
    blobs = {f"blobs/sha256/{path.name}": path.read_bytes() for path in layout.blobs()}
    (layer_name,) = [name for name, data in blobs.items() if data == PLAIN]
    (config,) = [name for name, data in blobs.items() if b"diff_ids" in data]
    manifest = json.dumps([{"Config": config, "RepoTags": None, "Layers": [layer_name]}])
    index = (layout.directory / "index.json").read_text()
    shutil.rmtree(layout.directory)
    for name, text in (("manifest.json", manifest), ("index.json", index)):
        with tarfile.open(tmp_path / "image.tar", "w") as archive:
            for each, data in {**blobs, f"./{name}": text.encode()}.items():
                archive.addfile(entry(each, data)[0], io.BytesIO(data))
        assert unpacked(tmp_path / "image.tar").names() == ["bin", "etc", "etc/hello"]


def test_an_index_in_an_index_has_this_machines_image(tmp_path, unpacked):
    """As images for several architectures are, with attestations among them."""
    layout = Layout(tmp_path / "image")
    other = layout.manifest([layer(entry("other"))], architecture="vax")
    ours = layout.manifest([PLAIN])
    index = {
        "schemaVersion": 2,
        "manifests": [
            {**other, "platform": {"os": "unknown", "architecture": "unknown"}},
            {**other, "platform": {"os": "linux", "architecture": "vax"}},
            {**ours, "platform": {"os": "linux", "architecture": MACHINE}},
        ],
    }
    layout.add(layout.put(index), "many")
    assert unpacked(layout.directory, "many").names() == ["bin", "etc", "etc/hello"]
    index["manifests"].pop()
    layout.add(layout.put(index), "vax")
    assert refusal(unpacked, layout.directory, "vax") == (
        f"it has no image for linux/{MACHINE}; it has: linux/vax, unknown/unknown"
    )
    layout.add(other, "wrong")
    assert "is for linux/vax" in refusal(unpacked, layout.directory, "wrong")


def test_whiteouts_remove_what_is_below_and_nothing_of_their_own_layer(of_layers):
    """Wherever in the archive they stand."""
    below = layer(
        entry("a"), entry("a/gone", b"1"), entry("a/kept", b"1"),
        entry("b"), entry("b/gone"), entry("b/gone/deep", b"1"), entry("c", b"1"), entry("d"),
        entry("d/below", b"1"),
    )  # fmt: skip
    above = layer(
        entry("a/.wh.gone", b""),
        entry("b/new", b"2"), entry("b/.wh..wh..opq", b""), entry("b/gone"), entry("b/gone/new", b"2"),
        entry(".wh.c", b""), entry(".wh..wh.plnk", b""), entry(".wh.nothing", b""),
        entry("d/above", b"2"), entry(".wh.d", b""),
    )  # fmt: skip
    found = of_layers(below, above)
    assert found.names() == ["a", "a/kept", "b", "b/gone", "b/gone/new", "b/new", "d", "d/above"]


def test_a_layer_replaces_what_is_of_another_kind(of_layers):
    """A directory by a file, a file by a directory, a link by a directory; a file is not written through."""
    below = layer(
        entry("a"), entry("a/b", b"1"), entry("c", b"1"), link("d", "a"), entry("e", b"1"),
        hard_link("f", "e"),
    )  # fmt: skip
    found = of_layers(below, layer(entry("a", b"2"), entry("c"), entry("d"), entry("e", b"2")))
    assert found.names() == ["a", "c", "d", "e", "f"]
    assert [(found.path / each).read_bytes() for each in ("a", "e", "f")] == [b"2", b"2", b"1"]
    assert (found.path / "d").is_dir()


def test_links_on_the_way_lead_inside(of_layers):
    """An absolute link is one of the image: a layer may go through /lib, which another made a link."""
    below = layer(entry("usr/lib/x", b"1"), link("lib", "usr/lib"), link("run", "/usr/../var/run"))
    above = layer(entry("lib/y", b"2"), entry("run/pid", b"2"), hard_link("z", "lib/x"))
    found = of_layers(below, above)
    assert (found.path / "usr/lib/y").read_bytes() == b"2"
    assert (found.path / "var/run/pid").read_bytes() == b"2"
    assert (found.path / "z").stat().st_ino == (found.path / "usr/lib/x").stat().st_ino


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("../outside", b"")], "'../outside' leads out of the image by '..'"),
        ([entry("a/../../outside", b"")], "'a/../../outside' leads out of the image by '..'"),
        ([link("a", "../.."), entry("a/outside", b"")], "'a' leads out of the image by a symbolic link"),
        ([link("a", "b/../../c"), entry("b"), entry("a/outside", b"")], "'a' leads out of the image by a symbolic link"),
        ([link("a", "a"), entry("a/b", b"")], "'a' leads through more than 40 symbolic links"),
        ([entry("a", b""), entry("a/b", b"")], "'a' leads through 'a', which is no directory"),
        ([hard_link("a", "../outside")], "'a' is a hard link to '../outside', which leads out of the image by '..'"),
        ([link("l", ".."), hard_link("a", "l/outside")], "'l' leads out of the image by a symbolic link"),
        ([hard_link("a", "b")], "'a' is a hard link to 'b', which is not there"),
        ([entry("b"), hard_link("a", "b")], "'a' is a hard link to 'b', which is a directory"),
        ([entry(".wh...", b"")], "'.wh...' is a whiteout without a name"),
        ([entry("/".join("a" * 129), b"")], "lies deeper than 128 directories"),
        ([entry("a", b"", uid=1 << 33)], "'a' has an owner, 8589934592:0, that cannot be"),
        ([entry("a" * 300, b"")], "cannot be made: File name too long"),
        ([entry("a", b"", type=b"V")], "'a' is of a type (b'V') that no layer has"),
    ],
)  # fmt: skip
def test_a_layer_that_climbs_out_is_refused(of_layers, entries, said):
    """Each in one sentence with layer and name, and nothing outside is there, or changed."""
    sentence = refusal(of_layers, PLAIN, layer(*entries))
    assert sentence.startswith("layer 2 of 2 (sha256:")
    assert said in sentence


def test_an_absolute_name_is_one_of_the_image(of_layers):
    """As every tool has it."""
    assert of_layers(layer(entry("/a/b", b"1"))).names() == ["a", "a/b"]


def test_devices_are_left_out_and_said(of_layers):
    """Also the one that an overlay would take for a file that is not there; and links to them."""
    node = entry("sda", type=tarfile.BLKTYPE, devmajor=8, mode=0o666)
    usual = entry("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    white = entry("etc/hello", type=tarfile.CHRTYPE)
    fifo = entry("fifo", type=tarfile.FIFOTYPE, mode=0o600)
    found = of_layers(PLAIN, layer(node, white, hard_link("x", "sda"), fifo, usual))
    assert found.names() == ["bin", "dev", "etc", "fifo"]
    assert stat.S_ISFIFO((found.path / "fifo").stat().st_mode)
    assert found.said[0] == (
        "device nodes are left out, a test has those of its own /dev: 'etc/hello', 'sda'"
    )


def test_owners_modes_and_attributes_are_those_of_the_image(of_layers):
    """As root. A user has one owner to give, which is said, and can write to, and so remove, every directory."""
    tags = {"SCHILY.xattr.user.colour": "bl\udcffe", "SCHILY.xattr.trusted.overlay.opaque": "y"}
    found = of_layers(
        layer(
            entry("closed", mode=0o555, uid=5, gid=6),
            entry("closed/program", b"#!", mode=0o4755, uid=1, gid=2, pax_headers=tags),
        )
    )
    program, closed = (found.path / "closed/program"), (found.path / "closed")
    assert os.getxattr(program, "user.colour") == b"bl\xffe"
    assert "extended attributes are left out: 'trusted.overlay.opaque'" in found.said
    assert program.stat().st_mode & 0o7777 == 0o4755
    if os.geteuid() == 0:
        assert (program.stat().st_uid, program.stat().st_gid, closed.stat().st_uid) == (1, 2, 5)
        assert closed.stat().st_mode & 0o7777 == 0o555
    else:
        assert closed.stat().st_mode & 0o7777 == 0o755
        assert found.said[0] == "every file is yours: without root no other owner can be given"


def test_what_was_changed_or_cut_is_refused(tmp_path, unpacked):
    """By its size, its digest, or that of what it holds."""
    layout = Layout(tmp_path / "image")
    layout.add(layout.manifest([PLAIN]))
    (blob,) = [path for path in layout.blobs() if path.read_bytes().startswith(b"\x1f\x8b")]
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-20])
    assert f"it has {len(whole) - 20} bytes, and not the {len(whole)} that" in refusal(
        unpacked, layout.directory
    )
    other = gzip.compress(PLAIN.replace(b"hello", b"hallo"))
    blob.write_bytes(other[: len(whole)].ljust(len(whole), b"\0"))
    assert "it has the digest sha256:" in refusal(unpacked, layout.directory)
    blob.unlink()
    assert f"there is no file blobs/sha256/{blob.name} in it" in refusal(unpacked, layout.directory)


def test_a_truncated_archive_is_refused(tmp_path, unpacked):
    """Wherever it ends."""
    path = docker_archive(tmp_path / "image.tar", [PLAIN, layer(entry("big", b"x" * 100_000))])
    whole = path.read_bytes()
    for end in (0, 300, 5_000, 60_000):
        path.write_bytes(whole[:end])
        assert "tar archive" in refusal(unpacked, path)
    cut = gzip.compress(whole)
    path.write_bytes(cut[: len(cut) // 2])
    assert "it ends in the middle of its compressed data" in refusal(unpacked, path)


def test_what_is_no_image_is_refused(tmp_path, unpacked):
    """A directory of anything, an archive of anything, documents of anything."""
    (tmp_path / "image").mkdir()
    assert "no OCI image layout" in refusal(unpacked, tmp_path / "image")
    for text, said in [
        ("{", "index.json is no JSON"),
        ("[]", "index.json is no JSON object"),
        ("{}", "index.json has no list 'manifests'"),
        ('{"manifests": [1]}', "a descriptor that is no object"),
        (
            '{"manifests": [{"size": 1, "digest": "sha256:../../outside"}]}',
            "a digest that is not valid",
        ),
        ('{"manifests": [{"size": true}]}', "a descriptor without a size"),
        ("[" * 100_000, "index.json is no JSON"),
        (" " * (4 << 20) + "{}", "where 4194304 are the most"),
    ]:
        (tmp_path / "image/index.json").write_text(text)
        assert said in refusal(unpacked, tmp_path / "image")
    shutil.rmtree(tmp_path / "image")
    (tmp_path / "image").write_bytes(PLAIN)
    assert "neither a manifest.json nor an index.json" in refusal(unpacked, tmp_path / "image")
    several = b'[{"RepoTags": 5}, {"RepoTags": ["a", 5]}, {}]'
    (tmp_path / "image").write_bytes(layer(entry("manifest.json", several)))
    tags = "'one without a name', 'a', '5', 'one without a name'"
    assert f"several images, save one: {tags}" in refusal(unpacked, tmp_path / "image")


def test_several_images_ask_for_a_choice(tmp_path, unpacked):
    """And a tag that is not there is answered by those that are."""
    layout = Layout(tmp_path / "image")
    layout.add(layout.manifest([PLAIN]), "one").add(layout.manifest([layer(entry("x"))]), "two")
    tags = "it has the tags 'one', 'two'"
    assert refusal(unpacked, layout.directory) == (
        f"it has several images, write oci:DIR:TAG: {tags}"
    )
    assert refusal(unpacked, layout.directory, "three") == (
        f"no image in it has the tag 'three'; {tags}"
    )
    assert unpacked(layout.directory, "two").names() == ["x"]


def test_a_bomb_is_refused(of_layers):
    """By what it holds against what it takes, and by how many files: bounds that no layer of files meets."""
    bomb = layer(entry("zeros", bytes(8 << 20)))
    assert "it is refused as a bomb" in refusal(of_layers, bomb, always=1 << 20)
    many = layer(*(entry(str(number), b"") for number in range(11)))
    assert "there are more than 10 files" in refusal(of_layers, many, entries=10)


def test_a_header_cannot_fill_the_memory(of_layers):
    """Though tarfile reads a long name at once, whatever size it says."""
    info, _ = entry("x", b"", type=tarfile.GNUTYPE_LONGNAME)
    info.size = 1 << 40
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert "a header of more than 1048576 bytes" in refusal(of_layers, header)


def test_global_headers_cannot_fill_the_memory(of_layers):
    """Each is one of all entries behind it: of such, thousands were kept."""

    def globals_of(*numbers: int) -> bytes:
        words = ({f"word{number}": "x" * 600_000} for number in numbers)
        return b"".join(map(tarfile.TarInfo.create_pax_global_header, words))

    end = layer(entry("x"))
    assert of_layers(globals_of(1) + end).names() == ["x"]
    between = layer(entry("first"))[:512]  # no end of the archive
    bad = globals_of(1) + between + globals_of(2) + end
    assert "its global headers have more than 1048576 bytes" in refusal(of_layers, bad)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"GNU.sparse.map": "a,b", "GNU.sparse.size": "1"}, "it is no whole tar archive ("),
        ({"GNU.sparse.size": "x"}, "it is no whole tar archive ("),
        ({"GNU.sparse.map": "-5,1", "GNU.sparse.size": "9"}, "has holes where no file can have"),
        ({"GNU.sparse.map": "8,9", "GNU.sparse.size": "9"}, "has holes where no file can have"),
        (None, "it is no whole tar archive ("),
    ],
)
def test_what_tarfile_stumbles_over_is_refused(tmp_path, unpacked, of_layers, words, said):
    """Whatever it raises, also of the first entry, and of the archive that has the layers."""
    info, _ = entry("x", b"")
    info.pax_headers = words or {"word": "x"}
    header = info.tobuf(tarfile.PAX_FORMAT)
    data = header if words else header[:1024] * 900 + header
    assert said in refusal(of_layers, data + bytes(1024))
    assert said in refusal(of_layers, layer(entry("first"))[:512] + data + bytes(1024))
    if "holes" not in said:
        shutil.rmtree(tmp_path / "image")
        (tmp_path / "archive.tar").write_bytes(data + bytes(1024))
        assert said in refusal(unpacked, tmp_path / "archive.tar")


@pytest.mark.parametrize("form", ["gnu", "posix-0.0", "posix-0.1", "posix-1.0"])
def test_a_file_with_holes_is_unpacked_by_what_is_in_it(tmp_path, of_layers, form):
    """As GNU tar writes it: a hole of terabytes takes no time, for no zeros are read."""
    with open(tmp_path / "file", "wb") as file:
        for at in (5 << 20, 1 << 39):
            file.seek(at)
            file.write(b"data")
        file.truncate(1 << 40)
    name, _, version = form.partition("-")
    versions = [f"--sparse-version={version}"] if version else []
    packed = subprocess.run(
        ["tar", "--sparse", f"--format={name}", *versions, "-C", tmp_path, "-cf", "-", "file"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    (tmp_path / "file").unlink()
    found = of_layers(packed).path / "file"
    look = found.stat()
    assert look.st_size == 1 << 40
    assert look.st_blocks < 1000
    with open(found, "rb") as file:
        for at in (5 << 20, 1 << 39):
            file.seek(at - 2)
            assert file.read(8) == b"\0\0data\0\0"


def test_a_layer_may_be_compressed_by_zstd(tmp_path, unpacked, monkeypatch):
    """By the standard library of 3.14, or the same module for those before; in pieces."""
    zstd = pytest.importorskip(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )
    layout = Layout(tmp_path / "image")
    pack = lambda data: zstd.compress(data[:700]) + zstd.compress(data[700:])  # noqa: E731
    layout.add(layout.manifest([PLAIN], pack))
    assert unpacked(layout.directory).names() == ["bin", "etc", "etc/hello"]
    layout.add(layout.manifest([PLAIN], lambda data: zstd.compress(data)[:-9]), "cut")
    assert "in the middle of its compressed data" in refusal(unpacked, layout.directory, "cut")
    monkeypatch.setitem(sys.modules, zstd.__name__, None)
    monkeypatch.setitem(sys.modules, "backports", None)
    assert refusal(unpacked, layout.directory, "cut").endswith(
        "it is compressed by zstd, which this Python cannot read: "
        "python -m pip install backports.zstd"
    )


@given(st.binary(max_size=2000), st.integers(0, 3000), st.booleans())
def test_whatever_is_in_an_archive_it_is_unpacked_or_refused(tmp_path_factory, noise, where, over):
    """Noise in the middle of an archive is an error in words, never another exception."""
    data = bytearray(
        layer(entry("a"), entry("a/b", b"1" * 700), link("c", "a"), hard_link("d", "a/b"))
    )
    data[where : where + (len(noise) if over else 0)] = noise
    path = tmp_path_factory.mktemp("noise")
    (path / "tree").mkdir()
    docker_archive(path / "image.tar", [bytes(data)])
    with (
        images.opened("archive", str(path / "image.tar"), "", str(path)) as image,
        contextlib.suppress(BrokenImageError),
    ):
        image.unpack(str(path / "tree"))
    assert sorted(os.listdir(path)) == ["image.tar", "tree"]


def _every(tree: Path) -> dict[str, tuple[object, ...]]:
    """What a tree has, by name: kind, rights, owner, times of files, size, where links lead."""
    found: dict[str, tuple[object, ...]] = {}
    for path in tree.rglob("*"):
        look = path.lstat()
        owner = (look.st_uid, look.st_gid) if os.geteuid() == 0 else ()
        mode = 0 if stat.S_ISLNK(look.st_mode) else look.st_mode
        told = os.readlink(path) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            told = f"{look.st_mtime} {look.st_size} {look.st_nlink}"
        found[str(path.relative_to(tree))] = (mode, owner, told)
    return found


@pytest.mark.needs("umoci")
def test_a_tree_is_what_another_tool_makes_of_the_image(tmp_path):
    """That of umoci, the reference tool of the specification."""
    below = layer(
        entry("usr/lib"), link("lib", "usr/lib"), entry("usr/lib/x", b"1", mode=0o4755),
        entry("etc"), entry("etc/a", b"1"), entry("etc/b", b"1"), hard_link("etc/c", "etc/b"),
        entry("var"), entry("var/old"), entry("var/old/deep", b"1"), entry("srv", mode=0o1777),
        entry("kind", b"1"), entry("turned"), entry("turned/x", b"1"), link("gone", "nowhere"),
        entry("fifo", type=tarfile.FIFOTYPE, mode=0o620),
    )  # fmt: skip
    above = layer(
        entry("etc/.wh.a", b""), entry("etc/b", b"22", mode=0o600), entry(".wh.gone", b""),
        entry("var"), entry("var/.wh..wh..opq", b""), entry("var/new", b"2"), entry("kind"),
        entry("kind/in", b"2"), entry("turned", b"2"), entry("lib/y", b"2"),
        entry("deep/er/est", b"2"),
    )  # fmt: skip
    layout = Layout(tmp_path / "image")
    layout.add(layout.manifest([below, above]), "latest")
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    theirs = ["umoci", "unpack", *rootless, "--image", f"{layout.directory}:latest"]
    target = str(tmp_path / "theirs")
    subprocess.run([*theirs, target], check=True, capture_output=True, umask=0o022)
    (tmp_path / "ours").mkdir()
    before = os.umask(0o077)
    try:
        with images.opened("oci", str(layout.directory), "latest", str(tmp_path)) as image:
            image.unpack(str(tmp_path / "ours"))
    finally:
        os.umask(before)
    assert _every(tmp_path / "ours") == _every(tmp_path / "theirs/rootfs")


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_what_skopeo_writes_is_read(tmp_path, unpacked, form):
    """As from a registry, which is how users come by images."""
    layout = Layout(tmp_path / "image")
    layout.add(layout.manifest([PLAIN]), "latest")
    target = tmp_path.parent / f"{tmp_path.name}-{form}"
    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{layout.directory}:latest"]
    subprocess.run([*copy, f"{form}:{target}:it:latest"], check=True, capture_output=True)
    shutil.rmtree(layout.directory)
    target.rename(tmp_path / "copy")
    found = unpacked(tmp_path / "copy", "it:latest" if form == "oci" else "")
    assert found.names() == ["bin", "etc", "etc/hello"]
