"""The relay of a shell's terminal, and what comes out of a sandbox."""

from __future__ import annotations

import os
import pty
import socket

import pytest

from pytest_isolate._shell.terminal import Relay


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"ended 1792", 7),
        (b"ended 9", 128 + 9),
        (b"ended nonsense", 137),
        (b"ended " + b"9" * 5000, 137),
        (b"ended 99999999999999999999", 137),
        (b"ended 127", 137),  # stopped, which is no end
        (b"anything", 137),
        (b"", 137),
    ],
)
def test_the_end_of_a_shell_is_a_status_whatever_is_said(said, status):
    """A test that is root in its sandbox may have its hands on who says it."""
    (terminal, typing), (master, shell) = pty.openpty(), pty.openpty()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    waiting, others = os.pipe()
    os.set_blocking(master, False)
    try:
        theirs.send(said)
        if (pid := os.fork()) == 0:  # its signal handlers are for a process of its own
            try:
                os._exit(Relay(typing, master, ours, waiting).run())
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    finally:
        for each in (ours, theirs):
            each.close()
        for fd in (terminal, typing, master, shell, waiting, others):
            os.close(fd)
