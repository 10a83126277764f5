"""In a child that was forked: what it is given of its test, before the test's own code."""

from __future__ import annotations

import pytest

from pytest_isolate._child import preparation
from pytest_isolate._child.child_side import ChildSide
from pytest_isolate._child.departure import Arrival
from pytest_isolate._child.inside import Inside
from pytest_isolate._child.wider import Wider
from pytest_isolate._config.spec import Spec
from pytest_isolate._messages import coverage
from pytest_isolate._plan.planning import Plan
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._sandbox.frames import Writer
from pytest_isolate._sandbox.mirror import Mirror
from pytest_isolate._session.plans import with_fixtures
from pytest_isolate._session.run import Run
from pytest_isolate._test import allowing
from pytest_isolate._test.request import request
from pytest_isolate._test.states import (
    Hooks,
    IsolatedTest,
    Requested,
    may_ask,
)


def become_test(
    requested: Requested,
    spec: Spec,
    plan: Plan | None,
    arrival: Arrival,
    measuring: coverage.Measuring | None,
    *,
    further: bool = False,
) -> Inside:
    """In the child, inside its sandbox: report to pytest from here on."""
    given, warm, test = arrival.given, arrival.warm, requested.test
    inside = Inside(
        test.item,
        Writer(given.frames),
        given.stdout,
        given.events,
        given.commands if further else -1,
    )
    inside.ended, inside.door, inside.measuring = given.ended, Writer(given.door), measuring
    inside.mirrors = {name: Mirror(fd) for name, fd in given.mirrors.items()}
    preparation.close(*given.mirrors.values())
    _tell(requested, spec, plan, arrival.entry, inside)
    # Which seeds in its hooks of each phase
    if requested.set_up.seconds and test.item.config.pluginmanager.hasplugin("randomly"):
        inside.random = warm.random
    inside.begin(
        requested.hooks, given.stacks, arrival.before, warm.timers,
        fresh=spec.fixtures == "fresh",
        watches_denials=spec.disk is not None or spec.files is not None, networking=spec.networking,
    )  # fmt: skip
    requested.hooks.become(ChildSide(inside, test.item.config))
    return inside


def _tell(
    requested: Requested, spec: Spec, plan: Plan | None, entry: Entry, inside: Inside
) -> None:
    """In the child: what it has to know of the test besides its descriptors."""
    test, set_up = requested.test, requested.set_up
    inside.debuggable = not spec.strict
    inside.lost = entry.inheritance.lost
    inside.attempts = test.attempts
    inside.wider = Wider(
        known=test.run.wider,
        fresh=requested.fresh,
        layers=spec.layers,
        seconds=set_up.seconds,
        error=set_up.error,
        rehearses=requested.rehearses,
        asks=may_ask(requested, spec, plan),
        requested=set_up.asked,
    )
    inside.allowed = allowing.in_child(test.item.config, spec, inside.measuring)
    inside.played = test.run.played if test.run.played.is_wanted(test.item) else None


def arrive(
    run: Run, hooks: Hooks, session: pytest.Session, arrival: Arrival, *, concurrent: bool
) -> tuple[Inside, pytest.Item | None]:
    """In a child that was forked ahead: be the test that it is told to be, which is followed by the
    given one.
    """
    command = arrival.command
    session.testsfailed = command.failed
    items = session.items
    nextitem = items[command.following] if command.following >= 0 else None
    requested = request(IsolatedTest(run, items[command.test], nextitem, concurrent), hooks, None)
    assert isinstance(requested, Requested)  # or pytest had not asked for a child
    requested.asked = with_fixtures(requested.asked, requested.test.item)
    measuring = arrival.warm.measuring
    again = measuring and measuring.again(owns_files=command.owns_files)
    return become_test(requested, requested.asked, None, arrival, again), nextitem
