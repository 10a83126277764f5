import conftest
import pytest


def test_l(session_wide, package_wide): assert session_wide["seen"] == []
@pytest.mark.usefixtures("package_wide")
class TestUses:
    def test_m(self): pass
@pytest.fixture(autouse=True, scope="module")
def always_here():
    conftest.say("set up always here")
    yield
    conftest.say("tear down always here")
