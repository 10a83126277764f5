"""Shared fixtures that are asked for by getfixturevalue: by a shared fixture, by one of the test's own, in the call, in teardown."""

import logging
import pathlib
import warnings

import pytest

EVENTS = pathlib.Path(__file__).with_name("events.log")


def made(name, scope):
    def fixture(request):
        with EVENTS.open("a") as file:
            print(f"set up {name}", file=file)
        print(f"set up {name}")
        logging.warning("logged %s", name)
        warnings.warn(f"warned {name}")
        yield name
        with EVENTS.open("a") as file:
            print(f"tear down {name}", file=file)
        print(f"tear down {name}")
    return pytest.fixture(scope=scope, name=name)(fixture)
one, two, three = made("one", "session"), made("two", "module"), made("three", "class")
wide_one = made("wide_one", "session")
four, five, six = made("four", "session"), made("five", "module"), made("six", "session")
def pytest_runtest_logfinish(nodeid):
    with EVENTS.open("a") as file:
        print("finish", nodeid.rpartition("::")[2], file=file)
@pytest.fixture(scope="module")
def wide(request): return request.getfixturevalue("one")
@pytest.fixture
def own(request):
    print("own begins")
    return request.getfixturevalue("two")
@pytest.fixture(scope="session")
def broken():
    with EVENTS.open("a") as file:
        print("broken", file=file)
    print("breaks")
    raise ConnectionError("no database")
@pytest.fixture(scope="module")
def missing(): pytest.skip("not here")
@pytest.fixture
def needs(request): request.getfixturevalue("broken")
