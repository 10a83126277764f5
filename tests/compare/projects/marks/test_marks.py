import time

import pytest


@pytest.fixture(scope="session")
def wide():
    yield 1
@pytest.fixture(scope="module", params=["a", "b"])
def middle(request, wide):
    yield request.param
@pytest.fixture
def narrow(middle):
    yield
@pytest.mark.slow
def test_slow(narrow):
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
@pytest.mark.other
def test_other(narrow, tmp_path): assert 0
class TestClass:
    @pytest.mark.slow
    def test_in_class(self): pass
    def test_plain(self, wide): pass
