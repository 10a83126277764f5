"""The comparison itself: it sees what differs, and does not see what has to."""

from __future__ import annotations

import pytest
from comparing import PLAIN, case, normal


@pytest.mark.parametrize(
    ("left", "right", "seen"),
    [
        (("marks", "-k other"), ("marks", "-k slow"), "-exit status 1"),
        (("marks", "-k other"), ("marks", "-k 'other or in_class'"), "+testcase "),
        (("said", "-k sections"), ("said", "-k sections --show-capture=stdout"), "-call err"),
        (("said", "-k deep"), ("said", "-k deep --tb=short"), "-test_said.py:22: IndexError"),
        (("builtin", "-k record_property"), ("builtin", "-k user_properties"), "+direct=1.5"),
    ],
)
def test_what_differs_is_seen(comparison, left, right, seen):
    """Exit status, test cases, sections, styles and properties of two really different
    runs differ.
    """
    one, two = (
        comparison.run(case("", "", *each, says="").values[0], *PLAIN) for each in (left, right)
    )
    assert seen in one.differences(two).replace("\n  ", "\n+") or seen in one.differences(two)


def test_the_same_twice_is_the_same(comparison):
    """Two plain runs do not differ: durations, addresses and process ids are masked."""
    row = case("", "", "outcomes", "-vv -rA --durations=0", says="").values[0]
    assert comparison.run(row, *PLAIN).differences(comparison.run(row, *PLAIN)) == ""


def test_a_case_that_compares_nothing_fails(comparison):
    """A row whose plain run is not what the row says fails, so that two broken runs are
    not equal.
    """
    with pytest.raises(AssertionError, match="the plain run does not say 'no such line'"):
        comparison.same(case("", "", "marks", "-k other", says="no such line").values[0])
    with pytest.raises(AssertionError, match="test session starts"):
        comparison.same(case("", "", "marks", "-k other", says="assert", status=0).values[0])


def test_only_our_own_sections_are_left_out():
    """A section of isolated tests is left out line by line; what follows it is not."""
    ours = "limits: none; net=True\nused: wall 3 ms\nfiles (discarded): created 'x'"
    text = f"---- isolate ----\n{ours}\nlimited\nused: never\n---- isolated ----\nlimits: ours"
    assert normal(text) == ["limited", "used: never", "---- isolated ----", "limits: ours"]
