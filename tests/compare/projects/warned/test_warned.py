import os
import warnings

import helper
import pytest

warnings.warn("at import")


@pytest.fixture(scope="session")
def wide():
    helper.warn("wide set-up")
    yield
    helper.warn("wide teardown")
@pytest.fixture
def narrow(wide):
    helper.warn("narrow set-up")
    yield
    helper.warn("narrow teardown")
def test_warns(narrow): helper.warn("in the test")
def test_same_again(): helper.warn("in the test")
@pytest.mark.parametrize("number", range(12))
def test_many(number): helper.warn("many")
def test_deprecated(): warnings.warn("old", DeprecationWarning)
def test_own(): warnings.warn(helper.OurWarning("own"))
def test_own_two(): warnings.warn("two\nlines", helper.OurWarning)
def test_resource():
    open(os.devnull)
def test_bytes(): warnings.warn("surrogate-free é€")
def test_future(): warnings.warn_explicit("elsewhere", FutureWarning, "/some/where.py", 7)
@pytest.mark.filterwarnings("ignore:hidden")
def test_hidden(): helper.warn("hidden")
@pytest.mark.filterwarnings("error:raised")
def test_raised(): helper.warn("raised")
def test_pytest_warns():
    with pytest.warns(UserWarning, match="caught"):
        helper.warn("caught")
def test_deprecated_call():
    with pytest.deprecated_call():
        warnings.warn("x", DeprecationWarning)
def test_returns(): return 1
class Broken:
    def __del__(self): raise ValueError("in del")
def test_unraisable(): Broken()
def test_thread():
    import threading

    def fail(): raise ValueError("in a thread")
    thread = threading.Thread(target=fail, name="named")
    thread.start()
    thread.join()
