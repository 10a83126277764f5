"""Which line of the project's own code it is that runs: for hints of who did something."""

from __future__ import annotations

import sys

_LONGEST = 300  # characters


def nearest(root: str) -> str:
    """Give the nearest line of a file below ``root`` on this thread's stack, if there is one."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(root) and "site-packages" not in name:
            return f"{name.removeprefix(root).lstrip('/')}:{frame.f_lineno}"[-_LONGEST:]
        frame = frame.f_back  # type: ignore[assignment]
    return ""
