"""What of a run needs the kernel: the machine as it is, the builder of sandboxes, the plans made so
far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._forking.forked import Parent
from pytest_isolate._forking.openmp import OpenMP
from pytest_isolate._forking.own_processes import Children
from pytest_isolate._linux import host, names
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.huge_pages import Exchange
from pytest_isolate._linux.kernel_log import KernelLog
from pytest_isolate._linux.mounts import MountPoint, MountTable
from pytest_isolate._model import Missing
from pytest_isolate._plan.planning import Plan
from pytest_isolate._sandbox.builder_client import BuilderClient
from pytest_isolate._session.roots import Chosen, Roots

if TYPE_CHECKING:
    from pytest_isolate._network.needs import Kernel
    from pytest_isolate._network.way_out import WayOut


class Machine:
    """Made, and imported, when the first isolated test runs: both cost time."""

    def __init__(self) -> None:

        with Step("read", "/proc/self/mountinfo and the control groups of this machine"):
            self.table: MountTable = MountTable()
            self.seen_mounts: list[MountPoint] = self.table.visible()
            self.host: Host = host.look(self.seen_mounts)
        try:
            self.kernel_log: KernelLog | None = KernelLog()
        except OSError:
            # Not for this caller: then a memory violation says less, as docs/limitations.md has it
            self.kernel_log = None
        self.children: Children = Children()
        self.parent: Parent = Parent()
        self.roots: Roots = Roots()
        try:
            self.builder: BuilderClient = BuilderClient(self.host.places)
        except StepFailedError:
            self.let_go()
            raise
        self.parent.answer()
        self.plans: dict[tuple[object, ...], Plan] = {}
        self.huge_pages: Exchange = Exchange()
        self.chosen: dict[tuple[object, ...], Chosen] = {}  # of those, on this machine as it is
        self.openmp: OpenMP = OpenMP()
        # What it has for networks of hosts, if a test has asked for one
        self.ways_out: dict[object, WayOut | Missing] = {}  # by the value of net
        self.network_kernel: Kernel | None = None

    def let_go(self) -> None:
        """Let go of everything besides the builder."""
        self.table.close()
        self.children.close()
        self.parent.close()
        self.roots.close()
        if self.kernel_log is not None:
            self.kernel_log.close()

    def revive(self) -> None:
        """Put a new builder in the place of one that died. Raises ``StepFailedError``."""
        if self.builder.death() is not None:
            self.builder.revive()

    def look_again(self) -> None:
        """Forget the plans if the machine's mounts or its /etc/hosts changed."""
        if (
            mounts := self.table.visible()
        ) is not self.seen_mounts or names.seen() != self.host.hosts:
            self.seen_mounts = mounts
            self.host = host.look(mounts)
            self.plans.clear()
            self.chosen.clear()
