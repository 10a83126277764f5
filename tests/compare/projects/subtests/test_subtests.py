import pytest


def test_two_fail(subtests):
    for number in range(4):
        with subtests.test("number", i=number):
            assert number % 2 == 0
def test_one_skips(subtests):
    with subtests.test("skip"):
        pytest.skip("this part")
    with subtests.test("pass"):
        print("said in a part")
def test_part_and_whole(subtests):
    with subtests.test("part"):
        assert 0, "part"
    assert 0, "whole"
@pytest.mark.xfail
def test_xfail(subtests):
    with subtests.test("part"):
        assert 0, "part"
def test_after(): pass
