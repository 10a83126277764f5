"""Which lines of Python hold the memory, where ``tracemalloc`` is switched on: asked for shortly
before the limit is hit.

A process that the kernel kills for memory can say nothing any more. So pytest looks at the usage of
the group every millisecond and, once, at three quarters of the limit, sends a signal; Python's
handler takes a snapshot between two instructions of the test.
"""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Callable, Iterator

from pytest_isolate._config.values import counted, format_size

ALARM = int(signal.SIGRTMAX) - 1
SHARE = 0.75  # of the limit
_MOST_LINES = 10
_SMALL_PART = 50  # a line that holds less than this part of what the largest holds is not shown
_LONGEST = 300  # characters


def answer_alarm(send: Callable[[dict[str, object]], None]) -> bool:
    """In the child: be ready to answer, if there is something to say. ``send`` writes a frame."""
    if not tracemalloc.is_tracing():
        return False
    # pytest's own, which count for no limit and would make the snapshot larger than the rest of it
    tracemalloc.clear_traces()

    def handle(number: int, frame: object) -> None:
        del number, frame
        statistics = tracemalloc.take_snapshot().statistics("lineno")[:_MOST_LINES]
        lines = [
            [each.traceback[0].filename, each.traceback[0].lineno, each.size, each.count]
            for each in statistics
        ]
        send({"kind": "allocations", "lines": lines})

    signal.signal(ALARM, handle)
    return True


def sentence(lines: object) -> str:
    """In the parent: for people, what a child wrote, as far as it has the form."""
    valid = list(_valid(lines))
    largest = max((size for _, size, _ in valid), default=0)
    shown = ", ".join(f"{place} {format_size(size)} in {counted(count, 'block')}"
                      for place, size, count in valid if size * _SMALL_PART >= largest)  # fmt: skip
    return f"allocated at three quarters of the limit, by tracemalloc: {shown}" if shown else ""


def _valid(lines: object) -> Iterator[tuple[str, int, int]]:
    for each in lines[:_MOST_LINES] if isinstance(lines, list) else []:
        if isinstance(each, list) and [type(part) for part in each] == [str, int, int, int]:
            filename, line, size, count = each
            yield f"{filename[-_LONGEST:]}:{line}", size, count
