"""The frames that a test's process sends: nothing lost, nothing believed."""

import json
import os
import signal
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._sandbox import frames
from pytest_isolate._sandbox.frames import Decoder, GarbledError, Writer, encode

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
some_frames = st.builds(
    lambda kind, rest: {**rest, "kind": kind},
    st.text(),
    st.dictionaries(st.text(), values, max_size=4),
)


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


@given(sent=st.lists(some_frames, max_size=5), data=st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent, data):
    """A pipe may cut the bytes anywhere: the frames are the same, in order, each as soon as it is
    complete.
    """
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder, received = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:end])
        assert decoder.unfinished == (sum(map(len, map(encode, received))) < end)
    assert received == sent


@given(payload=st.binary(max_size=64) | values.map(lambda value: json.dumps(value).encode()))
def test_any_payload_is_a_frame_or_garbled(payload):
    """Whatever bytes a frame has, the reader says garbled or gives an object with a kind, and
    raises nothing else.
    """
    try:
        (frame,) = Decoder().feed(framed(payload))
    except GarbledError:
        return
    assert isinstance(frame["kind"], str)


@given(noise=st.binary(max_size=256))
def test_any_bytes_are_frames_or_garbled_or_unfinished(noise):
    """The same for a stream that nobody framed at all."""
    decoder = Decoder()
    try:
        received = decoder.feed(noise)
    except GarbledError:
        return
    assert all(isinstance(frame["kind"], str) for frame in received)
    assert received or decoder.unfinished or not noise


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"nonsense",
        b'{"kind": "a"} b',
        b'{"kind": ' + b"1" * 5000 + b"}",
        b'{"kind": ' + b"[" * 200_000,
    ],
    ids=["empty", "not text", "cut", "word", "more behind", "too long a number", "too deep"],
)
def test_a_payload_that_is_not_json_is_garbled(payload):
    """Bytes that are not one JSON text are called that."""
    with pytest.raises(GarbledError, match=r"^a frame is not JSON: "):
        Decoder().feed(framed(payload))


@pytest.mark.parametrize(
    "payload",
    [b"null", b"[]", b"5", b'"kind"', b"{}", b'{"kind": 5}', b'{"kind": null}', b'{"Kind": "a"}'],
)
def test_json_that_is_no_object_with_a_kind_is_garbled(payload):
    """JSON of another shape is not a frame."""
    with pytest.raises(GarbledError) as caught:
        Decoder().feed(framed(payload))
    assert str(caught.value) == "a frame is not an object with a kind"


def test_what_came_whole_before_garbage_is_not_lost():
    """The same bytes may have both: who has spoken has begun, whatever it writes then."""
    sent = [{"kind": "entered"}, {"kind": "report"}]
    with pytest.raises(GarbledError) as caught:
        Decoder().feed(b"".join(map(encode, sent)) + b"\xff\xff\xff\x7f")
    assert caught.value.before == sent


def test_a_length_is_believed_up_to_the_largest_and_no_further():
    """A length is judged before its bytes are waited for, so a lie costs no memory."""
    largest = frames.LARGEST_FRAME
    decoder = Decoder()
    assert decoder.feed(struct.pack(">I", largest)) == []
    assert decoder.unfinished
    with pytest.raises(GarbledError) as caught:
        Decoder().feed(struct.pack(">I", largest + 1))
    assert (
        str(caught.value)
        == f"a frame says that it has {largest + 1} bytes, the largest is {largest}"
    )


def test_the_largest_frame_can_be_sent_and_one_byte_more_cannot():
    """Writer and reader agree on the largest frame."""
    largest = frames.LARGEST_FRAME
    frame = of_payload(largest)
    assert Decoder().feed(encode(frame)) == [frame]
    frame["kind"] += "a"
    said = rf"^a frame of {largest + 1} bytes, the largest is {largest}$"
    with pytest.raises(ValueError, match=said):
        encode(frame)


def of_payload(size):
    """A frame whose payload has so many bytes."""
    return {"kind": "a" * (size - len(json.dumps({"kind": ""})))}


def test_the_sum_of_all_frames_is_capped():
    """Many small frames cannot do what one large one may not: exactly the cap passes, one byte more
    is garbled. Another test in the same sandbox has its own.
    """
    most, header = frames.LARGEST_TOTAL, len(encode({"kind": ""})) - len(json.dumps({"kind": ""}))
    quarter = encode(of_payload(most // 4 - header))
    decoder = Decoder()
    decoder.feed(quarter)
    decoder.begin()
    assert [len(decoder.feed(quarter)) for _ in range(4)] == [1, 1, 1, 1]
    with pytest.raises(GarbledError) as caught:
        decoder.feed(b"\0")
    assert str(caught.value) == f"more than {most} bytes came from one test"


def test_the_number_of_frames_is_capped():
    """However short they are; another test in the same sandbox has its own."""
    frame, most = encode({"kind": "a"}), frames.MOST_FRAMES
    decoder = Decoder()
    decoder.feed(frame)
    decoder.begin()
    assert sum(len(decoder.feed(frame * (most // 100))) for _ in range(100)) == most
    with pytest.raises(GarbledError) as caught:
        decoder.feed(frame)
    assert str(caught.value) == f"more than {most} frames came from one test"


@pytest.mark.parametrize("levels", [98, 99, 100, 500])
def test_depth_is_capped_below_what_pytest_could_not_show(levels):
    """A hundred levels pass, one more does not: whoever writes a value out later calls itself once
    a level.
    """
    payload = b'{"kind": "a", "value": ' + b"[" * levels + b"]" * levels + b"}"
    if levels < frames.DEEPEST:
        assert len(Decoder().feed(framed(payload))) == 1
        return
    with pytest.raises(GarbledError, match=r"^a frame is more than 100 levels deep$"):
        Decoder().feed(framed(payload))


@pytest.mark.parametrize(
    "frame", [{"kind": "a", "value": object()}, {"kind": "a", "value": {1, 2}}]
)
def test_what_json_cannot_say_is_refused_before_anything_is_sent(frame):
    """A frame is encoded whole before its first byte is written."""
    read, write = os.pipe()
    try:
        with pytest.raises(TypeError):
            Writer(write).send(frame)
    finally:
        os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b""


def test_a_frame_larger_than_the_pipe_arrives_whole():
    """write(2) takes part of a large frame at a time; the writer goes on until all of it is
    through.
    """
    read, write = os.pipe()
    frame = {"kind": "a", "text": "x" * (1 << 20)}

    def send():
        Writer(write).send(frame)
        os.close(write)

    thread = threading.Thread(target=send)
    thread.start()
    with open(read, "rb") as pipe:
        data = pipe.read()
    thread.join()
    assert Decoder().feed(data) == [frame]


def test_a_handler_of_signals_speaks_behind_the_frame_that_it_interrupted():
    """A signal ends a large write half-way, and Python runs the handler then: its frame must not
    land inside the other one.
    """
    read, write = os.pipe()
    writer, large, sent, received = (
        Writer(write),
        {"kind": "large", "text": "x" * (1 << 20)},
        [],
        [],
    )

    def handle(number, frame):
        sent.append({"kind": "handler", "which": len(sent)})
        writer.send(sent[-1])

    def receive():
        while data := os.read(read, 1 << 14):
            received.append(data)
            if len(received) < 20:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=receive)
    try:
        thread.start()
        writer.send(large)
    finally:
        os.close(write)
        thread.join()
        signal.signal(signal.SIGUSR1, before)
        os.close(read)
    assert sent
    assert Decoder().feed(b"".join(received)) == [large, *sent]


def test_frames_of_several_threads_come_one_after_the_other():
    """A subtest may end in a thread of its own: each frame is whole, and none is lost."""
    read, write = os.pipe()
    writer = Writer(write)
    frames = [{"kind": "a", "which": number, "text": "x" * (1 << 18)} for number in range(4)]
    threads = [threading.Thread(target=writer.send, args=(frame,)) for frame in frames]
    ends = threading.Thread(target=lambda: ([each.join() for each in threads], os.close(write)))
    for each in (*threads, ends):
        each.start()
    with open(read, "rb") as pipe:
        found = Decoder().feed(pipe.read())
    ends.join()
    assert sorted(found, key=lambda frame: frame["which"]) == frames


def test_a_writer_is_silent_in_a_forked_child():
    """A test that forks and lets the child run on cannot make it report a second time."""
    read, write = os.pipe()
    writer = Writer(write)
    pid = os.fork()
    if pid == 0:
        try:
            writer.send({"kind": "of the child"})
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    writer.send({"kind": "of the parent"})
    os.close(write)
    with open(read, "rb") as pipe:
        assert Decoder().feed(pipe.read()) == [{"kind": "of the parent"}]


def test_a_writer_says_when_the_pipe_is_gone():
    """A report that nobody can read is an ``OSError``, not lost in silence."""
    read, write = os.pipe()
    os.close(read)
    try:
        with pytest.raises(BrokenPipeError):
            Writer(write).send({"kind": "a"})
    finally:
        os.close(write)
