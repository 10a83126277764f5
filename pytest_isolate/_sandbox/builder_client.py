"""The parent's side of the builder: its process, the sandboxes ordered from it, and those to be let
go of.

Everything opened here is pytest's alone: close-on-exec, and never among what a test inherits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import _cffi_backend

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux.cgroup.hierarchy import Hierarchy
from pytest_isolate._sandbox import bootstrap, ending, wire
from pytest_isolate._sandbox.bare import Bare
from pytest_isolate._sandbox.ending import is_ready, is_reaped
from pytest_isolate._sandbox.recipe import Recipe
from pytest_isolate._sandbox.requests import (
    Build,
    Failed,
    Learn,
    MakeGroups,
    Message,
    Release,
    receive,
)
from pytest_isolate._sandbox.sandbox import BUILDING_LONGEST, Sandbox

# Seconds that the builder has to unmake everything before it is killed: it takes at most half of
# them
_LEAVING_LONGEST = 10.0


class BuilderClient:
    """One builder process and the sandboxes ordered from it."""

    def __init__(self, places: dict[str, Hierarchy]) -> None:
        self.places = places
        self.answers_within = BUILDING_LONGEST
        self._pid = os.getpid()
        self._builder: subprocess.Popen[bytes] | None = None
        self._pidfd = -1  # of it
        self._number = 0
        self._spares: list[Sandbox] = []  # ordered ahead, the oldest first
        self.closing: list[Sandbox] = []  # whose tests are over
        self.open: set[Sandbox] = set()  # all that have something open
        self.unreaped: list[int] = []  # tests that came to their end, whose exit nobody waited for
        self._learnt: dict[int, Recipe] = {}  # holds them, so that no other gets their id
        # Or the builder would die of it, with fewer words
        with Step("use a pidfd of", "this process"):
            own = os.pidfd_open(self._pid)
        try:
            with Step("use a pidfd of", "this process"):
                signal.pidfd_send_signal(own, 0)
        finally:
            os.close(own)
        self._start()

    def _start(self) -> None:
        backend = str(Path(_cffi_backend.__file__).parent)
        with Step("open a channel to", "the builder process"):
            self._requests, theirs = wire.pair()
        try:
            with Step("start", "the builder process"):
                self._builder = subprocess.Popen(
                    bootstrap.command("pytest_isolate._sandbox.builder", [backend]),
                    stdin=theirs.fileno(),
                    start_new_session=True,
                )
                self._pidfd = os.pidfd_open(self._builder.pid)
        except StepFailedError:
            self._requests.close()
            raise
        finally:
            theirs.close()
        if not self.places:
            return
        self._requests.settimeout(self.answers_within)
        try:
            MakeGroups.of(self.places).send(self._requests)
            received = receive(self._requests)
        except OSError:  # it died before it read, or says nothing
            received = None
        self._requests.settimeout(None)
        answer = Failed("start", "the builder", errno.EPIPE) if received is None else received[0]
        if isinstance(answer, Failed):
            self.close()
            raise answer.error()

    def death(self, within: float = 0.0) -> str | None:
        """How the builder died, in words; None while it lives.

        With it died its sandboxes, and every test in them.

        ``within`` so many seconds, where something looks as if it had.
        """
        if self._pidfd < 0 or not is_ready(self._pidfd, within):
            return None
        status = self._status()
        how = (
            f"was ended by {signal.Signals(-status).name}"
            if status < 0
            else f"left with exit status {status}"
        )
        return (
            f"the builder, a helper process of pytest-isolate, {how} (if not by a person: the"
            " machine may be out of memory, see dmesg)"
        )

    @property
    def pid(self) -> int:
        """The pid of the builder."""
        return -1 if self._builder is None else self._builder.pid

    @property
    def helpers(self) -> set[int]:
        """The pids of all processes of ours."""
        return {self.pid}

    def kill(self) -> None:
        """End a builder that does not answer. ``revive`` puts another one in its place."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._status()

    def _status(self) -> int:
        """Wait for the builder's end.

        As of ``subprocess``, whose own lock a Ctrl-C in a wait of its leaves locked for ever.
        """
        assert self._builder is not None
        if self._builder.returncode is None:
            status = ending.reap(
                self._builder.pid, "the builder, a helper process of pytest-isolate,"
            )
            # Somebody else's to know, or nobody's
            self._builder.returncode = 0 if status is None else os.waitstatus_to_exitcode(status)
        return self._builder.returncode

    def _forget_builder(self) -> None:
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def revive(self) -> None:
        """Put another builder in the place of one that died; it sweeps what that one left.

        Raises ``StepFailedError``.
        """
        self._drop_spares()
        self._requests.close()
        self._forget_builder()
        self._learnt.clear()
        self._start()

    def reap(self, *, wait: bool = False) -> None:
        """Reap the tests that have left meanwhile; with ``wait`` all of them."""
        self.unreaped = [pid for pid in self.unreaped if not is_reaped(pid)]
        while wait and self.unreaped:
            ending.reap(self.unreaped.pop(), ending.TEST)

    def clean_up(self) -> None:
        """Let go of the sandboxes whose tests are over."""
        self.reap()
        while self.closing:
            self.closing.pop().close()

    def order(self, recipe: Recipe) -> Sandbox:
        """Ask for a sandbox; it is built while we do something else."""
        self._number += 1
        sys.audit("pytest_isolate.order", self.pid)
        with Step("open a channel to", "the next sandbox"):
            ours, theirs = wire.pair()
        try:
            # A recipe is long: it is said once, then only its number
            if id(recipe) not in self._learnt:
                Learn(id(recipe), recipe.pack()).send(self._requests)
                self._learnt[id(recipe)] = recipe
            Build(self._number, id(recipe)).send(self._requests, (theirs.fileno(),))
        except ConnectionError as error:
            ours.close()
            self.death(_LEAVING_LONGEST)
            raise StepFailedError(
                "reach", "the builder process, which has died", error.errno or errno.EPIPE
            ) from error
        except OSError as error:
            ours.close()
            raise StepFailedError(
                "ask", "the builder process for a sandbox", error.errno or 0
            ) from error
        finally:
            theirs.close()
        sandbox = (Sandbox if recipe.namespaces else Bare)(self, self._number, recipe, ours)
        self.open.add(sandbox)
        sys.audit("pytest_isolate.ordered", self.pid)
        return sandbox

    def take(self, recipe: Recipe) -> Sandbox:
        """Take the first sandbox ordered ahead if it is of this recipe, else a new one."""
        if self._spares and self._spares[0].recipe is not recipe:
            self._drop_spares()
        return self._spares.pop(0) if self._spares else self.order(recipe)

    def take_ready(self, recipe: Recipe) -> Sandbox | None:
        """Take the first sandbox ordered ahead, if it is of this recipe and there is an answer."""
        if (
            not self._spares
            or self._spares[0].recipe is not recipe
            or not self._spares[0].has_answer
        ):
            return None
        return self._spares.pop(0)

    def order_ahead(self, recipe: Recipe, most: int = 1) -> None:
        """Have the sandboxes of the next tests built while the present one runs,
        ``most`` of them.
        """
        # A dead builder is the next test's to replace
        while len(self._spares) < most and self.death() is None:
            try:
                self._spares.append(self.order(recipe))
            except StepFailedError:  # or one that died just now
                return

    def _drop_spares(self) -> None:
        while self._spares:
            self._spares.pop().close()

    def tell(self, request: Message) -> None:
        """Tell the builder something of a sandbox. Raises ``ConnectionError`` when it has died."""
        request.send(self._requests)

    def release(self, number: int) -> None:
        """Tell the builder that it may unmake a sandbox."""
        try:
            Release(number).send(self._requests)
        except OSError:  # the builder died, and its PID 1s with it; or it hears of it at the end
            return

    def descriptors(self) -> set[int]:
        """Everything of ours that no test may inherit."""
        ours = {self._requests.fileno(), self._pidfd}
        for sandbox in self.open:
            ours.update(sandbox.descriptors())
        return ours

    def close(self, within: float = _LEAVING_LONGEST) -> None:
        """End the builder, which unmakes what is left, and wait for it; kill it if it has not ended
        within so many seconds.
        """
        if os.getpid() != self._pid:
            return  # a forked child's copy: not its to end
        self.clean_up()
        self.reap(wait=True)
        self._drop_spares()
        self._requests.close()
        if self._pidfd >= 0:
            if not is_ready(self._pidfd, within):  # stopped, or worse
                # And the kernel its sandboxes with it; their groups are the next run's to sweep
                self.kill()
            self._status()
            self._forget_builder()
