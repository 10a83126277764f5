import dataclasses
import logging
import os
import subprocess
import sys

import pytest

LOG = logging.getLogger("said")


@dataclasses.dataclass
class Point:
    x: int
    y: list


def deep(value):
    local = [value] * 3
    return helper(local)
def helper(values):
    return values[7]
def test_list(): assert list(range(60)) == [*range(30), -1, *range(31, 60)]
def test_text(): assert "one\ntwo\nthree" == "one\n2\nthree"
def test_dict(): assert {"a": 1, "b": [1, 2]} == {"a": 1, "b": [1, 3], "c": None}
def test_set(): assert {1, 2} == {2, 3}
def test_in(): assert "x" not in "a long text with an x in it"
def test_dataclass(): assert Point(1, [2]) == Point(1, [3])
def test_call(): assert len([1, 2]) == max(1, 3), f"said {1 + 1}"
def test_approx(): assert 0.1 + 0.2 == pytest.approx(0.4)
def test_and(): assert [] or (1 == 2 and 3)
def test_deep(): deep("local value")
def test_cause():
    try:
        deep(1)
    except IndexError:
        raise RuntimeError("on the way\nin two lines")
def test_raises():
    with pytest.raises(KeyError):
        pass
def test_unicode(): assert "ä€😀" == "ä€\x00"
@pytest.fixture(scope="module")
def wide():
    print("wide set-up out")
    LOG.warning("wide set-up log")
    yield
    print("wide teardown out")
@pytest.fixture
def talks(wide, request):
    request.addfinalizer(lambda: print("finalizer out"))
    print("set-up out")
    print("set-up err", file=sys.stderr)
    LOG.warning("set-up log")
    yield
    print("teardown out")
    print("teardown err", file=sys.stderr)
    LOG.error("teardown log")
def test_sections(talks):
    print("call out 1")
    LOG.info("call info")
    LOG.warning("call log %s", "é")
    print("call err", file=sys.stderr)
    os.write(1, b"by the descriptor\n")
    sys.stdout.flush()
    subprocess.run(["sh", "-c", "echo by a child; echo by a child err >&2"], check=True)
    print("call out 2", end="")
    assert 0
def test_passes_talking(talks): print("passed out"); LOG.warning("passed log")
def test_exception_log():
    try:
        deep(2)
    except IndexError:
        LOG.exception("logged")
    raise ValueError
def test_group(): raise_group()
def raise_group():
    if sys.version_info < (3, 11):
        raise ValueError
    raise BaseExceptionGroup("g", [ValueError("in"), TypeError("group")])
def test_note():
    error = ValueError("noted")
    if sys.version_info >= (3, 11):
        error.add_note("a note")
    raise error
def test_long_line(): assert "x" * 300 == "x" * 299 + "y"
