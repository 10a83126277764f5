"""``--isolate-oci``: bundles that fit the runtime specification, and that crun and runc run."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import referencing
import referencing.jsonschema

from pytest_isolate._oci import tree
from pytest_isolate._sandbox import overlays, steps
from pytest_isolate._sandbox.step import Action, Step

SCHEMA = Path(__file__).with_name("runtime_spec")
UNIFIED = Path("/sys/fs/cgroup/unified")
NEWNS, NEWUSER = 0x20000, 0x10000000
TESTS = """
import errno, os, resource, socket, subprocess, sys
from pathlib import Path
import pytest
from pytest_isolate import isolate

HERE = Path(__file__).parent

def names(path): return sorted(each.name for each in os.scandir(path))

@isolate(hostname="box", files=99, env={"GIVEN": "x"}, fs_hide=["secrets", ".env"],
         bind=[f"{HERE}/shared", f"{HERE}/secrets/public:{HERE}/made/public:ro"])
def test_has_the_same_root(tmp_path):
    assert socket.gethostname() == "box" and socket.gethostbyname("box") == "127.0.0.1"
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (99, 99)
    assert (os.environ.get("GIVEN"), os.environ.get("SECRET")) == ("x", None)
    assert names("/sys/class/net") == ["lo"]
    assert (os.getuid(), os.getgid()) == (UID, GID) and os.getpid() != 1
    assert os.getcwd() == str(HERE)
    assert (HERE / "machines").read_text() == "original"
    assert not (HERE / "new").exists()  # each time it runs
    (HERE / "machines").write_text("changed")
    (HERE / "new").write_text("new")
    (tmp_path / "a").write_text("a")
    Path("/var/tmp/of-a-bundle").write_text("a")
    with (HERE / "shared").open("a") as file: file.write("s")
    with pytest.raises(OSError): (HERE / "made/public").write_text("x")
    assert (HERE / "made/public").read_text() == "public"
    assert not (HERE / "secrets/public").exists() and (HERE / ".env").read_text() == ""
    assert names("/.isolate") == []
    caps = [line.split() for line in open("/proc/self/status") if line.startswith("Cap")]
    assert [name for name, value in caps if os.getuid() == 0 and int(value, 16) >> 25 & 1] == []

@isolate(fs="readonly", disk="4M")
def test_is_read_only_and_small(tmp_path):
    with pytest.raises(OSError) as caught: Path("/var/tmp/of-a-bundle").write_text("a")
    assert caught.value.errno == errno.EROFS
    with pytest.raises(OSError) as caught: (tmp_path / "a").write_bytes(bytes(8 << 20))
    assert caught.value.errno == errno.ENOSPC

@isolate(user="root")
def test_dies(): os.kill(os.getpid(), 9)
"""
STRICT = """
@isolate(profile="strict")
def test_is_confined():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
    assert [status[name].strip() for name in ("CapEff", "NoNewPrivs", "Seccomp")] == ["0" * 16, "1", "2"]
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x10000000) == -1 and ctypes.get_errno() == errno.EPERM
    with pytest.raises(PermissionError): socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    assert names("/sys/kernel") == []
"""
LIMITED = """
import subprocess, sys
import pytest
from pytest_isolate import isolate

@isolate(pids=24)
def test_has_few_processes():
    started = []
    with pytest.raises(OSError):
        for _ in range(30): started.append(subprocess.Popen(["sleep", "30"]))
    assert len(started) > 10
    for each in started: each.kill()

@isolate(memory="48M")
def test_has_little_memory():
    with open("/proc/self/oom_score_adj", "w") as file: file.write("1000")
    bytearray(300 << 20)
"""
UNLIKE = """
from pytest_isolate import Network, isolate

@isolate(fs="host")
def test_of_the_machine(): pass

@isolate(timeout=5, net="deny")
def test_of_a_bundle(): assert FAILS
"""


@functools.cache
def validator() -> jsonschema.Draft4Validator:
    """Of config.json, with all files of the schema."""

    def retrieve(uri: str) -> referencing.Resource:
        return referencing.Resource.from_contents(
            json.loads((SCHEMA / uri.rpartition("/")[2]).read_text()),
            default_specification=referencing.jsonschema.DRAFT4,
        )

    registry = referencing.Registry(retrieve=retrieve)
    return jsonschema.Draft4Validator({"$ref": "schema:///config-schema.json"}, registry=registry)


def _without_hybrid() -> None:
    """In a child: out of crun's sight the hierarchy beside which it refuses cgroup v1."""
    libc, uid, gid = ctypes.CDLL(None, use_errno=True), os.geteuid(), os.getegid()
    results = [libc.unshare(NEWNS | (NEWUSER if uid else 0))]
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    results.append(libc.mount(None, b"/", None, 0x44000, None))  # slave, recursively
    results.append(libc.mount(b"none", os.fsencode(UNIFIED), b"tmpfs", 0, None))
    if any(results):
        os._exit(125)


def run(runtime: str, bundle: Path) -> subprocess.CompletedProcess[str]:
    """Run a bundle as a person would."""
    program = shutil.which(runtime, path=f"{os.environ['PATH']}:/usr/sbin")
    hides = runtime == "crun" and UNIFIED.exists()
    return subprocess.run(
        [program, "run", "-b", bundle, f"isolated-{os.getpid()}"], check=False, text=True,
        capture_output=True, timeout=60, preexec_fn=_without_hybrid if hides else None,
    )  # fmt: skip


@pytest.fixture
def bundles(pytester, monkeypatch):
    """Run tests, and give the bundles by the names of the tests."""
    monkeypatch.setenv("SECRET", "never written down")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(pytester.path))  # where crun and runc keep state
    pytester.path.chmod(0o755)

    def make(source: str, *args: str) -> dict[str, Path]:
        path = pytester.makepyfile(source)
        pytester.runpytest_subprocess(
            "-p", "isolate", "-p", "no:cacheprovider", "--isolate-all", "--isolate-oci=out", *args
        )
        start = f"{path.name}_"
        found = (pytester.path / "out").glob("[!.]*")
        return {each.name.removeprefix(start): each for each in found}

    return make


RUNTIMES = pytest.mark.parametrize(
    "runtime",
    [
        pytest.param("crun", marks=pytest.mark.needs("crun")),
        pytest.param("runc", marks=[pytest.mark.needs("runc"), pytest.mark.dear]),
    ],
)


@pytest.mark.dear  # starts of pytest, which are slow there
@RUNTIMES
@pytest.mark.needs("strict")
def test_a_bundle_is_the_sandbox_once_more(pytester, bundles, runtime):
    """The same root, private writes, identity, limits without control groups; run twice."""
    for name in ("machines", "shared"):
        (pytester.path / name).write_text("original")
    (pytester.path / "secrets").mkdir()
    (pytester.path / "secrets/public").write_text("public")
    (pytester.path / ".env").write_text("SECRET=1")
    source = (TESTS + STRICT).replace("UID, GID", f"{os.geteuid()}, {os.getegid()}")
    found = bundles(source)
    assert len(found) == 4
    rootless = os.geteuid() != 0
    for name, bundle in found.items():
        validator().validate(json.loads((bundle / "config.json").read_text()))
        assert "never written down" not in (bundle / "config.json").read_text()
        if name == "test_is_confined" and rootless and runtime == "runc":
            continue  # which wants a root in each user namespace
        ran = run(runtime, bundle)
        assert ran.returncode == (137 if name == "test_dies" else 0), (name, ran.stdout, ran.stderr)
    assert run(runtime, found["test_has_the_same_root"]).returncode == 0
    assert (pytester.path / "machines").read_text() == "original"
    assert (pytester.path / "shared").read_text() == "originalss"
    assert not (pytester.path / "new").exists()
    assert not Path("/var/tmp/of-a-bundle").exists()
    shutil.rmtree(pytester.path / "out")


@RUNTIMES
@pytest.mark.needs("root", "memory", "pids")
def test_a_bundle_has_the_limits_of_control_groups(bundles, runtime):
    """Processes are refused, and the kernel kills for memory."""
    found = bundles(LIMITED)
    ended = {name: run(runtime, bundle) for name, bundle in found.items()}
    codes = {name: each.returncode for name, each in ended.items()}
    assert codes == {"test_has_few_processes": 0, "test_has_little_memory": 137}, ended
    written = json.loads((found["test_has_little_memory"] / "config.json").read_text())
    assert written["annotations"]["org.pytest-isolate.memory"].startswith("48 MiB, and ")
    assert 48 << 20 < written["linux"]["resources"]["memory"]["limit"] < 200 << 20


@RUNTIMES
def test_a_run_says_where_its_bundles_are_and_how_to_run_one(pytester, monkeypatch, runtime):
    """As typed, it runs; what is in there does not call itself without isolation."""
    pytest.importorskip("xdist")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(pytester.path))
    pytester.path.chmod(0o755)
    pytester.makepyfile(test_it="def test_one(): pass\ndef test_two(): pass")
    result = pytester.runpytest_subprocess(
        "-p", "isolate", "-p", "no:cacheprovider", "-p", "xdist", "-n2", "--isolate-all",
        "--isolate-oci=out",
    )  # fmt: skip
    result.stdout.fnmatch_lines(
        [
            f"*- generated 2 bundles: {pytester.path}/out -*",
            f"to run the first one: crun run -b {pytester.path}/out/* isolated (or runc)",
        ]
    )
    (command,) = re.findall("crun run -b (.*) isolated", result.stdout.str())
    ran = run(runtime, command)
    assert ran.returncode == 0, ran
    said = [line for line in ran.stdout.splitlines() if line.startswith("isolate")]
    assert said == ["isolate: in a bundle, where the container is the test's sandbox"]


@pytest.mark.dear
@pytest.mark.parametrize("fails", [True, False])
def test_what_a_bundle_cannot_carry_is_said(pytester, bundles, fails):
    """In it, of what is left out; in words, where there is none. Of failed tests only, on demand."""
    source = UNLIKE.replace("FAILS", str(not fails))
    found = bundles(source, "--isolate-oci-of=failed", "-rw")
    assert list(found) == ["test_of_a_bundle"] * fails
    if fails:
        annotations = json.loads((found["test_of_a_bundle"] / "config.json").read_text())[
            "annotations"
        ]
        assert annotations["org.pytest-isolate.without"] == (
            "timeout=5.0, net='deny' (as net=True)"
        )
        assert "SECRET" in annotations["org.pytest-isolate.environment.without"]


@pytest.mark.dear
def test_a_test_without_a_bundle_says_why_once(pytester, bundles):
    """In a warning, where nothing failed."""
    (pytester.path / "pytest.ini").write_text("[pytest]\nisolate_oci = from_ini\n")
    pytester.makepyfile(UNLIKE.replace("FAILS", "True"))
    result = pytester.runpytest_subprocess("-p", "isolate", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, warnings=1)
    why = "fs='host' shares the whole machine, which is no container"
    result.stdout.fnmatch_lines([f"*: there is no bundle of it in */from_ini: {why}"])
    assert [each.name for each in (pytester.path / "from_ini").iterdir()] == [
        "test_a_test_without_a_bundle_says_why_once.py_test_of_a_bundle"
    ]


def test_there_is_a_handler_for_every_step():
    """A further step of sandboxes is carried, or refused by name; never forgotten."""
    kinds = {
        kind
        for module in (steps, overlays)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Step)
    }
    assert kinds
    assert [kind for kind in kinds - {Action, Step} if tree.handler_of(kind) is None] == []
