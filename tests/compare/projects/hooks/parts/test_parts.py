import unittest

import pytest


def test_parts(subtests):
    for number in range(3):
        with subtests.test("part", number=number):
            if number == 1:
                raise ValueError(number)
            if number == 2:
                pytest.skip("two")
def test_last(subtests):
    with subtests.test("passes"):
        pass
    assert 0
class TestUnit(unittest.TestCase):
    def test_unit(self):
        for number in range(2):
            with self.subTest(number=number):
                self.assertEqual(number, 2)
