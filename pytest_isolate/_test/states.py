"""The states of one isolated test, as pytest has it.

A function takes one of them and returns the next.

::

    request ─► Requested ─ start ─► Running ─ finish ─► Finished ─┐
       │           │                                              ├─ judge ─► Judged ─ report
       ├───────────┴─────────────────────────────────► Refused ───┘
       └─► Skipped                        pytest itself runs its protocol, which says why

``Requested``: its turn in pytest's loop has come, and nothing of it has run. ``Running``: its
process is there; with jobs pytest goes on with further tests meanwhile. ``Finished``: all is known
that ever will be. ``Refused``: it has had no sandbox, or could not have what it asks for.
``Judged``: its reports are there, and nobody has heard of them. A test that needs a shared fixture
goes from ``Finished`` back to ``Requested``, one that pytest-rerunfailures repeats after a death
goes there from ``Judged``.

Suppose that a test asks for a session fixture by ``getfixturevalue``, and dies of a signal behind
it::

    Requested               pytest has set up what the test's closure of fixtures names
    Running                 the test asks for one that is not there: it says "need", and ends
    Finished                nothing of it is reported; its sandbox is unmade
    Requested (begun 1)     pytest sets the fixture up, as of the test's set-up or call
    Running                 a new process in a new sandbox finds it, goes on, and dies
    Finished                the wait status, the stack and the output that it left are there
    Judged                  the verdict is "crash"; a teardown report is made in pytest's process
    reported                every hook has heard; the sandbox is unmade, and its entry is there
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest

from pytest_isolate._child.group import Group, Key
from pytest_isolate._config.spec import Spec
from pytest_isolate._messages import sources
from pytest_isolate._plan.planning import Plan, resolve_user
from pytest_isolate._pytest import setup_output
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._sandbox.salvage import Reader
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._session.run import Run
from pytest_isolate._verdict.evidence import Evidence
from pytest_isolate._verdict.judging import Verdict

if TYPE_CHECKING:
    from pytest_isolate._child.child_side import ChildSide
    from pytest_isolate._test.nursery import Nursery


class Hooks(Protocol):
    """The plugin, whose hooks speak for the side that this process is on."""

    def become(self, side: ChildSide) -> None:
        """Speak for a test from here on: this process is its own."""


@dataclass
class IsolatedTest:
    """What is the same of a test in all of its states."""

    run: Run
    item: pytest.Item
    nextitem: pytest.Item | None
    concurrent: bool = False  # whether pytest may go on with further tests while it runs
    job: int | None = None  # its place among those that run at once, from 0
    attempts: int = 0  # that pytest-rerunfailures has had of it, and that ended in a death
    earlier: list[pytest.TestReport] = field(default_factory=list)  # the reports of those
    has_begun: bool = False  # whether the hooks heard that it has
    # The loop has gone on from it, and its collectors are no more pytest's than the next test needs
    is_left: bool = False
    entry_travels: bool = False  # to the controller of pytest-xdist, which keeps it
    # When pytest took it up, and from the fork on, when that was
    begun: float = field(default_factory=time.time)
    # When its own code began, in seconds since the epoch; None until that is known
    entered: float | None = None
    # What the machine could not give, to be warned of
    troubles: list[str] = field(default_factory=list)
    reports: list[pytest.TestReport] = field(default_factory=list)  # of which the hooks have heard
    # Its process, until its sandbox is let go of: whoever interrupts pytest between two lines finds
    # it here
    running: Running | None = None

    @property
    def name(self) -> str:
        """Its node id."""
        return str(self.item.nodeid)

    def follow(self, before: IsolatedTest) -> None:
        """Be the next attempt of a test."""
        self.is_left, self.attempts, self.job = before.is_left, before.attempts, before.job
        self.earlier = [*before.earlier, *before.reports]


@dataclass
class SetUp:
    """What pytest has set up for a test: wider fixtures, which tests share."""

    seconds: float = 0.0
    # What one of them raised now, and this test is the first to meet
    error: BaseException | None = None
    # Those that it has asked for while it ran
    asked: dict[str, setup_output.Said] = field(default_factory=dict)
    asked_seconds: float = 0.0  # that pytest set those up in its call


@dataclass
class Requested:
    """A test whose turn in pytest's loop has come."""

    test: IsolatedTest
    hooks: Hooks
    asked: Spec  # what was written
    key: Key | None  # what it has in common with the tests that share its sandbox
    shared: Group | None = None  # that sandbox, if the test before has left it for this one
    nursery: Nursery | None = None  # where its child may be forked
    anew: str = ""  # why it does not go on with the sandbox of the tests before, in words
    # Names of wider fixtures that are set up inside, though others are shared
    fresh: frozenset[str] = frozenset()
    # It runs up to the first wider fixture that is not there, if it comes to one, and tells
    rehearses: bool = False
    begun: int = 0  # how often it has begun anew
    set_up: SetUp = field(default_factory=SetUp)

    @property
    def shares(self) -> bool:
        """Whether pytest sets up wider fixtures for it: in a sandbox that goes on they are set up
        inside.
        """
        return self.asked.fixtures != "fresh" and self.shared is None

    @property
    def spec(self) -> Spec:
        """What it asks for."""
        return self.asked

    def close(self) -> None:
        """Let go of the sandbox that it would have gone on with, or of what was left when it was
        interrupted.
        """
        if self.test.running is not None:
            self.test.running.group.close()
        elif self.shared is not None:
            self.shared.close()
        self.test.running = self.shared = self.set_up.error = None


@dataclass(frozen=True)
class Skipped:
    """A test that a mark skips: nothing of it runs, and pytest's own protocol says so."""

    test: IsolatedTest
    spec: Spec | None

    def close(self) -> None:
        """Let go of nothing."""


@dataclass
class Running:
    """A test whose process is there."""

    requested: Requested
    spec: Spec  # what it has, which is what it asked for unless the machine lacks something
    group: Group  # its sandbox and its process
    overheard: dict[str, str] = field(default_factory=dict)  # what threads of pytest said meanwhile
    announced: bool = False  # whether ``pytest-isolate enter`` finds it

    @property
    def test(self) -> IsolatedTest:
        """Which test."""
        return self.requested.test

    def may_need(self) -> bool:
        """Whether pytest believes it that it needs a shared fixture."""
        return self.requested.rehearses or may_ask(self.requested, self.spec, self.group.plan)

    def abandon(self) -> None:
        """End it, for nobody will report it."""
        self.test.running = None
        self.group.supervisor.finish()
        self.group.close()


@dataclass
class Finished:
    """A test that is over, with all that is known of it.

    Its sandbox is still there, or its remains.
    """

    requested: Requested
    spec: Spec
    group: Group
    evidence: Evidence
    # What it wrote and logged, as far as its process keeps that in files
    output: tuple[tuple[str, bytes], ...]
    overheard: dict[str, str]
    changes: Changes | None = None  # of the file system, read when somebody asks

    @property
    def test(self) -> IsolatedTest:
        """Which test."""
        return self.requested.test

    @property
    def plan(self) -> Plan:
        """Of its sandbox."""
        return self.group.plan

    @property
    def sandbox(self) -> Sandbox:
        """Its sandbox."""
        return self.group.sandbox

    def first(self, kind: str) -> Frame | None:
        """Return the first frame of a kind."""
        return self.evidence.process.first(kind)

    def close(self, *, healthy: bool = False) -> Group | None:
        """Let go of the sandbox, which the builder unmakes, unless it goes on: then give it to the
        next test.
        """
        group, test = self.group, self.test
        # Megabytes of reports, which a traceback's cycle would keep until some far collection
        self.evidence.process.frames.clear()
        self.output, self.requested.set_up.error, test.running = (), None, None
        if group.supervisor.alive and healthy and not Run.stops(test.item.session):
            return group
        group.close(later=test.nextitem is not None and test.run.is_isolated(test.nextitem))
        return None


@dataclass
class Refused:
    """A test that has had no sandbox."""

    test: IsolatedTest
    why: str
    kind: Literal["keyword", "skip", "sandbox"]  # of it was wrong, is wanted, could not be built
    spec: Spec | None = None
    plan: Plan | None = None

    def first(self, kind: str) -> None:
        """No frame."""

    def close(self, *, healthy: bool = False) -> None:
        """Let go of nothing."""


@dataclass
class Behind:
    """What is behind the reports of a test, by their ids."""

    raised: dict[int, Any] = field(default_factory=dict)  # what the child said of an exception
    unsaid: dict[int, Any] = field(default_factory=dict)  # attributes that JSON cannot say
    # Of those that were made in pytest
    calls: dict[int, pytest.CallInfo[None]] = field(default_factory=dict)


@dataclass
class Judged:
    """A test that is over, its verdict, and its reports, of which nobody has heard."""

    ended: Finished | Refused
    verdict: Verdict
    reports: list[pytest.TestReport]
    behind: Behind

    @property
    def test(self) -> IsolatedTest:
        """Which test."""
        return self.ended.test

    @property
    def evidence(self) -> Evidence | None:
        """All that is known of how it ran, if it ran."""
        return self.ended.evidence if isinstance(self.ended, Finished) else None

    @property
    def is_strict(self) -> bool:
        """Whether nothing that it says is believed."""
        return self.ended.spec is not None and self.ended.spec.strict

    def close(self) -> Group | None:
        """Let go of its reports, and of its sandbox as ``Finished.close`` has it."""
        self.reports = []
        self.behind = Behind()
        return self.ended.close(healthy=self.verdict.kind == "ok")


def may_ask(requested: Requested, spec: Spec, plan: Plan | None) -> bool:
    """Whether a test begins anew, for a wider fixture that it asked for while it ran: where nothing
    can be seen of what it did until then.

    What a strict test says is no reason for pytest to do anything, and tests in flight have others
    behind them that do not wait.
    """
    if (
        spec.strict
        or not spec.networking.is_sealed
        or spec.fs == "host"
        or spec.bind
        or spec.fixtures == "fresh"
    ):
        return False
    if plan is not None and plan.missing:  # and it runs without that
        return False
    return (
        requested.key is None
        and not requested.test.concurrent
        and not requested.test.attempts
        and requested.begun < _MOST_BEGUN
    )


def reader_of(run: Run, spec: Spec | None) -> Reader | None:
    """Whose rights count for what pytest reads for a test: a user's that pytest, as root, is not;
    None where they are its own. From here on nothing is read of what the test does not see.
    """
    host = run.machine.host
    if spec is not None:
        sources.hide(spec.fs_hide)
    if spec is None or host.rootless:
        return None
    if spec.user is not None:
        uid, gid, groups = resolve_user(spec.user)
        return Reader(uid, frozenset({gid, *groups})) if uid != 0 else None
    return Reader(host.uid, frozenset({host.gid, *os.getgroups()})) if spec.strict else None


_MOST_BEGUN = 30
