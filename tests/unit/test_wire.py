"""Messages between pytest, the builder and the holders."""

from pytest_isolate._sandbox import wire


def test_last_words_are_read_of_one_that_left_without_reading_ours():
    """A builder says why it cannot build and closes, while pytest says on the same channel that it waits: the reason must not be lost."""
    ours, theirs = wire.pair()
    wire.send(ours, {"now": True})
    wire.send(theirs, {"failed": ["clone into", "new namespaces", 28]})
    theirs.close()
    assert wire.receive(ours) == ({"failed": ["clone into", "new namespaces", 28]}, [])
    assert wire.receive(ours) is None
    ours.close()


def test_one_that_left_without_a_word_is_gone():
    """Also when it had not read ours."""
    ours, theirs = wire.pair()
    wire.send(ours, {"now": True})
    theirs.close()
    assert wire.receive(ours) is None
    ours.close()
