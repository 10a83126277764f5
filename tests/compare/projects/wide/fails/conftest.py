"""Shared fixtures that fail, skip or break while others are there: set up once, and an error in each test that uses them."""

import pathlib

import pytest

EVENTS = pathlib.Path(__file__).with_name("events.log")


def say(text):
    print(text)
    with EVENTS.open("a") as file:
        print(text, file=file)
@pytest.fixture(scope="session")
def good():
    say("set up good")
    yield "good"
    say("tear down good")
@pytest.fixture(scope="session")
def fails(good):
    say("set up fails")
    raise ConnectionError("no database")
@pytest.fixture(scope="session")
def skips(good):
    say("set up skips")
    pytest.skip("no database here")
@pytest.fixture(scope="module")
def expected(good):
    say("set up expected")
    pytest.xfail("known to be broken")
@pytest.fixture(scope="module")
def behind(fails): say("is not set up")
@pytest.fixture(scope="module")
def late(good):
    say("set up late")
    yield
    say("tear down late")
    raise OSError("late")
@pytest.fixture(scope="session", params=["works", "breaks", "skips", "works too"])
def sometimes(request):
    say(f"set up {request.param}")
    if request.param == "breaks":
        raise RuntimeError(request.param)
    if request.param == "skips":
        pytest.skip(request.param)
    yield request.param
    say(f"tear down {request.param}")
@pytest.fixture(scope="session")
def narrow(tmp_path): return tmp_path
@pytest.fixture(scope="session")
def twice():
    say("set up twice")
    yield 1
    say("tear down twice")
    yield 2
@pytest.fixture(scope="module")
def own_copy(good): return [good]
