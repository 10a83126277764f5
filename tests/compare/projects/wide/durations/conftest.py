"""Whose time it is that shared fixtures take: that of the phase in which plain sets them up and tears them down."""

import time

import pytest

long, said = 0.8, []


@pytest.fixture(scope="module")
def slow():
    time.sleep(long)
    yield
    time.sleep(long)
def pytest_runtest_logreport(report):
    said.append(f"{report.nodeid} {report.when}: {report.duration >= long}, {report.stop - report.start >= long}")
def pytest_runtest_makereport(item, call):
    said.append(f"call {call.when}: {call.duration >= long}, {call.stop - call.start >= long}")
def pytest_terminal_summary(terminalreporter):
    for line in said:
        terminalreporter.write_line(line)
