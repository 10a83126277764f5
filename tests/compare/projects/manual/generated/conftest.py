import pytest


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run all combinations")
    parser.addoption("--stringinput", action="append", default=[], help="list of stringinputs to pass to test functions")
def pytest_report_header(config):
    if config.get_verbosity() > 0:
        return ["info1: did you know that ...", "did you?"]
def pytest_generate_tests(metafunc):
    if "param1" in metafunc.fixturenames:
        metafunc.parametrize("param1", range(5 if metafunc.config.getoption("all") else 2))
    if "stringinput" in metafunc.fixturenames:
        metafunc.parametrize("stringinput", metafunc.config.getoption("stringinput"))
    if "db" in metafunc.fixturenames:
        metafunc.parametrize("db", ["d1", "d2"], indirect=True)
    if "wide_db" in metafunc.fixturenames:
        metafunc.parametrize("wide_db", ["d1", "d2"], indirect=True, scope="module")
    functions = getattr(metafunc.cls, "params", {}).get(metafunc.function.__name__, [])
    if functions:
        names = sorted(functions[0])
        metafunc.parametrize(names, [[each[name] for name in names] for each in functions])
    scenarios = getattr(metafunc.cls, "scenarios", [])
    if scenarios:
        metafunc.parametrize([name for name, _ in scenarios[0][1].items()], [list(values.values()) for _, values in scenarios],
                             ids=[name for name, _ in scenarios], scope="class")
def pytest_collection_modifyitems(items):
    for item in items:
        if "interface" in item.nodeid:
            item.add_marker(pytest.mark.xfail(reason="no interface here"))
        elif "event" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason="no event here"))
class DB1: "one database object"
class DB2: "alternative database object"
def made(request):
    print("connect to", request.param)
    if request.param == "d1":
        return DB1()
    if request.param == "d2":
        return DB2()
    raise ValueError("invalid internal test config")
db = pytest.fixture(made, name="db")
@pytest.fixture(scope="module")
def wide_db(request):
    yield made(request)
    print("disconnect from", request.param)
