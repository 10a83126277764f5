"""Hooks of set-up, call and teardown that raise: which fixtures are set up, which are torn down."""

import pathlib

import pytest

EVENTS = pathlib.Path(__file__).with_name("events.log")


def say(text):
    with EVENTS.open("a") as file:
        print(text, file=file)
def act(item, when):
    for mark in item.iter_markers("hook"):
        if mark.args[0] == when:
            mark.args[1](f"by the hook {when}")
def pytest_runtest_setup(item): act(item, "setup")
@pytest.hookimpl(trylast=True, specname="pytest_runtest_setup")
def pytest_runtest_setup_late(item): act(item, "late setup")
def pytest_runtest_call(item): act(item, "call")
@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item): act(item, "late teardown")
@pytest.fixture(scope="session")
def wide(request):
    say(f"set up wide {request.session.items[0].name}")
    yield
    say("tear down wide")
@pytest.fixture(scope="class")
def of_class(request):
    say(f"set up {request.cls.__name__}")
    yield
    say(f"tear down {request.cls.__name__}")
@pytest.fixture
def own():
    print("set up own")
    yield
    print("tear down own")
