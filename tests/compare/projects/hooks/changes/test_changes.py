import pytest


def test_passes():
    """Described."""
def test_fails(): assert 0
def test_shown(browser): assert browser.title == ""
def test_no_service(): raise ConnectionRefusedError("refused")
def test_too_good(): pass
def test_shortened(): raise ValueError("long")
@pytest.fixture
def broken(): raise OSError("broken")
def test_error(browser, broken): pass
@pytest.fixture
def late():
    yield
    raise OSError("late")
def test_late(late): pass
