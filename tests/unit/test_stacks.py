"""Faulthandler's dumps: what is shown of them, and which line is the test's."""

from __future__ import annotations

import os
import time

from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._verdict.thread_stacks import places, readable

OTHER = [
    "Thread 0x00007f0e [warm-pool_0] (most recent call first):",
    '  File "/lib/threading.py", line 327 in wait',
]
MAIN = [
    "Current thread 0x00007f0f (most recent call first):",
    '  File "/lib/threading.py", line 327 in wait',
    '  File "/t/test_a.py", line 7 in helper',
    '  File "/t/test_a.py", line 9 in <lambda>',
    '  File "/x/_pytest/python.py", line 1 in pytest_pyfunc_call',
    '  File "/x/_pytest/runner.py", line 2 in pytest_runtest_call',
]


def test_a_dump_is_shown_without_pytests_own_frames():
    """Frames of pytest and pluggy, which are the same for every test, become one line where they
    stand in a row.
    """
    stack = [
        "Current thread 0x1 (most recent call first):",
        '  File "/t.py", line 3 in wait',
        '  File "/x/_pytest/python.py", line 1 in call',
        '  File "/x/pluggy/_callers.py", line 2 in _multicall',
        '  File "/t/conftest.py", line 9 in hook',
        '  File "/x/pluggy/_hooks.py", line 1 in f',
        '  File "<frozen runpy>", line 88 in _run_code',
    ]
    ours = "  (frames of pytest and pluggy)"
    assert readable(os.linesep.join(stack)).splitlines() == [
        stack[0],
        stack[1],
        ours,
        stack[4],
        ours,
    ]


def test_a_test_stands_where_the_thread_stands_that_runs_it():
    """Whichever of them got the signal; the innermost line is the last."""
    expected = [
        ("/t/test_a.py", 9, "<lambda>"),
        ("/t/test_a.py", 7, "helper"),
        ("/lib/threading.py", 327, "wait"),
    ]
    assert places("\n".join([*OTHER, "", *MAIN])) == expected
    assert places("\n".join([*MAIN, "", *OTHER, ""])) == expected


def test_a_test_that_pytest_is_about_to_run_stands_in_pytest():
    """Its own frames are left out where there are others."""
    assert places("\n".join([MAIN[0], *MAIN[4:]])) == [
        ("/x/_pytest/python.py", 1, "pytest_pyfunc_call")
    ]


def test_a_thread_is_taken_where_none_runs_a_test():
    """A child that pytest's signal met on its way inside, say; and nothing where there is none."""
    assert places("\n".join(OTHER)) == [("/lib/threading.py", 327, "wait")]
    assert places("Fatal Python error: Aborted") == []


def test_names_are_those_of_the_machine(tmp_path):
    """Faulthandler writes what is not ASCII as escapes, and a backslash of a name as it is."""
    file = tmp_path / "a\\xe9.py"
    file.touch()
    assert places(f'{OTHER[0]}\n  File "{file}", line 1 in f')[0].path == str(file)
    assert places(OTHER[0] + '\n  File "/t/\\xe9\\u20ac\\U0001f40d\\x41.py", line 1 in \\xe9')[
        0
    ] == ("/t/é€🐍\\x41.py", 1, "é")


@given(st.text() | st.lists(st.sampled_from([*MAIN, *OTHER, ""]) | st.text()).map("\n".join))
def test_no_dump_breaks_the_reading(stacks):
    """A test writes there what it likes."""
    assert all(0 <= place.line < 10**7 for place in places(stacks))
    readable(stacks)


def test_a_dump_that_a_test_wrote_is_read_in_no_time():
    """A head of a thread that never ends: it is looked through once, not once for each of its
    digits.
    """
    began = time.process_time()
    assert places("Thread 0x" + "0" * 60_000) == []
    assert time.process_time() - began < 0.5
