"""The machine's clock is set while tests run, as one is that is synchronized late: nothing of ours
counts by it.
"""

from __future__ import annotations

import json
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest
from running import PYTEST

TESTS = """
import signal, time
import pytest
from pytest_isolate import isolate
STEPS = [-3600, 86400, -90000, 7200]
def step(number): time.clock_settime(time.CLOCK_REALTIME, time.time() + STEPS[number])
@isolate(timeout="60s", memory="64M")
@pytest.mark.parametrize("number", range(4))
def test_sets(number, tmp_path):
    step(number)
    (tmp_path / "file").write_text("x")
@isolate(timeout="2s")
@pytest.mark.parametrize("number", range(2))
def test_hangs(number):
    step(number)
    signal.pause()
@isolate(timeout="60s")
def test_after(tmp_path): (tmp_path / "file").write_text("x")
"""


@pytest.mark.needs("root", "own_clock")
@pytest.mark.parametrize("jobs", [(), ("--isolate-jobs=2",)])
def test_nothing_counts_by_a_clock_that_can_be_set(tmp_path, jobs):
    """Neither a timeout nor what is told of a test: an hour back is no long test, a day on no late
    one.
    """
    (tmp_path / "test_it.py").write_text(TESTS)
    reports = ("--isolate-report=report.json", "--junitxml=junit.xml")
    command = [*PYTEST, *reports]
    begun = time.monotonic()
    subprocess.run([*command, *jobs], cwd=tmp_path, check=False, timeout=300)
    assert time.monotonic() - begun < 120
    tests = json.loads((tmp_path / "report.json").read_text())["tests"]
    assert [test["verdict"] for test in tests] == ["ok"] * 4 + ["timeout"] * 2 + ["ok"]
    assert all(0 <= test["usage"]["wall_seconds"] < 60 for test in tests)
    assert all(
        0 <= float(case.get("time") or -1) < 60
        for case in ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    )
