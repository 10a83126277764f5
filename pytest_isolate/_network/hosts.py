"""One host of a test's network, as the test has it in its hands."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pytest_isolate._linux import syscalls
from pytest_isolate._linux.syscalls import Clone

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_isolate._network.building import Built

Given = ParamSpec("Given")
Result = TypeVar("Result")
_KINDS = (("net", Clone.NEWNET), ("uts", Clone.NEWUTS))


class _Left(threading.local):
    """Of each thread: where it was before it went to hosts, the last one at the end."""

    def __init__(self) -> None:
        self.namespaces: list[tuple[int, ...]] = []


_left = _Left()


class Host:
    """A host or router.

    ``with host:`` has this thread in its network: sockets opened there stay there, also behind the
    block.

    A thread or process that is started there stays there. Only this thread moves, so a coroutine
    must not wait inside the block.
    """

    def __init__(self, name: str, built: Built) -> None:
        #: As it was written in ``Network``; it resolves everywhere in the test.
        self.name = name
        self._built = built

    def __repr__(self) -> str:
        return f"<host {self.name}: {', '.join(self.addresses)}>"

    @property
    def addresses(self) -> list[str]:
        """All of its addresses, in the order of its links, IPv4 before IPv6."""
        return [str(each.ip) for each in self._built.topology.addresses(self.name)]

    @property
    def address(self) -> str:
        """The first of them."""
        return self.addresses[0]

    def __enter__(self) -> Host:  # noqa: PYI034 - Self is Python 3.11's
        here: list[int] = []
        try:
            here += [
                os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
                for kind, _ in _KINDS
            ]
            namespace = self._built.namespaces[self.name]
            syscalls.setns(namespace.net, Clone.NEWNET)
            syscalls.setns(namespace.uts, Clone.NEWUTS)
        except OSError as error:
            for fd in here:
                os.close(fd)
            raise OSError(
                error.errno,
                f"cannot enter the network of host {self.name!r}: {os.strerror(error.errno or 0)}",
            ) from error
        _left.namespaces.append(tuple(here))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        before = _left.namespaces.pop()
        try:
            for fd, (_, flag) in zip(before, _KINDS, strict=True):
                syscalls.setns(fd, flag)
        finally:
            for fd in before:
                os.close(fd)

    def call(
        self, function: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Call a function in this host's network, in this thread.

        Returns what it returns, raises what it raises.
        """
        with self:
            return function(*args, **kwargs)

    def run(
        self,
        command: Sequence[str | os.PathLike[str]] | str,
        **options: Any,  # noqa: ANN401
    ) -> subprocess.CompletedProcess[Any]:
        """``subprocess.run`` in this host's network, with all of its options: ``host.run(["ping",
        "-c1", "b"], check=True)``.
        """
        with self:
            return subprocess.run(command, **options)  # noqa: PLW1510 - an option

    def popen(
        self,
        command: Sequence[str | os.PathLike[str]] | str,
        **options: Any,  # noqa: ANN401
    ) -> subprocess.Popen[Any]:
        """``subprocess.Popen`` in this host's network, with all of its options.

        What still runs at the test's end is ended with it.
        """
        with self:
            return subprocess.Popen(command, **options)
