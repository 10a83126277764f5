"""One test's fork: from the point where its protocol would begin to its process's end.

``run`` is called there. The child never returns from it: it runs the whole protocol of its test, as
a worker of pytest-xdist does, and ends. In pytest it returns when the test is over, or runs beside
others.
"""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import replace
from functools import partial
from typing import NoReturn

from pytest_isolate._child import preparation
from pytest_isolate._child.departure import Arrival, Departing, Warm, arriving
from pytest_isolate._child.group import Command, Group, goes_on
from pytest_isolate._child.visited import wait_for_shell
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import BadValueError, StepFailedError
from pytest_isolate._forking.timers import Stopped, standing_still
from pytest_isolate._messages import coverage
from pytest_isolate._plan.remedies import explain
from pytest_isolate._pytest import capture, hook_calls, setup_output, setup_state
from pytest_isolate._sandbox.launch import launch
from pytest_isolate._session.plans import foreseen, with_fixtures
from pytest_isolate._test import shared, shells
from pytest_isolate._test.arrival import become_test
from pytest_isolate._test.build import Ready, build
from pytest_isolate._test.interrupted import raise_where
from pytest_isolate._test.request import ENDED
from pytest_isolate._test.states import (
    Finished,
    IsolatedTest,
    Refused,
    Requested,
    Running,
    reader_of,
)
from pytest_isolate._test.supervise import supervise, wait


def run(requested: Requested) -> Running | Finished | Refused:
    """Run a test in a child.

    What is given is ``Running`` for a test that may run beside others, if it was not refused.
    """
    if requested.shares and not requested.rehearses:
        _set_up_shared(requested)
    state = _start(requested)
    while isinstance(state, Finished) and (needed := state.first("need")) is not None:
        requested.rehearses, requested.begun = False, requested.begun + 1
        state.close()
        requested.shared = None
        if needed.get("when") is None:
            _set_up_shared(requested)
        else:
            _set_up_asked(requested, str(needed["fixture"]), str(needed["when"]))
        state = _start(requested)
    return state


def _set_up_shared(requested: Requested) -> None:
    """Have pytest set up what the test shares with others."""
    run, item = requested.test.run, requested.test.item
    if not setup_state.has_shared(item, requested.fresh):
        run.change()
        call = shared.set_up(item, requested.fresh, run.played.is_around_shared)
        requested.set_up.seconds += call.duration
        requested.set_up.error = None if call.excinfo is None else call.excinfo.value


def _set_up_asked(requested: Requested, name: str, when: str) -> None:
    """Have pytest set up a wider fixture that the test asked for while it ran, as plain pytest
    would have there.
    """
    run, item, set_up = requested.test.run, requested.test.item, requested.set_up
    run.change()

    def keep(said: setup_output.Said) -> None:
        set_up.asked[name] = said

    with setup_output.apart(item, keep):
        call = shared.set_up(item, requested.fresh, run.played.is_around_shared, name)
    if when == "setup":
        set_up.seconds += call.duration
    else:
        set_up.asked_seconds += call.duration
    if call.excinfo is not None:
        set_up.error = call.excinfo.value


def _start(requested: Requested) -> Running | Finished | Refused:
    """Have a process that waits for a test run it, or fork one; then wait for it, unless the test
    may run beside others.
    """
    test, ready = requested.test, None
    try:
        _stand_on_fixtures(requested)
        if (state := _go_on_or_from_nursery(requested)) is not None:
            return state
        _stand_on_fixtures(requested)  # of a sandbox that has not gone on
        with standing_still():  # building a sandbox is no part of the test
            ready = build(test, requested.asked)
        return ready if isinstance(ready, Refused) else _fork(requested, ready)
    except BadValueError as error:  # of a layer that a fixture gave
        requested.close()
        return Refused(test, str(error), "keyword", requested.asked)
    except StepFailedError as error:
        why = test.run.builders_death(died=True) or explain(
            error,
            test.run.here,
            layers=bool(requested.asked.layers),
            rootfs=requested.asked.rootfs is not None,
        )
    except KeyboardInterrupt as error:
        # At any moment since the fork, or since a child was told to go on
        _interrupted(test, error)
    except Exception:  # noqa: BLE001 - ours, not the test's: it must not look like the test's failure
        why = f"pytest-isolate itself failed:\n{traceback.format_exc()}"
    requested.close()
    if isinstance(ready, Ready):
        return Refused(test, why, "sandbox", ready.spec, ready.plan)
    return Refused(test, why, "sandbox", requested.asked)


def _stand_on_fixtures(requested: Requested) -> None:
    """Add the layers that shared fixtures have given. Raises ``BadValueError``."""
    if requested.shares:
        given = (requested.set_up.asked, requested.fresh)
        requested.asked = with_fixtures(requested.asked, requested.test.item, *given)


def _go_on_or_from_nursery(requested: Requested) -> Running | Finished | None:
    """Have a process that waits run this test. None if pytest is to fork: then nothing has run."""
    test, asked, group = requested.test, requested.asked, requested.shared
    if group is not None:
        if (
            state := _go_on(requested, replace(group.spec, origins=asked.origins), group)
        ) is not None:
            return state
        requested.shared = None
        requested.anew = ENDED
        if asked.fixtures != "fresh":
            _set_up_shared(requested)
        return None
    set_up = requested.set_up
    if (
        requested.nursery is None
        or requested.rehearses
        or test.attempts
        or set_up.error is not None
        or set_up.seconds
        or set_up.asked
    ):
        return None  # something of this test is in this process alone
    with standing_still():
        group = requested.nursery.take(test.item, test.nextitem, asked)
    return None if group is None else _go_on(requested, asked, group)


def _go_on(requested: Requested, spec: Spec, group: Group) -> Running | Finished | None:
    """Have a child that waits run this test.

    None if it turns out to have died in between: then nothing has run.
    """
    test, state = requested.test, None
    run, item = test.run, test.item
    further = goes_on(run, requested.key, test.nextitem)
    timers = Stopped.here()
    test.begun = time.time()
    test.running = running = Running(requested, spec, group)
    try:
        # First: whoever interrupts a test that was told to run is told where it stands
        supervise(running, further=further)
        owns_files = group.measuring is not None and group.measuring.owns_files
        group.command(
            Command(
                run.index_of(item),
                run.index_of(test.nextitem),
                item.session.testsfailed,
                further,
                owns_files,
            )
        )
        if not further:
            _look_ahead(requested, timers)
        state = wait(running)
    except BrokenPipeError:
        pass
    finally:
        timers.start_again()
    if isinstance(state, Running) or (state is not None and state.first("entered") is not None):
        return state
    test.running = None
    group.close()
    return None


def _interrupted(test: IsolatedTest, error: KeyboardInterrupt) -> NoReturn:
    """Say where the test stands, and end it: nobody will report it.

    With jobs that is the scheduler's to do, for all of them.
    """
    running = test.running
    if running is None or test.concurrent:
        raise error
    try:
        raise_where(
            [(test.name, running.group.supervisor, reader_of(test.run, running.spec))], error
        )
    finally:
        running.group.supervisor.finish()


def _fork(requested: Requested, ready: Ready) -> Running | Finished:
    """Fork pytest.

    The child runs its test, and ends. Raises ``StepFailedError``, with nothing left open.
    """
    test, spec = requested.test, ready.spec
    sys.audit("pytest_isolate.fork", test.name)
    further = goes_on(test.run, requested.key, test.nextitem)
    timers = Stopped.here()
    try:
        if spec.memory is not None:
            ready.sandbox.watch_memory()
        running = _fork_into(requested, ready, timers, further=further)
        test.run.forked.add(running.group.supervisor.forked)
        _look_ahead(requested, timers, further=further)
        supervise(running, further=further)
        return wait(running)
    finally:
        timers.start_again()
        if test.running is None:
            ready.sandbox.close()


def _fork_into(requested: Requested, ready: Ready, timers: Stopped, *, further: bool) -> Running:
    """Fork into a sandbox. The child never returns from here.

    Raises ``StepFailedError``, with no child and nothing left open but the sandbox; a Ctrl-C leaves
    ``test.running``, which can be asked where it stands.
    """
    test, spec, sandbox, plan = requested.test, ready.spec, ready.sandbox, ready.plan
    run, item = test.run, test.item
    run.machine.huge_pages.before_fork()
    prepared = preparation.prepare(run, item.config, spec, sandbox)
    given, inside = prepared.given, None
    repairing: list[int] = []
    try:
        warm = Warm.of(run, timers, repairing)
        has_shells = shells.are_offered(item.config) and not plan.is_bare
        ours = {*prepared.ours, *run.descriptors_of_ours()}
        entry = preparation.entry(
            run,
            item,
            spec,
            given,
            timers=timers,
            repairing=repairing,
            ours=ours,
            goes_on=further or has_shells,
            writable=plan.writable,
        )
        hook_calls.prepared_callers(item.config, requested.hooks, hook_calls.FORWARDED)
        measuring = coverage.measuring(plan.written.covers)
        # Another test that runs may have changed them
        if not test.concurrent or not run.stream_flags:
            run.stream_flags = preparation.status_flags(item.config)
        forked = time.monotonic()
        departing = Departing(given.stacks)
        with departing.fork():
            test.begun = time.time()
            watch = launch(
                sandbox, entry, prepared.ends, relays=prepared.relays, forked=forked,
                debuggable=capture.has_terminal(item.config) and not spec.strict,
                trusted=not spec.strict,
            )  # fmt: skip
            if watch is None:
                departing.is_inside = True
                with arriving(given.frames):
                    arrival = Arrival(given, entry, warm, warm.become(entry))
                    inside = become_test(requested, spec, plan, arrival, measuring, further=further)
                    if has_shells:
                        inside.waits_for_shell = partial(wait_for_shell, given.commands)
            else:
                group = Group(
                    requested.key,
                    spec,
                    sandbox,
                    plan,
                    watch,
                    prepared.commands,
                    measuring,
                    given.mirrors,
                    warm.threads,
                    anew=requested.anew,
                )
                test.running = Running(requested, spec, group)
        if inside is not None:
            inside.run(test.nextitem)
    except BaseException as error:  # Ctrl-C too
        if inside is not None:
            inside.finish(error)
        if test.running is None:  # else all of it is the group's
            prepared.close()
        raise
    finally:
        preparation.close(*given.own, *repairing)
    assert test.running is not None
    return test.running


def _look_ahead(requested: Requested, timers: Stopped, *, further: bool = False) -> None:
    """While the test runs, have the next one's child or sandbox made ready, and what earlier ones
    held let go.

    What fails there is nothing of this test: whoever needs it meets it, and says it.
    """
    test, nursery = requested.test, requested.nursery
    item = None if further else test.nextitem
    builder, lacks = test.run.machine.builder, 0
    next_one = foreseen(test.run, item)
    try:
        if nursery is not None:
            lacks = nursery.look_ahead(item, next_one, timers)
            test.troubles += nursery.troubles
            nursery.troubles.clear()
        if next_one is not None:
            builder.order_ahead(next_one[1].recipe, 1 + lacks)
    except Exception:  # noqa: BLE001 - as above; then pytest forks the next test itself
        if nursery is not None:
            nursery.forget()
    builder.clean_up()
