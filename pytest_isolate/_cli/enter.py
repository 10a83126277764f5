"""``pytest-isolate enter``: a shell in the sandbox of a test that runs, from another terminal.

Exit status: that of the shell, or of the command that was given instead; 2 where no sandbox could
be told, 125 where it could not be entered.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_isolate._config.values import plain

if TYPE_CHECKING:
    from pytest_isolate._shell.roster import Listed

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_BAD = 2


def add_command(commands: Commands) -> None:
    """Add ``enter`` to the console script."""
    command = commands.add_parser(
        "enter", help="open a shell in the sandbox of a test that runs",
        usage="pytest-isolate enter [TEST|PID] [-- COMMAND [ARGUMENT ...]]",
        description="Open a shell on this terminal in the sandbox of a test that runs, or run"
        " COMMAND there.",
    )  # fmt: skip
    command.add_argument(
        "test", nargs="?", metavar="TEST|PID",
        help="which, if several run: its node id or a part of it, or the pid of a process in it",
    )  # fmt: skip
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Enter, by becoming the process that does. Returns the exit status where that cannot be."""
    if sys.platform != "linux":
        return _refuse("sandboxes are Linux's")
    from pytest_isolate._shell import roster  # noqa: PLC0415 - knows the kernel

    wanted: str | None = options.test
    found = sorted(roster.find(), key=lambda each: each.door.begun)
    if not found:
        whose = "" if os.geteuid() == 0 else " of yours"
        return _refuse(f"no isolated test{whose} has been running for a second")
    chosen = _chosen(found, wanted)
    if not chosen:
        return _refuse(
            f"{wanted!r} is neither a running test nor a process of one; these run:", found
        )
    if len(chosen) > 1:
        return _refuse("more than one runs; name it by its pid or by more of its name:", chosen)
    if not all(map(os.isatty, (0, 1))):
        what = "a command in there" if options.line else "a shell"
        return _refuse(f"{what} needs a terminal, and standard input or output is none")
    _enter(chosen[0], options.line)
    raise AssertionError("execve(2) came back")


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
        sys.stderr.write(f"{each.door.first:>8}  {seconds:6.0f} s  {plain(each.door.test)}\n")
    return _BAD


def _enter(listed: Listed, command: Sequence[str]) -> None:
    """Become the process that has the terminal and lets this user in."""
    from pytest_isolate._shell import visit  # noqa: PLC0415 - as above

    door = listed.door.with_variables(visit.of_terminal()).with_command(command)
    if listed.owner[0] != os.geteuid():
        door = door.with_owner(listed.owner)
    fd = visit.packed(door)
    os.set_inheritable(fd, True)
    line = visit.command(fd, os.getppid())
    os.execve(line[0], line, visit.environment())
