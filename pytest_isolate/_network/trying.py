"""A process that tries, each in a network namespace of its own, what of a network this kernel can
make. Nothing of it stays.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys

from pytest_isolate._linux import syscalls
from pytest_isolate._linux.syscalls import Clone

_FAMILIES = {"nat": 12}  # NETLINK_NETFILTER; all others are NETLINK_ROUTE's


def tried(requests: list[bytes], family: int) -> int:
    """0, or the errno of the first that the kernel refuses."""
    syscalls.unshare(Clone.NEWNET)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as kernel:
        for request in requests:
            kernel.send(request)
            answer = kernel.recv(1 << 16)
            code = struct.unpack_from("=i", answer, 16)[0]
            if code:
                return -int(code)
    return 0


def main() -> None:
    """Answer in JSON; under the empty name why nothing could be tried."""
    asked = json.load(sys.stdin)
    answers: dict[str, int] = {}
    try:
        if asked["user"] is not None:
            uid, gid = asked["user"]
            syscalls.unshare(Clone.NEWUSER)
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"{uid} {uid} 1"),
                ("gid_map", f"{gid} {gid} 1"),
            ):
                fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
                os.write(fd, text.encode())
                os.close(fd)
        syscalls.unshare(Clone.NEWNET)
    except OSError as error:
        answers[""] = error.errno or 0
    else:
        for name, requests in asked["requests"].items():
            try:
                answers[name] = tried(
                    [bytes.fromhex(each) for each in requests], _FAMILIES.get(name, 0)
                )
            except OSError as error:
                answers[name] = error.errno or 0
    json.dump(answers, sys.stdout)
