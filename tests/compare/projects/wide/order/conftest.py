"""How often and when what is shared is set up, where tests ask for it in an order of their own."""

import pathlib

import pytest

EVENTS = pathlib.Path(__file__).with_name("events.log")


def say(text):
    with EVENTS.open("a") as file:
        print(text, file=file)
def pytest_runtest_logstart(nodeid): say(f"start {nodeid.rpartition('/')[2]}")
def pytest_runtest_logfinish(nodeid): say(f"finish {nodeid.rpartition('/')[2]}")
def made(name, scope, **arguments):
    def fixture(request):
        param = getattr(request, "param", "")
        shared = scope != "class" or request.cls is not None  # a function's own is in its sandbox
        if shared: say(f"set up {name} {param}")
        yield f"{name} {param}".strip()
        if shared: say(f"tear down {name} {param}")
    return pytest.fixture(scope=scope, name=name, **arguments)(fixture)
one = made("one", "session", params=[1, 2])
two = made("two", "module", params=["a", "b"])
three = made("three", "class")
four = made("four", "package")
def by_name(fixture_name, config): return "session" if config.getoption("verbose") > 2 else "module"
five = made("five", by_name)
@pytest.fixture(scope="session")
def factory(request):
    made = []
    def make(name):
        say(f"make {name}")
        request.addfinalizer(lambda: say(f"unmake {name}"))
        made.append(name)
        return len(made)
    make("itself")
    return make
@pytest.fixture(scope="session")
def overridden(): say("set up overridden"); return ["top"]
