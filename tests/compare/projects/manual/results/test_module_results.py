import pytest


@pytest.fixture
def other(): assert 0
def test_setup_fails(something, other): pass
def test_call_fails(something): assert 0
def test_fail2(): assert 0
@pytest.fixture
def skips(): pytest.skip("not here")
def test_setup_skips(something, skips): pass
@pytest.mark.skip(reason="by its mark")
def test_skipped(something): pass
@pytest.mark.xfail
def test_expected(something): assert 0
def test_passes(something): pass
