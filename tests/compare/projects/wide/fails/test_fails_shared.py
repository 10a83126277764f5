import pytest


def test_fails(fails): pass
def test_fails_again(good, fails): pass
def test_behind(behind): pass
def test_behind_dynamic(request):
    with pytest.raises(ConnectionError, match="no database"):
        request.getfixturevalue("fails")
    request.getfixturevalue("behind")
def test_skips(skips): pass
def test_skips_again(skips): pass
@pytest.mark.xfail(raises=ConnectionError)
def test_xfail(fails): pass
@pytest.mark.xfail(raises=ValueError)
def test_xfail_other(fails): pass
def test_expected(expected): pass
def test_expected_again(expected): pass
def test_sometimes(sometimes): assert sometimes == "works"
def test_narrow(narrow): pass
def test_no_such(good, no_such): pass
def test_dynamic_skip(request): request.getfixturevalue("skips")
def test_twice(twice): pass
@pytest.mark.parametrize("good", ["direct"])
def test_direct(good, own_copy): print(good, own_copy)
def test_copy(own_copy): assert own_copy == ["good"]; own_copy.append(1)
