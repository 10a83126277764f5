import os
import pathlib

import pytest

EVENTS = pathlib.Path(__file__).with_name("events.log")
PARENT = os.getpid()


def say(text):
    assert os.getpid() == PARENT, "set up in a copy"
    with EVENTS.open("a") as file:
        print(text, file=file)
def pytest_runtest_logreport(report): say(f"report {report.nodeid} {report.when} {report.outcome}")
def pytest_runtest_logstart(nodeid): say(f"start {nodeid}")
def pytest_runtest_logfinish(nodeid): say(f"finish {nodeid}")
def pytest_sessionfinish(exitstatus): say(f"session over {int(exitstatus)}")
@pytest.fixture(scope="session", params=["s1", "s2"])
def session_wide(request):
    say(f"set up {request.param}")
    yield {"param": request.param, "seen": []}
    say(f"tear down {request.param}")
@pytest.fixture(scope="package")
def package_wide():
    say("set up package")
    yield
    say("tear down package")
@pytest.fixture(scope="session", autouse=True)
def always():
    say("set up always")
    yield
    say("tear down always")
