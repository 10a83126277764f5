import unittest


class TestUnit(unittest.TestCase):
    def test_parts(self):
        for number in range(3):
            with self.subTest("numbers", number=number):
                self.assertEqual(number % 2, 0)
    def test_skips(self):
        for number in range(3):
            with self.subTest(number=number):
                self.skipTest("part")
    def test_all_good(self):
        with self.subTest():
            pass
