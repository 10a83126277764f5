"""Tests with hosts of their own, in whole runs: what the marker and the fixture give, what is
refused, and that nothing stays.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from running import PYTEST

from pytest_isolate._network import way_out
from pytest_isolate._network.needs import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.needs("veth", "bridge")]

HOSTS = """
import os, socket, subprocess, sys
import pytest
from pytest_isolate import LiveNetwork, Network, isolate

def served(network, one, other, name):
    with network[other]: server = socket.create_server(("", 80))
    with server, network[one]: socket.create_connection((name, 80), timeout=20).close()
    return True

@isolate(net=Network("alpha", "beta.example", "gamma"))
def test_names_resolve(isolate_network: LiveNetwork):
    assert served(isolate_network, "alpha", "beta.example", "beta.example")
    assert socket.getaddrinfo("gamma", 80)[0][4][0] in isolate_network["gamma"].addresses
    assert socket.gethostbyname(socket.gethostname()) == "127.0.0.1"

@isolate(net=Network("a", "b"))
def test_the_test_itself_is_beside_it(isolate_network):
    with isolate_network["a"]: socket.create_server(("", 80))
    with pytest.raises(OSError, match="unreachable"): socket.create_connection(("a", 80), timeout=20)
    with socket.create_server(("127.0.0.1", 8080)) as own: socket.create_connection(own.getsockname()).close()

@isolate(net=Network("a", "b"), fs="readonly")
def test_readonly(isolate_network): assert served(isolate_network, "a", "b", "b")

@isolate(net=Network("a", "b"), fs="host")
def test_root_of_the_machine(isolate_network): assert served(isolate_network, "a", "b", "b")

@isolate(net=Network("a", "b"), user="root")
def test_root(isolate_network):
    assert os.getuid() == 0
    assert served(isolate_network, "a", "b", "b")
    assert isolate_network["a"].run(["id", "-u"], capture_output=True, text=True).stdout == "0\\n"

@isolate(net=Network("a", "b"))
def test_programs_of_a_host_are_who_the_test_is(isolate_network):
    done = isolate_network["a"].run(["id", "-u"], capture_output=True, text=True)
    assert done.stdout == f"{os.getuid()}\\n"
    status = isolate_network["a"].run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
    caps = int(status.partition("CapEff:")[2].split()[0], 16)
    assert (caps != 0) == (os.getuid() == 0)

@isolate(net=Network("a", "b"), scope="class")
class TestTogether:
    def test_one(self, isolate_network):
        isolate_network.partition("a")
        isolate_network.link("b").down()
    def test_two(self, isolate_network):
        assert served(isolate_network, "a", "b", "b")

@isolate(net=Network("a", "b"), leaks="ignore")
def test_what_still_runs_in_a_host_is_ended(isolate_network):
    isolate_network["a"].popen(["sleep", "600"])
"""


def test_hosts_in_every_kind_of_sandbox(pytester, isolated):
    pytester.makepyfile(HOSTS)
    isolated().assert_outcomes(passed=9)


REFUSED = """
from pytest_isolate import Link, Network, isolate

@isolate(net=Network("a", "b", links=[Link("a", "b", addresses={"a": "192.0.2.1/24", "b": "192.0.2.1/24"})]))
def test_clash(isolate_network): pass
@isolate(net=Network("a"), profile="strict")
def test_strict(isolate_network): pass
@isolate
def test_without(isolate_network): pass
@isolate(net="off")
def test_word(): pass
@isolate(net=Network("a", "isolate"))
def test_own_name(isolate_network): pass
@isolate(net=Network("a", "b"))
def test_others(): pass
"""


def test_what_cannot_be_is_an_error_of_that_test_alone(pytester, isolated):
    pytester.makepyfile(REFUSED)
    result = isolated()
    result.assert_outcomes(passed=1, errors=5)
    result.stdout.fnmatch_lines_random(
        [
            (
                "isolate: net=Network('a', 'b', links=[[]Link('a', 'b')[]]) (*::test_clash): 'a'"
                " and 'b' both have the address 192.0.2.1"
            ),
            (
                "isolate: net=Network('a') (by @isolate on function *::test_strict):"
                " profile='strict' takes away the right by which a test *"
            ),
            (
                "isolate_network: the test has no network of hosts: mark it with"
                " @isolate(net=Network('a', 'b'))"
            ),
            (
                "isolate: net=Network('a', 'isolate') (*): 'isolate' is the test's own host name,"
                " which stands beside that network; *"
            ),
            "isolate: net='off' (by @isolate on function *::test_word): it must be True * 'host' *",
        ]
    )


def test_a_run_that_isolates_nothing_says_so(pytester, isolated):
    pytester.makepyfile(REFUSED)
    result = isolated("--isolate-off", "-k", "others or clash")
    result.assert_outcomes(passed=1, errors=1, deselected=4)
    result.stdout.fnmatch_lines(
        ["isolate_network: the test has no network of hosts: *; this run has --isolate-off"]
    )


@pytest.mark.needs("root")
def test_another_user_of_the_machine_gets_no_right_of_root(pytester, isolated):
    pytester.makepyfile("""
        from pytest_isolate import Network, isolate
        @isolate(net=Network("a"), user="nobody")
        def test_it(isolate_network): pass
    """)
    result = isolated()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            (
                "isolate: user='nobody' (*): with net=Network('a') a test has the right to go from host"
                " to host *"
            )
        ]
    )


def test_what_the_kernel_lacks_is_a_matter_of_on_missing(pytester, isolated, host):
    if Kernel((host.uid, host.gid) if host.rootless else None).errno("netem") == 0:
        pytest.skip("this kernel has netem")
    pytester.makepyfile("""
        from pytest_isolate import Network, isolate
        @isolate(net=Network("a", delay="10ms"))
        def test_error(): pass
        @isolate(net=Network("a", delay="10ms"), on_missing="skip")
        def test_skip(): pass
        @isolate(net=Network("a", "b", delay="10ms"), on_missing="warn")
        def test_warn(isolate_network):
            assert isolate_network["a"].run(["ip", "-4", "route"], capture_output=True, text=True).stdout.startswith("10.0.0.0/24")
        @isolate(net=Network("a"), on_missing="skip")
        def test_change(isolate_network):
            isolate_network.set(delay="10ms")
            assert 0
        @isolate(net=Network("a"))
        def test_refused_change(isolate_network): isolate_network.set(delay="10ms")
    """)
    result = isolated("-rs")
    result.assert_outcomes(skipped=2, errors=1, failed=1, passed=1, warnings=1)
    result.stdout.fnmatch_lines_random(
        [
            (
                "*cannot give net=Network(*::test_error): this kernel has no network emulator (netem),"
                " *remedy: sudo modprobe sch_netem *"
            ),
            (
                "*PytestWarning: this machine cannot give net=Network(*::test_warn): this kernel has no"
                " network emulator (netem), *"
            ),
            "E *NetworkUnavailable: this kernel has no network emulator (netem), *",
        ]
    )


def test_the_doctor_says_what_there_is_for_networks(isolated, host):
    """As extras, which the status does not know: a row for hosts, for the emulator and for a way
    out, with the command that helps.
    """
    kernel = Kernel((host.uid, host.gid) if host.rootless else None)
    result = isolated("--isolate-doctor")
    result.stdout.fnmatch_lines(
        ["PASS  hosts: net=Network(...): links, bridges, partitions, *rates, *NAT"]
    )
    if kernel.errno("netem"):
        result.stdout.fnmatch_lines(
            [
                "NOTE  netem: this kernel has no network emulator (netem), *",
                "      fix: sudo modprobe sch_netem *",
            ]
        )
    else:
        result.stdout.fnmatch_lines(["PASS  netem: delay, jitter, loss, *"])
    if (lacks := way_out.missing()) is None:
        result.stdout.fnmatch_lines(["PASS  internet: net='internet', net=Internet(...): IPv*"])
    else:
        lines = [f"NOTE  internet: {lacks.reason}", f"      fix: {lacks.remedy}"]
        result.stdout.fnmatch_lines(lines)
    assert result.ret == int(any(line.startswith("FAIL") for line in result.outlines))


SEEN = """
import os, signal, socket, subprocess
import pytest
from pytest_isolate import Link, Network, isolate

LAN = Network("a", "b", capture=True, ip=4)

def talk(network, word):
    with network["b"]: server = socket.create_server(("", 80))
    with network["a"]: client = socket.create_connection(("b", 80), timeout=20)
    accepted, _ = server.accept()
    client.sendall(word)
    assert accepted.recv(99) == word

@isolate(net=LAN)
def test_fails(isolate_network):
    talk(isolate_network, b"said by who fails")
    assert 0

@isolate(net=LAN)
def test_is_killed(isolate_network):
    talk(isolate_network, b"said by who is killed")
    subprocess.run(["sleep", "0.2"])  # its writer is another process, which has to have a turn
    os.kill(os.getpid(), signal.SIGKILL)

@isolate(net=LAN, leaks="error")
def test_passes(isolate_network):
    talk(isolate_network, b"said by who passes")
    with pytest.raises(ChildProcessError): os.wait()  # who captures is no child of the test's

@isolate(net=Network("a", "b", links=[("a", "b")], ip=4), scope="class")
class TestTogether:
    def send(self, network, number):
        with network["a"]: sender = socket.socket(type=socket.SOCK_DGRAM)
        for _ in range(number): sender.sendto(bytes(100), (network["b"].address, 9))
        sender.close()
        assert network.link("a").counters("a").packets >= number
    def test_one(self, isolate_network): self.send(isolate_network, 90)
    def test_two(self, isolate_network): self.send(isolate_network, 10)
"""


def _packets(file: Path) -> list[tuple[str, bytes]]:
    """Of a pcapng file: at which interface, and what."""
    data, at, names, found = file.read_bytes(), 0, [], []
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        assert struct.unpack_from("=I", data, at + size - 4) == (size,)
        if kind == 1:
            length = struct.unpack_from("=H", data, at + 18)[0]
            names.append(data[at + 20 : at + 20 + length].decode())
        elif kind == 6:
            number, _, _, length, _ = struct.unpack_from("=IIIII", data, at + 8)
            found.append((names[number], data[at + 28 : at + 28 + length]))
        at += size
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    directory = tmp_path_factory.mktemp("seen")
    (directory / "test_seen.py").write_text(SEEN)
    command = [
        *PYTEST,
        "--isolate-report=report.json",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    tests = json.loads((directory / "report.json").read_text())["tests"]
    return Seen(directory, done.stdout, {test["nodeid"].split("::")[-1]: test for test in tests})


class Seen(NamedTuple):
    """A run of that module."""

    directory: Path
    output: str
    tests: dict[str, dict[str, Any]]

    def capture(self, name: str) -> Path:
        return (
            self.directory / "isolate-artifacts" / f"test_seen.py_{name}.capture" / "traffic.pcapng"
        )


@pytest.mark.parametrize(
    ("name", "word"),
    [("test_fails", b"said by who fails"), ("test_is_killed", b"said by who is killed")],
)
def test_a_failing_tests_traffic_is_kept_and_can_be_read(seen, name, word):
    """At both hosts, whatever the test came to; a test that passes leaves none."""
    assert f"capture: {seen.capture(name)}" in seen.output
    at = [where for where, data in _packets(seen.capture(name)) if word in data]
    assert sorted(at) == ["a:eth0", "b:eth0"]
    assert {each.name for each in (seen.directory / "isolate-artifacts").iterdir()} == {
        f"test_seen.py_{each}.capture" for each in ("test_fails", "test_is_killed")
    }
    assert {each: seen.tests[each]["outcome"] for each in ("test_fails", "test_is_killed",
                                                           "test_passes")} == {
        "test_fails": "failed", "test_is_killed": "failed", "test_passes": "passed",
    }  # fmt: skip
    assert "pytest-isolate-capture" not in seen.output


@pytest.mark.needs("tshark")
def test_tshark_reads_it(seen):
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "tcp.payload"]
    done = subprocess.run(
        ["tshark", "-r", seen.capture("test_fails"), *fields],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"a:eth0\t{b'said by who fails'.hex()}" in done.stdout.splitlines()


def test_links_are_counted_for_each_test(seen):
    """In the report and in a failing test's section; of tests that share a sandbox, what that one
    test sent.
    """
    (line,) = {line for line in seen.output.splitlines() if line.startswith("links: ")}
    assert line.startswith("links: a to lan ")
    counts = [
        {
            (each["sender"], each["receiver"]): each["packets"]
            for each in seen.tests[name]["network"]["links"]
        }
        for name in ("test_one", "test_two")
    ]
    assert 90 <= counts[0]["a", "b"] < 100
    assert 10 <= counts[1]["a", "b"] < 20
    assert seen.tests["test_is_killed"]["network"]["links"] == []


def _namespaces() -> int:
    with open("/proc/slabinfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("net_namespace"))


@pytest.mark.needs("root")
@pytest.mark.alone
@pytest.mark.dear
def test_nothing_is_left_of_networks_killed_ones_among_them(pytester, isolated):
    """No namespace with a name, no interface, and none that somebody keeps.

    Seen too with 1,000 networks, which take minutes.
    """
    pytester.makepyfile("""
        import os, signal
        import pytest
        from pytest_isolate import Network, isolate
        @isolate(net=Network("a", "b", "c"))
        @pytest.mark.parametrize("number", range(60))
        def test_it(number, isolate_network):
            isolate_network["a"].popen(["sleep", "600"])
            if number % 5 == 0: os.kill(os.getpid(), signal.SIGKILL)
    """)
    named, before = (
        (set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()),
        _namespaces(),
    )
    links = len(os.listdir("/sys/class/net"))
    isolated("-q", "--tb=no", "--isolate-leaks=ignore").assert_outcomes(passed=48, failed=12)
    assert (set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()) == named
    assert len(os.listdir("/sys/class/net")) == links
    until = time.monotonic() + 60
    # The kernel takes them apart one by one, later
    while (left := _namespaces() - before) > 20 and time.monotonic() < until:
        time.sleep(0.1)
    assert left <= 20, "other tests of the machine may have some"
