"""The exceptions that stand for an overstepped limit: what ``xfail(raises=...)`` can name.

They are ``pytest.fail.Exception``s, so that pytest shows their sentence and no traceback of ours.
"""

from __future__ import annotations

import pytest


class Violation(pytest.fail.Exception):  # type: ignore[name-defined, misc] # an attribute of a function, to mypy
    """A test overstepped what it was given.

    ``resource`` is the keyword of the limit, or ``processes``, ``network``, ``filesystem``,
    ``budget.KEY``, ``crash``. ``limit`` and ``used`` are bytes, seconds or counts; None where there
    is no such figure.
    """

    def __init__(
        self,
        resource: str,
        message: str,
        phase: str,
        limit: float | None = None,
        used: float | None = None,
    ) -> None:
        super().__init__(message, pytrace=False)
        self.resource = resource
        self.message = message
        self.phase = phase
        self.limit = limit
        self.used = used

    def __str__(self) -> str:
        return self.message


class MemoryExceeded(Violation):
    """The kernel killed a process of the test for the ``memory`` limit."""


class PidsExceeded(Violation):
    """The kernel refused a process or thread for the ``pids`` limit."""


class CpuTimeExceeded(Violation):
    """The test used more processor time than ``cpu_time``."""


class TimeoutExceeded(Violation):
    """The test took longer than ``timeout``."""


class DiskExceeded(Violation):
    """A write was refused for the ``disk`` limit."""


class FilesExceeded(Violation):
    """A descriptor was refused for the ``files`` limit."""


class ProcessesLeaked(Violation):
    """The test left processes behind, and ``leaks="error"``."""


class NetworkDenied(Violation):
    """The test tried to leave its network, and ``net="deny"``."""


class FilesystemDenied(Violation):
    """The test wrote where it may not."""


class BudgetExceeded(Violation):
    """The test used more than its budget."""


class Crashed(Violation):
    """The test's process ended without saying so: by a signal, by ``os._exit`` or by running
    another program.
    """


for _class in [Violation, *Violation.__subclasses__()]:
    # As pytest does for its outcomes: the summary line says the class's name without a path
    _class.__module__ = "builtins"
