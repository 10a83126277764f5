"""What a child says of its attempts to leave is checked, and the kernel's count has the
last word.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._verdict.network_attempts import Attempt, read, sentence

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NUMBER = ["8.8.8.8", 53, False, 2, "test_x.py:3"]
NAME = ["example.com", 80, True, 1, ""]


def test_what_the_kernel_counted_and_nobody_named_is_listed_without_address():
    """Two of five came from Python: three are a sub-process's or C code's."""
    assert read([NUMBER], 5) == (Attempt("8.8.8.8", 53, 2, "test_x.py:3"), Attempt(None, None, 3))


def test_a_look_up_explains_what_was_counted():
    """A resolver asks several servers several times: these are not attempts of somebody else's."""
    assert read([NAME], 4) == (Attempt("example.com", 80, 1, is_name=True),)


def test_without_the_kernels_count_only_look_ups_are_attempts():
    """An address that was routable after all (a multicast group on loopback) is no attempt; a
    look-up that loopback refused is one.
    """
    assert read([NUMBER, NAME], 0) == (Attempt("example.com", 80, 1, is_name=True),)


@given(JSON, st.none() | st.integers(0, 10))
def test_nothing_that_a_child_writes_breaks_the_reading(written, unroutable):
    """Whatever is not of the form is left out."""
    assert all(isinstance(each, Attempt) and each.count > 0 for each in read(written, unroutable))


@given(
    st.lists(
        st.tuples(st.text(), st.integers(), st.booleans(), st.integers(1), st.text()).map(list)
    ),
    st.integers(0, 1000),
)
def test_attempts_of_the_right_form_are_capped(written, unroutable):
    """However many and long they are."""
    found = read(written, unroutable)
    assert len(found) <= 101
    assert all(len(each.address or "") <= 300 and len(each.where) <= 300 for each in found)


def test_the_sentence_counts_names_and_places():
    """Destinations with their lines, what has none at the end."""
    assert (
        sentence(read([NUMBER], 3))
        == "made 3 attempts to leave its network: 8.8.8.8:53 (2 times) at test_x.py:3, 1 by sub-processes"
        " or C code"
    )
    assert sentence(read([NAME], 2)) == "made 1 attempt to leave its network: example.com:80"
    assert sentence(read([[f"10.0.0.{n}", 1, False, 1, ""] for n in range(9)], 9)).endswith(
        "10.0.0.4:1, 4 more destinations"
    )
