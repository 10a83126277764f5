"""Sandboxes without pytest inside: a body runs in one, and what it returns comes back."""

from __future__ import annotations

import faulthandler
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.root import Root
from pytest_isolate._plan import planning, strictness
from pytest_isolate._sandbox import changes as changes_module
from pytest_isolate._sandbox import launch
from pytest_isolate._sandbox.builder_client import BuilderClient
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._sandbox.entry import Entry, Identity, MemoryLimit
from pytest_isolate._sandbox.frames import Writer
from pytest_isolate._sandbox.inherited import Inheritance
from pytest_isolate._sandbox.pipes import Ends
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._sandbox.supervisor import STACK_SIGNAL


@dataclass
class Result:
    """What came out of one sandbox."""

    value: object
    process: ProcessResult
    counters: Counters
    disk_used: int
    changes: Changes


class Box:
    """Runs bodies in sandboxes."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.builder = BuilderClient(host.places)

    def spec(self, **changes: object) -> Spec:
        return Spec(
            **{**{name: keyword.default for name, keyword in KEYWORDS.items()}, **changes},
            origins={},
        )

    def plan(self, *, root: Root | None = None, **changes: object) -> planning.Plan:
        spec = self.spec(**changes)
        return planning.plan(spec, self.host, root or Root(), [tempfile.gettempdir(), "/var/tmp"])

    def run(
        self,
        body: Callable[[], object],
        *,
        timeout: float = 20.0,
        keep: frozenset[int] = frozenset(),
        identity: Identity | None = None,
        files: int | None = None,
        memory: int | None = None,
        killed_within: float | None = None,
        meanwhile: Callable[[Sandbox], None] | None = None,
        inherit: Inheritance | None = None,
        root: Root | None = None,
        **changes: object,
    ) -> Result:
        """Run ``body`` in a fresh sandbox; its return value must be JSON's.

        ``meanwhile`` runs in a thread outside.
        """
        plan = self.plan(memory=memory, root=root, **changes)
        sandbox = self.builder.take(plan.recipe)
        sandbox.wait_ready()
        if memory is not None:
            sandbox.watch_memory()
        confinement = strictness.confinement(self.spec(**changes))

        def entry_with(ends: Ends) -> Entry:
            place = self.host.places.get("memory")
            entry = Entry(
                frames=ends.frames,
                pidfd=sandbox.pidfd,
                namespaces=plan.recipe.namespaces,
                joins=sandbox.joins,
                cwd=os.getcwd(),
                replace={},
                keep=frozenset({ends.frames, ends.stacks, *keep}),
                identity=identity or Identity(drop_capabilities=self.host.rootless),
                files=files,
                memory=(
                    None
                    if memory is None
                    else MemoryLimit.open(sandbox.groups["memory"], place, memory)
                ),
                confinement=confinement,
            )
            if inherit is not None:
                entry = replace(entry, inheritance=replace(inherit, private=sandbox.private))
                inherit.lost = entry.inheritance.lost
            stacks.append(ends.stacks)
            return entry

        def beside() -> None:
            if meanwhile is not None:
                threading.Thread(target=meanwhile, args=(sandbox,)).start()

        stacks: list[int] = []
        process = launch.run(
            sandbox,
            entry_with,
            lambda entry: _child(entry, stacks[0], body),
            timeout=timeout,
            killed_within=killed_within,
            meanwhile=beside,
        )
        changed = changes_module.read(sandbox.private, plan.written)
        result = Result(
            (process.first("value") or {}).get("value"),
            process,
            sandbox.counters(),
            sandbox.disk_used(),
            changed,
        )
        sandbox.close()
        return result


def _child(entry: Entry, stacks: int, body: Callable[[], object]) -> None:
    faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True)
    writer = Writer(entry.frames)
    writer.send({"kind": "entered", "pid": os.getpid()})
    try:
        writer.send({"kind": "value", "value": body()})
    except Exception as error:
        writer.send({"kind": "value", "value": f"{type(error).__name__}: {error}"})
    writer.send({"kind": "end"})


@pytest.fixture(scope="session")
def box(host: Host) -> Iterator[Box]:
    made = Box(host)
    yield made
    made.builder.close()
