"""A sandbox that can be entered: where it is, and as whom one is in there.

It travels, as a line of JSON, to the process that goes in, and in the roster of a run to whoever
asks from another terminal.
"""

from __future__ import annotations

import base64
import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._sandbox.confine import Confinement
from pytest_isolate._sandbox.entry import Identity


@dataclass(frozen=True)
class Door:
    """One sandbox, and the rights of its test: whoever enters has no others."""

    test: str  # its node id
    why: str  # one would enter: what goes on behind the test's name in a sentence
    first: int  # pid of its PID 1, as who enters counts
    namespace: int  # inode of its pid namespace, by which that pid is known to be no other process
    namespaces: int  # CLONE_* flags of those to join
    process: int = 0  # pid of the test in there; 0: there is none any more
    directory: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)
    confinement: Confinement | None = None
    begun: float = 0.0  # seconds since the epoch
    goes_on: bool = False  # whether a run waits until one has left
    # Uid, gid and groups to be had before anything of it is believed, where a root enters
    owner: Sequence[Any] | None = None
    command: Sequence[str] = ()  # instead of a shell

    def pack(self) -> bytes:
        """Give it as one line."""
        who, walls = self.identity, self.confinement
        fields = asdict(self)
        fields["identity"] = [who.uid, who.gid, who.groups, who.drop_capabilities]
        if walls is not None:
            program = base64.b64encode(walls.program).decode("ascii")
            fields["confinement"] = [program, sorted(walls.capabilities)]
        return json.dumps(fields).encode("ascii")

    @classmethod
    def unpack(cls, line: bytes) -> Door:
        """Read what ``pack`` gave. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for what
        it did not.
        """
        fields = json.loads(line)
        uid, gid, groups, drops = fields.pop("identity")
        walls = fields.pop("confinement")
        return cls(
            **fields,
            identity=Identity(uid, gid, tuple(groups), drop_capabilities=drops),
            confinement=None
            if walls is None
            else Confinement(base64.b64decode(walls[0]), frozenset(walls[1])),
        )

    def open(self) -> int:
        """Open a pidfd of its PID 1. Raises ``StepFailedError`` when that is gone."""
        what = f"PID 1 of the sandbox of {self.test}"
        with Step("open a pidfd of", what):
            pidfd = os.pidfd_open(self.first)
        try:
            found = os.stat(f"/proc/{self.first}/ns/pid").st_ino
        except OSError:
            found = 0
        if found == self.namespace:
            return pidfd
        os.close(pidfd)  # that number is another process's by now, or nobody's
        raise StepFailedError("open a pidfd of", what, errno.ESRCH)

    def with_variables(self, variables: Mapping[str, str]) -> Door:
        """Give the same with further variables, which come before the test's own."""
        return replace(self, environment={**self.environment, **variables})

    def with_command(self, command: Sequence[str]) -> Door:
        """Give the same for who wants one command run in there, and no shell."""
        return replace(self, command=tuple(command))

    def with_owner(self, owner: tuple[int, int, tuple[int, ...]]) -> Door:
        """Give the same for a root, who is to enter as whoever started the run."""
        return replace(self, owner=owner)

    @property
    def is_there(self) -> bool:
        """Whether its sandbox still stands."""
        try:
            os.close(self.open())
        except StepFailedError:
            return False
        return True
