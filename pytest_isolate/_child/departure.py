"""A fork of pytest that becomes a test's process: what is to be seen to on both sides of it,
whoever forks.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_isolate._child import preparation
from pytest_isolate._child.given import Given
from pytest_isolate._child.group import NOTHING, Command
from pytest_isolate._errors import StepFailedError
from pytest_isolate._forking import forked
from pytest_isolate._forking.timers import Stopped
from pytest_isolate._messages import coverage
from pytest_isolate._pytest import logs
from pytest_isolate._sandbox import entry as entry_module
from pytest_isolate._sandbox import forks
from pytest_isolate._sandbox.entry import Before, Entry
from pytest_isolate._sandbox.supervisor import STACK_SIGNAL
from pytest_isolate._session.run import Run

Mask = set[int]
# In a child that is not yet inside, Ctrl-C would be two parents
INTERRUPTING = {signal.SIGINT, signal.SIGTERM}


@dataclass(frozen=True)
class Warm:
    """A Python as its forks find it, and what they have to put right in their copies."""

    timers: Stopped
    repairs: forked.Repairs
    repairing: Sequence[int]  # descriptors that the repairs need
    random: Callable[[], None]
    threads: tuple[str, ...]  # names of those that the copies lack
    measuring: coverage.Measuring | None  # of coverage

    @classmethod
    def of(cls, run: Run, timers: Stopped, repairing: list[int]) -> Warm:
        """Look, and flush what a fork would write a second time.

        ``repairing`` grows by what is opened. Raises ``StepFailedError``.
        """
        repairs = preparation.repairs(run, repairing)
        for stream in (sys.stdout, sys.stderr, *logs.debug_trace(run.config)):
            stream.flush()
        return cls(
            timers,
            repairs,
            repairing,
            preparation.random_state(),
            other_threads(),
            coverage.measuring(lambda _: False),
        )

    def become(self, entry: Entry) -> Before:
        """In the child: go inside, and repair. Raises ``StepFailedError``, ``OSError``."""
        before = entry_module.become(entry)
        for repair in self.repairs:
            repair()
        self.random()
        return before


@dataclass(frozen=True)
class Arrival:
    """A child that is inside its sandbox."""

    given: Given
    entry: Entry
    warm: Warm
    before: Before
    command: Command = NOTHING  # which test it is, where it was forked ahead


def other_threads() -> tuple[str, ...]:
    """Names of those of this process that a fork has not."""
    return tuple(
        thread.name for thread in threading.enumerate() if thread is not threading.current_thread()
    )


class Departing:
    """What a process does without while it forks, and has again when it is still this process, or
    the child is inside.
    """

    def __init__(self, stacks: int) -> None:
        self._stacks = stacks
        self.is_inside = False

    @contextlib.contextmanager
    def fork(self) -> Iterator[None]:
        """Around it."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTING)
        # Already here, for a child that hangs in somebody's handler of forks
        faulthandler.register(STACK_SIGNAL, file=self._stacks)
        try:
            yield
        finally:
            if not self.is_inside:
                faulthandler.unregister(STACK_SIGNAL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def arriving(frames: int) -> Iterator[None]:
    """In a child, up to the first line of its test.

    One that fails never returns into pytest, where it would take itself for the parent.
    """
    arrived = False
    try:
        yield
        arrived = True
    except StepFailedError as error:
        forks.say_broken(frames, error)
    except OSError as error:
        forks.say_broken(
            frames,
            StepFailedError("begin in", error.filename or "the test's process", error.errno or 0),
        )
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends here
        forks.say_broken(
            frames, StepFailedError(f"begin ({type(error).__name__}: {error})", "in the child", 0)
        )
    finally:  # also if pytest is not there any more to be told
        if not arrived:
            os._exit(1)
