"""Wait for tests, any number of them."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence

from pytest_isolate._sandbox.watch import Watch


def wait_for_one(watches: Sequence[Watch], beat: Callable[[], float] | None = None) -> None:
    """Wait until at least one test is over, and no person in any of them, looking after all.

    ``beat`` is called now and then meanwhile, and gives the seconds until it is to be again.
    """
    while not any(watch.over for watch in watches) or any(watch.visits.are_on for watch in watches):
        poll, going = select.poll(), [watch for watch in watches if not watch.over]
        for watch in going:
            for fd in watch.descriptors():
                poll.register(fd, select.POLLIN)
        due = min(watch.due() for watch in going)
        if beat is not None:
            due = min(due, beat())
        ready = {fd for fd, _ in poll.poll(due * 1000 + 1)}
        for watch in going:
            watch.look(ready)
