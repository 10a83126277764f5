"""Hear what a test's process says, by its pipes: frames, stacks, a word that it is inside, a word
that its end frame is there.

Whatever is read here is read from an open file that no test shares, so no test can have us wait for
it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Container, Sequence

from pytest_isolate._sandbox.frames import Decoder, GarbledError
from pytest_isolate._sandbox.pipes import Ends
from pytest_isolate._sandbox.relay import Relay
from pytest_isolate._sandbox.result import ProcessResult

_READ = 1 << 18
# At each wake-up: a test that writes as fast as we read must not keep us from its deadline
_MOST_READS = 16
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031  # in Python's fcntl since 3.10 only where libc's headers had it
_MOST_STACKS = 1 << 16
_STACKS_QUIET = 0.05  # seconds without a further line after which a dump of stacks is complete


class Listener:
    """Pytest's ends of one child's pipes, and what came by them of its present test."""

    def __init__(self, ends: Ends, relays: Sequence[Relay]) -> None:
        self.ends, self.relays = ends, relays
        self._decoder = Decoder()
        self._at_the_door, self._waits_at_the_door = Decoder(), ends.door >= 0
        self._stack_bytes = bytearray()
        self._false_words = 0  # in the pipe for the last one
        for fd in ends.descriptors:
            os.set_blocking(fd, False)
        # The user's share of large pipes is used up, or memory: a small one does as well
        with contextlib.suppress(OSError):
            fcntl.fcntl(ends.frames, _F_SETPIPE_SZ, _PIPE_SIZE)

    @property
    def waking(self) -> list[int]:
        """List what wakes whoever waits: the child's word that it sent its end frame, and its
        output.
        """
        last_word = self.ends.ended if self._false_words <= 1 else -1
        return [
            fd
            for fd in (last_word, *(relay.fd for relay in self.relays if not relay.at_end))
            if fd >= 0
        ]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of ours that is open."""
        return (*self.ends.descriptors, *(relay.fd for relay in self.relays if relay.fd >= 0))

    @property
    def stacks(self) -> str:
        """The stacks that came of this test."""
        return self._stack_bytes.decode("utf-8", "replace")

    def begin(self) -> None:
        """Hear a further test."""
        self._stack_bytes.clear()
        self._decoder.begin()
        self._false_words = 0

    def hear(self, ready: Container[int], result: ProcessResult) -> None:
        """Take in what came, of ``ready`` descriptors or not."""
        has_spoken = self.ends.ended in ready
        # A test may have been there first, or have closed it, which would wake us for ever
        if has_spoken:
            try:
                if not os.read(self.ends.ended, _READ):
                    self._false_words += 2
            except BlockingIOError:
                pass
        self.drain(result)
        # The word of the test before came late, or a test wrote there, to wake us for ever
        if has_spoken and not result.ended:
            self._false_words += 1

    def drain(self, result: ProcessResult) -> None:
        """Take in what is there."""
        self.pass_on()
        self._drain_stacks()
        self._drain_frames(result)
        self._hear_at_the_door(result)

    def pass_on(self) -> None:
        """Pass on what was written to pytest's own output."""
        for relay in self.relays:
            relay.pass_on()

    def _drain_frames(self, result: ProcessResult) -> None:
        for _ in range(_MOST_READS):
            if result.garbled is not None or result.was_stopped:
                return  # what a late test still says does not count
            try:
                data = os.read(self.ends.frames, _READ)
            except BlockingIOError:
                return
            try:
                result.frames += self._decoder.feed(data)
            except GarbledError as error:
                # By which it is known to have come inside, and how far it had come
                result.frames += error.before
                result.garbled = str(error)
            if not data:
                return

    def _hear_at_the_door(self, result: ProcessResult) -> None:
        """Hear that the child is inside: after its frames, for what is there by now came before any
        of them.

        It has a pipe of its own, which our code closes before any of the test's. What lies in a
        pipe can be read by everybody who has it open, whichever end: a test would take it back, and
        so had the whole time for getting inside, and looked as if its sandbox had broken.
        """
        while self._waits_at_the_door:
            try:
                data = os.read(self.ends.door, _READ)
            except BlockingIOError:
                return
            result.frames[:0] = self._at_the_door.feed(data)
            self._waits_at_the_door = bool(data)

    def _drain_stacks(self) -> bool:
        """Whether there may come more."""
        for _ in range(_MOST_READS):
            try:
                data = os.read(self.ends.stacks, _READ)
            except BlockingIOError:
                return True
            self._stack_bytes += data[: _MOST_STACKS - len(self._stack_bytes)]
            if not data:
                return False
        return True

    def wait_for_stacks(self, longest: float) -> None:
        """Wait until a dump that was asked for is complete, for at most so many seconds."""
        self._drain_stacks()  # what came while another test was heard
        poll = select.poll()
        poll.register(self.ends.stacks, select.POLLIN)
        until = time.monotonic() + longest
        while (left := until - time.monotonic()) > 0:
            quiet = _STACKS_QUIET if self._stack_bytes else left
            if not poll.poll(min(left, quiet) * 1000) or not self._drain_stacks():
                return

    def close(self) -> None:
        """Hear nothing more, and let go of it all. Output that is there is passed on."""
        self.ends.close()
        for relay in self.relays:
            relay.pass_on()
            relay.close()
