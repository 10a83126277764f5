"""Layers that are built on another root, and used there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import rooting
from imaging import Layout, entry, layer, layer_of

pytestmark = [pytest.mark.kernel, pytest.mark.needs("overlay", "busybox", "user_xattr")]

SOURCE = """
import os, subprocess
from pathlib import Path
import pytest
from pytest_isolate import Layer, isolate

HERE = Path(__file__).parent
ROOT = {root!r}

def built(name):
    with open(HERE / "built", "a") as file: file.write(name)

@Layer.build(rootfs=ROOT, bind=[HERE / "built"])
def installed():
    built("i")
    assert Path("/etc/os-release").read_text() == "ID=alpine\\n" and os.environ["COLOUR"] == "red"
    subprocess.run(["sh", "-c", "echo installed > /var/lib/data"], check=True)
    os.unlink("/etc/passwd")
    (HERE / "beside").write_text("of the layer")

@Layer.build(rootfs=ROOT, below=[installed], bind=[HERE / "built"])
def more():
    built("m")
    assert Path("/var/lib/data").read_text() == "installed\\n"
    Path("/var/lib/more").write_text("more")
    return "/var/lib/more"

@Layer.build
def plain():
    Path("/var/tmp/plain").write_text("built on the machine's root")
    (HERE / "plain").write_text("beside")

@Layer.fixture(rootfs=ROOT)
def given(): Path("/opt/given").mkdir(parents=True)

@isolate(rootfs=ROOT, layers=[installed])
@pytest.mark.parametrize("number", [1, 2])
def test_one(number):
    assert Path("/var/lib/data").read_text() == "installed\\n"
    assert not Path("/etc/passwd").exists() and not Path("/var/lib/more").exists()
    assert (HERE / "beside").read_text() == "of the layer"
    Path("/var/lib/data").write_text("thrown away")

@isolate(rootfs=ROOT, layers=[plain, more])
def test_stacked(given):
    assert Path(more.value).read_text() == "more" and not Path("/etc/passwd").exists()
    assert Path("/var/tmp/plain").exists() and (HERE / "plain").read_text() == "beside"
    assert (HERE / "beside").exists() and os.path.isdir("/opt/given")
    assert subprocess.run(["cat", "/var/lib/data"], capture_output=True).stdout == b"installed\\n"

@isolate(rootfs=ROOT)
def test_without():
    assert Path("/var/lib/data").read_text() == "of the root" and Path("/etc/passwd").exists()
"""
WRONG = """
import pytest
from pytest_isolate import Layer, isolate

def nothing(): raise AssertionError("it ran")
there = Layer.build(nothing, rootfs={root!r})
@isolate(layers=[there])
def test_other(): pass
@isolate(layers=[Layer.build(nothing, below=[there])])
def test_below(): pass
missing = Layer.build(nothing, rootfs="oci:/no/such")
@isolate(layers=[missing], rootfs={root!r})
def test_missing(): pass
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def image(tmp_path: Path, *more: bytes) -> str:
    root = rooting.alpine(tmp_path / f"root{len(more)}")
    layout = Layout(tmp_path / f"image{len(more)}")
    layout.add(layout.manifest([layer_of(root), *more], config={"Env": ["COLOUR=red"]}))
    return f"oci:{layout.directory}"


def test_a_layer_is_built_on_an_image_and_lies_over_it(pytester, isolated, tmp_path):
    """Once, between runs too; stacked, and beside one that was built on the machine's root; anew
    where the image is another.
    """
    first = image(tmp_path)
    (pytester.path / "built").touch()
    pytester.makepyfile(SOURCE.format(root=first))
    for _ in range(2):
        isolated().assert_outcomes(passed=4)
        assert (pytester.path / "built").read_text() == "im"
    assert not (pytester.path / "beside").exists()
    assert (tmp_path / "root0/var/lib/data").read_text() == "of the root"
    second = image(tmp_path, layer(entry("etc/another", b"")))
    os.rename(tmp_path / "image0", tmp_path / "before")
    os.rename(second.removeprefix("oci:"), tmp_path / "image0")
    isolated().assert_outcomes(passed=4)
    assert (pytester.path / "built").read_text() == "imim"


def test_a_layer_of_another_root_is_refused(pytester, outcomes, tmp_path):
    """In one sentence, with both roots; what cannot be built says of which layer that is."""
    root = image(tmp_path)
    pytester.makepyfile(WRONG.format(root=root))
    found = {name: " ".join(said) for name, *said in outcomes()}
    built = f"<Layer nothing> is built on rootfs='{root}', and this root is the machine's own"
    assert built in found["test_other"]
    assert built in found["test_below"]
    missing = "<Layer nothing>: rootfs='oci:/no/such': it must be a directory, 'oci:DIR[:TAG]' or"
    assert missing in found["test_missing"]
