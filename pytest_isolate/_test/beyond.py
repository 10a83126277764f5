"""Limits that this machine cannot reach: taken, as the kernel takes them, and said once a run."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._session.run import Run


def sentences(run: Run, spec: Spec) -> Iterator[str]:
    """Yield what was not said before: a slip by a factor of 1024 is a test without a limit."""
    if (limits := tuple(spec.limits().items())) in run.said_of_limits:
        return
    run.said_of_limits.add(limits)
    for name, most, what in _most():
        limit = getattr(spec, name)
        if limit is None or limit <= most or (name, limit) in run.said_of_limits:
            continue
        run.said_of_limits.add((name, limit))
        show = KEYWORDS[name].show
        yield (
            f"isolate: {name}={show(limit)} ({spec.origin(name)}) is more than this machine has,"
            f" {show(most)}{what}, so that it limits nothing"
        )


def _most() -> Iterator[tuple[str, int, str]]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield "memory", memory, ""
    yield "disk", memory, " of memory, in which it lies"
    yield "cpu", os.cpu_count() or 1, " cores"
    yield "pids", _largest_pid(), " processes and threads"


def _largest_pid() -> int:
    try:
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
            return int(file.read())
    except OSError:  # hidden, in a container say
        return 1 << 22
