"""Messages between pytest and the builder."""

import os

import pytest

from pytest_isolate._linux.cgroup.hierarchy import V1, V2
from pytest_isolate._sandbox import recipe, wire
from pytest_isolate._sandbox.requests import (
    Build,
    Ended,
    Failed,
    GroupsMade,
    Handles,
    KillAll,
    Learn,
    MakeGroups,
    Processes,
    Ready,
    SendSignal,
    receive,
)

assert recipe.Recipe  # a record that is no message


def test_last_words_are_read_of_one_that_left_without_reading_ours():
    """A builder says why it cannot build and closes, while pytest says on the same channel that it
    waits: the reason must not be lost.
    """
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
    wire.send(
        ours,
        "failed",
        path := os.fsdecode(b"/tmp/\xff\xfe"),
        "",
        descriptors=(ours.fileno(), theirs.fileno()),
    )
    received = wire.receive(theirs)
    assert received is not None
    message, descriptors = received
    assert message == ["failed", path, ""]
    assert [os.fstat(fd).st_ino for fd in descriptors] == [
        os.fstat(end.fileno()).st_ino for end in (ours, theirs)
    ]
    assert not any(map(os.get_inheritable, descriptors))
    for fd in descriptors:
        os.close(fd)
    ours.close()
    theirs.close()


ANSWERS = [
    Failed("clone into", "new\udcff namespaces", 28), GroupsMade(),
    MakeGroups.of({"pids": V2("/g"), "io": V1("")}),
    Learn(140_000_000_000, "00ff"), Build(1, 2), SendSignal(1, 2, 9), Ended(-9), KillAll(),
    Processes(0, nobody=True), Processes(60, nobody=False, fields=("2", "a b", "3", "")),
]  # fmt: skip


@pytest.mark.parametrize("message", ANSWERS, ids=str)
def test_a_message_is_the_same_behind_the_channel(message):
    """Numbers are numbers again, names that are no text are the same bytes, and a list may be
    empty.
    """
    ours, theirs = wire.pair()
    message.send(ours)
    assert receive(theirs) == (message, [])
    ours.close()
    theirs.close()


def test_what_messages_hold_is_given_by_name():
    """As the two sides use it."""
    assert MakeGroups.of({"pids": V2("/g")}).places() == {"pids": V2("/g")}
    assert Processes(1, nobody=False, fields=("7", "sleep 9")).listed() == [(7, "sleep 9")]
    handles = Handles(3, 4, 5, 6, joins=(7, 8), network=(9,))
    ready, descriptors = Ready.of({"pids": "/g/1"}, handles, (1.5, 2.5))
    assert (ready.groups(), ready.handles(list(descriptors))) == ({"pids": "/g/1"}, handles)
    assert ready.spans() == (1.5, 2.5)


@pytest.mark.parametrize("kind", ["Recipe", "nothing"])
def test_what_is_no_message_is_refused(kind):
    """A record of another kind, or a name that nobody knows."""
    ours, theirs = wire.pair()
    wire.send(ours, kind, 1)
    with pytest.raises((TypeError, KeyError)):
        receive(theirs)
    ours.close()
    theirs.close()
