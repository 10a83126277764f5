import pytest


def test_before(): pass
def test_wide(wide): assert wide == "one"
def test_own(own): assert own == "two"
class TestClass:
    @pytest.mark.parametrize("name", ["one", "three", "four"])
    def test_call(self, request, name):
        print("call begins")
        assert request.getfixturevalue(name) == name
    def test_again(self, four): assert four == "four"
@pytest.mark.parametrize("name", ["five", "four"])
def test_later(request, name): assert request.getfixturevalue(name) == "five"
@pytest.fixture
def late(request):
    yield
    print("late", request.getfixturevalue("one"))
def test_teardown(late): pass
def test_conditional(request):
    if request.config.getoption("verbose"):
        request.getfixturevalue("six")
    assert request.getfixturevalue("one") == "one"
def test_logs(caplog, request):
    print("before")
    request.getfixturevalue("wide_one")
    assert "logged wide_one" in caplog.text
@pytest.mark.parametrize("number", [1, 2])
def test_broken(request, number):
    print("in the call")
    with pytest.raises(ConnectionError, match="no database"): request.getfixturevalue("broken")
@pytest.mark.parametrize("number", [1, 2])
def test_missing(request, number): request.getfixturevalue("missing")
def test_needs(needs): pass
