"""``pytest-isolate enter``: a shell in the sandbox of a test that runs, from another terminal."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from pytest_isolate._shell import roster, visit
from pytest_isolate._shell.roster import Listed

_NOBODY = "no isolated test of yours has been running for a second"
_BAD = 2  # exit status, as argparse has it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be typed."""
    parser.add_argument(
        "test", nargs="?", metavar="TEST or PID",
        help="a node id or a part of one, or the pid of pytest or of any process of the sandbox;"
        " not needed where there is but one",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Enter, by becoming the process that does. Returns an exit status where that cannot be."""
    found = sorted(roster.find(), key=lambda each: each.door.begun)
    chosen = _chosen(found, options.test)
    if not found:
        return _refuse(_NOBODY + (" here" if os.geteuid() == 0 else ""))
    if not chosen:
        return _refuse(f"{options.test!r} is none of the tests that run", found)
    if len(chosen) > 1:
        return _refuse("which one? Name one by its pid, or by more of its name", chosen)
    if not all(map(os.isatty, (0, 1))):
        return _refuse("a shell needs a terminal, and standard input or output is none")
    _enter(chosen[0])
    return _BAD


def _chosen(found: Sequence[Listed], wanted: str | None) -> list[Listed]:
    if wanted is None:
        return list(found)
    if wanted.isdecimal():
        pid = int(wanted)
        return [each for each in found if pid == each.pytest or _is_in(pid, each.door.namespace)]
    exact = [each for each in found if each.door.test == wanted]
    return exact or [each for each in found if wanted in each.door.test]


def _is_in(pid: int, namespace: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace
    except OSError:  # it is not there, or not ours
        return False


def _refuse(why: str, listed: Sequence[Listed] = ()) -> int:
    sys.stderr.write(f"pytest-isolate enter: {why}\n")
    for each in listed:
        seconds = max(0.0, time.time() - each.door.begun)
        name = "".join(letter if letter.isprintable() else "?" for letter in each.door.test)
        sys.stderr.write(f"  {each.door.first:>8}  {seconds:7.1f} s  {name}\n")
    return _BAD


def _enter(listed: Listed) -> None:
    """Become who started the run, if this is root, and then the process that enters.

    What another user's run says of itself is that user's word: root would follow it as root.
    """
    uid, gid, groups = listed.owner
    if uid != os.geteuid():
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    terminal = visit.of_terminal()
    door = listed.door.with_variables(terminal)
    fd = visit.packed(door)
    os.set_inheritable(fd, True)
    line = visit.command(fd, os.getppid())
    os.execve(line[0], line, visit.environment())
