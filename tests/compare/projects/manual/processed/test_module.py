import pytest


def test_fail1(tmp_path): assert 0
def test_fail2(): assert 0
def test_passes(tmp_path): pass
@pytest.fixture
def broken(): assert 0
def test_error(broken): pass
@pytest.mark.parametrize("number", [1, 2])
def test_each(number, tmp_path): assert number == 1
