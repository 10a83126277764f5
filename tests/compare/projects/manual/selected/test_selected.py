import pytest

pytestmark = pytest.mark.glob("module", x=1)


def hello_world(*args, **kwargs): return "Hello World"
@pytest.mark.env("stage1")
def test_basic_db_operation(database): pass
@pytest.mark.darwin
def test_if_apple_is_evil(database): pass
@pytest.mark.linux
def test_if_linux_works(): pass
@pytest.mark.win32
def test_if_win32_crashes(): pass
def test_runs_everywhere(): pass
@pytest.mark.my_marker.with_args(hello_world)
def test_with_args(): pass
@pytest.mark.glob("class", x=2)
class TestClass:
    @pytest.mark.glob("function", x=3)
    def test_something(self): pass
@pytest.mark.slow
def test_func_slow(): pass
@pytest.mark.test_id(1501)
def test_function(): pass
def test_answer(cmdopt):
    if cmdopt == "type1":
        print("first")
    elif cmdopt == "type2":
        print("second")
    assert 0  # to see what was printed
