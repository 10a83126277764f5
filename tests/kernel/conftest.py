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
from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.root import Root
from pytest_isolate._plan import planning, strictness
from pytest_isolate._sandbox import changes as changes_module
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._sandbox.child import Child
from pytest_isolate._sandbox.entry import Entry, Identity, MemoryLimit, become, fork, say_broken
from pytest_isolate._sandbox.frames import Writer
from pytest_isolate._sandbox.inherited import Inheritance
from pytest_isolate._sandbox.keeper import Keeper
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._sandbox.watch import STACK_SIGNAL, Exit, Watch, wait_for_one


@dataclass
class Result:
    """What came out of one sandbox."""

    value: object
    exit: Exit
    counters: Counters
    disk_used: int
    changes: Changes


class Box:
    """Runs bodies in sandboxes."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.keeper = Keeper(host.places)

    def spec(self, **changes: object) -> Spec:
        return Spec(**{**{name: keyword.default for name, keyword in KEYWORDS.items()}, **changes}, origins={})

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
        meanwhile: Callable[[Sandbox], None] | None = None,
        inherit: Inheritance | None = None,
        root: Root | None = None,
        **changes: object,
    ) -> Result:
        """Run ``body`` in a fresh sandbox; its return value must be JSON's. ``meanwhile`` runs in a thread outside."""
        plan = self.plan(memory=memory, root=root, **changes)
        sandbox = self.keeper.take(plan.recipe)
        sandbox.wait_ready()
        (frames, frames_write), (stacks, stacks_write) = os.pipe(), os.pipe()
        limit = None
        if memory is not None:
            sandbox.watch_memory()
            limit = MemoryLimit.open(sandbox.groups["memory"], self.host.places["memory"].version, memory)
        entry = Entry(
            frames=frames_write,
            pidfd=sandbox.pidfd,
            namespaces=plan.recipe.namespaces,
            joins=sandbox.joins,
            cwd=os.getcwd(),
            replace={},
            keep=frozenset({frames_write, stacks_write, *keep}),
            identity=identity or Identity(drop_capabilities=self.host.rootless),
            files=files,
            memory=limit,
            confinement=strictness.confinement(self.spec(**changes)),
        )
        if inherit is not None:
            entry = replace(entry, inheritance=replace(inherit, private=sandbox.private))
            inherit.lost = entry.inheritance.lost
        pid = fork(entry)
        if pid == 0:
            _child(entry, stacks_write, body)
        for fd in (frames_write, stacks_write, *(limit.descriptors if limit else ())):
            os.close(fd)
        if meanwhile is not None:
            threading.Thread(target=meanwhile, args=(sandbox,)).start()
        watch = Watch(Child(pid), sandbox, frames, stacks)
        watch.start(timeout)
        wait_for_one([watch])
        exit_ = watch.finish()
        changed = changes_module.read(sandbox.private, plan.written)
        result = Result((exit_.first("value") or {}).get("value"), exit_, sandbox.counters(), sandbox.disk_used(), changed)
        sandbox.close()
        return result


def _child(entry: Entry, stacks: int, body: Callable[[], object]) -> None:
    try:
        become(entry)
    except StepFailedError as error:
        say_broken(entry.frames, error)
        os._exit(1)
    faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True)
    writer = Writer(entry.frames)
    writer.send({"kind": "entered", "pid": os.getpid()})
    try:
        writer.send({"kind": "value", "value": body()})
    except Exception as error:
        writer.send({"kind": "value", "value": f"{type(error).__name__}: {error}"})
    writer.send({"kind": "end"})
    os._exit(0)


@pytest.fixture(scope="session")
def box(host: Host) -> Iterator[Box]:
    made = Box(host)
    yield made
    made.keeper.close()
