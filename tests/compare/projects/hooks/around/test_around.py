import os

import pytest


@pytest.fixture(scope="module")
def wide():
    print("wide in", os.environ["AROUND"], os.environ["AROUND_SETUP"])
    yield
    print("wide ends in", os.environ["AROUND"])
@pytest.fixture
def own():
    print("own")
    yield
    print("own ends")
def test_one(own): pass
def test_two(wide, own): print("two"); assert 0
def test_three(wide): assert os.environ["AROUND"] == "test_three"
@pytest.mark.skip
def test_four(wide): pass
@pytest.fixture
def broken(): raise OSError("broken")
def test_five(wide, broken): pass
