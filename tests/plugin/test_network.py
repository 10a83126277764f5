"""Attempts to leave a sandbox's network are counted for every process, named for Python, and
violations where they are denied.
"""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.kernel

ATTEMPTS = """
import socket, subprocess
import pytest
from pytest_isolate import NetworkDenied, isolate

def reach(address, port=80):
    socket.create_connection((address, port), timeout=5)

def test_address(): reach("192.0.2.1")
def test_address_6(): reach("2001:db8::1")
def test_datagram(): socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.2", 53))
def test_name(): reach("name.invalid")
def test_sub_process(): subprocess.run(["bash", "-c", "echo > /dev/tcp/192.0.2.3/80"], check=True)
def test_refused(): reach("127.0.0.1", 1)
def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server: reach(*server.getsockname()[:2])
    assert 0
"""
DENIED = """
import socket, subprocess
import pytest
from pytest_isolate import NetworkDenied, isolate

pytestmark = isolate(net="deny")

def test_caught():
    for _ in range(3):
        with pytest.raises(OSError): socket.create_connection(("192.0.2.1", 80), timeout=5)
def test_sub_process(): subprocess.run(["bash", "-c", "echo > /dev/tcp/192.0.2.3/80"])
@pytest.fixture
def leaves():
    with pytest.raises(OSError): socket.create_connection(("192.0.2.1", 80), timeout=5)
def test_setup(leaves): pass
@pytest.mark.xfail(raises=NetworkDenied)
def test_expected(leaves): pass
def test_stays():
    with socket.create_server(("127.0.0.1", 0)) as server: socket.create_connection(server.getsockname())
@isolate(net=True)
def test_not_denied(leaves): pass
"""


def report_of(pytester) -> dict[str, dict]:
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    return {test["nodeid"].split("::")[-1]: test for test in tests}


def test_attempts_are_named_in_the_failing_tests_section_and_in_the_report(pytester, isolated):
    """Address, port, count and line for Python; a bare count for a sub-process; nothing for
    loopback.
    """
    pytester.makepyfile(ATTEMPTS)
    result = isolated("--isolate-all", "--isolate-report=report.json")
    result.assert_outcomes(failed=7)
    name = "test_attempts_are_named_in_the_failing_tests_section_and_in_the_report.py"
    for shown in (f"192.0.2.1:80 at {name}:6;*net='host'*", f"2001:db8::1:80 at {name}:6;*",
                  f"192.0.2.2:53 at {name}:10;*",
                  f"name.invalid:80 at {name}:6;*", "1 by sub-processes or C code;*"):  # fmt: skip
        result.stdout.fnmatch_lines(
            f"network: the test made 1 attempt to leave its network: {shown}"
        )
    assert (
        len(
            [
                line
                for line in result.outlines
                if line.startswith("network: the test made 1 attempt")
            ]
        )
        == 5
    )
    result.stdout.fnmatch_lines(
        "network: a connection to port 1 of localhost was refused: nobody listens there,*"
    )
    attempts = {test: entry["network"]["attempts"] for test, entry in report_of(pytester).items()}
    assert attempts["test_address"] == [{"address": "192.0.2.1", "port": 80, "count": 1}]
    assert attempts["test_sub_process"] == [{"address": None, "port": None, "count": 1}]
    assert attempts["test_loopback"] == attempts["test_refused"] == []


def test_denied_attempts_fail_the_phase_they_were_made_in(pytester, isolated):
    """Also when the test caught the error, in a sub-process, or in set-up; xfail can expect them;
    net=True only counts them.
    """
    pytester.makepyfile(DENIED)
    result = isolated("--isolate-report=report.json")
    result.assert_outcomes(failed=2, errors=1, xfailed=1, passed=2)
    result.stdout.fnmatch_lines(
        "E   NetworkDenied: made 3 attempts to leave its network: 192.0.2.1:80 (3 times) at *"
        " (net='deny', set by @isolate on module *)"
    )
    violations = {test: [(each["resource"], each["phase"],
                          each["used"]) for each in entry["violations"]]
                  for test, entry in report_of(pytester).items()}  # fmt: skip
    assert violations == {
        "test_caught": [("network", "call", 3)], "test_sub_process": [("network", "call", 1)],
        "test_setup": [("network", "setup", 1)],
        "test_expected": [("network", "setup", 1)], "test_stays": [], "test_not_denied": [],
    }  # fmt: skip
    assert report_of(pytester)["test_not_denied"]["network"]["attempts"]


@pytest.mark.parametrize("value", ["deny", "True", "host", "false"])
def test_net_can_be_asked_for_on_the_command_line(pytester, isolated, value):
    """Text there means what the value means in a marker."""
    pytester.makepyfile("import os\ndef test_net(): assert os.listdir('/sys/class/net') == ['lo']")
    isolated("--isolate-all", f"--isolate-net={value}").assert_outcomes(
        **{"passed" if value in {"deny", "True"} else "failed": 1}
    )
