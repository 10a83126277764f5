"""Isolated tests: each marked test runs in namespaces, limits and a throw-away overlay of its own.

PYTEST_DONT_REWRITE.

The map of the package, imports pointing one way, downwards:

- ``plugin``: pytest's hooks, each a few lines. ``_entry_point``, ``_installation``, ``_loading``:
  how it is loaded, and what happens where it is not.
- ``_cli``: the console script, a module for each of its commands.
- ``_test``: one isolated test, from pytest's side (``parent_side``, ``protocols``): its ``states``,
  and what leads from one to the next (``request``, ``build``, ``start``, ``supervise``, ``judge``,
  ``report``), and several at once (``scheduler``). ``_doctor``: what this machine can do.
- ``_child``: the test's own process: what it is given (``preparation``), what it does (``inside``),
  with whom (``group``, ``nursing``).
- ``_session``: what the tests of a run share.
- ``_messages``: what a child tells, checked (``reading``) before anybody else sees it, and what is
  made of it.
- ``_verdict``: evidence, a rule for each limit (``rules``), and a judgement.
  ``_report``: what is told to people and machines.
- ``_oci``: the same steps as a bundle for runc and crun.
- ``_plan``: from wishes to the steps that build a sandbox (``planning``, ``layout``), and what
  helps against a failed one (``remedies``).
- ``_pytest``: every use of pytest's internals, with its reason; other plugins that need something
  of us.
- ``_config``: what users type: the table of ``keywords``, what they make of one test (``spec``).
  ``_typing``, ``_violations``: the marker's type, the exceptions that can be named.
- ``_shell``: a person in a sandbox: the way in (``inside``), the terminal, who can be entered.
- ``_forward``: servers of shared fixtures: who they are (``finder``), and the relay to them.
- ``_network``: a test's own hosts and the links between them; its way out of the machine.
- ``_images``: images of containers, read, checked and unpacked to the tree of a root.
- ``_sandbox``: steps, builder, holder (PID 1), entry, launch, supervisor; knows nothing of pytest.
- ``_linux``: system calls, mounts, control groups, netlink; what this machine is (``host``), and
  where it is (``environment``).
- ``_store``: directories kept between runs, each built once.
- ``_forking``: what a copy of a running Python does wrong. ``_model``, ``_errors``: what travels
  between them all.
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
    from pytest_isolate._config.internet import Internet
    from pytest_isolate._config.layers import Layer
    from pytest_isolate._config.network import Link, Network
    from pytest_isolate._network.links import NetworkUnavailable
    from pytest_isolate._network.live import LiveNetwork
    from pytest_isolate._typing import IsolateMark

    #: The marker, typed. ``@isolate``, ``@isolate(...)`` and ``@pytest.mark.isolate(...)`` are the
    #: same thing.
    isolate: IsolateMark

_LATE = {  # imported for those who have one
    "Internet": "pytest_isolate._config.internet",
    "Layer": "pytest_isolate._config.layers",
    "Link": "pytest_isolate._config.network",
    "LiveNetwork": "pytest_isolate._network.live",
    "Network": "pytest_isolate._config.network",
    "NetworkUnavailable": "pytest_isolate._network.links",
}

#: ``-p pytest_isolate`` loads the plugin too, once, whoever else asks for it.
pytest_plugins = ["pytest_isolate.plugin"]


def __getattr__(name: str) -> object:
    """Give ``isolate``, each time it is asked for: in a run of pytest without the plugin it is
    refused.
    """
    if name in _LATE:
        from importlib import import_module  # noqa: PLC0415 - for those who have one

        return getattr(import_module(_LATE[name]), name)
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
    "Internet",
    "Layer",
    "Link",
    "LiveNetwork",
    "MemoryExceeded",
    "Network",
    "NetworkDenied",
    "NetworkUnavailable",
    "PidsExceeded",
    "ProcessesLeaked",
    "TimeoutExceeded",
    "Violation",
    "isolate",
]
