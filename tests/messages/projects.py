"""Projects whose runs say what there is to say: each is a golden file of ``said``."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Project:
    """Some files and what is typed there.

    ``limits``: whether its runs need every limit, and so root here.
    """

    files: dict[str, str]
    runs: tuple[str, ...] = ("",)
    limits: bool = False
    # From what is shown: only lines in which one of these stands, where the rest is pytest's
    only: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()  # what its runs are started by, where it is not this process


_HEAD = """
import os, socket, subprocess, sys, threading, time, warnings
import pytest
from pytest_isolate import *
from pytest_isolate import isolate
GROW = "held = bytearray(200 << 20)"
"""


def _tests(source: str) -> dict[str, str]:
    return {"test_it.py": _HEAD + textwrap.dedent(source)}


VIOLATIONS = """
@isolate(memory="64M")
def test_memory():
    held = bytearray(200 << 20)

@isolate(memory="64M")
def test_memory_of_a_child():
    subprocess.run([sys.executable, "-c", GROW])

@isolate(pids=1)
def test_pids_of_one():
    with pytest.raises(BlockingIOError):
        os.fork()

@isolate(pids=3)
def test_pids():
    with pytest.raises(BlockingIOError):
        for _ in range(3):
            if os.fork() == 0: os.execvp("sleep", ["sleep", "60"])

@isolate(cpu_time=0.2)
def test_cpu_time():
    while True: pass

@isolate(timeout="200ms")
def test_timeout():
    while True: pass

@isolate(disk="1M")
def test_disk(tmp_path):
    with (tmp_path / "large").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)): pass

@isolate(disk="1M")
def test_disk_of_what_it_printed():
    for n in range(1100): print("x" * 1000, file=sys.stderr)

@isolate(disk="64K")
def test_disk_of_many_files(tmp_path):
    for n in range(2000): os.close(os.open(f"{tmp_path}/{n}", os.O_CREAT))

@isolate(disk="1M")
def test_disk_removed(tmp_path):
    with (tmp_path / "large").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)): pass
        finally: (tmp_path / "large").unlink()

@isolate(files=64)
def test_files():
    held = []
    while True: held.append(open("/dev/null"))

@isolate(net="deny")
def test_net():
    with pytest.raises(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)

@isolate(net="deny")
def test_net_of_a_program():
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 80))"
    for _ in range(2): subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL)

@isolate(leaks="error")
def test_leak():
    subprocess.Popen(["sleep", "60"])

@isolate(leaks="error")
def test_leaks():
    for _ in range(2): subprocess.Popen(["sleep", "60"])

@isolate(fs_allow=["tmp_path"])
def test_fs_allow():
    open("/etc/hosts", "a").write("x")

@isolate(fs_allow=[])
def test_fs_allow_nothing(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()

@isolate
def test_signal():
    os.abort()

@isolate
def test_exit():
    os._exit(3)

@isolate(pids=1, net="deny")
def test_two_at_once():
    with pytest.raises(BlockingIOError): os.fork()
    with pytest.raises(OSError): socket.create_connection(("192.0.2.1", 80), timeout=1)

@isolate(net="deny")
def test_its_own_failure_too():
    try: socket.create_connection(("192.0.2.1", 80), timeout=1)
    except OSError: pass
    assert 1 == 2

@pytest.fixture
def grown():
    held = bytearray(200 << 20)

@isolate(memory="64M")
def test_in_its_setup(grown): pass

@pytest.mark.xfail(raises=MemoryExceeded)
@isolate(memory="64M")
def test_expected():
    held = bytearray(200 << 20)
"""

WARNINGS = """
class LocalWarning(UserWarning): pass
@isolate
def test_leak(): subprocess.Popen(["sleep", "60"])
@isolate
def test_its_own_warning(): warnings.warn("said by a test", LocalWarning)
@isolate
def test_of_a_class_of_its_own():
    class NestedWarning(UserWarning): pass
    warnings.warn("said by a test", NestedWarning)
@pytest.fixture(scope="module")
def worker():
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="worker")
    thread.start()
    yield
    over.set()
    thread.join()
@isolate
def test_with_a_thread(worker): pass
"""

HINTS = """
@isolate
def test_network(): socket.socket().connect(("192.0.2.1", 80))
@isolate
def test_port(): socket.socket().connect(("127.0.0.1", 1))
@isolate(files=64, memory="64M")
def test_file(): open("/etc/made-by-a-test", "w"); assert 0
@isolate
def test_device(): os.stat("/dev/kmsg")
"""

# Each keyword's bad values; a test holds their names against the table
BAD = """
BAD = [
    dict(net="off"), dict(net="Deny"), dict(net=3), dict(net=Internet(allow="pypi.org")),
    dict(net=Internet(allow=["*.pypi.org"])), dict(net=Internet(allow=["127.0.0.1"])),
    dict(net=Internet(allow=["a:99999"])), dict(net=Internet(allow=[3])),
    dict(net=Internet(allow=["224.0.0.1"])), dict(net=Internet(allow=["localhost"])),
    dict(net=Network()), dict(net=Network("a b")), dict(net=Network("a", "a")), dict(net=Network(3)),
    dict(net=Network("a", links=[("a", "b")])), dict(net=Network("a", links=[("a", "a")])),
    dict(net=Network("a", links=["a"])), dict(net=Network("a", "b", links=[Link("a", "b", nat="a")])),
    dict(net=Network("a", "b", links=[Link("a", "b", "20ms")])), dict(net=Network(["a", "b"])),
    dict(net=Network("a", "b", delay="fast")), dict(net=Network("a", "b", delay=300)),
    dict(net=Network("a", "b", delay=-1)), dict(net=Network("a", "b", loss=2)),
    dict(net=Network("a", "b", loss="x")), dict(net=Network("a", "b", rate="1mb")),
    dict(net=Network("a", "b", rate=1)), dict(net=Network("a", "b", jitter="1s")),
    dict(net=Network("a", "b", reorder=0.5)), dict(net=Network("a", "b", mtu=1)),
    dict(net=Network("a", "b", mtu=100)), dict(net=Network("a", "b", mtu="x")),
    dict(net=Network("a", "b", ip=5)), dict(net=Network("a", bridges=["a"])),
    dict(net=Network("isolate")),
    dict(net=Network("a", "b", links=[Link("a", "b", addresses={"a": "192.0.2.1"})])),
    dict(net=Network("a", "b", links=[Link("a", "b", addresses={"c": "192.0.2.1/24"})])),
    dict(net=Network("a", "b", links=[Link("a", "b", addresses={"a": "192.0.2.1/24", "b": "192.0.2.1/24"})])),
    dict(forward="x"), dict(forward=70000), dict(forward=5433), dict(forward="a:b"),
    dict(memory="64MB"), dict(memory=64), dict(memory=-1), dict(memory="x"), dict(memory=1.5),
    dict(memory="16777216T"), dict(memory=True),
    dict(cpu=0), dict(cpu="x"), dict(cpu=-1),
    dict(cpu_time=-1), dict(cpu_time="x"), dict(timeout=0), dict(timeout="5x"), dict(timeout=True),
    dict(pids=0), dict(pids="x"), dict(pids=1.5), dict(pids=1 << 30),
    dict(disk=1), dict(disk="x"), dict(files=3), dict(files="x"),
    dict(io_read=1), dict(io_write="1"), dict(io_write="x"),
    dict(fs="rw"), dict(fs="Overlay"), dict(rootfs="/nowhere"), dict(rootfs=3), dict(rootfs="oci:/nowhere"),
    dict(layers=3), dict(layers="/nowhere"), dict(layers=[3]),
    dict(fs_allow=3), dict(fs_allow="../x"), dict(fs_allow=["a**"]), dict(fs_hide=3), dict(fs_hide="/"),
    dict(bind=3), dict(bind="/nowhere"), dict(bind="/etc:rw"), dict(bind="relative"),
    dict(hostname="-"), dict(hostname=3), dict(hostname="a" * 65),
    dict(user="nobody-here"), dict(user=-1), dict(user=""),
    dict(env=3), dict(env={"A": 1}), dict(env={"A=": "x"}), dict(env="dirty"),
    dict(fixtures=3), dict(fixtures=["no-such"]), dict(fixtures=["no_such"]),
    dict(scope="session"), dict(serial="x"), dict(leaks="x"), dict(leaks=True), dict(on_missing="x"),
    dict(profile="x"), dict(profile=""), dict(profile="nested"),
    dict(memroy="64M"), dict(nonsense=1), dict(Timeout=3), dict(profile="strict", net=Network("a")),
    dict(profile="strict", bind="/proc/self/cwd"), dict(fs="host", fs_allow=[]),
    dict(fs="host", rootfs="/usr"), dict(fs="host", layers=["/usr/share"]),
    dict(fs="host", fs_hide=["/etc/hosts"]), dict(fs="readonly", bind="/etc:/nowhere"),
]
@pytest.mark.parametrize("n", [
    pytest.param(n, marks=isolate(**each), id=",".join(each)) for n, each in enumerate(BAD)
])
def test_bad(n): pass
@isolate("64M")
def test_positional(): pass
@pytest.mark.isolate
def test_network_without_one(isolate_network): pass
"""

_ONE = _tests("""
@isolate
def test_it(): pass
def test_plain(): pass
""")

_OPTIONS = (
    "--isolate-net=off", "--isolate-forward=x", "--isolate-memory=64MB", "--isolate-memory=64",
    "--isolate-cpu=-1", "--isolate-cpu-time=-1", "--isolate-timeout=-1", "--isolate-timeout=soon",
    "--isolate-pids=0", "--isolate-disk=1", "--isolate-files=1", "--isolate-io-read=x",
    "--isolate-io-write=1", "--isolate-fs=rw", "--isolate-rootfs=/nowhere",
    "--isolate-layers=/nowhere", "--isolate-fs-allow=../x", "--isolate-fs-hide=/",
    "--isolate-bind=/nowhere", "--isolate-hostname=-", "--isolate-user=nobody-here",
    "--isolate-env=x", "--isolate-fixtures=a-b", "--isolate-scope=session", "--isolate-serial=x",
    "--isolate-leaks=x", "--isolate-on-missing=x", "--isolate-profile=x",
    "--isolate-jobs=0", "--isolate-jobs=many", "--isolate-jobs=-1", "--isolate-top=0",
    "--isolate-top=x", "--isolate-keep=x", "--isolate-oci-of=x", "--isolate-report=/",
    "--isolate-report=test_it.py", "--isolate-html=/dev/null/x", "--isolate-trace=/proc/x",
    "--isolate-budgets=none.toml", "--isolate-budgets=bad.toml", "--isolate-budgets=test_it.py",
    "--isolate-update-budgets", "--isolate-oci=test_it.py", "--isolate-artifacts=test_it.py --isolate-keep=all",
    "--isolate-report=z --isolate-trace=z --isolate-html=z", "--isolate-report=z --isolate-budgets=./z --isolate-update-budgets",
    "--isolate-memroy=3",
)  # fmt: skip

_INI = (
    "isolate_memory = 64MB", "isolate_timeout = -1", "isolate_net = off", "isolate_serial = maybe",
    "isolate_jobs = 0", "isolate_top = x", "isolate_keep = some", "isolate_oci_of = none",
    "isolate_all = maybe", "isolate_off = maybe", "isolate_shell = maybe",
    "isolate_all = true\nisolate_off = true", "isolate_update_budgets = true",
    "isolate_budgets = none.toml", "isolate_report = test_it.py", "isolate_profile = x",
    "isolate_on_missing = x",
)  # fmt: skip

_PYPROJECT = (
    "profiles = 3", "[tool.pytest_isolate.profiles]\nx = 3", '[tool.pytest_isolate.profiles.strict]\nmemory = "1G"',
    "rules = 3", '[[tool.pytest_isolate.rules]]\nmemory = "1G"', "[[tool.pytest_isolate.rules]]\ntests = 3",
    '[[tool.pytest_isolate.rules]]\ntests = "**"\nmemroy = "1G"', '[[tool.pytest_isolate.rules]]\ntests = "**"\nmemory = "64MB"',
    '[[tool.pytest_isolate.rules]]\ntests = "**"\nisolate = 3', '[[tool.pytest_isolate.rules]]\ntests = "test_it.py::test_gone"\nmemory = "1G"',
    "nonsense = 3", "x = ",
)  # fmt: skip

_BUDGETS = {
    "budgets.toml": '[tests]\n"test_it.py::test_heavy" = {memory = "1M"}\n'
    '"test_it.py::test_light" = {memory = "1G", wall = 100}\n'
    '"test_it.py::test_gone" = {memory = "1M"}\n',
    "empty.toml": "",
} | _tests("""
@isolate
def test_heavy(): held = bytearray(b"x") * (50 << 20)
@isolate
def test_light(): pass
@isolate
def test_new(): pass
""")


_BUDGET_FILES = (
    "x = 3", "[tests]\n'a' = 3", "[tests]\n'a' = { memroy = '1M' }", "[tests]\n'a' = { memory = '1MB' }",
    "[tests]\n'a' = { memory = -1 }", "[tests]\n'a' = { cpu = 'x' }", "[tests]\n'a' = { pids = 1.5 }",
    "[tests]\n'a' = { memory = 1 }\n'a' = { memory = 2 }", "[tolerance]\nmemory = 'x'",
    "[tolerance]\nram = '1%'", "[tolerance]\nmemory = 3",
)  # fmt: skip


PROJECTS = {
    "violations": Project(_tests(VIOLATIONS), limits=True),
    "warnings": Project(_tests(WARNINGS), limits=True),
    "hints": Project(_tests(HINTS), limits=True),
    "keywords": Project(
        {
            "pyproject.toml": '[tool.pytest_isolate.profiles.nested]\nprofile = "x"\n',
            **_tests(BAD),
        },
        only=("isolate: ", "E   "),
    ),
    "options": Project(
        _ONE | {"bad.toml": "x = "}, tuple(_OPTIONS), only=("isolate", "unrecognized")
    ),
    "ini": Project(
        _ONE | {f"{n}.ini": f"[pytest]\n{text}\n" for n, text in enumerate(_INI)},
        tuple(f"-c {n}.ini" for n in range(len(_INI))),
        only=("isolate",),
    ),
    "pyproject": Project(
        {
            f"{n}/{name}": text
            for n, said in enumerate(_PYPROJECT)
            for name, text in (
                _ONE
                | {
                    "pyproject.toml": "[tool.pytest.ini_options]\n"
                    + ("" if said.startswith("[") else "[tool.pytest_isolate]\n")
                    + said
                    + "\n"
                }
            ).items()
        },
        tuple(f"--rootdir={n} -c {n}/pyproject.toml {n}" for n in range(len(_PYPROJECT))),
        only=("isolate", "TOML", "toml"),
    ),
    "budgets": Project(
        _BUDGETS,
        (
            "--isolate-budgets=budgets.toml --isolate-top=2 --durations=2",
            "--isolate-budgets=empty.toml --isolate-update-budgets",
        ),
        limits=True,
    ),
    "runs": Project(
        _ONE
        | {
            "test_stops.py": _HEAD
            + "@isolate\ndef test_fails(): assert 0\n@isolate\ndef test_after(): pass\n",
            "sub/conftest.py": "from pytest_isolate import isolate\npytestmark = isolate\n",
            "sub/test_ignored.py": "def test_it(): pass\n",
        },
        (
            "-q test_it.py", "test_it.py", "--isolate-all -v test_it.py",
            "--isolate-off test_it.py", "-x test_stops.py", "--isolate-jobs=2 test_it.py",
            "--isolate-jobs=2 -s test_it.py", "--isolate-memory=1G sub", "--isolate-keep=failed test_stops.py",
            "--isolate-artifacts=kept test_it.py", "--isolate-oci-of=failed test_it.py", "--isolate-report=r.json test_it.py",
            "--isolate-shell test_it.py", "--isolate-memory=1000T test_it.py", "--isolate-net=0 -v test_it.py",
        ),
        limits=True,
    ),
    "budget_files": Project(
        _ONE | {f"{n}.toml": text for n, text in enumerate(_BUDGET_FILES)},
        tuple(f"--isolate-budgets={n}.toml" for n in range(len(_BUDGET_FILES))),
        only=("isolate",),
    ),
    "without_namespaces": Project(
        _tests("""
            @pytest.mark.parametrize("n", range(3))
            @isolate
            def test_it(n): pass
        """),
        ("", "--isolate-on-missing=skip -rs", "--isolate-on-missing=warn"),
        limits=True,
        within=(
            "unshare", "--user", "--map-root-user", "sh", "-c",
            'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh",
        ),
    ),
    "markers": Project(_ONE, ("--markers",), only=("isolate(", "    ")),
}  # fmt: skip

#: What is typed after ``pytest-isolate``, where there are these files.
COMMANDS = (
    "compare report.json none.json", "compare report.json bad.json", "compare report.json list.json",
    "compare report.json entry.json", "compare report.json figure.json",
    "compare report.json report.json", "compare report.json head.json",
    "compare report.json head.json --format=markdown",
    "compare report.json report.json --tolerance=ram=1",
    "compare report.json report.json --tolerance=cpu=x", "layers --remove abc",
    "layers --unused-for x",
)  # fmt: skip
_USAGE = '"usage": {"memory_peak_bytes": %d, "cpu_seconds": 1}'
REPORTS = {
    "bad.json": "{",
    "list.json": "[]",
    "entry.json": '{"schema": 1, "tests": [3]}',
    "figure.json": '{"schema": 1, "tests": [{"nodeid": "a", "usage": {"cpu_seconds": -1}}]}',
    "report.json": '{"schema": 1, "tests": ['
    f'{{"nodeid": "a", "outcome": "passed", {_USAGE % (1 << 24)}}},'
    f'{{"nodeid": "b", "outcome": "passed", {_USAGE % (1 << 24)}}},'
    f'{{"nodeid": "gone", "outcome": "passed", {_USAGE % (1 << 24)}}}]}}',
    "head.json": '{"schema": 1, "tests": ['
    f'{{"nodeid": "a", "outcome": "passed", {_USAGE % (1 << 26)}}},'
    f'{{"nodeid": "b", "outcome": "failed", {_USAGE % (1 << 24)}}},'
    f'{{"nodeid": "new", "outcome": "passed", {_USAGE % (1 << 24)}}}]}}',
}
