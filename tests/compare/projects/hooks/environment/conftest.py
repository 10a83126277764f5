"""PYTEST_CURRENT_TEST wherever code of the project runs, and nowhere behind it."""

import os
import pathlib

import pytest

EVENTS = pathlib.Path(__file__).with_name("events.log")


def current(): return os.environ.get("PYTEST_CURRENT_TEST")
def write(*what):
    with EVENTS.open("a") as file:
        print(*what, current(), file=file)
def pytest_runtest_setup(item): print("setup hook", current())
def pytest_runtest_call(item): print("call hook", current())
def pytest_runtest_teardown(item): print("teardown hook", current())
def pytest_runtest_makereport(item, call): write("made", call.when)
def pytest_runtest_logreport(report): write("logged", report.when)
def pytest_runtest_logstart(nodeid): write("start", nodeid)
def pytest_runtest_logfinish(nodeid): write("finish", nodeid)
def pytest_sessionfinish(): write("session over")
@pytest.fixture(scope="session")
def wide():
    print("wide", current(), os.environ.get("PYTEST_VERSION") == pytest.__version__)
    yield
    print("wide ends", current())
@pytest.fixture(scope="module", autouse=True)
def middle():
    print("middle", current())
    yield
    print("middle ends", current())
@pytest.fixture
def own_too(wide): print("own too", current())
