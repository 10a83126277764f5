import doctest

import pytest
from test_foocompare import Foo


def pytest_assertrepr_compare(op, left, right):
    if isinstance(left, Foo) and isinstance(right, Foo) and op == "==":
        return ["Comparing Foo instances:", f"   vals: {left.val} != {right.val}"]
def pytest_assertion_pass(item, lineno, orig, expl): print(f"{item.name} passes line {lineno}: {orig}: {expl}")
@pytest.fixture(autouse=True)
def add_foo(doctest_namespace): doctest_namespace["Foo"] = Foo
@pytest.fixture(scope="module")
def wide():
    first, second = Foo(1), Foo(1)
    assert first == second
    return first
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if call.excinfo is not None and call.excinfo.errisinstance(doctest.DocTestFailure):
        print("a doctest failed")
    return (yield)
