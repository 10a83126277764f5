"""Shared fixtures that print, log and warn while they are set up and torn down, and write down when that was."""

import logging
import os
import pathlib
import sys
import warnings

import pytest

EVENTS = pathlib.Path(__file__).with_name("events.log")
LOG = logging.getLogger("wide")


def say(text, told=True):
    print(text)
    print(f"to stderr: {text}", file=sys.stderr)
    os.write(1, f"by its descriptor: {text}\n".encode())
    LOG.warning("logged %s", text)
    warnings.warn(f"warned {text}")
    if told and not text.endswith("own"):
        with EVENTS.open("a") as file:
            print(text, file=file)
def pytest_runtest_logreport(report):
    with EVENTS.open("a") as file:
        print("report", report.nodeid, report.when, report.outcome, file=file)
@pytest.fixture(scope="session", autouse=True)
def always():
    say("set up always")
    yield
    say("tear down always")
@pytest.fixture(scope="session", params=["x", "y"])
def of_session(request):
    say(f"set up session {request.param}")
    request.addfinalizer(lambda: say(f"finalize session {request.param}"))
    return request.param
@pytest.fixture(scope="package")
def of_package(request):
    say("set up package")
    request.addfinalizer(lambda: say("finalize package first"))
    request.addfinalizer(lambda: say("finalize package last"))
@pytest.fixture(scope="module")
def of_module(of_session):
    say(f"set up module with {of_session}")
    yield
    say(f"tear down module with {of_session}")
@pytest.fixture(scope="class")
def of_class(request, of_package):
    say("set up class", told=request.cls is not None)  # a function's own is in its sandbox, with what it writes
    yield
    say("tear down class", told=request.cls is not None)
@pytest.fixture
def own(of_module, of_class):
    say("set up own")
    yield
    say("tear down own")
@pytest.fixture(scope="session")
def once():
    say("set up once")
    yield
    say("tear down once")
