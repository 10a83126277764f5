import os

import pytest


@pytest.fixture
def own():
    print("own", os.environ["PYTEST_CURRENT_TEST"])
    yield
    print("own ends", os.environ["PYTEST_CURRENT_TEST"])
def test_one(wide, own): print("call", os.environ["PYTEST_CURRENT_TEST"])
@pytest.mark.parametrize("number", [1, 2])
def test_two(number): assert os.environ["PYTEST_CURRENT_TEST"] == "x"
def test_three(wide): pass
