import sys

import errors
import pytest

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


def test_assertion(): assert [1] == [2], "lists"
def test_lookup(): return {}["missing"]
def test_system(): raise ConnectionRefusedError(111, "Connection refused")
def test_file(): open("/no/such/file")
def test_fail(): pytest.fail("in words")
def test_chained():
    try:
        raise OSError("first")
    except OSError as error:
        raise ValueError("second") from error
class Local(Exception): pass
def test_local(): raise Local("of the module")
def test_no_words(): raise ValueError
def test_unicode(): raise ValueError("é €\n second line")
def test_group(): raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])
@pytest.fixture
def broken(): raise PermissionError(13, "Permission denied", "/some/file")
def test_error(broken): pass
@pytest.fixture
def late():
    yield
    raise TimeoutError("late")
def test_late(late): assert 0
def test_exit_code(): sys.exit(3)
