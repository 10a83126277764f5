"""Wait for tests, any number of them."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence

from pytest_isolate._sandbox.supervisor import Supervisor


def wait_for_one(
    supervisors: Sequence[Supervisor], beat: Callable[[], float] | None = None
) -> None:
    """Wait until at least one test is over, and no person in any of them, looking after all.

    ``beat`` is called now and then meanwhile, and gives the seconds until it is to be again.
    """
    while not any(each.over for each in supervisors) or any(
        each.visits.are_on for each in supervisors
    ):
        poll, going = select.poll(), [each for each in supervisors if not each.over]
        for each in going:
            for fd in each.descriptors():
                poll.register(fd, select.POLLIN)
        due = min(each.due() for each in going)
        if beat is not None:
            due = min(due, beat())
        ready = {fd for fd, _ in poll.poll(due * 1000 + 1)}
        for each in going:
            each.look(ready)
