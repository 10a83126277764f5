"""What is wrong with an image, in words."""

from __future__ import annotations


class BrokenImageError(Exception):
    """An image that cannot be read or unpacked: a clause that says where in it, and why."""


def printable(text: str) -> str:
    """Show a name that somebody else chose, on one line and not without end."""
    shown = repr(text)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}...'"


_MOST_SHOWN = 200
