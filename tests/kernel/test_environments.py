"""What the plugin can do in each environment: the doctor says exactly that, and tests get exactly
that, never less in silence.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import environments
import pytest
from entering import JOIN, OUTER, PYTEST, USER
from environments import BY_NAME, CAPABILITIES, ENVIRONMENTS, EXTRA, LIMITS

from pytest_isolate._plan import strictness

#: One test for each capability, which asks for it.
ASKING = """
import os
from pytest_isolate import isolate

def inside():
    assert 1 < os.getpid() < 4
    open("/tmp/isolate-test-environment", "w").close()

@isolate(net=False, fs="host")
def test_namespaces(): inside()
@isolate(fs="host")
def test_net(): inside()
@isolate(net=False, fs="readonly")
def test_readonly(): inside()
@isolate(net=False)
def test_overlay(): inside()
@isolate(net=False, fs="host", disk="1M")
def test_disk(): inside()
@isolate(net=False, fs="host", memory="64M")
def test_memory(): inside()
@isolate(net=False, fs="host", pids=20)
def test_pids(): inside()
@isolate(net=False, fs="host", cpu=0.5)
def test_cpu(): inside()
@isolate(net=False, fs="host", profile="strict")
def test_strict(): inside()
"""
_NOT_ASKED_FOR = {"landlock", "process"}
_FOUND = re.compile(r"^(PASS|FAIL|NOTE)  (\w+)(?:: .*)?$(?:\n      fix: (.*))?", re.MULTILINE)
_RAN = re.compile(r"^test_asking\.py::test_(\w+) (PASSED|ERROR|FAILED|SKIPPED)", re.MULTILINE)


@contextmanager
def delegated_groups(host) -> Iterator[list[str]]:
    """A group in each hierarchy that an ordinary user may write to."""
    groups = []
    for place in dict.fromkeys(host.places.values()):
        group = Path(place.directory) / f"isolate-environment-{os.getpid()}"
        if place.version == 2:
            names = " ".join(f"+{name}" for name, where in host.places.items() if where == place)
            (Path(place.directory) / "cgroup.subtree_control").write_text(names)
        group.mkdir()
        groups.append(group)
        for path in (
            group,
            *(group / name for name in ("cgroup.procs", "tasks", "cgroup.subtree_control")),
        ):
            if path.exists():
                os.chown(path, USER, USER)
    try:
        yield [str(group) for group in groups]
    finally:
        for group in groups:
            group.rmdir()


@pytest.fixture
def said(request, host, monkeypatch) -> str:
    """The output of the doctor and of a run in one environment."""
    environment = request.param
    here = {
        place.version for name, place in (host.places | host.refused).items() if name == "memory"
    }
    if environment.cgroup and here != {int(environment.cgroup[1])}:
        pytest.skip(f"for a machine with the memory controller on cgroup {environment.cgroup}")
    if os.geteuid() != 0 and (
        environment.needs_root
        or not environment.user
        or environment.delegated != ("memory" in host.places)
    ):
        pytest.skip("for the run as root, or a user elsewhere")
    shell = '"$@" --isolate-doctor; echo "status $?"; "$@" -v -rE --tb=no test_asking.py'
    with (
        delegated_groups(host) if environment.delegated and os.geteuid() == 0 else _nothing()
    ) as groups:
        return _run_in(environment, ASKING, shell, groups, monkeypatch)


def _run_in(environment, source: str, shell: str, groups: list[str], monkeypatch) -> str:
    with tempfile.TemporaryDirectory(prefix="pytest-isolate-", dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        Path(directory, "test_asking.py").write_text(source)
        Path(directory, "outer.py").write_text(OUTER)
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.setenv("CI", "true")  # whole sentences in the summary
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        monkeypatch.delenv("TMPDIR", raising=False)
        command = [
            sys.executable,
            environments.__file__,
            environment.name,
            "sh",
            "-c",
            shell,
            "sh",
            *PYTEST,
        ]
        monkeypatch.setenv(JOIN, ":".join(groups))
        result = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=120, check=False
        )
        return result.stdout + result.stderr


@contextmanager
def _nothing() -> Iterator[list[str]]:
    yield []


def lacking(environment, host) -> dict[str, str]:
    """What is expected not to be there.

    What this machine lacks it has in no environment: Landlock, room for two more overlays.
    """
    machine = {} if strictness.landlock_obstacle() is None else {"landlock": "lsm=landlock"}
    if environment.deeper and host.here.overlay_root:
        machine["overlay"] = "use fs='readonly'"
    return environment.lacks | machine


def findings(said: str) -> dict[str, tuple[str, str]]:
    """Each capability of the doctor's list: its word, and what helps."""
    found = {name: (word, fix) for word, name, fix in _FOUND.findall(said)}
    for name, (word, fix) in found.items():
        if (same := re.fullmatch(r"the same as of (\w+)", fix)) is not None:
            found[name] = word, found[same[1]][1]
    return found


@pytest.mark.needs("root", "memory", "pids", "cpu")
def test_the_command_for_an_ordinary_user_gives_every_limit(host, monkeypatch):
    """One, which root runs as it stands, for the shell of the user; then the doctor is content."""
    version = f"v{host.places['memory'].version}"
    shell = '"$@" --isolate-doctor'
    said = _run_in(BY_NAME[f"user, {version}"], ASKING, shell, [], monkeypatch)
    assert findings(said)["memory"][0] == "FAIL", said
    command = re.search(r"sudo sh -c '.*' sh \$\(id -u\) \$\$ (.*)", findings(said)["memory"][1])
    groups = [f"{each}/tests" for each in shlex.split(command[1])]
    before = [each for each in groups if os.path.exists(each)]
    sudo = f'id() {{ echo {USER}; }}; sudo() {{ "$@"; }}; {command[0]}'
    try:
        assert before == []
        done = subprocess.run(["bash", "-c", sudo], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        said = _run_in(BY_NAME[f"user, {version}, delegated"], ASKING, shell, groups, monkeypatch)
        words = {name: word for name, (word, _) in findings(said).items()}
        assert {words[name] for name in (*LIMITS, "cpu_time")} == {"PASS"}, said
        assert "not writable" not in said  # nor is io, if there is a disk that could have a limit
    finally:
        for each in set(groups) - set(before):
            if os.path.exists(each):
                os.rmdir(each)


@pytest.mark.needs("strict", "strace")
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(each, id=each.name, marks=() if each.concerns_groups else pytest.mark.dear)
        for each in ENVIRONMENTS
    ],
    indirect=True,
)
def test_each_capability_is_there_or_missing_as_written_down(request, said, host):
    """The doctor's whole list, with a fix that names what helps here; and a test that asks for what
    is missing is an error with it.
    """
    environment = BY_NAME[request.node.callspec.id]
    expected = lacking(environment, host)
    first = next((line for line in said.splitlines() if line.startswith("environment: ")), said)
    assert [words for words in environment.line if words not in first] == [], first
    found = findings(said)
    limits = {found.pop(name)[0] for name in ("cpu_time", "io")}  # by the same control groups
    assert not set(LIMITS) <= expected.keys() or limits == {"NOTE"}, said
    # The kernel's, where there is a network of its own to try it in
    networks = {name: found.pop(name)[0] for name in ("hosts", "netem", "internet")}
    assert "net" not in expected or set(networks.values()) == {"NOTE"}, said
    layers, _ = found.pop("layers")  # where they are kept, which may be nobody's or another's here
    assert "overlay" not in expected or layers == "NOTE", said
    assert {name: word for name, (word, _) in found.items()} == {
        name: "PASS" if name not in expected else "NOTE" if name in EXTRA else "FAIL"
        for name in CAPABILITIES
    }, said
    assert {
        name: fix for name, (_, fix) in found.items() if expected.get(name, "") not in fix
    } == {}
    assert f"status {int(any(word == 'FAIL' for word, _ in found.values()))}" in said
    outcomes = dict(_RAN.findall(said))
    assert outcomes == {
        name: "ERROR" if name in expected else "PASSED"
        for name in CAPABILITIES
        if name not in _NOT_ASKED_FOR
    }, said
    errors = dict(
        re.findall(r"^ERROR test_asking\.py::test_(\w+) - isolate: (.*)", said, re.MULTILINE)
    )
    for name, fix in expected.items():
        if name not in _NOT_ASKED_FOR:
            # A remedy is said once
            elsewhere = re.search(r"\(what helps: see test_asking\.py::test_(\w+)\)$", errors[name])
            assert fix in errors[elsewhere[1] if elsewhere else name], said


#: What there is without namespaces.
BARE = """
import os, signal, subprocess, time
import pytest
from pytest_isolate import isolate
PYTEST = os.getpid()

def test_plain(): assert os.getpid() == PYTEST
@isolate
def test_own(tmp_path):
    assert os.getpid() != PYTEST
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        open("written", "w")
@isolate
def test_crash(): os.kill(os.getpid(), signal.SIGSEGV)
@isolate(timeout=1)
def test_timeout(): time.sleep(600)
@isolate(leaks="error")
def test_leaks(): subprocess.Popen(["sleep", "600"])
@isolate(memory="64M", timeout=60)
def test_memory():
    held = bytearray(b"x" * (96 << 20))
    time.sleep(600)
@isolate(files=64)
def test_files(): held = [open(os.devnull) for _ in range(99)]
"""
_BARE_IN = (
    "Docker's default",
    "Docker's default, user",
    "SYS_ADMIN only",
    "kernel without the new mount API",
    "nested in strict",
)


@pytest.mark.needs("root", "strict", "landlock")
@pytest.mark.parametrize("name", [pytest.param(each, marks=pytest.mark.dear) for each in _BARE_IN])
def test_where_the_machine_gives_nothing_a_process_of_its_own_is_given(name, monkeypatch):
    """With ``on_missing="warn"``, whatever it is that forbids the rest: each of its walls holds,
    and is called by its name.
    """
    said = _run_in(
        BY_NAME[name],
        BARE,
        '"$@" -v -rE --tb=short --isolate-on-missing=warn test_asking.py',
        [],
        monkeypatch,
    )
    assert dict(_RAN.findall(said)) == {
        "plain": "PASSED", "own": "PASSED", "crash": "FAILED", "timeout": "FAILED",
        "leaks": "ERROR", "memory": "FAILED", "files": "FAILED",
    }, said  # fmt: skip
    for sentence in (
        "was ended by signal 11 (SIGSEGV, ", "TimeoutExceeded: took more than 1 s: ",
        "left 1 process behind, which was killed: sleep 600 ",
        " of 64 MiB ", "FilesExceeded: opened all 64 files ",
        "isolate: 6 of 7 tests isolated, 6 of them without namespaces",
    ):  # fmt: skip
        assert sentence in said, said


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "name", ["overlays two deep, own /tmp", "overlays two deep, own /tmp, user"]
)
def test_where_one_thing_cannot_be_had_all_else_is_given(name, host, monkeypatch):
    """With ``on_missing="warn"`` and no room for an overlay: the root is read-only, and the test is
    in namespaces as ever.
    """
    said = _run_in(
        BY_NAME[name],
        ASKING,
        '"$@" -v -rE --tb=short --isolate-on-missing=warn test_asking.py -k overlay',
        [],
        monkeypatch,
    )
    assert dict(_RAN.findall(said)) == {"overlay": "PASSED"}, said
    assert (
        "PytestWarning: isolate: the test runs with fs='readonly' instead of 'overlay': " in said
    ), said


@pytest.mark.needs("root", "strict")
@pytest.mark.parametrize("name", ["root, no /proc", "old kernel"])
def test_where_not_even_a_process_can_be_watched_no_test_runs(name, monkeypatch):
    """No ``on_missing`` has a marked test run in pytest itself."""
    said = _run_in(
        BY_NAME[name],
        BARE,
        '"$@" -v -rE --tb=short --isolate-on-missing=warn test_asking.py -k "own or plain"',
        [],
        monkeypatch,
    )
    assert dict(_RAN.findall(said)) == {"plain": "PASSED", "own": "ERROR"}, said
