import logging

import pytest


def test_first(caplog):
    assert [each.getMessage() for each in caplog.get_records("setup")] == ["logged set up always"]
    assert caplog.messages == []
def test_own(own, caplog): print(caplog.get_records("setup")[-1].getMessage(), len(caplog.get_records("setup"))); assert 0
class TestClass:
    def test_one(self, own, request): print(sorted(request.fixturenames))
    def test_two(self, of_class, capsys):
        print("only this")
        assert capsys.readouterr() == ("only this\n", "")
    @classmethod
    def setup_class(cls): print("setup_class"); logging.getLogger("x").info("in setup_class")
    @classmethod
    def teardown_class(cls): print("teardown_class"); logging.getLogger("x").info("in teardown_class")
    def setup_method(self): print("setup_method")
    def teardown_method(self): print("teardown_method")
def setup_module(): print("setup_module")
def teardown_module(): print("teardown_module")
def setup_function(): print("setup_function")
@pytest.mark.usefixtures("of_package")
def test_marked(): pass
