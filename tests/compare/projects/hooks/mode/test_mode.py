import pytest


@pytest.fixture
def own(request): return request.config.current
def test_before(own): assert own == "test_before"
@pytest.mark.mode("fast")
def test_wide(wide): assert wide == ("fast", "test_wide")
@pytest.mark.mode("slow")
def test_again(wide, own): print(wide, own); assert 0
def test_asked_by_the_hook(): pass
def test_dynamic(request): print(request.getfixturevalue("wide"))
