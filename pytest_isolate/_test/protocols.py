"""The protocol of each test: pytest's own, or a child that runs it; and the isolated tests that are
in hand meanwhile.

Imports nothing that knows the kernel: what only isolated tests need is imported when the first of
them comes.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_isolate._forking.dump_later import dump_later
from pytest_isolate._session.run import Run

if TYPE_CHECKING:
    from pytest_isolate._child.departure import Arrival
    from pytest_isolate._child.group import Group, Key
    from pytest_isolate._test.nursery import Nursery
    from pytest_isolate._test.scheduler import Scheduler
    from pytest_isolate._test.states import (
        Finished,
        Hooks,
        IsolatedTest,
        Judged,
        Refused,
        Requested,
        Skipped,
    )


class Protocols:
    """Whose turn it is, and where each test runs."""

    def __init__(self, run: Run, hooks: Hooks) -> None:
        self._run, self._hooks = run, hooks
        # Of the test that pytest is at, or which it reports
        self.state: Requested | Skipped | Finished | Refused | Judged | None = None
        # The sandbox of the test before, if it goes on with the next
        self._shared: Group | None = None
        # Of which tests it has ended before its time, and why
        self._lost: tuple[Key, str] | None = None
        self._scheduler: Scheduler | None = None  # with --isolate-jobs
        self._nursery: Nursery | None = None  # from the first isolated test on
        self._jobs = 1
        self._plain_protocol: Callable[..., object]  # of pytest, with everybody's hooks
        if run.config.getoption("isolate_jobs") != "1":
            from pytest_isolate._test import scheduler  # noqa: PLC0415

            if (jobs := scheduler.jobs_of(run.config)) > 1:
                self._scheduler, self._jobs = (
                    scheduler.Scheduler(jobs, self._report, self._begin_again),
                    jobs,
                )
                run.drain = self._scheduler.drain

    @contextlib.contextmanager
    def running(self, session: pytest.Session) -> Iterator[None]:
        """Have every test's protocol begin here, or step aside when none is isolated: then they
        cost what they cost without the plugin.
        """
        if session.items and not self._run.any_isolated(session):  # xdist's controller has no items
            if not self._run.has_to_tell:
                session.config.pluginmanager.unregister(self._hooks)
                dump_later.uninstall()
            yield
            return
        from pytest_isolate._pytest import hook_calls  # noqa: PLC0415

        with hook_calls.protocol_by(session.config, self._begin_protocol) as self._plain_protocol:
            yield

    def _begin_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run the protocol of any test: pytest's own, or a child that runs it."""
        if self.state is None and self._run.is_isolated(item):
            return self._run_isolated(item, nextitem)
        if self._scheduler is not None and self.state is None:
            self._scheduler.report_all()
            if self._run.stops(item.session):
                # A test before this one has just ended the run, which pytest looks for after it
                return True
        self._run.change()
        return self._plain_protocol(item=item, nextitem=nextitem)

    def run_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run an isolated test elsewhere for whoever has found a way around ``_begin_protocol``:
        pytest itself never runs one.
        """
        if self.state is None and self._run.is_isolated(item):
            return self._run_isolated(item, nextitem)
        return None

    def _run_isolated(
        self, item: pytest.Item, nextitem: pytest.Item | None, after: IsolatedTest | None = None
    ) -> object:
        """Run a test in a child; ``after`` an attempt that is to be followed by another."""
        # Nothing of it is imported for unmarked tests
        from pytest_isolate._test import report, start  # noqa: PLC0415
        from pytest_isolate._test.states import Requested, Running, Skipped  # noqa: PLC0415

        scheduler, state = self._scheduler, self._request(item, nextitem, after)
        test = state.test
        if scheduler is not None and self._run.stops(item.session):
            state.close()
            return True
        self.state, ended, raised = state, None, None
        if isinstance(state, Skipped):
            return self._run_plainly(state)
        if scheduler is None or scheduler.is_empty or after is not None:
            report.say_start(test)
        try:
            if isinstance(state, Requested):
                if scheduler is not None and test.concurrent:
                    scheduler.admit(test, state.asked)
                ended = start.run(state)
            else:
                ended = state
        except BaseException as error:  # noqa: BLE001 - raised again when the test's turn comes
            raised = error
        if scheduler is None or not test.concurrent:
            assert not isinstance(ended, Running)
            self._report(ended or state, raised)
            return True
        self.state = None
        if isinstance(raised, KeyboardInterrupt):
            try:
                scheduler.raise_interrupted(test, raised)
            finally:
                state.close()
        if raised is not None:
            scheduler.report_all()
            self._report(state, raised)
        assert ended is not None
        scheduler.take_in(test, ended)
        return True

    def _request(
        self, item: pytest.Item, nextitem: pytest.Item | None, after: IsolatedTest | None
    ) -> Requested | Refused | Skipped:
        from pytest_isolate._pytest import marks, setup_state  # noqa: PLC0415 - as above
        from pytest_isolate._test import request, warn  # noqa: PLC0415 - as above
        from pytest_isolate._test.states import IsolatedTest, Requested  # noqa: PLC0415 - as above

        sys.audit("pytest_isolate.request", item.nodeid)
        test = IsolatedTest(self._run, item, nextitem)
        state: Requested | Refused | Skipped
        if marks.is_skipped(item):
            state = request.skip(test)
        else:
            warn.warn_of_plugins(self._run, item)
            before, self._shared = self._shared, None
            state = request.request(test, self._hooks, before, self._lost)
            if isinstance(state, Requested):
                state.nursery = self._nursery_of(item.session)
        if after is not None:
            test.follow(after)
        elif self._scheduler is not None:
            test.concurrent = self._scheduler.prepare(state)
            if (
                test.concurrent
                and isinstance(state, Requested)
                and state.shares
                and not setup_state.has_shared(item, state.fresh)
            ):
                # Before shared fixtures change everything before that is told
                self._scheduler.report_all()
        return state

    def _nursery_of(self, session: pytest.Session) -> Nursery:
        from pytest_isolate._test import arrival, nursery  # noqa: PLC0415 - as above

        def arrive(told: Arrival) -> Callable[[], NoReturn]:
            """In a child that was forked ahead: be the test that it is told to be."""
            inside, nextitem = arrival.arrive(
                self._run, self._hooks, session, told, concurrent=self._scheduler is not None
            )
            return partial(inside.run, nextitem)

        if self._nursery is None:
            self._nursery = nursery.Nursery(self._run, session, self._jobs, arrive)
        return self._nursery

    def _run_plainly(self, state: Skipped) -> object:
        """Have pytest itself run the protocol of a test that a mark skips."""
        test = state.test
        self._run.change()
        try:
            return self._plain_protocol(item=test.item, nextitem=test.nextitem)
        finally:
            self.state = None
            self._add_entry(state)

    def _report(
        self, ended: Requested | Finished | Refused, raised: BaseException | None = None
    ) -> None:
        """Report a test, or raise what was raised in pytest on its way to an end."""
        from pytest_isolate._test import judge, report, request  # noqa: PLC0415 - as above
        from pytest_isolate._test.states import Judged, Requested  # noqa: PLC0415 - as above

        test, again = ended.test, False
        state: Requested | Finished | Refused | Judged = ended
        self.state = state
        try:
            report.say_start(test)
            if raised is not None:
                raise raised
            assert not isinstance(ended, Requested)
            self.state = state = judged = judge.judge(ended)
            again = report.report(judged)
        finally:
            self.state = None
            self._add_entry(state)
            self._shared = state.close()
            if self._shared is None and isinstance(state, Judged):
                self._lost = request.lost(state)
        if again:
            self._begin_again_later(test)

    def _add_entry(self, state: Requested | Skipped | Finished | Refused | Judged) -> None:
        from pytest_isolate._test.entry import entry  # noqa: PLC0415 - as above

        if not state.test.entry_travels:
            self._run.entries.own.append(entry(state))

    def _begin_again_later(self, test: IsolatedTest) -> None:
        from pytest_isolate._messages import reruns  # noqa: PLC0415

        delay = reruns.delay_of(test.item, test.attempts)
        if self._scheduler is not None:
            self._scheduler.begin_again_later(test, delay)
        else:
            time.sleep(delay)
            self._begin_again(test)

    def _begin_again(self, test: IsolatedTest) -> None:
        """Make another attempt of a test; the one before loses its entry, which is the last, for
        nobody was reported since.
        """
        if not test.entry_travels:
            self._run.entries.own.pop()
        self._run_isolated(test.item, test.nextitem, after=test)

    def place_interruption(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Name the tests that run while pytest does anything else, as with jobs."""
        if self._scheduler is not None:
            self._scheduler.place(excinfo, None if self.state is None else self.state.test)

    def end_tests(self) -> None:
        """End the tests that run, before pytest tears down what a run that stopped had left, and
        before anybody's own end.
        """
        if self._scheduler is not None:
            self._scheduler.abandon()
        # A Ctrl-C came between its fork and whoever was to look after it
        if self.state is not None:
            if self.state.test.running is not None:
                self.state.test.running.abandon()
            self.state = None
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self._nursery is not None:
            self._nursery.leave()

    def drain(self) -> None:
        """Wait for the tests in flight: nobody runs while shared fixtures change."""
        if self._scheduler is not None:
            self._scheduler.drain()

    def drain_before_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Wait for them where the teardown of a test takes down what they share."""
        if self._scheduler is not None:
            self._scheduler.drain_before_teardown(item, nextitem)
