import pytest


def pytest_generate_tests(metafunc):
    if "generated" in metafunc.fixturenames:
        metafunc.parametrize("generated", ["g1", "g2"])
def pytest_collection_modifyitems(items): items.reverse()
@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    if "wrapped" in pyfuncitem.keywords:
        print("wrapped before")
    result = yield
    if "wrapped" in pyfuncitem.keywords:
        print("wrapped after")
    return result
def pytest_assertrepr_compare(op, left, right):
    if isinstance(left, str) and left.startswith("ours"):
        return ["comparison of ours", f"   {left} {op} {right}"]
    return None
