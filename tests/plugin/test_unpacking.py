"""Images are unpacked once, by processes that know of each other by the store alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from imaging import Layout, entry, layer
from running import PYTEST, Started
from test_terminal import on_a_terminal

pytestmark = [pytest.mark.kernel, pytest.mark.needs("overlay")]

#: A run that writes down each image that it unpacks, and may be held in the middle of one: beside
#: it are FIFOs that say how far it is. "of-the-image" is a file in the middle of the image.
CONFTEST = """
import fcntl, os, sys
HERE, PYTEST = os.path.dirname(__file__), os.getpid()

def say(name):
    with open(f"{HERE}/{name}", "w") as file: file.write("x")

def hear(event, told):
    if os.getpid() != PYTEST: return
    if event == "open" and told[0] == "of-the-image":
        with open(f"{HERE}/../unpacked", "a") as file: file.write("x")
        if os.path.exists(f"{HERE}/holds"):
            say("started")
            open(f"{HERE}/holds").close()
    elif event == "fcntl.flock" and told[1] == fcntl.LOCK_EX and os.path.exists(f"{HERE}/waits"):
        say("waits")
sys.addaudithook(hear)
"""
TEST = """
from pathlib import Path
def test_one():
    assert Path("/of-the-image").read_text() == "whole"
    assert Path("/usr/last").read_text() == "last"
def test_two(): test_one()
"""


@pytest.fixture
def image(tmp_path, monkeypatch):
    """An image, and an empty store for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "image")
    first = layer(entry("usr"), entry("of-the-image", b"whole"), entry("etc"))
    layout.add(layout.manifest([first, layer(entry("usr/last", b"last"))]))
    (tmp_path / "unpacked").touch()
    return layout


def start(tmp_path, name, *fifos) -> Started:
    (tmp_path / name).mkdir()
    for each in fifos:
        os.mkfifo(tmp_path / name / each)
    return Started(tmp_path / name, TEST, CONFTEST, f"--isolate-rootfs=oci:{tmp_path}/image", "-q")


def unpacked(tmp_path) -> int:
    return len((tmp_path / "unpacked").read_text())


def store(tmp_path) -> list[Path]:
    return sorted((tmp_path / "cache/pytest-isolate/layers").iterdir())


@pytest.mark.parametrize("killed", [False, True], ids=["goes-on", "killed"])
def test_a_run_waits_for_another_that_unpacks_the_same_image(tmp_path, image, killed):
    """And uses what that made; or unpacks it itself, from its beginning, when that is killed."""
    first = start(tmp_path, "first", "holds")
    first.wait_for_test()  # it is in the middle
    second = start(tmp_path, "second", "waits")
    (tmp_path / "second/waits").read_text()  # it has asked for the lock that the first one has
    assert second.process.poll() is None
    assert len([each for each in store(tmp_path) if each.suffix == ".part"]) == 1
    if killed:
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        assert first.gone_within(10)
    else:
        (tmp_path / "first/holds").write_text("")
        assert "2 passed" in first.end()
    assert "2 passed" in second.end()
    assert unpacked(tmp_path) == 1 + killed
    (kept,) = store(tmp_path)
    assert sorted(os.listdir(kept / "tree")) == ["etc", "of-the-image", "usr"]
    third = start(tmp_path, "third")
    assert "2 passed" in third.end()
    assert unpacked(tmp_path) == 1 + killed


def test_what_a_killed_run_had_unpacked_is_nobodys_root(tmp_path, image):
    """The next run removes it, and unpacks the image."""
    first = start(tmp_path, "first", "holds")
    first.wait_for_test()
    (part,) = [each for each in store(tmp_path) if each.suffix == ".part"]
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    assert first.gone_within(10)
    assert (part / "tree/usr").exists()
    second = start(tmp_path, "second")
    assert "2 passed" in second.end()
    (kept,) = store(tmp_path)
    assert (kept / "tree/of-the-image").read_text() == "whole"
    assert unpacked(tmp_path) == 2


def test_a_terminal_shows_what_a_large_image_takes_its_time_for(pytester, tmp_path, monkeypatch):
    """In a line that goes again; nobody else sees it, nor that of a small one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    large, small = Layout(tmp_path / "large"), Layout(tmp_path / "small")
    data = os.urandom(33 << 20)
    large.add(large.manifest([layer(entry("usr"), entry("data", data))], bytes))
    small.add(small.manifest([layer(entry("usr"))]))
    pytester.makepyfile(
        test_it=f"""
        from pytest_isolate import isolate
        @isolate(rootfs="oci:{tmp_path}/small")
        def test_small(): pass
        @isolate(rootfs="oci:{tmp_path}/large")
        def test_large(): pass
        """
    )
    run = on_a_terminal(pytester)
    run.expect(r"Unpacking oci:/.*/large \(33.0 MiB\)\.\.\.")
    assert "small" not in run.match[0]
    said = run.read()
    assert "2 passed" in said
    assert "\x1b[2K\x1b[A" in said  # it is taken away
    shutil.rmtree(tmp_path / "cache")
    result = pytester.runpytest_subprocess("-p", "isolate", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
    assert "Unpacking" not in result.stdout.str()


@pytest.mark.needs("root")
def test_where_there_is_no_room_nothing_stays_and_what_helps_is_said(pytester, tmp_path):
    """Of an image, and of what a function writes; what finds room there is kept."""
    large = Layout(tmp_path / "large")
    large.add(large.manifest([layer(entry("usr"), entry("data", bytes(9 << 20)))]))
    store = tmp_path / "cache"
    store.mkdir()
    pytester.makepyfile(
        test_it=f"""
        from pathlib import Path
        from pytest_isolate import Layer, isolate
        @Layer.build(key={str(tmp_path)!r})
        def large(): Path("/var/tmp/large").write_bytes(b"x" * (9 << 20))
        @Layer.build(key={str(tmp_path)!r})
        def small(): Path("/var/tmp/small").write_text("x")
        @isolate(rootfs="oci:{tmp_path}/large")
        def test_image(): pass
        @isolate(layers=[large])
        def test_layer(): pass
        @isolate(layers=[small])
        def test_small(): assert Path("/var/tmp/small").exists()
        """
    )
    script = f'mount -t tmpfs -o size=8M,mode=700 it {store}; "$@"; ls -A {store}/*/layers'
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *PYTEST, "test_it.py"],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_CACHE_HOME": store},
    )  # fmt: skip
    assert "1 passed, 2 errors" in ran.stdout, ran.stdout
    full = f"; {store}/pytest-isolate/layers is full: pytest-isolate layers --remove-all makes room"
    assert f"it cannot be unpacked: No space left on device{full}" in ran.stdout
    assert f"take a layer out of /: No space left on device [ENOSPC]{full}" in ran.stdout
    assert len(ran.stdout.splitlines()[-1]) == 32  # the key of the one that is kept
    assert not ran.stdout.splitlines()[-2].startswith(".")
