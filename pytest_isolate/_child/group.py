"""Tests that share one sandbox, one after the other (``scope``): the child goes on with the next
instead of ending.

The child of the first test is a whole pytest, so it runs the protocol of the next ones too, when it
is told to: pytest writes a command for each, and the end of the commands is the end of the child.
What a group shares is what a plain run shares among the same tests. It ends where shared fixtures
would change, and with the first test whose verdict is not ``ok``: the rest then runs in a new
sandbox.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_isolate._errors import BadValueError
from pytest_isolate._linux.counters import Counters
from pytest_isolate._pytest import fixtures
from pytest_isolate._sandbox.changes import Changes

if TYPE_CHECKING:
    from pytest_isolate._config.spec import Spec
    from pytest_isolate._forward.relaying import Figures
    from pytest_isolate._messages.coverage import Measuring
    from pytest_isolate._plan.planning import Plan
    from pytest_isolate._sandbox.sandbox import Sandbox
    from pytest_isolate._sandbox.supervisor import Supervisor
    from pytest_isolate._session.run import Run

_COMMAND = struct.Struct("=iii??")


class Command(NamedTuple):
    """What a child that waits is told to run."""

    test: int  # index among the session's
    following: int  # of the next one, or -1
    failed: int  # tests so far, for --maxfail
    goes_on: bool  # whether there will be another command
    owns_files: bool = False  # as of coverage


_NODES: dict[str, type] = {"class": pytest.Class, "module": pytest.Module}


NOTHING = Command(-1, -1, 0, goes_on=False)


@dataclass(frozen=True)
class Key:
    """What tests must have in common to share a sandbox."""

    node: object
    spec: Spec
    # Of wider scopes: another one tears shared fixtures down
    parameters: tuple[tuple[str, int], ...]


def key_of(spec: Spec, item: pytest.Item) -> Key | None:
    """Return the key of a test; None for one with a sandbox of its own, as a function outside of
    classes has with ``scope="class"``.
    """
    node = item.getparent(_NODES[spec.scope]) if spec.scope in _NODES else None
    return None if node is None else Key(node, spec, fixtures.wide_parameters(item))


def goes_on(run: Run, key: Key | None, nextitem: pytest.Item | None) -> bool:
    """Whether the next test will want the same sandbox."""
    if key is None or nextitem is None or not run.is_isolated(nextitem) or not run.knows(nextitem):
        return False
    try:
        return key_of(run.defaults.spec_of(nextitem), nextitem) == key
    except BadValueError:  # reported when its turn comes
        return False


@dataclass
class Group:
    """A sandbox with a child in it that runs tests, one or several."""

    key: Key | None
    spec: Spec  # what its tests have
    sandbox: Sandbox
    plan: Plan
    supervisor: Supervisor
    commands: int  # writing end
    measuring: Measuring | None  # of coverage, when the child was forked
    mirrors: dict[str, int]  # what the child keeps in its memory, by name: the files of it
    threads: tuple[str, ...] = ()  # names of pytest's other threads at the fork
    counters: Counters = field(default_factory=Counters)  # as they were when the test before ended
    disk_used: int | None = 0
    unroutable: int = 0
    # What came through to its servers by the end of the test before
    reached: list[Figures] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    temporary: set[str] = field(default_factory=set)  # what was the ``tmp_path`` of its tests
    anew: str = ""  # why its tests do not go on with the sandbox of those before, in words

    def __post_init__(self) -> None:
        self.sandbox.beside.append(lambda: (self.commands, *self.mirrors.values()))

    def command(self, command: Command) -> None:
        """Have the child run one more test.

        Raises ``BrokenPipeError`` when it is dead, or does not listen.
        """
        try:
            os.write(self.commands, _COMMAND.pack(*command))
        except BlockingIOError as error:
            # It filled its own pipe, and would wait for ever for the end of that
            raise BrokenPipeError(error.errno, "it does not read what it is told") from error

    def close(self, *, later: bool = False) -> None:
        """End the child and let go of the sandbox, now or while the next test runs; the builder
        unmakes it.
        """
        commands, self.commands = self.commands, -1
        os.close(commands)
        self.supervisor.leave()
        mirrors, self.mirrors = self.mirrors, {}
        for fd in mirrors.values():
            os.close(fd)
        if later:
            self.sandbox.close_later()
        else:
            self.sandbox.close()


def next_command(commands: int) -> Command | None:
    """In the child: wait for a command; None at their end."""
    data = os.read(commands, _COMMAND.size)
    return Command(*_COMMAND.unpack(data)) if len(data) == _COMMAND.size else None
