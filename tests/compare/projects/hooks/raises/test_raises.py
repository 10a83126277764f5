import pytest

pytestmark = pytest.mark.usefixtures("wide", "own")


def key_error(text): raise KeyError(text)
@pytest.mark.hook("setup", key_error)
class TestFirst:
    def test_error(self, of_class): pass
    def test_error_again(self, of_class): pass
@pytest.mark.hook("setup", pytest.skip)
def test_skip(): pass
@pytest.mark.hook("setup", pytest.xfail)
def test_xfail(): pass
@pytest.mark.hook("setup", pytest.fail)
def test_fail(): pass
@pytest.mark.xfail(raises=KeyError)
@pytest.mark.hook("setup", key_error)
def test_expected(): pass
@pytest.mark.hook("late setup", key_error)
class TestLate:
    def test_late(self, of_class): pass
@pytest.mark.hook("late setup", pytest.skip)
def test_late_skip(): pass
@pytest.mark.hook("call", key_error)
def test_call(): raise RuntimeError("is not called")
@pytest.mark.hook("call", pytest.skip)
def test_call_skip(): raise RuntimeError("is not called")
@pytest.mark.hook("late teardown", key_error)
class TestLateTeardown:
    def test_teardown(self, of_class): pass
def test_after(): pass
