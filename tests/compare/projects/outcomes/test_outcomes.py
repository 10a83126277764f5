import sys
import unittest

import pytest

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


def test_pass(): pass
def test_fail(): assert [1, 2] == [1, 3], "numbers"
def test_raise(): raise KeyError("x")
def test_skip(): pytest.skip("not today")
@pytest.mark.skip(reason="never")
def test_skip_mark(): raise RuntimeError
@pytest.mark.skipif(sys.platform == "linux", reason="condition")
def test_skipif(): raise RuntimeError
def test_importorskip(): pytest.importorskip("no_such_module")
@pytest.mark.xfail(reason="known")
def test_xfail(): assert 0
@pytest.mark.xfail(strict=True, reason="fixed")
def test_xpass_strict(): pass
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(raises=ValueError)
def test_xfail_raises(): raise ValueError("this one")
@pytest.mark.xfail(raises=ValueError)
def test_xfail_raises_other(): raise KeyError
@pytest.mark.xfail(run=False, reason="kills")
def test_xfail_norun(): raise SystemExit(3)
@pytest.mark.xfail("sys.platform == 'linux'", reason="text")
def test_xfail_condition(): assert 0
def test_imperative_xfail(): pytest.xfail("known")
def test_fail_call(): pytest.fail("in words", pytrace=False)
def test_sys_exit(): sys.exit(3)
def test_group(): raise ExceptionGroup("several", [ValueError(1), KeyError(2)])
def test_chain():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("because") from error
def test_recursion(): test_recursion()
def test_raises_wrong():
    with pytest.raises(ValueError, match="that"):
        raise ValueError("this")
@pytest.fixture
def broken(): raise RuntimeError("setup")
def test_setup_error(broken): pass
@pytest.mark.xfail
def test_setup_error_xfail(broken): pass
@pytest.fixture
def skips(): pytest.skip("by fixture")
def test_setup_skip(skips): pass
@pytest.fixture(scope="session")
def wide_skip(): pytest.skip("by session fixture")
def test_wide_skip_1(wide_skip): pass
def test_wide_skip_2(wide_skip): pass
@pytest.fixture(scope="module")
def wide_broken(): assert 0, "wide"
def test_wide_broken_1(wide_broken): pass
def test_wide_broken_2(wide_broken): pass
@pytest.fixture
def late():
    yield
    raise RuntimeError("teardown")
def test_teardown_error(late): pass
def test_fail_and_teardown_error(late): assert 0
@pytest.mark.xfail
def test_xfail_and_teardown_error(late): assert 0
@pytest.fixture
def twice(late):
    yield
    raise RuntimeError("teardown too")
def test_two_teardown_errors(twice): pass
def test_no_such_fixture(no_such_fixture): pass
def test_returns(): return 3
@pytest.mark.parametrize("value", [1, pytest.param(2, marks=pytest.mark.xfail), pytest.param(3, id="three"), "é\n"])
def test_parametrized(value): assert value == 1
@pytest.mark.parametrize("value", [])
def test_empty_parameters(value): pass
class TestClass:
    def setup_method(self): self.x = 1
    def teardown_method(self): assert self.x == 1
    def test_one(self): assert self.x == 1
    def test_two(self): self.x = 2
class TestUnit(unittest.TestCase):
    def test_pass(self): self.assertEqual(1, 1)
    def test_fail(self): self.assertEqual(1, 2)
    def test_skip(self): self.skipTest("unit")
    @unittest.skip("decorated")
    def test_skip_decorated(self): pass
    @unittest.expectedFailure
    def test_expected(self): assert 0
    @unittest.expectedFailure
    def test_unexpected(self): pass
