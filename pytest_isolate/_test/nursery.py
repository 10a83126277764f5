"""The nursery: a fork of pytest that does nothing but fork the children of tests, some of them
ahead of their turn.

A fork of pytest itself leaves pytest with a page fault for each page that it writes to next, and
every test would pay that again. The nursery writes to nothing. It is made for a stretch of tests
that find pytest's state the same, and thrown away when that
changes: its children are copies of pytest as it was when the nursery was forked. A child forked
    ahead is inside its sandbox, has run nothing of its test, and waits for the command that says
    which test that is; without one it leaves.

pytest opens what a child needs and passes it on (``nurse``). The nursery runs no test's code and
reads nothing that one wrote.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque

import pytest

from pytest_isolate._child import preparation
from pytest_isolate._child.departure import INTERRUPTING, Warm
from pytest_isolate._child.group import Group
from pytest_isolate._child.nursing import Arrive, Nursing
from pytest_isolate._config import settings
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import BadValueError, StepFailedError
from pytest_isolate._forking.timers import Stopped
from pytest_isolate._messages import coverage
from pytest_isolate._plan.planning import Plan
from pytest_isolate._pytest import capture, setup_state
from pytest_isolate._pytest.plugins import REPORTERS
from pytest_isolate._sandbox import forks, wire
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._sandbox.supervisor import Supervisor
from pytest_isolate._session import children
from pytest_isolate._session.plans import plan_for
from pytest_isolate._session.run import Run, working_directory
from pytest_isolate._test.nurse import Nurse, Place

_STEADY = 2  # forks that found pytest's state the same, after which a nursery is worth its own fork
_TOLD = (  # hooks that are called in pytest between the fork of one test and that of the next
    "pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish",
    "pytest_warning_recorded",
    "pytest_report_teststatus", "pytest_report_to_serializable", "pytest_report_from_serializable",
)  # fmt: skip


class Nursery:
    """The nurseries of a run, one after the other, and the children that wait for their turn."""

    def __init__(self, run: Run, session: pytest.Session, ahead: int, arrive: Arrive) -> None:
        self._run, self._session, self._most, self._arrive = run, session, ahead, arrive
        self._nurse: Nurse | None = None
        self._retired: list[Nurse] = []  # of an earlier state, whose children still run
        self._ahead: deque[Place] = deque()
        self._state: object = None  # of pytest at the last fork
        self._steady = 0
        self.troubles: list[str] = []  # to be warned of
        run.held.append(self._descriptors)
        run.before_change.append(self.leave)
        self._never = (
            settings.why_one(run.config) is not None
            or preparation.wants_debugger(run.config)
            or bool(run.config.getoption("isolate_shell"))
        )

    def take(self, item: pytest.Item, nextitem: pytest.Item | None, spec: Spec) -> Group | None:
        """Take a child for this test, which waits for its command.

        None where pytest has to fork it itself.
        """
        if not self._run.worked:  # what this machine cannot do is to be said of the first test
            return None
        if nextitem is not None and not self._run.knows(nextitem):
            return None
        try:
            if not self._is_for(item, spec) or not self._is_steady(item) or self._nurse is None:
                return None
            plan = plan_for(self._run, spec, item.session)
            if plan.missing:
                return None
            nurse = self._nurse
            place = self._next(nurse, spec, plan) or self._ask(nurse, item, spec, plan)
            child = nurse.wait(place)
        except (StepFailedError, BadValueError):
            # pytest's own fork meets it too, and says it, or does without
            self.forget()
            return None
        place.sandbox.beside.clear()
        prepared = place.prepared
        supervisor = Supervisor(
            child, place.sandbox, prepared.ends, relays=prepared.relays,
            forked=time.monotonic(),
            debuggable=capture.has_terminal(self._run.config) and not spec.strict,
            trusted=not spec.strict,
        )  # fmt: skip
        if self._run.machine.huge_pages.before_fork():  # the next nursery shares them
            self.forget()
        measuring = coverage.measuring(plan.written.covers)
        return Group(
            None,
            spec,
            place.sandbox,
            plan,
            supervisor,
            prepared.commands,
            measuring,
            prepared.given.mirrors,
            nurse.threads,
        )

    def look_ahead(
        self, item: pytest.Item | None, foreseen: tuple[Spec, Plan] | None, timers: Stopped
    ) -> int:
        """While a test runs: fork a nursery, if it pays now, and children for the next tests, if
        their sandboxes are ready.

        Returns how many more could be ahead.
        """
        self._let_go()
        if self._nurse is not None:
            self._nurse.hear()
            if not self._nurse.is_alive:
                self.forget()
        if item is None or foreseen is None or not self._is_for(item, foreseen[0]):
            return 0
        if self._nurse is None and self._steady >= _STEADY and not timers.any_set:
            self._bear(timers)
        return 0 if self._nurse is None else self._fill(self._nurse, item, *foreseen)

    def _fill(self, nurse: Nurse, item: pytest.Item, spec: Spec, plan: Plan) -> int:
        if plan.recipe.waits:
            return 0
        try:
            while (
                len(self._ahead) < self._most
                and (sandbox := self._run.machine.builder.take_ready(plan.recipe)) is not None
            ):
                self._ahead.append(self._ask(nurse, item, spec, plan, sandbox))
        except StepFailedError:  # as in take()
            self.forget()
        return self._most - len(self._ahead)

    def _next(self, nurse: Nurse, spec: Spec, plan: Plan) -> Place | None:
        place = self._ahead[0] if self._ahead else None
        if place is not None and (place.spec != spec or place.plan is not plan):
            self._ahead.clear()
            nurse.forget()
            return None
        return self._ahead.popleft() if self._ahead else None

    def _ask(
        self,
        nurse: Nurse,
        item: pytest.Item,
        spec: Spec,
        plan: Plan,
        sandbox: Sandbox | None = None,
    ) -> Place:
        if sandbox is None:
            sandbox = self._run.machine.builder.take(plan.recipe)
        try:
            sandbox.wait_ready()
            self._run.forwarding.open(sandbox, plan.servers)
            if spec.memory is not None and "memory" in sandbox.groups:
                sandbox.watch_memory()
            prepared = preparation.prepare(self._run, self._run.config, spec, sandbox)
        except BaseException:
            sandbox.close()
            raise
        place = Place(spec, plan, sandbox, prepared)
        try:
            nurse.ask(place, self._run.index_of(item))
        except BaseException:
            place.drop()
            raise
        finally:
            preparation.close(*prepared.given.own)
        return place

    def _is_for(self, item: pytest.Item, spec: Spec) -> bool:
        """Whether nothing of this test needs pytest's own fork."""
        if (
            self._never
            or spec.user is not None
            or spec.scope != "function"
            or not self._run.knows(item)
            or not self._run.machine.roots.is_ready(spec.rootfs)
        ):
            return False
        if threading.active_count() > 1:  # which may change at any moment what a test finds
            return False
        return not self._run.played.is_wanted(item) and _is_told_nothing(item)

    def _is_steady(self, item: pytest.Item) -> bool:
        """Whether pytest's state is what it was at the last fork.

        What was forked from another state is thrown away.
        """
        measuring = coverage.measuring(lambda _: False)
        if measuring is not None and measuring.begins_anew:
            return False
        state = (
            self._run.changes,
            measuring and measuring.context,
            setup_state.set_up_nodes(item.session),
            len(sys.modules),
            working_directory(),
            {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
            children.foreign_and_ended(self._run),
        )
        if state == self._state:
            self._steady += 1
            return True
        self._state, self._steady = state, 0
        self.forget()
        return False

    def forget(self) -> None:
        """Throw away the nursery and who waits there. Tests that run go on."""
        self._ahead.clear()
        if self._nurse is not None:
            self._nurse.hear()
            self._nurse.forget()
            self._retired.append(self._nurse)
            if self._nurse.died:
                self.troubles.append(
                    "pytest forks every test itself, for its helper, the nursery,"
                    f" failed:\n{self._nurse.died}"
                )
                self._never = True
            self._nurse = None
        self._steady = 0
        self._let_go()

    def _let_go(self) -> None:
        """End nurseries of whose children none is left."""
        for nurse in [each for each in self._retired if not each.is_needed]:
            self._retired.remove(nurse)
            nurse.end()

    def leave(self) -> None:
        """Have nothing left of it, while no test runs: it has a copy of all that pytest has open,
        and of its memory.

        Before shared fixtures change, who may wait for the end of a pipe, bind a port anew or
        unmount what they mounted, before a test that is not isolated, and before the end of the
        run.
        """
        self.forget()
        while self._retired:
            self._retired.pop().leave()

    def _descriptors(self) -> tuple[int, ...]:
        return tuple(
            nurse.channel.fileno() for nurse in (self._nurse, *self._retired) if nurse is not None
        )

    def _bear(self, timers: Stopped) -> None:
        """Fork a nursery. What it cannot have is no fault: pytest forks the tests then."""
        repairing: list[int] = []
        parent = os.getpid()
        try:
            ours, theirs = wire.pair()
            try:
                warm = Warm.of(self._run, timers, repairing)
                mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTING)
                try:
                    pid = forks.warm_fork()
                    if pid == 0:
                        try:
                            ours.close()
                            Nursing(self._run, self._session.items, warm, self._arrive).nurse(
                                parent, theirs, mask
                            )
                        finally:
                            # It never returns into pytest, where it would take itself for the
                            # parent
                            os._exit(1)
                    self._nurse = Nurse(pid, ours, warm.threads)
                    self._run.forked.add(pid)
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            finally:
                theirs.close()
                if self._nurse is None:
                    ours.close()
        except (OSError, StepFailedError):
            self._steady = 0
        finally:
            preparation.close(*repairing)


def _is_told_nothing(item: pytest.Item) -> bool:
    """Whether nobody hears of reports in pytest who may keep something of them for a later test."""
    hooks = item.ihook
    heard = (hook for name in _TOLD for hook in getattr(hooks, name).get_hookimpls())
    return all(hook.function.__module__.partition(".")[0] in REPORTERS for hook in heard)
