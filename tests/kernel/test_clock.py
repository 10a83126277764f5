"""The machine's clock: no isolated test sets it, also as root, and nothing of ours counts by it where
somebody else sets it while tests run.
"""

from __future__ import annotations

import json
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest
from running import PYTEST

# The machine's clock is set by a shared fixture, in a thread of pytest, when a test asks for it
TESTS = """
import signal, socket, socketserver, threading, time
import pytest
from pytest_isolate import isolate
STEPS = [-3600, 86400, -90000, 7200]
class Setter(socketserver.StreamRequestHandler):
    def handle(self):
        number = int(self.rfile.readline())
        time.clock_settime(time.CLOCK_REALTIME, time.time() + STEPS[number])
        self.wfile.write(b"done")
@pytest.fixture(scope="session")
def setter():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Setter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()
@pytest.fixture
def step(setter):
    def step(number):
        with socket.create_connection(setter) as asked:
            asked.sendall(f"{number}\\n".encode())
            assert asked.makefile().read() == "done"
    return step
@isolate(timeout="60s", memory="64M")
@pytest.mark.parametrize("number", range(4))
def test_while_it_is_set(step, number, tmp_path):
    step(number)
    (tmp_path / "file").write_text("x")
@isolate(timeout="2s")
@pytest.mark.parametrize("number", range(2))
def test_hangs(step, number):
    step(number)
    signal.pause()
@isolate(timeout="60s")
def test_after(tmp_path): (tmp_path / "file").write_text("x")
"""
SETTING = """
import subprocess, time
import pytest
from pytest_isolate import isolate
@isolate
def test_program(): subprocess.run(["date", "-s", "2001-01-01"], check=True)
@isolate(fs="host", net="host", user="root")
def test_python(): time.clock_settime(time.CLOCK_REALTIME, 1e9)
"""


@pytest.mark.needs("root", "own_clock")
@pytest.mark.parametrize("jobs", [(), ("--isolate-jobs=2",)])
def test_nothing_counts_by_a_clock_that_is_set(tmp_path, jobs):
    """Neither a timeout nor what is told of a test: an hour back is no long test, a day on no late
    one.
    """
    (tmp_path / "test_it.py").write_text(TESTS)
    reports = ("--isolate-report=report.json", "--junitxml=junit.xml")
    command = [*PYTEST, *reports]
    begun, before = time.monotonic(), time.time()
    subprocess.run([*command, *jobs], cwd=tmp_path, check=False, timeout=300)
    took = time.monotonic() - begun
    assert took < 120
    assert abs(time.time() - before - took) > 60  # it was set
    tests = json.loads((tmp_path / "report.json").read_text())["tests"]
    assert [test["verdict"] for test in tests] == ["ok"] * 4 + ["timeout"] * 2 + ["ok"]
    assert [test["outcome"] for test in tests] == ["passed"] * 4 + ["failed"] * 2 + ["passed"]
    assert all(0 <= test["usage"]["wall_seconds"] < 60 for test in tests)
    assert all(
        0 <= float(case.get("time") or -1) < 60
        for case in ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    )


@pytest.mark.needs("root", "own_clock")
def test_no_test_sets_it(tmp_path):
    """As root, with whatever of the machine's it shares."""
    (tmp_path / "test_it.py").write_text(SETTING)
    begun, before = time.monotonic(), time.time()
    done = subprocess.run([*PYTEST], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert "2 failed" in done.stdout
    assert "Operation not permitted" in done.stdout
    assert abs(time.time() - before - (time.monotonic() - begun)) < 60
