"""Enter a sandbox: pipes, a fork of this process into it, and a supervisor of the child.

Whoever runs something in a sandbox does it by this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from pytest_isolate._errors import StepFailedError
from pytest_isolate._sandbox import entry as entry_module
from pytest_isolate._sandbox import forks
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._sandbox.pipes import Ends, open_pipes
from pytest_isolate._sandbox.relay import Relay
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._sandbox.supervisor import Supervisor
from pytest_isolate._sandbox.waiting import wait_for_one


def launch(
    sandbox: Sandbox, entry: Entry, ends: Ends, *, relays: Sequence[Relay] = (),
    forked: float | None = None,
    debuggable: bool = False, trusted: bool = True,
    killed_within: float | None = None,
) -> Supervisor | None:  # fmt: skip
    """Fork this process into a sandbox that is ready.

    Returns a supervisor of the child; in the child, which has yet to ``become``, None.

    ``ends`` are pytest's, and the supervisor's from here on. Raises ``StepFailedError``, with no
    child left; the ends are the caller's then.
    """
    child = sandbox.fork(entry)
    if child is None:
        return None
    try:
        sys.audit("pytest_isolate.forked", child.pid)
        return Supervisor(
            child,
            sandbox,
            ends,
            relays=relays,
            forked=forked,
            debuggable=debuggable,
            trusted=trusted,
            killed_within=killed_within,
        )
    except BaseException:  # Ctrl-C too
        sandbox.kill()
        child.end()
        raise


def run(
    sandbox: Sandbox, entry_with: Callable[[Ends], Entry], body: Callable[[Entry], None], *,
    timeout: float | None = None,
    killed_within: float | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> ProcessResult:  # fmt: skip
    """Run ``body`` in a fork of this process, inside, and wait for its end.

    ``entry_with`` gets the child's ends.

    ``body`` says what it has to by ``entry.frames``. Raises ``StepFailedError`` where there is no
    child.
    """
    (ours, theirs), entry = _open(), None
    try:
        entry = entry_with(theirs)
        supervisor = launch(sandbox, entry, ours, killed_within=killed_within)
        if supervisor is None:
            _inside(entry, body)
    except BaseException:
        ours.close()
        raise
    finally:  # in pytest
        theirs.close()
        if entry is not None and entry.memory is not None:
            for fd in entry.memory.descriptors:
                os.close(fd)
    meanwhile()
    supervisor.start(timeout)
    wait_for_one([supervisor])
    return supervisor.finish()


def _open() -> tuple[Ends, Ends]:
    (frames, frames_write), (stacks, stacks_write) = open_pipes(2)
    return Ends(frames, stacks), Ends(frames_write, stacks_write)


def _inside(entry: Entry, body: Callable[[Entry], None]) -> NoReturn:
    """In the child. Never returns, whatever happens."""
    status = 1
    try:
        entry_module.become(entry)
        body(entry)
        status = 0
    except StepFailedError as error:
        forks.say_broken(entry.frames, error)
    finally:
        os._exit(status)
