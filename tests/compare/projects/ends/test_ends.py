import pytest


def test_before(): pass
def test_exit_code(): pytest.exit("enough", 7)
def test_exit_no_code(): pytest.exit("enough")
@pytest.fixture
def exits():
    pytest.exit("in set-up", 8)
def test_exit_fixture(exits): pass
@pytest.fixture(scope="module")
def wide_exits():
    pytest.exit("in wide set-up", 9)
def test_exit_wide(wide_exits): pass
@pytest.fixture
def late_exits():
    yield
    pytest.exit("in teardown", 10)
def test_exit_late(late_exits): pass
def test_interrupt(): raise KeyboardInterrupt
@pytest.fixture
def interrupts(): raise KeyboardInterrupt("set-up")
def test_interrupt_fixture(interrupts): pass
@pytest.fixture
def late_interrupts():
    yield
    raise KeyboardInterrupt("teardown")
def test_interrupt_late(late_interrupts): pass
def test_should_stop(request): request.session.shouldstop = "the test said so"
def test_should_fail(request): request.session.shouldfail = "the test said so"
def test_after(): pass
