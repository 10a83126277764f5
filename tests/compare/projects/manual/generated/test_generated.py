import pytest


def test_compute(param1): assert param1 < 4
def test_valid_string(stringinput): assert stringinput.isalpha()
def test_db_initialized(db):
    if db.__class__.__name__ == "DB2":
        pytest.fail("deliberately failing for demo purposes")
def test_wide(wide_db): assert wide_db.__doc__
def test_wide_again(wide_db): assert wide_db.__class__.__name__ == "DB1"
class TestClass:
    params = {"test_equals": [dict(a=1, b=2), dict(a=3, b=3)], "test_zerodivision": [dict(a=1, b=0)]}
    def test_equals(self, a, b): assert a == b
    def test_zerodivision(self, a, b): pytest.raises(ZeroDivisionError, lambda: a / b)
class TestSampleWithScenarios:
    scenarios = [("basic", {"attribute": "value"}), ("advanced", {"attribute": "value2"})]
    def test_demo1(self, attribute): assert isinstance(attribute, str)
    def test_demo2(self, attribute): assert attribute == "value"
def test_interface_simple(): assert 0
def test_event_simple(wide_db): assert 0
