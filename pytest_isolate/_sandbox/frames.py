"""What a test's process says to pytest: length-prefixed JSON objects over a pipe, with an explicit
end.

The writing end is in the hands of code that nobody trusts, so the reading end believes nothing: it
caps each frame and their sum, decodes JSON only, and reports whatever else comes as garbled.
Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections import deque
from collections.abc import Sequence

# Bound before a test can replace them: the child that the test runs in speaks by these.
_write, _getpid, _encoded = (
    os.write,
    os.getpid,
    json.JSONEncoder(ensure_ascii=True, allow_nan=True).encode,
)
_LENGTH = struct.Struct(">I")
LARGEST_FRAME = 32 << 20  # bytes
LARGEST_TOTAL = 128 << 20  # bytes, of all frames of one test
# Of one test; each costs the reading end some microseconds and some hundred bytes, however short it
# is
MOST_FRAMES = 100_000
# Of one test, in all its frames: each is up to some 200 bytes in memory, however few it is here
MOST_VALUES = 1_000_000
# Lists and objects in each other; what reads them later, pytest and plugins, calls itself once a
# level
DEEPEST = 100

Frame = dict[str, object]


class GarbledError(Exception):
    """What came over the pipe is not a sequence of frames.

    ``before`` has the whole ones that came in the same bytes.
    """

    before: Sequence[Frame] = ()


def encode(frame: Frame) -> bytes:
    """One frame.

    Raises ``TypeError`` or ``ValueError`` for what JSON cannot say or what is too large to be read.
    """
    payload = _encoded(frame).encode("ascii")
    if len(payload) > LARGEST_FRAME:
        raise ValueError(f"a frame of {len(payload)} bytes, the largest is {LARGEST_FRAME}")
    return _LENGTH.pack(len(payload)) + payload


class Writer:
    """The writing end.

    Speaks only in the process that it was made in, not in that one's forked children.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._pid = _getpid()
        # Another thread waits for its turn; a signal's handler, which would wait for ever, comes
        # through
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._writes = False

    def send(self, frame: Frame) -> None:
        """Write one frame, whole before the next one begins.

        Raises ``OSError`` when the pipe is gone.

        In a signal's handler that came in the middle of a frame it is left to the one interrupted,
        which writes it behind its own.
        """
        if _getpid() != self._pid:
            return
        with self._lock:
            self._waiting.append(encode(frame))
            while self._waiting and not self._writes:
                self._writes = True
                try:
                    while self._waiting:
                        self._write(self._waiting.popleft())
                finally:
                    self._writes = False

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[_write(self.fd, left) :]


class Decoder:
    """The reading end, without its pipe: feed it bytes, take frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._total = 0
        self._count = 0
        self._values = MOST_VALUES  # that may still come

    def begin(self) -> None:
        """Count anew: what comes from here on is another test's."""
        self._total = self._count = 0
        self._values = MOST_VALUES

    def feed(self, data: bytes) -> list[Frame]:
        """Take in more bytes.

        Returns the frames completed by them. Raises ``GarbledError``, after which it is of no more
        use.
        """
        self._buffer += data
        self._total += len(data)
        if self._total > LARGEST_TOTAL:
            raise GarbledError(f"more than {LARGEST_TOTAL} bytes came from one test")
        frames: list[Frame] = []
        try:
            self._take(frames)
        except GarbledError as error:
            error.before = frames
            raise
        return frames

    def _take(self, frames: list[Frame]) -> None:
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > LARGEST_FRAME:
                raise GarbledError(
                    f"a frame says that it has {length} bytes, the largest is {LARGEST_FRAME}"
                )
            if len(self._buffer) < _LENGTH.size + length:
                break
            payload = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            self._count += 1
            if self._count > MOST_FRAMES:
                raise GarbledError(f"more than {MOST_FRAMES} frames came from one test")
            self._values -= _count_values(payload, self._values)
            frames.append(_decode(payload))

    @property
    def unfinished(self) -> bool:
        """Whether the bytes so far end in the middle of a frame."""
        return bool(self._buffer)


def _count_values(payload: bytes, most: int) -> int:
    """How many values JSON has, or somewhat more, before they are made.

    Raises ``GarbledError`` for more than ``most``.

    What separates values may also stand in texts. Those are taken out where it matters, with the
    escapes of their own quotes before.
    """
    count = sum(map(payload.count, _SEPARATORS))
    if count > most >> 3:
        outside = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
        count = outside.count(b'"') >> 1  # texts
        if count <= most:
            count = sum(
                part.count(each) for part in outside.split(b'"')[::2] for each in _SEPARATORS
            )
    if count > most:
        raise GarbledError(f"more than {MOST_VALUES} values came from one test")
    return count


_SEPARATORS = (b",", b"[", b"{", b":")


def _decode(payload: bytes) -> Frame:
    try:
        frame = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise GarbledError(f"a frame is not JSON: {error}") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("kind"), str):
        raise GarbledError("a frame is not an object with a kind")
    if payload.count(b"[") + payload.count(b"{") > DEEPEST and _is_deeper(frame, DEEPEST):
        raise GarbledError(f"a frame is more than {DEEPEST} levels deep")
    return frame


def _is_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects lie in more levels than these; without calling itself, which is
    what the limit is for.
    """
    level = [value]
    for _ in range(levels):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = [each for each in inner if isinstance(each, dict | list)]
        if not level:
            return False
    return True
