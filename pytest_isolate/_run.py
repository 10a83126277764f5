"""What the isolated tests of one pytest run share: defaults, the machine, the keeper, and their results."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_isolate import _options
from pytest_isolate._descriptors import Open, open_now
from pytest_isolate._report.reporting import Reporting

if TYPE_CHECKING:
    from pytest_isolate._linux.host import Host
    from pytest_isolate._linux.mounts import MountPoint, MountTable
    from pytest_isolate._plan import Plan
    from pytest_isolate._report.json_report import Entry
    from pytest_isolate._sandbox.keeper import Keeper, Sandbox
    from pytest_isolate._spec import Defaults, Spec


class Machine:
    """Everything that needs the kernel; made when the first isolated test runs, because importing it costs time."""

    def __init__(self) -> None:
        from pytest_isolate._linux import host  # noqa: PLC0415
        from pytest_isolate._linux.mounts import MountTable  # noqa: PLC0415
        from pytest_isolate._sandbox.keeper import Keeper  # noqa: PLC0415

        self.table: MountTable = MountTable()
        self.seen_mounts: list[MountPoint] = self.table.visible()
        self.host: Host = host.look(self.seen_mounts)
        self.keeper: Keeper = Keeper(self.host.places)
        self.plans: dict[tuple[object, ...], Plan] = {}

    def look_again(self) -> None:
        """Forget the plans if the machine's mounts changed."""
        from pytest_isolate._linux import host  # noqa: PLC0415

        if (mounts := self.table.visible()) is not self.seen_mounts:
            self.seen_mounts = mounts
            self.host = host.look(mounts)
            self.plans.clear()


class Run:
    """One pytest process with this plugin."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.all = bool(config.getoption("isolate_all"))
        self._defaults: Defaults | None = None
        if _options.given(config):  # a bad value there ends the run before it starts
            self.defaults.check()
        self.reporting = Reporting(config)
        self.entries: list[Entry] = []
        self.foreign_entries: list[dict[str, object]] = []  # of xdist's workers, as JSON
        self.fixture_descriptors: Open = {}
        self.has_worked = False  # a sandbox was built before: what fails from then on is broken, not missing
        self._any_isolated: bool | None = None
        self._machine: Machine | None = None

    def entries_as_json(self) -> list[dict[str, object]]:
        """All entries, in the JSON report's form."""
        return [*(each.as_json() for each in self.entries), *self.foreign_entries]

    @property
    def defaults(self) -> Defaults:
        """Command line and ini file, read when they are needed."""
        if self._defaults is None:
            from pytest_isolate._spec import Defaults  # noqa: PLC0415 - for isolated tests only

            self._defaults = Defaults(self.config)
        return self._defaults

    def is_isolated(self, item: pytest.Item) -> bool:
        """Whether a test asked for a sandbox, or all do."""
        return self.all or item.get_closest_marker("isolate") is not None

    @contextlib.contextmanager
    def noting_descriptors(self, session: pytest.Session) -> Iterator[None]:
        """Remember what a fixture of a wider scope opens: a copy of the fixture in a child needs it."""
        if self._any_isolated is None:
            self._any_isolated = any(self.is_isolated(item) for item in session.items)
        if not self._any_isolated:
            yield
            return
        before = open_now()
        try:
            yield
        finally:
            after = open_now()
            self.fixture_descriptors.update({fd: after[fd] for fd in after if after[fd] != before.get(fd)})

    @property
    def machine(self) -> Machine:
        """The machine, looked at again when its mounts changed. Raises ``StepFailedError``."""
        if self._machine is None:
            self._machine = Machine()
        self._machine.look_again()
        return self._machine

    def plan(self, spec: Spec, session: pytest.Session) -> Plan:
        """The plan for a spec, made once. Raises ``StepFailedError``."""
        from pytest_isolate import _plan  # noqa: PLC0415
        from pytest_isolate._linux.host import Tree  # noqa: PLC0415

        machine = self.machine
        key = (spec.net, spec.fs, spec.bind, spec.hostname, spec.user, spec.disk, spec.pids, spec.cpu, spec.memory)
        if key not in machine.plans:
            loopback = machine.keeper.loopback() if spec.net else []
            machine.plans[key] = _plan.plan(spec, machine.host, Tree(), loopback, self._places(session))
        return machine.plans[key]

    def _places(self, session: pytest.Session) -> list[str]:
        """Directories that tests are likely to write in or below, the one for temporary files first."""
        places = [tempfile.gettempdir(), os.getcwd(), str(self.config.rootpath), os.path.expanduser("~"), "/var/tmp", sys.prefix]
        places += dict.fromkeys(str(item.path.parent) for item in session.items)
        return [os.path.realpath(place) for place in places]

    def order_ahead(self, item: pytest.Item | None) -> None:
        """Have the next test's sandbox built while the present test runs."""
        if item is None or not self.is_isolated(item):
            return
        from pytest_isolate._spec import BadValueError  # noqa: PLC0415

        try:
            plan = self.plan(self.defaults.spec_of(item), item.session)
        except BadValueError:  # reported when its turn comes
            return
        if not plan.missing:
            self.machine.keeper.order_ahead(plan.recipe)

    def descriptors_of_ours(self, sandbox: Sandbox) -> set[int]:
        """Everything of ours that no test may inherit, even if a fixture was set up when it was opened."""
        machine = self.machine
        return {machine.table.fd, *machine.keeper.descriptors(), *sandbox.descriptors()}

    def close(self) -> None:
        """Unmake everything."""
        if self._machine is not None:
            self._machine.keeper.close()
            self._machine.table.close()
            self._machine = None
