import pytest


@pytest.mark.incremental
class TestUserHandling:
    def test_login(self): pass
    def test_modification(self): assert 0
    def test_deletion(self): pass
def test_normal(): pass
@pytest.mark.incremental
@pytest.mark.parametrize("user", ["one", "two"], scope="class")
class TestEach:
    def test_login(self, user): assert user == "two"
    def test_deletion(self, user): pass
@pytest.mark.incremental
class TestSetup:
    @pytest.fixture
    def broken(self): raise OSError("no such service")
    def test_login(self, broken): pass
    def test_deletion(self): pass
@pytest.fixture(scope="class")
def shared_broken(): raise OSError("no such service")
@pytest.mark.incremental
class TestSharedSetup:
    def test_login(self, shared_broken): pass
    def test_deletion(self): pass
@pytest.mark.incremental
class TestTeardown:
    @pytest.fixture
    def late(self):
        yield
        raise OSError("no such service")
    def test_login(self, late): pass
    def test_deletion(self): pass
@pytest.mark.incremental
class TestSkips:
    def test_login(self): pytest.skip("an exception as well")
    def test_deletion(self): pass
