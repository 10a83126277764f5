import unittest

import pytest


@pytest.mark.usefixtures("db_class")
class MyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.early = hasattr(cls, "db"); print("setUpClass", cls.early)
    @classmethod
    def tearDownClass(cls): print("tearDownClass", hasattr(cls, "db"))
    def test_method1(self):
        assert hasattr(self, "db")
        assert 0, self.db  # fail for demo purposes
    def test_method2(self): assert 0, self.db  # fail for demo purposes
    @pytest.fixture(autouse=True)
    def initdir(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # change to pytest-provided temporary directory
        tmp_path.joinpath("samplefile.ini").write_text("# testdata", encoding="utf-8")
    def test_method(self):
        with open("samplefile.ini", encoding="utf-8") as f:
            s = f.read()
        assert "testdata" in s
def setUpModule(): print("setUpModule")
def tearDownModule(): print("tearDownModule")
class Breaks(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError("no such service")
    def test_one(self): pass
    def test_two(self): pass
class Skips(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise unittest.SkipTest("no such service")
    def test_one(self): pass
    def test_two(self): pass
