"""``net="internet"``: whole runs of pytest on a machine whose internet is made of namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_internet import MACHINE, OTHER, OUTSIDE, OUTSIDE6, on_a_machine_with_internet
from running import PYTEST

from pytest_isolate import LiveNetwork

pytestmark = [pytest.mark.kernel, pytest.mark.needs("internet", "veth", "rules")]

TESTS = f"""
import errno, os, socket, subprocess, sys
import pytest
from pytest_isolate import Internet, isolate

OUTSIDE, OTHER, MACHINE, OUTSIDE6 = {OUTSIDE!r}, {OTHER!r}, {MACHINE!r}, {OUTSIDE6!r}

def said(host, port=8080):
    with socket.create_connection((host, port), timeout=20) as client: return client.recv(99)

def refusal(host, port):
    with pytest.raises(OSError) as caught: said(host, port)
    return caught.value.errno

@isolate(net="internet")
class TestEverybody:
    @pytest.mark.parametrize("host", [OUTSIDE, "outside.example", "outside", OTHER])
    def test_tcp(self, host): assert said(host).startswith(b"hello from o")

    def test_ipv6(self): assert said(OUTSIDE6) == b"hello from outside"

    def test_udp(self):
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.sendto(b"ping", (OUTSIDE, 7))
            assert client.recv(99) == b"ping"

    def test_sub_process(self):
        command = [sys.executable, "-c", "import socket; socket.create_connection(('outside.example', 8080), 20)"]
        subprocess.run(command, check=True)

    def test_who_refuses_is_heard(self): assert refusal(OUTSIDE, 1) == errno.ECONNREFUSED

    def test_nobody_by_that_name(self):
        with pytest.raises(socket.gaierror): said("nobody.example")

    def test_own_loopback(self):
        assert refusal("127.0.0.1", 9000) == errno.ECONNREFUSED
        with socket.create_server(("127.0.0.1", 9000)) as own: socket.create_connection(own.getsockname()).close()

    def test_not_the_machine(self):
        assert refusal("10.249.7.2", 9000) in (errno.ECONNREFUSED, errno.ENETUNREACH)
        assert refusal("10.249.7.3", 9000) in (errno.ECONNREFUSED, errno.ENETUNREACH)
        assert refusal(MACHINE, 9000) == errno.ENETUNREACH

@isolate(net="internet", profile="strict")
def test_strict(): assert said("outside.example") == b"hello from outside"

@isolate(net="internet", fs="readonly")
def test_readonly(): assert said("outside.example") == b"hello from outside"

@isolate(net="internet", fs="host")
def test_root_of_the_machine(): assert said("outside.example") == b"hello from outside"

@isolate(net="internet", user="root")
def test_root(): assert said("outside.example") == b"hello from outside"

@isolate(net="internet", scope="class")
class TestTogether:
    def test_one(self): assert said(OUTSIDE)
    def test_two(self): assert said(OTHER)

SOME = Internet(allow=["outside.example:8080", "198.51.100.0/24:8081", "[2001:db8::/32]:8081", f"{{OUTSIDE}}:7/udp"])

@isolate(net=SOME)
class TestSome:
    def test_allowed(self):
        assert said("outside.example") == said(OUTSIDE) == b"hello from outside"
        assert said(OTHER, 8081) == b"hello from other"
        assert said(OUTSIDE6, 8081) == b"hello from outside"
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.sendto(b"ping", (OUTSIDE, 7))
            assert client.recv(99) == b"ping"

    def test_denied(self):
        assert said("outside.example") == b"hello from outside"
        assert refusal(OUTSIDE, 8081) == refusal(OTHER, 8080) == errno.ENETUNREACH
        with pytest.raises(socket.gaierror): said("other.example")

    def test_another_protocol(self): assert refusal(OUTSIDE, 7) == errno.ENETUNREACH

    def test_denied_and_fails(self): said(OTHER, 8080)

    def test_denied_to_a_sub_process(self):
        command = [sys.executable, "-c", f"import socket; socket.create_connection(('{{OTHER}}', 8080), 20)"]
        subprocess.run(command, check=True)

@isolate(net="internet")
def test_the_machine_is_an_attempt(): said(MACHINE, 9000)

@isolate(net=Internet(allow=["nobody.example"]))
def test_unknown(): pass

@isolate(net=Internet(allow=["127.0.0.1:80"]))
def test_loopback(): pass

from pytest_isolate import Layer

@Layer.build(net="internet")
def fetched():
    with open("/etc/resolv.conf") as file: asks = file.read()
    with open("/tmp/fetched", "wb") as file: file.write(said("outside.example"))
    return asks

@Layer.build(net=SOME)
def fetched_from_some():
    assert refusal(OTHER, 8080) == errno.ENETUNREACH
    with open("/tmp/fetched", "wb") as file: file.write(said("outside.example"))

@isolate(layers=[fetched])
def test_a_layer_was_fetched():
    assert fetched.value.startswith("nameserver 10.249.7.3")
    with open("/tmp/fetched") as file: assert file.read() == "hello from outside"
    with open("/etc/resolv.conf") as file: assert file.read() != fetched.value

@isolate(layers=[fetched_from_some])
def test_a_layer_was_fetched_from_some():
    with open("/tmp/fetched") as file: assert file.read() == "hello from outside"
    with open("/etc/hosts") as file: assert "outside.example" not in file.read()

@Layer.build(net=Internet(allow=["nobody.example"]))
def fetched_from_nobody(): pass

@isolate(layers=[fetched_from_nobody])
def test_unknown_to_a_layer(): pass

def test_nothing_is_left_beside():
    assert socket.if_nameindex()
    assert all(name != "tap0" for _, name in socket.if_nameindex())
"""
_FAIL = {
    "test_denied_and_fails", "test_denied_to_a_sub_process", "test_the_machine_is_an_attempt",
    "test_unknown", "test_loopback", "test_unknown_to_a_layer",
}  # fmt: skip


class Seen(NamedTuple):
    output: str
    tests: dict[str, dict[str, Any]]
    outcomes: dict[str, str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    directory = tmp_path_factory.mktemp("internet")
    (directory / "test_it.py").write_text(TESTS)
    (directory / "pytest.ini").write_text("[pytest]\n")
    command = [
        *PYTEST, "-rA",
        "--isolate-report=report.json", f"--basetemp={directory / 'base'}",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}

    def run(network):
        with open(directory / "output", "wb") as file:
            machine = network["machine"]
            machine.run(
                command, cwd=directory, env=environment, stdout=file, stderr=file, timeout=200
            )

    on_a_machine_with_internet(run)
    output = (directory / "output").read_text()
    print(output)  # noqa: T201 - for whoever reads a failure
    tests = json.loads((directory / "report.json").read_text())["tests"]
    return Seen(
        output,
        {test["nodeid"].split("::")[-1]: test for test in tests},
        {test["nodeid"].split("::")[-1]: test["outcome"] for test in tests},
    )


def test_who_is_reached_and_who_is_not(seen):
    """By name and number, TCP, UDP and IPv6, in every kind of sandbox; nobody of the machine; of a
    list its destinations alone.
    """
    assert len(seen.outcomes) > 20
    bad = {name for name, outcome in seen.outcomes.items() if outcome != "passed"}
    assert bad == _FAIL


def test_a_denied_destination_is_told(seen):
    """In the report as an attempt and in the failing test's section by name; who was reached is
    not.
    """
    attempts = seen.tests["test_denied"]["network"]["attempts"]
    told = {(each["address"], each["port"]) for each in attempts}
    assert told == {(OUTSIDE, 8081), (OTHER, 8080), ("other.example", 8080)}
    (one,) = seen.tests["test_denied_and_fails"]["network"]["attempts"]
    assert (one["address"], one["port"], one["count"]) == (OTHER, 8080, 1)
    assert (
        f"network: the test made 1 attempt to leave its network: {OTHER}:8080 at test_it.py:"
        in seen.output
    )
    assert "; net=Internet(allow=['outside.example:8080', " in seen.output
    assert (
        "made 1 attempt to leave its network: 1 by sub-processes or C code; net=Internet("
        in seen.output
    )
    assert f"{MACHINE}:9000 at test_it.py:" in seen.output
    assert seen.tests["test_allowed"]["network"]["attempts"] == []
    assert seen.tests["test_ipv6"]["network"]["attempts"] == []


def test_what_cannot_be_is_said(seen):
    assert (
        "isolate: net=Internet(allow=['nobody.example']) (by @isolate on function"
        " test_it.py::test_unknown): this machine knows no host 'nobody.example': " in seen.output
    )
    assert (
        "(by @isolate on function test_it.py::test_unknown_to_a_layer): net=Internet(allow=["
        "'nobody.example']) (by <Layer fetched_from_nobody>): this machine knows no host"
        in seen.output
    )
    assert "'127.0.0.1:80' is the sandbox's own loopback; forward= reaches" in seen.output


def test_what_is_missing_is_a_matter_of_on_missing(pytester, isolated, monkeypatch, tmp_path):
    """Named, with the command that helps; a test that runs without it has a network of its own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    pytester.makepyfile("""
        import socket
        import pytest
        from pytest_isolate import isolate
        @isolate(net="internet")
        def test_error(): pass
        @isolate(net="internet", on_missing="skip")
        def test_skip(): pass
        @isolate(net="internet", on_missing="warn")
        def test_warn():
            assert [name for _, name in socket.if_nameindex()] == ["lo"]
    """)
    result = isolated("-rs")
    result.assert_outcomes(errors=1, skipped=1, passed=1, warnings=1)
    said = "this machine cannot give net=* (*): slirp4netns is not installed; remedy: apt-get *"
    result.stdout.fnmatch_lines([f"isolate: *{said}", f"*{said}: the test runs without it"])


HANGS = """
import os, socket, time
from pytest_isolate import isolate
@isolate(net="internet")
def test_it():
    with socket.create_connection(("203.0.113.7", 8080), timeout=20) as client: client.recv(99)
    open(os.environ["READY"], "w").close()
    time.sleep(600)
"""


@pytest.mark.parametrize("whom", ["pytest", "everybody"])
def test_nothing_is_left_when_pytest_is_killed(tmp_path, whom):
    """Neither the program that led out nor a process of ours, also when the helpers are killed with
    pytest.
    """
    (tmp_path / "test_it.py").write_text(HANGS)
    command = [*PYTEST]
    command += [f"--basetemp={tmp_path / 'base'}", "--isolate-bind", str(tmp_path)]

    def run(network: LiveNetwork) -> None:
        environment = {**os.environ, "READY": str(tmp_path / "ready")}
        with network["machine"].popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
        ) as process:
            until = time.monotonic() + 60
            while not (tmp_path / "ready").exists():
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.01)
            below = _below(process.pid)
            pidfds = [os.pidfd_open(pid) for pid in below]
            assert any(name == "slirp4netns" for name in below.values())
            for pid in [process.pid, *(below if whom == "everybody" else ())]:
                if below.get(pid) != "slirp4netns":
                    with contextlib.suppress(ProcessLookupError):  # it died with another
                        os.kill(pid, signal.SIGKILL)
        for fd in pidfds:
            assert select.select([fd], [], [], 60)[0], below

    on_a_machine_with_internet(run, (4,))


def _below(pid: int) -> dict[int, str]:
    """Give all processes below one, with their names."""
    found: dict[int, str] = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
            name = Path(f"/proc/{child}/comm").read_text().strip()
            found |= {int(child): name, **_below(int(child))}
    return found


@pytest.mark.needs("internet")
def test_a_connection_that_fails_leads_to_the_machines_own(pytester, isolated):
    """The way out may be there and lead nowhere: behind a proxy, say."""
    pytester.makepyfile("""
        import socket
        from pytest_isolate import isolate
        @isolate(net="internet")
        def test_out(): socket.create_connection(("192.0.2.1", 9), timeout=0.2)
        """)
    result = isolated()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["network: net='internet' leads as far as this machine's own *"])
