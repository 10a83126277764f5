"""Sockets that wait for somebody: by sock_diag, and by /proc/net where the kernel has none."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest

from pytest_isolate._forward import encoded
from pytest_isolate._linux import proc_sockets, sock_diag

pytestmark = pytest.mark.kernel


@pytest.fixture
def waiting(tmp_path, monkeypatch):
    """One of each kind, and others that wait for nobody."""
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:

        def made(family, kind, at, *, listens=True, only_v6=None):
            each = stack.enter_context(socket.socket(family, kind))
            if only_v6 is not None:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
            each.bind(at)
            if listens and kind == socket.SOCK_STREAM:
                each.listen()
            return os.fstat(each.fileno()).st_ino, each.getsockname()

        inet, inet6, unix = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
        stream, datagrams = socket.SOCK_STREAM, socket.SOCK_DGRAM
        (tcp, (_, port)) = made(inet, stream, ("127.0.0.1", 0))
        (udp, (_, port_of_udp)) = made(inet, datagrams, ("0.0.0.0", 0))
        beside = made(inet6, stream, ("::1", port), only_v6=True)
        alone = made(inet6, datagrams, ("::", 0), only_v6=False)
        path = made(unix, stream, str(tmp_path / "a socket"))
        abstract = made(unix, stream, b"\0pytest-isolate waits")
        box = made(unix, datagrams, str(tmp_path / "box"))
        silent = made(inet, stream, ("127.0.0.1", 0), listens=False)
        yield (
            {
                tcp: ("tcp", "127.0.0.1", port, False, stream),
                udp: ("udp", "0.0.0.0", port_of_udp, False, datagrams),
                beside[0]: ("tcp", "::1", port, True, stream),
                alone[0]: ("udp", "::", alone[1][1], False, datagrams),
                path[0]: ("unix", str(tmp_path / "a socket"), 0, False, stream),
                abstract[0]: ("unix", "\0pytest-isolate waits", 0, False, stream),
                box[0]: ("unix", str(tmp_path / "box"), 0, False, datagrams),
            },
            silent[0],
        )


def test_all_are_found_whatever_the_kernel_has(waiting):
    """As in a kernel without UDP_DIAG, which is that of the run in the virtual machine."""
    expected, silent = waiting
    found = {each.inode: tuple(each[:-1]) for each in sock_diag.listening(encoded.requests())}
    assert {inode: found.get(inode) for inode in expected} == expected
    assert silent not in found


def test_the_files_of_proc_say_the_same(waiting):
    """Byte for byte, in the processor's order."""
    expected, silent = waiting
    listed = [
        each
        for kind in ("tcp", "udp")
        for ipv6 in (False, True)
        for each in proc_sockets.inet(kind, ipv6=ipv6)
    ]
    found = {each.inode: tuple(each[:-1]) for each in [*listed, *proc_sockets.unix()]}
    assert {inode: found.get(inode) for inode in expected} == expected
    assert silent not in found
