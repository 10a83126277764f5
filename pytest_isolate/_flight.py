"""One test's fork: from the point where pytest stands before function scope to the child's end.

``take_off`` is called at that point, in the middle of pytest's own ``pytest_runtest_protocol``. In the child it
returns, and pytest goes on with fixtures, call and teardown as if nothing had happened. In the parent it waits and then
raises ``Handed``, which unwinds that protocol without reports; ``_protocol`` catches it at the outermost hook and reports.
"""

from __future__ import annotations

import gc
import os
import signal
import stat
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_isolate import _pytest_private
from pytest_isolate._descriptors import open_now
from pytest_isolate._errors import StepFailedError
from pytest_isolate._inside import FORWARDED, Events, Inside
from pytest_isolate._model import Missing
from pytest_isolate._plan import Plan, resolve_user
from pytest_isolate._remedies import explain
from pytest_isolate._run import Run
from pytest_isolate._sandbox import entry as entry_module
from pytest_isolate._sandbox.entry import Entry, Identity, MemoryLimit
from pytest_isolate._sandbox.frames import Writer
from pytest_isolate._sandbox.keeper import Sandbox
from pytest_isolate._sandbox.watch import Watch
from pytest_isolate._spec import BadValueError, Spec
from pytest_isolate._verdict import Facts, Verdict


class Handed(pytest.exit.Exception):  # type: ignore[name-defined, misc] # an attribute of a function, to mypy
    """The test is over elsewhere. An ``Exit``, the one exception that pytest lets through a phase on its way out."""

    def __init__(self) -> None:
        super().__init__("pytest-isolate: handed to a sandbox")


@dataclass
class Flight:
    """One isolated test in this process, parent or child."""

    run: Run
    hooks: object  # the plugin whose hooks are the only ones that speak for a child
    item: pytest.Item
    nextitem: pytest.Item | None
    spec: Spec | None
    bad_value: str | None = None
    inside: Inside | None = None  # set in the child only
    plain: bool = False  # on_missing="warn" and nothing could be had
    broken: str | None = None  # why there was no sandbox
    facts: Facts | None = None
    sandbox: Sandbox | None = None
    plan: Plan | None = None
    arguments: dict[str, Any] | None = None
    output: tuple[tuple[str, bytes], ...] = ()
    parent_warnings: int = 0
    salvaged: str | None = None  # the line that says where the tmp_path went

    landing: bool = False
    started: float = field(default_factory=time.time)
    verdict: Verdict | None = None
    reports: list[pytest.TestReport] = field(default_factory=list)

    def close(self) -> None:
        """Let go of the sandbox; the builder unmakes it."""
        if self.sandbox is not None:
            self.sandbox.close()
            self.sandbox = None

    @property
    def pending(self) -> bool:
        """Whether the fork is still to come."""
        return self.inside is None and not self.plain


def prepare(run: Run, hooks: object, item: pytest.Item, nextitem: pytest.Item | None) -> Flight:
    """A flight, its keywords checked. What is wrong with them is said when the test's turn in pytest's protocol comes."""
    try:
        return Flight(run, hooks, item, nextitem, run.defaults.spec_of(item))
    except BadValueError as error:
        return Flight(run, hooks, item, nextitem, None, bad_value=str(error))


def take_off(flight: Flight) -> None:
    """Fork. Returns in the child (and, with ``on_missing="warn"`` on a machine without namespaces, in the only process)."""
    if flight.bad_value is not None or flight.broken is not None or flight.facts is not None:
        raise Handed  # somebody's hook swallowed the first one: a parent must never run the test itself
    assert flight.spec is not None
    try:
        _prepare(flight, flight.spec)
        if flight.plain:
            return
        _fork(flight, flight.spec)
    except StepFailedError as error:
        flight.broken = explain(error)
    except Handed:
        raise
    except Exception:  # ours, not the test's: it must not look like the test's failure
        if flight.inside is not None:
            raise
        flight.broken = f"pytest-isolate itself failed:\n{traceback.format_exc()}"
    if flight.inside is None:
        flight.arguments = _pytest_private.function_arguments(flight.item)
        raise Handed


def _prepare(flight: Flight, spec: Spec) -> None:
    """Get a ready sandbox, or settle what this machine cannot give by ``on_missing``."""
    run = flight.run
    try:
        flight.plan = run.plan(spec, flight.item.session)
        for missing in flight.plan.missing:
            _settle(flight, spec, missing)
        if flight.broken is not None:
            raise Handed
        _build(flight, spec)
        run.has_worked = True
    except StepFailedError as error:
        if run.has_worked:
            raise
        _settle(flight, spec, Missing("sandbox", explain(error), "pytest --isolate-doctor"))
        flight.plain = flight.broken is None
        if flight.broken is not None:
            raise Handed from error


def _build(flight: Flight, spec: Spec) -> None:
    """Take or order the sandbox. When it fails and the machine's mounts changed since the plan was made, plan once more."""
    run = flight.run
    for again in (False, True):
        plan = flight.plan = run.plan(spec, flight.item.session)
        flight.sandbox = run.machine.keeper.take(plan.recipe)
        try:
            flight.sandbox.wait_ready()
        except StepFailedError:
            flight.close()
            if again or run.plan(spec, flight.item.session) is plan:
                raise
        else:
            return


def _settle(flight: Flight, spec: Spec, missing: Missing) -> None:
    sentence = (
        f"this machine cannot isolate {missing.keyword} (asked {spec.origin(missing.keyword)}): {missing.reason}; "
        f"remedy: {missing.remedy}; see also pytest --isolate-doctor and on_missing="
    )
    if spec.on_missing == "skip":
        pytest.skip(sentence)
    if spec.on_missing == "error":
        flight.broken = sentence
    else:
        warnings.warn(pytest.PytestWarning(f"{sentence}: the test runs without it"), stacklevel=2)


def _fork(flight: Flight, spec: Spec) -> None:

    sandbox = flight.sandbox
    assert sandbox is not None
    if spec.memory is not None and "memory" in sandbox.groups:
        sandbox.watch_memory()
    if "tmp_path_factory" in getattr(flight.item, "fixturenames", ()):
        _pytest_private.temporary_base(flight.item.config)  # made here, or each child makes one of its own
    frames, frames_write = os.pipe()
    stacks, stacks_write = os.pipe()
    events = _open_events(sandbox, spec)
    keep = {frames_write, stacks_write, sandbox.stdout, *(fd for fd, _ in events.values()), *_kept(flight, sandbox)}
    entry = _entry(flight, spec, frames_write, frozenset(keep))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    _pytest_private.prepared_callers(flight.item.config, flight.hooks, FORWARDED)
    timer = signal.setitimer(signal.ITIMER_REAL, 0)
    gc.freeze()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C in a child that is not yet inside would be two parents
    try:
        pid = entry_module.fork(entry)
        if pid == 0:
            _begin(flight, spec, entry, stacks_write, events=events, timer=timer)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return
    finally:
        if flight.inside is None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            gc.unfreeze()
            limit = entry.memory.descriptors if entry.memory is not None else ()
            for fd in (frames_write, stacks_write, *limit, *(fd for fd, _ in events.values())):
                os.close(fd)
    try:
        _wait(flight, spec, pid, frames, stacks)
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        os.close(frames)
        os.close(stacks)


def _begin(flight: Flight, spec: Spec, entry: Entry, stacks: int, *, events: Events, timer: tuple[float, float]) -> None:
    """In the child: get inside. A child that fails here must never return into pytest, where it would take itself for the parent."""
    sandbox = flight.sandbox
    try:
        base = entry_module.become(entry)
        assert sandbox is not None
        watches_denials = spec.disk is not None or spec.files is not None
        inside = Inside(flight.item, Writer(entry.frames), sandbox.stdout, events, watches_denials=watches_denials)
        inside.begin(flight.hooks, stacks, base, timer, fresh=spec.fixtures == "fresh")
        flight.inside = inside
    except StepFailedError as error:
        entry_module.say_broken(entry.frames, error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends here
        entry_module.say_broken(entry.frames, StepFailedError(f"begin ({type(error).__name__}: {error})", "in the child", 0))
    if flight.inside is None:
        os._exit(1)


def _open_events(sandbox: Sandbox, spec: Spec) -> Events:
    events: Events = {}
    if spec.pids is not None and "pids" in sandbox.groups:
        events["pids"] = (os.open(f"{sandbox.groups['pids']}/pids.events", os.O_RDONLY | os.O_CLOEXEC), "max")
    if spec.memory is not None and "memory" in sandbox.groups:
        events["oom"] = (os.open(sandbox.oom_file, os.O_RDONLY | os.O_CLOEXEC), "oom_kill")
    return events


def _wait(flight: Flight, spec: Spec, pid: int, frames: int, stacks: int) -> None:

    sandbox = flight.sandbox
    assert sandbox is not None
    watch = Watch(pid, sandbox, frames, stacks)
    flight.run.order_ahead(flight.nextitem)
    exit_ = watch.wait(spec.timeout)
    entered = exit_.first("entered") or {}
    base = entered.get("base")
    flight.facts = Facts(
        exit_,
        sandbox.counters(),
        sandbox.disk_used(),
        sandbox.disk_full(),
        base if isinstance(base, int) else 0,
    )
    flight.output = (("stdout", _tail(sandbox.stdout)), ("stderr", _tail(sandbox.stderr)))


_MOST_OUTPUT = 1 << 20  # bytes of a dead test's output that are shown, the last ones


def _tail(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, _MOST_OUTPUT, max(0, size - _MOST_OUTPUT))


def _kept(flight: Flight, sandbox: Sandbox) -> set[int]:
    """Parent's descriptors that a child needs: capture's, log files', and those that shared fixtures opened."""
    config = flight.item.config
    keep = _pytest_private.capture_keeps(config) | _pytest_private.log_file_descriptors(config)
    of_fixtures = flight.run.fixture_descriptors
    if of_fixtures and flight.spec is not None:
        now = open_now()
        keep |= {fd for fd, identity in of_fixtures.items() if now.get(fd) == identity}
    return keep - flight.run.descriptors_of_ours(sandbox)


def _entry(flight: Flight, spec: Spec, frames_write: int, keep: frozenset[int]) -> Entry:

    sandbox, plan = flight.sandbox, flight.plan
    assert sandbox is not None
    assert plan is not None
    replace = {}
    for target, file, capturing in _pytest_private.capture_files(flight.item.config):
        ours = sandbox.stdout if target == 1 else sandbox.stderr
        if size := os.fstat(file).st_size:  # what shared fixtures of this test said belongs to its setup section
            os.write(ours, os.pread(file, size, 0))
        replace[file] = ours
        if capturing:
            replace[target] = ours
    memory = None
    if spec.memory is not None and "memory" in sandbox.groups:
        version = flight.run.machine.host.places["memory"].version
        memory = MemoryLimit.open(sandbox.groups["memory"], version, spec.memory)
    return Entry(
        frames=frames_write,
        pidfd=sandbox.pidfd,
        namespaces=plan.recipe.namespaces,
        joins=sandbox.joins,
        cwd=os.getcwd(),
        replace=replace,
        keep=keep,
        identity=_identity(flight, spec),
        files=spec.files,
        memory=memory,
        environment={} if isinstance(spec.env, str) else dict(spec.env),
        clean_environment=spec.env == "clean",
    )


def _identity(flight: Flight, spec: Spec) -> Identity:

    host = flight.run.machine.host
    if host.rootless:  # the map gave the wanted name already; only a root of that name keeps rights
        return Identity(drop_capabilities=(host.uid if spec.user is None else resolve_user(spec.user)[0]) != 0)
    if spec.user is None:
        return Identity()
    uid, gid, groups = resolve_user(spec.user)
    given: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    if uid != host.uid and "tmp_path_factory" in getattr(flight.item, "fixturenames", ()):
        base = _pytest_private.temporary_base(flight.item.config)
        given = (str(base.parent), str(base))
        closed = tuple(str(path) for path in base.parents if not path.stat().st_mode & stat.S_IXOTH)
    return Identity(uid, gid, groups, given=given, opened=closed)
