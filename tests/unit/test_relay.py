"""What tests write to pytest's own output, passed on."""

from __future__ import annotations

import errno
import os

from pytest_isolate._sandbox.relay import Relay, identity_of, outputs


def test_it_passes_on_and_ends(tmp_path):
    reading, writing = os.pipe()
    with (tmp_path / "out").open("wb") as out:
        relay = Relay(reading, out.fileno())
        relay.pass_on()  # nothing is there, and nobody is waited for
        os.write(writing, b"one")
        relay.pass_on()
        assert not relay.at_end
        os.close(writing)
        relay.pass_on()
        assert relay.at_end
        relay.close()
        relay.close()
    assert (tmp_path / "out").read_bytes() == b"one"


def test_an_output_that_fails_holds_up_nobody():
    reading, writing = os.pipe()
    with open("/dev/full", "wb", buffering=0) as full:
        relay = Relay(reading, full.fileno())
        for _ in range(3):
            os.write(writing, bytes(1 << 16))
            relay.pass_on()
        assert relay.failed is not None
        assert relay.failed.errno == errno.ENOSPC
        relay.close()
    os.close(writing)


def test_an_output_that_does_not_block_is_waited_for():
    """As a pipe is that a person made so, and reads slowly."""
    reading, writing = os.pipe()
    slow, target = os.pipe()
    os.set_blocking(target, False)
    relay = Relay(reading, target)
    pid = os.fork()
    if pid == 0:
        os.close(target)
        total = 0
        while data := os.read(slow, 4096):
            total += len(data)
        os._exit(0 if total == 3 << 16 else 1)
    for _ in range(3):
        os.write(writing, bytes(1 << 16))
        relay.pass_on()
    for fd in (target, writing, slow):
        os.close(fd)
    relay.close()
    assert os.waitpid(pid, 0)[1] == 0


def test_which_descriptors_are_outputs(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with (
        path.open("wb") as one,
        path.open("ab") as two,
        path.open("rb") as read,
        open(os.devnull, "wb") as null,
    ):
        numbers = [each.fileno() for each in (one, two, read, null)]
        assert outputs([*numbers, 10_000], but_terminals=True) == {
            identity_of(one.fileno()): max(one.fileno(), two.fileno())
        }
        assert identity_of(one.fileno()) == identity_of(two.fileno())
        assert identity_of(read.fileno()) is None
