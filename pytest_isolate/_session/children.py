"""The children of pytest, of which some are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_isolate._forking.own_processes import Stats
    from pytest_isolate._session.run import Run


def foreign(run: Run) -> set[int]:
    """Return the processes that somebody else started in pytest."""
    children = run.machine.children.pids()
    run.forked &= children
    return children - run.forked - run.machine.builder.helpers - run.forwarding.helpers


def foreign_and_ended(run: Run) -> tuple[set[int], set[int]]:
    """Return the same, and which of them are over."""
    from pytest_isolate._forking import own_processes  # noqa: PLC0415 - for isolated tests only

    children = foreign(run)
    return children, own_processes.ended(children)


def stats(run: Run) -> Stats:
    """Return them when a test is forked, as ``own_processes.stats`` has them."""
    from pytest_isolate._forking import own_processes  # noqa: PLC0415 - for isolated tests only

    return own_processes.stats(foreign(run))
