import logging
import unittest
import warnings

import pytest


def test_passes(): print("said")
def test_fails(): print("said"); logging.getLogger("told").warning("logged"); assert 1 == 2
@pytest.fixture
def broken(): raise KeyError("missing")
def test_error(broken): pass
@pytest.fixture
def late():
    yield
    raise OSError("in teardown")
def test_late(late): pass
def test_fails_and_late(late): raise ValueError("in the call")
def test_skips(): pytest.skip("why")
@pytest.mark.skip(reason="by its mark")
def test_skipped(): pass
@pytest.mark.xfail(reason="known")
def test_expected(): assert 0
@pytest.mark.xfail
def test_unexpected(): pass
@pytest.mark.xfail(strict=True, reason="fixed")
def test_strict(): pass
@pytest.mark.parametrize("number", [1, 2])
def test_odd(number, middle): assert number == 1
def test_warns(): warnings.warn("take care")
def test_pytest_fail(): pytest.fail("in words", pytrace=False)
class TestUnit(unittest.TestCase):
    def test_unit(self): self.assertEqual(1, 2)
    @unittest.skip("unit")
    def test_unit_skipped(self): pass
