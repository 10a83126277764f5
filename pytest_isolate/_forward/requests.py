"""What pytest and the relay say to each other.

Imported by the relay, which is to start fast: cheap modules only.
"""

from __future__ import annotations

from pytest_isolate._sandbox.records import Record
from pytest_isolate._sandbox.requests import Message


class Places(Record):
    """Where servers wait, each as the fields of a ``Place``."""

    places: tuple[tuple[str, str, int, bool], ...]


class OpenServers(Message):
    """Have a sandbox reach servers; a pidfd of its PID 1 is beside the message.

    The answer is ``Opened`` or ``Failed``.
    """

    sandbox: int
    namespaces: int
    packed: str  # ``Places``


class Opened(Message):
    """They are there."""


class AskUsed(Message):
    """Say what came through. The answer is ``Used``."""

    sandbox: int


class Used(Message):
    """What came through for each server, in their order; nothing for a sandbox that is gone."""

    figures: tuple[str, ...]
