import unittest


class TestHello:
    @classmethod
    def callme(cls): print("callme called!"); cls.called = True
    def test_method1(self): print("test_method1 called"); assert self.called
    def test_method2(self): print("test_method2 called"); assert self.called
class TestOther:
    @classmethod
    def callme(cls): print("callme other called")
    def test_other(self): print("test other"); assert 0
class SomeTest(unittest.TestCase):
    @classmethod
    def callme(self): print("SomeTest callme called")
    def test_unit1(self): print("test_unit1 method called")
