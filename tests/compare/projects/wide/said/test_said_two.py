import unittest

import pytest


@pytest.mark.usefixtures("of_class")
class TestUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls): print("setUpClass")
    @classmethod
    def tearDownClass(cls): print("tearDownClass")
    def setUp(self): print("setUp")
    def test_unit(self): self.fail()
    def test_unit_passes(self): pass
    @pytest.fixture(autouse=True)
    def each(self, once): print("each")
def test_last(own): assert 0
