import pytest


def test_none(): pass
def test_one(one): pass
def test_two(two): pass
def test_both(one, two): print(one, two)
class TestClass:
    def test_three(self, three): pass
    def test_three_and_one(self, three, one): pass
    def test_without(self): pass
def test_five(five, one): pass
@pytest.mark.parametrize("one", [3], indirect=True)
def test_indirect(one): assert one == "one 3"
@pytest.mark.parametrize(("one", "two"), [(3, "c"), pytest.param(1, "a", marks=pytest.mark.xfail, id="known")], indirect=True)
def test_indirect_both(one, two): assert one == "one 3"
def test_factory(factory): assert factory is not None
@pytest.fixture(scope="module")
def overridden(overridden): return [*overridden, "module"]
def test_overridden(overridden): assert overridden == ["top", "module"]
def test_in_teardown(asks_in_teardown): pass
@pytest.fixture
def asks_in_teardown(request, one):
    yield
    print(request.getfixturevalue("one"))
