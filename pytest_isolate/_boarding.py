"""What a child is given before its fork: descriptors, output files, limits, an identity."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import threading
from collections.abc import Callable
from functools import partial

import pytest

from pytest_isolate import _forked, _pytest_private, _strict
from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._inside import Events
from pytest_isolate._plan import Plan, resolve_user
from pytest_isolate._run import Run, working_directory
from pytest_isolate._sandbox.entry import Entry, Identity, MemoryLimit
from pytest_isolate._sandbox.inherited import Inheritance
from pytest_isolate._sandbox.mirror import Mirror
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._spec import Spec
from pytest_isolate._timers import Stopped


def wants_debugger(config: pytest.Config) -> bool:
    """Whether the run was asked to stop in a debugger."""
    return bool(config.getoption("usepdb", False) or config.getoption("trace", False))


def random_state() -> Callable[[], None]:
    """What a child calls to have the parent's state of ``random`` again: Python seeds it anew in forked children."""
    module = sys.modules.get("random")
    return partial(module.setstate, module.getstate()) if module is not None else lambda: None


def open_pipes(count: int) -> list[tuple[int, int]]:
    """Reading and writing ends, close-on-exec. Raises ``StepFailedError``, with none left open."""
    pipes: list[tuple[int, int]] = []
    try:
        with Step("open", "the pipes of the test's process"):
            pipes.extend(os.pipe() for _ in range(count))
    except StepFailedError:
        for pipe in pipes:
            close(*pipe)
        raise
    return pipes


def open_event(of: str) -> int:
    """An eventfd that nobody can be made to wait for. Raises ``StepFailedError``."""
    with Step("open", f"an event for {of}"):
        return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def open_mirrors(config: pytest.Config) -> dict[str, Mirror]:
    """Memory for what a child would take with it. Raises ``StepFailedError``."""
    with Step("map", "memory for what the test logs"):
        return {name: Mirror() for name in _pytest_private.kept_in_memory(config)}


def repairs(run: Run, opened: list[int]) -> _forked.Repairs:
    """What the child has to put right in its copy of this Python. ``opened`` grows by the descriptors that it needs for that."""
    run.machine.openmp.pause()
    processes = run.processes()
    opened += [process.fd for process in processes.values()]
    return _forked.repairs(processes, threads=threading.active_count() > 1)


def close(*descriptors: int) -> None:
    """Close them all."""
    for fd in descriptors:
        os.close(fd)


def open_events(sandbox: Sandbox, spec: Spec) -> Events:
    """Files of the control groups by which the child tells in which phase something was denied. Raises ``StepFailedError``."""
    events: Events = {}
    if spec.pids is not None and "pids" in sandbox.groups:
        events["pids"] = (_opened(f"{sandbox.groups['pids']}/pids.events"), "max")
    if spec.memory is not None and "memory" in sandbox.groups:
        events["oom"] = (_opened(sandbox.oom_file), "oom_kill")
    return events


def _opened(path: str) -> int:
    with Step("open", path):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def inheritance(
    run: Run, config: pytest.Config, spec: Spec, sandbox: Sandbox, *, timers: Stopped, ours: set[int]
) -> tuple[Inheritance, set[int]]:
    """What becomes of everything that pytest has open but ``ours``, and which descriptors of it a child needs as they are.

    pytest's own files stay the one that everybody writes to: the standard streams, which capture has put aside, and its logs.
    """
    captured = {file for _, file in _pytest_private.capture_files(config)}
    standard = _pytest_private.capture_keeps(config)
    standing = {0, 1, 2} | standard | _pytest_private.log_file_descriptors(config) | _dumps_to(timers, standard, strict=spec.strict)
    standing |= {stream.fileno() for stream in _pytest_private.debug_trace(config)}
    ours = ours | captured | run.descriptors_of_ours()
    return run.inherited.leave(ours, standing - ours, strict=spec.strict, disk=spec.disk, private=sandbox.private)


def _dumps_to(timers: Stopped, standard: set[int], *, strict: bool) -> set[int]:
    """Where ``faulthandler.dump_traceback_later`` writes: for pytest's own, another number for its standard error.

    Another file is not for a strict test.
    """
    fd = -1 if timers.dump is None else timers.dump.fd
    if fd < 0 or (strict and not any(os.path.sameopenfile(fd, each) for each in standard)):
        return set()
    return {fd}


def status_flags(config: pytest.Config) -> dict[int, int]:
    """The flags of pytest's standard streams, which a child shares: with O_NONBLOCK set by a test, pytest's own writes fail."""
    found = {}
    for fd in {0, 1, 2} | _pytest_private.capture_keeps(config):
        with contextlib.suppress(OSError):  # closed, as pytest <&- has it
            found[fd] = fcntl.fcntl(fd, fcntl.F_GETFL)
    return found


def restore_flags(flags: dict[int, int]) -> None:
    """Have them again as they were."""
    for fd, before in flags.items():
        with contextlib.suppress(OSError):
            if fcntl.fcntl(fd, fcntl.F_GETFL) != before:
                fcntl.fcntl(fd, fcntl.F_SETFL, before)


def entry(
    run: Run,
    item: pytest.Item,
    spec: Spec,
    sandbox: Sandbox,
    plan: Plan,
    *,
    timers: Stopped,
    frames: int,
    theirs: list[int],
    ours: set[int],
) -> Entry:
    """All that the child does between its fork and the first line of the test, ``theirs`` open. Raises ``StepFailedError``."""
    files = _pytest_private.capture_files(item.config)
    replace = {file: sandbox.stdout if target == 1 else sandbox.stderr for target, file in files}
    identity = _identity(run, item, spec)
    confinement = _strict.confinement(spec)
    memory = None
    if spec.memory is not None and "memory" in sandbox.groups:  # last, for it opens files
        version = run.machine.host.places["memory"].version
        memory = MemoryLimit.open(sandbox.groups["memory"], version, spec.memory)
    of_memory = memory.descriptors if memory is not None else ()
    left, standing = inheritance(run, item.config, spec, sandbox, timers=timers, ours=ours.union(of_memory))
    return Entry(
        frames=frames,
        pidfd=sandbox.pidfd,
        namespaces=plan.recipe.namespaces,
        joins=sandbox.joins,
        cwd=working_directory(),
        replace=replace,
        keep=frozenset({*theirs, *standing, sandbox.stdout}),
        inheritance=left,
        identity=identity,
        files=spec.files,
        memory=memory,
        environment={} if isinstance(spec.env, str) else dict(spec.env),
        clean_environment=spec.env == "clean",
        confinement=confinement,
        keeps_terminal=wants_debugger(item.config) and not spec.strict,  # else signals to its group, 0, are for pytest too
    )


def _identity(run: Run, item: pytest.Item, spec: Spec) -> Identity:
    host = run.machine.host
    if host.rootless:  # the map gave the wanted name already; only a root of that name keeps rights
        return Identity(drop_capabilities=(host.uid if spec.user is None else resolve_user(spec.user)[0]) != 0)
    if spec.user is None:
        return Identity()
    uid, gid, groups = resolve_user(spec.user)
    given: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    if uid != host.uid and "tmp_path_factory" in getattr(item, "fixturenames", ()):
        base = _pytest_private.temporary_base(item.config)
        given = (str(base.parent), str(base))
        closed = tuple(str(path) for path in base.parents if not path.stat().st_mode & stat.S_IXOTH)
    return Identity(uid, gid, groups, given=given, opened=closed)
