"""pytest's side of the relay: started by the first test that has a server to reach, asked at each
sandbox's begin and end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import _cffi_backend

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._forward.requests import AskUsed, OpenServers, Places, Used
from pytest_isolate._forward.server import Server
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import bootstrap, ending, wire
from pytest_isolate._sandbox.requests import Failed, Message, receive
from pytest_isolate._sandbox.sandbox import Sandbox

_ANSWER_LONGEST = 10.0  # seconds; it waits for nobody but a processor
_NETWORK = Clone.NEWNET | Clone.NEWUSER


class Figures(NamedTuple):
    """What came through for one server since its sandbox began."""

    connections: int
    sent: int
    received: int
    refused: int  # errno of a connection that the server would not have

    def since(self, before: Figures | None) -> Figures:
        """Of one of several tests in one sandbox."""
        if before is None:
            return self
        return Figures(
            self.connections - before.connections,
            self.sent - before.sent,
            self.received - before.received,
            self.refused,
        )


class Relaying:
    """The relay of one run."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: wire.Channel | None = None
        self._number = 0

    @property
    def pid(self) -> int:
        """Of its process; -1 where none was needed."""
        return -1 if self._process is None else self._process.pid

    def descriptors(self) -> tuple[int, ...]:
        """Return what no test may inherit."""
        return () if self._channel is None else (self._channel.fileno(),)

    def open(self, sandbox: Sandbox, servers: Sequence[Server]) -> None:
        """Have a sandbox reach these. Raises ``StepFailedError``."""
        self._number += 1
        packed = Places(tuple(tuple(server.place) for server in servers)).pack()
        answer = self._opened(sandbox, packed) or self._opened(sandbox, packed)
        if answer is None:
            raise StepFailedError(
                "ask",
                "the relay, a helper process of pytest-isolate, for the servers of shared fixtures",
                32,
            )
        if isinstance(answer, Failed):
            raise answer.error()
        sandbox.relayed = self._number

    def _opened(self, sandbox: Sandbox, packed: str) -> Message | None:
        if self._channel is None:
            self._start()
        answer = self._ask(
            OpenServers(self._number, sandbox.recipe.namespaces & _NETWORK, packed),
            (sandbox.pidfd,),
        )
        if answer is None:  # it has died, perhaps long ago: the kernel or a person ended it
            self.close()
        return answer

    def used(self, sandbox: Sandbox) -> list[Figures] | None:
        """For each of its servers, so far. None where the relay has died."""
        answer = (
            self._ask(AskUsed(sandbox.relayed))
            if sandbox.relayed and self._channel is not None
            else None
        )
        if not isinstance(answer, Used) or not answer.figures:
            return None
        numbers = list(map(int, answer.figures))
        return [Figures(*numbers[at : at + 4]) for at in range(0, len(numbers), 4)]

    def _start(self) -> None:
        backend = str(Path(_cffi_backend.__file__).parent)
        with Step("open a channel to", "the relay"):
            ours, theirs = wire.pair()
        try:
            with Step("start", "the relay, a helper process"):
                self._process = subprocess.Popen(
                    bootstrap.command("pytest_isolate._forward.relay", [backend]),
                    stdin=theirs.fileno(),
                    start_new_session=True,
                )
        except StepFailedError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(_ANSWER_LONGEST)
        self._channel = ours

    def _ask(self, request: Message, descriptors: tuple[int, ...] = ()) -> Message | None:
        assert self._channel is not None
        try:
            request.send(self._channel, descriptors)
            received = receive(self._channel)
        except (TimeoutError, ConnectionError):
            return None
        return None if received is None else received[0]

    def close(self) -> None:
        """End it."""
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        # A forked child's copy: not its to end
        if channel is None or process is None or os.getpid() != self._pid:
            return
        channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # it has nothing to unmake
        ending.reap(process.pid, "the relay of forward=, a helper process of pytest-isolate,")
        # Reaped here, without the lock of subprocess (see BuilderClient)
        process.returncode = -signal.SIGKILL
