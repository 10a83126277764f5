"""The line of tests that run: who, how long, in a terminal's width."""

import pytest

from pytest_isolate._test.status import line

LONG = "tests/integration/test_servers.py::TestEverything::test_of_a_long_name[and-parameters]"


def text(pieces):
    return "".join(each for each, _ in pieces)


def test_the_longest_running_test_comes_first_and_is_called_slow_from_ten_seconds_on():
    """The word alone is marked."""
    pieces = line([("t.py::a", 108.5), ("t.py::b", 88.0)], 100.0 + 10, 80)
    assert text(pieces) == "2 tests running: SLOW t.py::b 22 s, t.py::a 1.5 s"
    assert [each for each, is_slow in pieces if is_slow] == ["SLOW "]


@pytest.mark.parametrize("width", [0, 5, 20, 40, 79, 300])
@pytest.mark.parametrize("name", [LONG, "試験" * 60, "a\x1b[2Jb" * 30, "t"])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_it_is_one_line_that_a_terminal_does_not_break_or_obey(width, name, count):
    """Whatever tests are called, and however many there are."""
    said = text(line([(name, 0.0)] * count, 5.0, width))
    assert sum(1 if ord(each) < 0x1100 else 2 for each in said) <= width
    assert said.isprintable()


def test_a_name_that_is_too_long_keeps_its_end():
    """Which tells it from the tests of the same file."""
    assert "...a_long_name[and-parameters] 5 s" in text(line([(LONG, 0.0)], 5.0, 50))
