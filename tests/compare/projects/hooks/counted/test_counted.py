import unittest

import pytest


@pytest.fixture(scope="session", params=["a", "b"])
def wide(request): return request.param
@pytest.fixture(scope="module", autouse=True)
def always(): pass
@pytest.fixture
def own(): yield
def test_empty(): pass
def test_own(own): pass
def test_wide(wide, own): pass
def test_dynamic(request): request.getfixturevalue("own"), request.getfixturevalue("late_wide")
@pytest.fixture(scope="module")
def late_wide(): pass
def test_fails(own): assert 0
def test_error(request): pytest.fail("x")
@pytest.fixture
def broken(): raise OSError("broken")
def test_setup_error(broken): pass
class TestUnit(unittest.TestCase):
    def test_unit(self): pass
