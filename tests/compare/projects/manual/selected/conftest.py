import pathlib
import sys

import pytest

ALL = set("darwin linux win32".split())


def pytest_addoption(parser):
    parser.addoption("-E", action="store", metavar="NAME", help="only run tests matching the environment NAME.")
    parser.addoption("--runslow", action="store_true", default=False, help="run slow tests")
    parser.addoption("--cmdopt", action="store", default="type1", help="my option: type1 or type2")
def pytest_runtest_setup(item):
    envnames = [mark.args[0] for mark in item.iter_markers(name="env")]
    if envnames:
        if item.config.getoption("-E") not in envnames:
            pytest.skip(f"test requires env in {envnames!r}")
    supported_platforms = ALL.intersection(mark.name for mark in item.iter_markers())
    plat = sys.platform
    if supported_platforms and plat not in supported_platforms:
        pytest.skip(f"cannot run on platform {plat}")
    for mark in item.iter_markers(name="glob"):
        print(f"glob args={mark.args} kwargs={mark.kwargs}")
        sys.stdout.flush()
    for marker in item.iter_markers(name="my_marker"):
        print(marker)
        sys.stdout.flush()
def pytest_collection_modifyitems(config, items):
    for item in items:
        for marker in item.iter_markers(name="test_id"):
            item.user_properties.append(("test_id", marker.args[0]))
        if "slow" in item.keywords and not config.getoption("--runslow"):
            item.add_marker(pytest.mark.skip(reason="need --runslow option to run"))
@pytest.fixture
def cmdopt(request): return request.config.getoption("--cmdopt")
@pytest.fixture(scope="session")
def database(request):
    with pathlib.Path(__file__).with_name("events.log").open("a") as file:
        print("set up for", request.config.getoption("-E"), file=file)
    return "database"
