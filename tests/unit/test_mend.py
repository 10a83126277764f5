"""What is put right in a child's reports."""

from __future__ import annotations

import traceback

import pytest

from pytest_isolate import _mend

NAME = "Captured stdout teardown"


@pytest.mark.parametrize(
    ("inside", "outside", "again", "said"),
    [
        ("a\n", "b\n", False, "a\nb\n"),
        ("a\n", "a\n", False, "a\na\n"),
        ("hook\n", "hook\n", True, "hook\n"),
        ("hook\nown\n", "hook\nwide\n", True, "hook\nown\nwide\n"),
        ("own\nhook\n", "wide\nhook\n", True, "own\nwide\nhook\n"),
        ("before\nown\nafter\n", "before\nwide\nafter\n", True, "before\nown\nwide\nafter\n"),
        ("own\n", "wide\n", True, "own\nwide\n"),
        ("", "wide\n", True, "wide\n"),
    ],
)
def test_what_hooks_said_on_both_sides_is_said_once(inside, outside, again, said):
    """The order is a plain run's: hooks before, function fixtures, wider ones, hooks after."""
    first = [("Captured stdout call", "call"), *([(NAME, inside)] if inside else [])]
    assert _mend.joined(first, [(NAME, outside)], again=again) == [("Captured stdout call", "call"), (NAME, said)]


def test_sections_of_the_same_name_stay_as_they_are():
    """A plugin's own sections of one name are nobody's to join."""
    assert _mend.joined([("x", "1"), ("x", "2")], [("y", "3")], again=True) == [("x", "1"), ("x", "2"), ("y", "3")]


@pytest.mark.parametrize(("line", "shown"), [(7, 7), (2, 2), ("7", 2), (0, 2), (1 << 40, 2), (None, 2)])
def test_an_interruption_is_raised_from_its_place(line, shown):
    """The innermost place is the child's; what is no line number of a file becomes one."""
    with pytest.raises(KeyboardInterrupt, match="why") as caught:
        _mend.interrupt_at("/some/test.py", line, KeyboardInterrupt("why"))
    innermost = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert innermost.filename == "/some/test.py"
    assert innermost.lineno == shown
