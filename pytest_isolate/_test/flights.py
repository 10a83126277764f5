"""One test's fork: from the point where its protocol would begin to the child's end.

``run`` is called there. In the child it returns, and the child runs the whole protocol of its test, as a worker of pytest-xdist does. In
pytest it returns when the test is over, or is in the air, and ``_test.protocol`` reports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import pytest

from pytest_isolate._child import preparation
from pytest_isolate._child.departure import Arrival, Departing, Warm, arriving
from pytest_isolate._child.group import Command, Group, Key, goes_on, key_of
from pytest_isolate._child.inside import FORWARDED, Inside
from pytest_isolate._config.spec import BadValueError, Spec
from pytest_isolate._errors import PASSING, StepFailedError
from pytest_isolate._forking.timers import Stopped, standing_still
from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.kernel_log import Kill
from pytest_isolate._messages import coverage, reading
from pytest_isolate._messages.allure import Result
from pytest_isolate._model import Missing
from pytest_isolate._plan import bare
from pytest_isolate._plan.planning import Plan, resolve_user
from pytest_isolate._plan.remedies import explain, said_once
from pytest_isolate._pytest import capture, directories, fixtures, hook_calls, plugins, setup_output, setup_state
from pytest_isolate._sandbox import ending, mirror
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._sandbox.frames import Writer
from pytest_isolate._sandbox.launch import launch
from pytest_isolate._sandbox.mirror import Mirror
from pytest_isolate._sandbox.result import Exit
from pytest_isolate._sandbox.salvage import Reader
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._sandbox.watch import Watch, wait_for_one
from pytest_isolate._session.run import Run
from pytest_isolate._test import shared
from pytest_isolate._test.interrupted import raise_where
from pytest_isolate._test.nursery import Nursery
from pytest_isolate._verdict import allocations, network_attempts
from pytest_isolate._verdict.facts import Facts
from pytest_isolate._verdict.judging import Verdict


@dataclass
class Flight:
    """One isolated test in this process, parent or child."""

    run: Run
    hooks: object  # the plugin whose hooks are the only ones that speak for a child
    item: pytest.Item
    nextitem: pytest.Item | None
    spec: Spec | None  # what it has, which is what it asked for unless there are no namespaces
    bad_value: str | None = None
    inside: Inside | None = None  # set in the child only
    broken: str | None = None  # why there was no sandbox
    facts: Facts | None = None
    sandbox: Sandbox | None = None
    plan: Plan | None = None
    group: Group | None = None  # the sandbox with its child, from the fork on or from the test before
    key: Key | None = None
    output: tuple[tuple[str, bytes], ...] = ()
    may_fly: bool = False  # whether pytest may go on with further tests while it runs
    salvaged: str | None = None  # the line that says where the tmp_path went
    changes: Changes | None = None  # of the file system, read when somebody asks

    asked: Spec | None = None  # what was written
    nursery: Nursery | None = None  # where its child may be forked
    is_skipped: bool = False  # by a mark: nothing of it runs, and pytest's own protocol says so
    fresh: frozenset[str] = frozenset()  # names of wider fixtures that are set up inside, though others are shared
    rehearses: bool = False  # it runs up to the first wider fixture that is not there, if it comes to one, and tells
    requested: dict[str, setup_output.Said] = field(default_factory=dict)  # wider fixtures that it has asked for while it ran
    requested_seconds: float = 0.0  # that pytest set them up in its call
    begun: int = 0  # how often it has begun anew
    shared_seconds: float = 0.0  # that pytest set up wider fixtures for it
    shared_error: BaseException | None = None  # what one of them raised now, and this test is the first to meet
    skipped: str | None = None  # why it is skipped here, with on_missing="skip"
    troubles: list[str] = field(default_factory=list)  # what the machine could not give, to be warned of

    in_the_air: bool = False  # it runs, and its reports come when it is its turn
    said_start: bool = False  # whether the hooks heard that it has started
    attempts: int = 0  # that pytest-rerunfailures has had of it, and that ended in a death
    parted: bool = False  # the loop has gone on from it, and its collectors are no more pytest's than the next test needs
    entry_travels: bool = False  # to the controller of pytest-xdist, which keeps it
    started: float = field(default_factory=time.time)  # when pytest took the test up, and from the fork on, when that was
    verdict: Verdict | None = None
    reports: list[pytest.TestReport] = field(default_factory=list)
    overheard: dict[str, str] = field(default_factory=dict)  # what threads of pytest said meanwhile
    raised: dict[int, Any] = field(default_factory=dict)  # by a report's id: what the child said of an exception
    unsaid: dict[int, Any] = field(default_factory=dict)  # by a report's id: its attributes that JSON cannot say
    calls: dict[int, pytest.CallInfo[None]] = field(default_factory=dict)  # by a report's id: of those that were made in pytest

    result: Result | None = None  # allure-pytest's, while it lands
    earlier: frozenset[int] = frozenset()  # ids of reports of attempts that are not the result's

    @classmethod
    def of(cls, run: Run, hooks: object, item: pytest.Item, nextitem: pytest.Item | None) -> Flight:
        """One with its keywords, or what is wrong with them."""
        try:
            spec = run.defaults.spec_of(item)
            return cls(run, hooks, item, nextitem, spec, key=key_of(spec, item), asked=spec)
        except BadValueError as error:
            return cls(run, hooks, item, nextitem, None, bad_value=str(error))

    def close(self) -> Group | None:
        """Let go of the sandbox, which the builder unmakes, unless it goes on: then give it to the next test."""
        group, self.group = self.group, None
        if self.facts is not None:  # megabytes of reports, which a traceback's cycle would keep until some far collection
            self.facts.exit.frames.clear()
        self.facts, self.output, self.reports, self.shared_error = None, (), [], None
        self.raised.clear()
        self.unsaid.clear()
        self.calls.clear()
        healthy = self.verdict is not None and self.verdict.kind == "ok"
        session = self.item.session
        if group is not None and group.watch.alive and healthy and not (session.shouldstop or session.shouldfail):
            return group
        if group is not None:
            group.close(later=self.nextitem is not None and self.run.is_isolated(self.nextitem))
        elif self.sandbox is not None:
            self.sandbox.close()
        return None

    @property
    def shares(self) -> bool:
        """Whether pytest sets up wider fixtures for it: in a sandbox that goes on they are set up inside."""
        return self.spec is not None and self.spec.fixtures != "fresh" and self.group is None

    @property
    def reader(self) -> Reader | None:
        """Whose rights count for what pytest reads for this test: a user's that pytest, as root, is not; None where they are its own."""
        spec, host = self.spec, self.run.machine.host
        if spec is None or host.rootless:
            return None
        if spec.user is not None:
            uid, gid, groups = resolve_user(spec.user)
            return Reader(uid, frozenset({gid, *groups})) if uid != 0 else None
        return Reader(host.uid, frozenset({host.gid, *os.getgroups()})) if spec.strict else None

    @property
    def asks(self) -> bool:
        """Whether it begins anew, for a wider fixture that it asked for while it ran: where nothing can be seen of what it did until then.

        What a strict test says is no reason for pytest to do anything, and tests in flight have others behind them that do not wait.
        """
        spec = self.spec
        if spec is None or spec.strict or not spec.networking.is_sealed or spec.fs == "host" or spec.bind or spec.fixtures == "fresh":
            return False
        if self.plan is not None and self.plan.missing:  # and it runs without that
            return False
        return self.key is None and not self.may_fly and not self.attempts and self.begun < _MOST_BEGUN

    def abandon(self) -> None:
        """End a test that nobody will report."""
        if self.group is not None:
            self.group.watch.finish()
        self.close()


def prepare(run: Run, hooks: object, item: pytest.Item, nextitem: pytest.Item | None, group: Group | None) -> Flight:
    """A flight, its keywords checked. What is wrong with them is said when the test's turn in pytest's protocol comes.

    ``group`` is the sandbox of the test before, if that goes on; it ends here when this test is not one of its own.
    """
    flight = Flight.of(run, hooks, item, nextitem)
    if group is not None:
        if group.key == flight.key and group.watch.alive:
            flight.group, flight.sandbox, flight.plan = group, group.sandbox, group.plan
            if flight.asked is not None:
                flight.spec = replace(group.spec, origins=flight.asked.origins)
        else:
            group.close()
    if flight.spec is not None:
        _find_fresh(flight, flight.spec)
    if flight.shares:
        flight.rehearses = not setup_state.has_shared(item, flight.fresh) and not shared.is_foreseeable(item)
    return flight


def _find_fresh(flight: Flight, spec: Spec) -> None:
    """Those that were named, of whose plugins it is known, and what stands on them."""
    for name in spec.named_fresh:
        if not fixtures.knows_fixture(flight.item, name):
            flight.bad_value = f"isolate: fixtures={list(spec.named_fresh)!r}, set {spec.origin('fixtures')}: there is no fixture {name!r}"
            flight.spec = None
            return
    if names := {*spec.named_fresh, *plugins.fresh_fixtures(flight.item)}:
        flight.fresh = fixtures.with_dependents(flight.item, names, flight.run.wider)


def run(flight: Flight) -> None:
    """Run the test in a child, which comes back from here with ``flight.inside``."""
    if flight.spec is None or flight.asked is None:
        return
    if flight.shares and not flight.rehearses:
        _share(flight)
    _take_off(flight, flight.asked)
    while flight.facts is not None and (needed := flight.facts.exit.first("need")) is not None:
        flight.rehearses, flight.begun = False, flight.begun + 1
        flight.close()
        flight.sandbox = None
        if needed.get("when") is None:
            _share(flight)
        else:
            _share_asked(flight, str(needed["fixture"]), str(needed["when"]))
        _take_off(flight, flight.asked)


def _share(flight: Flight) -> None:
    """Have pytest set up what the test shares with others."""
    if not setup_state.has_shared(flight.item, flight.fresh):
        flight.run.change()
        call = shared.set_up(flight.item, flight.fresh, flight.run.played.is_around_shared)
        flight.shared_seconds += call.duration
        flight.shared_error = None if call.excinfo is None else call.excinfo.value


def _share_asked(flight: Flight, name: str, when: str) -> None:
    """Have pytest set up a wider fixture that the test asked for while it ran, as plain pytest would have there."""
    flight.run.change()

    def keep(said: setup_output.Said) -> None:
        flight.requested[name] = said

    with setup_output.apart(flight.item, keep):
        call = shared.set_up(flight.item, flight.fresh, flight.run.played.is_around_shared, name)
    if when == "setup":
        flight.shared_seconds += call.duration
    else:
        flight.requested_seconds += call.duration
    if call.excinfo is not None:
        flight.shared_error = call.excinfo.value


def _take_off(flight: Flight, spec: Spec) -> None:
    """Fork, and in pytest wait. ``spec``: what was asked for."""
    try:
        if flight.group is not None:
            if _go_on(flight, flight.group.spec, flight.group):
                return
            if spec.fixtures != "fresh":
                _share(flight)
        elif _go_from_nursery(flight, spec):
            return
        flight.spec = spec
        with standing_still():  # building a sandbox is no part of the test
            _prepare(flight, spec)
        if not (flight.broken or flight.skipped or flight.bad_value):
            _fork(flight, flight.spec or spec)
    except StepFailedError as error:
        flight.broken = flight.run.builders_death(died=True) or explain(error, flight.run.here)
    except KeyboardInterrupt as error:  # at any moment since the fork, or since a child was told to go on
        _interrupted(flight, error)
    except Exception:  # ours, not the test's: it must not look like the test's failure
        if flight.inside is not None:
            raise
        flight.broken = f"pytest-isolate itself failed:\n{traceback.format_exc()}"


def _go_from_nursery(flight: Flight, spec: Spec) -> bool:
    """Have a child of the nursery run this test. False if pytest is to fork: then nothing has run."""
    if flight.nursery is None or flight.rehearses or flight.attempts or flight.shared_error is not None or flight.shared_seconds:
        return False  # something of this test is in this process alone
    if flight.requested:  # the same
        return False
    with standing_still():
        group = flight.nursery.take(flight.item, flight.nextitem, spec)
    if group is None:
        return False
    flight.group, flight.sandbox, flight.plan = group, group.sandbox, group.plan
    return _go_on(flight, spec, group)


def _interrupted(flight: Flight, error: KeyboardInterrupt) -> NoReturn:
    """Say where the test stands, and end it: nobody will land it. With jobs that is the fleet's to do, for all of them."""
    if flight.inside is not None or flight.group is None or flight.may_fly:
        raise error
    try:
        raise_where([(str(flight.item.nodeid), flight.group.watch, flight.reader)], error)
    finally:
        flight.group.watch.finish()


def _go_on(flight: Flight, spec: Spec, group: Group) -> bool:
    """Have a child that waits run this test. False if it turns out to have died in between: then nothing has run."""
    further = goes_on(flight.run, flight.key, flight.nextitem)
    timers = Stopped.here()
    flight.started = time.time()
    try:
        _watch(spec, group, further=further)  # first: whoever interrupts a test that was told to run is told where it stands
        run, item = flight.run, flight.item
        owns_files = group.measuring is not None and group.measuring.owns_files
        group.command(Command(run.index_of(item), run.index_of(flight.nextitem), item.session.testsfailed, further, owns_files))
        if not further:
            _look_ahead(flight, timers)
        _wait(flight, group)
    except BrokenPipeError:
        pass
    finally:
        timers.start_again()
    if flight.in_the_air or (flight.facts is not None and flight.facts.exit.first("entered") is not None):
        return True
    flight.group = flight.sandbox = flight.facts = None
    group.close()
    return False


def _prepare(flight: Flight, spec: Spec) -> None:
    """Get a ready sandbox, or settle what this machine cannot give by ``on_missing``."""
    run = flight.run
    try:
        flight.plan = run.plan(spec, flight.item.session)
        for missing in flight.plan.missing:
            _settle(flight, spec, missing)
        if flight.broken is None and flight.skipped is None:
            _build(flight, spec)
            run.worked.add(spec.kind)
    except BadValueError as error:  # nobody is where it forwards to
        flight.bad_value = str(error)
    except StepFailedError as error:
        if spec.kind in run.worked or error.errno in PASSING:  # not what this machine cannot give: no on_missing covers it
            raise
        reason = explain(error, run.here)
        if spec.on_missing != "warn":
            _settle(flight, spec, Missing("sandbox", reason, ""))
        elif not _do_with_less(flight, spec, reason):
            _do_without(flight, spec, reason)


def _do_with_less(flight: Flight, spec: Spec, reason: str) -> bool:
    """Get a sandbox that leaves out the one thing that cannot be had. False if nothing of the kind can. Raises ``StepFailedError``."""
    run = flight.run
    for less in bare.less(spec):
        if less.kind in run.refused:
            continue
        try:
            _build(flight, less)
        except StepFailedError as error:
            if error.errno in PASSING or run.builders_death() is not None:
                raise
            run.refused.add(less.kind)
        else:
            flight.spec = less
            flight.troubles.append(_said(flight, bare.sentence_of_less(spec, less, reason)))
            return True
    return False


def _said(flight: Flight, sentence: str) -> str:
    return f"isolate: {said_once(flight.run.said_remedies, sentence, str(flight.item.nodeid))}"


def _do_without(flight: Flight, spec: Spec, reason: str) -> None:
    """Get a sandbox without namespaces: the test has a process of its own, and what else needs no privilege. Raises ``StepFailedError``."""
    run = flight.run
    plan = flight.plan = run.bare_plan(spec)
    flight.spec = bare.given(spec, run.machine.host)
    flight.troubles[:] = [_said(flight, bare.sentence(spec, run.machine.host, plan, reason))]
    run.machine.revive()
    _have_temporary_base(flight)
    flight.sandbox = run.machine.keeper.take(plan.recipe)
    flight.sandbox.wait_ready()


def _build(flight: Flight, spec: Spec) -> None:
    """Take or order the sandbox. When it fails and the machine's mounts changed meanwhile, or the builder died, do it once more."""
    run = flight.run
    _have_temporary_base(flight)  # before PID 1 looks what there is
    for again in (False, True):
        plan = flight.plan = run.plan(spec, flight.item.session)
        try:
            run.machine.revive()
            flight.sandbox = run.machine.keeper.take(plan.recipe)
            flight.sandbox.wait_ready()
            run.forwarding.open(flight.sandbox, plan.servers)
        except StepFailedError:
            flight.close()
            flight.sandbox = None
            if again or (run.builders_death() is None and run.plan(spec, flight.item.session) is plan):
                raise
        else:
            return


def _have_temporary_base(flight: Flight) -> None:
    """Or each child makes one of its own."""
    if "tmp_path_factory" in getattr(flight.item, "fixturenames", ()):
        with contextlib.suppress(OSError):  # somebody else's directory: pytest's own fixture says so, inside
            directories.temporary_base(flight.item.config)


def _settle(flight: Flight, spec: Spec, missing: Missing) -> None:
    helps = f"remedy: {missing.remedy}; see also" if missing.remedy else "see also"
    asked = f"this machine cannot isolate {missing.keyword} (asked {spec.origin(missing.keyword)})"
    sentence = f"{asked}: {missing.reason}; {helps} pytest --isolate-doctor and on_missing="
    if spec.on_missing == "skip":
        flight.skipped = sentence
    elif spec.on_missing == "error":
        flight.broken = sentence
    else:
        flight.troubles.append(f"{sentence}: the test runs without it")


_INTERRUPTING = {signal.SIGINT, signal.SIGTERM}  # in a child that is not yet inside, Ctrl-C would be two parents


def _fork(flight: Flight, spec: Spec) -> None:
    sandbox = flight.sandbox
    assert sandbox is not None
    if spec.memory is not None:
        sandbox.watch_memory()
    further = goes_on(flight.run, flight.key, flight.nextitem)
    timers = Stopped.here()
    try:
        _cross(flight, spec, sandbox, timers, further=further)
        if flight.group is not None:
            flight.run.forked.add(flight.group.watch.forked)
            _look_ahead(flight, timers, further=further)
            _watch(spec, flight.group, further=further)
            _wait(flight, flight.group)
    finally:
        if flight.inside is None:
            timers.start_again()


def _cross(flight: Flight, spec: Spec, sandbox: Sandbox, timers: Stopped, *, further: bool) -> None:
    """Fork. In pytest the child is ``flight.group`` then; the child is inside.

    Raises ``StepFailedError``, with no child and nothing left open; a Ctrl-C leaves the child, which can be asked where it stands.
    """
    plan, run, item = flight.plan, flight.run, flight.item
    assert plan is not None
    run.machine.huge_pages.before_fork()
    boarding = preparation.board(run, item.config, spec, sandbox)
    given = boarding.given
    repairing: list[int] = []
    try:
        warm = Warm.of(run, timers, repairing)
        ours = {*boarding.ours, *run.descriptors_of_ours()}
        entry = preparation.entry(
            run, item, spec, given, timers=timers, repairing=repairing, ours=ours, goes_on=further, writable=plan.writable
        )
        hook_calls.prepared_callers(item.config, flight.hooks, FORWARDED)
        measuring = coverage.measuring(plan.written.covers)
        if not flight.may_fly or not run.stream_flags:  # another test in flight may have changed them
            run.stream_flags = preparation.status_flags(item.config)
        forked = time.monotonic()
        departing = Departing(given.stacks)
        with departing.fork():
            flight.started = time.time()
            watch = launch(
                sandbox, entry, boarding.ends, relays=boarding.relays, forked=forked,
                debuggable=capture.has_terminal(item.config) and not spec.strict, trusted=not spec.strict,
            )  # fmt: skip
            if watch is None:
                departing.is_inside = True
                with arriving(given.frames):
                    _arrive(flight, spec, Arrival(given, entry, warm, warm.become(entry)), measuring, further=further)
                return
            flight.group = Group(flight.key, spec, sandbox, plan, watch, boarding.commands, measuring, given.mirrors, warm.threads)
    except BaseException:  # Ctrl-C too
        if flight.group is None and flight.inside is None:  # else all of it is the group's
            boarding.close()
        raise
    finally:
        if flight.inside is None:
            preparation.close(*given.own, *repairing)


def _arrive(flight: Flight, spec: Spec, arrival: Arrival, measuring: coverage.Measuring | None = None, *, further: bool = False) -> None:
    """In the child, inside its sandbox: report to pytest from here on."""
    given, warm = arrival.given, arrival.warm
    inside = Inside(flight.item, Writer(given.frames), given.stdout, given.events, given.commands if further else -1)
    inside.ended, inside.door, inside.measuring = given.ended, Writer(given.door), measuring
    inside.mirrors = {name: Mirror(fd) for name, fd in given.mirrors.items()}
    preparation.close(*given.mirrors.values())
    _tell(flight, spec, arrival.entry, inside)
    if flight.shared_seconds and flight.item.config.pluginmanager.hasplugin("randomly"):  # which seeds in its hooks of each phase
        inside.random = warm.random
    inside.begin(
        flight.hooks, given.stacks, arrival.before, warm.timers,
        fresh=spec.fixtures == "fresh", watches_denials=spec.disk is not None or spec.files is not None, networking=spec.networking,
    )  # fmt: skip
    flight.inside = inside


def arrived(run: Run, hooks: object, session: pytest.Session, arrival: Arrival, *, may_fly: bool) -> Flight:
    """In a child that was forked ahead: the test that it is told to be."""
    command = arrival.command
    session.testsfailed = command.failed
    items = session.items
    flight = prepare(run, hooks, items[command.test], items[command.following] if command.following >= 0 else None, None)
    assert flight.spec is not None
    flight.may_fly = may_fly
    measuring = arrival.warm.measuring
    _arrive(flight, flight.spec, arrival, measuring and measuring.again(owns_files=command.owns_files))
    return flight


def _tell(flight: Flight, spec: Spec, entry: Entry, inside: Inside) -> None:
    """In the child: what it has to know of the test besides its descriptors."""
    inside.debuggable = not spec.strict
    inside.lost = entry.inheritance.lost
    inside.shared_seconds, inside.shared_error = flight.shared_seconds, flight.shared_error
    inside.rehearses, inside.attempts, inside.fresh = flight.rehearses, flight.attempts, flight.fresh
    inside.wider = flight.run.wider
    inside.asks, inside.requested = flight.asks, flight.requested
    inside.played = flight.run.played if flight.run.played.is_wanted(flight.item) else None


def _look_ahead(flight: Flight, timers: Stopped, *, further: bool = False) -> None:
    """While the test runs, have the next one's child or sandbox made ready, and what earlier ones held let go."""
    run, nursery, item = flight.run, flight.nursery, None if further else flight.nextitem
    keeper, lacks = run.machine.keeper, 0
    foreseen = run.foreseen(item)
    if nursery is not None:
        lacks = nursery.look_ahead(item, foreseen, timers)
        flight.troubles += nursery.troubles
        nursery.troubles.clear()
    if foreseen is not None:
        keeper.order_ahead(foreseen[1].recipe, 1 + lacks)
    keeper.clean_up()


def _watch(spec: Spec, group: Group, *, further: bool) -> None:
    """Have the next test of a child watched."""
    cpu_time = None if spec.cpu_time is None else spec.cpu_time + (group.counters.cpu_seconds or 0.0)
    memory = spec.memory if "memory" in group.plan.looked else None
    alarm = None if spec.memory is None else (int(spec.memory * allocations.SHARE), allocations.ALARM)
    group.watch.start(spec.timeout, cpu_time, alarm=alarm, goes_on=further, memory=memory)


def _wait(flight: Flight, group: Group) -> None:
    """Wait until the test is over, unless it may run beside others."""
    if flight.may_fly:
        flight.in_the_air = True
        return
    try:
        with capture.overhearing(flight.item.config) as flight.overheard:
            wait_for_one([group.watch])
    except KeyboardInterrupt:  # the test is asked first where it stands
        raise
    except BaseException:  # nobody will land it
        group.watch.finish()
        raise
    finish(flight)


def finish(flight: Flight) -> None:
    """A test is over: end its process and read what the kernel counted."""
    spec, group = flight.spec, flight.group
    assert spec is not None
    assert group is not None
    exit_, sandbox = group.watch.finish(), group.sandbox
    _tell_of_output(flight, group.watch)
    flight.troubles += ending.told()
    preparation.restore_flags(flight.run.stream_flags)
    if hasattr(flight.item.config, "workerinput"):
        exit_.frames = reading.sendable(exit_.frames)
    exit_.frames, unreadable = reading.checked(exit_.frames, strict=spec.strict, may_need=flight.rehearses or flight.asks)
    entered = exit_.first("entered") or {}
    base = entered.get("base")
    counters, disk_used, unroutable = sandbox.counters(exit_.processor), sandbox.disk_used(), sandbox.network.unroutable()
    left = None if unroutable is None else unroutable - group.unroutable
    flight.facts = Facts(
        exit_,
        counters.since(group.counters),
        disk_used,
        sandbox.disk_full(),
        base if isinstance(base, int) else 0,
        base_cpu=_base_cpu(entered.get("processor"), counters) if group.counters.cpu_seconds is None else (0.0, 0.0),
        disk_before=group.disk_used,
        unroutable=left,
        kill=_kill(flight, counters.oom_kills),
        attempts=_attempts(spec, exit_, left),
        refused=sandbox.network.refused() if _has_failed(exit_) else 0,
        servers=tuple(flight.run.forwarding.used(sandbox, group.plan.servers, group.plan.sockets, group.reached)),
        unreadable=unreadable,
        threads=group.threads,
        here=flight.run.here,
        builder=flight.run.builders_death(died=exit_.first("broken") is not None or (exit_.status == signal.SIGKILL and not exit_.ended)),
    )
    group.counters, group.disk_used, group.unroutable = counters, disk_used, unroutable or 0
    flight.output = (("stdout", _tail(sandbox.stdout)), ("stderr", _tail(sandbox.stderr)))
    flight.output += tuple((name, mirror.read(fd)) for name, fd in group.mirrors.items())


def _attempts(spec: Spec, exit_: Exit, left: int | None) -> tuple[network_attempts.Attempt, ...]:
    """Those to leave; to a host of its own is none."""
    if not spec.networking.is_own:
        return ()
    found = network_attempts.read((exit_.last("network") or {}).get("attempts"), left)
    own = set() if spec.networking.topology is None else {each for line in spec.networking.topology.names for each in line}
    return tuple(each for each in found if each.address not in own)


def _has_failed(exit_: Exit) -> bool:
    """Whether somebody may want to know why."""
    return not exit_.ended or any(frame["kind"] in {"refused", "refused_path", "tries"} for frame in exit_.frames)


def _tell_of_output(flight: Flight, watch: Watch) -> None:
    """Say, once a run, why what tests wrote to pytest's own output is not there."""
    failed = next((relay.failed for relay in watch.relays if relay.failed is not None), None)
    if failed is not None and not flight.run.said_of_output:
        flight.run.said_of_output = True
        flight.troubles.append(f"what tests write to pytest's own output or log cannot be written there: {failed.strerror}")


def _base_cpu(said: object, counters: Counters) -> tuple[float, float]:
    """Seconds of processor time, in user mode and in the kernel, that went by before the test's own code; no more than the kernel counted.

    Only of the first test in a sandbox: what its process says before it runs any of the test's code is our own word.
    """
    if not isinstance(said, list) or counters.cpu_seconds is None:
        return 0.0, 0.0
    user, system = (max(0.0, float(each)) for each in said)
    return (user, system) if user + system <= counters.cpu_seconds else (0.0, 0.0)


def _kill(flight: Flight, kills: int | None) -> Kill | None:
    """What the kernel wrote about the first process that it killed for the limit."""
    log, sandbox = flight.run.machine.kernel_log, flight.sandbox
    return log.first_kill(sandbox.groups["memory"]) if kills and log is not None and sandbox is not None else None


_MOST_BEGUN = 30
_MOST_OUTPUT = 1 << 20  # bytes of a dead test's output that are shown, the last ones


def _tail(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, _MOST_OUTPUT, max(0, size - _MOST_OUTPUT))
