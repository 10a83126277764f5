import functools
import unittest.mock

import pytest


def setup_module(module): module.value = [1]
def teardown_module(module): print("teardown_module", module.value)
def setup_function(function): print("setup_function", function.__name__)
def teardown_function(function): print("teardown_function", function.__name__)
def test_function(): assert value == [2]
def test_generated(generated): assert generated == "g1"
@pytest.mark.wrapped
def test_wrapped(): assert 0
def test_compare(): assert "ours" == "theirs"
class TestClass:
    count = 0
    def setup_class(cls): cls.count = 1
    def teardown_class(cls): print("teardown_class", cls.count)
    def setup_method(self, method): print("setup_method", method.__name__, self.count)
    def teardown_method(self, method): print("teardown_method", method.__name__)
    def test_method(self): self.count += 1; assert self.count == 3
    def test_method_again(self): assert self.count == 1
    class TestNested:
        def setup_method(self, method): print("setup_method of nested")
        def teardown_method(self, method): print("teardown_method of nested")
        @pytest.fixture(autouse=True)
        def around(self): print("around"); yield; print("after")
        def test_nested(self): assert 0
class TestOthers:
    @staticmethod
    def test_static(): assert 0
    @classmethod
    def test_class_method(cls): assert cls is TestOthers
class TestParent:
    def test_inherited(self): assert isinstance(self, TestChild)
class TestChild(TestParent): pass
@unittest.mock.patch("os.getcwd", return_value="mocked")
def test_mock(getcwd):
    import os
    assert os.getcwd() == "mocked"
def decorated(function):
    @functools.wraps(function)
    def inner(*args, **kwargs): return function(*args, **kwargs)
    return inner
@decorated
def test_decorated(tmp_path): assert not tmp_path
test_lambda = lambda: None
def test_partial_parametrize(a=3): assert a == 3
@pytest.mark.parametrize("x", [1, 2])
@pytest.mark.parametrize("y", ["a", "b"])
def test_product(x, y): assert (x, y) != (2, "b")
def test_async_without_plugin(): pass
async def test_coroutine(): pass
class TestInit:
    def __init__(self): pass
    def test_not_collected(self): pass
