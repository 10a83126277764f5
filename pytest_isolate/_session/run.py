"""What the isolated tests of one pytest run share: defaults, the machine, the builder, and their
results.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_isolate._config import options
from pytest_isolate._errors import Step
from pytest_isolate._forward.descriptors import sockets
from pytest_isolate._session import rules
from pytest_isolate._session.entries import Entries

if TYPE_CHECKING:
    from pytest_isolate._config.spec import Defaults
    from pytest_isolate._forward.forwarding import Forwarding
    from pytest_isolate._linux.environment import Environment
    from pytest_isolate._messages.played import Played
    from pytest_isolate._report.reporting import Reporting
    from pytest_isolate._sandbox.visits import Shell
    from pytest_isolate._session.inherited import Inherited
    from pytest_isolate._session.interruption import OnTerminate
    from pytest_isolate._session.layers import Layers
    from pytest_isolate._session.machine import Machine
    from pytest_isolate._shell.roster import Roster


_NOTHING = (None, False, "none")  # values of options by which nothing is written or read


class Started(NamedTuple):
    """Threads that a shared fixture started, and whether it opened sockets as a server does."""

    scope: str
    threads: tuple[threading.Thread, ...]
    sockets: bool


def working_directory() -> str:
    """Where pytest stands. Raises ``StepFailedError``."""
    with Step(
        "find", "the directory in which pytest stands, which a fixture or a test may have removed"
    ):
        return os.getcwd()


class Run:
    """One pytest process with this plugin."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.all = bool(config.getoption("isolate_all"))
        # Whether details are for anybody
        self.reports = any(
            config.getoption(f"isolate_{each}") for each in ("report", "html", "trace")
        )
        self._defaults: Defaults | None = None
        self._rules = rules.of(config)
        # A bad value there ends the run before it starts
        if self._rules is not None or options.given(config):
            self.defaults.check()
        self._reporting: Reporting | None = None
        # What cannot be read or written is said at the start
        if any(config.getoption(name) not in _NOTHING for name in options.REPORTING):
            self._reporting = self.reporting
        self.entries = Entries(config)
        self._inherited: Inherited | None = None
        self._played: Played | None = None
        self._forwarding: Forwarding | None = None
        self._layers: Layers | None = None
        self.drain: Callable[[], None] = lambda: None  # waits for the tests in flight
        # Of pytest's standard streams, as fcntl(2) says, before a test could change them
        self.stream_flags: dict[int, int] = {}
        # Fixtures that pytest has set up, now or before
        self.wider: set[pytest.FixtureDef[Any]] = set()
        self.fixture_threads: dict[str, Started] = {}
        self.forked: set[int] = set()  # tests' processes, of which some may still be there
        # What else is open for tests that no test may inherit
        self.held: list[Callable[[], Iterable[int]]] = []
        # How often pytest has run code of fixtures, tests or hooks that a later test may find the
        # traces of
        self.changes = 0
        self.before_change: list[Callable[[], None]] = []  # who has to be out of the way of that
        self._indexes: dict[int, int] = {}  # of the session's tests, by id
        #: Kinds of sandboxes that were built before: what of those fails from then on is broken,
        #: not missing.
        self.worked: set[tuple[object, ...]] = set()
        # Those that were tried in the place of others, and could not be built
        self.refused: set[tuple[object, ...]] = set()
        self._any_isolated: bool | None = None
        self._machine: Machine | None = None
        self.on_terminate: OnTerminate | None = None
        self.shell: Shell | None = None  # that has the terminal
        self._roster: Roster | None = None
        self.said_of_plugins: set[str] = set()
        self.said_of_hidden: set[str] = set()  # that nothing is there to hide
        self.said_of_limits: set[tuple[object, ...]] = set()  # that are no limits here
        self.said_of_copies = False  # what sandboxes lack of shared memory
        self.said_of_bundles: set[str] = set()  # why tests have none
        self.said_of_output = False  # that pytest's own cannot be written to
        # What helps -> the first test that it would have helped
        self.said_remedies: dict[str, str] = {}

    def change(self) -> None:
        """While no test runs: somebody's code is to run in pytest, of which a later test may find
        the traces.
        """
        self.changes += 1
        for each in self.before_change:
            each()

    @staticmethod
    def stops(session: pytest.Session) -> bool:
        """Whether a test that has been reported ends the run."""
        return bool(session.shouldfail or session.shouldstop)

    @property
    def has_to_tell(self) -> bool:
        """Whether anything was asked for or any isolated test has run."""
        return self._reporting is not None or bool(self.entries)

    def to_controller(self, output: dict[str, object]) -> None:
        """Under xdist, at a worker's end: what went with no report."""
        self.entries.to_controller(output)
        self.reporting.to_controller(output)

    def from_worker(self, output: Mapping[str, Any]) -> None:
        """Under xdist, in the controller."""
        self.entries.from_worker(output)
        if self.has_to_tell:
            self.reporting.from_worker(output)

    @property
    def reporting(self) -> Reporting:
        """What is told of the run.

        Raises ``pytest.UsageError`` for what cannot be read or written.
        """
        if self._reporting is None:
            # A run without isolated tests does without
            from pytest_isolate._report.reporting import Reporting  # noqa: PLC0415

            self._reporting = Reporting(self.config)
        return self._reporting

    @property
    def defaults(self) -> Defaults:
        """Command line and ini file, read when they are needed."""
        if self._defaults is None:
            # For isolated tests only
            from pytest_isolate._config.spec import Defaults  # noqa: PLC0415

            self._defaults = Defaults(self.config, self._rules)
        return self._defaults

    def is_isolated(self, item: pytest.Item) -> bool:
        """Whether a test asked for a sandbox, a rule asks for it, or all do."""
        if item.get_closest_marker("isolate") is not None:
            return True
        if self._rules is not None and (said := self._rules.isolates(str(item.nodeid))) is not None:
            return said
        return self.all

    def unmatched_rules(self, items: Sequence[pytest.Item]) -> Iterator[str]:
        """Yield a sentence for each rule that names something in a collected file which is not in
        it.
        """
        if self._rules is not None:
            yield from self._rules.unmatched([str(item.nodeid) for item in items])

    def any_isolated(self, session: pytest.Session) -> bool:
        """Whether any test of a session is isolated, as it was when this was first asked."""
        if self._any_isolated is None:
            self._any_isolated = any(map(self.is_isolated, session.items))
        return self._any_isolated

    @contextlib.contextmanager
    def noting(
        self, definition: pytest.FixtureDef[object], session: pytest.Session
    ) -> Iterator[None]:
        """Remember which memory a fixture of a wider scope shares, and which threads it starts,
        which a copy of it lacks.
        """
        if not self.any_isolated(session):
            yield
            return
        self.inherited.before_fixture()
        before, threads, started_before = (
            sockets(),
            set(threading.enumerate()),
            self.forwarding.before_fixture(),
        )
        try:
            yield
        finally:
            opened = sockets() - before
            self.forwarding.after_fixture(definition.argname, started_before, opened)
            self.inherited.look_for_mappings(
                f"made by the {definition.scope}-scoped fixture {definition.argname!r}"
            )
            if started := set(threading.enumerate()) - threads:
                self.fixture_threads[definition.argname] = Started(
                    definition.scope, tuple(started), bool(opened)
                )

    @property
    def machine(self) -> Machine:
        """The machine. Raises ``StepFailedError``."""
        if self._machine is None:
            from pytest_isolate._session.machine import Machine  # noqa: PLC0415 - knows the kernel

            sys.audit("pytest_isolate.look")
            self._machine = Machine()
            # xdist's workers are ended by their controller
            if not hasattr(self.config, "workerinput"):
                # Knows the kernel
                from pytest_isolate._session.interruption import OnTerminate  # noqa: PLC0415

                self.on_terminate = OnTerminate()
        return self._machine

    @property
    def inherited(self) -> Inherited:
        """What tests inherit of what is open."""
        if self._inherited is None:
            # Knows the kernel
            from pytest_isolate._session.inherited import Inherited  # noqa: PLC0415

            self._inherited = Inherited()
        return self._inherited

    @property
    def forwarding(self) -> Forwarding:
        """The servers that tests reach."""
        if self._forwarding is None:
            # Knows the kernel
            from pytest_isolate._forward.forwarding import Forwarding  # noqa: PLC0415
            from pytest_isolate._pytest import plugins  # noqa: PLC0415

            self._forwarding = Forwarding(plugins.listeners(self.config))
        return self._forwarding

    @property
    def roster(self) -> Roster:
        """Which of its sandboxes can be entered. Raises ``StepFailedError``."""
        if self._roster is None:
            # For tests that run for long
            from pytest_isolate._shell.roster import Roster  # noqa: PLC0415

            self._roster = Roster()
        return self._roster

    @property
    def layers(self) -> Layers:
        """What tests stand on. Raises ``StepFailedError``."""
        if self._layers is None:
            from pytest_isolate._session.layers import Layers  # noqa: PLC0415 - for who has some

            self._layers = Layers(rootless=self.machine.host.rootless)
            self.held.append(self._layers.descriptors)
        return self._layers

    @property
    def played(self) -> Played:
        """Hooks that are called here too for tests that run elsewhere."""
        if self._played is None:
            # For isolated tests only
            from pytest_isolate._messages.played import Played  # noqa: PLC0415

            self._played = Played(self.config)
        return self._played

    @property
    def here(self) -> Environment:
        """Where this run is, for what helps against a failure."""
        from pytest_isolate._linux import environment  # noqa: PLC0415

        return environment.look() if self._machine is None else self._machine.host.here

    def builders_death(self, *, died: bool = False) -> str | None:
        """How the builder died; None if it lives.

        ``died``: a test did in the way that tests die by that.
        """
        return None if self._machine is None else self._machine.builder.death(0.05 if died else 0.0)

    def index_of(self, item: pytest.Item | None) -> int:
        """Where a test stands among the session's; -1 for none, and for one that somebody's loop
        made.
        """
        if item is None:
            return -1
        if not self._indexes:
            self._indexes = {id(each): index for index, each in enumerate(item.session.items)}
        return self._indexes.get(id(item), -1)

    def knows(self, item: pytest.Item) -> bool:
        """Whether a test is one of the session's, so that a child can be told by number which it
        is.
        """
        return self.index_of(item) >= 0

    def descriptors_of_ours(self) -> set[int]:
        """Everything of ours that no test may inherit."""
        machine = self.machine
        log = set() if machine.kernel_log is None else {machine.kernel_log.fd}
        held = {fd for each in self.held for fd in each()}
        held |= {self._roster.fd} if self._roster is not None else set()
        held |= set(machine.roots.descriptors)
        return {
            machine.table.fd,
            machine.children.fd,
            *log,
            *held,
            *machine.builder.descriptors(),
            *self.forwarding.descriptors(),
        }

    def close(self) -> list[str]:
        """Unmake everything. Gives sentences on what would not end."""
        if self.on_terminate is not None:
            self.on_terminate.close()
            self.on_terminate = None
        if self._roster is not None:
            self._roster.close()
            self._roster = None
        if self._forwarding is not None:
            self._forwarding.close()
            self._forwarding = None
        if self._machine is not None:
            self._machine.builder.close()
            self._machine.let_go()
            self._machine = None
        ending = sys.modules.get("pytest_isolate._sandbox.ending")  # of runs with isolated tests
        said = [] if ending is None else ending.told()
        if self._layers is not None:  # behind every sandbox that could have one
            layers, self._layers = self._layers, None
            said += layers.close()
        return said
