"""Messages between pytest and the builder."""

import os

from pytest_isolate._sandbox import wire


def test_last_words_are_read_of_one_that_left_without_reading_ours():
    """A builder says why it cannot build and closes, while pytest says on the same channel that it waits: the reason must not be lost."""
    ours, theirs = wire.pair()
    wire.send(ours, "now")
    wire.send(theirs, "failed", "clone into", "new namespaces", 28)
    theirs.close()
    assert wire.receive(ours) == (["failed", "clone into", "new namespaces", "28"], [])
    assert wire.receive(ours) is None
    ours.close()


def test_one_that_left_without_a_word_is_gone():
    """Also when it had not read ours."""
    ours, theirs = wire.pair()
    wire.send(ours, "now")
    theirs.close()
    assert wire.receive(ours) is None
    ours.close()


def test_a_path_that_is_no_text_and_several_descriptors_arrive():
    """Names of files are bytes, and an empty field is one."""
    ours, theirs = wire.pair()
    wire.send(ours, "failed", path := os.fsdecode(b"/tmp/\xff\xfe"), "", descriptors=(ours.fileno(), theirs.fileno()))
    received = wire.receive(theirs)
    assert received is not None
    message, descriptors = received
    assert message == ["failed", path, ""]
    assert [os.fstat(fd).st_ino for fd in descriptors] == [os.fstat(end.fileno()).st_ino for end in (ours, theirs)]
    assert not any(map(os.get_inheritable, descriptors))
    for fd in descriptors:
        os.close(fd)
    ours.close()
    theirs.close()


def test_a_recipe_of_all_that_a_plan_has_in_it_is_the_same_behind_the_channel():
    """Nested steps, names with surrogates, numbers of 64 bits, nothing."""
    recipe = {"namespaces": 1 << 40, "user_map": None, "steps": (("mount", "\udcff", 0, True), ("loopback", ["00ff"])), "limits": {}}
    ours, theirs = wire.pair()
    wire.send(ours, "learn", 1, wire.packed(recipe))
    received = wire.receive(theirs)
    assert received is not None
    assert wire.unpacked(received[0][2]) == recipe
    ours.close()
    theirs.close()
