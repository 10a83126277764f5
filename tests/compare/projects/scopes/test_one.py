import conftest
import pytest


@pytest.fixture(scope="module", params=["m1", "m2", "m3"])
def module_wide(request, session_wide):
    conftest.say(f"set up {request.param} of {session_wide['param']}")
    yield [request.param]
    conftest.say(f"tear down {request.param} of {session_wide['param']}")
@pytest.fixture(scope="class", params=[1, 2], ids=["c1", "c2"])
def class_wide(request):
    conftest.say(f"set up class {request.param}")
    yield request.param
    conftest.say(f"tear down class {request.param}")
def test_a(module_wide, session_wide): assert session_wide["seen"] == ["a"]
def test_b(session_wide): pass
@pytest.mark.parametrize("number", [1, 2])
def test_c(module_wide, number): assert number == 1
class TestClass:
    def test_d(self, class_wide): assert class_wide == 1
    def test_e(self, class_wide, module_wide): pass
    @classmethod
    def setup_class(cls): conftest.say("setup_class"); cls.shared = []
    @classmethod
    def teardown_class(cls): conftest.say("teardown_class")
    def test_f(self): assert self.shared == []
def setup_module(): conftest.say("setup_module")
def teardown_module(): conftest.say("teardown_module")
@pytest.fixture(scope="module")
def breaks():
    conftest.say("set up breaks")
    raise RuntimeError("wide")
def test_g(breaks): pass
def test_h(breaks): pass
@pytest.fixture(scope="class")
def breaks_late():
    conftest.say("set up breaks late")
    yield
    conftest.say("tear down breaks late")
    raise RuntimeError("late")
class TestLate:
    def test_i(self, breaks_late): pass
    def test_j(self, breaks_late): assert 0
@pytest.mark.parametrize("indirect", ["x", "y"], indirect=True)
@pytest.mark.parametrize("other", [1, 2], scope="module")
def test_k(indirect, other): assert indirect == ["x", []]
@pytest.fixture(scope="module")
def indirect(request):
    conftest.say(f"set up indirect {request.param}")
    yield [request.param, []]
    conftest.say(f"tear down indirect {request.param}")
