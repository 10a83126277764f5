"""What a run knows of servers that its tests reach, and the relay that carries to them what they
say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_isolate._config.destinations import Destination
from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._forking.own_processes import Children
from pytest_isolate._forward import encoded
from pytest_isolate._forward.descriptors import BEGAN, INHERITED
from pytest_isolate._forward.finder import Finder, Started
from pytest_isolate._forward.missed import Missed
from pytest_isolate._forward.others import Others
from pytest_isolate._forward.relaying import Figures, Relaying
from pytest_isolate._forward.server import Server, Used
from pytest_isolate._sandbox.sandbox import Sandbox


class Forwarding:
    """Of one run. ``others``: inodes of sockets of this process that are no fixture's."""

    def __init__(self, others: frozenset[int] = frozenset()) -> None:
        self._children = Children()
        self._requests: list[bytes] | None = None
        self._finder = Finder(self._encoded, BEGAN, INHERITED | others)
        self._others = Others(self._finder.listening)
        self._relaying = Relaying()

    def _encoded(self) -> list[bytes]:
        if self._requests is None:
            self._requests = encoded.requests()
        return self._requests

    def before_fixture(self) -> Started:
        """Note what there is before a wider fixture is set up."""
        return Started.here(self._pids())

    def after_fixture(self, name: str, before: Started, sockets: set[int]) -> None:
        """Remember what it started; ``sockets``: that this process got meanwhile."""
        self._finder.note(name, before, self._pids(), sockets)

    def _pids(self) -> set[int]:
        try:
            return self._children.pids()
        except StepFailedError:
            # What shared fixtures need is no matter of ours: then nobody knows which of them
            # started a server
            return set()

    def servers(
        self, changes: int, children: set[int], but_of: Sequence[str] = ()
    ) -> tuple[Server, ...]:
        """Those of shared fixtures, now. Raises ``StepFailedError``."""
        found = self._finder.look(changes, children)
        return (
            tuple(server for server in found if server.fixture not in but_of) if but_of else found
        )

    def others(self, destinations: Sequence[Destination]) -> tuple[Server, ...]:
        """Those that a test names. Raises ``NobodyThereError`` and ``StepFailedError``."""
        with Step("list", "the sockets of this machine by sock_diag"):
            return self._others.find(destinations)

    def missed(self) -> Missed:
        """For a test that failed: who listens on the machine now.

        Nobody, where the kernel cannot say.
        """
        try:
            return Missed(self._finder.listening(), self._finder.found, self._finder.sockets)
        except (OSError, StepFailedError):
            return Missed((), (), {})

    @property
    def unknown(self) -> str | None:
        """Why this kernel cannot tell; None where it can."""
        return self._finder.unknown

    def open(self, sandbox: Sandbox, servers: Sequence[Server]) -> None:
        """Have a sandbox, whose test has not begun, reach these. Raises ``StepFailedError``."""
        if servers:
            self._relaying.open(sandbox, servers)

    def used(
        self,
        sandbox: Sandbox,
        servers: Sequence[Server],
        sockets: Sequence[Server],
        before: list[Figures],
    ) -> Iterator[Used]:
        """Say what a test had of its servers, those with ``sockets`` in the file system last.

        ``before``: of earlier tests in it.
        """
        figures = self._relaying.used(sandbox) if servers else []
        for at, server in enumerate(servers):
            if not figures:
                yield Used(server, None, None, None)
            else:
                now = figures[at].since(before[at] if before else None)
                yield Used(server, now.connections, now.sent, now.received, now.refused)
        before[:] = figures or before
        for server in sockets:
            yield Used(server, None, None, None)

    @property
    def helpers(self) -> set[int]:
        """Processes of ours."""
        return {self._relaying.pid} - {-1}

    def descriptors(self) -> tuple[int, ...]:
        """Return what no test may inherit."""
        return (
            *(() if self._children.fd < 0 else (self._children.fd,)),
            *self._relaying.descriptors(),
        )

    def close(self) -> None:
        """End it when the run is over."""
        self._relaying.close()
        self._children.close()
