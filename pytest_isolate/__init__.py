"""Isolated tests: each marked test runs in namespaces, limits and a throw-away overlay of its own. PYTEST_DONT_REWRITE.

The map of the package, imports pointing one way, downwards:

- ``plugin``: pytest's hooks, each a few lines. ``_entry_point``, ``_installation``, ``_loading``: how it is loaded, and what
  happens where it is not.
- ``_protocol``, ``_flight``, ``_inside``: the life of one test, seen from pytest and from the forked child.
- ``_nursery``: children that are forked ahead of their turn, by a fork of pytest. ``_nursing``: that fork's own process.
  ``_departure``: what is to be seen to on both sides of a fork, whoever forks.
- ``_run``: what a run shares. ``_boarding``: what a child is given. ``_group``: tests that share a sandbox. ``_kept``: what outlives one.
  ``_interruption``: SIGTERM. ``_section``: what a failing test shows.
- ``_fleet``: several tests in flight.
- ``_bare``: a test where there are no namespaces. ``_places``: where plain pytest writes for later runs.
- ``_strict``: which system calls a strict test does without; ``_sandbox.confine`` closes its walls.
- ``_timers``, ``_dump_later``: timers that a fork clears or would hang by.
- ``_inherited``: what is open, for ``_sandbox.inherited`` to open it anew inside.
- ``_forked``, ``_processes``, ``_openmp``: what else a copy of a running Python does wrong.
- ``_coverage``, ``_attempts``, ``_allocations``: what a child measures and tells. ``_plugins``: other plugins that need something of us.
  ``_allure``: allure-pytest's results. ``_carried``: what others keep beside a report.
- ``_doctor``, ``_report``: what is told to people and machines. ``_remedies``: what helps against a failed step.
- ``_reading``: what a child wrote, checked before anybody else sees it. ``_sources``: lines of files that it named.
- ``_stacks``: what faulthandler wrote, read as text.
- ``_interrupted``: where tests stand when a Ctrl-C comes. ``_reruns``: the last attempt of a test that a plugin runs several times.
- ``_layout``: the file system part of a plan. ``_hints``: what of the machine a failing test missed, by its words.
- ``_verdict``, ``_plan``, ``_mend``: pure; from facts to a judgement, from wishes to steps, from what came through to what was said.
- ``_descriptors``: sockets, by which a fixture's server is known. ``_elsewhere``: the hooks on systems that are not Linux.
- ``_telling``: what a run says of itself. ``_settings``, ``_rules``, ``_pyproject``: options, and what files of a project say.
- ``_options``, ``_spec``, ``_values``, ``_typing``, ``_violations``: what users type, for one test, and exceptions they can name.
- ``_pytest_private``: every use of pytest's internals, with its reason.
- ``_forward``: servers of shared fixtures: who they are (``finder``), and the relay to them. ``_destinations``: the words for others.
- ``_sandbox``: builder, holder (PID 1), entry, watch; knows nothing of pytest.
- ``_linux``: system calls, mounts, control groups, netlink; what this machine is (``host``), and where it is (``environment``).
- ``_model``, ``_errors``: what travels between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_isolate._violations import (
    BudgetExceeded,
    CpuTimeExceeded,
    Crashed,
    DiskExceeded,
    FilesExceeded,
    FilesystemDenied,
    MemoryExceeded,
    NetworkDenied,
    PidsExceeded,
    ProcessesLeaked,
    TimeoutExceeded,
    Violation,
)

if TYPE_CHECKING:
    from pytest_isolate._typing import IsolateMark

    #: The marker, typed. ``@isolate``, ``@isolate(...)`` and ``@pytest.mark.isolate(...)`` are the same thing.
    isolate: IsolateMark

#: ``-p pytest_isolate`` loads the plugin too, once, whoever else asks for it.
pytest_plugins = ["pytest_isolate.plugin"]


def __getattr__(name: str) -> object:
    """Give ``isolate``, each time it is asked for: in a run of pytest without the plugin it is refused."""
    if name != "isolate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_isolate import _loading  # noqa: PLC0415 - for those who use it

    _loading.require()
    return pytest.mark.isolate


__all__ = [
    "BudgetExceeded",
    "CpuTimeExceeded",
    "Crashed",
    "DiskExceeded",
    "FilesExceeded",
    "FilesystemDenied",
    "MemoryExceeded",
    "NetworkDenied",
    "PidsExceeded",
    "ProcessesLeaked",
    "TimeoutExceeded",
    "Violation",
    "isolate",
]
