"""Whole runs on other roots: directories and images of two distributions, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import rooting
from imaging import Layout, docker_archive, entry, layer, layer_of

pytestmark = [pytest.mark.kernel, pytest.mark.needs("busybox")]

#: What is so on every root.
SAME = """
import os, pwd, subprocess, sys
from pathlib import Path
import pytest

HERE = Path(__file__).parent

@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    path = tmp_path_factory.mktemp("shared") / "file"
    path.write_text("of a fixture")
    return path

def test_the_root_is_another(shared, tmp_path):
    assert Path("/etc/os-release").read_text() in ("ID=debian\\n", "ID=alpine\\n")
    assert not Path("/etc/shadow").exists() and not Path("/var/log").exists()
    assert pwd.getpwuid(4711).pw_name == "them"
    assert subprocess.run(["sh", "-c", "cat /var/lib/data"], capture_output=True).stdout == b"of the root"
    assert subprocess.run(["id", "-un", "them"], capture_output=True).returncode in (0, 1)

def test_what_is_the_machines_is_where_it_was(shared, tmp_path):
    assert shared.read_text() == "of a fixture"
    (tmp_path / "file").write_text("x")
    assert (HERE / "of_the_project").read_text() == "untouched"
    (HERE / "of_the_project").write_text("thrown away")
    assert Path.cwd() == HERE

def test_modules_are_imported_late():
    assert "ssl" not in sys.modules and "zoneinfo" not in sys.modules
    import ssl, sqlite3, lzma, decimal, zoneinfo, xml.parsers.expat
    zoneinfo.ZoneInfo("Europe/Berlin")
    sqlite3.connect(":memory:").execute("select 1")
    import helper

def test_this_python_runs_as_a_program():
    done = subprocess.run([sys.executable, "-c", "import ssl, sqlite3, pytest; print(pytest.__file__)"], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (pytest.__file__, "")

def test_the_kernels_own_are_there():
    assert sorted(os.listdir("/dev/fd")) and os.path.ismount("/proc") and os.path.ismount("/sys")
    Path("/dev/shm/x").write_text("x")
    assert os.getpid() < 10
    assert "isolate" in Path("/etc/hosts").read_text()

def test_writes_are_thrown_away():
    for place in ("/etc/new", "/var/lib/data", "/root/new", "/new"):
        Path(place).write_text("thrown away")
    os.unlink("/etc/passwd")
    (Path("/tmp") / "of-a-test").write_text("x")

def test_writes_were_thrown_away():
    assert not any(Path(place).exists() for place in ("/etc/new", "/root/new", "/new", "/tmp/of-a-test"))
    assert Path("/var/lib/data").read_text() == "of the root"
    assert pwd.getpwuid(0).pw_name == "root"
"""
SAME_TESTS = SAME.count("\ndef test_")


@pytest.fixture
def project(pytester, monkeypatch):
    """A project, and a store that is empty."""
    pytester.makepyfile(SAME)
    pytester.makepyfile(helper="")
    (pytester.path / "of_the_project").write_text("untouched")
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path.parent / f"{pytester.path.name}-cache"))
    yield pytester.path
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def _directory(path: Path, make) -> str:
    return str(make(path / "root"))


def _layout(path: Path, make) -> str:
    layout = Layout(path / "image")
    root = layer_of(make(path / "root"))
    more = layer(
        entry("etc/hidden", b""), entry("etc/.wh.hidden", b""), entry("var/lib/.wh.none", b"")
    )
    layout.add(layout.manifest([root, more]), "latest")
    return f"oci:{layout.directory}:latest"


def _archive(path: Path, make) -> str:
    return str(docker_archive(path / "image.tar", [layer_of(make(path / "root"))]))


@pytest.mark.parametrize(
    ("make", "form"),
    [(rooting.debian, _directory), (rooting.debian, _archive), (rooting.alpine, _directory), (rooting.alpine, _layout)],
    ids=["debian", "debian-archive", "alpine", "alpine-layout"],
)  # fmt: skip
def test_two_distributions_pass_the_same_tests(project, isolated, tmp_path, make, form):
    """With glibc and with musl, from a directory and from images: the same, and nothing stays."""
    rootfs = form(tmp_path, make)
    result = isolated("--isolate-all", f"--isolate-rootfs={rootfs}")
    result.assert_outcomes(passed=SAME_TESTS)
    assert (project / "of_the_project").read_text() == "untouched"
    assert (tmp_path / "root/var/lib/data").read_text() == "of the root"
    assert sorted(os.listdir(tmp_path / "root/etc")) == ["os-release", "passwd"]
    assert not (tmp_path / "root/proc").exists()
    if form is not _directory:
        shutil.rmtree(tmp_path / "root")
        again = isolated("--isolate-all", f"--isolate-rootfs={rootfs}", "-n2")
        again.assert_outcomes(passed=SAME_TESTS)
        (kept,) = (Path(os.environ["XDG_CACHE_HOME"]) / "pytest-isolate/layers").iterdir()
        assert json.loads((kept / "about.json").read_text())["name"].startswith("rootfs ")
