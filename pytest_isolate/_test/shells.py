"""``--isolate-shell``, and a test that ``pytest-isolate enter`` finds: who enters, how, as whom."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from pytest_isolate._config import settings
from pytest_isolate._errors import StepFailedError
from pytest_isolate._pytest import capture
from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._sandbox.result import ProcessResult

if TYPE_CHECKING:
    from pytest_isolate._sandbox.visits import Shell
    from pytest_isolate._shell.door import Door
    from pytest_isolate._shell.visit import Visit
    from pytest_isolate._test.states import Finished, Running


def obstacle(config: pytest.Config) -> str | None:
    """Why nobody could type to a shell of this run, if so."""
    if hasattr(config, "workerinput") or config.getoption("dist", "no") != "no":
        return "pytest-xdist's workers have no terminal for a shell: run the test without -n"
    if not capture.has_terminal(config):
        return (
            "a shell needs a terminal, and the standard input of this pytest is none: run it in a"
            " terminal"
        )
    return None


def are_offered(config: pytest.Config) -> bool:
    """Whether a person is to have a shell where an isolated test fails."""
    return bool(config.getoption("isolate_shell")) and obstacle(config) is None


def refuse(config: pytest.Config) -> None:
    """Refuse what somebody typed and nobody could use. Raises ``pytest.UsageError``.

    An ini file is also for runs without a terminal: there it is said, and nothing else.
    """
    if (why := obstacle(config)) is None or hasattr(config, "workerinput"):
        return
    if "--isolate-shell" in settings.typed(config):
        raise pytest.UsageError(f"--isolate-shell: {why}")


class Doorkeeper:
    """Who lets people into the sandbox of a test that runs."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._run = running.test.run
        self.offers = are_offered(running.test.item.config) and not running.group.plan.is_bare

    @property
    def is_taken(self) -> bool:
        """Whether the one terminal has another shell."""
        return self._run.shell is not None

    def open(self, said: Frame | None, result: ProcessResult) -> Shell | None:
        """Open one, for what the test said or how it ended."""
        from pytest_isolate._messages import reading  # noqa: PLC0415 - for a test that failed
        from pytest_isolate._shell.visit import Visit, of_terminal  # noqa: PLC0415

        running, test = self._running, self._running.test
        if said is not None and reading.shell_fault(said) is not None:
            return None  # which its verdict says
        try:
            door = self._door(self._why(said, result), said, result, goes_on=True)
            terminal = capture.terminal(test.item.config)
            visit = Visit(door.with_variables(of_terminal()), terminal)
        except StepFailedError as error:
            test.troubles.append(f"isolate: no shell in the sandbox of {test.name}: {error}")
            return None
        self._run.shell = shell = _Shell(visit, running)
        return shell

    def go_on(self) -> None:
        """Tell a test that waits for the end of a shell."""
        # It is gone, or has filled its own pipe, and then does not wait
        with contextlib.suppress(OSError):
            os.write(self._running.group.commands, b"\n")

    def announce(self) -> None:
        """Let people know of it."""
        if self._running.group.plan.is_bare or self._running.announced:
            return
        result = self._running.group.supervisor.known
        with contextlib.suppress(StepFailedError):  # its sandbox is gone, which is seen by itself
            self._run.roster.add(id(self), self._door("which runs", None, result, goes_on=False))
            self._running.announced = True

    def withdraw(self) -> None:
        """Let nobody know of it any more."""
        if self._running.announced:
            self._run.roster.remove(id(self))
            self._running.announced = False

    def _why(self, said: Frame | None, result: ProcessResult) -> str:
        """Say what has become of the test, in words behind its name."""
        if said is not None:
            return f"which failed in its {said['when']} and is stopped there"
        for stopped, what in (
            (result.timed_out, "timeout"),
            (result.cpu_exceeded, "cpu_time"),
            (result.memory_exceeded is not None, "memory"),
        ):
            if stopped:
                return f"which has come to its {what} and is stopped there"
        if result.killed_child:
            return "of which the kernel has killed a process for memory"
        sandbox = self._running.group.sandbox
        limited = self._running.spec.memory is not None and "memory" in sandbox.groups
        if result.out_of_memory or (limited and sandbox.out_of_memory()):
            return "which the kernel has killed for memory (what of its processes is left, ps says)"
        if result.garbled is not None:
            return "whose process wrote what pytest cannot read"
        return "whose process has died"

    def _door(self, why: str, said: Frame | None, result: ProcessResult, *, goes_on: bool) -> Door:
        """Say where its sandbox is, and what rights its test has. Raises ``StepFailedError``."""
        from pytest_isolate._child import preparation  # noqa: PLC0415 - as above
        from pytest_isolate._plan import strictness  # noqa: PLC0415
        from pytest_isolate._sandbox.entry import environment_of  # noqa: PLC0415
        from pytest_isolate._session.run import working_directory  # noqa: PLC0415
        from pytest_isolate._shell.door import Door  # noqa: PLC0415

        running, test = self._running, self._running.test
        spec, sandbox = running.spec, running.group.sandbox
        first, namespace = sandbox.first()
        pid = (result.first("entered") or {}).get("pid")
        env = {} if isinstance(spec.env, str) else dict(spec.env)
        known = environment_of(os.environ, env, clean=spec.env == "clean")
        return Door(
            test.name,
            why,
            first,
            namespace,
            running.group.plan.recipe.namespaces,
            process=pid if isinstance(pid, int) and running.group.supervisor.alive else 0,
            directory=working_directory() if said is None else str(said["directory"]),
            environment=known if said is None else said["environment"],  # type: ignore[arg-type]
            identity=preparation.identity(test.run, test.item, spec),
            confinement=strictness.confinement(spec),
            begun=test.begun,
            goes_on=goes_on,
        )


def say_there_was_none(ended: Finished) -> None:
    """Say why a test that a person expects to look at had no shell."""
    test = ended.test
    if are_offered(test.item.config) and not ended.group.supervisor.visits.were_any:
        test.troubles.append(
            f"isolate: no shell in the sandbox of {test.name}: "
            + (
                "it runs without namespaces"
                if ended.group.plan.is_bare
                else "its process had come to its end when this was found"
            )
        )


class _Shell:
    """A shell of a test, and what it used that is not the test's."""

    def __init__(self, visit: Visit, running: Running) -> None:
        self._visit, self._running = visit, running
        self._disk, self._unroutable = self._used()

    @property
    def fd(self) -> int:
        """Readable at its end."""
        return self._visit.fd

    def _used(self) -> tuple[int, int]:
        sandbox = self._running.group.sandbox
        return sandbox.disk_used() or 0, sandbox.network.unroutable() or 0

    def close(self) -> None:
        """End it, and leave out what it wrote, and where it tried to go."""
        self._visit.close()
        self._running.test.run.shell = None
        disk, unroutable = self._used()
        self._running.group.sandbox.pass_over_disk(disk - self._disk)
        self._running.group.unroutable += unroutable - self._unroutable
