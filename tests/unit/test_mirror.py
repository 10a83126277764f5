"""Memory that a test shares with pytest: the end of its text comes back, whatever the test wrote
there.
"""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._sandbox.mirror import LEFT_OUT, Mirror, new_file, read

ROOM = (1 << 16) - 8


@given(st.lists(st.text(max_size=20).map(lambda text: text * 3000), max_size=8))
def test_the_end_of_a_text_comes_back(texts):
    """In whatever pieces it is written, and however long it is."""
    mirror = Mirror(file := new_file())
    for text in texts:
        mirror.write(text)
    whole = "".join(texts).encode()
    if len(whole) <= ROOM:
        assert read(file) == whole
    else:
        tail = whole[-ROOM:]
        assert read(file) == LEFT_OUT + tail[tail.find(b"\n") + 1 :]
    mirror.clear()
    assert read(file) == b""
    mirror.write("again")
    assert read(file) == b"again"
    os.close(file)


def test_a_fork_writes_its_memory_and_no_fork_of_that(tmp_path):
    """Half of a line of the one would stand in the other's."""
    mirror = Mirror(file := new_file())
    if (pid := os.fork()) == 0:
        mirror.write("child ")
        if (below := os.fork()) == 0:
            mirror.write("grandchild ")
            mirror.clear()
            os._exit(0)
        os.waitpid(below, 0)
        mirror.write("\ud800")
        os._exit(0)
    os.waitpid(pid, 0)
    assert read(file) == b"child \\ud800"
    os.close(file)


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=64))
def test_whatever_a_test_writes_there_is_read(count, content):
    """It is the test's memory too."""
    mirror = Mirror(file := new_file())
    mirror._memory[:8] = count
    mirror._memory[8 : 8 + len(content)] = content
    assert len(read(file)) <= len(LEFT_OUT) + ROOM
    os.close(file)
