import pytest


def test_a_good(): pass
def test_b_bad(): assert 0
@pytest.fixture(scope="module", autouse=True)
def wide():
    yield
    print("wide teardown")
@pytest.fixture
def broken(): raise RuntimeError
def test_c_error(broken): pass
def test_d_good(): pass
@pytest.fixture
def late():
    yield
    raise RuntimeError
def test_e_late(late): pass
def test_f_bad(): assert 0
def test_g_good(): pass
