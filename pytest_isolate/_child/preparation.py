"""What a child is given before its fork: descriptors, output files, limits, an identity."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import pytest

from pytest_isolate._child.denials import Events
from pytest_isolate._child.given import Given
from pytest_isolate._config.networking import is_network
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import Step
from pytest_isolate._forking import forked
from pytest_isolate._forking.timers import Stopped
from pytest_isolate._plan import strictness
from pytest_isolate._plan.planning import resolve_user
from pytest_isolate._pytest import capture, directories, logs, mirroring
from pytest_isolate._sandbox import mirror, relay
from pytest_isolate._sandbox.confine import Wall
from pytest_isolate._sandbox.entry import Entry, Identity, MemoryLimit, MemoryLooked
from pytest_isolate._sandbox.inherited import Inheritance
from pytest_isolate._sandbox.pipes import Ends, open_pipes
from pytest_isolate._sandbox.relay import Relay
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._session import children
from pytest_isolate._session.run import Run, working_directory

if TYPE_CHECKING:
    from pytest_isolate._config.network import Network
    from pytest_isolate._network.messages import Request


def wants_debugger(config: pytest.Config) -> bool:
    """Whether the run was asked to stop in a debugger."""
    return bool(config.getoption("usepdb", False) or config.getoption("trace", False))


def random_state() -> Callable[[], None]:
    """Return what a child calls to have the parent's state of ``random`` again: Python seeds it
    anew in forked children.
    """
    module = sys.modules.get("random")
    return partial(module.setstate, module.getstate()) if module is not None else lambda: None


def repairs(run: Run, opened: list[int]) -> forked.Repairs:
    """Return what the child has to put right in its copy of this Python.

    ``opened`` grows by the descriptors that it needs for that.
    """
    run.machine.openmp.pause()
    processes = children.stats(run)
    opened += [process.fd for process in processes.values()]
    return forked.repairs(processes, threads=threading.active_count() > 1)


def close(*descriptors: int) -> None:
    """Close them all."""
    for fd in descriptors:
        os.close(fd)


def _open_events(sandbox: Sandbox, spec: Spec) -> Events:
    """Files of the control groups by which the child tells in which phase something was denied.

    Raises ``StepFailedError``.
    """
    events: Events = {}
    if spec.pids is not None and "pids" in sandbox.groups:
        events["pids"] = (_opened(f"{sandbox.groups['pids']}/pids.events"), "max")
    if spec.memory is not None and "memory" in sandbox.groups:
        events["oom"] = (_opened(sandbox.oom_file), "oom_kill")
    return events


def _opened(path: str) -> int:
    with Step("open", path):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _opened_anew(fd: int) -> int:
    """Another open file of an output file, with flags and an offset of its own.

    Raises ``StepFailedError``.
    """
    with Step("open anew", "the files for the test's output"):
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)


@dataclass
class Prepared:
    """A child's descriptors, and pytest's ends of them."""

    given: Given
    ends: Ends = field(default_factory=lambda: Ends(-1, -1))
    commands: int = -1
    relays: list[Relay] = field(default_factory=list)

    @property
    def ours(self) -> tuple[int, ...]:
        """Pytest's."""
        relays = (each.fd for each in self.relays)
        found = (*self.ends.descriptors, self.commands, *self.given.mirrors.values(), *relays)
        return tuple(fd for fd in found if fd >= 0)

    def close(self) -> None:
        """Nobody was forked, or nobody is there who would use them."""
        close(*self.ours)


def prepare(run: Run, config: pytest.Config, spec: Spec, sandbox: Sandbox) -> Prepared:
    """Open all that a child of a sandbox needs.

    Raises ``StepFailedError``, with nothing of it left open.
    """
    prepared = Prepared(given := Given.of(sandbox))
    try:
        given.stdout, given.stderr = _opened_anew(sandbox.stdout), _opened_anew(sandbox.stderr)
        outputs = relay.outputs(_own_outputs(config), but_terminals=not spec.strict)
        pipes = open_pipes(5 + len(outputs))
        prepared.ends = Ends(*(reading for reading, _ in pipes[:4]))
        given.frames, given.stacks, given.ended, given.door = (writing for _, writing in pipes[:4])
        given.commands, prepared.commands = pipes[4]
        for (identity, target), (reading, writing) in zip(outputs.items(), pipes[5:], strict=True):
            prepared.relays.append(Relay(reading, target))
            given.relays[identity] = writing
        os.set_blocking(given.ended, False)  # one that is full has said it
        # A test can open its end of any pipe once more, and fill it
        os.set_blocking(prepared.commands, False)
        given.events = _open_events(sandbox, spec)
        if spec.memory is not None and "memory" in sandbox.groups:
            given.memory = MemoryLimit.open(
                sandbox.groups["memory"], run.machine.host.places["memory"], spec.memory
            )
        elif spec.memory is not None and not given.namespaces:
            given.memory = MemoryLooked(spec.memory)
        with Step("map", "memory for what the test logs"):
            for name in mirroring.kept_in_memory(config):
                given.mirrors[name] = mirror.new_file()
    except BaseException:  # Ctrl-C too
        prepared.close()
        close(*given.own)
        raise
    return prepared


def _inheritance(
    run: Run, config: pytest.Config, spec: Spec, given: Given, *, timers: Stopped, ours: set[int]
) -> tuple[Inheritance, set[int], dict[int, int]]:
    """Say what becomes of all that pytest has open but ``ours``, which descriptors a child needs as
    they are, which it has in their place.

    What is written to pytest's own files reaches them: the standard streams, which capture has put
    aside, and its logs.
    """
    captured = {file for _, file in capture.files(config)}
    standing = _own_outputs(config) | capture.kept_descriptors(config) | {0}
    standing |= _dumps_to(timers, standing, strict=spec.strict)
    stdin = {0} | capture.input_descriptors(config)
    nothing = {fd for fd in stdin if spec.strict or relay.identity_of(fd) in given.relays}
    # A file is opened anew, as any other
    standing -= ours | {fd for fd in stdin - nothing if relay.is_file(fd)}
    left, kept = run.inherited.leave(
        ours | captured,
        standing,
        nothing,
        strict=spec.strict,
        disk=spec.disk,
        private=given.private,
    )
    replaced = {
        fd: given.relays[file]
        for fd in kept - nothing
        if (file := relay.identity_of(fd)) is not None and file in given.relays
    }
    return left, kept - replaced.keys(), replaced


def _own_outputs(config: pytest.Config) -> set[int]:
    """Descriptors by which pytest itself writes, now or later: its standard streams, as capture has
    put them aside, and its logs.
    """
    found = {1, 2} | capture.kept_descriptors(config) - capture.input_descriptors(config)
    return (
        found
        | logs.log_file_descriptors(config)
        | {stream.fileno() for stream in logs.debug_trace(config)}
    )


def _dumps_to(timers: Stopped, standard: set[int], *, strict: bool) -> set[int]:
    """Where ``faulthandler.dump_traceback_later`` writes: for pytest's own, another number for its
    standard error.

    Another file is not for a strict test.
    """
    fd = -1 if timers.dump is None else timers.dump.fd
    if fd < 0 or (strict and not any(os.path.sameopenfile(fd, each) for each in standard)):
        return set()
    return {fd}


def status_flags(config: pytest.Config) -> dict[int, int]:
    """Return the flags of pytest's standard streams, of which a child shares a terminal: with
    O_NONBLOCK set, pytest's own writes fail.
    """
    found = {}
    for fd in {0, 1, 2} | capture.kept_descriptors(config):
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
    run: Run, item: pytest.Item, spec: Spec, given: Given, *, timers: Stopped,
    repairing: Sequence[int], ours: set[int], goes_on: bool,
    writable: tuple[str, ...] | None = None,
) -> Entry:  # fmt: skip
    """All that the child does between its fork and the first line of the test.

    Raises ``StepFailedError``.

    ``repairing``: descriptors that the repairs of its Python need. ``ours``: what it does not
    inherit besides those that it is given. ``writable``: where it may write, if it has no file
    system of its own.
    """
    files = capture.files(item.config)
    left, standing, passed_on = _inheritance(
        run, item.config, spec, given, timers=timers, ours={*ours, *repairing, *given.all}
    )
    return Entry(
        frames=given.frames,
        pidfd=given.pidfd,
        namespaces=given.namespaces,
        joins=given.joins,
        cwd=working_directory(),
        replace=passed_on
        | {file: given.stdout if target == 1 else given.stderr for target, file in files},
        keep=frozenset({*given.kept(goes_on=goes_on), *standing, *repairing}),
        inheritance=left,
        identity=identity(run, item, spec),
        files=spec.files,
        memory=given.memory,
        network=_network(spec),
        environment={
            **run.machine.roots.variables(spec.rootfs),
            **({} if isinstance(spec.env, str) else spec.env),
        },
        clean_environment=spec.env == "clean",
        wall=None if writable is None else Wall(writable),
        confinement=strictness.confinement(spec),
        # Else signals to its group, 0, are for pytest too
        keeps_terminal=wants_debugger(item.config) and not spec.strict,
    )


def entry_like(known: Entry, known_given: Given, given: Given) -> Entry:
    """Make the same for another child of the same process that waits for commands, with what that
    is given.
    """
    targets = {known_given.stdout: given.stdout, known_given.stderr: given.stderr}
    targets |= {fd: given.relays[identity] for identity, fd in known_given.relays.items()}
    return replace(
        known,
        frames=given.frames,
        pidfd=given.pidfd,
        joins=given.joins,
        replace={file: targets[source] for file, source in known.replace.items()},
        keep=known.keep.difference(known_given.kept(goes_on=True)).union(given.kept(goes_on=True)),
        inheritance=replace(known.inheritance, private=given.private, lost=[]),
        memory=given.memory,
    )


def _network(spec: Spec) -> Callable[[], None] | None:
    if not is_network(spec.net):
        return None
    # For those who have one
    from pytest_isolate._network import building, capture, live  # noqa: PLC0415

    del live  # imported, for the child to have it
    capture.directory()  # named by this process
    return partial(building.build, spec.net.topology, _requests(spec.net), spec.on_missing)


@cache
def _requests(network: Network) -> list[Request]:
    from pytest_isolate._network import messages  # noqa: PLC0415

    return messages.build(network.topology)


# CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, by which a test goes to its hosts
_MOVES = frozenset({12, 13, 21})


def identity(run: Run, item: pytest.Item | None, spec: Spec) -> Identity:
    """Say who the test is in its sandbox."""
    host = run.machine.host
    if host.rootless:  # the map gave the wanted name already; only a root of that name keeps rights
        keep = frozenset() if spec.networking.topology is None else _MOVES
        return Identity(
            drop_capabilities=(host.uid if spec.user is None else resolve_user(spec.user)[0]) != 0,
            keep=keep,
        )
    if spec.user is None:
        return Identity()
    uid, gid, groups = resolve_user(spec.user)
    given: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    fixtures = getattr(item, "fixturenames", ())
    base = None
    if item is not None and uid != host.uid and "tmp_path_factory" in fixtures:
        base = directories.temporary_base(item.config)
    if base is not None:
        given = (str(base.parent), str(base))
        closed = tuple(str(path) for path in base.parents if not path.stat().st_mode & stat.S_IXOTH)
    return Identity(uid, gid, groups, given=given, opened=closed)
