"""What is put right in a child's reports."""

from __future__ import annotations

import traceback

import pytest

from pytest_isolate._messages import mend

pytestmark = pytest.mark.old

NAME = "Captured stdout teardown"


def test_what_was_captured_on_both_sides_is_one_section():
    """Function fixtures come before wider ones in a teardown, and pytest strips what was logged."""
    first = [("Captured stdout call", "call"), (NAME, "own\n"), ("Captured log teardown", "own")]
    said = [
        ("Captured stdout call", "call"),
        (NAME, "own\nwide\n"),
        ("Captured log teardown", "own\nwide"),
    ]
    assert mend.joined(first, [(NAME, "wide\n"), ("Captured log teardown", "wide")]) == said
    assert mend.joined(first[:1], [(NAME, "wide\n")]) == [first[0], (NAME, "wide\n")]


def test_sections_of_the_same_name_stay_as_they_are():
    """A plugin's own sections of one name are nobody's to join."""
    assert mend.joined([("x", "1"), ("x", "2")], [("y", "3")]) == [
        ("x", "1"),
        ("x", "2"),
        ("y", "3"),
    ]


@pytest.mark.parametrize(("line", "shown"), [(7, 7), (1, 1), (0, 1), (-1, 1), (1 << 40, 1)])
def test_an_interruption_is_raised_from_its_place(line, shown):
    """The innermost place is the child's; what is no line number of a file becomes one."""
    with pytest.raises(KeyboardInterrupt, match="why") as caught:
        mend.raise_at(
            [("/some/conftest.py", 3, "helper"), ("/some/test.py", line, "test_it")],
            KeyboardInterrupt("why"),
        )
    outer, inner = traceback.extract_tb(caught.value.__traceback__)[-2:]
    assert (outer.filename, outer.lineno, outer.name) == ("/some/conftest.py", 3, "helper")
    assert (inner.filename, inner.lineno, inner.name) == ("/some/test.py", shown, "test_it")
    assert (getattr(inner, "colno", None), getattr(outer, "colno", None)) == (None, None)
