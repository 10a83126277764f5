"""A test that failed, and a person who wants to look at what is there before it is torn down."""

from __future__ import annotations

import os
from collections.abc import Callable

from pytest_isolate._messages.shapes import LARGEST_ENVIRONMENT, MOST_VARIABLES
from pytest_isolate._sandbox.frames import Frame

_read, _getcwd = os.read, os.getcwd  # bound before a test can replace them


def wait_for_shell(waiting: int, send: Callable[[Frame], None], when: str) -> None:
    """Say that a shell may be opened here, and wait until pytest says that it has been left.

    What the test did to its environment and its directory is known in its process alone.
    """
    send({"kind": "shell", "when": when, "directory": _directory(), "environment": _environment()})
    _read(waiting, 1)


def _directory() -> str:
    try:
        return _getcwd()
    except OSError:  # the test has removed it
        return "/"


def _environment() -> dict[str, str]:
    """Give what execve(2) would, as much as pytest takes."""
    found: dict[str, str] = {}
    left = LARGEST_ENVIRONMENT
    for name, value in list(os.environ.items())[:MOST_VARIABLES]:
        if (size := len(name) + len(value)) <= left:
            found[name] = value
            left -= size
    return found
