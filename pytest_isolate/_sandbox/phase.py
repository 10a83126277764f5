"""Where a child stands with its test."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a child stands with its present test."""

    ENTERING = "forked, or told to go on, and not heard of inside yet"
    RUNNING = "inside: its time runs"
    PAUSED = "a person talks to its debugger: no time runs, and Ctrl-C is for the debugger"
    OVER = "whatever its processes still say or do is no part of the test"
    GONE = "ended and let go of"
