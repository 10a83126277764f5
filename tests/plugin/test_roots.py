"""Whole runs on other roots: directories and images of two distributions, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import stat
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


def test_what_is_no_root_is_one_sentence(project, outcomes, tmp_path):
    """Each fails its own test, and nothing half-made is left."""
    plain = layer(entry("usr"), entry("etc/hello", b"hello"))
    good, broken = Layout(tmp_path / "good"), Layout(tmp_path / "broken")
    good.add(good.manifest([plain]), "one").add(good.manifest([plain, plain]), "two")
    broken.add(broken.manifest([plain, layer(entry("a/../../out", b""))]))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no archive")
    (tmp_path / "file/usr").mkdir(parents=True)
    (tmp_path / "file/proc").write_text("")
    cases = {
        "oci:broken": "layer 2 of 2 (sha256:*): 'a/../../out' leads out of the image by '..'",
        "oci:good": "it has several images, write oci:DIR:TAG: it has the tags 'one', 'two'",
        "oci:good:three": "no image in it has the tag 'three'; it has the tags 'one', 'two'",
        "oci:nowhere": f"or an archive of `docker save`; there is no directory {tmp_path}/nowhere",
        "good": f"it is an OCI image layout, no root: write 'oci:{tmp_path}/good'",
        "empty": f"a root has a directory usr or bin, and there is neither in {tmp_path}/empty",
        "text": "it is no whole tar archive (truncated header)",
        "file": "its /proc is a file, where a directory has to be",
    }
    source = "from pytest_isolate import isolate\n"
    for number, name in enumerate(cases):
        rootfs = f"oci:{tmp_path}/{name[4:]}" if name.startswith("oci:") else f"{tmp_path}/{name}"
        source += f"@isolate(rootfs={rootfs!r})\ndef test_{number}(): pass\n"
    source += f"@isolate(rootfs={str(tmp_path / 'file')!r}, fs='host')\ndef test_host(): pass\n"
    source += f"@isolate(rootfs='oci:{tmp_path}/good:two')\ndef test_good(): pass\n"
    (project / "test_bad.py").write_text(source)
    found = outcomes("test_bad.py")
    for (_, message), (name, said) in zip(found, cases.items(), strict=False):
        begin, _, end = said.partition("*")
        assert message.startswith("error: ")
        assert f"{name.removeprefix('oci:')}' (by @isolate on function " in message
        assert begin in message
        assert message.rstrip('"').endswith(end)
    assert "fs='host' (by @isolate on function" in found[-2][1]
    assert found[-1] == ("test_good",)
    store = Path(os.environ["XDG_CACHE_HOME"]) / "pytest-isolate/layers"
    assert len(list(store.iterdir())) == 1


def test_what_is_not_as_it_was_is_said_once(project, isolated, tmp_path):
    """A C library too old for this Python, paths that two Pythons have, devices that are left out."""
    root = rooting.debian(tmp_path / "root")
    (library,) = root.rglob("libc.so.6")
    library.write_bytes(b"GLIBC_2.2.5\0GLIBC_2.17\0")
    stdlib = Path(os.__file__).parent
    (root / str(stdlib).lstrip("/")).mkdir(parents=True)
    (project / "test_two.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    result = isolated("--isolate-all", f"--isolate-rootfs={root}", "test_two.py")
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines_random(
        [
            f"*rootfs='{root}': * cannot run there as a program (sys.executable): it needs GLIBC_2.*",
            "* the root's */libc.so.6 has none above GLIBC_2.17; the test itself is a fork, which *",
            f"*rootfs='{root}': pytest's Python lies where the root has its own, and hides *",
            "*: programs of the root see pytest's there",
        ]
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="by the path of another loader")
def test_nothing_that_stands_where_pytest_looks_holds_it_up(project, isolated, tmp_path):
    """A FIFO, a device without an end or terabytes of zeros as C library; hosts as a directory; a
    link that leads to itself.
    """
    source, roots = "from pytest_isolate import isolate\n", {}
    for name in ("fifo", "large", "hosts", "loop", *(["zero"] if os.geteuid() == 0 else [])):
        root = roots[name] = rooting.alpine(tmp_path / name)
        (root / "lib64").mkdir()
        (root / "lib64/ld-linux-x86-64.so.2").write_text("a loader")
        source += f"@isolate(rootfs={str(root)!r})\ndef test_{name}(): pass\n"
    os.mkfifo(roots["fifo"] / "lib64/libc.so.6")
    with open(roots["large"] / "lib64/libc.so.6", "wb") as file:
        file.truncate(1 << 40)
    (roots["hosts"] / "etc/hosts").mkdir()
    shutil.rmtree(roots["loop"] / "lib64")
    (roots["loop"] / "lib64").symlink_to("lib64/lib64")
    if "zero" in roots:
        os.mknod(roots["zero"] / "lib64/libc.so.6", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (project / "test_it.py").write_text(source)
    result = isolated("test_it.py")
    result.assert_outcomes(passed=len(roots) - 1, errors=1, warnings=1)
    result.stdout.fnmatch_lines_random(
        [
            "isolate: rootfs='*/loop' *: its /lib64 is a symbolic link, where /lib64/ld-linux-*.so.2 *",
            "*, and the root's /lib64/libc.so.6 has none of glibc's versions; the test itself is *",
        ]
    )


def test_programs_of_an_image_find_its_variables(project, isolated, tmp_path):
    """Its PATH behind pytest's, and a marker's own before both; also where the environment is clean."""
    root = rooting.alpine(tmp_path / "root")
    (root / "opt/tool").mkdir(parents=True)
    (root / "opt/tool/here").symlink_to("/bin/busybox")
    (root / "opt/tool/cat").symlink_to("/nowhere")
    layout = Layout(tmp_path / "image")
    variables = ["PATH=/opt/tool:/bin", "COLOUR=red", "SIZE=1"]
    layout.add(layout.manifest([layer_of(root)], config={"Env": variables}))
    (project / "test_it.py").write_text(
        "import os, shutil, subprocess\nfrom pytest_isolate import isolate\n"
        f"pytestmark = isolate(rootfs='oci:{layout.directory}')\n"
        "@isolate(env={'SIZE': '2'})\ndef test_it():\n"
        "    assert shutil.which('here') == '/opt/tool/here'\n"
        "    assert subprocess.run(['cat', '/etc/os-release'], capture_output=True).stdout == b'ID=alpine\\n'\n"
        "    assert (os.environ['COLOUR'], os.environ['SIZE']) == ('red', '2')\n"
        "@isolate(env='clean')\ndef test_clean():\n"
        "    assert os.environ['COLOUR'] == 'red' and shutil.which('here')\n"
        "@isolate(rootfs=None)\ndef test_plain():\n"
        "    assert 'COLOUR' not in os.environ\n"
    )
    isolated("test_it.py").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "more",
    [["--isolate-scope=module"], ["--isolate-jobs=2"], ["--isolate-profile=strict"], ["--isolate-user=65534"]],
    ids=["shared", "jobs", "strict", "user"],
)  # fmt: skip
def test_another_root_goes_with_the_other_keywords(project, isolated, tmp_path, more):
    """A sandbox for a module, several at once, the strict profile, another user."""
    if more[0].endswith("65534") and os.geteuid() != 0:
        pytest.skip("for the run as root")
    root = rooting.alpine(tmp_path / "root")
    (project / "test_it.py").write_text(
        "import pytest, subprocess, sys\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n, tmp_path):\n"
        "    (tmp_path / 'file').write_text('x')\n"
        "    assert open('/etc/os-release').read() == 'ID=alpine\\n'\n"
        "    assert subprocess.run([sys.executable, '-c', 'import ssl']).returncode == 0\n"
    )
    isolated("--isolate-all", f"--isolate-rootfs={root}", "test_it.py", *more).assert_outcomes(
        passed=4
    )
