import pytest


@pytest.fixture(scope="module", autouse=True)
def wide():
    yield
    print("torn down")
def test_one(): assert 0
@pytest.mark.critical
def test_two(tmp_path): assert 0
def test_three(): pass
