"""What is put right in a child's reports."""

from __future__ import annotations

import traceback

import pytest

from pytest_isolate import _mend

pytestmark = pytest.mark.old

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


@pytest.mark.parametrize(("line", "shown"), [(7, 7), (1, 1), (0, 1), (-1, 1), (1 << 40, 1)])
def test_an_interruption_is_raised_from_its_place(line, shown):
    """The innermost place is the child's; what is no line number of a file becomes one."""
    with pytest.raises(KeyboardInterrupt, match="why") as caught:
        _mend.interrupt_at([("/some/conftest.py", 3, "helper"), ("/some/test.py", line, "test_it")], KeyboardInterrupt("why"))
    outer, inner = traceback.extract_tb(caught.value.__traceback__)[-2:]
    assert (outer.filename, outer.lineno, outer.name) == ("/some/conftest.py", 3, "helper")
    assert (inner.filename, inner.lineno, inner.name) == ("/some/test.py", shown, "test_it")
    assert (getattr(inner, "colno", None), getattr(outer, "colno", None)) == (None, None)
